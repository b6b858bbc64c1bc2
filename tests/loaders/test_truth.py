"""The truth against a plain-Python reading of the messages and files themselves, by DESIGN section
5.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loaders.errors import UserError
from loaders.simulator import Config, Faults, simulate, write_month
from loaders.truth import expected_on_hand
from tests.loaders.received import Received

START = datetime(2021, 1, 1)
CLOCKS = [START + timedelta(days=days) for days in (-1, 0, 0.6, 3, 5, 5.5, 9.2, 12, 40)]
FAULTS = Faults(
    duplicates=0.15,
    late=0.1,
    out_of_order=0.1,
    malformed=0.15,
    unknown_item=0.1,
    conflicting=0.15,
    late_counts=0.5,
    corrected_counts=0.2,
)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("month")
    config = Config(
        items=60, days=12, lines=5_000, shrink_rate=0.05, bopis_share=0.4, faults=FAULTS
    )
    write_month(simulate(config), folder)
    return folder


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
def test_expected_on_hand_is_what_the_messages_say(month: Path, clock: datetime) -> None:
    assert expected_on_hand(month, clock).to_pylist() == Received(month, clock).on_hand()


def test_every_fault_occurred(month: Path) -> None:
    received = Received(month, CLOCKS[-1])
    assert set(received.outcomes) == {
        "unparsable", "bad message", "bad type", "bad quantity", "duplicate", "conflict",
    }  # fmt: skip
    assert min(received.outcomes.values()) > 2
    counts = json.loads((month / "counts.json").read_text())
    assert any(not file["path"].endswith("T000000.csv") for file in counts)
    assert any(key[3] > 100_060 for key in received.kept)
    last = max(sent for _, _, sent in received.kept.values())
    assert last > START + timedelta(days=13)


def test_orders_and_pickups_are_what_the_messages_say(month: Path) -> None:
    received = Received(month, CLOCKS[-1])
    orders, pickups = [], []
    for (store, trans_id, kind, item, _), (quantity, occurred, sent) in received.kept.items():
        if kind == 4 and store == 0:
            orders.append((trans_id, received.targets[trans_id], item, occurred, sent, -quantity))
        elif kind == 4:
            pickups.append((trans_id, store, item, occurred, sent, -quantity))
    for name, seen in (("orders", orders), ("pickups", pickups)):
        rows = pq.read_table(month / "truth" / f"{name}.parquet").to_pylist()
        key = itemgetter(0, 2)
        assert sorted((tuple(row.values()) for row in rows), key=key) == sorted(seen, key=key)
    assert {target for _, target, *_ in orders} == {None, 1}
    assert len(pickups) > 20


def test_a_folder_without_a_month_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"month\.json"):
        expected_on_hand(tmp_path, START)


def test_when_all_is_sent_the_book_is_the_shelf_but_for_hidden_shrink(tmp_path: Path) -> None:
    write_month(simulate(Config(items=60, days=11, lines=5_000, shrink_rate=0.0)), tmp_path)
    book = expected_on_hand(tmp_path, START + timedelta(days=40))
    shelf = pq.read_table(tmp_path / "truth" / "physical.parquet")
    assert book["on_hand_quantity"].to_pylist() == shelf["quantity"].to_pylist()
