-- grain: one row per item row as received
-- Not a table: the models that read it inline it, so that their cursor prunes the files of bronze.
{{ config(materialized='ephemeral') }}

with

item_rows as (

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
        name,
        supplier_id,
        safety_stock_quantity,
        defect,
        raw
    from {{ source('bronze', 'pos_items') }}

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
        nullif(trim(name), '') as item_name,
        safety_stock_quantity as safety_stock_text,
        {{ whole_number('trim(item_id)', 'bigint') }} as item_id,
        {{ whole_number('trim(supplier_id)', 'bigint') }} as supplier_id,
        {{ units('trim(safety_stock_quantity)') }} as safety_stock_quantity,
        coalesce(raw, concat_ws(',', item_id, name, supplier_id, safety_stock_quantity)) as raw
    from item_rows

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
            when item_id is null then 'missing_or_mistyped_item_id'
            when nullif(trim(safety_stock_text), '') is not null and safety_stock_quantity is null
                then 'mistyped_safety_stock_quantity'
        end as reject_reason,
        item_id,
        item_name,
        supplier_id,
        safety_stock_quantity
    from typed

)

select * from final
