"""The acceptance cases with numbers from outside (DESIGN section 8), by name, on both engines.

Every case has an item of its own, so all of them go through the same builds. What is to hold after
each build is written down here as the source tells it, not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from tests.builds.worlds import SparkStation, Station, World, differences
from tests.files import message
from tests.worlds import ResidentDbt

SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4

Landing = Callable[[World, int], object]  # puts something down for the item
Expected = dict[str, Any]


def at(time: str) -> str:
    """A time of 1 January 2021, unless it names its date."""
    return time if " " in time else f"2021-01-01 {time}"


def count(time: str, quantity: int) -> Landing:
    return lambda world, item: world.land_counts((item, 9, 1, at(time), quantity))


def change(time: str, quantity: int, kind: int = SALE, store_id: int = 1) -> Landing:
    def land(world: World, item: int) -> None:
        trans_id = f"{item} at {time}"
        more = {"change_type_id": kind, "store_id": store_id}
        world.land_messages(message(trans_id, at(time), (item, quantity), **more))

    return land


def bopis(time: str, quantity: int, store_id: int) -> Landing:
    def land(world: World, item: int) -> None:
        more = {"change_type_id": BOPIS, "store_id": store_id}
        world.land_messages(message(f"order of {item}", at(time), (item, -quantity), **more))

    return land


def item_row(safety: int) -> Landing:
    return lambda world, item: world.land_items((item, f"Item {item}", 7, safety))


@dataclass(frozen=True)
class Step:
    """What lands before a build, and what must be in the tables after it."""

    landings: list[Landing]
    position: Expected = field(default_factory=dict)
    variances: dict[str, Expected] = field(default_factory=dict)  # by time of the count
    restatements: dict[str, list[Expected]] = field(default_factory=dict)


CASES: dict[str, list[Step]] = {
    "Square: a late sale from before a count is part of it": [
        Step(
            [count("08:00:00", 100), change("13:10:00", -3)],
            {"on_hand_quantity": 97},
        ),
        Step(
            [count("13:30:00", 95)],
            {"on_hand_quantity": 95},
            {"13:30:00": {"book_quantity": 97, "variance_quantity": -2, "is_restated": False}},
        ),
        Step(  # sold at 13:20, heard of at 13:35
            [change("13:20:00", -2)],
            {"on_hand_quantity": 95},
            {"13:30:00": {"book_quantity": 95, "variance_quantity": 0, "is_restated": True}},
            {
                "13:30:00": [
                    {
                        "cause": "late_event",
                        "believed_variance_quantity": -2,
                        "variance_quantity": 0,
                        "believed_on_hand_quantity": 95,
                        "on_hand_quantity": 95,
                    }
                ]
            },
        ),
        Step([change("13:40:00", -2, SHRINK)], {"on_hand_quantity": 93}),
    ],
    "ERPNext 54295: a receipt dated before a count leaves it": [
        Step(
            [count("2021-11-11 10:00:00", 1)],
            {"on_hand_quantity": 1},
            {"2021-11-11 10:00:00": {"variance_quantity": 1, "is_restated": False}},
        ),
        Step(
            [change("2021-07-01 10:00:00", 56, RESTOCK)],
            {"on_hand_quantity": 1},
            {"2021-11-11 10:00:00": {"variance_quantity": -55, "is_restated": True}},
            {
                "2021-11-11 10:00:00": [
                    {
                        "cause": "late_event",
                        "believed_variance_quantity": 1,
                        "variance_quantity": 1 - 56,
                    }
                ]
            },
        ),
    ],
    "ERPNext 28936: an earlier count entered later restates the later one's difference": [
        Step(
            [count("2021-03-01 10:00:00", 20), change("2021-03-07 10:00:00", -3, SALE)],
            {"on_hand_quantity": 17},
        ),
        Step(
            [count("2021-03-10 10:00:00", 10)],
            {"on_hand_quantity": 10},
            {"2021-03-10 10:00:00": {"variance_quantity": -7, "is_restated": False}},
        ),
        Step(
            [count("2021-03-05 10:00:00", 12)],
            {"on_hand_quantity": 10, "counted_quantity": 10},
            {
                "2021-03-05 10:00:00": {
                    "variance_quantity": -8,
                    "is_late": True,
                    "is_restated": False,
                },
                "2021-03-10 10:00:00": {
                    "counted_quantity": 10,
                    "book_quantity": 9,
                    "variance_quantity": 1,
                    "is_restated": True,
                },
            },
            {
                "2021-03-05 10:00:00": [
                    {
                        "cause": "late_count",
                        "believed_on_hand_quantity": 20,
                        "on_hand_quantity": 12,
                    }
                ],
                "2021-03-10 10:00:00": [
                    {
                        "cause": "late_count",
                        "believed_variance_quantity": -7,
                        "variance_quantity": 1,
                        "believed_on_hand_quantity": 10,
                        "on_hand_quantity": 10,
                    }
                ],
            },
        ),
    ],
    "Oracle late sales: on hand unchanged, the variance explained": [
        Step(
            [change("2021-01-01 09:00:00", 20, RESTOCK), count("2021-01-02 09:00:00", 18)],
            {"on_hand_quantity": 18},
            {"2021-01-02 09:00:00": {"variance_quantity": -2, "is_restated": False}},
        ),
        Step(
            [change("2021-01-01 18:00:00", -2)],
            {"on_hand_quantity": 18},
            {"2021-01-02 09:00:00": {"variance_quantity": 0, "is_restated": True}},
            {
                "2021-01-02 09:00:00": [
                    {
                        "cause": "late_event",
                        "believed_variance_quantity": -2,
                        "variance_quantity": 0,
                    }
                ]
            },
        ),
    ],
    "IBM Inventory Visibility: nothing to promise below the safety stock": [
        Step(
            [count("2021-11-11 08:00:00", 4), item_row(2)],
            {
                "on_hand_quantity": 4,
                "committed_quantity": 0,
                "available_quantity": 4,
                "available_to_promise_quantity": 2,
            },
        ),
        Step(
            [bopis("2021-11-11 09:00:00", 3, store_id=0)],
            {
                "on_hand_quantity": 4,
                "committed_quantity": 3,
                "available_quantity": 1,
                "safety_stock_quantity": 2,
                "available_to_promise_quantity": 0,
                "is_below_safety_stock": True,
            },
        ),
        Step(  # two of three collected
            [bopis("2021-11-11 12:00:00", 2, store_id=1)],
            {"on_hand_quantity": 2, "committed_quantity": 1, "available_quantity": 1},
        ),
    ],
}
STEPS = max(len(steps) for steps in CASES.values())


@dataclass
class Played:
    """The tables after each build, and where they differed from the oracle."""

    tables: list[dict[str, list[dict[str, Any]]]] = field(default_factory=list)
    differences: list[list[str]] = field(default_factory=list)


TABLES = ("inventory_current", "stock_count_variances", "inventory_restatements")


@pytest.fixture(scope="module", params=["local", pytest.param("spark", marks=pytest.mark.spark)])
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    if request.param == "local":
        station: Station = request.getfixturevalue("station")
    else:
        dbt: ResidentDbt = request.getfixturevalue("spark_dbt")
        station = SparkStation(tmp_path_factory.mktemp("spark"), dbt)
    world, result = station.world(), Played()
    for step in range(STEPS):
        for item, steps in enumerate(CASES.values(), start=1):
            for land in steps[step].landings if step < len(steps) else []:
                land(world, item)
        world.load_and_build()
        result.tables.append({name: world.rows("gold", name) for name in TABLES})
        result.differences.append(differences(world))
    yield result


@pytest.mark.parametrize("name", CASES)
def test_acceptance(played: Played, name: str) -> None:
    item = list(CASES).index(name) + 1
    for step, tables in zip(CASES[name], played.tables, strict=False):
        rows = {
            table: [row for row in found if (row["store_id"], row["item_id"]) == (1, item)]
            for table, found in tables.items()
        }
        (position,) = rows["inventory_current"]
        assert part_of(position, step.position) == step.position
        for time, expected in step.variances.items():
            (variance,) = of_count(rows["stock_count_variances"], time)
            assert part_of(variance, expected) == expected
        restated = rows["inventory_restatements"]
        for time, listed in step.restatements.items():
            found = of_count(restated, time)
            assert [part_of(*pair) for pair in zip(found, listed, strict=True)] == listed


def test_every_table_equals_the_oracle_after_each_build(played: Played) -> None:
    assert [each[:3] for each in played.differences] == [[]] * STEPS


def of_count(rows: list[dict[str, Any]], time: str) -> list[dict[str, Any]]:
    counted_at = datetime.fromisoformat(at(time))
    return [row for row in rows if row["counted_at"] == counted_at]


def part_of(row: dict[str, Any], expected: Expected) -> Expected:
    return {name: row[name] for name in expected}
