"""What is in stock: the keys in blocks, the totals of each store, and what changed last.

A key is a store and an item; keys are in the order of the item's number, then the store's. The
page reads a block when it shows one of its rows, so nobody waits for 200,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loaders.page.encode import (
    Column,
    Integers,
    clipped,
    exact,
    exact_number,
    flags,
    numbers,
    second,
    seconds,
    times,
)
from loaders.page.gold import foremost

COLUMNS = [
    "store_id",
    "item_id",
    "store_name",
    "channel",
    "item_name",
    "on_hand_quantity",
    "committed_quantity",
    "available_quantity",
    "available_to_promise_quantity",
    "safety_stock_quantity",
    "counted_quantity",
    "sale_quantity",
    "shrink_quantity",
    "restock_quantity",
    "bopis_quantity",
    "change_quantity",
    "counted_at",
    "last_changed_at",
    "is_counted",
    "is_negative",
    "is_below_safety_stock",
    "is_known_store",
    "is_known_item",
]
# Some 90 KB of each.
BLOCK_ROWS = 4_000
NAMES_BLOCK_ITEMS = 2_000
CHANGED_SHOWN = 100

# What the page says of a key, as bits of one number.
NEGATIVE, NOTHING_AVAILABLE, BELOW_SAFETY, NEVER_COUNTED, UNKNOWN_ITEM, UNKNOWN_STORE = (
    1 << bit for bit in range(6)
)
TROUBLES = {
    "negative": NEGATIVE,
    "nothing_available": NOTHING_AVAILABLE,
    "below_safety": BELOW_SAFETY,
    "never_counted": NEVER_COUNTED,
}

Block = tuple[int, int]


@dataclass
class Stock:
    """The keys, sorted; ``items`` are the distinct numbers, ``stores`` the rows of the totals."""

    rows: pa.Table
    items: Integers
    item_places: npt.NDArray[np.int64]  # of each row, in ``items``
    stores: list[dict[str, Any]]
    store_codes: npt.NDArray[np.int64]  # of each row, in ``stores``
    flags: npt.NDArray[np.int64]

    @property
    def clock(self) -> int | None:
        """The event clock: the latest event of all, in seconds since 1970."""
        return second(pc.max(self.rows["last_changed_at"]))

    @cached_property
    def totals(self) -> dict[str, int | str]:
        """The sums over all stores."""
        return {
            name: exact_number(sum(int(store[name]) for store in self.stores))
            for name in ("on_hand", "committed", "available", *TROUBLES)
        }

    @cached_property
    def names(self) -> pa.Array:
        """The name of each of ``items``, cut to what is shown."""
        first_rows = np.searchsorted(self.item_places, np.arange(len(self.items)))
        return _in_one(clipped(self.rows["item_name"].take(pa.array(first_rows))))

    def names_of(self, item_ids: pa.ChunkedArray) -> list[str | None]:
        """The names of any items; those that are in no store have none."""
        places = pc.index_in(item_ids.cast(pa.int64()), pa.array(self.items))
        names: list[str | None] = self.names.take(_in_one(places)).to_pylist()
        return names

    def rows_of(self, store_ids: pa.ChunkedArray, item_ids: pa.ChunkedArray) -> pa.Array:
        """Places of keys in ``rows``, null of those that are not there."""
        own = self.keys_of(
            self.rows["store_id"].to_numpy().astype(np.int64), self.rows["item_id"].to_numpy()
        )
        asked = self.keys_of(
            store_ids.to_numpy().astype(np.int64), item_ids.to_numpy().astype(np.int64)
        )
        places = np.searchsorted(own, asked)
        found = (asked >= 0) & (own[np.minimum(places, len(own) - 1)] == asked)
        return pa.array(places, mask=~found)

    def keys_of(self, store_ids: Integers, item_ids: Integers) -> Integers:
        """One number for each key, in the order of the rows; -1 where store or item is unknown."""
        known_stores = np.array([store["id"] for store in self.stores], dtype=np.int64)
        keys = np.full(len(store_ids), -1, dtype=np.int64)
        if not len(self.items):
            return keys
        items = np.minimum(np.searchsorted(self.items, item_ids), len(self.items) - 1)
        stores = np.minimum(np.searchsorted(known_stores, store_ids), len(known_stores) - 1)
        found = (self.items[items] == item_ids) & (known_stores[stores] == store_ids)
        keys[found] = items[found] * len(known_stores) + stores[found]
        return keys


def stock_of(current: pa.Table) -> Stock:
    """Sort and number the rows of ``gold.inventory_current``."""
    rows = current.sort_by([("item_id", "ascending"), ("store_id", "ascending")])
    items, item_places = np.unique(rows["item_id"].to_numpy().astype(np.int64), return_inverse=True)
    bits = np.zeros(rows.num_rows, dtype=np.int64)
    for bit, condition in (
        (NEGATIVE, rows["is_negative"]),
        (NOTHING_AVAILABLE, pc.less_equal(rows["available_quantity"], 0)),
        (BELOW_SAFETY, rows["is_below_safety_stock"]),
        (NEVER_COUNTED, pc.invert(rows["is_counted"])),
        (UNKNOWN_ITEM, pc.invert(rows["is_known_item"])),
        (UNKNOWN_STORE, pc.invert(rows["is_known_store"])),
    ):
        bits |= np.array(flags(condition), dtype=np.int64) * bit
    stores = _totals(rows, bits)
    ids = np.array([store["id"] for store in stores], dtype=np.int64)
    codes = np.searchsorted(ids, rows["store_id"].to_numpy().astype(np.int64))
    return Stock(rows, items, item_places.astype(np.int64), stores, codes, bits)


def _totals(rows: pa.Table, bits: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """One row a store: its name, how many keys, units and troubles, and its latest times."""
    counted = rows.select(["store_id"])
    for name in ("on_hand_quantity", "committed_quantity", "available_quantity"):
        counted = counted.append_column(name, rows[name])
    for name, bit in TROUBLES.items():
        counted = counted.append_column(name, pa.array((bits & bit > 0).astype(np.int64)))
    for name in ("store_name", "channel", "is_known_store", "last_changed_at", "counted_at"):
        counted = counted.append_column(name, rows[name])
    totals = (
        counted.group_by("store_id")
        .aggregate(
            [
                ("store_id", "count"),
                ("on_hand_quantity", "sum"),
                ("committed_quantity", "sum"),
                ("available_quantity", "sum"),
                *((name, "sum") for name in TROUBLES),
                *((name, "max") for name in ("store_name", "channel", "is_known_store")),
                *((name, "max") for name in ("last_changed_at", "counted_at")),
            ]
        )
        .sort_by("store_id")
    )
    columns: dict[str, Any] = {
        "id": numbers(totals["store_id"]),
        "name": clipped(totals["store_name_max"]).to_pylist(),
        "channel": clipped(totals["channel_max"]).to_pylist(),
        "is_known": flags(totals["is_known_store_max"]),
        "keys": numbers(totals["store_id_count"]),
        "on_hand": numbers(totals["on_hand_quantity_sum"]),
        "committed": numbers(totals["committed_quantity_sum"]),
        "available": numbers(totals["available_quantity_sum"]),
        **{name: numbers(totals[f"{name}_sum"]) for name in TROUBLES},
        "changed_at": times(totals["last_changed_at_max"]),
        "counted_at": times(totals["counted_at_max"]),
    }
    listed = {name: list(values) for name, values in columns.items()}
    return [
        {
            name: int(value) if isinstance(value, np.integer) else value
            for name, value in zip(listed, row, strict=True)
        }
        for row in zip(*listed.values(), strict=True)
    ]


def blocks_of(stock: Stock) -> list[Block]:
    """Where the blocks of rows begin and end; an item is whole in one of them."""
    if not stock.rows.num_rows:
        return []
    first_rows = np.searchsorted(stock.item_places, np.arange(len(stock.items)))
    block_of_item = first_rows // BLOCK_ROWS
    starts = first_rows[np.flatnonzero(np.diff(block_of_item, prepend=-1))]
    return list(zip(starts.tolist(), [*starts[1:].tolist(), stock.rows.num_rows], strict=True))


def stock_block(stock: Stock, block: Block) -> dict[str, Any]:
    """What the table of the stock shows of a block's rows."""
    rows = _slice(stock.rows, block)
    start, end = block
    base, changed_at = _from_base(rows["last_changed_at"])
    return {
        "base": base,
        "item": exact(rows["item_id"].to_numpy().astype(np.int64)),
        "store": np.ascontiguousarray(stock.store_codes[start:end]),
        "on_hand": numbers(rows["on_hand_quantity"]),
        "committed": numbers(rows["committed_quantity"]),
        "available": numbers(rows["available_quantity"]),
        "safety": numbers(rows["safety_stock_quantity"]),
        "changed_at": changed_at,
        "flags": np.ascontiguousarray(stock.flags[start:end]),
    }


