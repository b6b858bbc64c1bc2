"""What processes used, as the kernel counts it (Linux): memory, CPU, bytes written."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """Of some processes together: CPU seconds and bytes written so far, peak memory in bytes (the
    sum of each one's own peak, so no less than what they ever held at one moment)."""

    cpu_seconds: float
    bytes_written: int
    peak_bytes: int

    def since(self, earlier: Usage) -> Usage:
        """What was used since ``earlier``; the peak stays that of the whole life."""
        return Usage(
            self.cpu_seconds - earlier.cpu_seconds,
            self.bytes_written - earlier.bytes_written,
            self.peak_bytes,
        )


def family(roots: Iterable[int]) -> set[int]:
    """The processes and all their living descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found and Path(f"/proc/{pid}").exists():
            found.add(pid)
            waiting.extend(children.get(pid, []))
    return found


def usage(roots: Iterable[int]) -> Usage:
    """What the processes and their descendants have used until now."""
    return Meter().read(roots)


@dataclass
class Meter:
    """Usage of processes that come and go: what one had used when it was last seen stays in the
    sum, so that an engine that is started anew takes nothing away."""

    seen: dict[tuple[int, str], Usage] = field(default_factory=dict)  # by pid and time of its start

    def read(self, roots: Iterable[int]) -> Usage:
        """What they, their descendants and those seen before have used until now. The peak is that
        of the living ones: what follows one another is not there at once."""
        peak = 0
        for pid in family(roots):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                one = Usage(
                    (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
                    _number(f"/proc/{pid}/io", "write_bytes"),
                    _number(f"/proc/{pid}/status", "VmHWM") * 1024,
                )
            except OSError:
                continue  # ended since it was listed
            self.seen[pid, fields[19]] = one
            peak += one.peak_bytes
        cpu = sum(each.cpu_seconds for each in self.seen.values())
        return Usage(cpu, sum(each.bytes_written for each in self.seen.values()), peak)


@dataclass
class PeakWatch(threading.Thread):
    """Keeps the peak memory of processes that come and go; asks twice a second.

    ``roots`` may be added to while it watches.
    """

    roots: set[int]
    peaks: dict[int, int] = field(default_factory=dict)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._done = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Watch until told to stop."""
        while not self._done.wait(0.5):
            at_once = 0
            for pid in family(self.roots):
                try:
                    path = f"/proc/{pid}/status"
                    peak = _number(path, "VmHWM") * 1024  # 0 of one that is about to end
                    self.peaks[pid] = max(peak, self.peaks.get(pid, 0))
                    at_once += _number(path, "VmRSS") * 1024
                except OSError:
                    continue
            self.most_at_once = max(self.most_at_once, at_once)

    def stop(self) -> None:
        """End the watch."""
        self._done.set()
        self.join()

    @property
    def sum_of_peaks(self) -> int:
        """Bytes: no less than what they held at any moment."""
        return sum(self.peaks.values())


def _number(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0  # a kernel thread, or a process that is ending, has no memory
