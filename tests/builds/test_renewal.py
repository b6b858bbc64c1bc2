"""An engine that has grown too large is started anew between two builds, and knows its tables; one
that dies, also while it is started anew, costs a build that is tried again.

In a process and with an engine of its own: a process has one client, and the other tests share one.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds import free_port

WITHOUT_DBT = """
import os
import signal
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


def land(number):
    publish(settings.landing / f"online/changes/{number}.json", b"{}\\n")


def tick(number):
    land(number)
    assert not schedule.tick().failed
    return engine.running(settings).pid


def kill():
    os.kill(engine.running(settings).pid, signal.SIGKILL)


loaders.schedule.Warehouse = Builds
folder = Path(sys.argv[1])
settings = Settings(folder / "landing", folder / "lakehouse", int(sys.argv[2]))
"""

TOO_LARGE = """
loaders.schedule.RENEWAL_TICKS = 1
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

DIES_WHILE_IT_STARTS = """
loaders.schedule.RETRY_SECONDS = 0.0
registering = engine.register


def killed_first(session, lakehouse):
    kill()
    engine.register = registering
    return registering(session, lakehouse)


try:
    with loaders.schedule.Schedule(settings) as schedule:
        first = tick(1)
        kill()
        engine.register = killed_first
        land(2)
        failed = schedule.tick()
        assert failed.failed
        assert "the engine has died" in failed.build.failures[0], failed.build.failures
        assert not schedule.is_settled
        again = schedule.tick()
        assert not again.failed, again.build.failures
        assert schedule.is_settled
        assert engine.running(settings).pid != first
finally:
    engine.down(settings)
"""


@pytest.mark.parametrize("what", [TOO_LARGE, DIES_WHILE_IT_STARTS], ids=["too large", "dies"])
def test_an_engine_is_started_anew(tmp_path: Path, what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DBT + what, str(tmp_path), str(free_port())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
