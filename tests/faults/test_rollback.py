"""A bad build is undone: the tables go back to a restore point, and the next build goes on."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

import loaders.maintenance
import loaders.points
import loaders.rollback
from loaders import engine, turns
from loaders.errors import UserError
from loaders.maintenance import Maintenance
from loaders.points import (
    BUILT,
    KEPT,
    STAMP,
    Point,
    Points,
    make,
    points_folder,
    points_of,
    surplus,
)
from loaders.rollback import roll_back
from loaders.unfinished import refuse_unfinished, unfinished
from tests.builds.worlds import World, differences
from tests.faults.landing import land_some

pytestmark = pytest.mark.faults


def keep(world: World) -> Point:
    return make(world.settings, points_folder(world.settings), BUILT)


def spoil(world: World, table: str) -> None:
    """What a bad build does: each figure of a table is another one, under the same keys."""
    schema, name = table.split(".")
    path = str(world.settings.table(schema, name))
    rows = DeltaTable(path).to_pyarrow_table()
    numbers = [field.name for field in rows.schema if field.name.endswith("quantity")]
    for column in numbers:
        position = rows.schema.get_field_index(column)
        wrong = [None if value is None else value + 1000 for value in rows[column].to_pylist()]
        rows = rows.set_column(position, rows.schema.field(position), [wrong])
    write_deltalake(path, rows, mode="overwrite")


def forget_what_was_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upkeep that leaves no version and no file of the past."""
    monkeypatch.setattr(loaders.maintenance, "LOG_ENTRIES", 1)
    monkeypatch.setattr(loaders.maintenance, "CHECKPOINT_COMMITS", 1)
    for _ in range(2):
        list(Maintenance(replace(world.settings, retention_hours=0.0001)).everything(None))
        time.sleep(0.4)


