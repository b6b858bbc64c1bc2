"""The playback: put a simulated month where a POS would send it, as its event clock passes.

The clock runs ``speed`` times as fast as the wall's. What was sent in one slot of the clock becomes
one file per POS. Each slot is written down before it is published, so a killed playback publishes
the same slot again, with the same names and bytes, and goes on. Kafka takes a slot in one
transaction (`loaders/kafka/sink.py`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loaders.errors import UserError
from loaders.failpoints import reach
from loaders.files import only_holder, write_atomically
from loaders.landing import REFERENCE, publish

STATE_NAME = "_playback.json"
SLOT_SECONDS = 0.5  # of wall time: how long an event waits at most before it lands
MAX_SPEED_SLOT = timedelta(hours=1)  # of event time, when playing as fast as it goes
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Slot:
    """One step of the event clock: everything sent after ``after`` up to ``through``."""

    after: datetime
    through: datetime


@dataclass
class Progress:
    """How far a landing folder's playback has come; the content of its state file."""

    month: str
    published_through: datetime
    publishing_through: datetime

    def save(self, landing: Path) -> None:
        """Write the state atomically, and wait for the disk."""
        write_atomically(landing / STATE_NAME, self.to_json())

    def to_json(self) -> bytes:
        """The progress as it is remembered."""
        document = {
            "month": self.month,
            "published_through": self.published_through.isoformat(),
            "publishing_through": self.publishing_through.isoformat(),
        }
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Progress:
        """The progress that :meth:`to_json` wrote."""
        document = json.loads(data)
        return cls(
            document["month"],
            datetime.fromisoformat(document["published_through"]),
            datetime.fromisoformat(document["publishing_through"]),
        )


def progress_of(landing: Path) -> Progress | None:
    """The state of the playback into ``landing``, or ``None`` if there was none."""
    try:
        return Progress.from_json((landing / STATE_NAME).read_bytes())
    except FileNotFoundError:
        return None


class _Messages:
    """What one system sent, in order of time. Read by row groups, one of which is kept: all of a
    month's, a few minutes' or an hour's of each store of a chain."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._sent_at = self._file.read(["sent_at"])["sent_at"].to_numpy()
        rows = [self._file.metadata.row_group(n).num_rows for n in range(self._file.num_row_groups)]
        self._bounds = np.concatenate([[0], np.cumsum(rows)]).tolist()
        self._kept: tuple[int, pa.ChunkedArray] | None = None

    def between(self, slot: Slot) -> list[str]:
        """The messages that were sent in a slot."""
        ends = [np.datetime64(slot.after, "us"), np.datetime64(slot.through, "us")]
        first, last = np.searchsorted(self._sent_at, ends, side="right").tolist()
        lines: list[str] = []
        for group, (begin, end) in enumerate(pairwise(self._bounds)):
            if max(first, begin) < min(last, end):
                part = self._bodies(group).slice(
                    max(first - begin, 0), min(last, end) - max(first, begin)
                )
                lines += part.to_pylist()
        return lines

    def _bodies(self, group: int) -> pa.ChunkedArray:
        if self._kept is None or self._kept[0] != group:
            self._kept = (group, self._file.read_row_group(group, ["body"])["body"])
        return self._kept[1]


class Month:
    """A simulated month on disk: what was sent, by time of sending."""

    def __init__(self, folder: Path) -> None:
        """Read the month's index and messages; :class:`UserError` if there is no month."""
        if not (folder / "month.json").exists():
            raise UserError(
                f"{folder} holds no simulated month; make one with: pos simulate --out {folder}"
            )
        self.folder = folder
        self.description = json.loads((folder / "month.json").read_bytes())
        self.identity = json.dumps(self.description["config"], sort_keys=True)
        self._changes: dict[str, _Messages] = {}
        for path in sorted(folder.glob("*/changes.parquet")):
            self._changes[path.parent.name] = _Messages(path)
        self._counts = [
            (_time(count["sent_at"]), count["pos"], count["path"])
            for count in json.loads((folder / "counts.json").read_bytes())
        ]

    @property
    def starts_at(self) -> datetime:
        """Event time just before the first thing sent."""
        return _time(self.description["first_sent_at"]) - timedelta(seconds=1)

    @property
    def ends_at(self) -> datetime:
        """Event time of the last thing sent."""
        return _time(self.description["last_sent_at"])

    def files_of(self, slot: Slot) -> Iterator[tuple[str, bytes]]:
        """``(landing-relative path, bytes)`` of all files that land in ``slot``.

        Reference data come first, then counts, then changes: the order in which a store opens.
        """
        if slot.after <= self.starts_at:
            for path in sorted((self.folder / REFERENCE).glob("items*.csv")):
                yield f"{REFERENCE}/{path.name}", path.read_bytes()
        for sent_at, pos, path in self._counts:
            if slot.after < sent_at <= slot.through:
                yield f"{pos}/counts/{Path(path).name}", (self.folder / path).read_bytes()
        name = slot.through.strftime("%Y%m%dT%H%M%S%f")
        for pos, messages in self._changes.items():
            lines = messages.between(slot)
            if lines:
                yield f"{pos}/changes/{name}.json", ("\n".join(lines) + "\n").encode()


