-- grain: one row per store and item that is suspected
-- Stock that the books have and the shelf may not: it used to sell and has been quiet for far
-- longer than it usually is between two sales. Worth a look and a count. Made anew each time.
{{ config(materialized='table', tags=['mart']) }}

with

positions as (

    select
        store_id,
        item_id,
        store_name,
        item_name,
        on_hand_quantity
    from {{ ref('inventory_current') }}

),

-- Gaps and spans in whole seconds, so that every engine draws the line at the same place.
sales_pace as (

    select
        store_id,
        item_id,
        sale_count,
        first_sold_at,
        last_sold_at,
        unix_timestamp(last_sold_at) - unix_timestamp(first_sold_at) as span_seconds,
        unix_timestamp(event_clock_at) - unix_timestamp(last_sold_at) as quiet_seconds
    from {{ ref('int_inventory__sales_pace') }}

),

final as (

    select
        positions.store_id,
        positions.item_id,
        positions.store_name,
        positions.item_name,
        positions.on_hand_quantity,
        sales_pace.sale_count,
        cast(sales_pace.span_seconds as double) / 3600 / nullif(sales_pace.sale_count - 1, 0)
            as usual_gap_hours,
        cast(sales_pace.quiet_seconds as double) / 3600 as hours_since_last_sale,
        sales_pace.first_sold_at,
        sales_pace.last_sold_at
    from positions
    inner join sales_pace
        on
            positions.store_id = sales_pace.store_id
            and positions.item_id = sales_pace.item_id
    where
        positions.on_hand_quantity > 0
        and sales_pace.sale_count >= {{ var('phantom_least_sales') }}
        and sales_pace.quiet_seconds > {{ var('phantom_least_hours') }} * 3600
        and sales_pace.quiet_seconds * (sales_pace.sale_count - 1)
        > {{ var('phantom_gap_multiple') }} * sales_pace.span_seconds

)

select * from final
