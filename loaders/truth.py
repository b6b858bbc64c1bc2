"""What the inventory must be at a given moment, from the truth beside a simulated month.

Kept apart from the models and written from DESIGN section 5, rules 1 to 4, in numpy: no SQL is
shared with the tables that it is to check.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loaders.errors import UserError
from loaders.simulator.config import SHOP_STORE_ID

Ints = NDArray[np.int64]

RELEASE = timedelta(days=7)  # of the project's var bopis_release_days


@dataclass(frozen=True)
class _Keys:
    """One code per (store, item) that several tables share; its order is that of (store, item)."""

    lowest: int  # item
    span: int  # of the items

    @classmethod
    def of(cls, *tables: pa.Table) -> _Keys:
        items = [_ints(table, "item_id") for table in tables]
        lowest = min(each.min(initial=2**62) for each in items)
        highest = max(each.max(initial=lowest) for each in items)
        return cls(int(lowest), int(highest - lowest + 1))

    def coded(self, table: pa.Table) -> Ints:
        return _ints(table, "store_id") * self.span + _ints(table, "item_id") - self.lowest

    def stores(self, keys: Ints) -> Ints:
        return keys // self.span

    def items(self, keys: Ints) -> Ints:
        return keys % self.span + self.lowest


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
    found = [_on_hand(part, clock) for part in _parts(month_dir)]
    return pa.concat_tables(found).sort_by([("store_id", "ascending"), ("item_id", "ascending")])


def _on_hand(part: Path, clock: datetime) -> pa.Table:
    """As expected_on_hand(), of the stores whose truth lies in the folder `part`."""
    counts = _sent_until(part / "counts.parquet", clock)
    moves = _sent_until(part / "movements.parquet", clock)
    keys_of = _Keys.of(counts, moves)
    count_key, move_key = keys_of.coded(counts), keys_of.coded(moves)
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
            "store_id": pa.array(keys_of.stores(keys), pa.int32()),
            "item_id": keys_of.items(keys),
            "on_hand_quantity": counted + changed,
            "counted_quantity": pa.array(counted, pa.int64(), mask=~is_counted),
            "counted_at": at.cast(pa.timestamp("us")),
            "change_quantity": changed,
            "is_counted": is_counted,
        }
    )


def expected_commitments(month_dir: Path, clock: datetime) -> pa.Table:
    """The units that open orders commit once everything sent up to `clock` is taken in.

    One row per (store, item) that has an order, sorted by them: store_id int32, item_id int64,
    committed_quantity int64. An order is let go of when the event clock, the latest event of all
    that has been sent, is more than RELEASE past it.
    """
    parts = _parts(month_dir)
    orders = pa.concat_tables(_sent_until(part / "orders.parquet", clock) for part in parts)
    pickups = pa.concat_tables(_sent_until(part / "pickups.parquet", clock) for part in parts)
    event_clock = _micros(orders, "ordered_at").max(initial=0)
    for part in parts:
        moves = _sent_until(part / "movements.parquet", clock)
        event_clock = max(event_clock, _micros(moves, "occurred_at").max(initial=0))
    ordered = orders.group_by(["trans_id", "item_id"]).aggregate(
        [("quantity", "sum"), ("ordered_at", "min"), ("fulfillment_store_id", "min")]
    )
    collected = pickups.group_by(["trans_id", "item_id"]).aggregate([("quantity", "sum")])
    joined = ordered.join(
        collected, keys=["trans_id", "item_id"], join_type="left outer", right_suffix="_collected"
    )
    rest = _ints(joined, "quantity_sum") - np.asarray(
        pc.fill_null(joined["quantity_sum_collected"], 0).to_numpy(), np.int64
    )
    is_kept = event_clock <= _micros(joined, "ordered_at_min") + RELEASE // timedelta(
        microseconds=1
    )
    rows = pa.table(
        {
            "store_id": pc.fill_null(joined["fulfillment_store_id_min"], SHOP_STORE_ID),
            "item_id": joined["item_id"],
            "committed_quantity": np.where(is_kept, np.maximum(rest, 0), 0),
        }
    )
    summed = rows.group_by(["store_id", "item_id"]).aggregate([("committed_quantity", "sum")])
    return (
        summed.rename_columns({"committed_quantity_sum": "committed_quantity"})
        .select(["store_id", "item_id", "committed_quantity"])
        .sort_by([("store_id", "ascending"), ("item_id", "ascending")])
    )


def expected_variances(month_dir: Path, clock: datetime) -> pa.Table:
    """What the books said at each count, once everything sent up to `clock` is taken in.

    One row per (store, item, counted_at), in no particular order: store_id, item_id int64,
    counted_at timestamp[us], counted_quantity, book_quantity, variance_quantity int64. The book is
    the count before it plus what moved after that one and no later than this one.
    """
    return pa.concat_tables([_variances(part, clock) for part in _parts(month_dir)])


def _variances(part: Path, clock: datetime) -> pa.Table:
    """As expected_variances(), of the stores whose truth lies in the folder `part`."""
    counts = _sent_until(part / "counts.parquet", clock)
    moves = _sent_until(part / "movements.parquet", clock)
    keys_of = _Keys.of(counts, moves)
    count_key, move_key = keys_of.coded(counts), keys_of.coded(moves)
    counted_at, sent_at = _micros(counts, "counted_at"), _micros(counts, "sent_at")

    order = np.lexsort((sent_at, counted_at, count_key))
    key, at = count_key[order], counted_at[order]
    last = np.append((key[1:] != key[:-1]) | (at[1:] != at[:-1]), True)[: len(order)]
    key, at = key[last], at[last]
    quantity = _ints(counts, "quantity")[order][last]

    # Units moved up to each count, over all keys in the order of (key, time): differences of these
    # within one key are what moved between two of its counts.
    move_at = _micros(moves, "occurred_at")
    by_time = np.lexsort((move_at, move_key))
    moved = np.concatenate([[0], np.cumsum(_ints(moves, "quantity")[by_time])])
    begins = np.searchsorted(move_key[by_time], key, side="left")
    upto = _count_no_later(move_key[by_time], move_at[by_time], key, at)
    is_first = np.append(True, key[1:] != key[:-1])[: len(key)]
    previous_upto = np.where(is_first, begins, np.append(0, upto[:-1])[: len(key)])
    previous_quantity = np.where(is_first, 0, np.append(0, quantity[:-1])[: len(key)])
    book = previous_quantity + moved[upto] - moved[previous_upto]
    return pa.table(
        {
            "store_id": keys_of.stores(key),
            "item_id": keys_of.items(key),
            "counted_at": pa.array(at, pa.int64()).cast(pa.timestamp("us")),
            "counted_quantity": quantity,
            "book_quantity": book,
            "variance_quantity": quantity - book,
        }
    )


def _count_no_later(move_key: Ints, move_at: Ints, key: Ints, at: Ints) -> Ints:
    """For each (key, at) how many of the moves, sorted by (key, time), come no later."""
    both_key = np.concatenate([move_key, key])
    both_at = np.concatenate([move_at, at])
    is_count = np.concatenate([np.zeros(len(move_key), np.int8), np.ones(len(key), np.int8)])
    order = np.lexsort((is_count, both_at, both_key))  # at one instant the move comes first
    moves_before = np.cumsum(is_count[order] == 0)
    found = np.empty(len(order), np.int64)
    found[order] = moves_before
    return found[len(move_key) :]


def _standing_counts(key: Ints, counted_at: Ints, sent_at: Ints) -> Ints:
    """Row of the count that stands, for each key that has one."""
    latest: Ints = np.lexsort((sent_at, counted_at, key))  # stable: the later row of equals is last
    ordered = key[latest]
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    standing: Ints = latest[last]
    return standing


def _parts(month_dir: Path) -> list[Path]:
    """The folders that the truth lies in: one for a month, one for each store of a chain."""
    truth = month_dir / "truth"
    if (truth / "movements.parquet").exists():
        return [truth]
    return sorted(path.parent for path in truth.glob("*/movements.parquet"))


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
