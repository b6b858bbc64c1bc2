"""A plain-Python reading of a simulated month's messages and files, by DESIGN section 5."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


class Received:
    """What a reader of the messages knows at `clock`: kept lines, outcomes, standing counts."""

    def __init__(self, month: Path, clock: datetime) -> None:
        self.kept: dict[tuple[int, str, int, int, str], tuple[int, datetime, datetime]] = {}
        self.targets: dict[str, int | None] = {}
        self.outcomes: Counter[str] = Counter()
        for changes in sorted(month.glob("*/changes.parquet")):
            for row in pq.read_table(changes).to_pylist():
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
