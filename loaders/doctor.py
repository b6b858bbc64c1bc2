"""The doctor: everything that may be wrong with a lakehouse and the machine under it.

Looks and changes nothing; asks neither the engine nor dbt, so that it works when they do not. Each
finding that is a problem says what to do, and has a section in `profiles/RUNBOOK.md`.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from loaders import engine
from loaders.bronze import CONFIGURATION
from loaders.catalog import tables_in, tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.freshness import freshness_of, plain
from loaders.java import java_home_or_advice
from loaders.journal import entries
from loaders.landing import FEEDS, MESSAGES, scan
from loaders.load import last_number, ledger_of, plan_path
from loaders.places import Place
from loaders.points import points_of
from loaders.servers import is_taken
from loaders.tables import StoredTable
from loaders.unfinished import unfinished

OK = "ok"
NOTE = "note"
PROBLEM = "PROBLEM"

# Below this a build may fail for want of room: a full count writes some 100 MB, an hour of ticks
# leaves 6 GB behind (loaders/config.py). Less: nobody is warned in time. More: small disks never
# pass.
LEAST_FREE = 2_000_000_000
# What has landed and is not in bronze, or in bronze and not built, for longer than this waits too
# long: a tick takes seconds. Less: a large build raises it.
WAIT_SECONDS = 300.0
LOOPBACK = ("0100007F", "00000000000000000000000001000000")  # as /proc/net has them


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do where it is not well."""

    about: str
    state: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:7} {self.about}: {self.text}" + (
            f"; {self.advice}" if self.advice else ""
        )


def examined(settings: Settings) -> Iterator[Finding]:
    """All findings. An examination that fails is a problem, and not the end of the others."""
    for examine in EXAMINATIONS:
        try:
            yield from examine(settings)
        except Exception as error:
            yield Finding(
                examine.__name__.lstrip("_").replace("_", " "),
                PROBLEM,
                f"could not be examined ({first_line(error)})",
            )


def _versions(settings: Settings) -> Iterator[Finding]:
    yield Finding("python", OK, ".".join(map(str, sys.version_info[:3])))
    lock = settings.project / "requirements.lock"
    if not lock.exists():
        yield Finding("packages", NOTE, f"no {lock} to hold the installed ones against")
        return
    pinned = dict(re.findall(r"^([a-z0-9_.-]+)(?:\[[^\]]*\])?==([^ ;]+)", lock.read_text(), re.M))
    wanted = ("dbt-core", "dbt-spark", "pysail", "pyspark", "deltalake", "pyarrow")
    found = {name: _installed(name) for name in wanted}
    for name, version in found.items():
        if version != pinned.get(name):
            yield Finding(
                "packages",
                PROBLEM,
                f"{name} is {version}, the lock says {pinned.get(name)}",
                "run: make setup",
            )
    yield Finding("packages", OK, ", ".join(f"{name} {found[name]}" for name in wanted))


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _java(settings: Settings) -> Iterator[Finding]:
    try:
        yield Finding("java", OK, str(java_home_or_advice()))
    except UserError as error:
        state = PROBLEM if settings.target == "spark" else NOTE
        yield Finding("java", state, f"{error} (only for the target spark and pos sql-server)")


def _disk(settings: Settings) -> Iterator[Finding]:
    wanted = settings.lakehouse if isinstance(settings.lakehouse, Path) else settings.state
    place = wanted
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    said = f"{free / 1e9:,.1f} GB free for {wanted}"
    if free < LEAST_FREE:
        yield Finding(
            "disk",
            PROBLEM,
            said,
            "make room: pos maintain removes what no reader needs, old "
            f"restore points lie in {settings.state / 'points'}",
        )
    else:
        yield Finding("disk", OK, said)


def _modes(settings: Settings) -> Iterator[Finding]:
    """Nobody else may write: whoever can put a file into a table decides what is in stock."""
    places = [settings.state, settings.state / "logs", settings.landing]
    if isinstance(settings.lakehouse, Path):
        places.insert(0, settings.lakehouse)
        places += [path for _, _, path in tables_on_disk(settings.lakehouse)]
    open_to_all = [path for path in places if path.exists() and path.stat().st_mode & stat.S_IWOTH]
    for path in open_to_all:
        yield Finding(
            "file modes",
            PROBLEM,
            f"everybody on this machine may write {path}",
            f"run: chmod o-w {path}, and set umask 027 where pos is started",
        )
    if settings.state.exists() and settings.state.stat().st_mode & stat.S_IRWXO:
        yield Finding(
            "file modes",
            PROBLEM,
            f"everybody on this machine may look into {settings.state}, where compiled SQL has the "
            f"employees' hash key",
            f"run: chmod o-rwx {settings.state}",
        )
    elif not open_to_all:
        yield Finding("file modes", OK, "nobody else may write")