@pytest.fixture
def on_its_own(begun: World) -> Iterator[World]:
    """The rollback ends the engine, and the station's is for all tests: it is taken for ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders.rollback, "_end_engine", lambda _settings: None)
        yield begun


def rolled_back(world: World, point: Point) -> loaders.rollback.Report:
    report = roll_back(world.settings, point.name)
    world.station.point_engine_at(world.settings)
    return report


def test_a_bad_build_is_undone_and_built_again(
    on_its_own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = on_its_own
    point, builds = keep(world), list(world.builds)
    before = world.versions()
    land_some(world, 3)
    world.load_and_build()
    for table in ("gold.inventory_current", "silver.stg_pos__inventory_changes"):
        spoil(world, table)
    land_some(world, 4)
    world.load()
    world.build()  # on top of it; some models see that something is wrong, and stop
    assert differences(world) != [], "it is bad"
    forget_what_was_there(world, monkeypatch)
    with pytest.raises(Exception, match=r"(?i)version|not found|log"):
        DeltaTable(
            str(world.settings.table("gold", "inventory_current")),
            version=point.versions["gold.inventory_current"],
        ).to_pyarrow_table()
    bronze = world.rows("bronze", "pos_messages")
    report = rolled_back(world, point)
    assert "gold.inventory_current" in report.restored
    assert all(world.versions()[table] >= before[table] for table in before), "versions only go up"
    assert world.rows("bronze", "pos_messages") == bronze, "bronze does not go back"
    world.builds[:] = builds  # what the bad build has published was never published
    world.load_and_build()
    assert differences(world) == []
    assert world.check() == []


def test_a_rollback_can_be_undone(on_its_own: World) -> None:
    world = on_its_own
    point = keep(world)
    land_some(world, 3)
    world.load_and_build()
    builds = list(world.builds)
    time.sleep(1)  # points are called by their second
    report = rolled_back(world, point)
    assert report.undone_by is not None
    time.sleep(1)
    rolled_back(world, report.undone_by)
    world.builds[:] = builds
    assert differences(world) == []


@pytest.mark.parametrize("after", [0, 1, 5, 11])
def test_one_that_is_killed_is_finished_before_anything_is_built(
    on_its_own: World, after: int
) -> None:
    world = on_its_own
    point, builds = keep(world), list(world.builds)
    land_some(world, 3)
    world.load_and_build()
    put_back, calls = loaders.rollback._put_back, [0]

    def dying(*arguments: object) -> None:
        if calls[0] == after:
            raise KeyboardInterrupt
        calls[0] += 1
        put_back(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders.rollback, "_put_back", dying)
        with pytest.raises(KeyboardInterrupt):
            roll_back(world.settings, point.name)
    assert unfinished(world.settings) == point.name
    with pytest.raises(UserError, match=f"finish it first: pos rollback --to {point.name}"):
        refuse_unfinished(world.settings)
    with pytest.raises(UserError, match="finish it first"):
        engine.up(world.settings)
    rolled_back(world, point)
    assert unfinished(world.settings) is None
    world.builds[:] = builds
    world.load_and_build()
    assert differences(world) == []


def test_tables_that_are_gone_broken_or_new_are_put_right(on_its_own: World) -> None:
    world = on_its_own
    point, builds = keep(world), list(world.builds)
    gone = world.settings.table("gold", "inventory_current")
    shutil.rmtree(gone)
    broken = world.settings.table("silver", "stg_pos__quarantine")
    log = sorted((broken / "_delta_log").glob("*.json"))[-1]
    log.unlink()  # a second name keeps the point's own
    log.write_bytes(b"{")
    anew = world.settings.table("gold", "bopis_orders")
    rows = DeltaTable(str(anew)).to_pyarrow_table()
    shutil.rmtree(anew)
    write_deltalake(str(anew), rows)
    new = world.settings.table("gold", "made_by_the_bad_build")
    write_deltalake(str(new), rows)
    report = rolled_back(world, point)
    assert report.undone_by is None, "what is broken cannot be kept"
    assert {"gold.inventory_current", "silver.stg_pos__quarantine", "gold.bopis_orders"} <= set(
        report.restored
    )
    assert set(report.set_aside) == {
        "silver.stg_pos__quarantine",
        "gold.bopis_orders",
        "gold.made_by_the_bad_build",
    }
    assert not new.exists()
    assert report.aside is not None
    assert (report.aside / "gold/made_by_the_bad_build/_delta_log").is_dir(), "nothing is deleted"
    world.builds[:] = builds
    assert differences(world) == []
    land_some(world, 3)
    world.load_and_build()
    assert differences(world) == []


def test_without_a_point_or_beside_a_schedule_it_is_refused(begun: World) -> None:
    from loaders.files import only_holder

    with pytest.raises(UserError, match="there is no restore point from"):
        roll_back(begun.settings, "2001-01-01 00:00:00")
    lock = begun.settings.state / "schedule.lock"
    with only_holder(lock, doing="building"), pytest.raises(UserError, match="another process"):
        roll_back(begun.settings, "2001-01-01 00:00:00")


# The points themselves.


def test_a_point_outlives_the_files_it_was_made_of(
    begun: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = keep(begun)
    said = {
        table: DeltaTable(str(begun.settings.table(*table.split("."))))
        .to_pyarrow_table()
        .to_pylist()
        for table in point.versions
    }
    land_some(begun, 3)
    begun.load_and_build()
    forget_what_was_there(begun, monkeypatch)
    for table, rows in said.items():
        kept = DeltaTable(str(point.folder.joinpath(*table.split("."))))
        assert kept.to_pyarrow_table().to_pylist() == rows
    assert not any(name.startswith("bronze.") for name in point.versions), "nor employees' numbers"
    names = {name for _, name, _ in loaders.points.tables_on_disk(begun.settings.lakehouse)}
    assert point.name not in names, "the engine sees no point"


def test_points_are_made_when_due_and_only_of_something_new(
    begun: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = engine.connect(begun.settings)
    points = Points(begun.settings)
    first = points.make_if_due(session)
    assert first is not None
    land_some(begun, 3)
    begun.load_and_build()
    assert points.make_if_due(session) is None, "it is not due"
    assert Points(begun.settings).make_if_due(session) is None, "nor for another schedule"
    monkeypatch.setattr(loaders.points, "POINT_SECONDS", 0)
    monkeypatch.setattr(loaders.points, "KEPT", ((100, 1),))
    time.sleep(1)
    assert Points(begun.settings).make_if_due(session) is not None
    assert Points(begun.settings).make_if_due(session) is None, "nothing was built since"
    assert len(points_of(begun.settings)) == 2
    begun.load_and_build()
    spoil(begun, "gold.inventory_current")
    with turns.taken(session, turns.BY_HAND) as is_ours:
        assert is_ours
        assert Points(begun.settings).make_if_due(session) is None, "somebody else is writing"
    assert Points(begun.settings).make_if_due(session) is not None


def test_the_turn_of_one_that_was_killed_is_taken_over(
    begun: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = engine.connect(begun.settings)
    assert turns.take(session, turns.BY_HAND) is not None
    assert turns.take(session, turns.BY_HAND) is None, "it lives"
    monkeypatch.setattr(turns, "STALE_SECONDS", -1)
    with turns.waited_for(session, turns.BY_HAND):
        monkeypatch.setattr(turns, "STALE_SECONDS", 60)
        assert turns.take(session, turns.SCHEDULE) is None
    with turns.taken(session, turns.BY_HAND) as is_ours:
        assert is_ours


def test_old_points_are_thinned_out() -> None:
    now = datetime(2021, 3, 1, 12, tzinfo=UTC)
    kept: list[Point] = []
    for number in range(4 * 24 * 10):
        moment = now + timedelta(minutes=15 * number)
        kept.append(Point(Path(moment.strftime(STAMP)), moment, {}))
        gone = {point.name for point in surplus(kept, moment)}
        kept = [point for point in kept if point.name not in gone]
    ages = sorted((kept[-1].made_at - point.made_at).total_seconds() for point in kept)
    assert ages[0] == 0
    assert len([age for age in ages if age < 2 * 3600]) == 8
    assert len(ages) <= sum(spans for spans, _ in KEPT)
    for spans, seconds in KEPT:
        within = [age for age in ages if age <= spans * seconds]
        assert max(later - age for age, later in itertools.pairwise(within)) <= 2 * seconds
    assert 5 * 86_400 < ages[-1] <= 7 * 86_400
