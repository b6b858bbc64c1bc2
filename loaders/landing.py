"""The landing folder: publish files so that no reader sees half of one, list what has landed.

Apart from the load, because the playback, the replay and any real POS gateway write here too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from loaders.errors import UserError
from loaders.files import write_atomically

MESSAGES = "pos_messages"
COUNTS = "pos_count_rows"
ITEMS = "pos_items"
FEEDS = (ITEMS, MESSAGES, COUNTS)
REFERENCE = "reference"


@dataclass(frozen=True, order=True)
class LandedFile:
    """One file as it lay in the landing folder; a file replaced by another is another one."""

    modified_ns: int
    path: str
    size: int
    inode: int = field(default=0, compare=False)  # another file under the name has another

    @property
    def identity(self) -> str:
        """What the ledger remembers: the same bytes put down again later are a new delivery."""
        name = quote(self.path, errors="surrogateescape")  # a name may hold a line end
        return f"{name}\t{self.size}\t{self.modified_ns}"


def publish(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` by atomic rename; the temporary name begins with a dot."""
    write_atomically(path, data, durable=False)


def printable(path: str) -> str:
    r"""A path as text that can be stored and shown: what is not UTF-8 in it becomes ``\xNN``.

    >>> printable("caf\udce9.json")
    'caf\\xe9.json'
    """
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def feed_of(path: str) -> str | None:
    """The bronze table that a landing-relative path belongs to, or ``None``.

    >>> feed_of("online/changes/0001.json"), feed_of("reference/items_2.csv")
    ('pos_messages', 'pos_items')
    """
    parts = path.split("/")
    if any(part.startswith((".", "_")) for part in parts):
        return None
    if len(parts) == 2 and parts[0] == REFERENCE:
        is_items = parts[1].startswith("items") and parts[1].endswith(".csv")
        return ITEMS if is_items else None
    if len(parts) == 3 and parts[1] == "changes" and parts[2].endswith(".json"):
        return MESSAGES
    if len(parts) == 3 and parts[1] == "counts" and parts[2].endswith(".csv"):
        return COUNTS
    return None


def scan(
    landing: Path, settled: Mapping[str, int] | None = None
) -> tuple[dict[str, list[LandedFile]], list[str]]:
    """All files that have landed, by feed and in order of arrival, and the paths not read.

    Arrival is the file's modification time, ties broken by path: the order in which the same
    folder is always loaded. Hidden names (``.``, ``_``) are somebody's work in progress. Files that
    lie as ``settled`` has them, by path and inode, are left out, and not asked about: a folder of
    20,000 takes 0.3 s to ask, a tenth of it to list. Links are not followed: who may put files here
    must not be able to have others read. Nor is anything opened that is no file, such as a pipe.
    """
    settled = settled or {}
    found: dict[str, list[LandedFile]] = {feed: [] for feed in FEEDS}
    ignored: list[str] = []
    for entry, path in _walk(landing, ""):
        if settled.get(path) == entry.inode():
            continue
        feed = feed_of(path)
        if feed is None:
            ignored.append(path)
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # replaced or removed since it was listed
            continue
        if not stat.S_ISREG(status.st_mode):
            ignored.append(path)
            continue
        found[feed].append(LandedFile(status.st_mtime_ns, path, status.st_size, status.st_ino))
    for files in found.values():
        files.sort()
    return found, sorted(ignored)


def _walk(folder: Path, prefix: str) -> list[tuple[os.DirEntry[str], str]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{printable(str(folder))} cannot be listed ({error.strerror})") from error
    found: list[tuple[os.DirEntry[str], str]] = []
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue
        path = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            found.extend(_walk(Path(entry.path), f"{path}/"))
        else:
            found.append((entry, path))
    return found
