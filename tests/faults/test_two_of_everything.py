"""Two of everything at one lakehouse: one waits or is refused with a sentence; none does harm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from loaders import engine, writers
from loaders.config import Settings
from loaders.errors import UserError
from loaders.sql.server import CONNECT
from tests.faults.figures import Figures
from tests.faults.lives import KILLED, Commands, Shop
from tests.faults.test_crashes import assert_nothing_lost, engines_in, shop_of
from tests.worlds import free_port

COMMAND = "pytest -m faults tests/faults/test_two_of_everything.py"
REFUSED = "another process (pid "
TABLES_ONLY = ("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test")
MOST_SECONDS = 600.0  # of a wait for something that comes


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = shop_of(tmp_path_factory.mktemp("two"))
    yield shop
    shop.close()


def dbt(shop: Commands, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """dbt as a person runs it, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dbt.cli.main", *arguments],
        env={**os.environ, **shop.settings.environment(), **environment},
        cwd=shop.settings.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def build(shop: Commands, folder: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    """`dbt build` of all tables, with artifacts apart from those of others."""
    target = ("--target-path", str(folder / "target"), "--log-path", str(folder / "logs"))
    return dbt(shop, "build", *TABLES_ONLY, *target, *more, **environment)


COMPARING = 2.0  # seconds between two looks that take a core from who is waited for


def wait_until(is_so: object, what: str, pause: float = 0.2) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(pause)


@pytest.mark.faults
def test_six_loaders_at_once(shop: Shop, figures: Figures) -> None:
    """Whoever has the lock loads; the others say who has it, and stop."""
    shop.play(0.2)
    loaders = [shop.start("load", "--once") for _ in range(6)]
    for loader in loaders:
        loader.join()
    codes = sorted(loader.exitcode for loader in loaders)
    assert set(codes) <= {0, 1}
    assert codes[0] == 0, "one of them has loaded"
    assert shop.said.count(REFUSED) == codes.count(1)
    assert "Traceback" not in shop.said
    lines, lost, doubled = shop.lines_lost_and_doubled()
    assert (lost, doubled) == (0, 0)
    figures.add("six loaders at once: lines lost, doubled", f"0, 0 of {lines:,}", COMMAND)


@pytest.mark.faults
def test_four_starts_of_the_engine_at_once(shop: Shop) -> None:
    starts = [shop.start("up") for _ in range(4)]
    for start in starts:
        start.join()
    assert [start.exitcode for start in starts] == [0] * 4, shop.said
    assert len(engines_in(shop.settings.lakehouse)) == 1


@pytest.mark.faults
def test_two_schedules(shop: Shop) -> None:
    first = shop.start("run")
    wait_until(lambda: "lines in" in shop.said, "the first has built")
    before = len(shop.said)
    for command in (("run", "--once"), ("run",), ("load", "--once")):
        assert shop.run(*command) == 1
    refusals = [line for line in shop.said[before:].splitlines() if line.startswith("pos: ")]
    assert len(refusals) == 3
    assert all(REFUSED in line for line in refusals)
    first.terminate()
    first.join()
    assert first.exitcode == 0


@pytest.mark.faults
def test_a_full_refresh_by_hand_and_another_one_while_the_stream_runs(
    shop: Shop, tmp_path: Path, figures: Figures
) -> None:
    """Three that write, and the upkeep beside them: they take turns, and nobody fails."""
    schedule = shop.start("run")
    before = len(shop.said)
    shop.play(0.4)
    wait_until(lambda: "lines in" in shop.said[before:], "it has built")
    by_hand = [
        build(shop, tmp_path / "1", "--full-refresh", POS_TURN_RENEWAL_SECONDS="0"),
        build(shop, tmp_path / "2", "--full-refresh", POS_TURN_RENEWAL_SECONDS="0"),
    ]
    turns = TurnsSeen(shop.settings)
    for step in range(6):
        shop.play(0.5 + 0.05 * step)
        assert shop.run("maintain") == 0, shop.said
        time.sleep(1)
    outputs = [process.communicate()[0] for process in by_hand]
    turns.stop()
    assert [process.returncode for process in by_hand] == [0, 0], outputs
    wait_until(lambda: not shop.differences(), "the stream has caught up", COMPARING)
    schedule.terminate()
    schedule.join()
    assert schedule.exitcode == 0, shop.said
    assert "build failed" not in shop.said[before:]
    assert max(turns.times_of_one_run) > 1, "a run by hand says again and again that it is alive"
    lines, keys = assert_nothing_lost(shop)
    figures.add(
        "two `dbt build --full-refresh` and `pos maintain` beside `pos run`: lines lost, doubled",
        f"0, 0 of {lines:,}",
        COMMAND,
    )
    figures.add("keys of gold that differ from the truth", f"0 of {keys:,}", COMMAND)


class TurnsSeen:
    """Who had the turn, looked at from a process of its own as the engine's other clients do."""

    SCRIPT = """
import sys, time
from loaders import engine, turns
from loaders.config import settings_from
session = engine.connect(settings_from())
while True:
    print(turns._holder(session).replace(chr(10), " "), flush=True)
    time.sleep(0.1)
"""

    def __init__(self, settings: Settings) -> None:
        self._seen: dict[str, set[str]] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT],
            env={**os.environ, **settings.environment()},
            cwd=settings.project,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            run = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", line)
            taken_at = re.search(r"taken_at=(\d+);", line)
            if run and taken_at and "by_hand" in line:
                self._seen.setdefault(run[0], set()).add(taken_at[1])

    @property
    def times_of_one_run(self) -> list[int]:
        """For each run by hand, at how many times it said that it has the turn."""
        return [len(times) for times in self._seen.values()] or [0]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()


