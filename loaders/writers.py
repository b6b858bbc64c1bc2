"""Who may write silver and gold: Apache Spark alone, or all others side by side.

Delta on a local disk, as Spark writes it, is safe in one JVM only: a commit is put there by looking
whether its number is free and then renaming, so of two writers one can put its commit over the
other's, without a word. The embedded engine and delta-rs ask the file system to refuse. So whoever
writes by Spark keeps everybody else out. The embedded engine is a writer for as long as it runs: a
dbt by hand writes by it, and has no lock of its own.

The lock is one that the kernel holds and frees at its holder's death (``fcntl``), on the file
``LOCK`` of a RocksDB: that is what a JVM can be made to take by SQL, as a dbt by hand has nothing
else (``macros/spark_writer.sql``). It is the JVM's own, so that it outlives a schedule that is
killed for as long as its JVM still works.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from loaders.config import Settings
from loaders.errors import UserError
from loaders.files import only_holder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = "spark_writer"
# A JVM ends some moments after the process that was killed.
PATIENCE = 10.0
PAUSE = 1.0  # each try leaves a small file behind


def hold_in_jvm(session: SparkSession, settings: Settings) -> None:
    """Keep all others out until the JVM of this classic Spark session ends.

    :class:`UserError` where another process writes. Only of a session whose executor is this
    process: a cluster would take the lock wherever it runs the statement.
    """
    folder = _folder(settings)
    for old in folder.glob("LOG.old.*"):
        old.unlink(missing_ok=True)
    held = f"pos.writes.in.{settings.lakehouse}"
    if _static(session, "java.lang.System", "getProperty", held) == "yes":
        return
    deadline = time.monotonic() + PATIENCE
    while _static(session, "org.rocksdb.RocksDB", "open", str(folder)) is None:
        if time.monotonic() >= deadline:
            raise UserError(_refusal(settings))
        time.sleep(PAUSE)
    _static(session, "java.lang.System", "setProperty", held, "yes")


@contextmanager
def beside_others(settings: Settings) -> Iterator[TextIO]:
    """Write by the embedded engine or delta-rs: many at a time, but none beside Spark.

    Gives the file: a child that has it open holds the lock too. :class:`UserError` where Spark
    writes.
    """
    with _locked(settings, fcntl.LOCK_SH) as handle:
        yield handle


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Write what Spark writes too, by delta-rs and without a JVM.

    :class:`UserError` where another process writes.
    """
    with _locked(settings, fcntl.LOCK_EX):
        yield


@contextmanager
def streaming(settings: Settings, patience: float = 0.0) -> Iterator[None]:
    """Write bronze by a stream of Spark's, or do what must not be done beside one.

    :class:`UserError` where the other is at it and still is after ``patience`` seconds. Loaders are
    kept apart by their own lock; this one is for the upkeep of bronze.
    """
    with only_holder(settings.state / "stream.lock", doing="streaming", patience=patience):
        yield


@contextmanager
def _locked(settings: Settings, kind: int) -> Iterator[TextIO]:
    path = _folder(settings) / "LOCK"
    deadline = time.monotonic() + PATIENCE
    with path.open("a+") as handle:
        while not _is_locked(handle, kind):
            if time.monotonic() >= deadline:
                raise UserError(_refusal(settings))
            time.sleep(PAUSE)
        yield handle


def _is_locked(handle: TextIO, kind: int) -> bool:
    """The open file's lock where there is such a thing (Linux), which keeps RocksDB's out as well:
    the process's own would be gone as soon as it closes the file for the second time, and is not
    its child's."""
    with suppress(BlockingIOError, PermissionError):  # the two that POSIX allows
        if sys.platform == "linux":
            how = fcntl.F_RDLCK if kind == fcntl.LOCK_SH else fcntl.F_WRLCK
            # struct flock: type, whence, start, length (0: all of the file), pid
            everything = struct.pack("hhqqi4x", how, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, everything)
        else:
            fcntl.lockf(handle, kind | fcntl.LOCK_NB)
        return True
    return False


def _folder(settings: Settings) -> Path:
    folder = settings.state / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _static(session: SparkSession, *call: str) -> str | None:
    """What a static method of Java returns as text; None where it raises or returns nothing."""
    literals = ", ".join(f"'{text}'" for text in call)
    (row,) = session.sql(f"select try_reflect({literals})").collect()
    return None if row[0] in (None, "", "null") else str(row[0])


def _refusal(settings: Settings) -> str:
    return (
        f"another process is writing in the lakehouse {settings.lakehouse} (pos run, pos maintain, "
        f"a dbt build or the embedded engine), and beside Apache Spark only one may; wait for it "
        f"or stop it, the engine with: pos down (lock: {_folder(settings)})"
    )
