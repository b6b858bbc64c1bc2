"""What every system must answer: on hand by store and item, worked out from the landed bytes alone.

DESIGN section 5, rule 1, in pyarrow and numpy, sharing no line with any system that is measured.
First all counts are read, which settles the latest one of each key, then all changes, each of
which is after it or not: so a history of any length needs memory for its keys alone. Several
answers (as of different ticks) come out of one reading.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
from numpy.typing import NDArray

from benchmarks.history import File, History

ONLINE_STORE_ID, BOPIS = 0, 4  # the online record of a BOPIS order moves no stock
COLUMNS = ("store_id", "item_id", "on_hand_quantity")

_ITEM_BITS = 32
_MESSAGE = pa.schema(
    [
        ("store_id", pa.int64()),
        ("date_time", pa.timestamp("s")),
        ("change_type_id", pa.int64()),
        ("items", pa.list_(pa.struct([("item_id", pa.int64()), ("quantity", pa.int64())]))),
    ]
)
_NEVER = np.iinfo(np.int64).min

Ints = NDArray[np.int64]


@dataclass
class Rows:
    """Counts or changes, a row each: key, time in seconds since 1970, quantity."""

    key: Ints
    at: Ints
    quantity: Ints


def parse_changes(data: bytes) -> Rows:
    """The changes that move stock in a landed file of messages."""
    options = pyarrow.json.ParseOptions(
        explicit_schema=_MESSAGE, unexpected_field_behavior="ignore"
    )
    table = pyarrow.json.read_json(io.BytesIO(data), parse_options=options).combine_chunks()
    items = (
        table["items"].chunk(0) if table.num_rows else pa.array([], _MESSAGE.field("items").type)
    )
    parent = pc.list_parent_indices(items)
    flat = items.flatten()
    store = np.asarray(table["store_id"].take(parent), np.int64)
    kind = np.asarray(table["change_type_id"].take(parent), np.int64)
    at = np.asarray(table["date_time"].take(parent).cast(pa.int64()), np.int64)
    moves = ~((store == ONLINE_STORE_ID) & (kind == BOPIS))
    key = _key(store, np.asarray(flat.field("item_id"), np.int64))
    return Rows(key[moves], at[moves], np.asarray(flat.field("quantity"), np.int64)[moves])


def parse_counts(data: bytes) -> Rows:
    """The rows of a landed count."""
    convert = pyarrow.csv.ConvertOptions(column_types={"date_time": pa.timestamp("s")})
    table = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=convert)
    return Rows(
        _key(np.asarray(table["store_id"], np.int64), np.asarray(table["item_id"], np.int64)),
        np.asarray(table["date_time"].cast(pa.int64()), np.int64),
        np.asarray(table["quantity"], np.int64),
    )


class Answer:
    """Accumulates one answer: first all counts, in order of arrival, then all changes."""

    def __init__(self) -> None:
        self._keys: Ints = np.empty(0, np.int64)
        self._at: Ints = np.empty(0, np.int64)
        self._quantity: Ints = np.empty(0, np.int64)

    def add_counts(self, rows: Rows) -> None:
        """Of a key's counts the latest stands; of two of one moment the last received."""
        place = self._places(rows.key)
        order = np.argsort(rows.at, kind="stable")
        standing = order[rows.at[order] >= self._at[place[order]]]
        # Where a key comes twice the last assignment stays: the latest count, received last.
        self._at[place[standing]] = rows.at[standing]
        self._quantity[place[standing]] = rows.quantity[standing]

    def add_changes(self, rows: Rows) -> None:
        """A change counts where it came strictly after its key's count."""
        place = self._places(rows.key)
        after = rows.at > self._at[place]
        self._quantity += np.bincount(
            place[after], weights=rows.quantity[after], minlength=len(self._keys)
        ).astype(np.int64)

    def table(self) -> pa.Table:
        """On hand, by store and item, in that order."""
        return pa.table(
            {
                "store_id": self._keys >> _ITEM_BITS,
                "item_id": self._keys & (2**_ITEM_BITS - 1),
                "on_hand_quantity": self._quantity,
            }
        )

    def _places(self, keys: Ints) -> Ints:
        """Where each key is; one not met before comes in: never counted, nothing on hand."""
        place = np.searchsorted(self._keys, keys)
        if len(self._keys):
            is_fresh = self._keys[np.minimum(place, len(self._keys) - 1)] != keys
        else:
            is_fresh = np.ones(len(keys), np.bool_)
        if not is_fresh.any():
            return place
        fresh = np.unique(keys[is_fresh])
        at = np.searchsorted(self._keys, fresh)
        self._keys = np.insert(self._keys, at, fresh)
        self._at = np.insert(self._at, at, _NEVER)
        self._quantity = np.insert(self._quantity, at, 0)
        return np.searchsorted(self._keys, keys)


def answers(history: History, stages: list[list[File]]) -> list[pa.Table]:
    """The answer after the history, and after each of the ``stages``, files that land one stage
    after the other: one table more than stages."""
    found = [Answer() for _ in range(len(stages) + 1)]
    for month in history.months():
        for _path, data in history.base.counts(month):
            _add_to(found, Answer.add_counts, parse_counts(data))
    for number, files in enumerate(stages, start=1):
        for path, data in files:
            if "/counts/" in path:
                _add_to(found[number:], Answer.add_counts, parse_counts(data))
    for month in history.months():
        for _path, data in history.base.changes(month):
            _add_to(found, Answer.add_changes, parse_changes(data))
    for number, files in enumerate(stages, start=1):
        for path, data in files:
            if "/changes/" in path:
                _add_to(found[number:], Answer.add_changes, parse_changes(data))
    return [answer.table() for answer in found]


def _add_to(answers: list[Answer], add: Callable[[Answer, Rows], None], rows: Rows) -> None:
    for answer in answers:
        add(answer, rows)


def differing_keys(found: pa.Table, expected: pa.Table) -> int:
    """How many keys have another quantity, or are in one of the two tables only.

    A key that only the system has may stand with nothing on hand: ours lists the item of an order
    that was never in stock.
    """
    found_key, found_quantity = _sorted(found)
    key, quantity = _sorted(expected)
    both, left, right = np.intersect1d(found_key, key, return_indices=True)
    unequal = int((found_quantity[left] != quantity[right]).sum())
    extra = np.delete(found_quantity, left)
    return unequal + int((extra != 0).sum()) + (len(key) - len(both))


def _sorted(table: pa.Table) -> tuple[Ints, Ints]:
    key = _key(
        np.asarray(table["store_id"].cast(pa.int64()), np.int64),
        np.asarray(table["item_id"].cast(pa.int64()), np.int64),
    )
    order = np.argsort(key)
    quantity = np.asarray(pc.fill_null(table["on_hand_quantity"].cast(pa.int64()), -(2**62)))
    return key[order], quantity[order]


def _key(store: Ints, item: Ints) -> Ints:
    return (store << _ITEM_BITS) | item