@pytest.mark.faults
def test_a_run_by_hand_that_was_killed_holds_nobody_up_for_long(
    shop: Shop, tmp_path: Path, figures: Figures
) -> None:
    by_hand = build(shop, tmp_path, "--full-refresh")
    watched = TurnsSeen(shop.settings)
    wait_until(lambda: max(watched.times_of_one_run) > 0, "it has the turn")
    by_hand.kill()
    by_hand.communicate()
    watched.stop()
    started = time.monotonic()
    shop.play(0.8)
    shop.must("run", "--once")
    assert time.monotonic() - started < MOST_SECONDS
    assert_nothing_lost(shop)


@pytest.mark.faults
def test_a_reader_of_an_old_version_beside_the_upkeep(shop: Shop, figures: Figures) -> None:
    """Whoever has opened a table reads it to the end as it was, whatever is merged meanwhile."""
    shop.must("run", "--once")
    names = [("gold", "inventory_current"), ("silver", "stg_pos__inventory_changes")]
    held = {name: DeltaTable(str(shop.settings.table(*name))) for name in names}
    then = {name: table.to_pyarrow_table().num_rows for name, table in held.items()}
    was = {name: held[name].to_pyarrow_table().sort_by("_ingest_id") for name in names[1:]}
    for share in (0.82, 0.84, 0.86, 0.9):
        shop.play(share)
        shop.must("run", "--once")
        shop.must("maintain")
    for name, table in held.items():
        assert DeltaTable(str(shop.settings.table(*name))).version() > table.version()
        assert table.to_pyarrow_table().num_rows == then[name], name
    for name, rows in was.items():
        assert held[name].to_pyarrow_table().sort_by("_ingest_id").equals(rows)
    figures.add("rows that a reader of an old version missed after upkeep", 0, COMMAND)


@pytest.mark.faults
def test_after_all_that_nothing_is_lost_or_doubled(shop: Shop) -> None:
    shop.play(1.0)
    shop.must("run", "--once")
    assert_nothing_lost(shop)


# The lock that keeps everybody out who would write beside Apache Spark, without a JVM.

HOLD = """
import sys, time
from loaders import writers
from loaders.config import settings_from
with getattr(writers, sys.argv[1])(settings_from()):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(settings: Settings, kind: str) -> subprocess.Popen[str]:
    """A process that has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind],
        env={**os.environ, **settings.environment()},
        cwd=settings.project,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize(
    ("first", "second", "goes"),
    [
        ("beside_others", "beside_others", True),
        ("beside_others", "alone", False),
        ("alone", "beside_others", False),
        ("alone", "alone", False),
    ],
)
def test_the_lock_of_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str, goes: bool
) -> None:
    """And it is free as soon as its holder is dead."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    monkeypatch.setattr(writers, "PATIENCE", 0.0)
    process = holder(settings, first)
    try:
        if goes:
            with getattr(writers, second)(settings):
                pass
        else:
            with (
                pytest.raises(UserError, match="another process is writing in the lakehouse"),
                getattr(writers, second)(settings),
            ):
                pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with getattr(writers, second)(settings):
        pass


def test_the_engine_is_a_writer_for_as_long_as_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a dbt by hand writes by it. That a schedule had it start changes nothing."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    with writers.beside_others(settings):
        running, _ = engine.up(settings)
    try:
        monkeypatch.setattr(writers, "PATIENCE", 0.0)
        with pytest.raises(UserError, match="pos down"), writers.alone(settings):
            pass
        with writers.beside_others(settings):
            pass
        with pytest.raises(UserError, match="pos down"), writers.alone(settings):
            pass
        os.kill(running.pid, signal.SIGKILL)
        monkeypatch.setattr(writers, "PATIENCE", 10.0)
        with (
            writers.alone(settings),
            pytest.raises(UserError, match="beside Apache Spark only one may"),
        ):
            monkeypatch.setattr(writers, "PATIENCE", 0.0)
            engine.up(settings)
        assert engine.running(settings) is None
    finally:
        engine.down(settings)


# And with JVMs.


@pytest.mark.spark
@pytest.mark.faults
def test_two_sparks_at_one_lakehouse(
    spark_jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    """While one runs on Spark, others are refused with a sentence; killed, it holds nobody up."""
    for name, value in {
        "POS_JARS": str(spark_jars),
        "POS_SPARK_MEMORY": "700m",
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }.items():
        monkeypatch.setenv(name, value)
    for name in CONNECT:  # of a pytest that has talked to the embedded engine before
        monkeypatch.delenv(name, raising=False)
    shop = shop_of(tmp_path, days=1, items=20, lines=100)
    on_spark = ("--target", "spark")
    seed = ("seed", *on_spark, "--target-path", str(tmp_path / "target"))
    shop.play(1.0)
    schedule = shop.start("run", *on_spark)
    try:
        wait_until(lambda: "lines in" in shop.said or not schedule.is_alive(), "it has built")
        assert schedule.is_alive(), shop.said
        second = dbt(shop, *seed)
        refused, _ = second.communicate()
        assert second.returncode != 0
        assert "Another process is writing in the lakehouse" in refused
        assert "Traceback" not in refused
        for command in (("maintain", *on_spark), ("maintain",)):
            assert shop.run(*command) == 1
        assert shop.said.count("pos: another process is writing in the lakehouse") == 2
    finally:
        schedule.kill()
        schedule.join()
    assert schedule.exitcode == KILLED
    again = dbt(shop, *seed)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    shop.must("maintain", *on_spark)
    assert shop.differences() == []
    figures.add("Spark JVMs beside the one that writes that got in", 0, f"{COMMAND} -m spark")
