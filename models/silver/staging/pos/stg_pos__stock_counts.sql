-- grain: one row per store, item and time of the count
-- The last received of a key stands: a count sent again with another quantity is a correction.
-- Not repaired by an increment: nothing. What stood before a correction is in stock_counts_history.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['store_id', 'item_id', 'counted_at'],
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

-- Joined and not looked up by a window: almost every count is alone in its partition, and a window
-- costs by the partition.
compared_to_the_one_before as (

    select
        later_counts.store_id,
        later_counts.item_id,
        later_counts.counted_at,
        later_counts.receipt,
        max(later_counts.quantity) as quantity,
        max(later_counts.landed_at) as landed_at,
        max_by(earlier_counts.quantity, earlier_counts.receipt) as quantity_before
    from received_counts as later_counts
    left join received_counts as earlier_counts
        on
            later_counts.store_id = earlier_counts.store_id
            and later_counts.item_id = earlier_counts.item_id
            and later_counts.counted_at = earlier_counts.counted_at
            and later_counts.receipt > earlier_counts.receipt
    group by
        later_counts.store_id,
        later_counts.item_id,
        later_counts.counted_at,
        later_counts.receipt

),

standing_counts as (

    select
        received.store_id,
        received.item_id,
        received.counted_at,
        max(received.receipt) as receipt,
        coalesce(min(believed.first_landed_at), min(received.landed_at)) as first_landed_at,
        coalesce(min(believed._first_receipt), min(received.receipt)) as _first_receipt,
        coalesce(
            max(
                case
                    when
                        not received.quantity
                        <=> coalesce(received.quantity_before, believed.quantity)
                        then received.receipt
                end
            ),
            max(believed._quantity_receipt)
        ) as _quantity_receipt
    from compared_to_the_one_before as received
    left join believed
        on
            received.store_id = believed.store_id
            and received.item_id = believed.item_id
            and received.counted_at = believed.counted_at
    group by received.store_id, received.item_id, received.counted_at

),

final as (

    select
        received_counts.store_id,
        received_counts.item_id,
        {{ employee_key('received_counts.employee_id') }} as employee_key,
        received_counts.quantity,
        received_counts.counted_at,
        received_counts.received_at,
        received_counts.landed_at,
        standing_counts.first_landed_at,
        received_counts.source_file as _source_file,
        received_counts.source_line as _source_line,
        received_counts.ingest_id as _ingest_id,
        received_counts.ingest_line as _ingest_line,
        received_counts.redrive_of_ingest_id as _redrive_of_ingest_id,
        standing_counts._first_receipt,
        standing_counts._quantity_receipt
    from received_counts
    inner join standing_counts
        on
            received_counts.store_id = standing_counts.store_id
            and received_counts.item_id = standing_counts.item_id
            and received_counts.counted_at = standing_counts.counted_at
            and received_counts.receipt = standing_counts.receipt

)

select * from final
