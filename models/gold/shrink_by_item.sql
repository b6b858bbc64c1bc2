-- grain: one row per store and item with at least two counts
-- What is lost of each item: written off, and found missing by a count. The first count begins the
-- sums; before it nobody knew what was there. Made anew each time, from a row per count.
{{ config(materialized='table', tags=['mart']) }}

with

variances as (

    select
        store_id,
        item_id,
        counted_at,
        previous_counted_at,
        recorded_shrink_quantity,
        found_shrink_quantity,
        sold_quantity
    from {{ ref('stock_count_variances') }}

),

-- A first count has none of these quantities, so the sums leave it out by themselves.
summed as (

    select
        store_id,
        item_id,
        count(previous_counted_at) as counts,
        sum(recorded_shrink_quantity) as recorded_shrink_quantity,
        sum(found_shrink_quantity) as found_shrink_quantity,
        sum(sold_quantity) as sold_quantity,
        min(counted_at) as since,
        max(counted_at) as through
    from variances
    group by store_id, item_id
    having count(previous_counted_at) > 0

),

final as (

    select
        store_id,
        item_id,
        counts,
        recorded_shrink_quantity,
        found_shrink_quantity,
        recorded_shrink_quantity + found_shrink_quantity as shrink_quantity,
        sold_quantity,
        case
            when sold_quantity > 0
                then
                    cast(recorded_shrink_quantity + found_shrink_quantity as double)
                    / sold_quantity
        end as shrink_rate,
        since,
        through
    from summed

)

select * from final