def details_block(stock: Stock, block: Block) -> dict[str, Any]:
    """What only the page of one item shows: how its on hand comes about."""
    rows = _slice(stock.rows, block)
    base, counted_at = _from_base(rows["counted_at"])
    return {
        "base": base,
        "counted": numbers(rows["counted_quantity"]),
        "counted_at": counted_at,
        "sale": numbers(rows["sale_quantity"]),
        "shrink": numbers(rows["shrink_quantity"]),
        "restock": numbers(rows["restock_quantity"]),
        "bopis": numbers(rows["bopis_quantity"]),
        "change": numbers(rows["change_quantity"]),
        "to_promise": numbers(rows["available_to_promise_quantity"]),
    }


def rows_by_store(stock: Stock, block: Block) -> list[int]:
    """How many of a block's rows each store has, so that the page can count through them."""
    counts: list[int] = np.bincount(
        stock.store_codes[block[0] : block[1]], minlength=len(stock.stores)
    ).tolist()
    return counts


def names_blocks(stock: Stock) -> Iterator[dict[str, Any]]:
    """The items' numbers and names, to search in."""
    for start in range(0, len(stock.items), NAMES_BLOCK_ITEMS):
        end = start + NAMES_BLOCK_ITEMS
        yield {
            "item": exact(stock.items[start:end]),
            "name": stock.names[start:end].to_pylist(),
        }


