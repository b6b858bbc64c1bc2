"""Kills at each place between two commits, and at random moments: nothing lost, nothing twice.

What is compared at the end is counted by plain Python: the lines that the simulator sent, those
that landed, those in bronze, and gold against the simulator's truth.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from loaders import engine, failpoints
from loaders.config import Settings
from loaders.failpoints import PLACES
from loaders.load import Loader
from loaders.playback import Month
from loaders.servers import is_live
from tests.faults.figures import Figures
from tests.faults.lives import KILLED, Commands, Shop
from tests.worlds import free_port, small_month

COMMAND = "pytest -m faults tests/faults/test_crashes.py"
KILLS = int(os.environ.get("POS_TEST_KILLS", "200"))  # at random moments
VICTIMS = {"run": 0.5, "load": 0.3, "play": 0.2}  # and of what
ENGINE_TOO = 10  # every so many kills the engine goes as well, as in a power cut
UPKEEP_COMMITS = 80
# Of the statements of a build from nothing, and of one in a lakehouse that has all its tables. The
# steps are no divisors of each other, so that other commits are met in each.
STATEMENTS = {"build.before_statement": (1, 40, 79), "build.after_statement": (20, 60, 100)}


def shop_of(folder: Path, **month: int) -> Shop:
    settings = Settings(folder / "landing", folder / "lakehouse", free_port())
    settings.landing.mkdir()
    return Shop(settings, folder / "said.log", Month(small_month(folder / "month", **month)))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One for the kills at the places, which follow one another in it."""
    shop = shop_of(tmp_path_factory.mktemp("places"))
    yield shop
    shop.close()


def assert_nothing_lost(shop: Shop) -> tuple[int, int]:
    """Lines sent, keys compared; asserts that there is each of them exactly once."""
    sent, not_landed, landed_twice = shop.landed_lines_lost_and_doubled()
    landed, lost, doubled = shop.lines_lost_and_doubled()
    assert (not_landed, landed_twice) == (0, 0), f"of {sent} lines sent"
    assert (lost, doubled) == (0, 0), f"of {landed} lines landed"
    assert shop.differences() == []
    assert "Traceback" not in shop.said, shop.said
    keys = DeltaTable(str(shop.settings.table("gold", "inventory_current"))).count()
    return sent, keys


# Each command, killed at each of its places; then the same again, with nothing done in between.


@pytest.mark.faults
@pytest.mark.parametrize("place", [name for name in PLACES if name.startswith("play.")])
def test_the_playback_killed(shop: Shop, place: str) -> None:
    share = 0.05 * (1 + [name for name in PLACES if name.startswith("play.")].index(place))
    command = ("play", str(shop.month.folder), "--speed", "max", "--until")
    until = f"{shop.moment(share):%Y-%m-%d %H:%M:%S}"
    assert shop.run(*command, until, POS_FAIL_AT=place) == KILLED
    shop.must(*command, until)
    shop.play(share)
    assert shop.landed_lines_lost_and_doubled()[1:] == (0, 0)


@pytest.mark.parametrize("place", [name for name in PLACES if name.startswith("engine.")])
def test_the_start_of_the_engine_killed(tmp_path: Path, place: str) -> None:
    """The engine that a killed start has left behind is found, and it is the only one."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    settings.landing.mkdir()
    shop = Commands(settings, tmp_path / "said.log")
    try:
        assert shop.run("up", POS_FAIL_AT=place) == KILLED
        shop.must("up")
        running = engine.running(settings)
        assert running is not None
        shop.must("down")
        assert not is_live(running.pid, "sail")
        assert engines_in(settings.lakehouse) == []
    finally:
        for pid in engines_in(settings.lakehouse):
            os.kill(pid, signal.SIGKILL)


def engines_in(lakehouse: Path) -> list[int]:
    """The engines of a lakehouse, also those that nobody has written down."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_its = (process / "cwd").readlink() == lakehouse
            if is_its and b"spark\0server" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.faults
@pytest.mark.parametrize("place", [name for name in PLACES if name.startswith("load.")])
def test_the_load_killed(shop: Shop, place: str) -> None:
    share = 0.2 + 0.01 * (1 + [name for name in PLACES if name.startswith("load.")].index(place))
    shop.play(share)
    assert shop.run("load", "--once", POS_FAIL_AT=place) == KILLED
    shop.must("load", "--once")
    assert shop.lines_lost_and_doubled()[1:] == (0, 0)


@pytest.mark.faults
@pytest.mark.parametrize("place", [name for name in PLACES if name.startswith("build.")])
def test_the_build_killed(shop: Shop, place: str) -> None:
    """At statements all over a build, one kill after the other; then a build to its end."""
    for number in STATEMENTS.get(place, (1,)):
        assert shop.run("run", "--once", POS_FAIL_AT=f"{place}:{number}") == KILLED, number
    shop.play(0.3 + 0.02 * PLACES.index(place))
    shop.must("run", "--once")
    assert_nothing_lost(shop)


@pytest.mark.faults
def test_the_upkeep_killed(tmp_path: Path) -> None:
    """Place after place, with no upkeep in between that gets through: each finds the next step."""
    shop = shop_of(tmp_path)
    shop.play(1.0)
    shop.must("up")
    with Loader(shop.settings) as loader:
        # A commit a file, much to tidy up; fewer than the hundred that delta-rs takes by itself.
        loader.load(batch_bytes=1, batches=UPKEEP_COMMITS)
    time.sleep(2)
    soon = {"POS_RETENTION_HOURS": "0.0003"}
    try:
        for place in (name for name in PLACES if name.startswith("upkeep.")):
            assert shop.run("maintain", POS_FAIL_AT=place, **soon) == KILLED, place
            time.sleep(1.2)  # what this one has replaced is old for the next
        shop.must("maintain", **soon)
        shop.must("load", "--once")
        assert "old files removed" in shop.said
        assert shop.lines_lost_and_doubled()[1:] == (0, 0)
    finally:
        shop.close()


