-- What the increments have carried forward is what silver says when it is added up from the
-- beginning: no row more, none less, none otherwise. Written from the rules, not from the model.
-- Silver is read up to the commits that gold has read, so that a load that goes on beside it does
-- not disturb.
{{ config(tags=['full']) }}

with

inventory as (

    select
        store_id,
        item_id,
        store_name,
        channel,
        item_name,
        on_hand_quantity,
        committed_quantity,
        available_quantity,
        available_to_promise_quantity,
        counted_quantity,
        change_quantity,
        sale_quantity,
        shrink_quantity,
        restock_quantity,
        bopis_quantity,
        lifetime_change_quantity,
        lifetime_bopis_quantity,
        safety_stock_quantity,
        is_counted,
        is_negative,
        is_below_safety_stock,
        is_known_store,
        is_known_item,
        counted_at,
        last_changed_at
    from {{ ref('inventory_current') }}

),

cursors as (

    select
        max(_changes_ingest_id) as changes_through,
        max(_counts_ingest_id) as counts_through
    from {{ ref('inventory_current') }}

),

changes as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id,
        inventory_changes.change_type_id,
        inventory_changes.quantity,
        inventory_changes.occurred_at
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    cross join cursors
    where inventory_changes._ingest_id <= cursors.changes_through

),

numbered_counts as (

    select
        stock_counts.store_id,
        stock_counts.item_id,
        stock_counts.quantity,
        stock_counts.counted_at,
        row_number() over (
            partition by stock_counts.store_id, stock_counts.item_id
            order by stock_counts.counted_at desc
        ) as newest_first
    from {{ ref('stg_pos__stock_counts') }} as stock_counts
    cross join cursors
    where stock_counts._ingest_id <= cursors.counts_through

),

-- As they stand: what they commit is what this is about, not how they came to it.
commitments as (

    select
        fulfillment_store_id as store_id,
        item_id,
        sum(if(status in ('open', 'partly_collected'), open_quantity, 0)) as committed_quantity
    from {{ ref('bopis_orders') }}
    where fulfillment_store_id is not null
    group by fulfillment_store_id, item_id

),

keys as (

    select
        store_id,
        item_id
    from changes
    union
    select
        store_id,
        item_id
    from numbered_counts
    union
    select
        store_id,
        item_id
    from commitments

),

latest_counts as (

    select
        keys.store_id,
        keys.item_id,
        numbered_counts.quantity as counted_quantity,
        numbered_counts.counted_at
    from keys
    left join numbered_counts
        on
            keys.store_id = numbered_counts.store_id
            and keys.item_id = numbered_counts.item_id
            and numbered_counts.newest_first = 1

),

sums as (

    select
        latest_counts.store_id,
        latest_counts.item_id,
        latest_counts.counted_quantity,
        latest_counts.counted_at,
        {%- for change_type_id in [1, 2, 3, 4] %}
        coalesce(
            sum(
                case
                    when
                        changes.change_type_id = {{ change_type_id }}
                        and (
                            latest_counts.counted_at is null
                            or changes.occurred_at > latest_counts.counted_at
                        )
                        then changes.quantity
                end
            ),
            0
        ) as quantity_{{ change_type_id }},
        coalesce(
            sum(if(changes.change_type_id = {{ change_type_id }}, changes.quantity, 0)), 0
        ) as lifetime_{{ change_type_id }},
        {%- endfor %}
        max(changes.occurred_at) as last_changed_at
    from latest_counts
    left join changes
        on
            latest_counts.store_id = changes.store_id
            and latest_counts.item_id = changes.item_id
    group by
        latest_counts.store_id,
        latest_counts.item_id,
        latest_counts.counted_quantity,
        latest_counts.counted_at

),

moved as (

    select
        sums.*,
        stores.store_name,
        stores.channel,
        items.item_name,
        items.safety_stock_quantity,
        stores.store_id is not null as is_known_store,
        items.item_id is not null as is_known_item,
        sums.quantity_1 + sums.quantity_2 + sums.quantity_3
        + if(coalesce(stores.channel, '') = 'online', 0, sums.quantity_4) as change_quantity,
        sums.lifetime_1 + sums.lifetime_2 + sums.lifetime_3
        + if(coalesce(stores.channel, '') = 'online', 0, sums.lifetime_4)
            as lifetime_change_quantity,
        coalesce(commitments.committed_quantity, 0) as committed_quantity
    from sums
    left join commitments
        on sums.store_id = commitments.store_id and sums.item_id = commitments.item_id
    left join {{ ref('stores') }} as stores
        on sums.store_id = stores.store_id
    left join {{ ref('stg_pos__items') }} as items
        on sums.item_id = items.item_id

),

recomputed as (

    select
        store_id,
        item_id,
        store_name,
        channel,
        item_name,
        coalesce(counted_quantity, 0) + change_quantity as on_hand_quantity,
        committed_quantity,
        coalesce(counted_quantity, 0) + change_quantity - committed_quantity as available_quantity,
        greatest(
            coalesce(counted_quantity, 0) + change_quantity - committed_quantity
            - coalesce(safety_stock_quantity, 0),
            0
        ) as available_to_promise_quantity,
        counted_quantity,
        change_quantity,
        quantity_1 as sale_quantity,
        quantity_2 as shrink_quantity,
        quantity_3 as restock_quantity,
        quantity_4 as bopis_quantity,
        lifetime_change_quantity,
        lifetime_4 as lifetime_bopis_quantity,
        safety_stock_quantity,
        counted_at is not null as is_counted,
        coalesce(counted_quantity, 0) + change_quantity < 0 as is_negative,
        safety_stock_quantity is not null
        and coalesce(counted_quantity, 0) + change_quantity - committed_quantity
        < safety_stock_quantity
            as is_below_safety_stock,
        is_known_store,
        is_known_item,
        counted_at,
        last_changed_at
    from moved

),

only_in_inventory as (

    select * from inventory
    except
    select * from recomputed

),

only_in_recomputation as (

    select * from recomputed
    except
    select * from inventory

)

select
    'only in inventory_current' as found,
    only_in_inventory.*
from only_in_inventory
union all
select
    'only in the recomputation' as found,
    only_in_recomputation.*
from only_in_recomputation
