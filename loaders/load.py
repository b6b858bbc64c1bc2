"""The load: what has landed becomes bronze rows, each file exactly once.

Every commit is planned ahead in a small file (`loaders/plan.py`), then appended to the Delta table
together with an application transaction of the same number, then entered in the ledger.
After a kill at any point the plan says what was meant and the table's log says whether it
happened, so the next start finishes it: nothing twice, nothing lost.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError

from loaders.bronze import CONFIGURATION, SCHEMAS, header_of
from loaders.catalog import refusal_of_store
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.failpoints import reach
from loaders.files import append_durably, only_holder, write_atomically
from loaders.landing import FEEDS, MESSAGES, LandedFile, printable, scan
from loaders.parts import BEGINNING, HEADER_BYTES, Part, lines_at_most, part_after
from loaders.places import Place, Store
from loaders.plan import Plan, ReplacedError, read_part, rows_again, rows_of_files
from loaders.plan import batches as in_batches
from loaders.tables import StoredTable

# Bounds one commit's memory: the rows of so many bytes of input take a few times as much.
BATCH_BYTES = 64 * 1024 * 1024
BATCH_FILES = 5_000
# And how many lines a commit can be taken apart into, which bounds what a build holds: each line
# that is rejected costs the embedded engine 1.5 KB, however short it is.
BATCH_LINES = 1_000_000
# A file that is larger, or of more lines, is loaded in parts, a commit each.
PART_BYTES = 32 * 1024 * 1024
# How often a resident loader looks at each file that it has loaded. In between it trusts that
# another file under the same name has another inode, as one has that was put there by a rename.
WHOLE_SCAN_SECONDS = 60.0
# An engine reads a row group by one core. A batch in one group would leave the others idle.
ROW_GROUP_ROWS = 65_536
# At a commit that Delta refuses. It takes an append beside any other change of rows; only a change
# of the table's settings, which upkeep makes once, comes in between.
ATTEMPTS = 5
# In an object store, where each commit is made on top of the version that its number was read from:
# of several loaders one gets it, and the others take the next number. So many in a row lost to
# others are seconds of a table that somebody else has all the time.
ATTEMPTS_BESIDE_OTHERS = 100
PAUSE_BESIDE_OTHERS = 0.2  # seconds at most, by chance: so that two do not meet again and again


class Arrival(NamedTuple):
    """Something that was loaded: of which feed, when it landed (ns since 1970), and its name."""

    feed: str
    landed_ns: int
    source: str


@dataclass
class LoadReport:
    """What one call of the load did: rows by feed, what arrived when, warnings."""

    rows: dict[str, int] = field(default_factory=dict)
    commits: dict[str, list[int]] = field(default_factory=dict)  # their numbers, by feed
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
    makes ``ingest_id`` strictly increasing. In an object store, which no lock of one machine
    guards, there may be others with a state folder of their own: see `_commit_beside_others`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._done: dict[str, set[str]] = {}
        self._warned: set[str] = set()
        self._latest_us: int | None = None  # the latest landing in bronze
        self._begun: dict[str, tuple[LandedFile, Part]] = {}  # by feed, loaded up to a part's end
        self._settled: dict[str, int] = {}  # loaded files, by path and inode
        self._whole_scan_at = 0.0
        self.finished: list[Plan] = []  # what an interrupted call had begun
        self.commits: dict[str, int] = {}  # the latest to each feed

    def __enter__(self) -> Loader:
        self._lock = only_holder(self._settings.state / "loader.lock", doing="loading")
        self._lock.__enter__()
        try:
            create_bronze(self._settings)
            refuse_older_bronze(self._settings)
            for feed in FEEDS:
                self._mend_ledger(feed)
                self._done[feed] = ledger_of(self._settings, feed)
                if begun := begun_of(self._settings, feed):
                    self._begun[feed] = begun
                self.commits[feed] = last_number(self._settings, feed)
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
        if not self._settings.is_on_disk:
            self._look_at_others()
        floor_us = self._latest_us
        for feed in FEEDS:
            waiting = [file for file in found[feed] if file.identity not in self._done[feed]]
            planned = self._in_commits(feed, waiting, batch_bytes, report)
            for number, (files, part) in enumerate(planned):
                if number == batches:
                    report.is_partial = True
                    break
                self._commit(self._planned(feed, floor_us, files=files, part=part), report)
            done = self._done[feed]
            self._settled.update({f.path: f.inode for f in found[feed] if f.identity in done})
        return report

    def _in_commits(
        self, feed: str, waiting: list[LandedFile], batch_bytes: int, report: LoadReport
    ) -> Iterator[tuple[tuple[LandedFile, ...], Part | None]]:
        """What each of the next commits is to hold: files, or a part of one file.

        Asked for the next only when the one before is made: a part begins where that ended.
        """
        if feed in self._begun:  # first what has begun, so that there is never more than one
            begun, _ = self._begun[feed]
            if begun in waiting:
                yield from self._parts_of(feed, begun, report)
            else:
                self._forget_begun(feed, report)
            waiting = [file for file in waiting if file != begun]
        for files in in_batches(((file, file.size) for file in waiting), batch_bytes, BATCH_FILES):
            together: list[LandedFile] = []
            lines = 0
            for file in files:
                more = self._lines_at_most(feed, file)
                if together and lines + more > BATCH_LINES:
                    yield tuple(together), None
                    together, lines = [], 0
                if file.size > PART_BYTES or more > BATCH_LINES:
                    yield from self._parts_of(feed, file, report)
                    continue
                together.append(file)
                lines += more
            if together:
                yield tuple(together), None

    def _lines_at_most(self, feed: str, file: LandedFile) -> int:
        """About how many lines there can be in a file; not looked into where it is small."""
        if file.size > PART_BYTES:
            return BATCH_LINES
        most = file.size // 2 + 1
        if most <= BATCH_LINES // BATCH_FILES:
            return most
        try:
            return lines_at_most(feed, (self._settings.landing / file.path).read_bytes())
        except OSError:  # who reads it says so
            return most

    def _parts_of(
        self, feed: str, file: LandedFile, report: LoadReport
    ) -> Iterator[tuple[tuple[LandedFile], Part]]:
        """The parts of a file from where its last one ended; each is committed before the next."""
        _, before = self._begun.get(feed, (file, BEGINNING))
        landing = self._settings.landing
        width = None
        try:
            if feed != MESSAGES:
                head, _ = read_part(landing, file, 0, PART_BYTES)
                header, width = header_of(feed, head)
                before = replace(before, header=header[:HEADER_BYTES].decode("latin-1"))
            while not before.is_last:
                data, is_end = read_part(landing, file, before.end, PART_BYTES)
                part = part_after(feed, before, data, BATCH_LINES, width=width, is_end=is_end)
                yield (file,), part
                before = part
        except ReplacedError:  # between two parts: what it is now is another delivery
            self._forget_begun(feed, report)

    def load_again(self, feed: str, places: Iterable[int]) -> None:
        """Append the bronze rows at ``places`` once more, in one commit, as received now."""
        self._commit(self._planned(feed, self._latest_us, places=tuple(places)))

    def _planned(
        self,
        feed: str,
        floor_us: int | None,
        files: tuple[LandedFile, ...] = (),
        part: Part | None = None,
        places: tuple[int, ...] = (),
    ) -> Plan:
        """The next commit to a bronze table, written down."""
        number = self.commits[feed] + 1
        plan = Plan(feed, number, datetime.now(UTC), floor_us, files, part, places)
        reach("load.before_plan")
        write_atomically(plan_path(self._settings, feed), plan.to_json())
        return plan

    def _commit(self, plan: Plan, report: LoadReport | None = None) -> None:
        read: list[LandedFile] = []
        if plan.places:
            table = rows_again(plan, open_table(self._settings.table("bronze", plan.feed)))
        else:
            try:
                table, read = rows_of_files(plan, self._settings.landing)
            except ReplacedError:
                plan_path(self._settings, plan.feed).unlink()
                return
        plan, table = self._append(plan, table)
        self._close(plan, read)
        if report is not None:
            arrivals = [Arrival(plan.feed, file.modified_ns, file.path) for file in plan.files]
            enter(report, plan, table, arrivals)

    def _append(
        self, plan: Plan, table: pa.Table, positions: Sequence[Transaction] = ()
    ) -> tuple[Plan, pa.Table]:
        """One commit: rows, its number, and what else must move with them or not at all.

        Plan and rows as they were committed: beside other loaders, maybe under another number.
        """
        reach("load.before_commit")
        if self._settings.is_on_disk:
            number = Transaction(application(plan.feed), plan.ingest_id)
            _commit(self._settings.table("bronze", plan.feed), table, [number, *positions])
        else:
            plan, table = self._commit_beside_others(plan, table, positions)
        reach("load.after_commit")
        self.commits[plan.feed] = plan.ingest_id
        self._latest_us = _latest(self._latest_us, _as_us(pc.max(table["landed_at"])))
        return plan, table

    def _commit_beside_others(
        self, plan: Plan, table: pa.Table, positions: Sequence[Transaction]
    ) -> tuple[Plan, pa.Table]:
        """Append rows on top of the very version that their number was read from, or not at all.

        What makes numbers strictly increasing where no lock reaches: the store lets one writer put
        a version there. Whoever was late reads again and takes the next number.
        """
        path = self._settings.table("bronze", plan.feed)
        own = self._application(plan.feed)
        for attempt in range(ATTEMPTS_BESIDE_OTHERS):
            opened = open_table(path)
            # A put whose answer was lost is put again by the client, and refused: by our own.
            if attempt and (opened.transaction_version(own) or 0) >= plan.ingest_id:
                return plan, table
            if (last := number_in(opened, plan.feed)) >= plan.ingest_id:
                self._refuse_moved(opened, positions)
                self._look_at_others()
                plan, table = renumbered(plan, table, last + 1, self._latest_us)
                if plan_path(self._settings, plan.feed).exists():
                    write_atomically(plan_path(self._settings, plan.feed), plan.to_json())
            numbers = [Transaction(name, plan.ingest_id) for name in (application(plan.feed), own)]
            properties = CommitProperties(
                app_transactions=[*numbers, *positions], max_commit_retries=0
            )
            try:
                write_deltalake(
                    opened,
                    table,
                    mode="append",
                    writer_properties=WriterProperties(max_row_group_size=ROW_GROUP_ROWS),
                    commit_properties=properties,
                )
                return plan, table
            except CommitFailedError:
                time.sleep(random.uniform(0, PAUSE_BESIDE_OTHERS))
            except (DeltaError, OSError) as error:
                raise UserError(refusal_of_store(path, error)) from error
        raise UserError(
            f"{path} could not be written, others did so {ATTEMPTS_BESIDE_OTHERS} times before; "
            f"start again: nothing is lost"
        )

    def _refuse_moved(self, opened: DeltaTable, positions: Sequence[Transaction]) -> None:
        """For a loader whose positions are in the table: whether another one has moved them."""

    def _look_at_others(self) -> None:
        """Take over the numbers that others have used since, and what has landed with them."""
        numbers = {feed: last_number(self._settings, feed) for feed in FEEDS}
        if numbers != self.commits:
            self.commits = numbers
            landings = [_latest_landing_us(self._settings.table("bronze", feed)) for feed in FEEDS]
            self._latest_us = _latest(self._latest_us, *landings)

    def _application(self, feed: str) -> str:
        """Under which name Delta knows the commits of this loader, and of none beside it."""
        if self._settings.is_on_disk:
            return application(feed)
        path = self._settings.state / "loader.id"
        if not path.exists():
            write_atomically(path, str(uuid4()).encode())
        return f"{application(feed)}/{path.read_text()}"

    def _close(self, plan: Plan, read: Iterable[LandedFile] = ()) -> None:
        if plan.part is not None and not plan.part.is_last:
            self._begun[plan.feed] = plan.files[0], plan.part
            begun = {
                "ingest_id": plan.ingest_id,
                "file": asdict(plan.files[0]),
                "part": asdict(plan.part),
            }
            write_atomically(begun_path(self._settings, plan.feed), json.dumps(begun).encode())
        else:
            # A file put back or replaced since it was planned is the delivery that was read.
            identities = {file.identity for file in (*plan.files, *read)} - self._done[plan.feed]
            lines = "".join(f"{plan.ingest_id}\t{identity}\n" for identity in sorted(identities))
            append_durably(ledger_path(self._settings, plan.feed), lines.encode())
            self._done[plan.feed].update(identities)
            if plan.part is not None:
                self._begun.pop(plan.feed, None)
                begun_path(self._settings, plan.feed).unlink(missing_ok=True)
        reach("load.before_plan_is_removed")
        plan_path(self._settings, plan.feed).unlink()
        reach("load.after_plan_is_removed")

    def _finish_interrupted(self, feed: str) -> None:
        path = plan_path(self._settings, feed)
        if not path.exists():
            return
        plan = Plan.from_json(path.read_bytes())
        table = open_table(self._settings.table("bronze", feed))
        if (table.transaction_version(self._application(feed)) or 0) >= plan.ingest_id:
            self._close(plan)
        else:
            if self.commits[feed] >= plan.ingest_id:  # somebody else has taken the number since
                plan = replace(plan, ingest_id=self.commits[feed] + 1)
                write_atomically(path, plan.to_json())
            self._commit(plan)
        self.finished.append(plan)

    def _forget_begun(self, feed: str, report: LoadReport) -> None:
        """Of a file that was taken away or replaced after some of its parts were loaded."""
        if feed in self._begun:
            file, part = self._begun.pop(feed)
            report.warnings.append(
                f"{printable(file.path)}: was taken away or replaced while it was being loaded; "
                f"it is in bronze up to line {part.next_line - 1}"
            )
            begun_path(self._settings, feed).unlink(missing_ok=True)

    def _mend_ledger(self, feed: str) -> None:
        """Cut off a line that a kill left half written; its plan still stands."""
        path = ledger_path(self._settings, feed)
        if path.exists() and not (data := path.read_bytes()).endswith(b"\n") and data:
            write_atomically(path, data[: data.rfind(b"\n") + 1])

    def _warn_of(self, ignored: Iterable[str], report: LoadReport) -> None:
        for path in ignored:
            if path not in self._warned:
                self._warned.add(path)
                reason = (
                    "a half-written file; it is read once it is renamed"
                    if path.endswith((".tmp", ".part", ".partial"))
                    else "expected <pos>/changes/*.json, <pos>/counts/*.csv or "
                    "reference/items*.csv, as files and not as links"
                )
                report.warnings.append(f"{printable(path)}: not read: {reason}")


def create_bronze(settings: Settings) -> None:
    """Create the bronze tables that do not exist yet, empty, and the folder of what is remembered.

    That one is nobody else's to look into: dbt leaves its SQL there, with the key that employees'
    numbers are hashed with.
    """
    settings.state.mkdir(parents=True, exist_ok=True)  # a dbt by hand locks a file there
    settings.state.chmod(0o700)
    for feed, schema in SCHEMAS.items():
        path = settings.table("bronze", feed)
        if not is_table(path):
            try:
                DeltaTable.create(str(path), schema, mode="ignore", configuration=CONFIGURATION)
            except CommitFailedError:  # another loader has, in an object store
                if not is_table(path):
                    raise


def is_table(path: Place) -> bool:
    """Whether a Delta table lies there; :class:`UserError` for a store that does not answer."""
    try:
        return DeltaTable.is_deltatable(str(path))
    except (DeltaError, OSError) as error:
        raise UserError(refusal_of_store(path, error)) from error


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
    return {line.split("\t", 1)[1] for line in ledger_lines(settings, feed)}


def ledger_lines(settings: Settings, feed: str) -> list[str]:
    """The ledger of ``feed``: a loader's commit, a tab and the identity of a file, each."""
    path = ledger_path(settings, feed)
    if not path.exists():
        return []
    return path.read_text().split("\n")[:-1]  # what follows the last line end is half a line


