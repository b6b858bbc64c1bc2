"""The schedule builds when something arrived, and says so when a build fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import loaders.schedule
from loaders.errors import UserError
from loaders.load import Loader
from loaders.schedule import Schedule
from loaders.turns import OWNER_VARIABLE
from loaders.warehouse import BuildReport
from loaders.watch import BronzeWatch
from tests.builds.worlds import Station, World, differences
from tests.files import message


@pytest.fixture
def invoked(
    station: Station, world: World, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[str, ...]]]:
    """The dbt commands that the schedule gave; its dbt is the station's, which has parsed."""
    commands: list[tuple[str, ...]] = []

    class Recorded:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *arguments: str) -> BuildReport:
            commands.append(arguments)
            return station.warehouse.invoke(*arguments)

    monkeypatch.setattr(loaders.schedule, "Warehouse", Recorded)
    yield commands


def test_it_builds_only_when_something_arrived(
    world: World, invoked: list[tuple[str, ...]]
) -> None:
    world.land_messages(message("A", "09:00:00", (1, -1)))
    with Schedule(world.settings) as schedule:
        first = schedule.tick()
        assert first.build is not None
        assert not first.failed, first.build.failures
        assert len(first.lags) == 1
        assert world.on_hand(1, 1) == -1

        idle = schedule.tick()
        assert idle.load.is_empty
        assert idle.build is None

        world.land_messages(message("B", "10:00:00", (1, -2)))
        world.land_counts((2, 9, 1, "2021-01-01 08:00:00", 10))
        second = schedule.tick()
        assert second.build is not None
        assert not second.failed, second.build.failures
        assert second.load.rows == {"pos_messages": 1, "pos_count_rows": 1}
        assert world.on_hand(1, 1) == -3
        assert schedule.build_marts() is not None
    assert OWNER_VARIABLE not in os.environ, "who builds next in this process is no schedule"
    assert [command[0] for command in invoked] == ["build", "build", "build"]
    assert "--selector" not in invoked[0], "the first build makes everything"
    assert invoked[1] == ("build", "--selector", "short_schedule")
    assert differences(world) == []


def test_it_builds_what_somebody_else_loads(world: World, invoked: list[tuple[str, ...]]) -> None:
    """`pos run --from bronze`, beside a stream: it loads nothing and keeps no loader out."""
    world.land_messages(message("A", "09:00:00", (1, -1)))
    with Schedule(world.settings, BronzeWatch(world.settings)) as schedule:
        first = schedule.tick()
        assert first.build is not None
        assert not first.failed, first.build.failures
        assert list(world.rows("gold", "inventory_current")) == []
        with Loader(world.settings) as loader:
            loader.load()
        second = schedule.tick()
        assert second.build is not None
        assert not second.failed, second.build.failures
        assert second.load.rows == {"pos_messages": 1}
        assert len(second.lags) == 1
        assert world.on_hand(1, 1) == -1
        assert schedule.tick().build is None
        assert schedule.is_settled
        assert schedule.build_marts() is not None
    assert differences(world) == []


