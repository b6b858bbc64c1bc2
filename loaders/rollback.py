"""The rollback: all that was built goes back to a restore point; the next build goes on from it.

Bronze never goes back. Each built table keeps its cursor in its rows, so what a bad build made of
bronze is made once more by the next. A table goes back by one Delta commit (RESTORE), so its
version goes up, and whoever reads it sees the old or the new state whole. Between two tables there
is no such promise: a file says that a rollback is under way until it is done, and until it is
repeated nothing is built. What the undone builds had published (restatements, alerts) is gone too.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from loaders import engine, turns
from loaders.catalog import tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.files import only_holder, write_atomically
from loaders.points import (
    BUILT,
    Point,
    chosen,
    files_of,
    link,
    log_of,
    make,
    points_folder,
    points_of,
)
from loaders.unfinished import mark, unfinished


@dataclass
class Report:
    """What a rollback did, by the names of tables."""

    point: Point
    undone_by: Point | None  # keeps what was there before
    restored: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)  # in the folder below
    aside: Path | None = None


def roll_back(settings: Settings, at: str) -> Report:
    """Put silver and gold back to the newest restore point not after ``at`` (UTC).

    Safe to be killed and started again. :class:`UserError` while a schedule runs, or without such a
    point. The embedded engine is ended: it starts again with the next build.
    """
    lakehouse = settings.disk
    with only_holder(settings.state / "schedule.lock", doing="building or rolling back"):
        point = chosen(points_of(settings), at, "restore point")
        _end_engine(settings)
        before = None
        if unfinished(settings) is None:
            with suppress(
                UserError
            ):  # a table that is broken cannot be kept, and is what this mends
                before = make(settings, points_folder(settings), BUILT)
        write_atomically(mark(settings), json.dumps({"to": point.name}).encode())
        report = Report(point, before, aside=settings.state / "set_aside" / point.name)
        for table, version in point.versions.items():
            schema, name = table.split(".")
            _put_back(lakehouse / schema / name, point.folder / schema / name, version, report)
        for schema, name, path in list(tables_on_disk(lakehouse)):
            # What the undone builds have made anew would be ahead of what it is made of.
            if schema in BUILT and f"{schema}.{name}" not in point.versions:
                _set_aside(path, report)
        mark(settings).unlink()
    return report


def _end_engine(settings: Settings) -> None:
    """End the engine once nobody is building with it: it would go on with tables that are gone."""
    if settings.target != "local" or engine.running(settings) is None:
        return
    session = engine.connect(settings)
    turns.wait_and_take(session, turns.BY_HAND)  # a turn ends with the engine
    engine.down(settings)


def _put_back(path: Path, kept: Path, version: int, report: Report) -> None:
    """Make a table what it was; by one commit if it can be, else by a folder in its place."""
    name = f"{path.parent.name}.{path.name}"
    try:
        table = DeltaTable(str(path))
        is_same = _logs_agree(path, kept, version) and table.version() >= version
    except (DeltaError, OSError):
        is_same = False
    if not is_same:  # destroyed, or made anew since: its versions are others
        _set_aside(path, report)
        _copy_links(kept, path)
        report.restored.append(name)
        return
    if table.version() == version:
        report.unchanged.append(name)
        return
    old = DeltaTable(str(kept), version=version)
    for file in files_of(old, kept):
        link(kept / file, path / file)
    again = []
    for log in log_of(kept, version):
        target = path / "_delta_log" / log.name
        if not target.exists():
            link(log, target)
            again.append(target)
    try:
        table.restore(version, protocol_downgrade_allowed=True)
        # What lies below the new checkpoint is read no more, and has gaps.
        DeltaTable(str(path)).create_checkpoint()
    except (DeltaError, OSError) as error:
        raise UserError(
            f"{name} cannot be put back ({first_line(error)}); the tables are of two moments until "
            f"it is: make room if the disk is full, then repeat this command"
        ) from error
    for log in again:
        log.unlink()
    report.restored.append(name)


def _logs_agree(path: Path, kept: Path, version: int) -> bool:
    """True unless one of the commits kept is another one in the table's log today."""
    for log in log_of(kept, version):
        today = path / "_delta_log" / log.name
        with suppress(FileNotFoundError):
            if not today.samefile(log) and today.read_bytes() != log.read_bytes():
                return False
    return True


def _set_aside(path: Path, report: Report) -> None:
    if not path.exists() or report.aside is None:
        return
    target = report.aside / path.parent.name / path.name
    number = 1
    while target.exists():
        number += 1
        target = target.with_name(f"{path.name}_{number}")
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    report.set_aside.append(f"{path.parent.name}.{path.name}")


def _copy_links(kept: Path, path: Path) -> None:
    """The kept table in the place of one that is gone; appears by rename."""
    scratch = path.with_name(f".{path.name}.restoring")
    shutil.rmtree(scratch, ignore_errors=True)
    for folder, _, names in os.walk(kept):
        for name in names:
            file = Path(folder) / name
            link(file, scratch / file.relative_to(kept))
    scratch.rename(path)