def begun_of(settings: Settings, feed: str) -> tuple[LandedFile, Part] | None:
    """The file of ``feed`` that is in bronze up to the end of a part, and that part."""
    path = begun_path(settings, feed)
    if not path.exists():
        return None
    begun = json.loads(path.read_bytes())
    return LandedFile(**begun["file"]), Part(**begun["part"])


def _commit(path: Place, table: pa.Table, transactions: list[Transaction]) -> None:
    """Append rows in one commit that carries the numbers; :class:`UserError` if Delta will not."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            write_deltalake(
                str(path),
                table,
                mode="append",
                writer_properties=WriterProperties(max_row_group_size=ROW_GROUP_ROWS),
                commit_properties=CommitProperties(app_transactions=transactions),
            )
            return
        except CommitFailedError as error:
            if attempt == ATTEMPTS:
                raise UserError(
                    f"{path} could not be written, {attempt} times ({first_line(error)}); start "
                    f"again: what was to be loaded is planned and nothing is lost"
                ) from error


def open_table(path: Place) -> DeltaTable:
    """Open a Delta table; :class:`UserError` with advice when it cannot be read."""
    try:
        return StoredTable(str(path))
    except (DeltaError, OSError) as error:
        if isinstance(path, Store):
            raise UserError(refusal_of_store(path, error)) from error
        raise UserError(
            f"{path} is not a readable Delta table ({first_line(error)}); restore it from a "
            f"backup, or move the folder away and load again"
        ) from error


def ledger_path(settings: Settings, feed: str) -> Path:
    """The file that says which files of ``feed`` are in bronze."""
    return settings.state / f"{feed}.ledger.tsv"


def plan_path(settings: Settings, feed: str) -> Path:
    """The file that says what the commit to ``feed`` is to hold that is being made."""
    return settings.state / f"{feed}.plan.json"


def begun_path(settings: Settings, feed: str) -> Path:
    """The file that says which file is in bronze up to the end of a part, and of which."""
    return settings.state / f"{feed}.begun.json"


def last_number(settings: Settings, feed: str) -> int:
    """The number of the last commit to a bronze table, by whichever loader.

    That of a commit without rows is only known to Delta as ours; the commits of `pos stream` are
    not ours, and known by their rows, of which the log has the largest number.
    """
    return number_in(open_table(settings.table("bronze", feed)), feed)


def number_in(table: DeltaTable, feed: str) -> int:
    """The same, of a table that is open."""
    ours = table.transaction_version(application(feed)) or 0
    files = pa.table(table.get_add_actions(flatten=True))
    if "max.ingest_id" not in files.column_names:
        return ours
    return max(ours, pc.max(files["max.ingest_id"]).as_py() or 0)


def renumbered(
    plan: Plan, table: pa.Table, number: int, floor_us: int | None
) -> tuple[Plan, pa.Table]:
    """A plan and its rows under another number, landed after all that others have loaded since."""
    plan = replace(plan, ingest_id=number, floor_us=_latest(plan.floor_us, floor_us))
    landed = table["landed_at"].cast(pa.int64()).to_pylist()
    columns = {
        "ingest_id": [number] * table.num_rows,
        "landed_at": [plan.landed_us(at) for at in landed],
    }
    for name, values in columns.items():
        position = table.schema.get_field_index(name)
        field = table.schema.field(position)
        table = table.set_column(position, field, pa.array(values, pa.int64()).cast(field.type))
    return plan, table


def _latest_landing_us(path: Place) -> int | None:
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


def application(feed: str) -> str:
    """The name under which Delta knows the commits of the load to ``feed``."""
    return f"pos-load/{feed}"


def enter(report: LoadReport, plan: Plan, table: pa.Table, arrivals: Iterable[Arrival]) -> None:
    """Enter one commit and its rows into the report of the call."""
    report.rows[plan.feed] = report.rows.get(plan.feed, 0) + table.num_rows
    report.commits.setdefault(plan.feed, []).append(plan.ingest_id)
    report.arrivals.extend(arrivals)
    if "defect" in table.column_names:
        report.warnings.extend(_defects(table))


def _defects(table: pa.Table) -> list[str]:
    """One sentence per file that has rows with a defect: the first of them and how many."""
    defective = (
        table.select(["source_file", "source_line", "defect"])
        .filter(pc.is_valid(table["defect"]))
        .to_pylist()
    )
    by_file: dict[str, list[dict[str, object]]] = {}
    for row in defective:
        by_file.setdefault(str(row["source_file"]), []).append(row)
    return [
        f"{path}, line {rows[0]['source_line']}: {rows[0]['defect']} "
        f"({len(rows)} rows go to quarantine)"
        for path, rows in by_file.items()
    ]
