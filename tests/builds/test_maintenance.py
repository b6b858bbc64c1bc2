"""Upkeep keeps the tables small and changes nothing in them, whatever reads or writes or dies."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.table import TableOptimizer
from rich.console import Console

import loaders.maintenance
import loaders.schedule
from loaders import cli, engine, turns
from loaders.config import Settings, settings_from
from loaders.errors import UserError
from loaders.landing import publish
from loaders.load import Loader
from loaders.maintenance import Maintenance, Upkeep
from loaders.schedule import Schedule
from loaders.view import Figures, View
from loaders.warehouse import BuildReport
from tests.builds.worlds import World, differences
from tests.files import message

AT_ONCE = 0.0001  # hours, that is nothing once it is in whole seconds
MESSAGES = "bronze.pos_messages"
PROJECT = Path(__file__).resolve().parents[2]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it but the test."""


@pytest.fixture
def little_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can be done is due: two files are merged, one old log entry is removed."""
    monkeypatch.setattr(loaders.maintenance, "IDLE_COMMITS", 1)
    monkeypatch.setattr(loaders.maintenance, "BUSY_COMMITS", 1)
    monkeypatch.setattr(loaders.maintenance, "LEAST_SAVED", 1)
    monkeypatch.setattr(loaders.maintenance, "LOG_ENTRIES", 1)
    monkeypatch.setattr(loaders.maintenance, "CHECKPOINT_COMMITS", 1)
    monkeypatch.setattr(loaders.maintenance, "PASS_SECONDS", 60.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lakehouse of 24 loads and a table that was replaced 12 times; no engine."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", retention_hours=AT_ONCE)
    settings.landing.mkdir()
    with Loader(settings) as loader:
        for number in range(24):
            land(settings, number)
            loader.load()
    for number in range(12):
        rows = pa.table({"item_id": range(5), "quantity": [number] * 5})
        write_deltalake(str(settings.table("gold", "replaced")), rows, mode="overwrite")
    return settings


def land(settings: Settings, number: int) -> None:
    body = json.dumps(message(f"T{number}", "09:00:00", (1, -1)))
    publish(settings.landing / f"store_001/changes/{number:06d}.json", f"{body}\n".encode())


def bodies(settings: Settings) -> list[str]:
    path = str(settings.table("bronze", "pos_messages"))
    return sorted(DeltaTable(path).to_pyarrow_table()["body"].to_pylist())


def versions(settings: Settings) -> dict[str, int]:
    return {
        str(path.parent): DeltaTable(str(path.parent)).version()
        for path in settings.lakehouse.glob("*/*/_delta_log")
    }


def names_in_log(settings: Settings, schema: str, name: str) -> list[str]:
    return sorted(path.name for path in (settings.table(schema, name) / "_delta_log").iterdir())


def maintain(settings: Settings) -> dict[str, Upkeep]:
    return {upkeep.table: upkeep for upkeep in Maintenance(settings).everything(None)}


def wait_out_the_retention() -> None:
    time.sleep(0.01)  # files are older than it once their time is not the present one


# What it does.


def test_files_are_merged_and_the_log_is_cut(settings: Settings, little_is_much: None) -> None:
    before = bodies(settings)
    done = maintain(settings)
    wait_out_the_retention()
    again = maintain(settings)
    assert done[MESSAGES].files_merged == 24
    for table, count in ((MESSAGES, 24), ("gold.replaced", 11)):
        assert done[table].files_removed + again[table].files_removed == count
    assert bodies(settings) == before
    table = DeltaTable(str(settings.table("bronze", "pos_messages")))
    assert len(table.file_uris()) == 1
    assert len(list(settings.table("bronze", "pos_messages").glob("*.parquet"))) == 1
    maintain(settings)
    assert len(names_in_log(settings, "bronze", "pos_messages")) <= 6
    assert len(names_in_log(settings, "gold", "replaced")) <= 6


def test_the_loader_goes_on_where_it_was(settings: Settings, little_is_much: None) -> None:
    for number in range(24, 30):
        maintain(settings)
        land(settings, number)
        with Loader(settings) as loader:
            report = loader.load()
        assert report.rows == {"pos_messages": 1}
        table = DeltaTable(str(settings.table("bronze", "pos_messages")))
        assert table.transaction_version("pos-load/pos_messages") == number + 1
        numbers = table.to_pyarrow_table()["ingest_id"].to_pylist()
        assert sorted(numbers) == list(range(1, number + 2))
    assert "00000000000000000000.json" not in names_in_log(settings, "bronze", "pos_messages")


def test_merged_files_keep_what_they_are_skipped_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is of one day, and says which commits are in it; those of two files do not overlap."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    path = settings.table("silver", "stg_pos__inventory_changes")
    for commit in range(40):
        rows = {
            "_ingest_id": pa.array([commit] * 400, pa.int64()),
            "trans_id": [
                f"{commit}-{number}-{random.Random(commit).random()}" for number in range(400)
            ],
            "occurred_on": [f"2021-01-0{commit % 2 + 1}"] * 400,
        }
        write_deltalake(str(path), pa.table(rows), mode="append", partition_by=["occurred_on"])
    files = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))
    monkeypatch.setattr(loaders.maintenance, "FILE_BYTES", 6 * pc.max(files["size_bytes"]).as_py())
    for _ in range(3):
        maintain(settings)
    files = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))
    assert files.num_rows <= 16
    for day in ("2021-01-01", "2021-01-02"):
        of_day = files.filter(pc.equal(files["partition.occurred_on"], day)).sort_by(
            "min._ingest_id"
        )
        assert 1 < of_day.num_rows <= 8
        ranges = zip(
            of_day["min._ingest_id"].to_pylist(), of_day["max._ingest_id"].to_pylist(), strict=True
        )
        ends = list(itertools.chain.from_iterable(ranges))
        assert ends == sorted(ends)


def test_a_table_of_many_days_is_merged_where_it_helps_most(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    path = settings.table("silver", "stg_pos__inventory_changes")
    days = ["2021-01-01"] * 20 + ["2021-01-02", "2021-01-03", "2021-01-03"]
    for day in days:
        rows = pa.table({"_ingest_id": [1], "occurred_on": [day]})
        write_deltalake(str(path), rows, mode="append", partition_by=["occurred_on"])
    done = maintain(settings)["silver.stg_pos__inventory_changes"]
    assert (done.files_merged, done.files_written) == (22, 2)
    assert len(DeltaTable(str(path)).file_uris()) == 3


def test_nothing_happens_when_nothing_is_due(settings: Settings) -> None:
    maintenance = Maintenance(replace(settings, target="spark", retention_hours=1.0))
    while maintenance.between_builds(None, is_idle=True):
        pass
    before = versions(settings)
    land(settings, 24)
    with Loader(settings) as loader:
        loader.load()
    assert maintenance.due() == [], "one commit is not much"
    assert maintenance.between_builds(None, is_idle=True) == []
    after = versions(settings)
    assert {path for path in after if after[path] != before[path]} == {
        str(settings.table("bronze", "pos_messages"))
    }, "which is the load's"
    with Loader(settings) as loader:
        for number in range(25, 42):
            land(settings, number)
            loader.load()
    assert maintenance.due(loaders.maintenance.BUSY_COMMITS) == [], "while a build may be waiting"
    assert [table for table, _ in maintenance.due()] == [MESSAGES]


def test_by_hand_it_says_what_it_did(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("POS_LANDING", "POS_PORT", "POS_RETENTION_HOURS", "DBT_TARGET"):
        monkeypatch.delenv(name, raising=False)
    arguments = ["maintain", "--lakehouse", str(settings.lakehouse)]
    cli.pos.main(arguments, standalone_mode=False)
    said = capsys.readouterr().out
    assert "bronze.pos_messages: 24 files merged into 1" in said
    assert "bronze.pos_items: " in said
    shutil.rmtree(settings.table("gold", "replaced") / "_delta_log")
    (settings.table("gold", "replaced") / "_delta_log").mkdir()
    with pytest.raises(UserError, match="not all tables could be maintained"):
        cli.pos.main(arguments, standalone_mode=False)
    captured = capsys.readouterr()
    assert "gold.replaced: failed: " in captured.err
    assert "bronze.pos_messages: nothing to do" in captured.out


def test_the_retention_is_a_number_of_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POS_RETENTION_HOURS", "0.5")
    assert settings_from().retention_hours == 0.5
    for text in ("0", "-1", "a week", "inf", "nan"):
        monkeypatch.setenv("POS_RETENTION_HOURS", text)
        with pytest.raises(UserError, match="POS_RETENTION_HOURS is a number of hours"):
            settings_from()


# Beside readers and writers.


def test_readers_that_are_at_it_are_not_disturbed(settings: Settings, little_is_much: None) -> None:
    """What was opened before is read as it was; without a retention that would not be so."""
    path = str(settings.table("bronze", "pos_messages"))
    before = bodies(settings)
    opened = [DeltaTable(path), DeltaTable(path)]
    scanned = polars.scan_delta(path)
    duck = duckdb.connect()
    for name in ("first", "second"):
        files = ", ".join(f"'{file.removeprefix('file://')}'" for file in opened[0].file_uris())
        duck.sql(f"create view {name} as select body from read_parquet([{files}])")
    maintain(replace(settings, retention_hours=1.0))
    maintain(replace(settings, retention_hours=1.0))
    assert len(DeltaTable(path).file_uris()) == 1
    assert sorted(opened[0].to_pyarrow_table()["body"].to_pylist()) == before
    assert sorted(scanned.collect()["body"].to_list()) == before
    assert sorted(row[0] for row in duck.sql("from first").fetchall()) == before

    wait_out_the_retention()
    maintain(settings)
    with pytest.raises(FileNotFoundError):
        opened[1].to_pyarrow_table()
    assert bodies(settings) == before


def test_old_files_are_kept_for_the_retention_after_they_were_replaced(
    settings: Settings, little_is_much: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old they are, and though the log does not name them any more."""
    monkeypatch.setattr(loaders.maintenance, "LOG_SECONDS", 0)
    path = settings.table("bronze", "pos_messages")
    two_hours_ago = time.time() - 7200
    for file in path.glob("*.parquet"):
        os.utime(file, (two_hours_ago, two_hours_ago))
    seconds = 2.0
    kept = replace(settings, target="spark", retention_hours=seconds / 3600)
    opened, before, maintenance = DeltaTable(str(path)), bodies(settings), Maintenance(kept)
    started = time.monotonic()
    done = {upkeep.table: upkeep for upkeep in maintenance.between_builds(None, is_idle=True)}
    assert done[MESSAGES].files_merged == 24
    assert sorted(opened.to_pyarrow_table()["body"].to_pylist()) == before
    time.sleep(max(0.0, started + 1.2 - time.monotonic()))  # due again, and not yet removed
    assert [each.files_removed for each in maintenance.between_builds(None, is_idle=True)] == []
    assert sorted(opened.to_pyarrow_table()["body"].to_pylist()) == before
    time.sleep(seconds)
    done = {upkeep.table: upkeep for upkeep in maintenance.between_builds(None, is_idle=True)}
    assert done[MESSAGES].files_removed == 24
    assert bodies(settings) == before


