"""The truth against a plain-Python reading of the messages and files themselves, by DESIGN section
5.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from loaders.errors import UserError
from loaders.simulator import Config, Faults, simulate, write_month
from loaders.truth import expected_on_hand

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


class Received:
    """What a reader of the messages knows at `clock`: kept lines, outcomes, standing counts."""

    def __init__(self, month: Path, clock: datetime) -> None:
        self.kept: dict[tuple[int, str, int, int, str], tuple[int, datetime, datetime]] = {}
        self.targets: dict[str, int | None] = {}
        self.outcomes: Counter[str] = Counter()
        for pos in ("online", "store_001"):
            for row in pq.read_table(month / pos / "changes.parquet").to_pylist():
                if row["sent_at"] <= clock:
                    self._message(row["body"], row["sent_at"])
        self.counts: dict[tuple[int, int], tuple[datetime, int]] = {}
        for file in json.loads((month / "counts.json").read_text()):
            if datetime.fromisoformat(file["sent_at"]) > clock:
                continue
            with (month / file["path"]).open(newline="") as text:
                for count in csv.DictReader(text):
                    key = int(count["store_id"]), int(count["item_id"])
                    taken = datetime.fromisoformat(count["date_time"])
                    if key not in self.counts or self.counts[key][0] <= taken:
                        self.counts[key] = taken, int(count["quantity"])

    def _message(self, body: str, sent_at: datetime) -> None:
        try:
            message: dict[str, Any] = json.loads(body)
        except ValueError:
            self.outcomes["unparsable"] += 1
            return
        try:
            occurred = datetime.fromisoformat(message["date_time"])
            trans_id, store, kind = (
                message[name] for name in ("trans_id", "store_id", "change_type_id")
            )
        except (KeyError, ValueError):
            self.outcomes["bad message"] += 1
            return
        if kind not in (1, 2, 3, 4):
            self.outcomes["bad type"] += 1
            return
        sums: dict[int, int] = defaultdict(int)
        for line in message["items"]:
            if type(line["quantity"]) is int:
                sums[line["item_id"]] += line["quantity"]
            else:
                self.outcomes["bad quantity"] += 1
        for item, quantity in sums.items():
            key = store, trans_id, kind, item, message["date_time"][:10]
            if key not in self.kept:
                self.kept[key] = quantity, occurred, sent_at
                self.targets.setdefault(trans_id, message.get("fulfillment_store_id"))
            else:
                same = self.kept[key][0] == quantity
                self.outcomes["duplicate" if same else "conflict"] += 1

    def on_hand(self) -> list[dict[str, Any]]:
        changes: dict[tuple[int, int], int] = dict.fromkeys(self.counts, 0)
        for (store, _, kind, item, _), (quantity, occurred, _) in self.kept.items():
            if (store, kind) == (0, 4):
                continue
            changes.setdefault((store, item), 0)
            if (store, item) not in self.counts or occurred > self.counts[store, item][0]:
                changes[store, item] += quantity
        rows = []
        for key, change in sorted(changes.items()):
            taken, counted = self.counts.get(key, (None, None))
            rows.append(
                {
                    "store_id": key[0],
                    "item_id": key[1],
                    "on_hand_quantity": (counted or 0) + change,
                    "counted_quantity": counted,
                    "counted_at": taken,
                    "change_quantity": change,
                    "is_counted": taken is not None,
                }
            )
        return rows


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