class Sink(Protocol):
    """Where a month is played to, and what remembers how far: a landing folder, or Kafka."""

    def progress(self) -> Progress | None:
        """How far the playback has come, or ``None`` if there was none."""

    def publish(self, month: Month, progress: Progress) -> None:
        """Publish what is between ``progress``'s two times, and remember that; each of it once,
        whatever was published of it before a kill."""

    def refusal(self) -> str:
        """What to say where the sink holds the playback of another month."""


class LandingSink:
    """A landing folder: one file per POS and slot, and a state file beside them."""

    def __init__(self, landing: Path) -> None:
        self._landing = landing

    def progress(self) -> Progress | None:
        """As the state file has it."""
        return progress_of(self._landing)

    def publish(self, month: Month, progress: Progress) -> None:
        """Put down the slot's files; the slot is written down before."""
        reach("play.before_slot_is_planned")
        progress.save(self._landing)
        slot = Slot(progress.published_through, progress.publishing_through)
        reach("play.before_slot_is_published")
        for path, data in month.files_of(slot):
            # Published before a kill: putting it down again would be a second delivery.
            if not (self._landing / path).exists():
                publish(self._landing / path, data)
                reach("play.between_files")
        progress.published_through = progress.publishing_through
        reach("play.before_slot_is_done")
        progress.save(self._landing)

    def refusal(self) -> str:
        """Name the folder, and what mixes the two."""
        return (
            f"{self._landing} holds the playback of another month; choose another landing folder "
            f"(--landing or POS_LANDING), or remove {self._landing / STATE_NAME} to mix them"
        )


def only_player(landing: Path) -> AbstractContextManager[TextIO]:
    """The lock of whoever plays into ``landing``; :class:`UserError` when somebody does."""
    return only_holder(landing / "_playback.lock", doing="playing")


def play(
    month: Month,
    to: Path | Sink,
    *,
    speed: float | None,
    until: datetime | None = None,
    on_slot: Callable[[datetime], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> datetime:
    """Publish the month into a landing folder or another sink, from where an earlier playback
    stopped.

    ``speed`` is event seconds per wall second, ``None`` as fast as it goes. Stops at ``until``
    (event time; default the month's end) or, between two slots, once ``should_stop()``. Returns
    the event clock reached. Raises :class:`UserError` when ``to`` belongs to another month.
    """
    sink = LandingSink(to) if isinstance(to, Path) else to
    progress = sink.progress() or Progress(month.identity, month.starts_at, month.starts_at)
    if progress.month != month.identity:
        raise UserError(sink.refusal())
    end = min(until or month.ends_at, month.ends_at)
    if progress.publishing_through > progress.published_through:
        sink.publish(month, progress)
    clock_start, wall_start = progress.published_through, time.monotonic()
    while progress.published_through < end and not should_stop():
        if speed is None:
            through = progress.published_through + MAX_SPEED_SLOT
        else:
            time.sleep(SLOT_SECONDS)
            through = clock_start + timedelta(seconds=(time.monotonic() - wall_start) * speed)
        progress.publishing_through = min(through, end)
        sink.publish(month, progress)
        if on_slot:
            on_slot(progress.published_through)
    return progress.published_through


def _time(text: str) -> datetime:
    return datetime.strptime(text, TIME_FORMAT)