def _secrets(_settings: Settings) -> Iterator[Finding]:
    if os.environ.get("POS_EMPLOYEE_HASH_KEY"):
        yield Finding("employees' key", OK, "POS_EMPLOYEE_HASH_KEY is set")
    else:
        yield Finding(
            "employees' key",
            NOTE,
            "POS_EMPLOYEE_HASH_KEY is not set: the key is a known default",
            "for real data set it before the first build: openssl rand -hex 32",
        )


def _engine(settings: Settings) -> Iterator[Finding]:
    try:
        running = engine.running(settings)
    except UserError as error:
        yield Finding("engine", PROBLEM, str(error))
        return
    if running is None and is_taken(settings.port):
        yield Finding(
            "engine",
            PROBLEM,
            f"port {settings.port} is another program's",
            "choose another with --port or POS_PORT",
        )
        return
    if running is None:
        yield Finding("engine", OK, f"not running; port {settings.port} is free")
        return
    strangers = [address for address in listening(running.port) if address not in LOOPBACK]
    if strangers:
        yield Finding(
            "engine",
            PROBLEM,
            f"port {running.port} can be reached from other machines, and the "
            f"engine asks nobody for a password",
            "run: pos down, then pos up",
        )
    else:
        yield Finding("engine", OK, f"127.0.0.1:{running.port}, loopback only, pid {running.pid}")


def listening(port: int) -> list[str]:
    """Addresses that something listens on at a port, as the kernel writes them; Linux only."""
    found = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                address, _, number = fields[1].partition(":")
                if int(number, 16) == port and fields[3] == "0A":
                    found.append(address)
    return found


def _tables(settings: Settings) -> Iterator[Finding]:
    if (point := unfinished(settings)) is not None:
        yield Finding(
            "tables", PROBLEM, "a rollback was interrupted", f"run: pos rollback --to {point}"
        )
    count = files = 0
    for schema, name, path in tables_in(settings.lakehouse):
        count += 1
        problem, checked = _problem_of(path)
        files += checked
        if problem:
            advice = (
                "restore the lakehouse: pos restore"
                if schema == "bronze"
                else "put it back: pos rollback, or pos restore"
            )
            yield Finding("tables", PROBLEM, f"{schema}.{name}: {problem}", advice)
    yield Finding("tables", OK, f"{count} tables and {files:,} data files examined")
    for feed in FEEDS:
        path = settings.table("bronze", feed)
        if DeltaTable.is_deltatable(str(path)):
            known = DeltaTable(str(path)).metadata().configuration
            if known.get("delta.appendOnly") != CONFIGURATION["delta.appendOnly"]:
                yield Finding(
                    "tables",
                    PROBLEM,
                    f"bronze.{feed} is not append-only: a retention was killed",
                    "run it again: pos retain",
                )


def _problem_of(path: Place) -> tuple[str, int]:
    """What is wrong with a table, empty if nothing; and how many files were looked at: of a table
    in an object store none, which would be a request for each."""
    try:
        table = DeltaTable(str(path))
        adds = pa.table(table.get_add_actions(flatten=True))
    except (DeltaError, OSError) as error:
        return f"does not open ({first_line(error)})", 0
    if not isinstance(path, Path):
        return "", 0
    gap = _gap(path / "_delta_log", table.version())
    if gap is not None:
        return f"its log has no version {gap}", 0
    for name, size in zip(adds["path"].to_pylist(), adds["size_bytes"].to_pylist(), strict=True):
        try:
            found = (path / name).stat().st_size
        except FileNotFoundError:
            return f"the data file {name} is gone", adds.num_rows
        if found != size:
            return f"the data file {name} has {found:,} bytes, not {size:,}", adds.num_rows
    return "", adds.num_rows


def _gap(log: Path, version: int) -> int | None:
    """The first version between the last checkpoint and the newest that the log has not."""
    commits, checkpoints = set(), [0]
    for file in log.iterdir():
        number, _, kind = file.name.partition(".")
        if len(number) == 20 and number.isdigit():
            if kind == "json":
                commits.add(int(number))
            elif kind.startswith("checkpoint") and int(number) <= version:
                checkpoints.append(int(number) + 1)
    return min((n for n in range(max(checkpoints), version + 1) if n not in commits), default=None)


