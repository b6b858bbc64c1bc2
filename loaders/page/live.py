"""The page beside ``pos run``: after each build a line to the process that writes it.

The schedule pays for a look into some folders and one short write into a pipe, and never waits.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from loaders.config import Settings
from loaders.page.gold import versions_of
from loaders.page.worker import SAID

if TYPE_CHECKING:
    from loaders.schedule import Tick

# A process that has died is started again after the next build, but not after each of them.
RESTART_SECONDS = 60.0
# The last page is waited for at the end of a run: a month of 200,000 keys takes some seconds.
FINISH_SECONDS = 120.0


class LivePage:
    """Keeps a page up to date. A context manager: at its end the last build is on the page.

    Whatever goes wrong is told to ``say``, and nothing is ever raised for it.
    """

    def __init__(
        self, settings: Settings, out: Path, every: float, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._out = out.resolve()
        self._every = every
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._messages: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._restart_at = 0.0
        self._unsent = False  # built since, and the process has not been told

    def __enter__(self) -> LivePage:
        self._start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._unsent:
            self._send()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()  # it writes what is due and ends
            try:
                process.wait(FINISH_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self._messages.put(
                    f"the inventory page was not finished in {FINISH_SECONDS:.0f} s; "
                    f"write it with: pos page --out {self._out}"
                )
            if self._reader is not None:
                self._reader.join()
        self._tell()

    def after(self, tick: Tick) -> None:
        """Order the page of what was just built, if anything was; say what there is to say."""
        if any(report.succeeded for report in tick.reports):
            self._unsent = True
        self._go_on()

    def built(self) -> None:
        """The same after a build that was no tick's."""
        self._unsent = True
        self._go_on()

    def _go_on(self) -> None:
        if self._unsent:
            self._send()
        self._tell()

    def _send(self) -> None:
        """Tell the process which versions there are now: between two builds, so they are of one."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        process = self._process
        if process is None or process.stdin is None or process.poll() is not None:
            return
        try:
            line = json.dumps(versions_of(self._settings.lakehouse)) + "\n"
            os.write(process.stdin.fileno(), line.encode())  # a short line goes whole or not at all
        except BlockingIOError:  # it is stopped, or very late: the next build tries again
            return
        except OSError as error:
            self._messages.put(f"the inventory page is not ordered: {error}")
        self._unsent = False

    def _start(self) -> None:
        if time.monotonic() < self._restart_at:
            return
        self._restart_at = time.monotonic() + RESTART_SECONDS
        command = [
            *(sys.executable, "-m", "loaders.page.worker"),
            *(str(self._settings.lakehouse), str(self._out), str(self._every)),
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # a Ctrl-C is for the schedule, which ends it in order
            )
        except OSError as error:
            self._messages.put(f"the inventory page is not written: {error}")
            return
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._process = process
        self._reader = threading.Thread(target=self._listen, args=(process,), daemon=True)
        self._reader.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Take in what the process says; of a traceback the last line."""
        last = ""
        assert process.stdout is not None
        for line in process.stdout:
            text = line.strip()
            if text.startswith(SAID):
                self._messages.put(text.removeprefix(SAID))
            elif text:
                last = text
        if process.wait():
            self._messages.put(
                f"the inventory page is not written: its process has ended ({last or 'killed'}); "
                f"the run goes on, and it is started again after a build"
            )

    def _tell(self) -> None:
        while True:
            try:
                self._say(self._messages.get_nowait())
            except queue.Empty:
                return
