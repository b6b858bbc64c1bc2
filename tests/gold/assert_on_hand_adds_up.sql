-- On hand is the latest count plus the changes since, and the flags say what the figures say. A
-- row that does not add up was carried forward wrongly, and every later increment would build on
-- it.

select *
from {{ ref('inventory_current') }}
where
    not on_hand_quantity <=> coalesce(counted_quantity, 0) + change_quantity
    or not change_quantity
    <=> sale_quantity + shrink_quantity + restock_quantity
    + case when channel <=> 'online' then 0 else bopis_quantity end
    or bopis_quantity is null
    or not is_counted <=> (counted_quantity is not null)
    or not is_counted <=> (counted_at is not null)
    or not is_negative <=> (on_hand_quantity < 0)
    or not available_quantity <=> on_hand_quantity - committed_quantity
    or not available_to_promise_quantity
    <=> greatest(available_quantity - coalesce(safety_stock_quantity, 0), 0)
    or not is_below_safety_stock <=> coalesce(available_quantity < safety_stock_quantity, false)
    or lifetime_change_quantity is null
    or lifetime_bopis_quantity is null
    or not is_known_store <=> (store_name is not null)
    or is_known_item is null
    or _changes_ingest_id is null
    or _counts_ingest_id is null
    or _items_ingest_id is null
