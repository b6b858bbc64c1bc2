"""The load: what has landed becomes bronze rows, each file exactly once.

Every commit is planned ahead in a small file (`loaders/plan.py`), then appended to the Delta table
together with an application transaction of the same number, then entered in the ledger.
After a kill at any point the plan says what was meant and the table's log says whether it
happened, so the next start finishes it: nothing twice, nothing lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError

from loaders.bronze import CONFIGURATION, SCHEMAS
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.files import append_durably, only_holder, write_atomically
from loaders.landing import FEEDS, LandedFile, scan
from loaders.plan import Plan, rows_again, rows_of_files
from loaders.plan import batches as in_batches

# Bounds one commit's memory: the rows of so many bytes of input take a few times as much.
BATCH_BYTES = 64 * 1024 * 1024
BATCH_FILES = 5_000
# How often a resident loader looks at each file that it has loaded. In between it trusts that
# another file under the same name has another inode, as one has that was put there by a rename.
WHOLE_SCAN_SECONDS = 60.0
# An engine reads a row group by one core. A batch in one group would leave the others idle.
ROW_GROUP_ROWS = 65_536


class Arrival(NamedTuple):
    """Something that was loaded: of which feed, and when it landed (ns since 1970)."""

    feed: str
    landed_ns: int


@dataclass
class LoadReport:
    """What one call of the load did: rows by feed, what arrived when, warnings."""

    rows: dict[str, int] = field(default_factory=dict)
    arrivals: list[Arrival] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    is_partial: bool = False  # more has landed than was asked for

    @property
    def is_empty(self) -> bool:
        """True when nothing new had landed."""
        return not self.arrivals


class Loader:
    """Loads one landing folder into one lakehouse; holds the ledger in memory between calls.

    Use as a context manager: the lock taken on entry keeps a second loader out, which is what
    makes ``ingest_id`` strictly increasing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._done: dict[str, set[str]] = {}
        self._warned: set[str] = set()
        self._latest_us: int | None = None  # the latest landing in bronze
        self._settled: dict[str, int] = {}  # loaded files, by path and inode
        self._whole_scan_at = 0.0
        self.finished: list[Plan] = []  # what an interrupted call had begun

    def __enter__(self) -> Loader:
        self._lock = only_holder(self._settings.state / "loader.lock", doing="loading")
        self._lock.__enter__()
        try:
            create_bronze(self._settings)
            refuse_older_bronze(self._settings)
            for feed in FEEDS:
                self._mend_ledger(feed)
                self._done[feed] = ledger_of(self._settings, feed)
                self._finish_interrupted(feed)
            landings = [_latest_landing_us(self._settings.table("bronze", feed)) for feed in FEEDS]
            self._latest_us = _latest(*landings)
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._lock.__exit__(None, None, None)

    def load(self, *, batch_bytes: int = BATCH_BYTES, batches: int | None = None) -> LoadReport:
        """Load what has landed, oldest first, in commits of at most about ``batch_bytes``.

        ``batches`` bounds the number of commits per feed (``None``: until nothing is left).
        """
        report = LoadReport()
        if time.monotonic() >= self._whole_scan_at:
            self._settled.clear()
            self._whole_scan_at = time.monotonic() + WHOLE_SCAN_SECONDS
        found, ignored = scan(self._settings.landing, self._settled)
        self._warn_of(ignored, report)
        floor_us = self._latest_us
        for feed in FEEDS:
            waiting = [file for file in found[feed] if file.identity not in self._done[feed]]
            sized = ((file, file.size) for file in waiting)
            for number, files in enumerate(in_batches(sized, batch_bytes, BATCH_FILES)):
                if number == batches:
                    report.is_partial = True
                    break
                self._commit(self._planned(feed, floor_us, files=tuple(files)), report)
            done = self._done[feed]
            self._settled.update({f.path: f.inode for f in found[feed] if f.identity in done})
        return report

    def load_again(self, feed: str, places: Iterable[int]) -> None:
        """Append the bronze rows at ``places`` once more, in one commit, as received now."""
        self._commit(self._planned(feed, self._latest_us, places=tuple(places)))

    def _planned(
        self,
        feed: str,
        floor_us: int | None,
        files: tuple[LandedFile, ...] = (),
        places: tuple[int, ...] = (),
    ) -> Plan:
        """The next commit to a bronze table, written down."""
        number = self._last_ingest_id(feed) + 1
        plan = Plan(feed, number, datetime.now(UTC), floor_us, files, places)
        write_atomically(self._plan_path(feed), plan.to_json())
        return plan

    def _commit(self, plan: Plan, report: LoadReport | None = None) -> None:
        read: list[LandedFile] = []
        if plan.places:
            table = rows_again(plan, open_table(self._settings.table("bronze", plan.feed)))
        else:
            table, read = rows_of_files(plan, self._settings.landing)
        self._append(plan, table)
        self._close(plan, read)
        if report is not None:
            arrivals = [Arrival(plan.feed, file.modified_ns) for file in plan.files]
            enter(report, plan.feed, table, arrivals)

    def _append(self, plan: Plan, table: pa.Table, positions: Iterable[Transaction] = ()) -> None:
        """One commit: rows, its number, and what else must move with them or not at all."""
        number = Transaction(_application(plan.feed), plan.ingest_id)
        write_deltalake(
            str(self._settings.table("bronze", plan.feed)),
            table,
            mode="append",
            writer_properties=WriterProperties(max_row_group_size=ROW_GROUP_ROWS),
            commit_properties=CommitProperties(app_transactions=[number, *positions]),
        )
        self._latest_us = _latest(self._latest_us, _as_us(pc.max(table["landed_at"])))

    def _close(self, plan: Plan, read: Iterable[LandedFile] = ()) -> None:
        # A file put back or replaced since it was planned is the delivery that was read.
        identities = {file.identity for file in (*plan.files, *read)} - self._done[plan.feed]
        lines = "".join(f"{plan.ingest_id}\t{identity}\n" for identity in sorted(identities))
        append_durably(_ledger_path(self._settings, plan.feed), lines.encode())
        self._done[plan.feed].update(identities)
        self._plan_path(plan.feed).unlink()

    def _finish_interrupted(self, feed: str) -> None:
        path = self._plan_path(feed)
        if not path.exists():
            return
        plan = Plan.from_json(path.read_bytes())
        if self._last_ingest_id(feed) >= plan.ingest_id:
            self._close(plan)
        else:
            self._commit(plan)
        self.finished.append(plan)

    def _last_ingest_id(self, feed: str) -> int:
        table = open_table(self._settings.table("bronze", feed))
        return table.transaction_version(_application(feed)) or 0

    def _mend_ledger(self, feed: str) -> None:
        """Cut off a line that a kill left half written; its plan still stands."""
        path = _ledger_path(self._settings, feed)
        if path.exists() and not (data := path.read_bytes()).endswith(b"\n") and data:
            write_atomically(path, data[: data.rfind(b"\n") + 1])

    def _plan_path(self, feed: str) -> Path:
        return self._settings.state / f"{feed}.plan.json"

    def _warn_of(self, ignored: Iterable[str], report: LoadReport) -> None:
        for path in ignored:
            if path not in self._warned:
                self._warned.add(path)
                reason = (
                    "a half-written file; it is read once it is renamed"
                    if path.endswith((".tmp", ".part", ".partial"))
                    else "expected <pos>/changes/*.json, <pos>/counts/*.csv or reference/items*.csv"
                )
                report.warnings.append(f"{path}: not read: {reason}")


