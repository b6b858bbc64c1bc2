"""Hold gold against the simulator's truth, key by key.

Reads the Delta table as any reader would, and the truth files that no model ever sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from loaders.load import open_table
from loaders.places import Place
from loaders.truth import expected_commitments, expected_on_hand, expected_variances

KEYS = ["store_id", "item_id"]
COMPARED = [
    "on_hand_quantity",
    "counted_quantity",
    "counted_at",
    "change_quantity",
    "is_counted",
    "committed_quantity",
    "available_quantity",
]
VARIANCE_KEYS = [*KEYS, "counted_at"]
VARIANCES = ["counted_quantity", "book_quantity", "variance_quantity"]


@dataclass(frozen=True)
class Comparison:
    """Keys compared and the first differences, as sentences; equal when there are none."""

    keys: int
    differences: int
    examples: tuple[str, ...]


def compare_with_truth(lakehouse: Place, month: Path, clock: datetime) -> Comparison:
    """Compare ``gold.inventory_current`` with the truth at the event ``clock``.

    A key that only gold has must be one that the truth has nothing to say of: an order without any
    movement and commitment, whose stock is 0.
    """
    gold = _gold(lakehouse, "inventory_current", KEYS + COMPARED)
    truth = _with_commitments(expected_on_hand(month, clock), expected_commitments(month, clock))
    return _compare(gold, truth.select(KEYS + COMPARED), KEYS, COMPARED)


def compare_variances_with_truth(lakehouse: Place, month: Path, clock: datetime) -> Comparison:
    """Compare ``gold.stock_count_variances`` with the truth at the event ``clock``."""
    gold = _gold(lakehouse, "stock_count_variances", VARIANCE_KEYS + VARIANCES)
    truth = expected_variances(month, clock)
    return _compare(gold, truth.select(VARIANCE_KEYS + VARIANCES), VARIANCE_KEYS, VARIANCES)


def _gold(lakehouse: Place, name: str, columns: list[str]) -> pa.Table:
    return pa.table(open_table(lakehouse / "gold" / name).to_pyarrow_table(columns=columns))


def _with_commitments(on_hand: pa.Table, commitments: pa.Table) -> pa.Table:
    """The inventory with what is committed and available of it; all keys of both."""
    joined = on_hand.cast(_types(on_hand)).join(
        commitments.cast(_types(commitments)), keys=KEYS, join_type="full outer"
    )
    for column, nothing in (
        ("on_hand_quantity", 0),
        ("change_quantity", 0),
        ("is_counted", False),
        ("committed_quantity", 0),
    ):
        position = joined.column_names.index(column)
        joined = joined.set_column(position, column, pc.fill_null(joined[column], nothing))
    available = pc.subtract(joined["on_hand_quantity"], joined["committed_quantity"])
    return joined.append_column("available_quantity", available)


def _compare(gold: pa.Table, truth: pa.Table, keys: list[str], compared: list[str]) -> Comparison:
    """Compare two tables by key; what only gold has must say nothing (zeros, no count)."""
    joined = (
        truth.cast(_types(truth))
        .append_column("in_truth", pa.array([True] * truth.num_rows, pa.bool_()))
        .join(
            gold.cast(_types(gold)).append_column(
                "in_gold", pa.array([True] * gold.num_rows, pa.bool_())
            ),
            keys=keys,
            join_type="full outer",
            left_suffix="_truth",
            right_suffix="_gold",
        )
    )
    is_in_truth = pc.fill_null(joined["in_truth"], False)
    is_in_gold = pc.fill_null(joined["in_gold"], False)
    says_nothing = pa.array([keys == KEYS] * joined.num_rows, pa.bool_())
    differs = pa.array([False] * joined.num_rows, pa.bool_())
    for column in compared:
        left, right = joined[f"{column}_truth"], joined[f"{column}_gold"]
        same = pc.or_(
            pc.fill_null(pc.equal(left, right), False),
            pc.and_(pc.is_null(left), pc.is_null(right)),
        )
        differs = pc.or_(differs, pc.invert(same))
        nothing = pa.scalar(0, pa.int64()).cast(right.type)
        empty = pc.fill_null(pc.equal(right, nothing), True)
        says_nothing = pc.and_(says_nothing, empty)
    # A key that only gold has, of which it says nothing but zeros, is an order without a movement.
    only_gold = pc.and_(is_in_gold, pc.invert(is_in_truth))
    wrong = joined.filter(pc.if_else(only_gold, pc.invert(says_nothing), differs))
    return Comparison(
        truth.num_rows,
        wrong.num_rows,
        tuple(str(row) for row in wrong.slice(0, 5).to_pylist()),
    )


def _types(table: pa.Table) -> pa.Schema:
    """The table's columns in the types that are compared: 64-bit numbers, times in UTC."""
    types = {
        name: pa.int64() if pa.types.is_integer(kind) else pa.timestamp("us", tz="UTC")
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
        if not pa.types.is_boolean(kind)
    }
    return pa.schema([(name, types.get(name, pa.bool_())) for name in table.column_names])
