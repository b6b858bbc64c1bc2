"""Small worlds in which everything collides: few keys, few instants, few transactions.

A generator beside the simulator because the simulator is believable: what hurts is rare in it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from loaders.playback import Month, Slot
from loaders.simulator import Config, Faults, simulate, write_month
from tests.files import csv_text, message
from tests.oracle import COUNT_FIELDS, ITEM_FIELDS

START = datetime(2021, 1, 1)
INSTANTS = [START + timedelta(minutes=137 * n) for n in range(30)]
STORES = (0, 1, 1, 1, 77)
ITEMS = (1, 2, 3, 4, 5, 999)
TRANSACTIONS = [f"{{T{n}}}" for n in range(40)]

ALL_FAULTS = Faults(
    duplicates=0.15,
    late=0.1,
    out_of_order=0.2,
    malformed=0.1,
    unknown_item=0.05,
    conflicting=0.1,
    late_counts=0.5,
    corrected_counts=0.2,
    late_days=2,
)


@dataclass(frozen=True)
class Landing:
    """One file to come."""

    path: str
    data: bytes


def colliding(seed: int, files: int = 40) -> list[Landing]:
    """Message, count and item files in which every rule of DESIGN section 5 has work to do."""
    rng = random.Random(seed)
    kinds: list[Callable[[random.Random], tuple[str, str]]] = [_messages] * 6 + [_counts] * 3
    kinds.append(_items)
    landings = []
    for number in range(files):
        folder, text = rng.choice(kinds)(rng)
        name = folder.format(number=f"{number:04d}")
        landings.append(Landing(name, text.encode()))
    return landings


def simulated(seed: int, folder: Path) -> list[Landing]:
    """A simulated world of three days with all faults on, as the playback would land it."""
    config = Config(
        seed=seed,
        days=3,
        items=30,
        lines=300,
        count_every_days=1,
        bopis_share=0.4,
        faults=ALL_FAULTS,
    )
    write_month(simulate(config), folder)
    month = Month(folder)
    landings, after = [], month.starts_at
    while after < month.ends_at:
        slot = Slot(after, min(after + timedelta(hours=3), month.ends_at))
        landings.extend(Landing(path, data) for path, data in month.files_of(slot))
        after = slot.through
    return landings


def batches(landings: list[Landing], number: int) -> list[list[Landing]]:
    """The landings in order, in `number` batches of about the same size."""
    ends = [len(landings) * part // number for part in range(number + 1)]
    return [landings[ends[part] : ends[part + 1]] for part in range(number)]


def _messages(rng: random.Random) -> tuple[str, str]:
    lines = []
    for _ in range(rng.randint(1, 6)):
        bought = [(rng.choice(ITEMS), rng.choice((-3, -2, -1, -1, 0, 1, 5)))]
        while rng.random() < 0.5:
            bought.append((rng.choice(ITEMS), rng.choice((-2, -1, 1))))
        trans_id, at = rng.choice(TRANSACTIONS), f"{rng.choice(INSTANTS):%Y-%m-%d %H:%M:%S}"
        kind, store_id = rng.choice((1, 1, 1, 2, 3, 4)), rng.choice(STORES)
        body = message(trans_id, at, *bought, change_type_id=kind, store_id=store_id)
        if rng.random() < 0.15:
            field = rng.choice(list(body))
            wrong = (None, "", "x", 1.5, True, [], {}, [7, {"item_id": 1}])
            body[field] = rng.choice(wrong[:2] if field == "trans_id" else wrong)
        elif rng.random() < 0.05:
            body["items"][0]["quantity"] = rng.choice((None, "x", 1.5, "2"))
        line = json.dumps(body)
        if rng.random() < 0.05:
            line = line[: rng.randrange(1, len(line))]
        lines.extend([line] * rng.choice((1, 1, 1, 1, 2)))
    return "store_001/changes/{number}.json", "\n".join(lines) + rng.choice(("", "\n", "\n\n"))


def _counts(rng: random.Random) -> tuple[str, str]:
    rows: list[list[object]] = []
    for _ in range(rng.randint(1, 5)):
        at = f"{rng.choice(INSTANTS[::4]):%Y-%m-%d %H:%M:%S}"
        rows.append([rng.choice(ITEMS), 9, rng.choice(STORES), at, rng.randint(0, 20)])
        if rng.random() < 0.1:
            rows[-1][rng.choice((0, 2, 3, 4))] = rng.choice(("", "x", "1.5"))
        elif rng.random() < 0.03:
            rows[-1].pop()
    return "store_001/counts/{number}.csv", csv_text(COUNT_FIELDS, rows)


def _items(rng: random.Random) -> tuple[str, str]:
    chosen = rng.sample(ITEMS, rng.randint(1, 3))
    rows = [[item, f"Item {item}", 7, rng.choice((0, 2, 5, 10, ""))] for item in chosen]
    return "reference/items_{number}.csv", csv_text(ITEM_FIELDS, rows)