def changed_rows(stock: Stock) -> pa.Array:
    """Places of the keys that changed last, by event time, the newest first."""
    rows = stock.rows.select(["last_changed_at", "item_id", "store_id"])
    rows = rows.append_column("place", pa.array(np.arange(rows.num_rows)))
    rows = rows.filter(pc.is_valid(rows["last_changed_at"]))
    newest = foremost(
        rows,
        CHANGED_SHOWN,
        [("last_changed_at", "descending"), ("item_id", "ascending"), ("store_id", "ascending")],
    )
    return _in_one(newest["place"])


def changed(stock: Stock, places: pa.Array) -> dict[str, Any]:
    """What is shown of these keys."""
    rows = stock.rows.take(places)
    return {
        "item": numbers(rows["item_id"]),
        "name": stock.names_of(rows["item_id"]),
        "store": numbers(rows["store_id"]),
        "on_hand": numbers(rows["on_hand_quantity"]),
        "available": numbers(rows["available_quantity"]),
        "changed_at": times(rows["last_changed_at"]),
        "flags": stock.flags[places.to_numpy()],
    }


def _from_base(values: pa.ChunkedArray) -> tuple[int, Column]:
    """Times as seconds since the earliest of them, which halves their digits."""
    whole = seconds(values)
    base = pc.min(whole).as_py() or 0
    return base, numbers(pc.subtract(whole, base))


def _slice(rows: pa.Table, block: Block) -> pa.Table:
    start, end = block
    return rows.slice(start, end - start)


def _in_one(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