class Clock:
    """The schedule's time; nobody else's, who would wait for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(loaders.schedule, "time", self)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


def test_the_marts_follow_once_a_minute(
    world: World, invoked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    world.land_messages(message("A", "09:00:00", (1, -1)))
    with Schedule(world.settings) as schedule:
        schedule.tick()
        assert balances(world) == [-1], "the first build has made them"
        world.land_messages(message("B", "10:00:00", (1, -2)))
        clock.now += 59
        early = schedule.tick()
        assert early.build is not None
        assert early.marts is None
        assert balances(world) == [-1]

        clock.now += 2
        due = schedule.tick()
        assert due.build is None, "nothing has landed since"
        assert due.marts is not None
        assert not due.failed, due.marts.failures
        assert balances(world) == [-1, -3]
        clock.now += 3600
        assert schedule.tick().reports == [], "and they are made of nothing newer"

        world.land_messages(message("C", "11:00:00", (1, -4)))
        both = schedule.tick()
        assert both.build is not None
        assert both.marts is not None
        assert balances(world) == [-1, -3, -7]

        world.land_messages(message("D", "12:00:00", (1, -8)))
        schedule.tick()
        assert schedule.build_marts() is not None, "whoever is at the end does not wait"
        assert schedule.build_marts() is None
        assert balances(world) == [-1, -3, -7, -15]


def balances(world: World) -> list[int]:
    rows = world.rows("gold", "inventory_ledger")
    return [row["balance_quantity"] for row in sorted(rows, key=lambda row: row["occurred_at"])]


def test_marts_that_fail_do_not_hold_up_the_tables(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, commands = Clock(monkeypatch), []

    class FailingMarts:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *arguments: str) -> BuildReport:
            commands.append(arguments[-1])
            succeeded = arguments[-1] != "marts" or commands.count("marts") > 1
            return BuildReport(0.1, succeeded, [] if succeeded else ["a_mart: it broke"])

    monkeypatch.setattr(loaders.schedule, "Warehouse", FailingMarts)
    with Schedule(world.settings) as schedule:
        assert not schedule.tick().failed
        clock.now += 61
        world.land_messages(message("A", "09:00:00", (1, -1)))
        failed = schedule.tick()
        assert failed.failed
        assert len(failed.lags) == 1, "the table is there all the same"
        clock.now += 1
        world.land_messages(message("B", "10:00:00", (1, -1)))
        going_on = schedule.tick()
        assert going_on.build is not None
        assert going_on.marts is None, "not again at once"
        clock.now += 5
        again = schedule.tick()
        assert again.marts is not None
        assert not again.failed


def test_what_a_killed_run_left_unbuilt_is_built_at_the_start(
    world: World, invoked: list[tuple[str, ...]]
) -> None:
    world.land_messages(message("A", "09:00:00", (1, -1)))
    world.load()
    with Schedule(world.settings) as schedule:
        tick = schedule.tick()
    assert tick.load.is_empty
    assert tick.build is not None
    assert world.on_hand(1, 1) == -1


def test_a_failed_build_is_tried_again_and_forgets_nothing(
    world: World, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool] = [False, True]

    class Failing:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *_arguments: str) -> BuildReport:
            succeeded = answers.pop(0)
            return BuildReport(0.1, succeeded, [] if succeeded else ["a_model: it broke"])

    monkeypatch.setattr(loaders.schedule, "Warehouse", Failing)
    monkeypatch.setattr(loaders.schedule, "RETRY_SECONDS", 0.0)
    world.land_messages(message("A", "09:00:00", (1, -1)))
    with Schedule(world.settings) as schedule:
        failed = schedule.tick()
        assert failed.failed
        assert failed.lags == []
        again = schedule.tick()
        assert again.build is not None
        assert again.build.succeeded
        assert len(again.lags) == 1, "the file of the failed build counts as built now"
        assert schedule.tick().build is None


def test_a_failed_build_waits_before_it_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *_arguments: str) -> BuildReport:
            return BuildReport(0.1, False, ["a_model: it broke"])

    monkeypatch.setattr(loaders.schedule, "Warehouse", Failing)
    with Schedule(world.settings) as schedule:
        assert schedule.tick().failed
        world.land_messages(message("A", "09:00:00", (1, -1)))
        waiting = schedule.tick()
        assert waiting.build is None
        assert waiting.load.rows == {"pos_messages": 1}, "loading goes on"


def test_a_second_schedule_is_refused_with_a_sentence(
    world: World, invoked: list[tuple[str, ...]]
) -> None:
    with (
        Schedule(world.settings),
        pytest.raises(UserError, match="already building on a schedule for this lakehouse"),
        Schedule(world.settings),
    ):
        pass
    with Schedule(world.settings):
        pass  # and what was refused left no lock behind


def test_it_stops_between_two_ticks(world: World, invoked: list[tuple[str, ...]]) -> None:
    ticks: list[Any] = []
    with Schedule(world.settings) as schedule:
        schedule.run(ticks.append, lambda: len(ticks) == 2)
    assert [tick.build is not None for tick in ticks] == [True, False]
