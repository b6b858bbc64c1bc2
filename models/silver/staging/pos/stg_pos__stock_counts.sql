-- grain: one row per store, item and time of the count
-- The last received of a key stands: a count sent again with another quantity is a correction.
-- Not repaired by an increment: nothing. What stood before a correction is in stock_counts_history.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id', 'counted_at'],
        liquid_clustered_by=['counted_at', '_ingest_id'],
        on_schema_change='fail',
        meta={'merge_prune_by': 'counted_at:timestamp'}
    )
}}

{% set count_rows = new_rows({'count_rows': {
    'upstream': source('bronze', 'pos_count_rows'),
    'upstream_cursor': 'ingest_id',
    'cursor': '_ingest_id',
}}).count_rows %}

{{ nothing_new(count_rows.is_empty) }}

with

received_counts as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        employee_id,
        store_id,
        item_id,
        quantity,
        counted_at,
        {{ receipt('ingest_id', 'ingest_line') }} as receipt
    from {{ ref('base_pos__count_rows') }}
    where
        {{ is_new('ingest_id', count_rows) }}
        and reject_reason is null

),

-- This table before the run, as far as the new counts go back.
believed as (

    {% if is_incremental() -%}
    select
        store_id,
        item_id,
        counted_at,
        quantity,
        first_landed_at,
        _first_receipt,
        _quantity_receipt
    from {{ this }}
    where counted_at >= {{ oldest_received_count(count_rows) }}
    {%- else -%}
    select
        store_id,
        item_id,
        counted_at,
        quantity,
        landed_at as first_landed_at,
        receipt as _first_receipt,
        receipt as _quantity_receipt
    from received_counts
    where false
    {%- endif %}

),

-- Windows over few partitions, one a time of counting, because a window costs by the partition.
in_order_of_receipt as (

    select
        *,
        lag(store_id) over (partition by counted_at order by store_id, item_id, receipt)
            as store_id_before,
        lag(item_id) over (partition by counted_at order by store_id, item_id, receipt)
            as item_id_before,
        lag(quantity) over (partition by counted_at order by store_id, item_id, receipt)
            as row_quantity_before,
        lead(store_id) over (partition by counted_at order by store_id, item_id, receipt)
            as store_id_after,
        lead(item_id) over (partition by counted_at order by store_id, item_id, receipt)
            as item_id_after
    from received_counts

),

compared_to_the_one_before as (

    select
        received.*,
        believed.first_landed_at as believed_first_landed_at,
        believed._first_receipt as believed_first_receipt,
        believed._quantity_receipt as believed_quantity_receipt,
        case
            when
                received.store_id_before = received.store_id
                and received.item_id_before = received.item_id
                then received.row_quantity_before
            else believed.quantity
        end as quantity_before,
        coalesce(
            received.store_id_after <> received.store_id
            or received.item_id_after <> received.item_id,
            true
        ) as is_last
    from in_order_of_receipt as received
    left join believed
        on
            received.store_id = believed.store_id
            and received.item_id = believed.item_id
            and received.counted_at = believed.counted_at

),

-- One row a key: what its last row says (it has one), and when its first row and its quantity came.
standing_counts as (

    select
        store_id,
        item_id,
        counted_at,
        {%- for column in [
            'employee_id', 'quantity', 'received_at', 'landed_at', 'source_file', 'source_line',
            'ingest_id', 'ingest_line', 'redrive_of_ingest_id'
        ] %}
        max(case when is_last then {{ column }} end) as {{ column }},
        {%- endfor %}
        coalesce(min(believed_first_landed_at), min(landed_at)) as first_landed_at,
        coalesce(min(believed_first_receipt), min(receipt)) as _first_receipt,
        coalesce(
            max(case when not quantity <=> quantity_before then receipt end),
            max(believed_quantity_receipt)
        ) as _quantity_receipt
    from compared_to_the_one_before
    group by store_id, item_id, counted_at

),

final as (

    select
        store_id,
        item_id,
        {{ employee_key('employee_id') }} as employee_key,
        quantity,
        counted_at,
        received_at,
        landed_at,
        first_landed_at,
        source_file as _source_file,
        source_line as _source_line,
        ingest_id as _ingest_id,
        ingest_line as _ingest_line,
        redrive_of_ingest_id as _redrive_of_ingest_id,
        _first_receipt,
        _quantity_receipt
    from standing_counts

)

select * from final
