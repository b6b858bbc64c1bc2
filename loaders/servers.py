"""A server that a lakehouse has for itself: found again by a file in its state folder, and ended.

The embedded engine is one, the SQL server for BI tools another, as are Kafka's broker and the parts
of a Spark cluster.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from loaders.files import write_atomically

EXEC_LOOKS = 100  # a tenth of a second for what takes well below a millisecond


@dataclass(frozen=True)
class Server:
    """A running server: its process and the port it listens on (loopback only)."""

    pid: int
    port: int


def launch(
    command: Sequence[str],
    output: BinaryIO,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server's process in ``folder``; what it says goes to ``output``.

    It outlives whoever starts it: Ctrl-C in the terminal must not end everybody's.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def record(path: Path, server: Server) -> None:
    """Write down which process it is, for :func:`recorded`."""
    write_atomically(path, json.dumps(asdict(server)).encode())


def recorded(path: Path, word: str) -> Server | None:
    """The server that the file names, if its process lives and has ``word`` in its command line."""
    try:
        state = json.loads(path.read_bytes())
        server = Server(int(state["pid"]), int(state["port"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return server if is_live(server.pid, word) else None


def end(server: Server, path: Path, word: str, patience: float) -> None:
    """Stop a server that :func:`recorded` has found, by force after so many seconds; returns once
    its port is free too, and forgets it."""
    os.kill(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    # A process that is gone may hold its port a moment longer, and the next start needs it.
    while (alive := is_live(server.pid, word)) or listens(server.port):
        if time.monotonic() > deadline:
            if not alive:
                break
            os.kill(server.pid, signal.SIGKILL)
        time.sleep(0.05)
    path.unlink(missing_ok=True)


def listens(port: int) -> bool:
    """True if something on this machine listens on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_taken(port: int) -> bool:
    """True if no server can have ``port`` now: one listens there, or some program's connection was
    given it, which holds it for a minute after it has ended (seen: the ports that connections are
    given are the same as those of servers)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return listens(port)


def is_live(pid: int, word: str) -> bool:
    """True if ``pid`` lives and has ``word`` in its command line: a pid may have been given to
    another program."""
    try:
        for _ in range(EXEC_LOOKS):
            status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if command or status == "Z":
                break
            time.sleep(0.001)  # it is becoming another program, and has no command line meanwhile
        return status != "Z" and word.encode() in command
    except OSError:
        if Path("/proc/self").exists():
            return False
    listed = subprocess.run(
        ["ps", "-p", str(pid), "-o", "stat=,command="], capture_output=True, text=True, check=False
    ).stdout
    return word in listed and not listed.lstrip().startswith("Z")
