"""`profiles/SIZES.md`: the commands of each set-up, as they stand there but for the sizes and the
ports, in a copy of the project; gold is the truth after each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loaders import engine, spark_cluster
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.config import Settings
from loaders.errors import UserError
from loaders.java import java_home_or_advice
from loaders.kafka import broker
from loaders.playback import Month
from tests.cluster.conftest import PROJECT, two_free_ports
from tests.cluster.test_spark_cluster import free_ports
from tests.sql.blocks import blocks, section
from tests.worlds import free_port

pytestmark = pytest.mark.cluster

PAGE = PROJECT / "profiles" / "SIZES.md"
CHAIN = "## A chain on one machine"
# Each set-up of the page, and the simulated world that it takes in.
SET_UPS = {
    "## One machine": "month",
    CHAIN: "chain",
    "## Many senders": "chain",
    "## Spark on one machine": "chain",
    "## A Spark cluster": "chain",
}
NEEDS_JAVA = ("## Many senders", "## Spark on one machine", "## A Spark cluster")
SMALLER = {
    "simulate --out month": "simulate --out month --days 2 --items 60 --lines 800",
    "--stores 200 --items 20000 --days 1 --lines 20000000": (
        "--stores 7 --items 50 --days 1 --lines 3000"
    ),
    "POS_SPARK_MEMORY=4g": "POS_SPARK_MEMORY=1g",
}
SECONDS = 1_500.0


def commands(heading: str) -> list[str]:
    return [line for block in blocks(section(PAGE, heading)) for line in block.commands]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as somebody has checked it out, with a `pos` on the path."""
    folder = tmp_path_factory.mktemp("sizes") / "project"
    folder.mkdir()
    for name in ("loaders", "models", "macros", "snapshots", "tests", "profiles", "seeds"):
        shutil.copytree(PROJECT / name, folder / name, symlinks=True)
    for name in ("dbt_project.yml", "selectors.yml"):
        shutil.copyfile(PROJECT / name, folder / name)
    if (PROJECT / "jars").exists():
        (folder / "jars").symlink_to((PROJECT / "jars").resolve())
    shim = folder / "bin" / "pos"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m loaders "$@"\n')
    shim.chmod(0o755)
    return folder


@pytest.fixture
def places(copy: Path) -> Iterator[Settings]:
    """Nothing landed or built; whatever a page's commands leave running is ended."""
    found = Settings(copy / "landing", copy / "lakehouse", free_port(), project=copy)
    for folder in (found.landing, found.lakehouse):
        shutil.rmtree(folder, ignore_errors=True)
    yield found
    engine.down(found)
    broker.down(found)
    spark_cluster.down(found)


def run(copy: Path, lines: list[str], ports: dict[str, int]) -> str:
    """What commands say, in one shell that stops at the first that fails."""
    script = "\n".join(lines)
    for text, other in {**SMALLER, ":9092": f":{ports['POS_KAFKA_PORT']}"}.items():
        script = script.replace(text, other)
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=copy,
        env={
            **{name: text for name, text in os.environ.items() if not name.startswith("POS_")},
            **{name: str(port) for name, port in ports.items()},
            "PATH": f"{copy / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(copy),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_page_has_a_section_for_each_and_no_command_elsewhere() -> None:
    found = [line for block in blocks(PAGE.read_text()) for line in block.commands]
    assert found == [line for heading in SET_UPS for line in commands(heading)]
    assert all(commands(heading) for heading in SET_UPS)
    links = re.findall(r"\]\(#([\w-]+)\)", PAGE.read_text())
    headings = {heading[3:].lower().replace(" ", "-") for heading in SET_UPS}
    assert set(links) == headings


@pytest.mark.parametrize("heading", SET_UPS)
def test_a_set_up_does_what_the_page_says(copy: Path, places: Settings, heading: str) -> None:
    if heading in NEEDS_JAVA:
        try:
            java_home_or_advice()
        except UserError as advice:
            pytest.skip(str(advice))
    lines = commands(heading)
    if SET_UPS[heading] == "chain" and not any("simulate" in line for line in lines):
        lines = [*commands(CHAIN)[:2], *lines]  # the chain and its stores, of the section before
    ports = {
        "POS_PORT": places.port,
        "POS_KAFKA_PORT": two_free_ports(),
        "POS_CLUSTER_PORT": free_ports(6),
    }
    said = run(copy, lines, ports)

    month = Month(copy / SET_UPS[heading])
    for compare in (compare_with_truth, compare_variances_with_truth):
        found = compare(places.lakehouse, month.folder, month.ends_at)
        assert found.differences == 0, found.examples
        assert found.keys >= {"month": 120, "chain": 350}[month.folder.name]
    if heading == CHAIN:
        assert re.search(r"physical\W+6\W+300\b", said), said
        assert re.search(r"online\W+1\W+50\b", said), said
