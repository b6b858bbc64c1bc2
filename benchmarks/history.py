"""A long history out of one simulated month, and the ticks that follow it, in the landing format.

Month k is the simulated month moved by k times its length, with transaction ids of its own; k = 0
is the last month of the history whatever its length, so the ticks after it are the same bytes for
every history and no event lies ahead of the clock on the wall. Dates and ids stand at fixed places
of each message, so a month is made by one copy of its bytes and two scatters, never held twice.

Of each month's counts a share of the items is left out: these are never counted. Months before the
last hold one count of each store, not one each five days, which would be as many rows as changes.
The last days of the history have no count at all, so that one which is days late still is the
newest of its keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

TICK_LINES = 3_000
LATE = timedelta(days=5)
# One item in 50 is never counted: 2 %, popular ones among them, for ids are not in that order.
NEVER_COUNTED_OF = 50
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

_ID_AT = len(b'{"trans_id": "{')
_ID_DIGITS = 4  # of a month's number in hexadecimal, in place of the id's first digits
_ID_OFFSET = 0x8000  # months before the last are negative
_DATE_MARK = b'"date_time": "'
_DATE_AT = (
    _ID_AT + len(b'00000000-0000-0000-0000-000000000000}", "store_id": 0, ') + len(_DATE_MARK)
)
_DATE_LENGTH = len("2021-01-01")

File = tuple[str, bytes]  # path in the landing folder, content
Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def is_never_counted(item_id: int) -> bool:
    """True for the items that no count of the history holds."""
    return item_id % NEVER_COUNTED_OF == NEVER_COUNTED_OF // 2


@dataclass(frozen=True)
class _Messages:
    """What one POS sent in the month, in order of time."""

    buffer: Bytes  # all lines, each with its end
    starts: Ints  # of each line in the buffer, and the buffer's length
    lines: Ints  # item lines of each message
    sent_at: NDArray[np.datetime64]
    day: Ints  # 0-based, of each message

    @classmethod
    def read(cls, path: Path, first_day: datetime) -> _Messages:
        table = pq.read_table(path).combine_chunks()
        bodies = [body.encode() for body in table["body"].to_pylist()]
        buffer = np.frombuffer(b"".join(body + b"\n" for body in bodies), np.uint8)
        starts = np.concatenate([[0], np.cumsum([len(body) + 1 for body in bodies])])
        mark = np.frombuffer(_DATE_MARK, np.uint8)
        places = starts[:-1, None] + np.arange(_DATE_AT - len(mark), _DATE_AT)
        if not (buffer[places] == mark).all():
            raise ValueError(f"{path}: a message has its date elsewhere than at {_DATE_AT}")
        sent_at = table["sent_at"].to_numpy().astype("datetime64[s]")
        day = (sent_at - np.datetime64(first_day, "s")) // np.timedelta64(1, "D")
        return cls(
            buffer,
            starts.astype(np.int64),
            table["lines"].to_numpy().astype(np.int64),
            sent_at,
            day.astype(np.int64),
        )

    def moved(self, first: int, last: int, month: int, days: list[str]) -> bytes:
        """Messages ``first`` up to ``last`` (not included), as those of another month."""
        begin = self.starts[first]
        moved = self.buffer[begin : self.starts[last]].copy()
        at = self.starts[first:last, None] - begin
        prefix = np.frombuffer(f"{month + _ID_OFFSET:04X}".encode(), np.uint8)
        moved[at + _ID_AT + np.arange(_ID_DIGITS)] = prefix
        dates = np.frombuffer("".join(days).encode(), np.uint8).reshape(-1, _DATE_LENGTH)
        moved[at + _DATE_AT + np.arange(_DATE_LENGTH)] = dates[self.day[first:last]]
        return moved.tobytes()


@dataclass(frozen=True)
class _Count:
    """One count of the month: its rows as text, without the header."""

    pos: str
    counted_at: datetime
    rows: list[str]

    @classmethod
    def read(cls, path: Path, pos: str) -> _Count:
        _, *rows = path.read_text().splitlines()
        stamp = rows[0].split(",")[3]
        if any(f",{stamp}," not in row for row in rows):
            raise ValueError(f"{path}: a count of several moments")
        return cls(pos, datetime.strptime(stamp, TIME_FORMAT), rows)

    def file(self, counted_at: datetime, *, all_items: bool = False) -> File:
        """The count as a file, taken at another moment; ``all_items``: the never counted too."""
        old, new = f",{self.counted_at:{TIME_FORMAT}},", f",{counted_at:{TIME_FORMAT}},"
        rows = (
            row
            for row in self.rows
            if all_items or not is_never_counted(int(row.partition(",")[0]))
        )
        text = "\n".join(("item_id,employee_id,store_id,date_time,quantity", *rows, ""))
        name = f"{self.pos}_{counted_at:%Y%m%dT%H%M%S}.csv"
        return f"{self.pos}/counts/{name}", text.replace(old, new).encode()


@dataclass(frozen=True)
class Tick:
    """A tick's files, its item lines, and the time of its last event."""

    files: list[File]
    lines: int
    clock: datetime