def test_a_load_beside_it_loses_nothing(settings: Settings, little_is_much: None) -> None:
    failures: list[Exception] = []

    def load() -> None:
        try:
            with Loader(settings) as loader:
                for number in range(24, 64):
                    land(settings, number)
                    loader.load()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    hourly, rounds = replace(settings, retention_hours=1.0), 0
    while thread.is_alive():
        assert [each for each in maintain(hourly).values() if each.problem] == []
        rounds += 1
    thread.join()
    assert failures == []
    assert rounds > 1
    assert len(bodies(settings)) == len(set(bodies(settings))) == 64


@pytest.fixture
def session(world: World) -> Any:
    return engine.connect(world.settings)


@pytest.fixture
def by_the_way(world: World, session: Any, little_is_much: None) -> Callable[[], list[Upkeep]]:
    """Upkeep as the schedule does it, keeping nothing that was replaced."""
    maintenance = Maintenance(replace(world.settings, retention_hours=AT_ONCE))
    return lambda: maintenance.between_builds(session, is_idle=True)


def killed_at(call: int, function: Callable[..., Any], when: str) -> Callable[..., Any]:
    numbers = itertools.count(1)

    def killed(*arguments: Any, **named: Any) -> Any:
        if next(numbers) == call:
            if when == "after":
                function(*arguments, **named)
            raise Killed
        return function(*arguments, **named)

    return killed


