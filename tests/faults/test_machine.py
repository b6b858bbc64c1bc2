"""The machine lets us down: disk full, disk read-only, engine dead, clock set back.

What must come of it: a sentence that says so, no damage, and all goes on once it is put right.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from loaders import engine
from loaders.config import Settings
from loaders.playback import Month
from tests.faults.figures import Figures
from tests.faults.lives import Shop
from tests.faults.test_crashes import assert_nothing_lost, shop_of
from tests.faults.test_two_of_everything import COMPARING, wait_until
from tests.worlds import free_port, small_month

pytestmark = pytest.mark.faults

COMMAND = "pytest -m faults tests/faults/test_machine.py"
DISK_MB = 48
LEFT_BYTES = (0, 20_000, 100_000, 400_000)  # of a full disk: it ends in other places
ENGINE_KILLS = 6


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def shop(disk: Path, tmp_path: Path) -> Iterator[Shop]:
    """What is written lies on that disk, but for what the commands say."""
    settings = Settings(disk / "landing", disk / "lakehouse", free_port())
    settings.landing.mkdir()
    shop = Shop(settings, tmp_path / "said.log", Month(small_month(tmp_path / "month")))
    yield shop
    shop.close()


def refused(shop: Shop, *arguments: str) -> str:
    """What a command says that cannot do its work; asserts that it says so in a sentence."""
    before = len(shop.said)
    assert shop.run(*arguments) == 1, shop.said[before:]
    said = shop.said[before:]
    assert "Traceback" not in said, said
    assert len([line for line in said.splitlines() if line.startswith("pos: ")]) == 1, said
    return said


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    filler = disk / "filler"
    with filler.open("wb") as handle:
        while (free := shutil.disk_usage(disk).free - left) > 0:
            handle.write(bytes(min(free, 1_000_000)))
            handle.flush()
    return filler


def test_the_disk_is_full(shop: Shop, disk: Path, figures: Figures) -> None:
    shop.play(0.2)
    shop.must("run", "--once")
    for number, left in enumerate(LEFT_BYTES):
        shop.play(0.3 + 0.1 * number)
        filler = fill(disk, left)
        said = refused(shop, "run", "--once")
        assert "No space left on device" in said or "build failed" in said, said
        if not left:
            assert "No space left on device" in refused(shop, "load", "--once")
            play = ("play", str(shop.month.folder), "--speed", "max")
            assert "No space left on device" in refused(shop, *play)
        filler.unlink()
        shop.must("run", "--once")
        assert_nothing_lost(shop)
    shop.play(1.0)
    shop.must("run", "--once")
    lines, keys = assert_nothing_lost(shop)
    figures.add(
        f"disk full {len(LEFT_BYTES)} times: lines lost, doubled", f"0, 0 of {lines:,}", COMMAND
    )
    figures.add("keys of gold that differ from the truth", f"0 of {keys:,}", COMMAND)


def test_the_lakehouse_is_read_only(shop: Shop, disk: Path, tmp_path: Path) -> None:
    """What writes says so; what reads goes on; and all goes on once it can be written again."""
    shop.play(0.3)
    shop.must("run", "--once")
    shop.play(0.5)
    shop.must("down")
    remount(disk, "ro")
    try:
        for command in (("run", "--once"), ("load", "--once"), ("up",), ("maintain",)):
            assert "Read-only file system" in refused(shop, *command), command
        shop.must("status")
        shop.must("sql", "select count(*) from inventory_current")
        shop.must("page", "--out", str(tmp_path / "page"))
    finally:
        remount(disk, "rw")
    shop.must("run", "--once")
    assert_nothing_lost(shop)


def remount(disk: Path, how: str) -> None:
    options = ["-o", f"remount,{how},size={DISK_MB}m", str(disk)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_engine_dies_in_mid_build(tmp_path: Path, figures: Figures) -> None:
    """The schedule starts another one and goes on, again and again, with nobody's help."""
    seed = int(os.environ.get("POS_TEST_SEED", random.randrange(10**6)))
    print(f"POS_TEST_SEED={seed}")
    chance = random.Random(seed)
    shop = shop_of(tmp_path)
    schedule = shop.start("run")

    def is_built() -> bool:
        assert schedule.exitcode is None, shop.said
        return not shop.differences()

    try:
        wait_until(lambda: "lines in" in shop.said, "it has built")
        pids = set()
        for number in range(1, ENGINE_KILLS + 1):
            shop.play(0.1 * number)
            time.sleep(chance.uniform(0.2, 2.0))
            wait_until(lambda: engine.running(shop.settings), "an engine is up")
            running = engine.running(shop.settings)
            assert running is not None
            os.kill(running.pid, signal.SIGKILL)
            pids.add(running.pid)
            wait_until(is_built, "what has landed is built", COMPARING)
        assert schedule.exitcode is None, shop.said
        assert len(pids) == ENGINE_KILLS
        schedule.terminate()
        schedule.join()
        assert schedule.exitcode == 0
        shop.play(1.0)
        shop.must("run", "--once")
        lines, _ = assert_nothing_lost(shop)
    finally:
        schedule.kill()
        shop.close()
    figures.add(
        f"engine killed {ENGINE_KILLS} times under `pos run`: lines lost, doubled",
        f"0, 0 of {lines:,}",
        COMMAND,
    )


