"""The process that writes the page beside ``pos run``: apart, so that whatever happens to the page
happens to nothing else, and nice, so that a build never waits for it.

It reads from its standard input, a line after each build, which versions of the tables belong
together, and writes the page of the latest at most every so many seconds. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pyarrow as pa
from deltalake.exceptions import DeltaError

from loaders.errors import UserError, first_line
from loaders.page.folder import INDEX
from loaders.page.gold import Versions
from loaders.page.writing import PageWriter
from loaders.places import Place, place_of

# What goes to the one who runs the schedule; other lines are a traceback.
SAID = "page: "
NICENESS = 10


class Orders:
    """The newest line of the input, read by a thread of its own so that no sender ever waits."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._changed = threading.Condition()
        self._versions: Versions | None = None
        self._is_over = False
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def next(self, not_before: float) -> Versions | None:
        """The versions to write next, not before that moment of the monotonic clock; ``None`` at
        the end. What is still to be written at the end is due at once.
        """
        with self._changed:
            while not self._is_over and (self._versions is None or time.monotonic() < not_before):
                is_waiting = self._versions is not None
                self._changed.wait(not_before - time.monotonic() if is_waiting else None)
            versions, self._versions = self._versions, None
            return versions

    def owe(self) -> None:
        """What was ordered last could not be done: the newest versions are still to be written."""
        with self._changed:
            if self._versions is None and not self._is_over:
                self._versions = {}

    def _read(self) -> None:
        for line in self._lines:
            with self._changed:
                self._versions = json.loads(line)
                self._changed.notify()
        with self._changed:
            self._is_over = True
            self._changed.notify()


def work(
    lakehouse: Place, out: Path, every: float, orders: Orders, say: Callable[[str], None]
) -> None:
    """Write pages until the orders end. What goes wrong is said, once, and tried again."""
    writer = PageWriter(lakehouse, out, every)
    said: str | None = None
    started = time.monotonic() - every
    with ExitStack() as stack:
        is_alone = False
        while (versions := orders.next(started + every)) is not None:
            started = time.monotonic()
            try:
                if not is_alone:
                    stack.enter_context(writer.alone())
                    is_alone = True
                writer.write(versions)
                pa.default_memory_pool().release_unused()  # it is a guest between two pages
            except (UserError, OSError, DeltaError) as error:
                message = f"the inventory page in {out} cannot be written: {first_line(error)}"
                orders.owe()
            else:
                message = f"the inventory page: {out / INDEX}"
            if message != said:
                say(message)
                said = message


def main() -> None:
    """``python -m loaders.page.worker LAKEHOUSE OUT SECONDS``, started by the schedule."""
    lakehouse, out, every = sys.argv[1:]
    os.nice(NICENESS)
    pa.set_cpu_count(1)  # the others are for the build
    work(
        place_of(lakehouse),
        Path(out),
        float(every),
        Orders(sys.stdin),
        lambda message: print(f"{SAID}{message}", flush=True),  # noqa: T201 - the way to the schedule
    )


if __name__ == "__main__":
    main()
