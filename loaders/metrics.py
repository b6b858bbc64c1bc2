"""What a schedule does, in figures that Prometheus reads: over HTTP on loopback, or from a file.

The names and the alarms that hang on them are in `profiles/alerts.yml`, what to do about each in
`profiles/RUNBOOK.md`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.exposition import write_to_textfile

from loaders import engine
from loaders.catalog import tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError
from loaders.points import points_of
from loaders.schedule import Tick

LOOPBACK = "127.0.0.1"
# Folders are looked into and the file is written so often; 20 ms.
LOOK_SECONDS = 15.0
SECONDS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300)


class Metrics:
    """The figures of one schedule, in a registry of their own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._looked_at = float("-inf")
        self.registry = registry = CollectorRegistry()
        self.builds = Counter("pos_builds", "Builds by outcome.", ["outcome"], registry=registry)
        for outcome in ("succeeded", "failed"):
            self.builds.labels(outcome)
        self.seconds = Histogram(
            "pos_build_seconds", "Seconds of a build.", ["what"], buckets=SECONDS, registry=registry
        )
        self.lag = Histogram(
            "pos_landing_to_gold_seconds",
            "From a file's landing to the end of its build.",
            buckets=SECONDS,
            registry=registry,
        )
        self.rows = Counter("pos_rows_loaded", "Rows into bronze.", ["feed"], registry=registry)
        self.problems = Counter(
            "pos_upkeep_problems", "What upkeep could not do.", ["table"], registry=registry
        )
        self.warnings = Counter("pos_load_warnings", "Files with bad rows.", registry=registry)
        self.succeeded_at = Gauge(
            "pos_build_succeeded_timestamp_seconds", "The last good build.", registry=registry
        )
        self.ticked_at = Gauge(
            "pos_schedule_timestamp_seconds", "When the schedule last looked.", registry=registry
        )
        self.waiting = Gauge(
            "pos_files_not_built", "Files loaded and not built yet.", registry=registry
        )
        self.age = Gauge(
            "pos_source_age_seconds", "Since a source was received.", ["source"], registry=registry
        )
        self.engine = Gauge(
            "pos_engine_resident_bytes", "Memory of the embedded engine.", registry=registry
        )
        self.log_entries = Gauge(
            "pos_table_log_entries", "Names in a table's log.", ["table"], registry=registry
        )
        self.files = Gauge(
            "pos_table_files", "Data files in its folder.", ["table"], registry=registry
        )
        self.free = Gauge("pos_disk_free_bytes", "Free for the lakehouse.", registry=registry)
        self.point_at = Gauge(
            "pos_restore_point_timestamp_seconds", "The newest restore point.", registry=registry
        )

    def observe(self, tick: Tick) -> None:
        """Count one turn of the schedule."""
        for feed, rows in tick.load.rows.items():
            self.rows.labels(feed).inc(rows)
        self.warnings.inc(len(tick.load.warnings))
        for what, report in (("tables", tick.build), ("marts", tick.marts)):
            if report is not None:
                self.builds.labels("succeeded" if report.succeeded else "failed").inc()
                self.seconds.labels(what).observe(report.seconds)
        if tick.build is not None and tick.build.succeeded:
            self.succeeded_at.set_to_current_time()
        for lag in tick.lags:
            self.lag.observe(lag)
        for upkeep in tick.upkeep:
            if upkeep.problem:
                self.problems.labels(upkeep.table).inc()
        for source in tick.freshness or []:
            if source.age is not None:
                self.age.labels(source.rule.table).set(source.age.total_seconds())
        self.waiting.set(tick.waiting)
        self.ticked_at.set_to_current_time()

    def look(self) -> bool:
        """Look at the folders, if it is time to; False if not."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        if self._settings.target == "local":
            self.engine.set(engine.resident_bytes(self._settings))
        place = self._settings.lakehouse
        if isinstance(place, Path):
            self._look_at_tables(place)
        disk = os.statvfs(place if isinstance(place, Path) else self._settings.state)
        self.free.set(disk.f_bavail * disk.f_frsize)
        if points := points_of(self._settings):
            self.point_at.set(points[-1].made_at.timestamp())
        return True

    def _look_at_tables(self, lakehouse: Path) -> None:
        for schema, name, path in tables_on_disk(lakehouse):
            table = f"{schema}.{name}"
            self.log_entries.labels(table).set(len(list((path / "_delta_log").iterdir())))
            self.files.labels(table).set(sum(1 for _ in path.rglob("*.parquet")))


@contextmanager
def measured(
    settings: Settings, port: int | None, file: Path | None, say: Callable[[str], None]
) -> Iterator[Callable[[Tick], None]]:
    """What to call after each turn of the schedule; nothing is counted where nobody reads it.

    :class:`UserError` where the port is taken. A file that cannot be written is said, and the
    schedule goes on.
    """
    if port is None and file is None:
        yield lambda _tick: None
        return
    metrics = Metrics(settings)
    server = None
    if port is not None:
        try:
            server, thread = start_http_server(port, addr=LOOPBACK, registry=metrics.registry)
        except OSError as error:
            raise UserError(
                f"port {port} cannot be listened on ({error.strerror or error}); choose another "
                f"with --metrics-port or POS_METRICS_PORT"
            ) from error
        say(f"metrics: http://{LOOPBACK}:{server.server_port}/metrics, loopback only")

    def measure(tick: Tick) -> None:
        metrics.observe(tick)
        if metrics.look() and file is not None:
            try:
                write_to_textfile(str(file), metrics.registry)
            except OSError as error:
                say(f"metrics: {file} cannot be written ({error.strerror or error})")

    try:
        yield measure
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
            thread.join()
