"""Whether a recorded server lives."""

from __future__ import annotations

import subprocess
import time

from loaders.servers import is_live

# A shell that gives its process to itself again and again, as start scripts do to a program once.
BECOMES_ANOTHER = 'test "$1" -gt 0 && exec /bin/sh -c "$0" "$0" $(($1 - 1)); exec sleep 60'


def test_a_process_lives_while_it_becomes_another_program() -> None:
    """For a moment of each exec its command line is empty."""
    command = ["/bin/sh", "-c", BECOMES_ANOTHER, BECOMES_ANOTHER, "2000"]
    process = subprocess.Popen(command)
    looks = 0
    try:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            looks += 1
            assert is_live(process.pid, "sleep"), f"not seen at look {looks}"
    finally:
        process.kill()
        process.wait()
    assert not is_live(process.pid, "sleep")
