"""Gold against the truth: the same says nothing, and every kind of difference is found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.check import Comparison, compare_variances_with_truth, compare_with_truth
from loaders.simulator import Config, Faults, simulate, write_month
from loaders.truth import expected_commitments, expected_on_hand, expected_variances

CLOCK = datetime(2021, 1, 4)
FAULTS = Faults(late=0.1, late_counts=0.5, corrected_counts=0.2, duplicates=0.1, late_days=1)

Row = dict[str, Any]
Compare = Callable[[Path, Path, datetime], Comparison]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("month")
    config = Config(
        days=4, items=40, lines=2_000, count_every_days=1, bopis_share=0.4, faults=FAULTS
    )
    write_month(simulate(config), folder)
    return folder


def inventory_of(month: Path) -> list[Row]:
    """The inventory as it has to be, orders and all."""
    committed = {
        (row["store_id"], row["item_id"]): row["committed_quantity"]
        for row in expected_commitments(month, CLOCK).to_pylist()
    }
    assert sum(committed.values()) > 0
    rows = expected_on_hand(month, CLOCK).to_pylist()
    for row in rows:
        row["committed_quantity"] = committed.pop((row["store_id"], row["item_id"]), 0)
        row["available_quantity"] = row["on_hand_quantity"] - row["committed_quantity"]
    return rows


def write(lakehouse: Path, name: str, rows: list[Row]) -> Path:
    table = pa.Table.from_pylist(rows)
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            zoned = table[column.name].cast(pa.timestamp("us", tz="UTC"))
            table = table.set_column(place, column.name, zoned)
    write_deltalake(str(lakehouse / "gold" / name), table)
    return lakehouse


def test_gold_that_is_right_says_nothing(month: Path, tmp_path: Path) -> None:
    rows = inventory_of(month)
    lakehouse = write(tmp_path, "inventory_current", rows)
    assert compare_with_truth(lakehouse, month, CLOCK) == Comparison(len(rows), 0, ())
    counts = expected_variances(month, CLOCK).to_pylist()
    write(lakehouse, "stock_count_variances", counts)
    found = compare_variances_with_truth(lakehouse, month, CLOCK)
    assert found == Comparison(len(counts), 0, ())
    assert len({row["counted_at"] for row in counts}) > 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("on_hand_quantity", 10_000),
        ("counted_quantity", None),
        ("counted_at", CLOCK),
        ("change_quantity", -10_000),
        ("is_counted", False),
        ("committed_quantity", 10_000),
        ("available_quantity", None),
    ],
)
def test_a_column_that_is_wrong_is_found(
    month: Path, tmp_path: Path, column: str, value: object
) -> None:
    rows = inventory_of(month)
    wrong = next(row for row in rows if row["is_counted"])
    wrong[column] = value
    found = compare_with_truth(write(tmp_path, "inventory_current", rows), month, CLOCK)
    assert found.differences == 1
    assert str(wrong["item_id"]) in found.examples[0]


def test_a_key_that_gold_lacks_is_found(month: Path, tmp_path: Path) -> None:
    rows = inventory_of(month)
    lakehouse = write(tmp_path, "inventory_current", rows[1:])
    assert compare_with_truth(lakehouse, month, CLOCK).differences == 1


@pytest.mark.parametrize(("units", "differences"), [(0, 0), (1, 1)])
def test_a_key_that_only_gold_has_must_say_nothing(
    month: Path, tmp_path: Path, units: int, differences: int
) -> None:
    rows = inventory_of(month)
    nothing = dict.fromkeys(rows[0])
    ordered = {**nothing, "store_id": 0, "item_id": 7, "is_counted": False}
    for name in ("change_quantity", "committed_quantity"):
        ordered[name] = 0
    ordered |= {"on_hand_quantity": units, "available_quantity": units}
    lakehouse = write(tmp_path, "inventory_current", [*rows, ordered])
    assert compare_with_truth(lakehouse, month, CLOCK).differences == differences


def wrong_book(rows: list[Row]) -> None:
    rows[5]["book_quantity"] += 1


def one_too_few(rows: list[Row]) -> None:
    del rows[5]


def one_too_many(rows: list[Row]) -> None:
    rows.append({**rows[5], "counted_at": rows[5]["counted_at"] + timedelta(seconds=1)})


@pytest.mark.parametrize("spoil", [wrong_book, one_too_few, one_too_many])
def test_a_count_that_is_wrong_is_found(
    month: Path, tmp_path: Path, spoil: Callable[[list[Row]], None]
) -> None:
    rows = expected_variances(month, CLOCK).to_pylist()
    spoil(rows)
    lakehouse = write(tmp_path, "stock_count_variances", rows)
    assert compare_variances_with_truth(lakehouse, month, CLOCK).differences == 1
