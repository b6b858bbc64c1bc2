"""What of `pos stream` needs no Spark; tests/spark/test_stream_on_spark.py has the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from loaders.bronze import SCHEMAS
from loaders.cli import pos
from loaders.errors import UserError
from loaders.landing import FEEDS, MESSAGES
from loaders.stream import FILES_OF, application_of, create_table_sql, relative_path, source

RUNTIME = "DATABRICKS_RUNTIME_VERSION"


class Reader:
    """Keeps what Spark's reader is told."""

    def __init__(self) -> None:
        self.told: dict[str, object] = {}

    def format(self, name: str) -> Reader:
        self.told["format"] = name
        return self

    def schema(self, columns: str) -> Reader:
        self.told["schema"] = columns
        return self

    def option(self, name: str, value: object) -> Reader:
        self.told[name] = value
        return self


def test_auto_loader_on_databricks_and_spark_s_own_source_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(RUNTIME, raising=False)
    elsewhere = source(Reader()).told
    assert elsewhere["format"] == "binaryFile"
    monkeypatch.setenv(RUNTIME, "client.4.1")
    there = source(Reader()).told
    assert there["format"] == "cloudFiles"
    assert there["cloudFiles.format"] == "binaryFile"
    assert there["cloudFiles.allowOverwrites"] == "true"
    assert all(name == "format" or name.startswith("cloudFiles.") for name in there)


def test_each_feed_has_its_files() -> None:
    assert set(FILES_OF) == set(FEEDS)


def test_not_on_databricks_it_says_what_loads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNTIME, raising=False)
    options = ["--landing=/l", "--checkpoints=/c", "--schema=main.bronze"]
    outcome = CliRunner().invoke(pos, ["stream", *options])
    assert isinstance(outcome.exception, UserError)
    assert "pos load" in str(outcome.exception)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dbfs:/Volumes/pos/bronze/landing/a b/changes/1.json", "a b/changes/1.json"),
        ("/Volumes/pos/bronze/landing/reference/items.csv", "reference/items.csv"),
        ("file:/Volumes/pos/bronze/landing/x/counts/a%20b.csv", "x/counts/a%20b.csv"),
    ],
)
def test_path_below_the_landing_folder(path: str, expected: str) -> None:
    assert relative_path(path, "/Volumes/pos/bronze/landing") == expected
    assert relative_path(path, "/Volumes/pos/bronze/landing/") == expected


def test_file_from_elsewhere_is_refused() -> None:
    with pytest.raises(UserError, match="does not lie in the landing folder"):
        relative_path(
            "/Volumes/pos/bronze/landing_2/a/changes/1.json", "/Volumes/pos/bronze/landing"
        )


def test_application_is_that_of_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / MESSAGES
    first = application_of(checkpoint, MESSAGES)
    assert application_of(checkpoint, MESSAGES) == first
    shutil.rmtree(checkpoint)
    assert application_of(checkpoint, MESSAGES) != first


def test_tables_have_the_columns_of_bronze() -> None:
    sql = create_table_sql("main.bronze.pos_messages", SCHEMAS[MESSAGES])
    assert sql.startswith(
        "create table if not exists main.bronze.pos_messages (ingest_id bigint not"
    )
    assert "source_line int not null, received_at timestamp not null" in sql
    assert "redrive_of_ingest_line bigint, body string not null)" in sql
    assert "'delta.appendOnly' = 'true'" in sql