STEPS = [
    (Maintenance, "_set_properties", "after"),
    (Maintenance, "_merge_files", "after"),
    (Maintenance, "_cut_log", "after"),
    (DeltaTable, "vacuum", "after"),
    (Maintenance, "_remove_files", "after"),
]


def test_builds_between_upkeep_that_is_killed_equal_the_truth(
    world: World, by_the_way: Callable[[], list[Upkeep]]
) -> None:
    """Each build is followed by upkeep that dies at another step, and by one that does not."""
    world.land_items((1, "Tea", 7, 3), (2, "Salt", 7, 50))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 100), (2, 9, 1, "2021-01-01 08:00:00", 60))
    done: list[Upkeep] = []
    for number, (owner, step, when) in enumerate(STEPS):
        world.land_messages(
            message(f"A{number}", f"09:0{number}:00", (1, -1), (2, -3)),
            message("A0", "09:00:00", (1, -1), (2, -3)),
            message(f"L{number}", f"2020-12-3{number % 2} 10:00:00", (1, -2)),
            "not json",
        )
        if number == 3:
            world.land_counts((1, 9, 1, "2021-01-01 09:01:30", 90))
        world.load_and_build()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, step, killed_at(2 + number, getattr(owner, step), when))
            with pytest.raises(Killed):
                by_the_way()
        done += by_the_way()
    assert [upkeep.problem for upkeep in done if upkeep.problem] == []
    assert sum(upkeep.files_removed for upkeep in done) > 0
    assert differences(world) == []
    changes = DeltaTable(str(world.settings.table("silver", "stg_pos__inventory_changes")))
    assert len(changes.file_uris()) <= 4, "one of each day, and what the last build wrote"
    for path in world.settings.lakehouse.glob("*/*/_delta_log"):
        assert len(list(path.glob("*.json"))) <= 12
        assert len(list(path.glob("*.crc"))) <= 12


