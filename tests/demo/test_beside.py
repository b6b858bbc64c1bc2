"""`dbt build` by hand beside a running `pos run`: both do their work, neither fails."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from loaders import engine
from loaders.check import compare_with_truth
from loaders.config import Settings
from loaders.playback import Month, play
from tests.worlds import free_port, small_month

HAND_BUILDS = 3
DBT = str(Path(sys.executable).with_name("dbt"))


def test_dbt_by_hand_beside_the_schedule(tmp_path):
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    month = Month(small_month(tmp_path / "month", items=500, lines=6_000))
    environment = {**os.environ, **settings.environment()}
    play(month, settings.landing, speed=None, until=month.starts_at)  # the landing folder exists
    run = subprocess.Popen(
        [sys.executable, "-m", "loaders", "run"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for_engine(settings)
        step = (month.ends_at - month.starts_at) / HAND_BUILDS
        for number in range(HAND_BUILDS):
            play(month, settings.landing, speed=None, until=month.starts_at + step * (number + 1))
            options = ["--exclude", "resource_type:unit_test", "--target-path", tmp_path / "target"]
            done = subprocess.run(
                [DBT, "build", *options],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
        wait_until_built(settings, month)
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=60)
    finally:
        run.kill()
        engine.down(settings)
    assert run.returncode == 0, output
    assert "build failed" not in output
    comparison = compare_with_truth(settings.lakehouse, month.folder, month.ends_at)
    assert comparison.differences == 0, comparison.examples


def wait_for_engine(settings: Settings) -> None:
    deadline = time.monotonic() + 60
    while engine.running(settings) is None:
        assert time.monotonic() < deadline, "pos run started no engine"
        time.sleep(0.1)


def wait_until_built(settings: Settings, month: Month) -> None:
    deadline = time.monotonic() + 60
    while compare_with_truth(settings.lakehouse, month.folder, month.ends_at).differences:
        assert time.monotonic() < deadline, "pos run did not build what has landed"
        time.sleep(1)
