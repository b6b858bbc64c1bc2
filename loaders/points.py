"""Restore points: what the tables said at one moment, kept by hard links inside of the lakehouse.

Delta's own versions can be opened for minutes only (`loaders/maintenance.py`), too short to find
out that a build was bad. A data file and a log entry are never written again, so a second name for
each keeps a moment whole: no byte is copied, and upkeep may remove the first name. The schedule
makes a point between two builds, with the turn in hand, and thins out the old ones. A point lies on
the disk of its lakehouse: it helps against a bad build, and only a backup against a bad disk.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from loaders import engine, turns
from loaders.catalog import tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.files import only_holder, write_atomically
from loaders.landing import FEEDS
from loaders.load import (
    application,
    begun_path,
    ledger_lines,
    ledger_path,
    open_table,
    plan_path,
)
from loaders.plan import Plan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What is read goes before what it is made of, so that no table is ahead of one that it reads.
DOWNSTREAM_FIRST = ("gold", "silver", "bronze")
BUILT = DOWNSTREAM_FIRST[:2]
MANIFEST = "point.json"
STAMP = "%Y%m%dT%H%M%SZ"
# Made so often while something is built. A point costs what 17 tables take to open and link, some
# 0.2 s; sooner: less to build again after a rollback. It holds what upkeep would have removed.
POINT_SECONDS = 15 * 60
# The newest in each of so many spans of so many seconds is kept.
KEPT = ((8, POINT_SECONDS), (24, 3_600), (7, 86_400))
RENEWAL_SECONDS = 3.0  # a schedule's engine that has grown is up again after so long
AGAIN_SECONDS = 15.0  # where there was nothing to keep
POLL_SECONDS = 0.05
ATTEMPTS = 3  # at a log that is cut while it is linked


@dataclass(frozen=True)
class Point:
    """A moment that is kept: its folder, when it was (UTC), and the version of each table."""

    folder: Path
    made_at: datetime
    versions: Mapping[str, int]

    @property
    def name(self) -> str:
        """What it is called: its moment."""
        return self.folder.name


def points_of(settings: Settings) -> list[Point]:
    """The restore points of a lakehouse, oldest first; half-made ones are none."""
    return points_in(points_folder(settings))


def points_in(folder: Path) -> list[Point]:
    """The points, or backups, that lie in a folder, oldest first."""
    found = []
    for manifest in sorted(folder.glob(f"[0-9]*/{MANIFEST}")):
        try:
            said = json.loads(manifest.read_bytes())
            made_at = datetime.strptime(manifest.parent.name, STAMP).replace(tzinfo=UTC)
            found.append(Point(manifest.parent, made_at, said["versions"]))
        except (OSError, ValueError, KeyError):
            continue  # not one of ours
    return found


def points_folder(settings: Settings) -> Path:
    """Where the restore points of a lakehouse lie."""
    return settings.state / "points"


def chosen(points: Iterable[Point], at: str, what: str) -> Point:
    """The newest point not after ``at`` (its name, or a time in UTC); :class:`UserError`."""
    moment = moment_of(at)
    before = [point for point in points if point.made_at <= moment]
    if not before:
        raise UserError(f"there is no {what} from {at} or before")
    return before[-1]


def moment_of(text: str) -> datetime:
    """A moment as a person writes it, UTC: a point's name or an ISO time; :class:`UserError`.

    >>> moment_of("20210101T120000Z") == moment_of("2021-01-01 12:00")
    True
    """
    for form in (STAMP, None):
        with suppress(ValueError):
            read = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read
    raise UserError(f"{text!r} is no moment; give it as in 2021-01-01 12:00:00 (UTC)")


class Points:
    """The schedule's restore points: made when due, thinned out; remembers what was kept last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        newest = points_of(settings)[-1:]
        self._versions = dict(newest[0].versions) if newest else {}
        self._due_at = newest[0].made_at.timestamp() + POINT_SECONDS if newest else 0.0

    def make_if_due(self, session: SparkSession | None) -> Point | None:
        """Make a point if one is due, something was built since and nobody else is writing."""
        if time.time() < self._due_at:
            return None
        if versions_of(self._settings, BUILT) == self._versions:
            self._due_at = time.time() + AGAIN_SECONDS
            return None
        if session is not None and engine.running(self._settings) is None:
            return None  # the next build starts it
        self._due_at = time.time() + AGAIN_SECONDS  # where it fails: not at every tick
        with turns.taken(session, turns.SCHEDULE) if session else nullcontext(True) as is_ours:
            return self._make() if is_ours else None

    def _make(self) -> Point:
        point = make(self._settings, points_folder(self._settings), BUILT)
        self._versions = dict(point.versions)
        self._due_at = time.time() + POINT_SECONDS
        for old in surplus(points_of(self._settings), point.made_at):
            shutil.rmtree(old.folder, ignore_errors=True)
        return point


