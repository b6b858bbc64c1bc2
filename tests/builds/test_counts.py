"""Counts and changes on real builds, with the numbers of others' bug reports.

Every case has an item (or a store) of its own, so all of them go through the same five builds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.builds.worlds import Station, World, differences
from tests.files import message

SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4
STEPS = 5

Landing = Callable[[World, int], object]  # puts something down for the item


@dataclass(frozen=True)
class Case:
    """What lands before each build, and what gold must say of the key after it."""

    name: str
    landings: list[list[Landing]]
    on_hand: list[int | None]
    also: dict[str, Any] = field(default_factory=dict)  # columns after the last build
    store_id: int = 1


def count(at: str, *quantities: int) -> Landing:
    """A count of the item, its versions in one file."""
    when = at if " " in at else f"2021-01-01 {at}"
    return lambda world, item: world.land_counts(*((item, 9, 1, when, q) for q in quantities))


def change(at: str, quantity: int, kind: int = SALE, **more: Any) -> Landing:
    def land(world: World, item: int) -> None:
        trans_id = f"{item}-{at}-{len(world.landed)}"
        more.setdefault("change_type_id", kind)
        world.land_messages(message(more.pop("trans_id", trans_id), at, (item, quantity), **more))

    return land


def items(name: str, safety: int) -> Landing:
    return lambda world, item: world.land_items((item, name, 7, safety))


CASES = [
    Case(
        "square: a late sale from before the count is part of it",
        [
            [count("08:00:00", 100), change("13:10:00", -3)],
            [count("13:30:00", 95)],
            [change("13:20:00", -2)],
            [change("13:40:00", -2, SHRINK)],
        ],
        [97, 95, 95, 93],
    ),
    Case(
        "erpnext 54295: a receipt from before the count moves nothing",
        [[count("2021-11-11 10:00:00", 1)], [change("2021-07-01 10:00:00", 56, RESTOCK)]],
        [1, 1],
        {"change_quantity": 0},
    ),
    Case(
        "erpnext 28936: an earlier count entered later leaves the later one",
        [
            [count("2021-03-10 10:00:00", 10), change("2021-03-11 10:00:00", -1)],
            [count("2021-03-05 10:00:00", 50)],
        ],
        [9, 9],
        {"counted_quantity": 10},
    ),
    Case(
        "oracle: a sale from before an approved count leaves on hand",
        [
            [change("2021-01-01 09:00:00", 20, RESTOCK), count("2021-01-02 09:00:00", 18)],
            [change("2021-01-01 18:00:00", -2)],
        ],
        [18, 18],
    ),
    Case(
        "a change at the instant of the count is part of it",
        [
            [count("10:00:00", 50), change("10:00:00", -1), change("10:00:01", -2)],
            [change("10:00:00", -4), change("10:00:01", -8)],
        ],
        [48, 40],
    ),
    Case(
        "never counted is the sum of all changes",
        [[change("09:00:00", 7, RESTOCK)], [change("10:00:00", -2)]],
        [7, 5],
        {"is_counted": False, "counted_quantity": None, "counted_at": None},
    ),
    Case(
        "a first count takes over from the sum, from its own time",
        [[change("09:00:00", 7, RESTOCK)], [change("10:00:00", -2)], [count("09:30:00", 100)]],
        [7, 5, 98],
        {"is_counted": True},
    ),
    Case(
        "the last received of a corrected count stands",
        [
            [count("10:00:00", 50), change("11:00:00", -1)],
            [count("10:00:00", 40)],
            [count("10:00:00", 50, 45)],
            [count("10:00:00", 45)],
        ],
        [49, 39, 44, 44],
    ),
    Case(
        "a correction of an older count leaves the latest",
        [
            [count("10:00:00", 50), count("11:00:00", 40), change("10:30:00", -3)],
            [count("10:00:00", 99)],
            [change("11:00:01", -1)],
        ],
        [40, 40, 39],
    ),
    Case(
        "a count that arrives late applies from its own time",
        [
            [change("2021-01-01 10:00:00", -1), change("2021-01-02 10:00:00", -2)],
            [change("2021-01-03 10:00:00", -4)],
            [count("2021-01-02 09:00:00", 30)],
        ],
        [-3, -7, 24],
    ),
    Case(
        "a count and the changes around it in one build",
        [
            [change("09:00:00", -1)],
            [change("11:00:00", -2), count("10:00:00", 20), change("09:30:00", -4)],
        ],
        [-1, 18],
    ),
    Case(
        "two counts in one build, the older received last",
        [[change("09:00:00", -1)], [count("12:00:00", 5), count("11:00:00", 50)]],
        [-1, 5],
    ),
    Case(
        "a count of nothing but a few items leaves the others",
        [[count("08:00:00", 10), change("09:00:00", -1)], []],
        [9, 9],
    ),
    Case(
        "negative stock is shown and flagged",
        [[count("08:00:00", 1), change("09:00:00", -3)]],
        [-2],
        {"is_negative": True},
    ),
    Case(
        "an online bopis record moves no stock",
        [[change("09:00:00", -3, BOPIS, store_id=0)]],
        [0],
        {"bopis_quantity": -3, "change_quantity": 0},
        store_id=0,
    ),
    Case("a pickup at the store does", [[change("15:00:00", -2, BOPIS)]], [-2]),
    Case(
        "a reference row that comes and changes later shows at the next build",
        [
            [change("09:00:00", 3, RESTOCK)],
            [items("Tea", 4)],
            [items("Green tea", 3)],
            [],
            [items("Green tea", 9)],
        ],
        [3, 3, 3, 3, 3],
        {"item_name": "Green tea", "is_known_item": True, "is_below_safety_stock": True},
    ),
    Case(
        "on hand equal to the safety stock is not below it",
        [[items("Tea", 3), change("09:00:00", 3, RESTOCK)]],
        [3],
        {"is_below_safety_stock": False},
    ),
    Case(
        "an unknown store and an unknown item are kept and flagged",
        [[change("09:00:00", -1, store_id=77)]],
        [-1],
        {"is_known_store": False, "is_known_item": False, "is_below_safety_stock": False},
        store_id=77,
    ),
    Case(
        "a repetition is dropped, whatever comes between",
        [
            [change("09:00:00", -2, trans_id="R")],
            [change("09:00:00", -2, trans_id="R"), count("08:00:00", 10)],
            [change("09:00:00", -2, trans_id="R")],
        ],
        [-2, 8, 8],
    ),
    Case(
        "the same key on another event date is another change",
        [
            [change("2021-01-01 09:00:00", -2, trans_id="D")],
            [change("2021-01-02 09:00:00", -2, trans_id="D")],
        ],
        [-2, -4],
    ),
    Case(
        "a conflicting repetition changes nothing",
        [
            [change("09:00:00", -2, trans_id="C")],
            [change("09:00:00", -5, trans_id="C"), change("09:00:01", -2, trans_id="C")],
        ],
        [-2, -2],
    ),
    Case(
        "zero units are a change all the same",
        [[change("09:00:00", 0)]],
        [0],
        {"change_quantity": 0},
    ),
]


@dataclass
class Played:
    """Gold after each build, and where the whole differed from the oracle."""

    positions: list[dict[tuple[int, int], dict[str, Any]]] = field(default_factory=list)
    differences: list[list[str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def played(station: Station) -> Played:
    world, result = station.world(), Played()
    for step in range(STEPS):
        for item, case in enumerate(CASES, start=1):
            for land in case.landings[step] if step < len(case.landings) else []:
                land(world, item)
        world.load_and_build()
        rows = world.rows("gold", "inventory_current")
        result.positions.append({(row["store_id"], row["item_id"]): row for row in rows})
        result.differences.append(differences(world))
    return result


@pytest.mark.parametrize(
    ("item", "case"), list(enumerate(CASES, start=1)), ids=[case.name for case in CASES]
)
def test_on_hand_after_each_build(played: Played, item: int, case: Case) -> None:
    key = (case.store_id, item)
    steps = len(case.on_hand)
    found = [positions[key]["on_hand_quantity"] for positions in played.positions]
    assert found[:steps] == case.on_hand
    assert set(found[steps:]) <= {case.on_hand[-1]}, "it moved although nothing of it arrived"
    last = played.positions[-1][key]
    assert {name: last[name] for name in case.also} == case.also


@pytest.mark.parametrize("step", range(STEPS))
def test_all_tables_equal_the_oracle_after_each_build(played: Played, step: int) -> None:
    assert played.differences[step] == []
