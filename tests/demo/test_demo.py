"""The main job as a person runs it: to its end, interrupted, and killed again and again."""

import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

MONTH = [
    *("--days", "4", "--items", "2000", "--lines", "40000", "--seed", "7"),
    *("--duplicates", "0.05", "--late", "0.03", "--out-of-order", "0.05"),
    *("--malformed", "0.01", "--unknown-item", "0.01", "--conflicting", "0.01"),
]
KILLS = 10
PLACES = ("landing", "lakehouse", "port")
README = Path(__file__).parents[2] / "README.md"
README_QUERIES = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
README_SHOWS = re.findall(r"^\$ (dbt show .*)$", README.read_text(), flags=re.MULTILINE)
OVERVIEW = README.with_name("models") / "_docs" / "overview.md"
EQUAL = "inventory equals the simulator's truth for all"


def pos(*arguments: object, **options: object) -> list[str]:
    """The command line of ``pos`` in this environment."""
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-m", "loaders", *map(str, arguments), *flags]


@pytest.fixture
def places(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    month = tmp_path / "month"
    subprocess.run(pos("simulate", "--out", month, *MONTH), check=True, capture_output=True)
    places = {"landing": tmp_path / "landing", "lakehouse": tmp_path / "lakehouse", "port": port}
    yield {"month": month, **places}
    down = pos("down", lakehouse=places["lakehouse"], port=port)
    subprocess.run(down, check=False, capture_output=True)


def run_to_the_end(places: dict[str, object], *extra: object) -> str:
    done = subprocess.run(
        pos("demo", *extra, **places), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ends_with_the_truth_and_goes_on_from_there(places):
    first = run_to_the_end(places, "--days", 2, "--speed", "max")
    assert EQUAL in first
    assert "event clock 2021-01-03" in first or "event clock 2021-01-02 23:59:59" in first
    second = run_to_the_end(places, "--days", 2, "--speed", "max")
    assert EQUAL in second
    assert "event clock 2021-01-0" in second
    assert lines_in(second) > lines_in(first)
    for block in README_QUERIES:
        query = [sys.executable, "-c", block.replace(":50051", f":{places['port']}")]
        done = subprocess.run(
            query,
            cwd=places["lakehouse"].parent,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "store_001" in done.stdout
    documented = re.sub(r"{% (end)?raw %}", "", OVERVIEW.read_text())
    for command in README_SHOWS:
        assert command in documented
        show = [str(Path(sys.executable).with_name("dbt")), *shlex.split(command)[1:]]
        done = subprocess.run(
            [*show, "--target-path", str(places["lakehouse"].parent / "target")],
            cwd=README.parent,
            env={**os.environ, **{f"POS_{name.upper()}": str(places[name]) for name in PLACES}},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "on_hand_quantity" in done.stdout
    assert README_SHOWS


def test_interrupted_it_stops_cleanly_and_goes_on(places):
    process = subprocess.Popen(
        pos("demo", "--days", 3, "--speed", 8000, **places),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(10)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "start again to go on" in output
    assert EQUAL in run_to_the_end(places, "--days", 3, "--speed", "max")


def test_killed_ten_times_nothing_is_lost_and_nothing_counted_twice(places):
    seed = int(os.environ.get("POS_TEST_SEED", random.randrange(10**6)))
    print(f"POS_TEST_SEED={seed}")
    chance = random.Random(seed)
    log = Path(places["landing"]).with_name("demo.log")
    for _ in range(KILLS):
        with log.open("ab") as output:
            process = subprocess.Popen(
                pos("demo", "--days", 4, "--speed", 5000, **places), stdout=output, stderr=output
            )
        try:
            process.wait(timeout=chance.uniform(1.0, 9.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert "Traceback" not in log.read_text()
    assert EQUAL in run_to_the_end(places, "--days", 4, "--speed", "max")


def lines_in(output: str) -> int:
    found = re.findall(r"([\d,]+) lines in", output)
    return int(found[-1].replace(",", ""))
