"""Floods and droughts: much at once, one large file, many small ones, nothing for a month."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

import loaders.load
from loaders import engine
from loaders.config import Settings
from loaders.landing import FEEDS
from loaders.load import BATCH_FILES, Loader, ledger_of
from loaders.messages import MAX_MESSAGE_BYTES, encode_transaction
from loaders.parts import lines_at_most
from loaders.schedule import Schedule
from loaders.status import status_lines
from tests.builds.worlds import World, differences
from tests.faults.figures import Figures
from tests.files import message

NOON = "2021-01-01 12:00:00"
MEBIBYTE = 1024 * 1024
# What the README promises of a loader, whatever lands: the memory of its process.
LOADER_BYTES = 1_200 * MEBIBYTE
ENGINE_MEBIBYTES = 2_300  # and of the embedded engine, whatever is rejected


def basket(number: int, lines: int = 10) -> str:
    """A message of ten lines; each of a hundred items loses a unit in every ten messages."""
    items = [(number * lines % 100 + at, -1) for at in range(lines)]
    hours, seconds = divmod(number % 80_000, 3600)
    at = f"2021-01-{1 + number // 80_000:02d} {hours:02d}:{seconds // 60:02d}:{seconds % 60:02d}"
    return json.dumps(message(f"T{number:08d}", at, *items))


def peak_bytes(pid: int | str = "self") -> int:
    """The most memory that a process has held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no peak is known")


def loaded_apart(settings: Settings) -> tuple[int, int, float]:
    """Load all in a process of its own: commits, peak memory, seconds."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_load, (settings,))


def _load(settings: Settings) -> tuple[int, int, float]:
    started = time.monotonic()
    with Loader(settings) as loader:
        loader.load()
        assert loader.load().is_empty
    version = DeltaTable(str(settings.table("bronze", "pos_messages"))).version()
    return version, peak_bytes(), time.monotonic() - started


def write_lines(path: Path, size: int, lines: str) -> int:
    """A file of at least so many bytes, the same lines again and again; how many it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = size // len(lines) + 1
    with path.open("w") as handle:
        for _ in range(times):
            handle.write(lines)
    return times * lines.count("\n")


def rows_of(settings: Settings) -> int:
    actions = DeltaTable(str(settings.table("bronze", "pos_messages"))).get_add_actions(
        flatten=True
    )
    return sum(actions["num_records"].to_pylist())


@pytest.mark.faults
def test_a_file_of_a_gigabyte(tmp_path: Path, figures: Figures) -> None:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    path = settings.landing / "store_001/changes/large.json"
    lines = write_lines(path, 1_000_000_000, "".join(f"{basket(n)}\n" for n in range(10_000)))
    commits, peak, seconds = loaded_apart(settings)
    assert rows_of(settings) == lines
    assert commits >= 1_000_000_000 // loaders.load.PART_BYTES
    assert peak < LOADER_BYTES
    what = f"{seconds:.0f} s, {commits} commits, {peak / MEBIBYTE:.0f} MiB"
    figures.add("a file of 1 GB loaded", what, "pos load --once")


@pytest.mark.faults
def test_garbage_of_two_bytes_a_line(tmp_path: Path, figures: Figures) -> None:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    path = settings.landing / "store_001/changes/garbage.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x\n" * 4_000_000)
    commits, peak, seconds = loaded_apart(settings)
    assert rows_of(settings) == 4_000_000
    assert commits == 4
    assert peak < LOADER_BYTES
    what = f"{seconds:.0f} s, {commits} commits, {peak / MEBIBYTE:.0f} MiB"
    figures.add("4,000,000 lines of garbage loaded", what, "pos load --once")


@pytest.mark.faults
def test_a_hundred_thousand_small_files(tmp_path: Path, figures: Figures) -> None:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    for till in range(100):
        folder = settings.landing / f"till_{till:03d}/changes"
        folder.mkdir(parents=True)
        for number in range(1_000):
            (folder / f"{number:04d}.json").write_text(basket(till * 1_000 + number) + "\n")
    commits, peak, seconds = loaded_apart(settings)
    assert rows_of(settings) == 100_000
    assert commits == 100_000 // BATCH_FILES
    assert peak < LOADER_BYTES
    with Loader(settings) as loader:
        loader.load()
        started = time.monotonic()
        assert loader.load().is_empty
        idle = time.monotonic() - started
    what = f"{seconds:.0f} s, {commits} commits, {peak / MEBIBYTE:.0f} MiB, idle look {idle:.2f} s"
    figures.add("100,000 files of one message loaded", what, "pos load --once")


