"""The schedule: load what has landed, build when something new came in, one build at a time.

Load and build take turns in one process. A file that lands while a build runs is loaded right after
it, so an event waits at most one build for its own, and two builds can never overlap.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loaders import engine, turns, writers
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.files import only_holder
from loaders.freshness import Freshness, freshness_of
from loaders.journal import Journal
from loaders.landing import MESSAGES
from loaders.load import Arrival, Loader, LoadReport
from loaders.maintenance import Maintenance, Upkeep
from loaders.points import Point, Points
from loaders.retention import days_from_environment, replace_numbers
from loaders.unfinished import refuse_unfinished
from loaders.warehouse import BuildReport, Warehouse

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The first build makes all, seeds included, and tests it; the next only what new data change.
FULL_BUILD = ("build", "--exclude", "resource_type:unit_test", "tag:full")
SHORT_BUILD = ("build", "--selector", "short_schedule")
# What reads nothing but counts or items has nothing to do on a tick that brought none.
CHANGES_BUILD = ("build", "--selector", "changes_only")
# What people read at leisure and no till waits for: the ledger, days of supply, suspects, shrink.
MARTS_BUILD = ("build", "--selector", "marts")
# The marts cost as much as a short build, and while they are built what lands waits. Once a minute
# they take a few percent of the time; nobody reads them more often than that.
MARTS_SECONDS = 60.0
IDLE_SECONDS = 0.2
# How much of each feed one build takes in, of what has landed: some 700,000 lines, or four full
# counts of a store. Less: more builds to catch up with an outage (a month by 8 MiB 57 s, by 32 MiB
# 35 s). More: by 64 MiB the engine alone came to 2.3 GB.
BUILD_BYTES = 32 * 1024 * 1024
# Sail 0.7.2 keeps some 0.1 MB of every statement for good, whatever it was. Above this the engine
# is started anew between two builds, which takes as long as half of one. Lower: sooner again, and
# for nothing after a large build that left it at its size. Higher: with the 1.5 GB that one build
# may use for itself and dbt's own 0.4 GB, more than 2.5 GiB in all.
RENEWAL_BYTES = 1_300_000_000
RENEWAL_TICKS = 50  # builds between two renewals at least
RETRY_SECONDS = 5.0
# How fresh the sources are is asked once a minute in an idle moment, and where there is none, which
# only happens while much comes in, after so long all the same. It reads three logs, 10 ms.
FRESHNESS_SECONDS = 60.0
FRESHNESS_SECONDS_AT_MOST = 300.0
RETENTION_SECONDS = 3600.0  # days are counted, so hours do


@dataclass
class Tick:
    """One turn of the schedule: what was loaded, how the builds went, how old the files were."""

    load: LoadReport
    build: BuildReport | None
    lags: list[float] = field(default_factory=list)
    marts: BuildReport | None = None  # where they were due, and the full build had not made them
    upkeep: list[Upkeep] = field(default_factory=list)
    freshness: list[Freshness] | None = None  # of each source, where it was looked at
    point: Point | None = None  # the restore point that was made before the builds
    waiting: int = 0  # files that are loaded and not built

    @property
    def reports(self) -> list[BuildReport]:
        """What was built, in that order."""
        return [report for report in (self.build, self.marts) if report is not None]

    @property
    def failed(self) -> bool:
        """True when a build was due and did not succeed."""
        return not all(report.succeeded for report in self.reports)


class Schedule:
    """Loads and builds one lakehouse. A context manager: it holds the loader's and the schedule's
    lock, has the engine up and dbt parsed."""

    def __init__(self, settings: Settings, loader: Loader | None = None) -> None:
        """``loader`` is what it loads by, if not from the landing folder."""
        self._settings = settings
        self._loader = loader or Loader(settings)
        self._stack = ExitStack()
        self._unbuilt: list[Arrival] = []
        self._has_more = False  # landed and not loaded yet
        self.full_build_is_due = (
            True  # until one has succeeded: whatever an earlier run left unbuilt
        )
        self._last_failed = False
        self._session: SparkSession | None = None
        self._retry_at = 0.0
        self.makes_marts = True  # after the first build, which makes all there is
        self._marts_are_stale = True
        self._marts_at = 0.0  # when they may be built next
        self._maintenance = Maintenance(settings)
        self._builds_of_engine = 0  # since it was last looked at
        self._freshness_at = float("-inf")  # when it was last looked at
        self._points = Points(settings)
        self._employee_days = days_from_environment()
        self._retention_at = 0.0
        self._is_alone = False

    def __enter__(self) -> Schedule:
        try:
            lock = self._settings.state / "schedule.lock"
            self._stack.enter_context(only_holder(lock, doing="building on a schedule"))
            refuse_unfinished(self._settings)
            self._journal = Journal(self._settings)
            self._stack.callback(self._journal.close)
            self._stack.enter_context(self._loader)
            if self._settings.target == "local":
                self._stack.enter_context(writers.beside_others(self._settings))
            self._attach_engine()
            if self._session is not None:
                with engine.answering(self._settings):
                    turns.end_own(self._session, turns.SCHEDULE)
            self._stack.callback(
                _put_back, turns.OWNER_VARIABLE, os.environ.get(turns.OWNER_VARIABLE)
            )
            os.environ[turns.OWNER_VARIABLE] = turns.SCHEDULE
            self._warehouse = Warehouse(self._settings)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    @property
    def is_settled(self) -> bool:
        """True when all that had landed is built; the marts may be a minute behind."""
        return not self._unbuilt and not self.full_build_is_due and not self._has_more

    def tick(self) -> Tick:
        """Load what has landed, or as much of it as one build takes in; if there is anything
        unbuilt, build; then the marts if due, and a little upkeep of the tables. Before the build,
        a restore point if one is due: so that what new code does can be undone."""
        load = self._loader.load(batch_bytes=BUILD_BYTES, batches=1)
        self._has_more = load.is_partial
        self._unbuilt.extend(load.arrivals)
        tick = Tick(load, None)
        self._keep_point(tick)
        is_due = bool(self._unbuilt) or self.full_build_is_due
        if is_due and time.monotonic() >= self._retry_at:
            tick.build, tick.lags = self._build_tables()
        if self.makes_marts and self.is_settled and time.monotonic() >= self._marts_at:
            tick.marts = self.build_marts()
        tick.upkeep += self._maintenance.between_builds(self._session, is_idle=not tick.reports)
        self._let_go_of_numbers(tick)
        tick.freshness = self._look_at_sources(is_idle=not tick.reports)
        self._renew_engine(tick)
        tick.waiting = len(self._unbuilt)
        self._write_down(tick)
        return tick

    def build_marts(self) -> BuildReport | None:
        """Build the marts; ``None`` if they are as new as the tables that they are made of."""
        if not self._marts_are_stale:
            return None
        report = self._invoke(MARTS_BUILD)
        self._marts_are_stale = not report.succeeded
        wait = MARTS_SECONDS if report.succeeded else RETRY_SECONDS
        self._marts_at = time.monotonic() + wait
        return report

    def run(self, on_tick: Callable[[Tick], None], should_stop: Callable[[], bool]) -> None:
        """Tick until ``should_stop()``, resting a moment whenever there was nothing to do."""
        while not should_stop():
            tick = self.tick()
            on_tick(tick)
            if not tick.reports:
                time.sleep(IDLE_SECONDS)

    def _build_tables(self) -> tuple[BuildReport, list[float]]:
        """Build what has arrived; the report, and how old the files were that are built now."""
        arrived = {arrival.feed for arrival in self._unbuilt}
        short_build = CHANGES_BUILD if arrived == {MESSAGES} else SHORT_BUILD
        report = self._invoke(FULL_BUILD if self.full_build_is_due else short_build)
        if not report.succeeded:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return report, []
        built_at = time.time()
        lags = [built_at - arrival.landed_ns / 1e9 for arrival in self._unbuilt]
        self._unbuilt.clear()
        self._marts_are_stale = not self.full_build_is_due  # which has made them too
        if self.full_build_is_due:
            self._marts_at = time.monotonic() + MARTS_SECONDS
        self.full_build_is_due = False
        return report, lags

    def _keep_point(self, tick: Tick) -> None:
        """Make a restore point if one is due; one that cannot be made is said and stops nothing."""
        if self._last_failed or not self._settings.is_on_disk:  # a point is made of hard links
            return
        try:
            tick.point = self._points.make_if_due(self._session)
        except Exception as error:
            tick.upkeep.append(Upkeep("restore point", problem=first_line(error)))

    def _let_go_of_numbers(self, tick: Tick) -> None:
        """Once an hour, in an idle moment, replace employees' numbers that are too old."""
        now = time.monotonic()
        if self._employee_days is None or tick.reports or now < self._retention_at:
            return
        self._retention_at = now + RETENTION_SECONDS
        try:
            with (
                turns.taken(self._session, turns.SCHEDULE)
                if self._session
                else nullcontext(True) as ours
            ):
                report = replace_numbers(self._settings, self._employee_days) if ours else None
        except Exception as error:
            tick.upkeep.append(Upkeep("employees' numbers", problem=first_line(error)))
            return
        if report is None:
            self._retention_at = now  # somebody else was writing
        elif report.rows:
            self._journal.write("retained", rows=report.rows, before=report.before.isoformat())

    def _write_down(self, tick: Tick) -> None:
        """Enter in the journal what was done; nothing done, nothing entered."""
        lines: list[tuple[str, dict[str, object]]] = []
        load = tick.load
        for feed, commits in load.commits.items():
            files = [arrival.source for arrival in load.arrivals if arrival.feed == feed]
            said = {"feed": feed, "ingest_ids": [commits[0], commits[-1]], "rows": load.rows[feed]}
            lines.append(("loaded", {**said, "files": len(files), "last_file": files[-1]}))
        lines += [("warned", {"warning": warning}) for warning in load.warnings]
        if tick.point:
            lines.append(("kept", {"point": tick.point.name}))
        for what, report in (("tables", tick.build), ("marts", tick.marts)):
            if report is not None:
                lines.append(("built", self._said_of(what, report, tick)))
        for upkeep in tick.upkeep:
            lines.append(("upkeep", {"table": upkeep.table, "done": str(upkeep)}))
        problems = {
            problem for event, said in lines if (problem := self._journal.write(event, **said))
        }
        tick.upkeep += [Upkeep("journal", problem=problem) for problem in problems]

    def _said_of(self, what: str, report: BuildReport, tick: Tick) -> dict[str, object]:
        lags = sorted(tick.lags) if what == "tables" else []
        return {
            "what": what,
            "build_id": report.build_id,
            "succeeded": report.succeeded,
            "seconds": round(report.seconds, 3),
            "through": dict(self._loader.commits),
            "lag_seconds": [round(lags[0], 3), round(lags[-1], 3)] if lags else None,
            "failures": report.failures,
        }

    def _look_at_sources(self, *, is_idle: bool) -> list[Freshness] | None:
        """How fresh the sources are; ``None`` where it is not yet time to look again."""
        now = time.monotonic()
        if now - self._freshness_at < (FRESHNESS_SECONDS if is_idle else FRESHNESS_SECONDS_AT_MOST):
            return None
        self._freshness_at = now
        return freshness_of(self._settings)

    def _renew_engine(self, tick: Tick) -> None:
        """Start the engine anew if it has grown too large and nobody else is writing; one that has
        died is said, and started for the next build."""
        if self._session is None or self._builds_of_engine < RENEWAL_TICKS:
            return
        self._builds_of_engine = 0  # what cannot be done now is not tried at every tick
        if engine.resident_bytes(self._settings) < RENEWAL_BYTES:
            return
        try:
            with engine.answering(self._settings):
                is_ours = turns.take(self._session, turns.SCHEDULE)  # it ends with the engine
            if is_ours:
                engine.down(self._settings)
                self._attach_engine()
        except UserError as error:
            tick.upkeep.append(Upkeep("engine", problem=str(error)))

    def _invoke(self, command: tuple[str, ...]) -> BuildReport:
        started = time.monotonic()
        try:
            # A dead engine is started again, and one that forgot a table is told of it.
            if self._last_failed or (
                self._settings.target == "local" and engine.running(self._settings) is None
            ):
                self._attach_engine()
            if self._session is not None:
                with engine.answering(self._settings):
                    turns.wait(self._session)
            report = self._warehouse.invoke(*command)
        except UserError as error:  # it may die again while it starts: a build that failed, too
            report = BuildReport(time.monotonic() - started, False, [str(error)])
        self._builds_of_engine += 1
        self._last_failed = not report.succeeded
        return report

    def _attach_engine(self) -> None:
        if self._settings.target == "local":
            engine.up(self._settings)
            self._session = engine.connect(self._settings)
        elif self._settings.target == "spark":
            from loaders import catalog, spark

            session = spark.session(self._settings)
            if spark.is_in_this_process(session):
                writers.hold_in_jvm(session, self._settings)
            elif not self._is_alone:  # a cluster's executors come and go: this process holds it
                self._stack.enter_context(writers.alone(self._settings))
                self._is_alone = True
            catalog.register(session, self._settings.lakehouse)


def _put_back(variable: str, value: str | None) -> None:
    """Who comes after a schedule in this process is none."""
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value
