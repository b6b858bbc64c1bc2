"""The examples in profiles/schedules: checked by their own tools, cron's lines really run.

Airflow and Dagster are not in our environment: here their files are only read. By hand they were
loaded by the real ones (DECISIONS.md says by which versions).
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from loaders.cli import pos
from loaders.config import Settings
from loaders.engine import down
from loaders.playback import Month, play
from tests.worlds import free_port, small_month

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "profiles/schedules"
PYTHON = sorted(EXAMPLES.glob("*.py"))
UNITS = sorted([*EXAMPLES.glob("*.service"), *EXAMPLES.glob("*.timer")])
BIN = "/opt/pos/.venv/bin/"
# In tenths; systemd calls up to 2 "OK". pos.service was at 1.6.
MOST_EXPOSED = 20


@dataclass(frozen=True)
class Crontab:
    """The lines that give the environment, and the commands."""

    environment: dict[str, str]
    commands: list[str]


def crontab() -> Crontab:
    """As cron reads it: five fields of time, then the command; a `%` would be a line end."""
    environment, commands = {}, []
    for line in (EXAMPLES / "crontab").read_text().splitlines():
        if setting := re.fullmatch(r"(\w+)=(\S+)", line):
            environment[setting[1]] = setting[2]
        elif line and not line.startswith("#"):
            entry = re.fullmatch(r"(?:[\d*/,-]+ ){5}([^%]+)", line)
            assert entry, f"no line of a crontab: {line}"
            commands.append(entry[1])
    return Crontab(environment, commands)


def test_what_the_examples_call_is_there() -> None:
    """Every `pos …` and `dbt …` in them is a command, with options that it has."""
    found = [
        (file.name, words.split())
        for file in EXAMPLES.iterdir()
        if file.is_file()
        for words in re.findall(
            r"\.venv/bin/(pos [a-z -]+|dbt (?:--quiet )?test [\w:. -]+)", file.read_text()
        )
    ]
    for name, (command, *words) in found:
        if command == "pos":
            pos.commands[words[0]].make_context(words[0], words[1:])
        else:
            assert words[-3:] == ["test", "--select", "tag:full"], (name, words)
    assert {words[0] for _, words in found} == {"pos", "dbt"}
    assert {name for name, _ in found} >= {"pos.service", "crontab", "airflow_dag.py"}


@pytest.mark.parametrize("file", PYTHON, ids=lambda file: file.name)
def test_python_examples_are_python(file: Path) -> None:
    tree = ast.parse(file.read_text(), file.name)
    assert ast.get_docstring(tree)
    modules = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert modules & {"airflow", "dagster"}


@pytest.mark.pages
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze; install it: apt-get install systemd")
    for unit in UNITS:
        # It looks for the programs too, which lie here and not in /opt.
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/pos", str(ROOT)))
    files = [tmp_path / unit.name for unit in UNITS]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "pos" in line]
    assert (done.returncode, ours) == (0, []), done.stderr
    for unit in tmp_path.glob("*.service"):
        security = [analyze, "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", unit]
        done = subprocess.run(security, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.pages
def test_systemd_refuses_a_unit_with_a_mistake(tmp_path: Path) -> None:
    """Or the test above would pass whatever it is given."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze; install it: apt-get install systemd")
    unit = tmp_path / "pos.service"
    unit.write_text((EXAMPLES / "pos.service").read_text())  # whose program is not in /opt
    command = [analyze, "verify", "--man=no", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{BIN}pos" in done.stderr


@pytest.mark.pages
def test_cron_lines_run_in_cron_s_environment(tmp_path: Path) -> None:
    """Next to nothing in the environment, /bin/sh, another folder: all as cron has it."""
    if shutil.which("flock") is None:
        pytest.skip("no flock; install it: apt-get install util-linux")
    var = tmp_path / "var"
    settings = Settings(var / "landing", var / "lakehouse", free_port())
    month = Month(small_month(tmp_path / "month", items=200, lines=2_000))
    play(month, settings.landing, speed=None, until=month.ends_at)
    table = crontab()
    environment = {"HOME": str(tmp_path), "LOGNAME": "pos", "POS_PORT": str(settings.port)}
    for name, text in table.environment.items():
        environment[name] = text.replace("/var/lib/pos", str(var))
    assert environment["PATH"] == "/usr/bin:/bin"
    given = [f"{name}={text}" for name, text in environment.items()]
    try:
        for command in table.commands:
            placed = command.replace("/opt/pos", str(ROOT)).replace("/var/lib/pos", str(var))
            done = subprocess.run(
                ["env", "-i", *given, table.environment["SHELL"], "-c", placed],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
                timeout=500,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), command
    finally:
        down(settings)
    assert (settings.table("gold", "inventory_current") / "_delta_log").is_dir()
    assert (var / "target/run_results.json").is_file()


@pytest.mark.pages
def test_cron_line_says_what_went_wrong(tmp_path: Path) -> None:
    """A run that fails is no silent one: cron mails what it prints."""
    (build, _) = crontab().commands
    lakehouse = tmp_path / "lakehouse"
    lakehouse.write_text("a file where a folder should be")
    placed = build.replace("/opt/pos", str(ROOT)).replace("/var/lib/pos", str(tmp_path))
    given = ["PATH=/usr/bin:/bin", f"HOME={tmp_path}", f"POS_LAKEHOUSE={lakehouse}"]
    done = subprocess.run(
        ["env", "-i", *given, "/bin/sh", "-c", placed], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert str(lakehouse) in done.stdout
