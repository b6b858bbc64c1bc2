"""What the inventory must be at a given moment, from the truth beside a simulated month.

Kept apart from the models and written from DESIGN section 5, rule 1, in numpy: no SQL is shared
with the tables that it is to check.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loaders.errors import UserError

Ints = NDArray[np.int64]


def expected_on_hand(month_dir: Path, clock: datetime) -> pa.Table:
    """The inventory as it must stand once everything sent up to `clock` (naive UTC, inclusive) is
    taken in.

    One row per (store, item) that was counted or moved, sorted by them: store_id int32, item_id
    int64, on_hand_quantity int64, counted_quantity int64 and counted_at timestamp[us] (null where
    never counted), change_quantity int64 (units that moved strictly after the count; all of them
    where never counted), is_counted bool. On hand = counted + changed. Of a key's counts the latest
    counted_at stands; of that one's versions the last sent, of two sent together the later row.

    Raises UserError where `month_dir` holds no finished month.
    """
    if not (month_dir / "month.json").is_file():
        raise UserError(f"{month_dir} holds no finished month (no month.json); run `pos simulate`")
    counts = _sent_until(month_dir / "truth" / "counts.parquet", clock)
    moves = _sent_until(month_dir / "truth" / "movements.parquet", clock)
    # One code per (store, item) that both tables share; its order is that of (store, item).
    count_item, move_item = _ints(counts, "item_id"), _ints(moves, "item_id")
    lowest = min(count_item.min(initial=2**62), move_item.min(initial=2**62))
    span = max(count_item.max(initial=lowest), move_item.max(initial=lowest)) - lowest + 1
    count_key = _ints(counts, "store_id") * span + count_item - lowest
    move_key = _ints(moves, "store_id") * span + move_item - lowest
    keys = np.union1d(_distinct(count_key), _distinct(move_key))

    standing = _standing_counts(
        count_key, _micros(counts, "counted_at"), _micros(counts, "sent_at")
    )
    place = np.searchsorted(keys, count_key[standing])
    is_counted = np.zeros(len(keys), np.bool_)
    is_counted[place] = True
    counted = np.zeros(len(keys), np.int64)
    counted[place] = _ints(counts, "quantity")[standing]
    counted_at = np.full(len(keys), np.iinfo(np.int64).min)  # before everything: never counted
    counted_at[place] = _micros(counts, "counted_at")[standing]

    place = np.searchsorted(keys, move_key)
    after = _micros(moves, "occurred_at") > counted_at[place]
    changed = np.zeros(len(keys), np.int64)
    np.add.at(changed, place[after], _ints(moves, "quantity")[after])

    at = pa.array(np.where(is_counted, counted_at, 0), pa.int64(), mask=~is_counted)
    return pa.table(
        {
            "store_id": pa.array(keys // span, pa.int32()),
            "item_id": keys % span + lowest,
            "on_hand_quantity": counted + changed,
            "counted_quantity": pa.array(counted, pa.int64(), mask=~is_counted),
            "counted_at": at.cast(pa.timestamp("us")),
            "change_quantity": changed,
            "is_counted": is_counted,
        }
    )


def _standing_counts(key: Ints, counted_at: Ints, sent_at: Ints) -> Ints:
    """Row of the count that stands, for each key that has one."""
    latest: Ints = np.lexsort((sent_at, counted_at, key))  # stable: the later row of equals is last
    ordered = key[latest]
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    standing: Ints = latest[last]
    return standing


def _sent_until(path: Path, clock: datetime) -> pa.Table:
    table = pq.read_table(path)
    return table.filter(pc.less_equal(table["sent_at"], pa.scalar(clock, pa.timestamp("us"))))


def _distinct(key: Ints) -> Ints:
    return np.asarray(pc.unique(pa.array(key)).to_numpy())  # by hashing, faster than sorting


def _ints(table: pa.Table, column: str) -> Ints:
    return np.asarray(table[column].to_numpy(), np.int64)


def _micros(table: pa.Table, column: str) -> Ints:
    """Microseconds since 1970."""
    return np.asarray(table[column].cast(pa.int64()).to_numpy())