def create_bronze(settings: Settings) -> None:
    """Create the bronze tables that do not exist yet, empty."""
    for feed, schema in SCHEMAS.items():
        path = settings.table("bronze", feed)
        if not DeltaTable.is_deltatable(str(path)):
            DeltaTable.create(str(path), schema, mode="ignore", configuration=CONFIGURATION)


def refuse_older_bronze(settings: Settings) -> None:
    """:class:`UserError` where a bronze table lacks a column that is written today."""
    for feed, schema in SCHEMAS.items():
        path = settings.table("bronze", feed)
        known = {field.name for field in open_table(path).schema().fields}
        if missing := [name for name in schema.names if name not in known]:
            raise UserError(
                f"{path} has no {missing[0]}: the lakehouse {settings.lakehouse} was made by an "
                f"older version; move it away and load again from {settings.landing}"
            )


def ledger_of(settings: Settings, feed: str) -> set[str]:
    """The identities of the files of ``feed`` that are in bronze."""
    path = _ledger_path(settings, feed)
    if not path.exists():
        return set()
    lines = path.read_text().split("\n")[:-1]  # what follows the last line end is half a line
    return {line.split("\t", 1)[1] for line in lines}


def open_table(path: Path) -> DeltaTable:
    """Open a Delta table; :class:`UserError` with advice when it cannot be read."""
    try:
        return DeltaTable(str(path))
    except (DeltaError, OSError) as error:
        raise UserError(
            f"{path} is not a readable Delta table ({first_line(error)}); restore it from a "
            f"backup, or move the folder away and load again"
        ) from error


def _ledger_path(settings: Settings, feed: str) -> Path:
    return settings.state / f"{feed}.ledger.tsv"


def _latest_landing_us(path: Path) -> int | None:
    """The latest ``landed_at`` of a bronze table, from the files that may hold it.

    The log's own maximum is cut to milliseconds, so it only says where to look.
    """
    table = open_table(path)
    files = pa.table(table.get_add_actions(flatten=True))
    files = files.filter(pc.greater(files["num_records"], 0))
    if not files.num_rows:
        return None
    since = pc.field("landed_at") >= pc.max(files["max.landed_at"])
    landings = table.to_pyarrow_dataset().to_table(columns=["landed_at"], filter=since)
    return _as_us(pc.max(landings["landed_at"]))


def _as_us(time: pa.Scalar) -> int | None:
    microseconds = time.cast(pa.int64()).as_py()
    return None if microseconds is None else int(microseconds)


def _latest(*landings: int | None) -> int | None:
    return max((landing for landing in landings if landing is not None), default=None)


def _application(feed: str) -> str:
    return f"pos-load/{feed}"


def enter(report: LoadReport, feed: str, table: pa.Table, arrivals: Iterable[Arrival]) -> None:
    """Enter one commit's rows into the report of the call."""
    report.rows[feed] = report.rows.get(feed, 0) + table.num_rows
    report.arrivals.extend(arrivals)
    if "defect" in table.column_names:
        report.warnings.extend(_defects(table))


def _defects(table: pa.Table) -> list[str]:
    """One sentence per file that has rows with a defect: the first of them and how many."""
    defective = table.filter(pc.is_valid(table["defect"])).to_pylist()
    by_file: dict[str, list[dict[str, object]]] = {}
    for row in defective:
        by_file.setdefault(str(row["source_file"]), []).append(row)
    return [
        f"{path}, line {rows[0]['source_line']}: {rows[0]['defect']} "
        f"({len(rows)} rows go to quarantine)"
        for path, rows in by_file.items()
    ]
