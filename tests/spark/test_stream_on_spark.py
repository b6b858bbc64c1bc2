"""The load by Structured Streaming: the bronze rows of `pos load`, each once, whatever is killed.

On Apache Spark, with its own file source where Databricks has Auto Loader.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from loaders import spark
from loaders.bronze import SCHEMAS
from loaders.config import Settings
from loaders.landing import FEEDS, MESSAGES, publish
from loaders.load import Loader
from loaders.stream import LandingFolder, Places, Stream
from tests import worlds
from tests.worlds import ResidentDbt

pytestmark = pytest.mark.spark

SCHEMA = "streamed"


@dataclass
class Streamed:
    """A landing folder loaded in two parts by both loaders."""

    dbt: ResidentDbt
    by_load: Settings
    by_stream: Settings
    files: list[dict[str, int]]

    def stream(self) -> dict[str, int]:
        return self.dbt.call(self.by_stream, stream)

    def rows(self, settings: Settings, feed: str) -> list[dict[str, object]]:
        """All but when they were received, in order of arrival."""
        table = DeltaTable(str(settings.table("bronze", feed))).to_pyarrow_table()
        rows = table.drop_columns(["received_at"]).to_pylist()
        return sorted(rows, key=lambda row: (row["ingest_id"], row["ingest_line"]))


def stream(settings: Settings) -> dict[str, int]:
    """One pass, in the process that has Spark; as after a restart: nothing is kept of the last."""
    session = spark.session(settings)
    session.sql(f"create schema if not exists {SCHEMA} location '{settings.lakehouse}/bronze'")
    places = Places(settings.lakehouse / "_checkpoints", SCHEMA)
    return Stream(session, places, LandingFolder(str(settings.landing))).load()


@pytest.fixture(scope="module")
def streamed(spark_dbt: ResidentDbt, tmp_path_factory: pytest.TempPathFactory) -> Streamed:
    folder = tmp_path_factory.mktemp("stream")
    month = worlds.small_month(folder / "month")
    landing = folder / "land ing"
    by_load = Settings(landing, folder / "by_load")
    by_stream = Settings(landing, folder / "by_stream", target="spark")
    made = Streamed(spark_dbt, by_load, by_stream, [])
    start = worlds.BEGINNING
    for end in worlds.part_ends(month, 2):
        worlds.publish_part(month, landing, start, end)
        start = end
        publish(landing / "_draft/changes/1.json", b"{}\n")
        whole_milliseconds(landing)
        with Loader(by_load) as loader:
            loader.load()
        made.files.append(made.stream())
    return made


def whole_milliseconds(landing: Path) -> None:
    """Spark knows a file's time to the millisecond."""
    for file in (path for path in landing.rglob("*") if path.is_file()):
        modified_ns = file.stat().st_mtime_ns // 1_000_000 * 1_000_000
        os.utime(file, ns=(modified_ns, modified_ns))


@pytest.mark.parametrize("feed", FEEDS)
def test_bronze_is_what_pos_load_makes_of_the_same_files(streamed: Streamed, feed: str) -> None:
    expected = streamed.rows(streamed.by_load, feed)
    assert len(expected) > 100
    assert streamed.rows(streamed.by_stream, feed) == expected
    assert all(files[MESSAGES] > 0 for files in streamed.files)


@pytest.mark.parametrize("feed", FEEDS)
def test_tables_are_those_of_pos_load(streamed: Streamed, feed: str) -> None:
    tables = [
        DeltaTable(str(settings.table("bronze", feed)))
        for settings in (streamed.by_load, streamed.by_stream)
    ]
    columns = [[(f.name, f.type, f.nullable) for f in table.schema().fields] for table in tables]
    assert columns[0] == columns[1]
    assert [name for name, _, _ in columns[0]] == SCHEMAS[feed].names
    assert tables[1].metadata().configuration["delta.appendOnly"] == "true"


def test_the_embedded_engine_builds_from_what_spark_has_loaded(streamed: Streamed) -> None:
    """Spark writes timestamps as INT96 unless told not to: no model of bronze can be built then."""
    by_stream = replace(streamed.by_stream, port=worlds.free_port(), target="local")
    by_load = replace(streamed.by_load, port=worlds.free_port())
    with ResidentDbt() as dbt:
        for settings in (by_stream, by_load):
            dbt.build(settings, "--exclude-resource-type", "unit_test")
    stock, expected = (
        worlds.business_rows(worlds.open_table(settings, "gold.inventory_current"))
        for settings in (by_stream, by_load)
    )
    assert len(expected) > 100
    assert stock == expected


def test_nothing_new_adds_nothing(streamed: Streamed) -> None:
    before = [streamed.rows(streamed.by_stream, feed) for feed in FEEDS]
    assert streamed.stream() == dict.fromkeys(FEEDS, 0)
    assert [streamed.rows(streamed.by_stream, feed) for feed in FEEDS] == before


def test_killed_between_commit_and_checkpoint_repeats_nothing(streamed: Streamed) -> None:
    """Spark runs a micro-batch again if it does not know that it was done; Delta does know."""
    before = streamed.rows(streamed.by_stream, MESSAGES)
    forget_last_commit(streamed.by_stream.lakehouse / "_checkpoints" / MESSAGES)
    assert streamed.stream()[MESSAGES] > 0, "no micro-batch was run again"
    assert streamed.rows(streamed.by_stream, MESSAGES) == before


def test_without_its_checkpoint_all_is_another_delivery(streamed: Streamed) -> None:
    """Twice is repaired in silver; left out would be lost."""
    before = streamed.rows(streamed.by_stream, MESSAGES)
    shutil.rmtree(streamed.by_stream.lakehouse / "_checkpoints" / MESSAGES)
    streamed.stream()
    after = streamed.rows(streamed.by_stream, MESSAGES)
    assert len(after) == 2 * len(before)
    assert after[: len(before)] == before


def forget_last_commit(checkpoint: Path) -> None:
    commits = [path for path in (checkpoint / "commits").iterdir() if path.name.isdigit()]
    max(commits, key=lambda path: int(path.name)).unlink()