def surplus(points: Iterable[Point], now: datetime) -> list[Point]:
    """The points that need not be kept: of each span only the newest is."""
    newest_first = sorted(points, key=lambda point: point.made_at, reverse=True)
    kept: set[str] = {point.name for point in newest_first[:1]}
    for spans, seconds in KEPT:
        by_span: dict[int, Point] = {}
        for point in newest_first:
            by_span.setdefault(int(point.made_at.timestamp() // seconds), point)
        oldest = now - timedelta(seconds=spans * seconds)
        kept |= {point.name for point in by_span.values() if point.made_at > oldest}
    return [point for point in newest_first if point.name not in kept]


@contextmanager
def at_rest(settings: Settings, doing: str) -> Iterator[None]:
    """Keep all that builds out for a moment: by the turn where the embedded engine is up, else by
    the schedule's lock. :class:`UserError` where a schedule runs that takes no turns (Spark's)."""
    with ExitStack() as stack:
        if settings.target == "local" and engine.running(settings) is not None:
            _take_turn(settings, stack)
        else:
            lock = settings.state / "schedule.lock"
            stack.enter_context(only_holder(lock, doing=doing))
        yield


def _take_turn(settings: Settings, stack: ExitStack) -> None:
    """Wait for the turn; once more where the engine was started anew meanwhile."""
    for attempt in range(ATTEMPTS):
        try:
            session = engine.connect(settings)
            stack.enter_context(turns.waited_for(session, turns.BY_HAND))
            return
        except Exception as error:  # whatever the client makes of an engine that is gone
            if attempt == ATTEMPTS - 1:
                raise UserError(f"the engine does not answer: {first_line(error)}") from error
            time.sleep(RENEWAL_SECONDS)


def versions_of(settings: Settings, schemas: Iterable[str]) -> dict[str, int]:
    """The newest version of each table, by the names in its log: no log is read."""
    found = {}
    for schema, name, path in tables_on_disk(settings.disk):
        if schema in schemas:
            commits = [int(log.stem) for log in (path / "_delta_log").glob("[0-9]*.json")]
            if commits:
                found[f"{schema}.{name}"] = max(commits)
    return found


def make(settings: Settings, folder: Path, schemas: Iterable[str]) -> Point:
    """Keep the tables of ``schemas`` as they are now, in a folder of the moment's name.

    For whoever keeps the builds out meanwhile. With bronze, what the load remembers is kept too, as
    far as bronze has it, so that a load goes on from there whatever this one did in the meantime.
    Appears by rename: whole, or not at all.
    """
    made_at = datetime.now(UTC).replace(microsecond=0)
    while (folder / made_at.strftime(STAMP)).exists():  # one a second; none takes another's place
        time.sleep(POLL_SECONDS)
        made_at = datetime.now(UTC).replace(microsecond=0)
    target = folder / made_at.strftime(STAMP)
    scratch = folder / f".{target.name}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        pinned = [
            _pin(path, scratch / schema / table, f"{schema}.{table}")
            for wanted in DOWNSTREAM_FIRST
            if wanted in schemas
            for schema, table, path in tables_on_disk(settings.disk)
            if schema == wanted
        ]
        if "bronze" in schemas:
            _keep_memory_of_load(settings, scratch)
        for table in pinned:  # upkeep leaves these for an hour
            for file in table.files:
                link(table.path / file, scratch / table.name.replace(".", "/") / file)
        versions = {table.name: table.version for table in pinned}
        write_atomically(
            scratch / MANIFEST,
            json.dumps({"made_at": made_at.isoformat(), "versions": versions}).encode(),
        )
        scratch.rename(target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror or error}); make room, or see to it that "
            f"the folder may be written"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Point(target, made_at, versions)