class Base:
    """The simulated month that histories are made of; in memory, about 100 MB of it."""

    def __init__(self, folder: Path) -> None:
        description = json.loads((folder / "month.json").read_bytes())
        self.days = int(description["config"]["days"])
        self.items = int(description["config"]["items"])
        self.lines = int(description["lines"])
        self.first_day = datetime.fromisoformat(description["config"]["start"])
        self._reference = (folder / "reference" / "items.csv").read_bytes()
        self._messages = {
            path.parent.name: _Messages.read(path, self.first_day)
            for path in sorted(folder.glob("*/changes.parquet"))
        }
        self._counts = [
            _Count.read(folder / count["path"], count["pos"])
            for count in json.loads((folder / "counts.json").read_bytes())
        ]
        self._plain_counts = [(count, *count.file(count.counted_at)) for count in self._counts]

    def reference(self) -> File:
        """The list of items."""
        return "reference/items.csv", self._reference

    def changes(self, month: int) -> Iterator[File]:
        """The files of one month's messages: one for each POS and day."""
        days = self._days(month)
        for pos, messages in self._messages.items():
            bounds = np.searchsorted(messages.day, np.arange(self.days + 1))
            for day, (first, last) in enumerate(pairwise(bounds)):
                if last > first:
                    data = messages.moved(int(first), int(last), month, days)
                    yield f"{pos}/changes/{days[day].replace('-', '')}.json", data

    def counts(self, month: int) -> Iterator[File]:
        """The files of one month's counts: of an earlier month the first of each store, of the last
        month those that are not of its last days."""
        ends = self.first_day + timedelta(days=self.days)
        counted: set[str] = set()
        for count, path, data in self._plain_counts:
            if month < 0 and count.pos in counted:
                continue
            counted.add(count.pos)
            if month == 0 and count.counted_at > ends - LATE:
                continue
            at = count.counted_at + timedelta(days=self.days * month)
            old = f",{count.counted_at:{TIME_FORMAT}},".encode()
            name = path.rpartition("/")[0] + f"/{count.pos}_{at:%Y%m%dT%H%M%S}.csv"
            yield name, data.replace(old, f",{at:{TIME_FORMAT}},".encode())

    def tick(self, number: int) -> Tick:
        """The ``number``-th tick after the history (from 0): about TICK_LINES lines of changes.

        What is left at the end of a month and is no whole tick is left out.
        """
        month, place = 1 + number // self.ticks_in_a_month, number % self.ticks_in_a_month
        after = self._tick_ends[place - 1] if place else None
        through = self._tick_ends[place]
        files, total = [], 0
        for pos, messages in self._messages.items():
            first = 0 if after is None else np.searchsorted(messages.sent_at, after, side="right")
            last = np.searchsorted(messages.sent_at, through, side="right")
            if last > first:
                data = messages.moved(int(first), int(last), month, self._days(month))
                files.append((f"{pos}/changes/tick_{number:05d}.json", data))
                total += int(messages.lines[first:last].sum())
        clock = through.astype("datetime64[us]").item() + timedelta(days=self.days * month)
        return Tick(files, total, clock)

    def tick_with_full_count(self, number: int) -> Tick:
        """A tick with a count of the shop at its last event: all items, also those that the
        history never counts."""
        tick = self.tick(number)
        files = [*tick.files, self._last_count("store_001").file(tick.clock, all_items=True)]
        return Tick(files, tick.lines, tick.clock)

    def tick_with_late_count(self, number: int) -> Tick:
        """A tick with a count of the online store that was taken LATE before its last event."""
        tick = self.tick(number)
        files = [*tick.files, self._last_count("online").file(tick.clock - LATE)]
        return Tick(files, tick.lines, tick.clock)

    @property
    def ticks_in_a_month(self) -> int:
        """Of so many whole ticks a month is made."""
        return len(self._tick_ends)

    @cached_property
    def _tick_ends(self) -> NDArray[np.datetime64]:
        """The time of the last message of each of a month's ticks."""
        lines = np.concatenate([messages.lines for messages in self._messages.values()])
        times = np.concatenate([messages.sent_at for messages in self._messages.values()])
        order = np.argsort(times, kind="stable")
        cumulated = np.cumsum(lines[order])
        ticks = max(1, int(cumulated[-1]) // TICK_LINES)
        wanted = np.minimum(np.arange(1, ticks + 1) * TICK_LINES, cumulated[-1])
        ends: NDArray[np.datetime64] = times[order][np.searchsorted(cumulated, wanted)]
        return ends

    def _last_count(self, pos: str) -> _Count:
        return [count for count in self._counts if count.pos == pos][-1]

    def _days(self, month: int) -> list[str]:
        first = self.first_day + timedelta(days=self.days * month)
        return [f"{first + timedelta(days=day):%Y-%m-%d}" for day in range(self.days)]


@dataclass(frozen=True)
class History:
    """So many months, the last of which is the simulated one itself."""

    base: Base
    length: int

    @property
    def lines(self) -> int:
        """Item lines of all changes."""
        return self.base.lines * self.length

    @property
    def days(self) -> int:
        """From the first event to the last."""
        return self.base.days * self.length

    def months(self) -> range:
        """The numbers of the months, in order of time."""
        return range(1 - self.length, 1)

    def files(self, month: int) -> Iterator[File]:
        """All that lands in one month: the items (with the first), the counts, the changes."""
        if month == self.months()[0]:
            yield self.base.reference()
        yield from self.base.counts(month)
        yield from self.base.changes(month)
