"""Upkeep of the Delta tables: few files, few log entries, and nothing left of what was replaced.

Every tick leaves a commit and a file or two in a dozen tables, and each statement pays for all of
them. So between the builds small files are merged, logs are cut and files that nobody can read any
more are removed: by delta-rs, a table at a time, as long as nobody else has the turn to write. Each
step is one atomic commit, or deletes what only an older version names, so a kill anywhere leaves a
table as good as before. What was known when is read from the tables' rows (`inventory_as_of`), and
never by Delta's time travel: old versions are kept for readers that are still at them, no more.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable

from loaders import engine, turns, writers
from loaders.catalog import tables_in, tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.failpoints import reach
from loaders.files import only_holder
from loaders.places import Place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Commits after which a table is looked at again: in an idle moment, or else between two builds.
# Fewer: a look (some 20 ms) at every tick. More: each statement reads more files, 0.02 ms apiece.
IDLE_COMMITS = 16
BUSY_COMMITS = 32
# How long one call works on, at a moment that an event may be waiting for.
PASS_SECONDS = 0.3
# How often the tables of a lakehouse in an object store are looked at.
STORE_SECONDS = 60.0
# Files that merging must save, or it is not worth a commit.
LEAST_SAVED = 16
# Size of a merged file, about a million lines of the changes. Smaller: more files. Larger: each
# merge of small files writes more of the same rows again, and a MERGE that updates does so too.
FILE_BYTES = 16 * 1024 * 1024
# Where each build updates a few of the latest rows, a file with one of them is written anew whole:
# of 900,000 orders Spark copied each in 5 s to change 20.
HOT_FILE_BYTES = FILE_BYTES // 8
HOT = ("gold.bopis_orders",)
# Where rows are never updated, what is old is merged once more.
LARGE_FILE_BYTES = 8 * FILE_BYTES
INSERT_ONLY = (
    "silver.int_pos__loads_reconciled",
    "silver.stg_pos__inventory_changes",
    "silver.stg_pos__quarantine",
)
CHECKPOINT_COMMITS = 10
# Versions older than this cannot be opened any more, though their files are kept for whoever has
# them open. Each statement lists the logs that it reads, 5 microseconds a name, and takes in what
# their checkpoints still say of replaced files, 6 microseconds a file: with a quarter of an hour
# of either a tick took a quarter longer than with none. Shorter: an embedded engine's statement
# that plans for longer than this is refused.
LOG_SECONDS = 5 * 60
LOG_ENTRIES = 64  # and so many that are older, before they are removed
# The embedded engine writes a checksum beside each commit and reads none; Spark reads the newest.
# They are half of the names in a log, so that a list of it takes twice as long with them.
CHECKSUMS = 10  # the newest, which stay


@dataclass
class Upkeep:
    """What was done to one table."""

    table: str
    seconds: float = 0.0
    files_merged: int = 0
    files_written: int = 0
    files_removed: int = 0
    log_entries_removed: int = 0
    has_new_settings: bool = False
    has_new_checkpoint: bool = False
    problem: str | None = None

    @property
    def is_nothing(self) -> bool:
        """True when there was nothing to do."""
        return not (
            self.files_merged
            or self.files_removed
            or self.log_entries_removed
            or self.has_new_settings
            or self.has_new_checkpoint
            or self.problem
        )

    def __str__(self) -> str:
        done = [
            f"{self.files_merged:,} files merged into {self.files_written:,}"
            if self.files_merged
            else "",
            f"{self.files_removed:,} old files removed" if self.files_removed else "",
            f"{self.log_entries_removed:,} log entries removed" if self.log_entries_removed else "",
            "checkpoint written" if self.has_new_checkpoint else "",
            "retention set" if self.has_new_settings else "",
            f"failed: {self.problem}" if self.problem else "",
        ]
        what = ", ".join(part for part in done if part) or "nothing to do"
        return f"{self.table}: {what} ({self.seconds:.2f} s)"


@dataclass
class _Seen:
    """A table as it was when it was last looked at."""

    version: int
    again_at: float
    checkpoint: int = 0  # the version of the last one that was made here, of a table in a store
    unnamed_since: dict[str, float] = field(default_factory=dict)  # files, by path


@dataclass
class _Log:
    """What lies in a table's log folder."""

    commits: dict[int, str] = field(default_factory=dict)
    checkpoints: set[int] = field(default_factory=set)
    checksums: dict[int, str] = field(default_factory=dict)

    @property
    def entries(self) -> int:
        return len(self.commits) + len(self.checkpoints) + len(self.checksums)


