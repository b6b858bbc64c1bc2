"""`pos` commands that are killed: started by the hundred, and what they have left behind.

A command is a process of its own that runs what `python -m loaders` runs. It is forked from a
server that has imported dbt, pyspark and the loaders, so that a life costs what it does and not
three seconds of imports.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

from deltalake import DeltaTable

from loaders import engine
from loaders.bronze import rows_of
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.config import Settings
from loaders.landing import FEEDS, scan
from loaders.playback import Month, Slot, play
from loaders.sql.server import CONNECT

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(
    [
        *("loaders.cli", "loaders.schedule", "loaders.view", "loaders.redrive", "loaders.status"),
        *("loaders.page.writing", "loaders.maintenance", "loaders.resident"),
        *(
            "dbt.cli.main",
            "dbt.adapters.spark",
            "pyspark.sql.connect.session",
            "tests.faults.lives",
        ),
    ]
)
KILLED = -9
PATIENCE = 900.0  # of a command that ends by itself


def live(arguments: tuple[str, ...], environment: dict[str, str], log: str) -> None:
    """In the forked process: be `pos` with these arguments."""
    os.environ.update(environment)
    for name in CONNECT:  # of a pytest that has talked to the embedded engine before
        os.environ.pop(name, None)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["pos", *arguments]
    from loaders.cli import main

    main()


@dataclass
class Commands:
    """`pos` commands on one landing folder and one lakehouse, and what they say."""

    settings: Settings
    log: Path

    def start(self, *arguments: str, **environment: str) -> BaseProcess:
        """A `pos` command, going on by itself."""
        places = {**self.settings.environment(), **environment}
        process = FORKING.Process(target=live, args=(arguments, places, str(self.log)), daemon=True)
        process.start()
        return process

    def run(self, *arguments: str, **environment: str) -> int:
        """A `pos` command to its end; its exit code, `KILLED` where it was killed."""
        process = self.start(*arguments, **environment)
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"pos {' '.join(arguments)} took over {PATIENCE:.0f} s: {self.said}")
        return process.exitcode

    def must(self, *arguments: str, **environment: str) -> None:
        """A `pos` command that has to succeed, and what it said where it does not."""
        before = len(self.said)
        code = self.run(*arguments, **environment)
        assert code == 0, f"pos {' '.join(arguments)} ended with {code}: {self.said[before:]}"

    @property
    def said(self) -> str:
        """All that the commands have said so far."""
        return self.log.read_text() if self.log.exists() else ""

    def close(self) -> None:
        engine.down(self.settings)


@dataclass
class Shop(Commands):
    """The same with a month to play."""

    month: Month
    played_through: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.played_through = self.month.starts_at

    def moment(self, share: float) -> datetime:
        """The event time by which this share of the month's time has passed."""
        return self.month.starts_at + (self.month.ends_at - self.month.starts_at) * share

    def play(self, share: float) -> datetime:
        """Play by this process up to a share of the month's time."""
        self.played_through = play(
            self.month, self.settings.landing, speed=None, until=self.moment(share)
        )
        return self.played_through

    def lines_lost_and_doubled(self) -> tuple[int, int, int]:
        """Lines that have landed; of these not in bronze; and in bronze more often than landed."""
        landed = Counter(self._landed())
        loaded = Counter(self._loaded())
        lost = sum((landed - loaded).values())
        return sum(landed.values()), lost, sum((loaded - landed).values())

    def landed_lines_lost_and_doubled(self) -> tuple[int, int, int]:
        """The same of the playback: lines sent so far; not landed; landed more often than sent."""
        everything = Slot(self.month.starts_at, self.played_through)
        sent: Counter[str] = Counter()
        for _, data in self.month.files_of(everything):
            sent.update(data.decode().splitlines())
        landed: Counter[str] = Counter()
        found, _ = scan(self.settings.landing)
        for feed in FEEDS:
            for file in found[feed]:
                data = (self.settings.landing / file.path).read_bytes()
                landed.update(data.decode().splitlines())
        lost = sum((sent - landed).values())
        return sum(sent.values()), lost, sum((landed - sent).values())

    def differences(self) -> list[str]:
        """Where gold is not what the simulator knows to be true, as sentences."""
        found = []
        for compare in (compare_with_truth, compare_variances_with_truth):
            comparison = compare(self.settings.lakehouse, self.month.folder, self.played_through)
            if comparison.differences:
                found += [f"{comparison.differences} keys differ", *comparison.examples]
        return found

    def _landed(self) -> Iterator[tuple[str, int]]:
        found, _ = scan(self.settings.landing)
        for feed in FEEDS:
            for file in found[feed]:
                data = (self.settings.landing / file.path).read_bytes()
                for number in rows_of(feed, data)["source_line"]:
                    yield file.path, int(str(number))

    def _loaded(self) -> Iterator[tuple[str, int]]:
        for feed in FEEDS:
            table = DeltaTable(str(self.settings.table("bronze", feed)))
            columns = ["source_file", "source_line", "redrive_of_ingest_id"]
            for row in table.to_pyarrow_table(columns=columns).to_pylist():
                if row["redrive_of_ingest_id"] is None:
                    yield row["source_file"], row["source_line"]

    def redriven(self) -> tuple[int, int]:
        """Rows of bronze that were put through again, and how many of them more than once."""
        places: Counter[tuple[str, int, int]] = Counter()
        for feed in FEEDS:
            table = DeltaTable(str(self.settings.table("bronze", feed)))
            columns = ["redrive_of_ingest_id", "redrive_of_ingest_line"]
            for row in table.to_pyarrow_table(columns=columns).to_pylist():
                if row["redrive_of_ingest_id"] is not None:
                    places[feed, *row.values()] += 1
        return len(places), sum(places.values()) - len(places)