def test_readers_in_the_engine_see_all_rows_all_the_time(
    world: World, session: Any, little_is_much: None
) -> None:
    hourly = Maintenance(world.settings)
    failures: list[str] = []
    over = threading.Event()

    def read() -> None:
        counts = [0]
        while not over.is_set():
            try:
                counts.append(
                    session.sql("select count(*) from bronze.pos_messages").collect()[0][0]
                )
            except Exception as error:
                failures.append(str(error))
        if counts != sorted(counts):
            failures.append(f"rows went missing: {counts}")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(12):
            world.land_messages(message(f"A{number}", "09:00:00", (1, -1)))
            world.load()
            upkeep = hourly.between_builds(session, is_idle=True)
            assert [each.problem for each in upkeep if each.problem] == []
    finally:
        over.set()
        thread.join()
    assert failures == []
    assert session.sql("select count(*) from bronze.pos_messages").collect()[0][0] == 12


def test_it_waits_for_whoever_has_the_turn(
    world: World, session: Any, by_the_way: Callable[[], list[Upkeep]]
) -> None:
    for number in range(3):
        world.land_messages(message(f"A{number}", "09:00:00", (1, -1)))
        world.load()
    before = versions(world.settings)
    with turns.taken(session, turns.BY_HAND) as is_ours:
        assert is_ours
        assert by_the_way() == []
        with turns.taken(session, turns.SCHEDULE) as is_theirs:
            assert not is_theirs
    assert versions(world.settings) == before
    assert MESSAGES in {upkeep.table for upkeep in by_the_way()}
    with turns.taken(session, turns.SCHEDULE) as is_ours:
        assert is_ours, "and gives it back"


