-- grain: one row per item
-- The newest row received of an item stands.
-- Not repaired by an increment: nothing.
{{
    config(
        materialized='incremental',
        incremental_strategy='merge',
        unique_key=['item_id'],
        liquid_clustered_by=['item_id'],
        on_schema_change='fail'
    )
}}

{% set item_rows = new_rows({'item_rows': {
    'upstream': source('bronze', 'pos_items'),
    'upstream_cursor': 'ingest_id',
    'cursor': '_ingest_id',
}}).item_rows %}

{{ nothing_new(item_rows.is_empty) }}

with

received_items as (

    select
        ingest_id,
        ingest_line,
        received_at,
        item_id,
        item_name,
        supplier_id,
        safety_stock_quantity
    from {{ ref('base_pos__item_rows') }}
    where
        {{ is_new('ingest_id', item_rows) }}
        and reject_reason is null

),

-- The place of each row, and the first place of its item; a window for each item would cost by the
-- item.
ranked_by_receipt as (

    select
        *,
        row_number() over (order by item_id asc, ingest_id desc, ingest_line desc) as place,
        rank() over (order by item_id) as first_place_of_item
    from received_items

),

final as (

    select
        item_id,
        item_name,
        supplier_id,
        safety_stock_quantity,
        received_at,
        ingest_id as _ingest_id
    from ranked_by_receipt
    where place = first_place_of_item

)

select * from final
