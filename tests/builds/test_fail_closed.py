"""What the engine has forgotten is not gone: no build wipes rows that lie on disk (rule 11)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from loaders import engine
from tests.builds.worlds import SILVER_AND_GOLD, Station, World, differences
from tests.files import message

TABLES = [(schema, name) for schema, names in SILVER_AND_GOLD.items() for name in names]
# One of each kind: insert-only, updated, a log, with partitions. All at once are forgotten below.
FORGOTTEN = [
    ("silver", "stg_pos__inventory_changes"),
    ("silver", "stg_pos__stock_counts"),
    ("gold", "inventory_current"),
    ("gold", "stock_count_figures"),
    ("gold", "inventory_ledger"),
]


def with_one_of_everything(world: World) -> World:
    """Bad lines included, and built twice, so that there is a history to lose."""
    world.land_items((1, "Tea", 7, 3))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 10))
    world.land_messages(message("A", "09:00:00", (1, -1)), "not json")
    world.load_and_build()
    world.land_messages(message("B", "10:00:00", (1, -2)))
    world.load_and_build()
    return world


@pytest.fixture(scope="module")
def shared(station: Station) -> World:
    return with_one_of_everything(station.world())


@pytest.fixture
def built(world: World) -> World:
    return with_one_of_everything(world)


def counted(world: World) -> dict[str, int]:
    return {f"{schema}.{name}": len(world.rows(schema, name)) for schema, name in TABLES}


def forget_and_build(world: World, schema: str, name: str) -> None:
    before, on_hand = counted(world), world.on_hand(1, 1)
    engine.connect(world.settings).sql(f"drop table {schema}.{name}").collect()
    world.land_messages(message(f"C-{name}", "11:00:00", (1, -4)))
    world.load()
    report = world.build()
    after = counted(world)
    assert all(after[table] >= rows for table, rows in before.items())
    if not report.succeeded:
        said = "\n".join(report.failures)
        assert name in said
        assert "already exists" in said
        engine.up(world.settings)  # knows the tables again
        report = world.build()
    assert report.succeeded, report.failures
    assert world.on_hand(1, 1) == on_hand - 4
    assert differences(world) == []


@pytest.mark.parametrize(("schema", "name"), FORGOTTEN, ids=str)
def test_a_table_that_the_catalogue_forgot_keeps_its_rows(
    shared: World, schema: str, name: str
) -> None:
    forget_and_build(shared, schema, name)


def test_a_catalogue_that_answers_nothing_keeps_all_rows(
    built: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbt.adapters.spark.impl import SparkAdapter

    before = counted(built)
    built.land_messages(message("C", "11:00:00", (1, -4)))
    built.load()
    with monkeypatch.context() as patch:
        # What dbt-spark makes of any error of `show table extended`.
        patch.setattr(SparkAdapter, "list_relations_without_caching", lambda *_: [])
        report = built.build()
    after = counted(built)
    assert all(after[table] >= rows for table, rows in before.items())
    if not report.succeeded:
        assert "already exists" in "\n".join(report.failures)
    report = built.build()
    assert report.succeeded, report.failures
    assert built.on_hand(1, 1) == 3
    assert differences(built) == []


@pytest.fixture
def restarted(station: Station, built: World) -> Iterator[World]:
    """The world after its engine was stopped and another one started."""
    try:
        assert engine.down(built.settings)
        engine.up(built.settings)
        yield built
    finally:
        shutil.copy(built.settings.state / "engine.json", station.settings.state / "engine.json")


def test_a_new_engine_knows_all_tables_and_builds_on_them(restarted: World) -> None:
    session: Any = engine.connect(restarted.settings)
    for schema, name in TABLES:
        rows = session.sql(f"select count(*) from {schema}.{name}").collect()[0][0]
        assert rows == len(restarted.rows(schema, name)), name
    restarted.land_messages(message("C", "11:00:00", (1, -4)))
    restarted.load_and_build()
    assert restarted.on_hand(1, 1) == 3
    assert differences(restarted) == []


def test_up_a_second_time_changes_nothing(built: World) -> None:
    first = engine.running(built.settings)
    again, added = engine.up(built.settings)
    assert again == first
    assert added == []