@pytest.mark.parametrize("taken_at", [1, 9_999_999_999])
def test_the_turn_of_one_that_was_killed_is_taken_over(
    world: World, session: Any, taken_at: int
) -> None:
    """Also where it was taken in the future: the clock has been set back since."""
    session.sql(
        "create view default.dbt_turn as select 'nobody' as invocation_id, "
        f"'by_hand' as turn_owner, 'taken_at={taken_at};' as taken_at"
    ).collect()
    looked_at = list(Maintenance(world.settings).everything(session))
    assert [upkeep.problem for upkeep in looked_at if upkeep.problem] == []
    assert MESSAGES in {upkeep.table for upkeep in looked_at}
    with turns.taken(session, turns.SCHEDULE) as is_ours:
        assert is_ours


def test_a_second_upkeep_by_hand_is_refused_with_a_sentence(world: World, session: Any) -> None:
    world.load()
    first = Maintenance(world.settings).everything(session)
    next(first)
    with pytest.raises(UserError, match="already maintaining the tables"):
        next(Maintenance(world.settings).everything(session))
    first.close()


# When it fails or dies.


def test_what_fails_is_said_and_stops_nothing(
    world: World, little_is_much: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Succeeding:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *_arguments: str) -> BuildReport:
            return BuildReport(0.1, True)

    def failing(*_arguments: object, **_named: object) -> None:
        raise OSError("the disk is full\nand more")

    monkeypatch.setattr(loaders.schedule, "Warehouse", Succeeding)
    monkeypatch.setattr(TableOptimizer, "compact", failing)
    console = Console(record=True, width=200)
    with Schedule(world.settings) as schedule:
        for number in range(3):
            world.land_messages(message(f"A{number}", "09:00:00", (1, -1)))
            tick = schedule.tick()
            assert tick.build is not None
            assert not tick.failed
            View(console).observe(tick, Figures(), world.settings.lakehouse)
    assert f"maintenance failed: {MESSAGES}: the disk is full" in console.export_text()


@pytest.fixture
def dying(settings: Settings) -> Iterator[Callable[[float], None]]:
    """Upkeep in a process of its own, again and again, until it is killed after so many seconds."""

    def die(seconds: float) -> None:
        program = (
            "import sys; from pathlib import Path; from loaders import maintenance as m\n"
            "from loaders.config import Settings\n"
            "m.LEAST_SAVED = m.LOG_ENTRIES = m.CHECKPOINT_COMMITS = 1\n"
            "settings = Settings(*map(Path, sys.argv[1:]), retention_hours=0.0001)\n"
            "print('ready', flush=True)\n"
            "while True: list(m.Maintenance(settings).everything(None))\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(settings.landing), str(settings.lakehouse)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.wait()
        process.stdout.close()

    yield die


def test_a_kill_at_any_moment_leaves_the_tables_as_they_were(
    settings: Settings, dying: Callable[[float], None]
) -> None:
    chance = random.Random(5)
    expected = bodies(settings)
    for number in range(24, 30):
        dying(chance.uniform(0.0, 0.06))
        assert bodies(settings) == expected
        replaced = DeltaTable(str(settings.table("gold", "replaced"))).to_pyarrow_table()
        assert set(replaced["quantity"].to_pylist()) == {number - 13}
        land(settings, number)
        with Loader(settings) as loader:
            assert loader.load().rows == {"pos_messages": 1}
        expected = bodies(settings)
        rows = pa.table({"item_id": range(5), "quantity": [number - 12] * 5})
        write_deltalake(str(settings.table("gold", "replaced")), rows, mode="overwrite")
    assert len(set(expected)) == 30
    assert [each for each in maintain(settings).values() if each.problem] == []
    assert bodies(settings) == expected


def test_what_each_build_updates_is_not_merged_with_what_is_old(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    path = settings.table("gold", "bopis_orders")
    shuffled = random.Random(5)
    for orders in [100_000] + [100] * 20:
        rows = pa.table({"trans_id": [shuffled.randbytes(25).hex() for _ in range(orders)]})
        write_deltalake(str(path), rows, mode="append")
    files = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))
    old = files.sort_by("num_records")["path"][-1]
    done = maintain(settings)["gold.bopis_orders"]
    assert (done.files_merged, done.files_written) == (20, 1)
    files = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True))
    assert files.num_rows == 2
    assert old in files["path"]
