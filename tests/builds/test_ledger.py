"""The ledger and the marts on real builds: increments equal one build, a rebuild and the oracle.

The marts are built less often than what they are made of, so here too: now after every build, now
after several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from loaders import engine
from tests import oracle
from tests.builds.comparing import GOLD, History, gold_differences, gold_rows
from tests.builds.random_worlds import batches, colliding, packed
from tests.builds.worlds import Station, World
from tests.files import message
from tests.scale import IS_ALL

MARTS = ("run", "--selector", "marts")
TABLES = [
    table
    for table in GOLD
    if table.name
    in ("inventory_ledger", "days_of_supply", "phantom_stock_suspects", "shrink_by_item")
]
SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4


def build_marts(world: World, *more: str) -> None:
    report = world.station.warehouse.invoke(*MARTS, *more)
    assert report.succeeded, report.failures


def load_and_build_all(world: World) -> None:
    world.load_and_build()
    build_marts(world)


def mart_differences(world: World, stores: dict[int, str] | None = None) -> list[str]:
    deliveries = world.deliveries()
    judged = oracle.judge(deliveries, stores)
    history = History.of(world.builds, deliveries)
    return [
        said
        for table in TABLES
        for said in gold_differences(
            table, world.rows_if_there("gold", table.name), judged, history
        )
    ]


def mart_rows(world: World) -> dict[str, Any]:
    return {table.name: gold_rows(table, world.rows("gold", table.name)) for table in TABLES}


Entry = tuple[str, str, int, int]  # time, type, quantity, balance


def account(world: World, item_id: int = 1, store_id: int = 1) -> list[Entry]:
    """The entries of a key in their order."""
    return [
        (
            f"{row['occurred_at']:%d %H:%M}",
            row["change_type"],
            row["quantity"],
            row["balance_quantity"],
        )
        for row in entries(world, item_id, store_id)
    ]


def entries(world: World, item_id: int, store_id: int = 1) -> list[dict[str, Any]]:
    rows = [
        row
        for row in world.rows("gold", "inventory_ledger")
        if (row["store_id"], row["item_id"]) == (store_id, item_id)
    ]
    return sorted(
        rows, key=lambda row: (row["occurred_at"], row["change_type"] == "count", row["_receipt"])
    )


def run_of(row: dict[str, Any]) -> tuple[int, int]:
    """What the run that wrote an entry had read."""
    return (row["_changes_ingest_id"], row["_publication"])


Landing = Callable[[World, int], object]


def change(at: str, quantity: int, kind: int = SALE) -> Landing:
    def land(world: World, item: int) -> None:
        body = message(f"{item}-{len(world.landed)}", at, (item, quantity), change_type_id=kind)
        world.land_messages(body)

    return land


def count(at: str, quantity: int) -> Landing:
    return lambda world, item: world.land_counts((item, 9, 1, f"2021-01-{at}:00", quantity))


@dataclass(frozen=True)
class Step:
    """What lands, the account of the item after it, and how many of its entries are written."""

    landings: list[Landing]
    account: list[Entry]
    written: int


# Each case has an item of its own, so that all go through the same builds.
CASES = {
    "square's day, then a late sale, a late count, a correction, a sale": [
        Step(
            [
                count("01 08:00", 100),
                change("13:10:00", -3),
                count("01 13:30", 95),
                change("13:40:00", -2, SHRINK),
            ],
            [
                ("01 08:00", "count", 100, 100),
                ("01 13:10", "sale", -3, 97),
                ("01 13:30", "count", -2, 95),
                ("01 13:40", "shrink", -2, 93),
            ],
            written=4,
        ),
        Step(
            [change("13:20:00", -2)],
            [
                ("01 08:00", "count", 100, 100),
                ("01 13:10", "sale", -3, 97),
                ("01 13:20", "sale", -2, 95),
                ("01 13:30", "count", 0, 95),
                ("01 13:40", "shrink", -2, 93),
            ],
            written=2,  # it, and the count that it precedes
        ),
        Step(
            [count("01 13:15", 90)],
            [
                ("01 08:00", "count", 100, 100),
                ("01 13:10", "sale", -3, 97),
                ("01 13:15", "count", -7, 90),
                ("01 13:20", "sale", -2, 88),
                ("01 13:30", "count", 7, 95),
                ("01 13:40", "shrink", -2, 93),
            ],
            written=3,  # it, and what follows up to the next count
        ),
        Step(
            [count("01 08:00", 98)],
            [
                ("01 08:00", "count", 98, 98),
                ("01 13:10", "sale", -3, 95),
                ("01 13:15", "count", -5, 90),
                ("01 13:20", "sale", -2, 88),
                ("01 13:30", "count", 7, 95),
                ("01 13:40", "shrink", -2, 93),
            ],
            written=3,
        ),
        Step(
            [change("2021-01-02 09:00:00", -1)],
            [
                ("01 08:00", "count", 98, 98),
                ("01 13:10", "sale", -3, 95),
                ("01 13:15", "count", -5, 90),
                ("01 13:20", "sale", -2, 88),
                ("01 13:30", "count", 7, 95),
                ("01 13:40", "shrink", -2, 93),
                ("02 09:00", "sale", -1, 92),
            ],
            written=1,  # what sells now restates nothing
        ),
    ],
    "never counted, sold below nothing, and counted at last": [
        Step(
            [change("2021-01-02 09:00:00", 7, RESTOCK), change("2021-01-03 09:00:00", -9)],
            [("02 09:00", "restock", 7, 7), ("03 09:00", "sale", -9, -2)],
            written=2,
        ),
        Step(
            [change("2021-01-01 09:00:00", 5, RESTOCK)],
            [
                ("01 09:00", "restock", 5, 5),
                ("02 09:00", "restock", 7, 12),
                ("03 09:00", "sale", -9, 3),
            ],
            written=3,
        ),
        Step(
            [count("02 08:00", 4)],
            [
                ("01 09:00", "restock", 5, 5),
                ("02 08:00", "count", -1, 4),
                ("02 09:00", "restock", 7, 11),
                ("03 09:00", "sale", -9, 2),
            ],
            written=3,
        ),
    ],
    "of one instant the changes in order of receipt, then the count": [
        Step(
            [change("09:00:00", -1), change("09:00:00", 0, RESTOCK), count("01 09:00", 10)],
            [
                ("01 09:00", "sale", -1, -1),
                ("01 09:00", "restock", 0, -1),
                ("01 09:00", "count", 11, 10),
            ],
            written=3,
        ),
        Step(
            [change("09:00:00", -2)],
            [
                ("01 09:00", "sale", -1, -1),
                ("01 09:00", "restock", 0, -1),
                ("01 09:00", "sale", -2, -3),
                ("01 09:00", "count", 13, 10),
            ],
            written=2,
        ),
    ],
    "a late event of no units alters no book": [
        Step(
            [change("09:00:00", -1), count("01 10:00", 10)],
            [("01 09:00", "sale", -1, -1), ("01 10:00", "count", 11, 10)],
            written=2,
        ),
        Step(
            [change("09:10:00", 0), change("11:00:00", -1)],
            [
                ("01 09:00", "sale", -1, -1),
                ("01 09:10", "sale", 0, -1),
                ("01 10:00", "count", 11, 10),
                ("01 11:00", "sale", -1, 9),
            ],
            written=3,
        ),
    ],
    "an event that arrives with the count that it precedes": [
        Step(
            [change("09:00:00", 4, RESTOCK)],
            [("01 09:00", "restock", 4, 4)],
            written=1,
        ),
        Step(
            [count("01 10:00", 3), change("09:30:00", -2), change("10:30:00", -1)],
            [
                ("01 09:00", "restock", 4, 4),
                ("01 09:30", "sale", -2, 2),
                ("01 10:00", "count", 1, 3),
                ("01 10:30", "sale", -1, 2),
            ],
            written=3,
        ),
    ],
}
STEPS = max(len(steps) for steps in CASES.values())


@dataclass
class Played:
    """The account of each case after each step, what was written of it, and what differed."""

    accounts: dict[tuple[int, int], list[Entry]] = field(default_factory=dict)
    written: dict[tuple[int, int], int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def played(station: Station) -> Played:
    world, result = station.world(), Played()
    latest = (-1, -1)
    for step in range(STEPS):
        for item, steps in enumerate(CASES.values(), start=1):
            for land in steps[step].landings if step < len(steps) else []:
                land(world, item)
        load_and_build_all(world)
        for item in range(1, len(CASES) + 1):
            rows = entries(world, item)
            result.accounts[step, item] = account(world, item)
            result.written[step, item] = sum(run_of(row) > latest for row in rows)
        latest = max(run_of(row) for row in world.rows("gold", "inventory_ledger"))
        result.differences += mart_differences(world)
    return result


@pytest.mark.parametrize(("item", "name"), list(enumerate(CASES, start=1)))
def test_the_account_after_each_build(played: Played, item: int, name: str) -> None:
    for step, expected in enumerate(CASES[name]):
        assert played.accounts[step, item] == expected.account, f"step {step}"
        assert played.written[step, item] == expected.written, f"step {step}"
    for step in range(len(CASES[name]), STEPS):
        assert played.written[step, item] == 0, "nothing happened to it"


def test_the_marts_equal_the_oracle_after_each_build(played: Played) -> None:
    assert played.differences == []


def test_several_builds_of_what_it_is_made_of_between_two_of_the_ledger(world: World) -> None:
    world.land_messages(message("A", "09:00:00", (1, -1), (2, -1)))
    load_and_build_all(world)
    world.land_counts((1, 9, 1, "2021-01-01 10:00:00", 10))
    world.load_and_build()
    world.land_messages(message("B", "09:30:00", (1, -2)))
    world.load_and_build()
    world.land_counts((1, 9, 1, "2021-01-01 10:00:00", 12))
    world.land_messages(message("C", "11:00:00", (1, -2)))
    world.load_and_build()
    world.land_counts((1, 9, 1, "2021-01-01 10:00:00", 10))
    load_and_build_all(world)
    assert account(world) == [
        ("01 09:00", "sale", -1, -1),
        ("01 09:30", "sale", -2, -3),
        ("01 10:00", "count", 13, 10),
        ("01 11:00", "sale", -2, 8),
    ]
    assert mart_differences(world) == []


COUNTS_ALONE = ("stg_pos__stock_counts", "stock_count_figures", "stock_count_variances")


@pytest.mark.parametrize(
    ("late_count", "alone"),
    [(False, "+inventory_current"), (True, "+inventory_current"), (True, COUNTS_ALONE)],
    ids=["the books lack a late event", "the books lack a count", "what is on hand lacks a count"],
)
def test_it_does_not_reckon_from_what_does_not_belong_together(
    world: World, late_count: bool, alone: str | tuple[str, ...]
) -> None:
    world.land_messages(message("A", "09:00:00", (1, -1)), message("B", "11:00:00", (1, -2)))
    world.land_counts((1, 9, 1, "2021-01-01 10:00:00", 10))
    load_and_build_all(world)
    before = account(world)

    world.land_messages(message("C", "09:30:00", (1, -4)))
    if late_count:
        world.land_counts((1, 9, 1, "2021-01-01 10:30:00", 20))
    world.load()
    select = [alone] if isinstance(alone, str) else alone
    assert world.station.warehouse.invoke("run", "--select", *select).succeeded
    (failure,) = world.station.warehouse.invoke(*MARTS).failures
    assert "Build them together: dbt build --select +inventory_ledger" in failure
    assert account(world) == before

    load_and_build_all(world)
    assert mart_differences(world) == []


def test_an_order_online_is_no_entry_until_its_shop_is_known_as_one(world: World) -> None:
    """Store 77 is unknown, so its BOPIS records are pickups, until `stores` says it is online."""
    world.land_messages(message("A", "09:00:00", (1, -1), store_id=0, change_type_id=BOPIS))
    world.land_messages(message("A", "10:00:00", (1, -1), change_type_id=BOPIS))
    world.land_messages(message("B", "10:00:00", (1, -1), store_id=77, change_type_id=BOPIS))
    world.land_messages(message("C", "11:00:00", (1, 5), store_id=77, change_type_id=RESTOCK))
    load_and_build_all(world)
    assert account(world, store_id=0) == []
    assert account(world) == [("01 10:00", "bopis", -1, -1)]
    assert account(world, store_id=77) == [
        ("01 10:00", "bopis", -1, -1),
        ("01 11:00", "restock", 5, 4),
    ]
    session = engine.connect(world.settings)
    session.sql("insert into silver.stores values (77, 'web', 'online')").collect()
    load_and_build_all(world)
    assert account(world, store_id=77) == [("01 11:00", "restock", 5, 5)]
    assert mart_differences(world, {**oracle.STORES, 77: "online"}) == []
    version = ledger_version(world)
    build_marts(world)
    assert ledger_version(world) == version, "it is made anew once, and nothing new writes nothing"


def ledger_version(world: World) -> int:
    return world.versions()["gold.inventory_ledger"]


def test_no_event_at_all(world: World) -> None:
    load_and_build_all(world)
    assert mart_rows(world) == {table.name: {} for table in TABLES}
    world.land_messages(message("A", "13:10:00", (1, -3)))
    load_and_build_all(world)
    assert account(world) == [("01 13:10", "sale", -3, -3)]
    assert mart_differences(world) == []


@pytest.mark.parametrize(("kind", "seed"), [("colliding", 3), *([("packed", 1)] if IS_ALL else [])])
def test_every_batching_and_a_rebuild_equal_the_oracle(
    station: Station, kind: str, seed: int
) -> None:
    landings = packed(seed) if kind == "packed" else colliding(seed)
    outcomes = []
    for number, every in ((8, 1), (5, 2), (1, 1)):
        world = station.world()
        for position, batch in enumerate(batches(landings, number), start=1):
            world.land_all(batch)
            world.load_and_build()
            if position % every == 0 or position == number:
                build_marts(world)
                assert mart_differences(world)[:3] == [], f"after {position} of {number}"
        outcomes.append(mart_rows(world))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    build_marts(world, "--full-refresh")
    assert mart_rows(world) == outcomes[0]
    assert any(row["balance_quantity"] < 0 for row in outcomes[0]["inventory_ledger"].values())


def ledger_tests(world: World) -> Iterable[str]:
    return world.station.warehouse.invoke(
        "test", "--select", "inventory_ledger,test_type:singular"
    ).failures


def test_the_invariants_see_a_balance_that_was_not_restated(world: World) -> None:
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 100))
    world.land_messages(message("A", "13:10:00", (1, -3)), message("B", "13:20:00", (1, -2)))
    load_and_build_all(world)
    assert ledger_tests(world) == []
    session = engine.connect(world.settings)
    session.sql(
        "update gold.inventory_ledger set balance_quantity = 96 where trans_id = 'A'"
    ).collect()
    assert any("assert_ledger_adds_up" in failure for failure in ledger_tests(world))


def test_days_of_supply_and_suspects_by_hand(world: World) -> None:
    """Five sales an hour apart, then 33 hours of silence; another item goes on selling."""
    world.land_counts(
        (1, 9, 1, "2021-01-01 08:00:00", 25),
        (2, 9, 1, "2021-01-01 08:00:00", 9),
    )
    for hour in range(9, 14):
        world.land_messages(message(f"A{hour}", f"{hour:02}:00:00", (1, -1), (2, -1)))
    world.land_messages(message("B", "2021-01-02 22:00:00", (2, -1)))
    load_and_build_all(world)
    supply = {row["item_id"]: row for row in world.rows("gold", "days_of_supply")}
    days = 37 / 24  # from the first event to the last
    assert supply[1]["observed_days"] == pytest.approx(days)
    assert supply[1]["days_of_supply"] == pytest.approx(20 / (5 / days))
    assert supply[2]["days_of_supply"] == pytest.approx(3 / (6 / days))
    (suspect,) = world.rows("gold", "phantom_stock_suspects")
    assert suspect["item_id"] == 1
    assert suspect["usual_gap_hours"] == 1.0
    assert suspect["hours_since_last_sale"] == 33.0
    assert suspect["last_sold_at"] == datetime(2021, 1, 1, 13)
