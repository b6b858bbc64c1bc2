-- The last balance of each item's account is what is on hand, and an item without an account has
-- nothing on hand. Otherwise an analyst who reads the account and a till that reads the stock would
-- tell two stories. Keys that something has happened to since the ledger was built are left out.
{{ config(tags=['full']) }}

with

cursors as (

    select
        max(_changes_ingest_id) as changes_through,
        max(_publication) as published_through
    from {{ ref('inventory_ledger') }}

),

touched_since as (

    select
        inventory_changes.store_id,
        inventory_changes.item_id
    from {{ ref('stg_pos__inventory_changes') }} as inventory_changes
    cross join cursors
    where inventory_changes._ingest_id > cursors.changes_through

    union

    select
        variances.store_id,
        variances.item_id
    from {{ ref('stock_count_variances') }} as variances
    cross join cursors
    where variances._publication > cursors.published_through

),

numbered as (

    select
        store_id,
        item_id,
        balance_quantity,
        row_number() over (
            partition by store_id, item_id
            order by occurred_at desc, change_type = 'count' desc, _receipt desc
        ) as newest_first
    from {{ ref('inventory_ledger') }}

),

last_entries as (

    select *
    from numbered
    where newest_first = 1

),

positions as (

    select
        store_id,
        item_id,
        on_hand_quantity,
        is_counted
    from {{ ref('inventory_current') }}

)

select
    coalesce(positions.store_id, last_entries.store_id) as store_id,
    coalesce(positions.item_id, last_entries.item_id) as item_id,
    positions.on_hand_quantity,
    last_entries.balance_quantity
from positions
full outer join last_entries
    on
        positions.store_id = last_entries.store_id
        and positions.item_id = last_entries.item_id
left anti join touched_since
    on
        coalesce(positions.store_id, last_entries.store_id) = touched_since.store_id
        and coalesce(positions.item_id, last_entries.item_id) = touched_since.item_id
where
    not positions.on_hand_quantity <=> coalesce(last_entries.balance_quantity, 0)
    or (last_entries.store_id is null and positions.is_counted)
