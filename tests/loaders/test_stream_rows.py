"""What of `pos stream` needs no Spark; tests/spark/test_stream_on_spark.py has the rest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from loaders.bronze import SCHEMAS
from loaders.cli import pos
from loaders.config import Settings
from loaders.errors import UserError
from loaders.kafka.address import feed_of_topic, pattern_of
from loaders.landing import FEEDS, MESSAGES
from loaders.stream import (
    FILES_OF,
    application_of,
    create_table_sql,
    refusal_of,
    relative_path,
    source,
)
from loaders.stream_session import checkpoints_of, input_of

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


@pytest.mark.parametrize(
    ("options", "is_there", "expected"),
    [
        (["--landing=/l"], True, "on Databricks it needs --checkpoints, --schema and --landing"),
        (["--checkpoints=/c", "--schema=b"], True, "and --landing"),
        (["--schema=main.bronze"], False, "--schema is for Databricks"),
        (["--accept-loss"], False, "--accept-loss is about Kafka"),
    ],
)
def test_options_that_do_not_go_together(
    monkeypatch: pytest.MonkeyPatch, options: list[str], is_there: bool, expected: str
) -> None:
    monkeypatch.delenv(RUNTIME, raising=False)
    if is_there:
        monkeypatch.setenv(RUNTIME, "client.4.1")
    outcome = CliRunner().invoke(pos, ["stream", *options])
    assert outcome.exit_code == 2
    assert expected in outcome.output


def test_an_address_that_is_none_is_refused_before_spark_starts() -> None:
    outcome = CliRunner().invoke(pos, ["stream", "--from", "kafka://nowhere"])
    assert isinstance(outcome.exception, UserError)
    assert "a Kafka broker is named as in" in str(outcome.exception)


def test_each_input_has_checkpoints_of_its_own(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "landing", tmp_path / "lake")
    inputs = [
        input_of("/landing", address, None, accept_loss=False)
        for address in (None, "kafka://127.0.0.1:9092", "kafka://a:1,b:2")
    ]
    folders = {checkpoints_of(settings, each) for each in inputs}
    assert len(folders) == 3
    assert all(folder.parent == settings.state / "stream" for folder in folders)


@pytest.mark.parametrize("feed", FEEDS)
def test_a_feed_s_pattern_matches_its_topics_and_no_others(feed: str) -> None:
    topics = [
        *("pos.online.changes", "pos.store.1.changes", "pos.x.counts", "pos.reference.items"),
        *("pos.playback", "pos.changes", "xpos.online.changes", "pos.online.changes.old"),
        *("pos.other.items", "pos..changes", "__consumer_offsets", "pos_online_changes"),
    ]
    expected = [topic for topic in topics if feed_of_topic(topic) == feed]
    assert expected
    assert [topic for topic in topics if re.fullmatch(pattern_of(feed), topic)] == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Query [id = 1] terminated with exception: [KAFKA_DATA_LOSS.X] gone", "messages are lost"),
        ("x terminated with exception: Some data may have been lost because", "--accept-loss"),
        ("x terminated with exception: Timed out\n\tat java", "the stream ended: Timed out"),
    ],
)
def test_what_spark_says_is_a_sentence(said: str, expected: str) -> None:
    assert expected in refusal_of(said)
    assert "\n" not in refusal_of(said)


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
