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

{% set count_rows = new_rows(source('bronze', 'pos_count_rows'), 'ingest_id', '_ingest_id') %}

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
        counted_at
    from {{ ref('base_pos__count_rows') }}
    where
        {{ is_new('ingest_id', count_rows) }}
        and reject_reason is null

),

ranked_by_receipt as (

    select
        *,
        row_number() over (
            partition by store_id, item_id, counted_at
            order by ingest_id desc, ingest_line desc
        ) as receipt_rank
    from received_counts

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
        source_file as _source_file,
        source_line as _source_line,
        ingest_id as _ingest_id,
        ingest_line as _ingest_line,
        redrive_of_ingest_id as _redrive_of_ingest_id
    from ranked_by_receipt
    where receipt_rank = 1

)

select * from final
