"""This project, as `pos run` runs it: one resident process that loads and builds."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from benchmarks.systems.protocol import Seconds, Unavailable, land
from loaders import engine
from loaders.config import Settings
from loaders.errors import UserError
from loaders.load import open_table
from loaders.schedule import RETRY_SECONDS, Schedule, Tick

COLUMNS = ["store_id", "item_id", "on_hand_quantity"]
TRIES = 3
BACKFILL = "backfill.json"  # beside a history that was built before: what each month took
PROJECT_OF_ITS_OWN = "project"  # beside the lakehouse: dbt's project, where it is not this one
NAMES = {"local": ("pysail",), "spark": ("pyspark", "delta-spark")}


class Ours:
    """A lakehouse of this project, on its target ``local`` or ``spark``."""

    def __init__(self, folder: Path, port: int, target: str) -> None:
        self._settings = Settings(folder / "landing", folder / "lakehouse", port, target)
        if (folder / PROJECT_OF_ITS_OWN).exists():
            self._settings = replace(self._settings, project=folder / PROJECT_OF_ITS_OWN)
        self._settings.landing.mkdir(parents=True, exist_ok=True)
        os.environ.update(self._settings.environment())
        try:
            self._schedule = Schedule(self._settings).__enter__()
        except UserError as error:
            raise Unavailable(str(error)) from error
        self.last_tick: Tick | None = None
        built = folder / BACKFILL
        if built.exists():
            self._schedule.full_build_is_due = False
            self._schedule.makes_marts = len(json.loads(built.read_bytes())) == 1

    def versions(self) -> dict[str, str]:
        target = self._settings.target
        names = ("dbt-core", "dbt-spark", "deltalake", *NAMES[target])
        return {name: version(name) for name in names}

    def backfill(self, files: dict[str, Path]) -> Seconds:
        # After the first month no ledger: of 100 it would be most of the hours, and no tick waits.
        self._schedule.makes_marts = self.last_tick is None
        seconds = self.tick(files)
        while not self._schedule.is_settled:
            more = self._turn()
            parts = {
                name: seconds.parts.get(name, 0.0) + more.parts.get(name, 0.0)
                for name in seconds.parts | more.parts
            }
            seconds = Seconds(seconds.total + more.total, parts)
        # As in an idle moment after an outage: files are merged until there is nothing to merge.
        while any(upkeep.files_merged for upkeep in self._schedule.tick().upkeep):
            pass
        for path in files:  # in bronze now, and remembered in the loader's ledger
            (self._settings.landing / path).unlink()
        return seconds

    def tick(self, files: dict[str, Path]) -> Seconds:
        land(self._settings.landing, files)
        return self._turn()

    def _turn(self) -> Seconds:
        """One turn of the schedule. The marts, once a minute, are a part of their own: what is
        refreshed on each tick can be read before they begin."""
        started = time.monotonic()
        tick, failed = self._schedule.tick(), 0
        while tick.failed:  # tried again, as `pos run` does; the wait is part of the time
            failed += 1
            said = "; ".join(failure for report in tick.reports for failure in report.failures)
            print(f"a build failed: {said}", file=sys.stderr)
            if failed == TRIES:
                raise RuntimeError(said)
            time.sleep(RETRY_SECONDS)
            tick = self._schedule.tick()
        total = time.monotonic() - started
        self.last_tick = tick
        built = tick.build.seconds if tick.build else 0.0
        marts = tick.marts.seconds if tick.marts else 0.0
        nodes = tick.build.node_seconds if tick.build else {}
        return Seconds(
            total - marts,
            {
                "load and wait": total - marts - built,
                "build": built,
                "marts": marts,
                "failed builds": failed,
                **{f"node {name}": seconds for name, seconds in nodes.items()},
            },
        )

    def inventory(self) -> pa.Table:
        path = self._settings.table("gold", "inventory_current")
        return pa.table(open_table(path).to_pyarrow_table(columns=COLUMNS))

    def processes(self) -> list[int]:
        running = engine.running(self._settings) if self._settings.target == "local" else None
        return [running.pid] if running else []

    def close(self) -> None:
        self._schedule.__exit__()
        if self._settings.target == "local":
            engine.down(self._settings)
