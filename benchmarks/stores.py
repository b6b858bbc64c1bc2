"""Many stores: what a chain costs to simulate, load and build, and a tick against its keys and
lines.

A chain's day is simulated. What is sent until EVENING is its history; what is sent after it makes
the ticks. The history is built once, by Sail; each target's ticks begin with a copy of it. Before a
time counts gold is held against the simulator's truth, all keys, on hand and committed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow.parquet as pq

from benchmarks.measures import what_lies_in
from benchmarks.processes import PeakWatch
from benchmarks.results import PROJECT, Record
from benchmarks.systems.ours import BACKFILL, PROJECT_OF_ITS_OWN
from benchmarks.systems.protocol import Seconds
from benchmarks.systems.remote import Remote, put_down
from loaders.check import compare_with_truth
from loaders.playback import Month, Slot

EVENING = timedelta(hours=19)  # 81 % of a day's lines lie before it
NIGHT_HOURS = 3
LINES_OF_A_STORE = 100_000  # a day: 200 of them make 20 million
LEAST_LINES = 1_500_000  # a day, so that its evening has enough for all ticks
RATES = (300, 3_000, 30_000)  # lines a tick
SPARK_RATES = (3_000, 30_000)
WARM_UP, TICKS = 2, 5
SPARK_WARM_UP, SPARK_TICKS = 1, 3  # half a minute each
# What of the project dbt reads; the seeds are the chain's own.
PARTS = ("models", "macros", "snapshots", "tests", "profiles", "dbt_project.yml", "selectors.yml")


@dataclass(frozen=True)
class Size:
    """So many stores, the online shop among them, of so many items."""

    stores: int
    items: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """As in ``200x20000``."""
        stores, _, items = text.partition("x")
        return cls(int(stores), int(items))

    def __str__(self) -> str:
        return f"{self.stores}x{self.items}"

    @property
    def keys(self) -> int:
        """Rows of the inventory."""
        return self.stores * self.items

    @property
    def lines(self) -> int:
        """Of its day."""
        return max(LEAST_LINES, LINES_OF_A_STORE * self.stores)


SIZES = tuple(map(Size.parse, ("2x100000", "20x20000", "50x20000", "100x20000", "200x20000")))
SPARK_SIZES = SIZES[:3]
SPARK_CORES = (1, 2)


@dataclass(frozen=True)
class Places:
    """Where a size has its things, below the folder to work in."""

    work: Path
    size: Size

    @property
    def chain(self) -> Path:
        """The simulated day."""
        return self.work / f"chain_{self.size}"

    @property
    def history(self) -> Path:
        """The lakehouse as of the evening, with the landing folder and dbt's project."""
        return self.work / f"history_{self.size}"

    def ticks(self, target: str) -> Path:
        """A copy of the history, for the ticks of a target."""
        return self.work / f"ticks_{self.size}_{target}"

    def has_chain(self) -> bool:
        """True if the day is there, whole."""
        return (self.chain / "month.json").exists()

    def has_history(self) -> bool:
        """True if the history is built and was held against the truth."""
        return (self.history / BACKFILL).exists()

    def remove(self) -> None:
        """All of it."""
        for folder in (self.chain, self.history):
            shutil.rmtree(folder, ignore_errors=True)


def simulate(places: Places, lines: int) -> Record:
    """Lines a second of ``pos simulate``, and its peak memory: one process, a store at a time."""
    shutil.rmtree(places.chain, ignore_errors=True)
    size = places.size
    what = ["simulate", "--out", str(places.chain), "--days", "1", "--lines", str(lines)]
    what += ["--stores", str(size.stores), "--items", str(size.items)]
    seconds, peak = _run(what)
    made = json.loads((places.chain / "month.json").read_bytes())["lines"]
    return {
        "measure": "chain_simulate",
        "lines": made,
        "seconds": seconds,
        "lines_per_second": made / seconds,
        "peak_bytes": peak,
        "bytes_on_disk": sum(
            path.stat().st_size for path in places.chain.rglob("*") if path.is_file()
        ),
    }


def load(places: Places) -> Record:
    """Lines a second of ``pos load --once``, of what is sent until the evening, counts as well, and
    its peak memory."""
    folder = places.work / f"load_{places.size}"
    shutil.rmtree(folder, ignore_errors=True)
    landing, lakehouse = folder / "landing", folder / "lakehouse"
    day = Day(places.chain)
    day.put_down(day.history(), landing)
    what = ["load", "--once", "--landing", str(landing), "--lakehouse", str(lakehouse)]
    seconds, peak = _run(what)
    lines = day.lines_until(day.evening)
    found = {
        "measure": "chain_load",
        "lines": lines,
        "seconds": seconds,
        "lines_per_second": lines / seconds,
        "peak_bytes": peak,
        "bytes_on_disk": what_lies_in(lakehouse)["bytes_on_disk"],
    }
    shutil.rmtree(folder)
    return found


def history(places: Places, port: int) -> Record:
    """Seconds to take in the day until the evening, from landing to gold, first the opening counts
    and then the changes, as a schedule does that has them all before it."""
    folder = places.history
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_project(places.chain, folder / PROJECT_OF_ITS_OWN)
    day = Day(places.chain)
    slots = list(day.history())
    parts = []
    with Remote("ours_local", folder, port, None) as system:
        before = system.usage()
        for some in (slots[:1], slots[1:]):
            parts.append(system.backfill(day.put_down(some, folder / "arriving")))
        used = system.usage().since(before)
    differences = compare_with_truth(folder / "lakehouse", places.chain, day.evening)
    if differences.differences:
        raise RuntimeError(f"gold differs from the truth: {differences.examples}")
    (folder / BACKFILL).write_text(json.dumps([asdict(part) for part in parts]))
    lines = day.lines_until(day.evening)
    return {
        "measure": "chain_history",
        "lines": lines,
        "counted_keys": places.size.keys,
        "counts_seconds": parts[0].total,
        "changes_seconds": parts[1].total,
        "lines_per_second": lines / parts[1].total,
        "parts": [_short(part) for part in parts],
        "differing_keys": {"history": differences.differences},
        **what_lies_in(folder / "lakehouse"),
        **asdict(used),
    }