class Ticks:
    """A schedule's ticks until it is settled, and what each took in."""

    def __init__(self, world: World) -> None:
        self.rows: list[dict[str, int]] = []
        self.seconds: list[float] = []
        self.lags: list[float] = []
        self.waiting: list[str] = []
        with Schedule(world.settings) as schedule:
            while True:
                started = time.monotonic()
                tick = schedule.tick()
                assert not tick.failed, [report.failures for report in tick.reports]
                self.rows.append(tick.load.rows)
                self.seconds.append(time.monotonic() - started)
                self.lags.append(max(tick.lags, default=0.0))
                lines = [line.text for line in status_lines(world.settings)]
                self.waiting += [line for line in lines if "pos_messages:" in line]
                if schedule.is_settled:
                    return


@pytest.fixture
def scheduled(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose schedule builds by the station's dbt, which has parsed."""

    class Resident:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *arguments: str) -> Any:
            return world.station.warehouse.invoke(*arguments)

    monkeypatch.setattr("loaders.schedule.Warehouse", Resident)
    return world


def engine_mebibytes(world: World) -> int:
    """The most memory that the engine has held, in all worlds of this run so far."""
    running = engine.running(world.station.settings)
    assert running is not None
    return peak_bytes(running.pid) // MEBIBYTE


