"""Measurements of this project alone. Each runs in a process of its own (:func:`alone`), because a
process has one engine and one dbt, and because its memory is to be its own."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from statistics import median

from benchmarks.answer import answers, differing_keys
from benchmarks.history import Base, History
from benchmarks.processes import PeakWatch, usage
from benchmarks.results import PROJECT, Record
from benchmarks.systems.remote import Remote, put_down
from benchmarks.targets import GIB, MEGA
from loaders import engine
from loaders.check import compare_with_truth
from loaders.clock import percentile
from loaders.config import Settings
from loaders.load import Loader, create_bronze
from loaders.playback import Month, play
from loaders.schedule import IDLE_SECONDS, Schedule
from loaders.warehouse import Warehouse

MODELS = ("build", "--exclude", "resource_type:test", "resource_type:unit_test", "tag:mart")
MARTS = ("build", "--exclude-resource-type", "test", "--select", "tag:mart")
AGING_TICKS, AGING_SPAN, AGING_TURN = 2_000, 100, 20
BUSY_HOUR = timedelta(days=1, hours=16)  # of the playback's begin, so that each slot brings lines


def alone(measure: Callable[..., Record], *arguments: object) -> Record:
    """The record of a measurement made in a fresh process; a failure is a record too."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure, *arguments).result()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"[:2000]
            return {"measure": measure.__name__, "error": problem}


def simulate(folder: Path, repetitions: int) -> Record:
    """Seconds of ``pos simulate`` for the month of DESIGN section 7, start and writing included."""
    seconds = []
    for _ in range(repetitions):
        shutil.rmtree(folder, ignore_errors=True)
        started = time.monotonic()
        command = [sys.executable, "-m", "loaders", "simulate", "--out", str(folder)]
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - started)
    return {"measure": "simulate", "seconds": median(seconds), "repetitions": seconds}


def load(month: Path, work: Path, repetitions: int) -> Record:
    """Lines a second from landing to bronze: a month of changes that lies there, no counts."""
    base = Base(month)
    seconds = []
    for _ in range(repetitions):
        settings = _fresh(work / "load", 0, "local")
        put_down([base.reference(), *base.changes(0)], settings.landing)
        create_bronze(settings)
        with Loader(settings) as loader:
            started = time.monotonic()
            loader.load()
            seconds.append(time.monotonic() - started)
        shutil.rmtree(work / "load")
    return {
        "measure": "load",
        "lines": base.lines,
        "lines_per_second": base.lines / median(seconds),
        "repetitions": seconds,
    }


def backfill(month: Path, work: Path, port: int, target: str, repetitions: int) -> Record:
    """Lines a second from bronze to gold: a month with its counts, built at once by dbt into an
    empty lakehouse. Seeds, snapshots and all models that a tick refreshes; the marts and the tests
    of the first build are measured after it, apart."""
    base = Base(month)
    found: list[Record] = []
    for _ in range(repetitions):
        settings = _fresh(work / f"backfill_{target}", port, target)
        put_down(list(History(base, 1).files(0)), settings.landing)
        create_bronze(settings)
        with Loader(settings) as loader:
            loader.load()
        os.environ.update(settings.environment())
        roots = [os.getpid()]
        if target == "local":
            roots.append(engine.up(settings)[0].pid)
        else:
            from loaders import catalog, spark

            catalog.register(spark.session(settings), settings.lakehouse)
        try:
            warehouse = Warehouse(settings)
            before = usage(roots)
            report = warehouse.invoke(*MODELS)
            used = usage(roots).since(before)
            marts = warehouse.invoke(*MARTS)
            for each in (report, marts):
                if not each.succeeded:
                    raise RuntimeError("; ".join(each.failures))
        finally:
            if target == "local":
                engine.down(settings)
        found.append(
            {
                "seconds": report.seconds,
                "marts_seconds": marts.seconds,
                "node_seconds": report.node_seconds,
                **asdict(used),
            }
        )
        shutil.rmtree(work / f"backfill_{target}")
    return {
        "measure": "backfill",
        "target": target,
        "lines": base.lines,
        "lines_per_second": base.lines / median(each["seconds"] for each in found),
        "cpu_seconds_per_million_lines": median(each["cpu_seconds"] for each in found)
        / (base.lines / MEGA),
        "bytes_written": median(each["bytes_written"] for each in found),
        "repetitions": found,
    }


def freshness(
    month: Path, work: Path, port: int, target: str, ticks: int, seconds: float
) -> Record:
    """How old a file is when gold has it, seconds, while a playback at 10x publishes twice a
    second. Until there were so many ticks, or so many seconds have passed; then gold is held
    against the truth."""
    settings = _fresh(work / f"freshness_{target}", port, target)
    os.environ.update(settings.environment())
    played = Month(month)
    begin = min(
        played.starts_at + BUSY_HOUR, played.starts_at + (played.ends_at - played.starts_at) / 2
    )
    play(played, settings.landing, speed=None, until=begin)
    done, clocks = threading.Event(), [begin]

    def publish() -> None:
        play(
            played,
            settings.landing,
            speed=10.0,
            on_slot=clocks.append,
            should_stop=done.is_set,
        )

    lags: list[float] = []
    builds: list[float] = []
    try:
        with Schedule(settings) as schedule:
            schedule.tick()
            player = threading.Thread(target=publish, daemon=True)
            player.start()
            started = time.monotonic()
            while len(builds) < ticks and time.monotonic() - started < seconds:
                tick = schedule.tick()
                lags += tick.lags
                builds += [report.seconds for report in tick.reports[:1]]
                if not tick.reports:
                    time.sleep(IDLE_SECONDS)
            done.set()
            player.join()
            while schedule.tick().reports or not schedule.is_settled:
                pass
        comparison = compare_with_truth(settings.lakehouse, month, clocks[-1])
    finally:
        done.set()
        if target == "local":
            engine.down(settings)
    shutil.rmtree(work / f"freshness_{target}")
    return {
        "measure": "freshness",
        "target": target,
        "ticks": len(builds),
        "p50": percentile(lags, 0.5),
        "p95": percentile(lags, 0.95) if not comparison.differences else math.nan,
        "p99": percentile(lags, 0.99),
        "differing_keys": {"freshness": comparison.differences},
        "repetitions": [round(lag, 3) for lag in lags],
        "build_seconds": [round(each, 3) for each in builds],
    }


