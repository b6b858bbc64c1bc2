"""Small worlds in which everything collides: few keys, few instants, few transactions.

A generator beside the simulator because the simulator is believable: what hurts is rare in it.
Five weeks pass in a world, half a day at a time, so that orders are released, windows move on and
counts fall on the instants of events; what is told is mostly news and often late.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from loaders.landing import feed_of
from loaders.playback import Month, Slot
from loaders.simulator import Config, Faults, simulate, write_month
from tests.files import csv_text, message
from tests.oracle import COUNT_FIELDS, ITEM_FIELDS, Delivery

START = datetime(2021, 1, 1, 9)
INSTANTS = [START + timedelta(hours=12 * n) for n in range(72)]
SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4
BEFORE_ALL = START - timedelta(hours=1)
NEAR = 4  # instants that "now" may mean
STORES = (0, 1, 1, 1, 1, 77)
REFERENCE = (1, 2, 3, 4, 5, 6)  # items that have, or may get, a reference row
UNKNOWN_ITEM = 9
FULFILLMENT = (None, None, 1, 1, 0, 77, "x", 3_000_000_000)
WRONG: tuple[Any, ...] = (None, "", "x", 1.5, True, [], {}, [7, {"item_id": 1}])

ITEMS_OF_A_WORLD = 100_000
HEARTBEAT = 0  # the world that is only there to move the event clock of all the others

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
    """One file to come; `worlds` names the world of each of its lines, the header's aside."""

    path: str
    data: bytes
    worlds: tuple[int, ...] = ()


def colliding(seed: int, files: int = 40) -> list[Landing]:
    """Message, count and item files in which every rule of DESIGN section 5 has work to do."""
    rng = random.Random(seed)
    teller = Teller(rng)
    landings: list[Landing] = []
    for number in range(files):
        progress = number / files
        kind = rng.choice(("changes",) * 6 + ("counts",) * 3 + ("items",))
        if kind == "changes":
            ending = rng.choice(("", "\n", "\n\n"))
            text = "\n".join(teller.messages(progress, rng.randint(1, 6))) + ending
            path = f"store_001/changes/{number:04d}.json"
        elif kind == "counts":
            text = csv_text(COUNT_FIELDS, teller.counts(progress, rng.randint(1, 5)))
            path = f"store_001/counts/{number:04d}.csv"
        else:
            text = csv_text(ITEM_FIELDS, teller.items(rng.randint(1, 3)))
            path = f"reference/items_{number:04d}.csv"
        landings.append(Landing(path, text.encode()))
        if rng.random() < 0.1:
            landings.append(again(rng, landings, number))
    return landings


def packed(seed: int, worlds: int = 25, steps: int = 8) -> list[Landing]:
    """Many small worlds in one lakehouse, with items and transactions of their own.

    They share the stores, the files (mostly) and, by the heartbeat of world 0, the event clock, so
    that `only` can cut one of them out and it is the same world still.
    """
    rng = random.Random(seed)
    tellers = {
        world: Teller(random.Random(f"{seed}/{world}"), world) for world in range(1, worlds + 1)
    }
    landings: list[Landing] = []
    for step in range(steps):
        progress = 0.6 * step / steps
        files: dict[str, list[tuple[int, str]]] = {}
        files[f"online/changes/{step:03d}.json"] = [
            (HEARTBEAT, json.dumps(message(f"beat {time}", time, (1, 0))))
            for time in ([_text(BEFORE_ALL)] if step == 0 else []) + [_text(clock_at(progress))]
        ]
        for world, teller in rng.sample(sorted(tellers.items()), worlds):
            place = f"{step:03d}" if rng.random() < 0.8 else f"{step:03d}_{world:03d}"
            told = {
                f"store_001/changes/{place}.json": teller.messages(
                    progress, rng.choice((0, 1, 2, 4))
                ),
                f"store_001/counts/{place}.csv": _lines(
                    teller.counts(progress, rng.choice((0, 1, 2)))
                ),
                f"reference/items_{place}.csv": _lines(teller.items(rng.choice((0, 0, 0, 1)))),
            }
            for path, lines in told.items():
                files.setdefault(path, []).extend((world, line) for line in lines)
        made = [_packed_landing(path, lines) for path, lines in files.items() if lines]
        rng.shuffle(made)
        if step and rng.random() < 0.5:
            made.append(again(rng, landings, step))
        landings.extend(made)
    return landings


def only(landings: Iterable[Landing], world: int) -> list[Landing]:
    """One of the worlds of `packed` by itself, with the common clock."""
    alone = []
    for landing in landings:
        header, lines = split(landing)
        kept = [
            (each, line)
            for each, line in zip(landing.worlds, lines, strict=True)
            if each in (HEARTBEAT, world)
        ]
        if kept:
            text = "\n".join([*header, *(line for _, line in kept)])
            alone.append(Landing(landing.path, text.encode(), tuple(each for each, _ in kept)))
    return alone


