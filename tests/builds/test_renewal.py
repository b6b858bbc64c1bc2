"""An engine that has grown too large is started anew between two builds, and knows its tables.

In a process and with an engine of its own: a process has one client, and the other tests share one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.worlds import free_port

SCRIPT = """
import sys
from pathlib import Path
import loaders.schedule
from loaders import engine
from loaders.config import Settings
from loaders.landing import publish
from loaders.warehouse import BuildReport


class Builds:  # without dbt: what is built is not asked here
    def __init__(self, _settings): ...

    def invoke(self, *_arguments):
        return BuildReport(0.0, succeeded=True)


def tick(number):
    publish(settings.landing / f"online/changes/{number}.json", b"{}\\n")
    assert not schedule.tick().failed
    return engine.running(settings).pid


loaders.schedule.Warehouse = Builds
loaders.schedule.RENEWAL_TICKS = 1
folder = Path(sys.argv[1])
settings = Settings(folder / "landing", folder / "lakehouse", int(sys.argv[2]))
try:
    with loaders.schedule.Schedule(settings) as schedule:
        first = tick(1)
        assert tick(2) == first, "it is not large"
        loaders.schedule.RENEWAL_BYTES = 1
        second = tick(3)
        assert second != first
        rows = schedule._session.sql("select count(*) from bronze.pos_messages").collect()
        assert rows[0][0] == 3
        loaders.schedule.RENEWAL_BYTES = 10**12
        assert tick(4) == second
finally:
    engine.down(settings)
"""


def test_an_engine_that_has_grown_too_large_is_started_anew(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(free_port())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
