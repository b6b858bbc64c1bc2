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
    or not is_below_safety_stock <=> coalesce(on_hand_quantity < safety_stock_quantity, false)
    or not is_known_store <=> (store_name is not null)
    or is_known_item is null
    or _changes_ingest_id is null
    or _counts_ingest_id is null
    or _items_ingest_id is null