def worlds_of(differences: Iterable[str]) -> list[int]:
    """The packed worlds that differences speak of, by the items in them."""
    numbers = (int(number) for each in differences for number in re.findall(r"\b\d{6,8}\b", each))
    return sorted({number // ITEMS_OF_A_WORLD for number in numbers})


def again(rng: random.Random, landings: Sequence[Landing], number: int) -> Landing:
    """A file that landed before, put down once more: in its place, or under another name."""
    landing = rng.choice(landings)
    if rng.random() < 0.5:
        return landing
    stem, ending = landing.path.rsplit(".", 1)
    return Landing(f"{stem}_again_{number:03d}.{ending}", landing.data, landing.worlds)


class Teller:
    """Tells what happened in one world, as its tills and its people would."""

    def __init__(self, rng: random.Random, world: int = 0) -> None:
        self._rng = rng
        self._world = world
        first = world * ITEMS_OF_A_WORLD
        few = REFERENCE if world == 0 else rng.sample(REFERENCE, 3)
        self._reference = [first + item for item in few]
        self._early, *self._items = [*self._reference, first + UNKNOWN_ITEM]
        # Few names, so that repetitions find each other.
        self._transactions = [f"{{{world}-T{n}}}" for n in range(30 if world == 0 else 6)]
        self._counted: list[list[object]] = []
        self._sent: list[str] = []
        self._bopis: list[dict[str, Any]] = []
        self._opening = self._sold_out() if rng.random() < 0.5 else []

    def messages(self, progress: float, number: int) -> list[str]:
        """Lines of a message file."""
        rng, lines = self._rng, self._opening
        self._opening = []
        for _ in range(number):
            if self._sent and rng.random() < 0.1:
                lines.append(rng.choice(self._sent))
                continue
            body = self._bopis_message(progress) if rng.random() < 0.4 else self._change(progress)
            line = self._broken(body)
            lines.extend([line] * rng.choice((1, 1, 1, 1, 2)))
            if rng.random() < 0.05:  # again, but not the same
                body["items"] = [{"item_id": self._items[0], "quantity": -7}, *body["items"][1:]]
                lines.append(json.dumps(body))
        self._sent.extend(lines)
        return lines

    def counts(self, progress: float, number: int) -> list[list[object]]:
        """Rows of a count file."""
        rng = self._rng
        rows: list[list[object]] = []
        for _ in range(number):
            at = self._time(progress, every=3)
            row: list[object] = [self._item(), 9, rng.choice(STORES), at]
            if self._counted and rng.random() < 0.25:
                row = rng.choice(self._counted)[:4]  # a correction, or the same again
            row.append(rng.choice((0, 1, 2, 3, 5, 8, 20)))
            self._counted.append(list(row))
            if rng.random() < 0.08:
                row[rng.choice((0, 2, 3, 4))] = rng.choice(("", "x", "1.5"))
            elif rng.random() < 0.03:
                row.pop()
            rows.append(row)
        return rows

    def items(self, number: int) -> list[list[object]]:
        """Rows of a reference file."""
        chosen = self._rng.sample(self._reference, min(number, len(self._reference)))
        return [[item, f"Item {item}", 7, self._rng.choice((0, 2, 5, 10, ""))] for item in chosen]

    def _change(self, progress: float) -> dict[str, Any]:
        rng = self._rng
        kind = rng.choice((SALE, SALE, SALE, SHRINK, RESTOCK))
        units = (1, 2, 5, 12) if kind == RESTOCK else (-3, -2, -1, -1, 0, 1)
        bought = [(self._item(), rng.choice(units))]
        while rng.random() < 0.3:
            bought.append((self._item(), rng.choice((-2, -1, 1))))
        trans_id, at = rng.choice(self._transactions), self._time(progress)
        store_id = rng.choice(STORES)
        return message(trans_id, at, *bought, change_type_id=kind, store_id=store_id)

    def _bopis_message(self, progress: float) -> dict[str, Any]:
        """An order, a pickup, or the other side of one that was told: whichever comes first."""
        rng = self._rng
        at = self._time(progress)
        if rng.random() < 0.6:
            at = _text(INSTANTS[_now(progress) + rng.randrange(NEAR)])
        if self._bopis and rng.random() < 0.7:
            other = rng.choice((self._bopis[-1], rng.choice(self._bopis)))
            trans_id = other["trans_id"]
            bought = [
                (
                    line["item_id"],
                    rng.choice((line["quantity"], line["quantity"], -1, -1, -2, 0, 1)),
                )
                for line in other["items"]
            ]
            is_order = other["store_id"] != 0 if rng.random() < 0.9 else rng.random() < 0.5
        else:
            trans_id = f"{{{self._world}-B{len(self._bopis)}}}"
            bought = [(item, rng.choice((-6, -4, -3, -2, -1, 0, 1))) for item in self._few_items()]
            is_order = rng.random() < 0.7
        more = {}
        if is_order and (stated := rng.choice(FULFILLMENT)) is not None:
            more["fulfillment_store_id"] = stated
        store_id = 0 if is_order else rng.choice((1, 1, 1, 77))
        body = message(trans_id, at, *bought, change_type_id=BOPIS, store_id=store_id, **more)
        self._bopis.append(body)
        return body

    def _broken(self, body: dict[str, Any]) -> str:
        """The message as a line; now and then something is wrong with it."""
        rng, body = self._rng, json.loads(json.dumps(body))
        if rng.random() < 0.06:
            field = rng.choice(list(body))
            body[field] = rng.choice(WRONG[:2] if field == "trans_id" else WRONG)
        elif rng.random() < 0.05:
            body["items"][0]["quantity"] = rng.choice((None, "x", 1.5, "2"))
        line = json.dumps(body)
        return line[: rng.randrange(1, len(line))] if rng.random() < 0.04 else line

    def _sold_out(self) -> list[str]:
        """An item that sells every hour and then no more: phantom stock."""
        sales = [
            (f"{{{self._world}-E{n}}}", _text(START + timedelta(hours=n)), (self._early, -1))
            for n in range(6)
        ]
        restock = ("E", _text(START), (self._early, 9))
        return [
            json.dumps(message(*restock, change_type_id=RESTOCK)),
            *(json.dumps(message(*sale)) for sale in sales),
        ]

    def _item(self) -> int:
        return self._early if self._rng.random() < 0.03 else self._rng.choice(self._items)

    def _few_items(self) -> list[int]:
        return self._rng.sample(self._items, self._rng.choice((1, 1, 2)))

    def _time(self, progress: float, every: int = 1) -> str:
        """Mostly now, often late, seldom ahead; counts fall on each third instant."""
        now, rng = _now(progress), self._rng
        lately = max(now - rng.randrange(12), 0)
        told = rng.choice((now, now + rng.randrange(NEAR), lately, lately, rng.randrange(now + 1)))
        instant = INSTANTS[told // every * every]
        off = rng.choice((0, 0, 0, 0, 0, 1, -1)) if told else 0
        return _text(instant + timedelta(seconds=off))


def clock_at(progress: float) -> datetime:
    """Later than all that is told by then."""
    return INSTANTS[_now(progress) + NEAR + 1]


def as_deliveries(landings: Iterable[Landing]) -> list[Delivery]:
    """The landings as the loader would take them in, each by itself, without any lakehouse."""
    received_at = datetime(2022, 1, 1)
    return [
        Delivery(
            feed=str(feed_of(landing.path)),
            path=landing.path,
            data=landing.data,
            received_at=received_at + timedelta(seconds=place),
            landed_at=received_at + timedelta(seconds=place),
            commit=place + 1,
        )
        for place, landing in enumerate(landings)
    ]


def _now(progress: float) -> int:
    return round(progress * (len(INSTANTS) - NEAR - 2))


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def _lines(rows: Iterable[Sequence[object]]) -> list[str]:
    return csv_text((), rows).splitlines()[1:]


def _packed_landing(path: str, lines: Sequence[tuple[int, str]]) -> Landing:
    header = []
    if path.endswith(".csv"):
        header.append(",".join(ITEM_FIELDS if path.startswith("reference") else COUNT_FIELDS))
    text = "\n".join([*header, *(line for _, line in lines)])
    return Landing(path, text.encode(), tuple(world for world, _ in lines))


def split(landing: Landing) -> tuple[list[str], list[str]]:
    lines = landing.data.decode().split("\n")
    return (lines[:1], lines[1:]) if landing.path.endswith(".csv") else ([], lines)


def simulated(
    seed: int, folder: Path, files: int = 40, faults: Faults = ALL_FAULTS
) -> list[Landing]:
    """A simulated world of three days with faults, as the playback would land it.

    In at least so many files, as long as there is something to tell in each.
    """
    config = Config(
        seed=seed,
        days=3,
        items=30,
        lines=max(300, 8 * files),
        count_every_days=1,
        bopis_share=0.4,
        faults=faults,
    )
    write_month(simulate(config), folder)
    month = Month(folder)
    landings, after = [], month.starts_at
    while after < month.ends_at:
        slot = Slot(after, min(after + timedelta(hours=80 / files), month.ends_at))
        landings.extend(Landing(path, data) for path, data in month.files_of(slot))
        after = slot.through
    return landings


def batches(landings: list[Landing], number: int) -> list[list[Landing]]:
    """The landings in order, in `number` batches of about the same size."""
    ends = [len(landings) * part // number for part in range(number + 1)]
    return [landings[ends[part] : ends[part + 1]] for part in range(number)]
