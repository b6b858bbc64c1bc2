"""A world in six builds, as small as it can be, in which every rule has work to do.

Each item tells one story, and is named by it. What makes a story is often what it is told after, so
the order of the files matters, and what they hold is no more than it takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count as counter
from typing import Any

from tests.builds.random_worlds import Landing
from tests.builds.worlds import World, built
from tests.files import csv_text, message
from tests.oracle import COUNT_FIELDS, ITEM_FIELDS

SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4
SHOP, STORE, ELSEWHERE = 0, 1, 77  # the last is in no list of stores

(
    INSTANT,  # changes at the instant of a count, told before and with it
    INSTANT_LATER,  # and in a later build, when the count is believed
    CORRECTED,  # the count that is believed is corrected
    CORRECTED_BEFORE,  # the count before it is
    INSERTED,  # a count between two that are known
    AGAIN,  # a count is sent again as it was
    AGAIN_AFTER,  # and that after a late event
    LATE,  # events from before a published count
    LATE_COUNT,  # the first count, from before a known event
    ORDERED,  # an order that nobody collects
    STATED,  # one that says from where
    WANTED,  # one that leaves less than the safety stock
    COLLECTED,  # one whose pickup is known first
    SHELF,  # an alert for each line, none of which is crossed back all the way
    EMPTY,
    NEGATIVE,
    QUIET,  # sold every hour, and no more
    SLOW,  # sold every day, quiet for no longer than that allows
    LONG_AGO,  # sold where the window begins
    TWICE,  # told again
    BAD,
) = range(1, 22)


def files() -> list[list[Landing]]:
    """What lands before each build."""
    number = counter(1)

    def changes(*lines: dict[str, Any] | str) -> Landing:
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        return Landing(f"store_001/changes/{next(number):03d}.json", text.encode())

    def counts(*rows: tuple[object, ...]) -> Landing:
        text = csv_text(COUNT_FIELDS, rows)
        return Landing(f"store_001/counts/{next(number):03d}.csv", text.encode())

    def items(*rows: tuple[int, int]) -> Landing:
        text = csv_text(ITEM_FIELDS, [(item, "Tea", 7, safety) for item, safety in rows])
        return Landing(f"reference/items_{next(number):03d}.csv", text.encode())

    first = [
        items((WANTED, 9), (WANTED, 2), (SHELF, 10)),
        changes(
            change(INSTANT, "02 10:00:00", -1),
            change(LATE, "03 10:00:00", -1),
            change(LATE_COUNT, "05 10:00:00", 3, RESTOCK),
            bopis("order", ORDERED, "01 10:00:00", -3, SHOP),  # released when the 8th passes 10
            bopis("stated", STATED, "05 10:00:00", -2, SHOP, fulfillment_store_id=ELSEWHERE),
            bopis("stated", STATED, "06 10:00:00", -1, SHOP, fulfillment_store_id=STORE),
            bopis("wanted", WANTED, "07 10:00:00", -3, SHOP),
            bopis("early", COLLECTED, "07 10:00:00", -1, STORE),
            change(QUIET, "01 09:00:00", 9, RESTOCK),
            *(change(QUIET, f"01 1{hour}:00:00", -1) for hour in range(5)),
            change(SLOW, "01 09:00:00", 9, RESTOCK),
            *(change(SLOW, f"0{day} 12:00:00", -1) for day in range(1, 6)),
            change(LONG_AGO, "2020-12-12 10:00:00", -1),
            change(LONG_AGO, "2020-12-12 10:00:01", -1),
            *twice(message("again", at("03 10:00:00"), (TWICE, -2))),
            message("again", at("03 10:00:00"), (TWICE, -3)),
            message("summed", at("03 10:00:00"), (TWICE, -1), (TWICE, -1)),
            "not json",
            json.dumps(message("no items", at("03 10:00:00"))),
            json.dumps(message("", at("03 10:00:00"), (BAD, -1))),
            json.dumps(message("bad item", at("03 10:00:00"), (BAD, -1))).replace("-1", "null"),
            json.dumps(message("ahead", "2090-01-01 10:00:00", (BAD, -1))),
            json.dumps(message("type", at("03 10:00:00"), (BAD, -1), change_type_id=9)),
        ),
        counts(
            count(INSTANT, "02 10:00:00", 50),
            count(INSTANT_LATER, "02 10:00:00", 7),
            count(CORRECTED, "02 10:00:00", 10),
            count(CORRECTED, "02 10:00:00", 12),
            count(CORRECTED_BEFORE, "02 10:00:00", 4),
            count(CORRECTED_BEFORE, "04 10:00:00", 4),
            count(INSERTED, "01 10:00:00", 12),
            count(INSERTED, "04 10:00:00", 20),
            count(AGAIN, "02 10:00:00", 3),
            count(AGAIN_AFTER, "02 10:00:00", 3),
            count(LATE, "01 10:00:00", 5),
            count(LATE, "03 10:00:00", 4),
            count(ORDERED, "03 10:00:00", 2, SHOP),
            count(WANTED, "06 10:00:00", 4),
            count(SHELF, "06 10:00:00", 9),
            count(EMPTY, "06 10:00:00", 0),
            count(NEGATIVE, "06 10:00:00", 1),
            count(BAD, "yesterday", 1),
            count(BAD, "06 10:00:00", "few"),
        ),
        # After the counts have landed: some of them are of before, which restates those.
        changes(
            change(INSTANT, "02 10:00:00", -1, SHRINK),
            change(INSTANT, "02 10:00:01", -2),
            change(CORRECTED, "03 10:00:00", -1),
            change(CORRECTED_BEFORE, "03 10:00:00", -1),
            change(INSERTED, "03 10:00:00", -1),
            change(NEGATIVE, "07 10:00:00", -2),
            change(LONG_AGO, "08 10:00:00", 5, RESTOCK),  # the event clock
        ),
    ]
    second = [
        counts(
            count(INSTANT, "08 12:00:00", 40),
            count(CORRECTED, "02 10:00:00", 9),
            count(CORRECTED_BEFORE, "02 10:00:00", 5),
            count(INSERTED, "02 10:00:00", 15),
            count(LATE_COUNT, "04 10:00:00", 6),
        ),
        changes(
            change(INSTANT_LATER, "02 10:00:00", -1),
            change(INSTANT_LATER, "02 10:00:01", -1),
            change(LATE, "02 10:00:00", -1),
            change(LATE, "02 11:00:00", -1, SHRINK),
            change(AGAIN_AFTER, "01 10:00:00", -1),
            bopis("wanted", WANTED, "08 12:00:00", -1, STORE),
            bopis("early", COLLECTED, "06 10:00:00", -2, SHOP),
            bopis("stated", STATED, "05 10:00:00", -2, SHOP),  # says no more from where
            bopis("stated", STATED, "07 10:00:00", -1, SHOP, fulfillment_store_id=STORE),
            change(SHELF, "08 12:00:00", 2, RESTOCK),
            change(EMPTY, "08 12:00:00", 1, RESTOCK),
            change(NEGATIVE, "08 12:00:00", 1, RESTOCK),
            message("again", at("03 10:00:00"), (TWICE, -2)),
            message("again", at("03 10:00:00"), (TWICE, -4)),
            change(LONG_AGO, "09 10:00:00", -1),  # the event clock, four weeks after the first sale
        ),
        counts(
            count(AGAIN, "02 10:00:00", 3),
            count(AGAIN_AFTER, "02 10:00:00", 3),
        ),
    ]
    # By themselves, so that nothing else makes a build look as far back as these two need.
    late_event = [changes(change(LATE, "02 12:00:00", -1))]
    next_count = [counts(count(INSTANT, "10 10:00:00", 35))]
    # The order was released, and none that is open is as old.
    pickup_after_release = [changes(bopis("order", ORDERED, "08 11:00:00", -1, STORE))]
    # The count before is older than any that this one would look at first.
    count_after_long = [
        changes(change(AGAIN, "03 09:00:00", -1)),
        counts(count(AGAIN, "28 10:00:00", 1)),
    ]
    return [first, second, late_event, next_count, pickup_after_release, count_after_long]


@dataclass
class Compact:
    """The world after its builds, and what differed from the oracle after the last of them."""

    world: World
    said: list[str]
    builds: int

    @classmethod
    def played(cls, world: World) -> Compact:
        """Land, load, build and compare, until something differs or fails."""
        played = cls(world, [], 0)
        for batch in files():
            played.said = built(world, batch)
            played.builds += 1
            if played.said:
                break
        return played


def change(item: int, time: str, quantity: int, kind: int = SALE) -> dict[str, Any]:
    """A change of the store, in a transaction of its own."""
    return message(f"{item} {kind} {time}", at(time), (item, quantity), change_type_id=kind)


def bopis(
    trans_id: str, item: int, time: str, quantity: int, store_id: int, **more: int
) -> dict[str, Any]:
    return message(
        trans_id, at(time), (item, quantity), store_id=store_id, change_type_id=BOPIS, **more
    )


def count(item: int, time: str, quantity: object, store_id: int = STORE) -> tuple[object, ...]:
    return (item, 9, store_id, at(time) if ":" in time else time, quantity)


def twice(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [body, body]


def at(time: str) -> str:
    """A time of January 2021, by its day, or one that names its date."""
    return time if "-" in time else f"2021-01-{time}"