def memory(month: Path, work: Path, port: int, target: str, days: int) -> Record:
    """Peak memory of `make run`: of all its processes each one's own peak, added up."""
    settings = _fresh(work / f"memory_{target}", port, target)
    places = ["--landing", str(settings.landing), "--lakehouse", str(settings.lakehouse)]
    what = ["demo", "--month", str(month), "--days", str(days), "--target", target]
    command = [sys.executable, "-m", "loaders", *what, *places, "--port", str(port)]
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    watch = PeakWatch({process.pid})
    watch.start()
    try:
        said, _ = process.communicate()
    finally:
        watch.stop()
        engine.down(settings)
    if process.returncode:
        raise RuntimeError(said[-1500:])
    shutil.rmtree(work / f"memory_{target}")
    return {
        "measure": "memory",
        "target": target,
        "days": days,
        "seconds": time.monotonic() - started,
        "peak_gib": watch.sum_of_peaks / GIB,
        "most_at_once_gib": watch.most_at_once / GIB,
        "repetitions": [watch.sum_of_peaks],
    }


def aging(month: Path, work: Path, port: int, target: str, ticks: int = AGING_TICKS) -> Record:
    """Many ticks on end: how long the last take against the first, and what lies on disk then.

    The last ticks of the old lakehouse and the first of a new one take turns, some of the one and
    then some of the other: an hour lies between them otherwise, and the machine has its moods.
    """
    base = Base(month)
    history = History(base, 1)
    folder = work / f"aging_{target}"
    shutil.rmtree(folder, ignore_errors=True)
    span = min(AGING_SPAN, max(1, ticks // 2))
    with _aging_system(history, folder / "old", port, target) as old:
        before = old.usage()
        seconds, marts, failed = _aging_ticks(old, base, range(ticks - span))
        with _aging_system(history, folder / "new", port + 1, target) as new:
            first: list[float] = []
            for begin in range(0, span, AGING_TURN):
                end = min(begin + AGING_TURN, span)
                at = ticks - span
                took, more, again = _aging_ticks(old, base, range(at + begin, at + end))
                seconds += took
                marts += more
                failed += again
                first += _aging_ticks(new, base, range(begin, end))[0]
            inventories = {"new": new.inventory(), "old": old.inventory()}
        used = old.usage().since(before)
    differing = {}
    for name, made in (("new", span), ("old", ticks)):
        files = [file for number in range(made) for file in base.tick(number).files]
        expected = answers(history, [files])[-1]
        differing[name] = differing_keys(inventories[name], expected)
    is_wrong = any(differing.values())
    last = median(seconds[-span:])
    on_disk = what_lies_in(folder / "old" / "lakehouse")
    shutil.rmtree(folder)
    return {
        "measure": "aging",
        "target": target,
        "ticks": ticks,
        "lines": sum(base.tick(number).lines for number in range(ticks)),
        "first_seconds": median(first),
        "last_seconds": last,
        "last_to_first": math.nan if is_wrong else last / median(first),
        "differing_keys": differing,
        **on_disk,
        **asdict(used),
        "repetitions": seconds,
        "new_seconds": first,
        "marts_seconds": marts,
        "failed_builds": failed,
    }


@contextmanager
def _aging_system(history: History, folder: Path, port: int, target: str) -> Iterator[Remote]:
    with Remote(f"ours_{target}", folder, port, None) as system:
        system.backfill(put_down(list(history.files(0)), folder / "arriving"))
        yield system


def _aging_ticks(
    system: Remote, base: Base, numbers: Iterable[int]
) -> tuple[list[float], list[float], float]:
    """Seconds of each tick, and of the marts that were made after it; builds that failed and were
    tried again."""
    took = [system.tick(base.tick(number).files) for number in numbers]
    return (
        [round(each.total, 3) for each in took],
        [round(each.parts["marts"], 3) for each in took],
        sum(each.parts["failed builds"] for each in took),
    )


def what_lies_in(lakehouse: Path) -> dict[str, int]:
    """Data files, entries of the Delta logs, checkpoints, and bytes of it all."""
    files = [path for path in lakehouse.rglob("*") if path.is_file()]
    logs = {path for path in files if path.parent.name == "_delta_log"}
    return {
        "data_files": sum(path.suffix == ".parquet" for path in files if path not in logs),
        "log_entries": sum(path.suffix == ".json" for path in logs),
        "checkpoints": sum(path.suffix == ".parquet" for path in logs),
        "bytes_on_disk": sum(path.stat().st_size for path in files),
    }


def _fresh(folder: Path, port: int, target: str) -> Settings:
    shutil.rmtree(folder, ignore_errors=True)
    settings = Settings(folder / "landing", folder / "lakehouse", port, target)
    settings.landing.mkdir(parents=True)
    settings.state.mkdir(parents=True)
    return settings