# A clock that is wrong: the C library's is put forward or back for a process and what it starts.

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long wrong_by(void) {
    const char *text = getenv("CLOCK_WRONG_BY");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, time);
    int is_of_day = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    if (!result && is_of_day) time->tv_sec += wrong_by();
    return result;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library; its `CLOCK_WRONG_BY` is in seconds."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to make a clock that is wrong; apt-get install gcc")
    command = [compiler, "-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "clock.so"


def test_the_clock_is_set_back_and_forth(tmp_path: Path, clock: Path, figures: Figures) -> None:
    """By a day, an hour, and forward again; of the loader, dbt and the engine."""
    shop = shop_of(tmp_path)
    offsets = (0, -3_600, -86_400 - 5, 7_200, -30)
    try:
        for number, offset in enumerate(offsets, start=1):
            shop.play(number / len(offsets))
            environment = {"LD_PRELOAD": str(clock), "CLOCK_WRONG_BY": str(offset)}
            shop.must("down")  # the next one is started with that clock
            assert says_its_time(environment) == pytest.approx(time.time() + offset, abs=5)
            for command in (("run", "--once"), ("maintain",)):
                done = pos(shop, environment, *command)
                assert done.returncode == 0, done.stdout
        lines, keys = assert_nothing_lost(shop)
        table = DeltaTable(str(shop.settings.table("bronze", "pos_messages"))).to_pyarrow_table()
        by_number = table.sort_by([("ingest_id", "ascending"), ("ingest_line", "ascending")])
        landings = by_number["landed_at"].to_pylist()
        commits = by_number["ingest_id"].to_pylist()
        firsts = [landings[commits.index(number)] for number in sorted(set(commits))]
        assert firsts == sorted(firsts), "who came first is told by the numbers, not by the clock"
    finally:
        shop.close()
    figures.add(
        f"clock set back and forth {len(offsets) - 1} times: lines lost, doubled",
        f"0, 0 of {lines:,}",
        COMMAND,
    )
    figures.add("keys of gold that differ from the truth", f"0 of {keys:,}", COMMAND)


def test_a_turn_taken_in_the_future_holds_nobody_up(
    tmp_path: Path, clock: Path, figures: Figures
) -> None:
    """A run by hand is killed, and the clock set back by an hour: its turn is not waited for."""
    shop = shop_of(tmp_path)
    try:
        shop.play(0.2)
        shop.must("run", "--once")
        script = (
            "from loaders import engine, turns; from loaders.config import settings_from; "
            "assert turns.take(engine.connect(settings_from()), turns.BY_HAND)"
        )
        taken = subprocess.run(
            [sys.executable, "-c", script],
            env={
                **os.environ,
                **shop.settings.environment(),
                **{"LD_PRELOAD": str(clock), "CLOCK_WRONG_BY": "3600"},
            },
            cwd=shop.settings.project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert taken.returncode == 0, taken.stderr
        shop.play(0.4)
        shop.must("run", "--once")
        assert_nothing_lost(shop)
    finally:
        shop.close()


def says_its_time(environment: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def pos(
    shop: Shop, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """A command with another C library, which only a process that is not forked gets."""
    return subprocess.run(
        [sys.executable, "-m", "loaders", *arguments],
        env={**os.environ, **shop.settings.environment(), **environment},
        cwd=shop.settings.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
