-- What the increments have published of each count is what silver says when it is added up from
-- the beginning. Written from the rules, not from the model: by joining, where the model runs sums
-- backwards. Silver is read up to the commits that the figures have been made of.
{{ config(tags=['full']) }}

with

variances as (

    select
        store_id,
        item_id,
        counted_at,
        counted_quantity,
        previous_counted_at,
        change_quantity,
        book_quantity,
        variance_quantity,
        recorded_shrink_quantity,
        found_shrink_quantity,
        sold_quantity
    from {{ ref('stock_count_variances') }}

),

cursors as (

    select
        (select max(_changes_ingest_id) from {{ ref('inventory_current') }}) as changes_through

),

counts as (

    select
        stock_counts.store_id,
        stock_counts.item_id,
        stock_counts.counted_at,
        stock_counts.quantity,
        lag(stock_counts.counted_at) over (
            partition by stock_counts.store_id, stock_counts.item_id
            order by stock_counts.counted_at
        ) as previous_counted_at,
        lag(stock_counts.quantity) over (
            partition by stock_counts.store_id, stock_counts.item_id
            order by stock_counts.counted_at
        ) as previous_quantity
    from {{ ref('stg_pos__stock_counts') }} as stock_counts

),

changes as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        inventory_changes.change_type_id,
        inventory_changes.quantity,
        inventory_changes.occurred_at
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    left join {{ ref('stores') }} as stores
        on inventory_changes.store_id = stores.store_id
    cross join cursors
    where
        inventory_changes._ingest_id <= cursors.changes_through
        and (inventory_changes.change_type_id <> 4 or coalesce(stores.channel, '') <> 'online')

),

sums as (

    select
        counts.store_id,
        counts.item_id,
        counts.counted_at,
        counts.quantity,
        counts.previous_counted_at,
        counts.previous_quantity,
        coalesce(sum(changes.quantity), 0) as change_quantity,
        coalesce(sum(if(changes.change_type_id = 2, -changes.quantity, 0)), 0) as shrink_quantity,
        coalesce(sum(if(changes.change_type_id = 1, -changes.quantity, 0)), 0) as sold_quantity
    from counts
    left join changes
        on
            counts.store_id = changes.store_id
            and counts.item_id = changes.item_id
            and counts.counted_at >= changes.occurred_at
            and (
                counts.previous_counted_at is null
                or counts.previous_counted_at < changes.occurred_at
            )
    group by
        counts.store_id,
        counts.item_id,
        counts.counted_at,
        counts.quantity,
        counts.previous_counted_at,
        counts.previous_quantity

),

recomputed as (

    select
        store_id,
        item_id,
        counted_at,
        quantity as counted_quantity,
        previous_counted_at,
        change_quantity,
        coalesce(previous_quantity, 0) + change_quantity as book_quantity,
        quantity - coalesce(previous_quantity, 0) - change_quantity as variance_quantity,
        if(previous_counted_at is null, null, shrink_quantity) as recorded_shrink_quantity,
        if(previous_counted_at is null, null, previous_quantity + change_quantity - quantity)
            as found_shrink_quantity,
        if(previous_counted_at is null, null, sold_quantity) as sold_quantity
    from sums

),

only_in_variances as (

    select * from variances
    except
    select * from recomputed

),

only_in_recomputation as (

    select * from recomputed
    except
    select * from variances

)

select
    'only in stock_count_variances' as found,
    only_in_variances.*
from only_in_variances
union all
select
    'only in the recomputation' as found,
    only_in_recomputation.*
from only_in_recomputation
