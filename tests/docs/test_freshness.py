"""A stale source is shown and fails no build, by the rules that `dbt source freshness` goes by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import loaders.load
import loaders.schedule
from loaders.errors import UserError
from loaders.freshness import Freshness, Rule, freshness_of, plain, rules
from loaders.schedule import Schedule, Tick
from loaders.status import status_lines
from loaders.view import Figures
from tests.builds.worlds import Station, World
from tests.docs.manifest import ROOT, Manifest
from tests.files import message

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TILLS = Rule("pos_messages", "received_at", timedelta(hours=1), timedelta(hours=12))
SPANS = {"minute": 60, "hour": 3600, "day": 86_400}


@contextmanager
def hours_ago(hours: int) -> Iterator[None]:
    """What is loaded meanwhile was received so long ago; bronze is only ever appended to."""

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(hours=hours)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders.load, "datetime", Earlier)
        yield


def status_of(world: World) -> str:
    (found,) = [one for one in freshness_of(world.settings) if one.rule.table == "pos_messages"]
    return found.status


def test_the_rules_are_those_of_dbt(manifest: Manifest) -> None:
    def span(limit: dict[str, Any] | None) -> timedelta | None:
        is_set = limit and limit["count"]
        return timedelta(seconds=limit["count"] * SPANS[limit["period"]]) if is_set else None

    of_dbt = {
        Rule(
            source["name"],
            source["loaded_at_field"],
            span((source["freshness"] or {}).get("warn_after")),
            span((source["freshness"] or {}).get("error_after")),
        )
        for source in manifest["sources"].values()
    }
    assert set(rules(ROOT)) == of_dbt
    assert TILLS in of_dbt


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(hours=1), "pass"),
        (timedelta(hours=1, seconds=1), "warn"),
        (timedelta(hours=12, seconds=1), "error"),
        (None, "pass"),
    ],
)
def test_what_is_stale(age: timedelta | None, status: str) -> None:
    source = Freshness(TILLS, None if age is None else NOW - age, NOW)
    assert source.status == status
    silent = Rule("pos_items", "received_at", None, None)
    assert Freshness(silent, NOW - timedelta(days=900), NOW).status == "pass"


def test_what_is_said_of_it() -> None:
    stale = Freshness(TILLS, NOW - timedelta(hours=3), NOW)
    fresh = Freshness(TILLS, NOW - timedelta(seconds=1), NOW)
    assert str(stale) == "pos_messages: last received 3 hours ago, STALE (warn after 1 hour)"
    assert str(Freshness(TILLS, None, NOW)) == "pos_messages: nothing received yet"
    assert plain(timedelta(days=1, hours=23)) == "1 day"
    figures = Figures()
    assert figures.add_freshness([fresh]) == []
    assert figures.add_freshness([stale]) == [f"source {stale}"]
    assert figures.add_freshness([stale]) == [], "said once"
    assert list(figures.stale) == ["pos_messages"]
    assert figures.add_freshness([fresh]) == [f"source {fresh}, fresh again"]
    assert figures.stale == {}


def test_dbt_finds_the_same(station: Station, world: World) -> None:
    found = []
    for hours in (13, 2, 0):
        world.land_messages(message(f"received {hours} hours ago", "09:00:00", (1, -1)))
        with hours_ago(hours):
            world.load()
        found.append((status_of(world), station.warehouse.invoke("source", "freshness").succeeded))
    assert found == [("error", False), ("warn", True), ("pass", True)]


def test_the_schedule_shows_a_stale_source_and_builds_on(
    station: Station, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Resident:
        def __init__(self, _settings: object) -> None:
            self.invoke = station.warehouse.invoke

    monkeypatch.setattr(loaders.schedule, "Warehouse", Resident)
    world.land_messages(message("A", "09:00:00", (1, -1)))
    with hours_ago(13):
        world.load_and_build()
    with Schedule(world.settings) as schedule:
        schedule.full_build_is_due = schedule.makes_marts = False
        first = schedule.tick()
        assert stale_in(first) == ["pos_messages"]
        assert not first.failed
        said = "\n".join(line.text for line in status_lines(world.settings))
        assert "pos_messages: last received 13 hours ago, STALE (error after 12 hours)" in said
        assert "pos_items: nothing received yet" in said
        assert schedule.tick().freshness is None, "not looked at in each moment"

        monkeypatch.setattr(loaders.schedule, "FRESHNESS_SECONDS", 0.0)
        world.land_messages(message("B", "10:00:00", (1, -2)))
        busy = schedule.tick()
        assert busy.build is not None
        assert busy.build.succeeded, busy.build.failures
        assert busy.freshness is None, "not looked at while there is something to build"
        assert stale_in(schedule.tick()) == []
        assert world.on_hand(1, 1) == -3


def stale_in(tick: Tick) -> list[str]:
    assert tick.freshness is not None
    return [source.rule.table for source in tick.freshness if source.is_stale]


def test_a_project_whose_rules_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="freshness"):
        rules(tmp_path)
