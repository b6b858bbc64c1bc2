"""Small files that survive a kill: atomic replace, durable append, one-holder locks.

Apart from the rest because every exactly-once promise in this package rests on these few lines.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from loaders.errors import UserError

POLL_SECONDS = 0.05


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` under a hidden temporary name and rename it to ``path``.

    A reader sees the old file or the whole new one. ``durable`` also waits for the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as handle:
        handle.write(data)
        if durable:
            handle.flush()
            os.fsync(handle.fileno())
    temporary.replace(path)


def append_durably(path: Path, data: bytes) -> None:
    """Append ``data`` in one write and wait for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


@contextmanager
def only_holder(path: Path, *, doing: str, patience: float = 0.0) -> Iterator[TextIO]:
    """Hold the lock file ``path``; raise :class:`UserError` when another process still holds it
    after ``patience`` seconds. Gives the file: a child that has it open holds the lock too.

    The kernel frees the lock when its holder dies, so a kill leaves nothing to clean up.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        deadline = time.monotonic() + patience
        while not _is_locked(handle):
            if time.monotonic() >= deadline:
                handle.seek(0)
                holder = handle.read().strip() or "unknown"
                raise UserError(
                    f"another process (pid {holder}) is already {doing} for this lakehouse; "
                    f"wait for it or stop it (lock: {path})"
                )
            time.sleep(POLL_SECONDS)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield handle


def _is_locked(handle: TextIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
