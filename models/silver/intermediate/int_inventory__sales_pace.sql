-- grain: one row per store and item with sales in the window
-- How fast it sells. The window is the last days up to the event clock; only its dates are read.
-- Not a table: the marts that read it inline it, so that they agree on what a sale is.
{{ config(materialized='ephemeral') }}

{% set window = sales_window(ref('stg_pos__inventory_changes')) %}

with

stores as (

    select
        store_id,
        channel
    from {{ ref('stores') }}

),

change_types as (

    select
        change_type_id,
        change_type
    from {{ ref('inventory_change_types') }}

),

-- A pickup is a sale of the store it is fetched from; the order online moves nothing and is none.
sales as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        inventory_changes.quantity,
        inventory_changes.occurred_at
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    inner join change_types
        on inventory_changes.change_type_id = change_types.change_type_id
    left join stores
        on inventory_changes.store_id = stores.store_id
    where
        inventory_changes.occurred_on >= date '{{ window.starts_at[:10] }}'
        and inventory_changes.occurred_at > timestamp '{{ window.starts_at }}'
        and change_types.change_type in ('sale', 'bopis')
        and {{ moves_stock('change_types.change_type', 'stores.channel') }}

),

final as (

    select
        store_id,
        item_id,
        -sum(quantity) as sold_quantity,
        sum(case when quantity < 0 then cast(1 as bigint) else cast(0 as bigint) end) as sale_count,
        cast(
            greatest(
                unix_timestamp(timestamp '{{ window.clock }}')
                - unix_timestamp(timestamp '{{ window.observed_from }}'),
                86400
            ) as double
        ) / 86400 as observed_days,
        min(case when quantity < 0 then occurred_at end) as first_sold_at,
        max(case when quantity < 0 then occurred_at end) as last_sold_at,
        timestamp '{{ window.clock }}' as event_clock_at
    from sales
    group by store_id, item_id

)

select * from final
