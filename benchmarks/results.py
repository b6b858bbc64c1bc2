"""Results as JSON lines: one record for each thing measured, with every repetition."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

Record = dict[str, Any]

PROJECT = Path(__file__).resolve().parent.parent


def machine() -> Record:
    """What the numbers hang on, without names of machines or places."""
    return {
        "cpu": _of("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_of("/proc/meminfo", "MemTotal").split()[0]) / 2**20, 1),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that is measured; with a plus if files differ from it (the results aside)."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/*.svg")
    changed = "\n".join(line for line in changed.splitlines() if "benchmarks/README" not in line)
    return head + ("+" if changed else "")


@dataclass
class Results:
    """The file of one run. What is in it can be taken over by a run that is resumed."""

    path: Path

    def records(self) -> list[Record]:
        """All records, oldest first; a line half written by a killed run is passed over."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def add(self, record: Record) -> Record:
        """Write a record down, with time, commit and machine."""
        stamped = {
            "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            "commit": commit(),
            "machine": machine(),
            **record,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as handle:
            handle.write(json.dumps(stamped) + "\n")
        return stamped

    def has(self, **wanted: object) -> bool:
        """True if this was measured already, of the commit as it is now."""
        now = commit()
        return find(self.records(), commit=now, **wanted) is not None


def find(records: Sequence[Record], **wanted: object) -> Record | None:
    """The last record with these values."""
    for record in reversed(records):
        if all(record.get(name) == value for name, value in wanted.items()):
            return record
    return None


def latest(records: Sequence[Record]) -> list[Record]:
    """Of each thing that was measured the last record, in the order in which these were made."""
    found: dict[tuple[Any, ...], Record] = {}
    for record in records:
        name = tuple(record.get(part) for part in ("measure", "target", "system", "months"))
        found.pop(name, None)
        found[name] = record
    return list(found.values())


def median_seconds(record: Record | None, kind: str) -> float | None:
    """The median of a race's ticks of one kind; ``None`` without any, or of a wrong answer."""
    if record is None or record.get("reason") or record.get("error") or is_wrong(record):
        return None
    seconds = [tick["total"] for tick in record.get(kind, [])]
    return median(seconds) if seconds else None


def ratio_of_medians(above: Record | None, below: Record | None, kind: str) -> float | None:
    """How many times longer the one's ticks of a kind take than the other's; ``None`` too where
    they ran on different machines."""
    long, short = median_seconds(above, kind), median_seconds(below, kind)
    if above is None or below is None or above.get("machine") != below.get("machine"):
        return None
    return long / short if long is not None and short else None


def is_wrong(record: Record) -> bool:
    """True if the system answered otherwise than it must."""
    return any(record.get("differing_keys", {}).values())


def is_wrong_or_failed(record: Record) -> bool:
    """True if there is nothing of the record that counts."""
    return bool(record.get("error")) or is_wrong(record)


def _of(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