def link(source: Path, target: Path) -> None:
    """Give a file that is never written again a second name; copied where a disk has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except PermissionError:
            shutil.copy2(source, target)


@dataclass(frozen=True)
class _Pinned:
    name: str
    path: Path
    version: int
    files: tuple[str, ...]


def _pin(path: Path, target: Path, name: str) -> _Pinned:
    """Choose a table's version and keep the log that it can be opened by."""
    for _ in range(ATTEMPTS):
        table = open_table(path)
        shutil.rmtree(target, ignore_errors=True)
        try:
            for log in log_of(path, table.version()):
                link(log, target / "_delta_log" / log.name)
            kept = DeltaTable(str(target), version=table.version())
        except (FileNotFoundError, DeltaError) as error:
            problem = error
            continue
        return _Pinned(name, path, table.version(), tuple(files_of(kept, target)))
    raise UserError(f"the log of {name} cannot be kept: {first_line(problem)}")


def log_of(path: Path, version: int) -> list[Path]:
    """The files of a table's log that a version is read from: a checkpoint, and commits since."""
    commits: dict[int, Path] = {}
    checkpoints: dict[int, list[Path]] = {}
    for file in (path / "_delta_log").iterdir():
        number, _, kind = file.name.partition(".")
        if len(number) == 20 and number.isdigit() and int(number) <= version:
            if kind == "json":
                commits[int(number)] = file
            elif kind.startswith("checkpoint"):
                checkpoints.setdefault(int(number), []).append(file)
    first = max(checkpoints, default=0)
    wanted = [commits[number] for number in sorted(commits) if number >= first]
    return [*checkpoints.get(first, []), *wanted]


def files_of(table: DeltaTable, path: Path) -> list[str]:
    """The data files that an open table names, relative to its folder."""
    return [
        os.path.relpath(uri.removeprefix("file://"), path.resolve()) for uri in table.file_uris()
    ]


def _keep_memory_of_load(settings: Settings, target: Path) -> None:
    """The load's ledgers and plans as of the bronze that was kept.

    A commit is planned, made, entered in the ledger, and its plan removed: whatever moment this
    falls into, what is read in this order and cut off at the commits kept is a moment of the load.
    """
    for feed in FEEDS:
        kept = target / "bronze" / feed
        if not kept.is_dir():
            continue
        commits = open_table(kept).transaction_version(application(feed)) or 0
        plan = begun = b""
        with suppress(FileNotFoundError):
            plan = plan_path(settings, feed).read_bytes()
        with suppress(FileNotFoundError):  # before the ledger, where it ends as soon as it is whole
            begun = begun_path(settings, feed).read_bytes()
        ledger = [
            line for line in ledger_lines(settings, feed) if int(line.split("\t")[0]) <= commits
        ]
        state = target / settings.state.name
        if begun:
            if int(json.loads(begun)["ingest_id"]) > commits:
                raise UserError(
                    f"a large file is being loaded into bronze.{feed} just now; try again"
                )
            write_atomically(state / begun_path(settings, feed).name, begun)
        write_atomically(
            state / ledger_path(settings, feed).name,
            "".join(f"{line}\n" for line in ledger).encode(),
        )
        if plan and Plan.from_json(plan).ingest_id <= commits:
            write_atomically(state / plan_path(settings, feed).name, plan)
