"""The account of each item for its chart: the entries of the last weeks, in blocks of items.

The blocks hold a fixed number of items each, so that new entries change few of their files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loaders.page.encode import MICROSECONDS, Integers, exact
from loaders.page.gold import LEDGER, Gold
from loaders.page.stock import Stock

COLUMNS = [
    "store_id",
    "item_id",
    "change_type",
    "quantity",
    "balance_quantity",
    "occurred_at",
    "_receipt",
]
# Earlier entries would make the page grow for ever; gold keeps them all.
LEDGER_DAYS = 31
# What a key has more than this is left out of its chart, the oldest first: a few items of a large
# shop have ten thousand entries a month, which no chart shows.
MOST_ENTRIES = 1_000
# Some 60 KB in a month of 15 entries a key.
BLOCK_ITEMS = 250
KINDS = ("sale", "shrink", "restock", "bopis", "count")
COUNT = KINDS.index("count")


@dataclass
class Ledger:
    """Entries sorted by key and time; of one instant the changes first, as received, then the
    count. ``keys`` are those of :meth:`Stock.keys_of`."""

    keys: npt.NDArray[Any]
    at: Integers  # seconds since 1970
    kinds: npt.NDArray[np.int8]
    quantities: npt.NDArray[Any]
    balances: npt.NDArray[Any]

    def last(self) -> Ledger:
        """The last entry of each key alone."""
        ends = np.flatnonzero(np.diff(self.keys, append=-1))
        return Ledger(*(column[ends] for column in self._columns()))

    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.keys, self.at, self.kinds, self.quantities, self.balances

    def last_movements(self, keys: Integers) -> list[tuple[int, int, int] | None]:
        """Time, kind and quantity of the last entry of each key."""
        if not len(self.keys):
            return [None] * len(keys)
        ends = np.searchsorted(self.keys, keys, side="right") - 1
        found = (ends >= 0) & (self.keys[np.maximum(ends, 0)] == keys)
        return [
            (int(self.at[end]), int(self.kinds[end]), int(self.quantities[end]))
            if is_there
            else None
            for end, is_there in zip(ends, found, strict=True)
        ]


def first_day(clock: int | None) -> date | None:
    """The first day that the charts show, given the event clock."""
    if clock is None:
        return None
    try:
        return (datetime.fromtimestamp(clock, UTC) - timedelta(days=LEDGER_DAYS)).date()
    except (OverflowError, ValueError):  # a year that Python does not have
        return None


def ledger_of(gold: Gold, stock: Stock, since: date | None) -> Ledger | None:
    """The entries since a day, sorted; ``None`` while the ledger has not been built."""
    if LEDGER not in gold.versions:
        return None
    where = None if since is None else pc.field("occurred_on") >= since
    chunks: list[list[npt.NDArray[Any]]] = [[] for _ in range(6)]
    for batch in gold.batches(LEDGER, COLUMNS, where, as_codes=("change_type",)):
        for chunk, column in zip(chunks, _numbered(batch, stock), strict=True):
            chunk.append(column)
    # One column at a time, and narrow where the numbers are: a month has three million entries.
    keys, at, kinds, quantities, balances, receipts = (_joined(chunk) for chunk in chunks)
    order = np.lexsort((receipts, at, keys)).astype(np.int32 if len(keys) < 2**31 else np.int64)
    del receipts
    return Ledger(
        keys[order],
        at[order] // MICROSECONDS,
        kinds[order],
        quantities[order],
        balances[order],
    )


def _joined(chunk: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The parts of a column in one, which take no more memory then."""
    joined = np.concatenate(chunk) if chunk else np.empty(0, dtype=np.int64)
    chunk.clear()
    return joined


def _numbered(batch: pa.RecordBatch, stock: Stock) -> tuple[npt.NDArray[Any], ...]:
    """A batch's columns as numbers, without the keys that are not in stock's table yet."""
    columns = {name: batch.column(name) for name in COLUMNS}
    keys = stock.keys_of(
        columns["store_id"].to_numpy(zero_copy_only=False).astype(np.int64),
        columns["item_id"].to_numpy(zero_copy_only=False),
    )
    kinds = columns["change_type"]
    if not pa.types.is_dictionary(kinds.type):
        kinds = kinds.dictionary_encode()
    codes = np.array(
        [KINDS.index(kind) if kind in KINDS else -1 for kind in kinds.dictionary.to_pylist()],
        dtype=np.int8,
    )
    kind_codes = codes[kinds.indices.to_numpy(zero_copy_only=False)]
    at = columns["occurred_at"]
    micros = at.cast(pa.timestamp("us", tz=at.type.tz)).cast(pa.int64())
    # A count comes after the changes of its instant; it has no place in the order of receipt.
    receipts = pc.fill_null(columns["_receipt"], np.iinfo(np.int64).max)
    numbered = (
        _narrow(keys),
        micros.to_numpy(zero_copy_only=False),
        kind_codes,
        _narrow(columns["quantity"].to_numpy(zero_copy_only=False)),
        _narrow(columns["balance_quantity"].to_numpy(zero_copy_only=False)),
        receipts.to_numpy(zero_copy_only=False),
    )
    is_known = (keys >= 0) & (kind_codes >= 0)
    return numbered if is_known.all() else tuple(column[is_known] for column in numbered)


def _narrow(values: Integers) -> npt.NDArray[Any]:
    """The same numbers in half the memory, if they fit."""
    bounds = np.iinfo(np.int32)
    fits = not values.size or (values.min() >= bounds.min and values.max() <= bounds.max)
    return values.astype(np.int32) if fits else values


def ledger_blocks(ledger: Ledger, stock: Stock) -> Iterator[dict[str, Any]]:
    """One payload for each :data:`BLOCK_ITEMS` items, those without entries included."""
    stores = len(stock.stores)
    for start in range(0, len(stock.items), BLOCK_ITEMS):
        end = min(start + BLOCK_ITEMS, len(stock.items))
        first, last = np.searchsorted(ledger.keys, (start * stores, end * stores))
        yield _block(ledger, stock, int(first), int(last))


def _block(ledger: Ledger, stock: Stock, first: int, last: int) -> dict[str, Any]:
    keys = ledger.keys[first:last]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    totals = np.diff(np.append(starts, len(keys)))
    shown = np.minimum(totals, MOST_ENTRIES)
    # The place of each entry counted from its key's end.
    from_end = np.repeat(starts + totals, totals) - np.arange(len(keys))
    kept = np.flatnonzero(from_end <= MOST_ENTRIES) + first
    at = ledger.at[kept]
    base = int(at.min()) if len(at) else 0
    return {
        "base": base,
        "item": exact(stock.items[keys[starts] // len(stock.stores)]),
        "store": np.ascontiguousarray(keys[starts] % len(stock.stores)),
        "total": totals,
        "end": np.cumsum(shown),
        "at": at - base,
        "kind": np.ascontiguousarray(ledger.kinds[kept]),
        "quantity": exact(ledger.quantities[kept]),
        "balance": exact(ledger.balances[kept]),
    }