@pytest.mark.faults
@pytest.mark.parametrize("place", [name for name in PLACES if name.startswith("page.")])
def test_the_page_killed(shop: Shop, tmp_path: Path, place: str) -> None:
    if not shop.settings.table("gold", "inventory_current").exists():
        shop.play(0.2)  # this test alone, without those before it
        shop.must("run", "--once")
    out = str(tmp_path / "page")
    assert shop.run("page", "--out", out, POS_FAIL_AT=place) == KILLED
    shop.must("page", "--out", out)
    assert (tmp_path / "page/data/now.js").exists()
    assert list((tmp_path / "page").glob("*.tmp")) == []


@pytest.mark.faults
def test_the_re_drive_killed(shop: Shop) -> None:
    """What is in quarantine goes through once, whatever is killed when."""
    shop.play(0.5)
    shop.must("run", "--once")
    quarantine = DeltaTable(str(shop.settings.table("silver", "stg_pos__quarantine")))
    assert quarantine.count() > 0
    commands = [name for name in PLACES if name.startswith(("redrive.", "load."))]
    for place in commands:
        code = shop.run("redrive", POS_FAIL_AT=place)
        assert code in (KILLED, 0), place
        shop.must("redrive")
    rows, twice = shop.redriven()
    assert rows > 0
    assert twice == 0


@pytest.mark.faults
def test_after_all_that_nothing_is_lost_or_doubled(shop: Shop, figures: Figures) -> None:
    shop.play(1.0)
    shop.must("run", "--once")
    lines, keys = assert_nothing_lost(shop)
    tried = [name for name in PLACES if not name.startswith("stream.")]  # tests/cluster tries those
    figures.add("places between two commits, each with a `kill -9`", len(tried), COMMAND)
    figures.add("of lines sent meanwhile lost, doubled", f"0, 0 of {lines:,}", COMMAND)
    figures.add("keys of gold that differ from the truth", f"0 of {keys:,}", COMMAND)


def test_every_place_is_in_the_code() -> None:
    """A place that is named and nowhere reached would be one that no kill has tried."""
    folder = Path(failpoints.__file__).parent
    code = [path for path in folder.rglob("*.py") if path != Path(failpoints.__file__)]
    sources = [path.read_text() for path in code]
    for place in PLACES:
        assert sum(source.count(f'"{place}"') for source in sources) == 1, place


# At random moments.


@pytest.mark.faults
def test_killed_at_random_moments(tmp_path: Path, figures: Figures) -> None:
    seed = int(os.environ.get("POS_TEST_SEED", random.randrange(10**6)))
    print(f"POS_TEST_SEED={seed}")
    chance = random.Random(seed)
    shop = shop_of(tmp_path, seed=seed)
    try:
        spans = undisturbed(shop)
        kills = engines = 0
        while kills < KILLS:
            (victim,) = chance.choices(list(VICTIMS), list(VICTIMS.values()))
            was_killed = kill_once(shop, victim, (kills + 1) / KILLS, chance, spans[victim])
            kills += was_killed
            is_its_turn = was_killed and kills % ENGINE_TOO == 0
            if is_its_turn and (running := engine.running(shop.settings)):
                os.kill(running.pid, signal.SIGKILL)
                engines += 1
        shop.play(1.0)
        shop.must("run", "--once")
        lines, keys = assert_nothing_lost(shop)
    finally:
        shop.close()
    figures.add("`kill -9` at random moments (run, load, play)", kills, COMMAND)
    figures.add("and of the engine", engines, COMMAND)
    figures.add("lines lost, doubled", f"0, 0 of {lines:,}", COMMAND)
    figures.add("keys of gold that differ from the truth", f"0 of {keys:,}", COMMAND)


def undisturbed(shop: Shop) -> dict[str, float]:
    """Seconds that each command takes on this machine when it is left alone."""
    commands = {
        "play": ("play", str(shop.month.folder), "--speed", "max", "--until", "2021-01-01 06:00"),
        "load": ("load", "--once"),
        "run": ("run", "--once"),
    }
    commands["play"] = (*commands["play"][:-1], f"{shop.moment(0.02):%Y-%m-%d %H:%M:%S}")
    shop.must("up")
    spans = {}
    for name, command in commands.items():
        started = time.monotonic()
        shop.must(*command)
        spans[name] = time.monotonic() - started
    return spans


def kill_once(shop: Shop, victim: str, share: float, chance: random.Random, span: float) -> bool:
    """One life and its end; True if it was killed and had not come to an end by itself."""
    play = ("play", str(shop.month.folder), "--speed", "max")
    until = ("--until", f"{shop.moment(share):%Y-%m-%d %H:%M:%S}")
    player = shop.start(*play, *until)
    process = player if victim == "play" else shop.start(victim)
    process.join(chance.uniform(0, span))
    process.kill()
    process.join()
    player.join()
    assert process.exitcode in (KILLED, 0), f"{victim} ended with {process.exitcode}: {shop.said}"
    if process.exitcode == 0:
        assert victim == "play", f"{victim} stopped: {shop.said}"
    return process.exitcode == KILLED