def ticks(places: Places, port: int, target: str, cores: int | None = None) -> Record:
    """Seconds of each tick after the evening, at each rate: about so many lines of all stores.
    ``cores`` are those that Spark may use, of this machine's."""
    if cores:
        os.environ["POS_SPARK_MASTER"] = f"local[{cores}]"
    is_spark = target == "spark"
    warm_up, timed = (SPARK_WARM_UP, SPARK_TICKS) if is_spark else (WARM_UP, TICKS)
    folder = places.ticks(target)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(places.history, folder, symlinks=True)
    day = Day(places.chain)
    clock = day.evening
    found: dict[str, list[Record]] = {}
    with Remote(f"ours_{target}", folder, port, None) as system:
        system.tick([])  # starts what is to be resident
        before = system.usage()
        for rate in SPARK_RATES if is_spark else RATES:
            for number in range(-warm_up, timed):
                slot = Slot(clock, day.after_lines(clock, rate))
                clock = slot.through
                took = system.tick(list(day.month.files_of(slot)))
                if number >= 0:
                    lines = day.lines_until(slot.through) - day.lines_until(slot.after)
                    found.setdefault(str(rate), []).append(_short(took) | {"lines": lines})
        used = system.usage().since(before)
        versions = system.versions
    compared = compare_with_truth(folder / "lakehouse", places.chain, clock)
    on_disk = what_lies_in(folder / "lakehouse")
    shutil.rmtree(folder)
    return {
        "measure": "chain_ticks",
        "target": target,
        "keys": places.size.keys,
        "compared_keys": compared.keys,
        "differing_keys": {"ticks": compared.differences},
        "examples": list(compared.examples),
        "p50": {rate: median(each["total"] for each in some) for rate, some in found.items()},
        "ticks": found,
        "versions": versions,
        **on_disk,
        **asdict(used),
    }


def _short(took: Seconds) -> Record:
    """What a record keeps of a tick: of the nodes those that take a tenth of a second."""
    parts = {name: round(each, 3) for name, each in took.parts.items() if each >= 0.1}
    return {"total": round(took.total, 3), "parts": parts}


class Day:
    """The simulated day of a chain: its history in hours, and what is sent after it."""

    def __init__(self, folder: Path) -> None:
        self.month = Month(folder)
        files = [pq.read_table(path, columns=["sent_at", "lines"]) for path in _changes(folder)]
        sent_at = np.concatenate([table["sent_at"].to_numpy() for table in files])
        lines = np.concatenate([table["lines"].to_numpy() for table in files])
        order = np.argsort(sent_at, kind="stable")
        self._sent_at = sent_at[order]
        self._lines = np.cumsum(lines[order], dtype=np.int64)
        start = datetime.fromisoformat(self.month.description["config"]["start"])
        self.evening = start + EVENING

    def history(self) -> Iterator[Slot]:
        """Up to the evening: the night, in which all stores are counted and nothing is sold, then
        an hour after the other."""
        midnight = self.evening - EVENING
        hours = [midnight + timedelta(hours=hour) for hour in range(NIGHT_HOURS, 20)]
        for after, through in pairwise([self.month.starts_at, *hours]):
            yield Slot(after, through)

    def put_down(self, slots: Sequence[Slot] | Iterator[Slot], folder: Path) -> dict[str, Path]:
        """The slots' files below ``folder``; landing path → where it lies."""
        places: dict[str, Path] = {}
        for slot in slots:
            places |= put_down(list(self.month.files_of(slot)), folder)
        return places

    def lines_until(self, clock: datetime) -> int:
        """Item lines that are sent up to a time."""
        place = int(np.searchsorted(self._sent_at, np.datetime64(clock, "us"), side="right"))
        return int(self._lines[place - 1]) if place else 0

    def after_lines(self, clock: datetime, lines: int) -> datetime:
        """When so many more lines have been sent; ValueError where the day has no more so many."""
        wanted = self.lines_until(clock) + lines
        if wanted > self._lines[-1]:
            raise ValueError(f"the day ends before {lines:,} more lines: give it more of them")
        found: datetime = (
            self._sent_at[np.searchsorted(self._lines, wanted)].astype("datetime64[us]").item()
        )
        return found


def make_project(chain: Path, folder: Path) -> None:
    """dbt's project with the chain's stores for a seed; all else is this project's own."""
    folder.mkdir()
    for name in PARTS:
        (folder / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "seeds", folder / "seeds")
    if (chain / "stores.csv").exists():  # two stores are those of the project
        shutil.copyfile(chain / "stores.csv", folder / "seeds" / "stores.csv")


def _run(what: list[str]) -> tuple[float, int]:
    """Seconds of a ``pos`` command, its start included, and its peak memory."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "loaders", *what], cwd=PROJECT, stdout=subprocess.DEVNULL
    )
    watch = PeakWatch({process.pid})
    watch.start()
    code = process.wait()
    seconds = time.monotonic() - started
    watch.stop()
    if code:
        raise RuntimeError(f"pos {what[0]} ended with {code}")
    return seconds, watch.sum_of_peaks


def _changes(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/changes.parquet"))
