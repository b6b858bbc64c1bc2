"""The journal of a schedule: what was loaded, built and kept, as JSON lines.

It joins the two ends of a message's way: the loader's commit (``ingest_id``, a column of every
table down to the ledger) and the build that took it in (``build_id``, dbt's invocation id, which
stands in dbt's own log beside this file). A build takes in all commits after those of the build
before, so the first that succeeded ``through`` a commit is the one that brought it to gold.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from loaders.config import Settings
from loaders.errors import first_line

# A tick with something in it is some 700 bytes: 80 MB are three weeks of a build every ten seconds.
FILE_BYTES = 16 * 1024 * 1024
FILES = 5

Entry = dict[str, Any]


class Journal:
    """Appends to the journal of one lakehouse. One process writes it: who holds the schedule."""

    def __init__(self, settings: Settings) -> None:
        path = journal_path(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handler = _Handler(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, delay=True)

    def write(self, event: str, /, **said: object) -> str | None:
        """One line: when, which event, and what is said of it; returns why it could not be."""
        entry = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **said}
        text = json.dumps(entry, default=str)
        self._handler.problem = None
        self._handler.emit(logging.LogRecord("pos", logging.INFO, "", 0, text, None, None))
        return self._handler.problem

    def close(self) -> None:
        """Let go of the file."""
        self._handler.close()


class _Handler(RotatingFileHandler):
    problem: str | None = None

    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Called where a line cannot be written: said by whoever writes, and no build's end."""
        import sys

        error = sys.exc_info()[1]
        self.problem = first_line(error) if isinstance(error, Exception) else "unknown"


def journal_path(settings: Settings) -> Path:
    """The file that the newest lines are in; older ones have a number behind it."""
    return settings.state / "logs" / "pos.jsonl"


def entries(settings: Settings) -> Iterator[Entry]:
    """All lines of the journal, newest first; one that a kill has left half is passed over."""
    path = journal_path(settings)
    for file in [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, FILES))]:
        if not file.exists():
            continue
        for line in reversed(file.read_text(encoding="utf-8").splitlines()):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def build_of(found: list[Entry], feed: str, ingest_id: int) -> Entry | None:
    """The build, of entries newest first, that first succeeded through a commit to ``feed``.

    >>> builds = [{"event": "built", "succeeded": True, "through": {"m": n}} for n in (9, 5, 2)]
    >>> build_of(builds, "m", 3)["through"], build_of(builds, "m", 10)
    ({'m': 5}, None)
    """
    taken_in = None
    for entry in found:
        if entry.get("event") != "built" or not entry.get("succeeded"):
            continue
        through: Mapping[str, int] = entry.get("through", {})
        if through.get(feed, 0) < ingest_id:
            break
        taken_in = entry
    return taken_in
