"""What README shows under "Query it" does what it says: its blocks, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys

import pyarrow.compute as pc
import pytest

from loaders import engine
from tests.sql.blocks import Block, blocks, section
from tests.sql.conftest import PROJECT, Sample

QUERY_IT = blocks(section(PROJECT / "README.md", "## Query it"))
PYTHON = [block for block in QUERY_IT if block.language == "python"]
READERS = {"polars": 0, "duckdb": 1, "DeltaTable": 2, "SparkSession": 3}

pytestmark = pytest.mark.pages


def output_of(sample: Sample, *command: str) -> str:
    """What a command that must succeed prints, beside the sample as a reader of the page has it."""
    done = subprocess.run(
        command,
        cwd=sample.folder,
        env=sample.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_readme_shows_every_reader() -> None:
    assert len(PYTHON) == len(READERS)
    for name, number in READERS.items():
        assert name in PYTHON[number].text


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_prints_the_units_of_each_store(sample: Sample, reader: str) -> None:
    block = PYTHON[READERS[reader]]
    program = block.text.replace(":50051", f":{sample.settings.port}")
    printed = output_of(sample, sys.executable, "-c", program)
    table = sample.table("inventory_current")
    units = table.group_by("store_name").aggregate([("on_hand_quantity", "sum")])
    assert units.num_rows == 2
    for row in units.to_pylist():
        line = next(text for text in printed.splitlines() if row["store_name"] in text)
        assert str(row["on_hand_quantity_sum"]) in re.findall(r"-?\d+", line.replace(",", "")), line


def test_a_session_of_its_own_stops_without_the_shared_one(sample: Sample) -> None:
    shared = engine.connect(sample.settings)
    before = shared.sql("select count(*) from gold.inventory_current").collect()[0][0]
    test_a_reader_prints_the_units_of_each_store(sample, "SparkSession")
    assert shared.sql("select count(*) from gold.inventory_current").collect()[0][0] == before
    assert before == sample.table("inventory_current").num_rows > 0


def shell(block: Block) -> list[str]:
    return [command for command in block.commands if "pos sql " in command]


@pytest.mark.parametrize("command", [text for block in QUERY_IT for text in shell(block)])
def test_a_command_of_the_page_answers(sample: Sample, command: str) -> None:
    script = f'pos() {{ "{sys.executable}" -m loaders "$@"; }}\n{command}'
    printed = output_of(sample, "bash", "-e", "-o", "pipefail", "-c", script)
    written = sample.folder / command.rpartition("> ")[2]
    assert printed or (written.suffix == ".csv" and written.read_text().count("\n") > 1)
    if "as units" in command:
        table = sample.table("inventory_current")
        assert str(pc.sum(table["on_hand_quantity"].filter(pc.equal(table["store_id"], 1)))) in (
            printed
        )
