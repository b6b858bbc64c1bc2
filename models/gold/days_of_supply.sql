-- grain: one row per store and item with sales in the window
-- How long the stock lasts at the pace of the last weeks. Made anew each time: a pace is of its
-- window, and only the dates of that are read.
{{ config(materialized='table', tags=['mart']) }}

with

positions as (

    select
        store_id,
        item_id,
        store_name,
        item_name,
        available_quantity
    from {{ ref('inventory_current') }}

),

sales_pace as (

    select
        store_id,
        item_id,
        sold_quantity,
        observed_days,
        sold_quantity / observed_days as average_daily_quantity
    from {{ ref('int_inventory__sales_pace') }}

),

final as (

    select
        positions.store_id,
        positions.item_id,
        positions.store_name,
        positions.item_name,
        positions.available_quantity,
        sales_pace.sold_quantity,
        sales_pace.observed_days,
        sales_pace.average_daily_quantity,
        case
            when sales_pace.average_daily_quantity > 0
                then greatest(positions.available_quantity, 0) / sales_pace.average_daily_quantity
        end as days_of_supply
    from positions
    inner join sales_pace
        on
            positions.store_id = sales_pace.store_id
            and positions.item_id = sales_pace.item_id

)

select * from final
