"""The race: the same history and the same ticks for each system, the answer checked before its time
counts."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.answer import answers, differing_keys
from benchmarks.history import File, History, Tick
from benchmarks.results import Record
from benchmarks.systems import SYSTEMS
from benchmarks.systems.ours import BACKFILL
from benchmarks.systems.protocol import Unavailable
from benchmarks.systems.remote import Remote, put_down

WARM_UP = 3  # ticks before those that count
SPECIAL = 3  # ticks of each special kind
NO_OPS = 10
SETTINGS = "POS_SPARK_"  # of Spark, of the profile; what is set otherwise stands in the record
# Whose histories are built before the race, and by what; the others' are built in it.
BUILT_BY = {
    "ours_local": "ours_local",
    "ours_spark": "ours_local",
    "vendor_sail": "vendor_sail",
    "vendor_spark": "vendor_sail",
}


@dataclass(frozen=True)
class Course:
    """The ticks after a history, and what must be the answer before, between and after them."""

    history: History
    warm_up: list[Tick]
    steady: list[Tick]
    late_count: list[Tick]
    full_count: list[Tick]

    @classmethod
    def of(cls, history: History, ticks: int, special: int = SPECIAL) -> Course:
        """So many steady ticks, then so many with a late and so many with a full count."""
        base, numbers = history.base, iter(range(10**9))
        return cls(
            history,
            [base.tick(next(numbers)) for _ in range(WARM_UP)],
            [base.tick(next(numbers)) for _ in range(ticks)],
            [base.tick_with_late_count(next(numbers)) for _ in range(special)],
            [base.tick_with_full_count(next(numbers)) for _ in range(special)],
        )


@dataclass(frozen=True)
class Limits:
    """When a system that is slow may stop its steady ticks: after so many seconds, but not before
    so many ticks. Ours always makes them all."""

    seconds: float = 600.0
    ticks: int = 5


def run(
    name: str, course: Course, work: Path, port: int, environment: Path | None, limits: Limits
) -> Record:
    """One system over the course; what went wrong is in the record, no exception."""
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    record: Record = {
        "measure": "race",
        "system": name,
        "months": course.history.length,
        "lines": course.history.lines,
        "days": course.history.days,
        "settings": {
            setting: value
            for setting, value in sorted(os.environ.items())
            if setting.startswith(SETTINGS)
        },
    }
    try:
        if name in BUILT_BY:
            built = built_history(BUILT_BY[name], course.history, work, port)
            shutil.copytree(built, folder)
            record["backfill"] = json.loads((built / BACKFILL).read_bytes())
        with Remote(name, folder, port, environment) as system:
            record["versions"] = system.versions
            _drive(system, name, course, folder, limits, record)
    except Unavailable as reason:
        record["reason"] = str(reason)
    except Exception as error:
        record["error"] = f"{type(error).__name__}: {error}"[:2000]
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)
    return record


def _drive(
    system: Remote, name: str, course: Course, folder: Path, limits: Limits, record: Record
) -> None:
    is_ours = name.startswith("ours")
    before = system.usage()
    if name not in BUILT_BY:
        record["backfill"] = _backfill(system, course.history, folder)
        record["backfill_usage"] = asdict(system.usage().since(before))
    checks: list[tuple[str, pa.Table]] = [("history", system.inventory())]
    done: list[list[File]] = []

    before = system.usage()
    _ticks(system, course.warm_up, record.setdefault("warm_up", []))
    steady = course.steady if is_ours else _within(course.steady, limits)
    _ticks(system, steady, record.setdefault("steady", []))
    record["steady_usage"] = asdict(system.usage().since(before))
    made = [*course.warm_up, *course.steady[: len(record["steady"])]]
    done.append([file for tick in made for file in tick.files])
    checks.append(("steady", system.inventory()))
    if is_ours:
        record["no_op"] = [asdict(system.tick([])) for _ in range(NO_OPS)]
    for kind, ticks in (("late_count", course.late_count), ("full_count", course.full_count)):
        if len(ticks):
            _ticks(system, ticks, record.setdefault(kind, []))
            done.append([file for tick in ticks for file in tick.files])
            checks.append((kind, system.inventory()))
    record["usage"] = asdict(system.usage())
    record["differing_keys"] = {
        stage: differing_keys(found, expected)
        for (stage, found), expected in zip(checks, _answers(course, done), strict=True)
    }


def places_of_histories(history: History, work: Path) -> list[Path]:
    """Where :func:`built_history` puts them."""
    return [_place(builder, history, work) for builder in dict.fromkeys(BUILT_BY.values())]


def built_history(builder: str, history: History, work: Path, port: int) -> Path:
    """A folder with the history in a system's tables, built once by Sail: its other engine begins
    with a copy of it too, for they are the same tables. A month of ours takes Spark minutes."""
    place = _place(builder, history, work)
    if not (place / BACKFILL).exists():
        shutil.rmtree(place, ignore_errors=True)
        with Remote(builder, place, port, None) as system:
            seconds = _backfill(system, history, place)
        (place / BACKFILL).write_text(json.dumps(seconds))
    return place


def _place(builder: str, history: History, work: Path) -> Path:
    of = "" if builder == "ours_local" else f"_{builder}"
    return work / f"history_{history.days}_days{of}"


def _backfill(system: Remote, history: History, folder: Path) -> list[Record]:
    """The history month by month; how long each took."""
    seconds = []
    for month in history.months():
        places = put_down(list(history.files(month)), folder / "arriving")
        seconds.append(asdict(system.backfill(places)))
        shutil.rmtree(folder / "arriving", ignore_errors=True)
    return seconds


def _within(ticks: Iterable[Tick], limits: Limits) -> Iterator[Tick]:
    started = time.monotonic()
    for number, tick in enumerate(ticks):
        if number >= limits.ticks and time.monotonic() - started > limits.seconds:
            return
        yield tick


def _ticks(system: Remote, ticks: Iterable[Tick], record: list[Record]) -> None:
    for tick in ticks:
        record.append(asdict(system.tick(tick.files)) | {"lines": tick.lines})


_known: dict[tuple[int, int, int], list[pa.Table]] = {}


def _answers(course: Course, done: list[list[File]]) -> list[pa.Table]:
    """The answers of a course, worked out once for systems that made the same ticks."""
    key = (course.history.length, len(done), sum(len(files) for files in done))
    if key not in _known:
        _known.clear()  # one history after another: a dozen MB each
        _known[key] = answers(course.history, done)
    return _known[key]


def titles() -> dict[str, str]:
    """How systems are called in tables."""
    return {name: entry.title for name, entry in SYSTEMS.items()}