def _conservation(settings: Settings) -> Iterator[Finding]:
    """Rule 7, from the books: received = kept + duplicate + quarantined, and no commit left out."""
    path = settings.table("silver", "int_pos__loads_reconciled")
    if not DeltaTable.is_deltatable(str(path)):
        yield Finding("conservation", NOTE, "nothing was built yet", "run: pos run")
        return
    names = ["source", "_ingest_id", "lines_received", "lines_kept", "lines_duplicate"]
    books = StoredTable(str(path)).to_pyarrow_table(columns=[*names, "lines_quarantined"])
    accounted = pc.add(
        pc.add(books["lines_kept"], books["lines_duplicate"]), books["lines_quarantined"]
    )
    wrong = books.filter(pc.not_equal(books["lines_received"], accounted))
    for row in wrong.slice(0, 5).to_pylist():
        yield Finding(
            "conservation",
            PROBLEM,
            f"commit {row['_ingest_id']} of {row['source']}: {row['lines_received']} lines "
            f"received, {row['lines_kept']} kept, {row['lines_duplicate']} duplicate, "
            f"{row['lines_quarantined']} quarantined",
            "see RUNBOOK.md, lines that are not accounted for",
        )
    for feed in FEEDS:
        table = settings.table("bronze", feed)
        if not DeltaTable.is_deltatable(str(table)):
            continue
        rows = StoredTable(str(table)).to_pyarrow_dataset().to_table(columns=["ingest_id"])
        booked = books.filter(pc.equal(books["source"], feed))["_ingest_id"]
        through = pc.max(booked).as_py() or 0
        commits = pc.unique(rows["ingest_id"])
        due = commits.filter(pc.less_equal(commits, through))
        left_out = due.filter(pc.invert(pc.is_in(due, booked.combine_chunks())))
        if len(left_out):
            yield Finding(
                "conservation",
                PROBLEM,
                f"commit {left_out[0]} of {feed} and {len(left_out) - 1} more are not in the books",
                "see RUNBOOK.md, lines that are not accounted for",
            )
    if not wrong.num_rows:
        received = pc.sum(books["lines_received"]).as_py() or 0
        yield Finding("conservation", OK, f"{received:,} lines received, each accounted for")


def _load(settings: Settings) -> Iterator[Finding]:
    """What waits, and whether the load's memory and bronze agree."""
    found, _ = scan(settings.landing)
    now = time.time()
    for feed in FEEDS:
        done = ledger_of(settings, feed)
        waiting = [file for file in found[feed] if file.identity not in done]
        oldest = now - min((file.modified_ns for file in waiting), default=0) / 1e9
        if waiting and oldest > WAIT_SECONDS:
            yield Finding(
                "load",
                PROBLEM,
                f"{len(waiting):,} files of {feed} wait, the oldest {oldest / 60:,.0f} minutes",
                "start it: pos run; see what it says",
            )
        elif waiting:
            yield Finding("load", OK, f"{len(waiting):,} files of {feed} wait")
        plan = plan_path(settings, feed)
        if plan.exists() and now - plan.stat().st_mtime > WAIT_SECONDS:
            yield Finding(
                "load",
                PROBLEM,
                f"a commit to {feed} was begun and not finished",
                "the next load finishes it: pos run",
            )


def _lag(settings: Settings) -> Iterator[Finding]:
    """Bronze against the books, and how fresh the sources are."""
    path = settings.table("silver", "int_pos__loads_reconciled")
    bronze = settings.table("bronze", MESSAGES)
    if DeltaTable.is_deltatable(str(path)) and DeltaTable.is_deltatable(str(bronze)):
        table = DeltaTable(str(bronze))
        received = last_number(settings, MESSAGES)
        books = StoredTable(str(path)).to_pyarrow_table(
            columns=["_ingest_id"], filters=[("source", "=", MESSAGES)]
        )
        behind = received - (pc.max(books["_ingest_id"]).as_py() or 0)
        written = datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)
        waits = (datetime.now(UTC) - written).total_seconds()
        if behind > 0 and waits > WAIT_SECONDS:
            yield Finding(
                "lag",
                PROBLEM,
                f"{behind:,} commits of messages are in bronze and not built, for "
                f"{waits / 60:,.0f} minutes",
                "start it: pos run; see what it says",
            )
        else:
            yield Finding("lag", OK, f"{max(behind, 0):,} commits of messages not built")
    for source in freshness_of(settings):
        yield Finding(
            "sources",
            NOTE if source.is_stale else OK,
            str(source),
            "are the tills silent, or their gateway?" if source.is_stale else "",
        )


def _builds(settings: Settings) -> Iterator[Finding]:
    builds = (entry for entry in entries(settings) if entry.get("event") == "built")
    last = [entry for _, entry in zip(range(20), builds, strict=False)]
    if not last:
        yield Finding("builds", NOTE, "no build is in the journal")
        return
    failed = sum(not entry["succeeded"] for entry in last)
    said = f"last {last[0]['at']}, {last[0]['seconds']} s; {failed} of the last {len(last)} failed"
    if not last[0]["succeeded"]:
        why = (last[0]["failures"] or ["it does not say why"])[0]
        yield Finding("builds", PROBLEM, f"{said}: {why[:300]}", "see RUNBOOK.md, a build fails")
    else:
        yield Finding("builds", OK, said)


def _points(settings: Settings) -> Iterator[Finding]:
    if not settings.is_on_disk:
        yield Finding("restore points", NOTE, "none in an object store; has the bucket versions?")
        return
    points = points_of(settings)
    if not points:
        yield Finding("restore points", NOTE, "none yet; pos run makes one every 15 minutes")
        return
    age = datetime.now(UTC) - points[-1].made_at
    yield Finding("restore points", OK, f"{len(points)}, the newest {plain(age)} old")


EXAMINATIONS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    *(_versions, _java, _disk, _modes, _secrets, _engine),
    *(_tables, _conservation, _load, _lag, _builds, _points),
)
