-- grain: one row per count row as received
-- Not a table: the models that read it inline it, so that their cursor prunes the files of bronze.
-- `raw` goes to quarantine, so the employee's number is not in it.
{{ config(materialized='ephemeral') }}

with

count_rows as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        item_id,
        employee_id,
        store_id,
        date_time,
        quantity,
        defect,
        raw
    from {{ source('bronze', 'pos_count_rows') }}

),

typed as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        defect,
        trim(employee_id) as employee_id,
        {{ whole_number('trim(store_id)', 'int') }} as store_id,
        {{ whole_number('trim(item_id)', 'bigint') }} as item_id,
        {{ units('trim(quantity)') }} as quantity,
        {{ utc_time('trim(date_time)') }} as counted_at,
        coalesce(
            {{ shape_of('raw') }},
            concat_ws(',', item_id, '(employee)', store_id, date_time, quantity)
        ) as raw
    from count_rows

),

final as (

    select
        ingest_id,
        ingest_line,
        source_file,
        source_line,
        received_at,
        landed_at,
        redrive_of_ingest_id,
        redrive_of_ingest_line,
        raw,
        case
            when defect is not null then concat('unreadable_row: ', defect)
            when store_id is null then 'missing_or_mistyped_store_id'
            when item_id is null then 'missing_or_mistyped_item_id'
            when counted_at is null then 'missing_or_mistyped_date_time'
            when {{ is_ahead_of_receipt('counted_at', 'received_at') }}
                then 'date_time_in_the_future'
            when quantity is null then 'missing_or_mistyped_quantity'
        end as reject_reason,
        employee_id,
        store_id,
        item_id,
        quantity,
        counted_at
    from typed

)

select * from final
