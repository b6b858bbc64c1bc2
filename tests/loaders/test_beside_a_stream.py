"""What holds where `pos stream` writes bronze: others watch it, number on after it, keep off."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from loaders import writers
from loaders.config import Settings
from loaders.errors import UserError
from loaders.files import write_atomically
from loaders.landing import COUNTS, FEEDS, MESSAGES, publish, scan
from loaders.load import Loader, create_bronze, last_number, ledger_of, plan_path
from loaders.maintenance import Maintenance
from loaders.plan import Plan, rows_of_files
from loaders.watch import BronzeWatch


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(tmp_path / "landing", tmp_path / "lake")
    create_bronze(made)
    return made


def land(settings: Settings, name: str, lines: int = 3) -> None:
    body = "".join(f'{{"trans_id": "{name}-{number}"}}\n' for number in range(lines))
    publish(settings.landing / f"online/changes/{name}.json", body.encode())


def stream(settings: Settings, number: int) -> None:
    """All that has landed, under a number, as `pos stream` does: no word of the load's in the log,
    no ledger."""
    found, _ = scan(settings.landing)
    plan = Plan(MESSAGES, number, datetime.now(UTC), None, tuple(found[MESSAGES]))
    rows, _ = rows_of_files(plan, settings.landing)
    write_deltalake(str(settings.table("bronze", MESSAGES)), rows, mode="append")


def numbers(settings: Settings) -> list[int]:
    table = DeltaTable(str(settings.table("bronze", MESSAGES))).to_pyarrow_table()
    return sorted(table["ingest_id"].to_pylist())


def test_a_watch_tells_of_each_commit_once(settings: Settings) -> None:
    land(settings, "before")
    stream(settings, 1)
    with BronzeWatch(settings) as watch:
        assert watch.commits == {**dict.fromkeys(FEEDS, 0), MESSAGES: 1}
        assert watch.load().is_empty
        stream(settings, 2)
        stream(settings, 3)
        report = watch.load()
        assert report.rows == {MESSAGES: 6}
        assert report.commits == {MESSAGES: [2, 3]}
        (arrival,) = report.arrivals
        assert arrival.feed == MESSAGES
        assert arrival.source == "online/changes/before.json"
        modified_ns = (settings.landing / arrival.source).stat().st_mtime_ns
        assert 0 <= modified_ns - arrival.landed_ns < 1_000
        assert watch.load().is_empty
        assert watch.commits[MESSAGES] == 3


def test_a_watch_writes_nothing_and_keeps_no_loader_out(settings: Settings) -> None:
    land(settings, "a")
    with BronzeWatch(settings) as watch:
        with Loader(settings) as loader:
            loader.load()
        assert watch.load().commits == {MESSAGES: [1]}


def test_numbers_go_on_after_those_of_a_stream(settings: Settings) -> None:
    land(settings, "a")
    with Loader(settings) as loader:
        loader.load()
    stream(settings, 2)
    land(settings, "b")
    with Loader(settings) as loader:
        loader.load()
    assert numbers(settings) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert last_number(settings, MESSAGES) == 3
    assert last_number(settings, COUNTS) == 0


def test_a_number_that_a_killed_load_had_planned_and_a_stream_has_taken(
    settings: Settings,
) -> None:
    land(settings, "a")
    found, _ = scan(settings.landing)
    plan = Plan(MESSAGES, 1, datetime.now(UTC), None, tuple(found[MESSAGES]))
    write_atomically(plan_path(settings, MESSAGES), plan.to_json())
    stream(settings, 1)
    with Loader(settings) as loader:
        assert [plan.ingest_id for plan in loader.finished] == [2]
        assert loader.load().is_empty
    assert numbers(settings) == [1, 1, 1, 2, 2, 2]
    assert len(ledger_of(settings, MESSAGES)) == 1
    assert not plan_path(settings, MESSAGES).exists()


def test_bronze_is_not_maintained_beside_a_stream(settings: Settings) -> None:
    def merged() -> bool:
        done = {each.table: each for each in Maintenance(settings).everything(None)}
        return done["bronze.pos_messages"].files_merged > 0

    land(settings, "a")
    for number in range(1, 25):
        stream(settings, number)
    with writers.streaming(settings):
        assert not merged()
        with pytest.raises(UserError, match="is already streaming for this lakehouse"):
            writers.streaming(settings).__enter__()
    assert merged()
    assert numbers(settings) == sorted([*range(1, 25)] * 3)
