"""The real month through Kafka, into the embedded engine's lakehouse or one on a Spark cluster.

``python -m benchmarks.through_kafka --into local`` (or ``cluster``) starts a broker (and a cluster)
of its own and does by the project's commands what a person would: loads and builds as a playback
sends at ten times the pace in a busy hour, then sends the rest at full speed and takes it in at
once. Gold is held against the simulator's truth after each. Prints what it took; exits with 1 if
anything differs. Writes ``target/through_kafka``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from benchmarks.results import PROJECT
from loaders import engine, spark_cluster
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.clock import percentile
from loaders.config import Settings
from loaders.exports import read_exports
from loaders.journal import entries
from loaders.kafka import broker
from loaders.kafka.sink import KafkaSink
from loaders.playback import Month, play

SPEED = 10.0
BUSY_HOUR = timedelta(days=1, hours=16)  # of the playback's begin; what comes before is taken in
WAIT_SECONDS = 3_600.0
STOP_SECONDS = 600.0
FULL_MONTH = 1_500_000


@dataclass
class Course:
    """One lakehouse, its broker, and the environment in which the commands find both."""

    settings: Settings
    month: Month
    kafka_port: int
    environment: dict[str, str]
    figures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"kafka://127.0.0.1:{self.kafka_port}"

    @property
    def loads(self) -> list[str]:
        """The command that takes in what Kafka has, without building."""
        name = "stream" if self.settings.target == "spark" else "load"
        return [name, "--from", self.address]

    @property
    def builds(self) -> list[str]:
        """The command that builds, and on `local` loads as well."""
        return ["run", "--from", "bronze" if self.settings.target == "spark" else self.address]

    def say(self, what: str, figure: str) -> None:
        self.figures.append((what, figure))
        print(f"{what}: {figure}", flush=True)

    def command(self, *arguments: str) -> float:
        """Run a command of the project; its seconds. It ends the whole run where it fails."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "loaders", *arguments],
            cwd=PROJECT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"pos {' '.join(arguments)}:\n{done.stdout[-3_000:]}")
        return time.monotonic() - started

    @contextmanager
    def beside(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that goes on until it is told to stop, which it must do cleanly."""
        log = self.settings.landing.parent / f"{arguments[0]}.log"
        with log.open("ab") as output:
            running = subprocess.Popen(
                [sys.executable, "-m", "loaders", *arguments],
                cwd=PROJECT,
                env={**self.environment, **more},
                stdout=output,
                stderr=output,
            )
        try:
            yield running
            running.send_signal(signal.SIGTERM)
            if running.wait(STOP_SECONDS) != 0:
                raise SystemExit(f"pos {' '.join(arguments)} failed; its own words are in {log}")
        finally:
            running.kill()
            running.wait()

    def differences(self, clock: datetime) -> int:
        """Keys of gold and counts that are not as the simulator has them at this time."""
        return sum(
            compare(self.settings.lakehouse, self.month.folder, clock).differences
            for compare in (compare_with_truth, compare_variances_with_truth)
        )


def paced(course: Course, minutes: float) -> datetime:
    """Load and build beside a playback at ten times the pace, from a busy hour on; to where."""
    begin = course.month.starts_at + BUSY_HOUR
    end = begin + timedelta(minutes=minutes) * SPEED
    sink = KafkaSink(course.address)
    play(course.month, sink, speed=None, until=begin)
    share = {"POS_SPARK_CORES": "1"} if course.settings.target == "spark" else {}
    with ExitStack() as stack:
        running = []
        if course.settings.target == "spark":
            running.append(stack.enter_context(course.beside(*course.loads, **share)))
        running.append(stack.enter_context(course.beside(*course.builds, **share)))
        started = time.monotonic()
        _wait_for(lambda: _is_true(course, begin), running)
        course.say("its first two days, cold, until gold is true", _seconds(started))
        since = datetime.now(UTC)
        play(course.month, sink, speed=SPEED, until=end)
        started = time.monotonic()
        _wait_for(lambda: _is_true(course, end), running)
        course.say("gold is true after the last message", _seconds(started))
    lags = [
        entry["lag_seconds"][1]
        for entry in entries(course.settings)
        if entry["event"] == "built"
        and entry["succeeded"]
        and entry["lag_seconds"]
        and datetime.fromisoformat(entry["at"]) > since
    ]
    p50, p95 = percentile(lags, 0.5), percentile(lags, 0.95)
    course.say(
        f"{minutes:g} minutes at 10x: broker to gold, the oldest message of each build",
        f"p50 {p50:.1f} s, p95 {p95:.1f} s, {len(lags)} builds",
    )
    return end


def at_full_speed(course: Course, after: datetime) -> None:
    """What the month has after this time: sent, loaded and built, one after the other."""
    messages = _messages(course.month, after)
    started = time.monotonic()
    play(course.month, KafkaSink(course.address), speed=None)
    seconds = time.monotonic() - started
    course.say("the rest of the month into Kafka", _rate(messages, "messages", seconds))
    rows = _rows(course)
    seconds = course.command(*course.loads, "--once")
    course.say(f"`pos {course.loads[0]}`: to bronze", _rate(_rows(course) - rows, "rows", seconds))
    course.say("`pos run`: to gold", f"{course.command(*course.builds, '--once'):.0f} s")
    differing = course.differences(course.month.ends_at)
    course.say("keys and counts that differ from the truth", str(differing))


@contextmanager
def opened(folder: Path, month: Month, target: str, ports: int) -> Iterator[Course]:
    """An empty lakehouse with a broker, and for ``spark`` a cluster; all ended at the end."""
    lakehouse = folder / "lakehouse"
    settings = Settings(folder / "landing", lakehouse, ports, target)
    settings.landing.mkdir(parents=True)
    environment = {**os.environ, **settings.environment()}
    environment |= {"POS_KAFKA_PORT": str(ports + 1), "POS_CLUSTER_PORT": str(ports + 3)}
    course = Course(settings, month, ports + 1, environment)
    try:
        course.command("kafka", "up")
        if target == "spark":
            course.command("cluster", "up")
            environment |= read_exports(spark_cluster.environment_file(settings))
        yield course
    finally:
        engine.down(settings)
        spark_cluster.down(settings)
        broker.down(settings)


def _wait_for(is_so: Callable[[], bool], running: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if any(each.poll() is not None for each in running):
            raise SystemExit("a command ended that was to go on; the logs say why")
        if time.monotonic() > deadline:
            raise SystemExit(f"gold is not true after {WAIT_SECONDS:.0f} seconds")
        time.sleep(0.5)


def _is_true(course: Course, clock: datetime) -> bool:
    """Asked only where all that was sent is built: it costs a second."""
    newest = next((each for each in entries(course.settings) if each["event"] == "built"), None)
    return newest is not None and newest["succeeded"] and course.differences(clock) == 0


def _messages(month: Month, after: datetime) -> int:
    """What the tills sent after this time."""
    return sum(
        pc.sum(pc.greater(pq.read_table(path, columns=["sent_at"])["sent_at"], after)).as_py()
        for path in month.folder.glob("*/changes.parquet")
    )


def _rows(course: Course) -> int:
    found = 0
    for feed in ("pos_messages", "pos_count_rows", "pos_items"):
        table = DeltaTable(str(course.settings.table("bronze", feed)))
        found += sum(table.get_add_actions(flatten=True)["num_records"].to_pylist())
    return found


def _seconds(since: float) -> str:
    return f"{time.monotonic() - since:.0f} s"


def _rate(number: int, what: str, seconds: float) -> str:
    return f"{number:,} {what} in {seconds:.0f} s, {number / seconds:,.0f} a second"


def main() -> None:
    """Arguments to a call."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--into", choices=("local", "cluster"), default="local")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--lines", type=int, default=FULL_MONTH, help="of the month's 31 days")
    parser.add_argument("--folder", type=Path, default=PROJECT / "target" / "through_kafka")
    parser.add_argument("--port", type=int, default=20_400, help="this one and nine more")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    what = ["simulate", "--out", str(folder / "month"), "--lines", str(arguments.lines)]
    subprocess.run([sys.executable, "-m", "loaders", *what], cwd=PROJECT, check=True)
    target = "spark" if arguments.into == "cluster" else "local"
    with opened(folder, Month(folder / "month"), target, arguments.port) as course:
        at_full_speed(course, paced(course, arguments.minutes))
        differing = course.differences(course.month.ends_at)
    print("\n| what | figure |\n| --- | --- |")
    for name, figure in course.figures:
        print(f"| {name} | {figure} |")
    if differing:
        raise SystemExit(f"{differing} keys and counts differ from the truth")


if __name__ == "__main__":
    main()
