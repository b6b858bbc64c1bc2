"""Backup and restore of a lakehouse: a moment of all its tables and of the load's memory.

The moment is taken by hard links with the turn in hand (`loaders/points.py`), which is over before
a build notices; it is copied afterwards, while `pos run` goes on. Data files never change, so a
file that the backup before has is linked to that one and not copied again. Every file is written
down with its SHA-256, and a restore believes nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from loaders.catalog import tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.files import only_holder, write_atomically
from loaders.points import (
    DOWNSTREAM_FIRST,
    MANIFEST,
    STAMP,
    Point,
    at_rest,
    chosen,
    make,
    points_in,
)

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Report:
    """What a backup or a restore did."""

    point: Point
    files: int
    bytes_copied: int
    bytes_shared: int  # with the backup before, by hard links


def back_up(settings: Settings, repository: Path, keep: int | None = None) -> Report:
    """Back a lakehouse up into a new folder of ``repository``, and keep the newest ``keep`` there.

    Beside a running schedule (on the embedded engine) and load. :class:`UserError` where there is
    nothing to back up, where the folder cannot be, or where the disk is full.
    """
    repository = repository.resolve()
    lakehouse = settings.disk
    if repository.is_relative_to(lakehouse) or lakehouse.is_relative_to(repository):
        raise UserError(
            f"{repository} and the lakehouse {lakehouse} lie in one another; give a "
            f"folder elsewhere, best on another disk"
        )
    if not any(tables_on_disk(lakehouse)):
        raise UserError(f"there is no table in {lakehouse}; nothing to back up")
    with only_holder(settings.state / "backup.lock", doing="backing up"):
        scratch = settings.state / "backup"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            with at_rest(settings, doing="backing up"):
                moment = make(settings, scratch, DOWNSTREAM_FIRST)
            return _copy_out(moment, repository, keep)
        except OSError as error:
            raise UserError(
                f"the backup to {repository} failed ({error.strerror or error}); what was there "
                f"before is as it was"
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def put_back(settings: Settings, repository: Path, at: str | None = None) -> Report:
    """Make the lakehouse what it was at the newest backup, or the newest not after ``at`` (UTC).

    Each file is held against its SHA-256 on the way; the lakehouse appears by rename, whole or not
    at all. :class:`UserError` where one is there already, and for a backup that is not whole.
    """
    backups = points_in(repository.resolve())
    if not backups:
        raise UserError(f"there is no backup in {repository}; pos backup makes one")
    backup = chosen(backups, at, "backup") if at else backups[-1]
    target = settings.disk
    if target.exists() and any(target.iterdir()):
        raise UserError(
            f"{target} is not empty; stop what runs on it (pos down), move it away, then restore"
        )
    scratch = target.with_name(f".{target.name}.restoring")
    shutil.rmtree(scratch, ignore_errors=True)
    files = _manifest(backup)["files"]
    try:
        for name, said in files.items():
            _copy(backup.folder / name, scratch / name, said["sha256"])
        _open_all(scratch, backup)
        with suppress(FileNotFoundError):
            target.rmdir()
        scratch.rename(target)
    except OSError as error:
        raise UserError(f"{target} cannot be restored: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Report(backup, len(files), sum(said["size"] for said in files.values()), 0)


def verify(backup: Point) -> None:
    """:class:`UserError` unless each file of a backup is there as it was written."""
    for name, said in _manifest(backup)["files"].items():
        if _sha256(backup.folder / name) != said["sha256"]:
            raise UserError(_not_whole(backup.folder / name))


def _copy_out(moment: Point, repository: Path, keep: int | None) -> Report:
    before = points_in(repository)[-1:]
    known = _manifest(before[0])["files"] if before else {}
    name = (
        datetime.now(UTC).strftime(STAMP)
        if before and before[0].name >= moment.name
        else moment.name
    )
    target, scratch = repository / name, repository / f".{name}.partial"
    if target.exists():
        raise UserError(f"{target} is there already; two backups within a second are one")
    shutil.rmtree(scratch, ignore_errors=True)
    files: dict[str, dict[str, Any]] = {}
    shared = copied = 0
    try:
        for file in _files(moment.folder):
            path = file.relative_to(moment.folder)
            size = file.stat().st_size
            said = known.get(str(path))
            # Names of data files are random, those of log entries come again after a rollback.
            if (
                said
                and said["size"] == size
                and path.suffix == ".parquet"
                and "_delta_log" not in path.parts
            ):
                (scratch / path).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(before[0].folder / path, scratch / path)
                    files[str(path)] = said
                    shared += size
                    continue
                except OSError:
                    pass  # no links there, or a file has gone: copied
            files[str(path)] = {"size": size, "sha256": _copy(file, scratch / path)}
            copied += size
        backup = Point(scratch, moment.made_at, moment.versions)
        _open_all(scratch, backup)
        manifest = {
            "made_at": moment.made_at.isoformat(),
            "versions": dict(moment.versions),
            "files": files,
        }
        write_atomically(scratch / MANIFEST, json.dumps(manifest).encode())
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for old in points_in(repository)[: -keep if keep else 0]:
        shutil.rmtree(old.folder)
    return Report(Point(target, moment.made_at, moment.versions), len(files), copied, shared)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            yield path


def _manifest(backup: Point) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((backup.folder / MANIFEST).read_bytes())
        found["files"].items()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{backup.folder} is no backup: {error}") from error
    return found


def _copy(source: Path, target: Path, expected: str | None = None) -> str:
    """Copy a file, wait for the disk, and return its SHA-256; :class:`UserError` if another is
    expected."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            while chunk := reading.read(CHUNK):
                digest.update(chunk)
                writing.write(chunk)
            writing.flush()
            os.fsync(writing.fileno())
    except FileNotFoundError:
        raise UserError(_not_whole(source)) from None
    if expected is not None and digest.hexdigest() != expected:
        raise UserError(_not_whole(source))
    return digest.hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as reading:
            return hashlib.file_digest(reading, "sha256").hexdigest()
    except OSError:
        return None


def _not_whole(path: Path) -> str:
    return f"{path} is not what was backed up; take an older backup: pos restore … --at …"


def _open_all(folder: Path, backup: Point) -> None:
    """:class:`UserError` unless each table opens in ``folder`` at its version, with its files."""
    for name, version in backup.versions.items():
        path = folder.joinpath(*name.split("."))
        try:
            table = DeltaTable(str(path))
            missing = [
                uri for uri in table.file_uris() if not Path(uri.removeprefix("file://")).exists()
            ]
        except (DeltaError, OSError) as error:
            raise UserError(f"{path} does not open: {first_line(error)}") from error
        if missing or table.version() != version:
            raise UserError(f"{path} is not whole: {missing[:1] or table.version()}")
