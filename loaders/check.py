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
from loaders.truth import expected_on_hand

KEYS = ["store_id", "item_id"]
COMPARED = ["on_hand_quantity", "counted_quantity", "counted_at", "change_quantity", "is_counted"]


@dataclass(frozen=True)
class Comparison:
    """Keys compared and the first differences, as sentences; equal when there are none."""

    keys: int
    differences: int
    examples: tuple[str, ...]


def compare_with_truth(lakehouse: Path, month: Path, clock: datetime) -> Comparison:
    """Compare ``gold.inventory_current`` with the truth at the event ``clock``.

    A key that only gold has must be one that the truth has nothing to say of: an order without any
    movement, whose stock is 0.
    """
    gold_table = open_table(lakehouse / "gold" / "inventory_current")
    gold = pa.table(gold_table.to_pyarrow_table(columns=KEYS + COMPARED)).cast(_schema(), safe=True)
    truth = expected_on_hand(month, clock).select(KEYS + COMPARED).cast(_schema(), safe=True)
    joined = truth.append_column("in_truth", pa.array([True] * truth.num_rows, pa.bool_())).join(
        gold.append_column("in_gold", pa.array([True] * gold.num_rows, pa.bool_())),
        keys=KEYS,
        join_type="full outer",
        left_suffix="_truth",
        right_suffix="_gold",
    )
    differs = pc.invert(pc.fill_null(joined["in_gold"], False))
    only_gold = pc.invert(pc.fill_null(joined["in_truth"], False))
    moved = pc.or_(
        pc.not_equal(pc.fill_null(joined["on_hand_quantity_gold"], 0), 0),
        pc.fill_null(joined["is_counted_gold"], False),
    )
    for column in COMPARED:
        left, right = joined[f"{column}_truth"], joined[f"{column}_gold"]
        same = pc.or_(
            pc.fill_null(pc.equal(left, right), False),
            pc.and_(pc.is_null(left), pc.is_null(right)),
        )
        differs = pc.or_(differs, pc.invert(same))
    differs = pc.if_else(only_gold, moved, differs)
    wrong = joined.filter(differs)
    return Comparison(
        truth.num_rows,
        wrong.num_rows,
        tuple(str(row) for row in wrong.slice(0, 5).to_pylist()),
    )


def _schema() -> pa.Schema:
    return pa.schema(
        [
            ("store_id", pa.int64()),
            ("item_id", pa.int64()),
            ("on_hand_quantity", pa.int64()),
            ("counted_quantity", pa.int64()),
            ("counted_at", pa.timestamp("us", tz="UTC")),
            ("change_quantity", pa.int64()),
            ("is_counted", pa.bool_()),
        ]
    )