class Maintenance:
    """Upkeep of one lakehouse, a little at a time; remembers which tables have changed since."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: dict[Place, _Seen] = {}
        self._retention = settings.retention_hours * 3600
        self._look_seconds = max(self._retention / 4, 1.0)
        # In a store the log says which files go: what lies there is not asked one by one.
        self._log_seconds = (
            min(self._retention, LOG_SECONDS) if settings.is_on_disk else self._retention
        )
        self._store_again_at = float("-inf")
        # The first is how long the log names what was replaced; when the files go, see below.
        self._properties = {
            "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
            "delta.deletedFileRetentionDuration": f"interval {self._log_seconds:.0f} seconds",
            "delta.logRetentionDuration": f"interval {self._log_seconds:.0f} seconds",
        }

    def due(self, commits: int = IDLE_COMMITS) -> list[tuple[str, Place]]:
        """Tables that have had so many commits since they were looked at, or none for long.

        Asks the file system for one name per table: nothing to do costs nothing. In a store, where
        a look is some requests, all of them once a minute, first whose last one is longest ago.
        """
        now = time.monotonic()
        found: list[tuple[str, Place]] = []
        if not self._settings.is_on_disk:
            if now < self._store_again_at:
                return []
            self._store_again_at = now + STORE_SECONDS
            found += [
                (f"{schema}.{name}", at) for schema, name, at in tables_in(self._settings.lakehouse)
            ]
            return sorted(found, key=lambda table: self._last_look(table[1]))
        for schema, name, path in tables_on_disk(self._settings.disk):
            seen = self._seen.get(path)
            if (
                seen is None
                or now >= seen.again_at
                or (path / "_delta_log" / f"{seen.version + commits:020}.json").exists()
            ):
                found.append((f"{schema}.{name}", path))
        return found

    def between_builds(self, session: SparkSession | None, *, is_idle: bool) -> list[Upkeep]:
        """Work for about `PASS_SECONDS` on what is due, unless somebody else has the turn to write.

        ``session`` is the embedded engine's, None on another target. Never raises: a table that
        cannot be maintained can be built, and is tried again later.
        """
        try:
            due = self.due(IDLE_COMMITS if is_idle else BUSY_COMMITS)
        except UserError as error:  # a store that does not answer
            return [Upkeep("the list of tables", problem=str(error))]
        if not due:
            return []
        try:
            with self._turn(session) as is_ours:
                return list(self._work(due, is_idle=is_idle)) if is_ours else []
        except Exception as error:
            return [Upkeep("the turn to write", problem=first_line(error))]

    def everything(self, session: SparkSession | None) -> Iterator[Upkeep]:
        """Look at every table, however long that takes; the turn is taken for each.

        :class:`UserError` where another process does so at this moment.
        """
        with only_holder(self._settings.state / "upkeep.lock", doing="maintaining the tables"):
            if session is not None:
                turns.end_own(session, turns.UPKEEP)
            for schema, name, path in tables_in(self._settings.lakehouse):
                with turns.waited_for(session, turns.UPKEEP) if session else nullcontext():
                    upkeep = self._look(f"{schema}.{name}", path, is_idle=True, is_by_hand=True)
                yield upkeep

    def _turn(self, session: SparkSession | None) -> AbstractContextManager[bool]:
        if self._settings.target != "local":
            return nullcontext(True)  # Delta refuses one of two that touch the same rows
        if session is None or engine.running(self._settings) is None:
            return nullcontext(False)  # the next build starts it
        return turns.taken(session, turns.SCHEDULE)

    def _last_look(self, table: Place) -> float:
        seen = self._seen.get(table)
        return float("-inf") if seen is None else seen.again_at

    def _work(self, due: Iterable[tuple[str, Place]], *, is_idle: bool) -> Iterator[Upkeep]:
        until = time.monotonic() + PASS_SECONDS
        for table, path in due:
            if time.monotonic() >= until:
                break
            upkeep = self._look(table, path, is_idle=is_idle)
            if not upkeep.is_nothing:
                yield upkeep

    def _look(self, name: str, path: Place, *, is_idle: bool, is_by_hand: bool = False) -> Upkeep:
        """Do to one table whatever there is to do."""
        started = time.monotonic()
        upkeep = Upkeep(name)
        # Before anything that may fail: what fails is not tried again at once.
        seen = self._seen.setdefault(path, _Seen(0, 0.0))
        seen.again_at = started + self._look_seconds
        try:
            with ExitStack() as stack:
                if name.startswith("bronze."):
                    try:
                        stack.enter_context(writers.streaming(self._settings))
                    except UserError:  # Spark commits there: theirs to keep, and nobody's beside it
                        return upkeep
                table = DeltaTable(str(path))
                seen.version = table.version()
                self._set_properties(table, upkeep)
                self._merge_files(table, upkeep, is_idle=is_idle)
                if isinstance(path, Path):
                    self._cut_log(table, path, upkeep)
                else:
                    self._cut_log_in_store(table, seen, upkeep)
                reach("upkeep.before_files_are_removed")
                if isinstance(path, Path):
                    self._remove_files(table, path, seen, upkeep, by_times=is_by_hand)
                else:
                    self._remove_files_in_store(table, upkeep)
                seen.version = table.version()
        except Exception as error:
            upkeep.problem = first_line(error)
        upkeep.seconds = time.monotonic() - started
        return upkeep

    def _set_properties(self, table: DeltaTable, upkeep: Upkeep) -> None:
        """Tell all writers how long to keep things: checkpoints name what may still be needed."""
        known = table.metadata().configuration
        if any(known.get(name) != value for name, value in self._properties.items()):
            reach("upkeep.before_settings")
            table.alter.set_table_properties(self._properties)
            upkeep.has_new_settings = True

    def _merge_files(self, table: DeltaTable, upkeep: Upkeep, *, is_idle: bool) -> None:
        sizes = _sizes(table)
        target = HOT_FILE_BYTES if upkeep.table in HOT else FILE_BYTES
        saved = _saved(sizes, target)
        if sum(saved.values()) < LEAST_SAVED:
            if upkeep.table not in INSERT_ONLY and not upkeep.table.startswith("bronze."):
                return
            # Seconds of work, once in so much data: when nobody waits, or when it has to be.
            saved, target = _saved(sizes, LARGE_FILE_BYTES), LARGE_FILE_BYTES
            if sum(saved.values()) < LEAST_SAVED * (1 if is_idle else 4):
                return
        reach("upkeep.before_merge")
        result = table.optimize.compact(
            partition_filters=_partitions_to_merge(table, sizes, saved, target),
            target_size=target,
        )
        upkeep.files_merged += result["numFilesRemoved"]
        upkeep.files_written += result["numFilesAdded"]

    def _cut_log(self, table: DeltaTable, path: Path, upkeep: Upkeep) -> None:
        folder = path / "_delta_log"
        before = _log_in(folder)
        if table.version() - max(before.checkpoints, default=-1) > CHECKPOINT_COMMITS:
            _checkpoint(table, upkeep)
        if _older_than(folder, before.commits, self._log_seconds) >= LOG_ENTRIES:
            reach("upkeep.before_log_is_cut")
            table.cleanup_metadata()  # up to the last checkpoint that is old enough
        # delta-rs knows nothing of checksums.
        for version in sorted(before.checksums)[:-CHECKSUMS]:
            with suppress(FileNotFoundError):
                (folder / before.checksums[version]).unlink()
        upkeep.log_entries_removed += max(0, before.entries - _log_in(folder).entries)

    def _cut_log_in_store(self, table: DeltaTable, seen: _Seen, upkeep: Upkeep) -> None:
        if table.version() - seen.checkpoint >= CHECKPOINT_COMMITS:
            _checkpoint(table, upkeep)
            table.cleanup_metadata()
            seen.checkpoint = table.version()

    def _remove_files_in_store(self, table: DeltaTable, upkeep: Upkeep) -> None:
        """Remove what the log has said for the retention to be replaced.

        What a commit has left behind that another one got in before stays: only a list of the whole
        table would show it.
        """
        hours = math.ceil(self._retention / 3600)
        removed = table.vacuum(hours, dry_run=False, enforce_retention_duration=False)
        upkeep.files_removed += len(removed)

    def _remove_files(
        self, table: DeltaTable, path: Path, seen: _Seen, upkeep: Upkeep, *, by_times: bool
    ) -> None:
        """Remove files that no version within the retention names, a killed writer's too.

        delta-rs says which files the log names no more; since when is remembered here. A look by
        hand remembers nothing, so it goes ``by_times``: those of their writing.
        """
        unnamed = table.vacuum(dry_run=True, full=True, enforce_retention_duration=False)
        now, wall = time.monotonic(), time.time()
        seen.unnamed_since = {name: seen.unnamed_since.get(name, now) for name in unnamed}
        rest = self._retention - self._log_seconds  # the log has named them for so long
        for name, since in seen.unnamed_since.items():
            file = path / name
            with suppress(FileNotFoundError):  # a checkpoint may still name what is gone
                is_old = by_times and wall - file.stat().st_mtime >= self._retention
                if is_old or now - since >= rest:
                    file.unlink()
                    reach("upkeep.between_removals")
                    upkeep.files_removed += 1


def _checkpoint(table: DeltaTable, upkeep: Upkeep) -> None:
    reach("upkeep.before_checkpoint")
    table.create_checkpoint()
    upkeep.has_new_checkpoint = True


def _sizes(table: DeltaTable) -> dict[str | None, list[int]]:
    """Sizes of the files, by partition; of a table without partitions by None."""
    files = pa.table(table.get_add_actions(flatten=True))
    columns = [f"partition.{name}" for name in table.metadata().partition_columns]
    keys = files[columns[0]].to_pylist() if len(columns) == 1 else [None] * files.num_rows
    sizes: dict[str | None, list[int]] = defaultdict(list)
    for key, size in zip(keys, files["size_bytes"].to_pylist(), strict=True):
        sizes[None if key is None else str(key)].append(size)
    return sizes


def _saved(sizes: dict[str | None, list[int]], target: int) -> dict[str | None, int]:
    """How many files fewer there would be in each partition, if small ones were merged."""
    return {
        key: _files_saved([size for size in of if size < target], target)
        for key, of in sizes.items()
    }


def _files_saved(small: list[int], target: int) -> int:
    """How many files fewer, if these were merged into some of size ``target``.

    >>> _files_saved([1, 1, 1, 1], 10), _files_saved([9, 9, 1], 10), _files_saved([], 10)
    (3, 1, 0)
    """
    return max(0, len(small) - max(1, math.ceil(sum(small) / target)))


def _partitions_to_merge(
    table: DeltaTable,
    sizes: dict[str | None, list[int]],
    saved: dict[str | None, int],
    target: int,
) -> list[tuple[str, str, list[str]]] | None:
    """Where most is saved, up to so many bytes that it does not take long; None if all is one."""
    columns = table.metadata().partition_columns
    if len(columns) != 1:
        return None
    chosen: list[str] = []
    written = 0
    for key in sorted(saved, key=lambda key: -saved[key]):
        written += sum(size for size in sizes[key] if size < target)
        if not saved[key] or key is None or (chosen and written > target):
            break
        chosen.append(key)
    return [(columns[0], "in", chosen)]


def _log_in(folder: Path) -> _Log:
    log = _Log()
    for name in os.listdir(folder):  # noqa: PTH208 - thousands of names, of which few are asked
        number, _, kind = name.partition(".")
        if len(number) != 20 or not number.isdigit():
            continue
        if kind == "json":
            log.commits[int(number)] = name
        elif kind == "crc":
            log.checksums[int(number)] = name
        elif kind.startswith("checkpoint"):
            log.checkpoints.add(int(number))
    return log


def _older_than(folder: Path, commits: dict[int, str], seconds: float) -> int:
    """How many commits are older than that; they are in order, so few have to be asked."""
    versions = sorted(commits)
    since = time.time() - seconds
    low, high = 0, len(versions)
    while low < high:
        middle = (low + high) // 2
        try:
            is_old = (folder / commits[versions[middle]]).stat().st_mtime < since
        except FileNotFoundError:
            is_old = True
        low, high = (middle + 1, high) if is_old else (low, middle)
    return low