def taken_in(world: World, messages: int) -> None:
    """Hold the stock of the hundred items against what was sold of them."""
    positions = world.rows("gold", "inventory_current")
    sold = {row["item_id"]: -row["lifetime_change_quantity"] for row in positions}
    expected = dict.fromkeys(range(100), messages // 10)
    assert sold == expected


@pytest.mark.faults
def test_a_backlog_of_two_million_lines_is_worked_off(scheduled: World, figures: Figures) -> None:
    world = scheduled
    for part in range(4):
        lines = "".join(f"{basket(part * 50_000 + number)}\n" for number in range(50_000))
        world.land(f"store_001/changes/{part}.json", lines)
    world.land_counts((1, 9, 1, "2021-01-01 00:00:00", 7))
    started = time.monotonic()
    ticks = Ticks(world)
    seconds = time.monotonic() - started
    taken_in(world, 200_000)
    assert "pos_count_rows" in ticks.rows[0], "a count does not wait behind the changes"
    assert len([rows for rows in ticks.rows if rows]) >= 3
    assert any("1 waiting (" in line or "2 waiting (" in line for line in ticks.waiting)
    assert "0 waiting" in ticks.waiting[-1]
    what = f"{seconds:.0f} s, {len(ticks.rows)} builds, engine {engine_mebibytes(world)} MiB"
    figures.add("a backlog of 2,000,000 lines", what, "pos run --once")


@pytest.mark.faults
def test_ten_times_the_rate_for_ten_minutes(scheduled: World, figures: Figures) -> None:
    """A tick of the feed has some 3,000 lines; ten times as many in each of twelve ticks."""
    world = scheduled
    seconds = []
    with Schedule(world.settings) as schedule:
        schedule.tick()  # the first makes all there is
        for tick in range(12):
            lines = "".join(f"{basket(tick * 3_000 + number)}\n" for number in range(3_000))
            world.land(f"store_001/changes/{tick:03d}.json", lines)
            started = time.monotonic()
            done = schedule.tick()
            seconds.append(time.monotonic() - started)
            assert not done.failed
            assert schedule.is_settled, "a tick takes in what has landed since the one before"
    taken_in(world, 36_000)
    middle = sorted(seconds)[len(seconds) // 2]
    what = f"a tick of 30,000 lines {middle:.1f} s (median of 12), {engine_mebibytes(world)} MiB"
    figures.add("ten times the rate", what, "make test-faults")


@pytest.mark.faults
def test_a_million_rejected_lines_in_one_commit(scheduled: World, figures: Figures) -> None:
    world = scheduled
    world.land("store_001/changes/garbage.json", b"{}\n" * 999_000)
    world.land_messages(message("after", NOON, (2, -1)))
    ticks = Ticks(world)
    assert world.on_hand(1, 2) == -1
    quarantine = DeltaTable(str(world.settings.table("silver", "stg_pos__quarantine")))
    assert sum(quarantine.get_add_actions(flatten=True)["num_records"].to_pylist()) == 999_000
    what = f"{max(ticks.seconds):.0f} s, engine {engine_mebibytes(world)} MiB at most"
    figures.add("999,000 rejected lines in one commit, built", what, "pos run --once")
    assert engine_mebibytes(world) < ENGINE_MEBIBYTES


def test_messages_of_256_kilobytes(world: World) -> None:
    """A real one, one of a hundred thousand items that are none, one of nulls, one long text."""
    items = [(number, -1) for number in range(7_400)]
    (real,) = encode_transaction("large", 1, NOON, 1, items)
    assert MAX_MESSAGE_BYTES * 0.9 < len(real) <= MAX_MESSAGE_BYTES
    for name, item, number in (("none", 0, 60_000), ("null", None, 20_000), ("deep", [[]], 20_000)):
        world.land_messages(json.dumps({**message(name, NOON), "items": [item] * number}))
    world.land("store_001/changes/real.json", real + b"\n")
    world.land_messages(message("t" * 250_000, NOON, (1, -1)), message("after", NOON, (2, -1)))
    world.land_items((1, "n" * 120_000, 7, 3))
    world.land_counts((3, "e" * 120_000, 1, "2021-01-01 08:00:00", 5))
    world.load_and_build()
    assert world.on_hand(1, 7_399) == -1
    assert world.on_hand(1, 2) == -2
    assert differences(world) == []


def test_sums_of_the_largest_quantities_are_right(world: World) -> None:
    most = 10**9 - 1
    world.land_messages(
        message("one", NOON, *[(7, most)] * 12), message("more", NOON, (8, most), (9, -most))
    )
    world.land_messages(*(message(f"n{number}", NOON, (9, -most)) for number in range(12)))
    world.land_counts(*((item, 9, 1, "2021-01-01 08:00:00", -most) for item in (8, 9)))
    world.land_counts(*((item, 9, 1, "2021-01-01 20:00:00", most) for item in (8, 9)))
    world.load_and_build()
    assert world.on_hand(1, 7) == 12 * most
    assert differences(world) == []


def test_a_month_of_silence(world: World) -> None:
    """Orders are released by the event clock, which a silence stops; what comes after it counts."""
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 10))
    world.land_messages(message("O", "09:00:00", (1, -2), store_id=0, change_type_id=4))
    world.load_and_build()
    assert world.position(1, 1)["committed_quantity"] == 2
    versions = world.versions()
    for _ in range(3):
        assert world.load().is_empty
    assert world.versions() == versions, "nothing is written while nothing comes"
    world.land_messages(message("P", "2021-02-05 09:00:00", (1, -1)))
    world.load_and_build()
    assert world.position(1, 1)["committed_quantity"] == 0
    assert world.on_hand(1, 1) == 9
    world.land_messages(message("O", "2021-02-05 10:00:00", (1, -2), change_type_id=4))
    world.load_and_build()
    assert world.on_hand(1, 1) == 7
    assert differences(world) == []


def test_a_commit_is_bounded_by_files_bytes_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders.load, "BATCH_LINES", 100)
    monkeypatch.setattr(loaders.load, "BATCH_FILES", 5)
    monkeypatch.setattr(loaders.load, "PART_BYTES", 4_000)
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    folder = settings.landing / "store_001/changes"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"{number:02d}.json").write_text(basket(number) + "\n")
    (folder / "garbage.json").write_text("x\n" * 450)
    (folder / "large.json").write_text("".join(f"{basket(n)}\n" for n in range(60)))
    with Loader(settings) as loader:
        loader.load(batch_bytes=4_000)
    table = DeltaTable(str(settings.table("bronze", "pos_messages"))).to_pyarrow_table()
    by_commit: dict[int, list[tuple[str, str]]] = {}
    for number, path, body in zip(
        *(table[name].to_pylist() for name in ("ingest_id", "source_file", "body")), strict=True
    ):
        by_commit.setdefault(number, []).append((path, body))
    assert sum(len(rows) for rows in by_commit.values()) == 12 + 450 + 60
    for rows in by_commit.values():
        data = "\n".join(body for _, body in rows).encode()
        assert len(data) <= 4_000
        assert lines_at_most("pos_messages", data) <= 101
        assert len({path for path, _ in rows}) <= 5
    assert sum(len(ledger_of(settings, feed)) for feed in FEEDS) == 14
