"""One contract, both loaders, both sources: `pos load` and `pos stream`, of files and of Kafka.

Whatever loads, bronze has each line, row and message that was sent, once and as it came, under
numbers that only go up; a count in one commit; and a kill changes nothing of that.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from deltalake import DeltaTable

import tests.worlds
from loaders.bronze import SCHEMAS
from loaders.config import Settings
from loaders.kafka.load import KafkaLoader
from loaders.kafka.sink import KafkaSink
from loaders.kafka.streaming import class_path
from loaders.landing import COUNTS, FEEDS, ITEMS, MESSAGES, publish
from loaders.load import Loader
from loaders.playback import Month, play
from loaders.stream_session import input_of, opened
from tests.cluster.conftest import PROJECT, QUICK_JAVA, Cluster, bronze, command
from tests.faults.figures import Figures
from tests.spark.test_stream_on_spark import whole_milliseconds
from tests.worlds import ResidentDbt, forget_tables

pytestmark = pytest.mark.cluster

# How and when a row came; the rest is what the sender said.
RECEIPT = {"ingest_id", "ingest_line", "source_file", "source_line", "received_at", "landed_at"}
PLACE = ("source_file", "source_line")
WAYS = [
    ("load", "files"),
    ("stream", "files"),
    ("load", "kafka"),
    ("stream", "kafka"),
]
MOST = 100  # messages in a micro-batch: the month has some 350, so there are several
GARBAGE = [b"not json", b"\xff\xfe{", b'{"trans_id": "half', "ü".encode("latin-1"), b"[]"]
BROKEN_COUNT = b"item_id,quantity\n1,2\n3,4\n"
COMMAND = "make test-cluster"
STREAM_SECONDS = 1_200.0  # of a JVM that starts on a busy machine


@dataclass
class Sent:
    """The month, in a landing folder and in Kafka, the same garbage in both."""

    cluster: Cluster
    landing: Path

    def address(self, source: str) -> str | None:
        return self.cluster.address if source == "kafka" else None


@dataclass
class Loaded:
    """A lakehouse loaded in one way."""

    way: tuple[str, str]
    settings: Settings
    seconds: float = 0.0
    taken: dict[str, int] = field(default_factory=dict)

    def rows(self, feed: str) -> list[dict[str, Any]]:
        rows = bronze(self.settings, feed)
        return sorted(rows, key=lambda row: (row["ingest_id"], row["ingest_line"]))

    def versions(self, feed: str) -> int:
        return DeltaTable(str(self.settings.table("bronze", feed))).version()


def said(row: dict[str, Any]) -> tuple[object, ...]:
    return tuple(value for name, value in sorted(row.items()) if name not in RECEIPT)


def placed(row: dict[str, Any]) -> tuple[object, ...]:
    return (*(row[name] for name in PLACE), *said(row))


def rows_in(settings: Settings, feed: str) -> int:
    files = DeltaTable(str(settings.table("bronze", feed))).get_add_actions(flatten=True)
    return sum(files["num_records"].to_pylist())


def begin(settings: Settings) -> None:
    """Start Spark, which is not part of what a load takes."""
    from loaders import spark

    spark.session(settings, class_path(settings.project)).range(1).count()


def stream_once(
    settings: Settings, landing: str, kafka: str | None, most: int | None
) -> dict[str, int]:
    """In the process that has Spark: all there is, as `pos stream --once` takes it in."""
    from loaders import spark

    spark.session(settings, class_path(settings.project))
    forget_tables(settings)
    with opened(settings, input_of(landing, kafka, most, accept_loss=False)) as stream:
        return stream.load()


def stream_until(
    settings: Settings, landing: str, kafka: str | None, most: int, rows: dict[str, int]
) -> dict[str, int]:
    """Continuously, until bronze has so many rows; how many files or messages each feed had."""
    from loaders import spark

    spark.session(settings, class_path(settings.project))
    forget_tables(settings)
    taken = dict.fromkeys(FEEDS, 0)
    deadline = time.monotonic() + STREAM_SECONDS

    def is_done() -> bool:
        return time.monotonic() > deadline or all(
            rows_in(settings, feed) >= number for feed, number in rows.items()
        )

    def enter(feed: str, number: int) -> None:
        taken[feed] += number

    with opened(settings, input_of(landing, kafka, most, accept_loss=False)) as stream:
        stream.run(0.5, is_done, enter)
    return taken


@pytest.fixture(scope="module")
def with_spark() -> Iterator[ResidentDbt]:
    """A process with a Spark that reads Kafka, for all tests here."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in QUICK_JAVA.items():
            patch.setenv(name, value)
        patch.setattr(tests.worlds, "CALL_SECONDS", STREAM_SECONDS)
        yield stack.enter_context(ResidentDbt())


@pytest.fixture(scope="module")
def sent_both_ways(
    _cluster: Cluster, month: Month, tmp_path_factory: pytest.TempPathFactory
) -> Sent:
    landing = tmp_path_factory.mktemp("contract") / "land ing"
    _cluster.up()
    _cluster.forget()
    play(month, landing, speed=None)
    play(month, KafkaSink(_cluster.address), speed=None)
    publish(landing / "online/changes/garbage.json", b"\n".join(GARBAGE) + b"\n")
    publish(landing / "online/counts/garbage.csv", BROKEN_COUNT)
    sink = KafkaSink(_cluster.address)
    for topic in ("pos.online.changes", "pos.online.counts"):
        sink._make_topic(topic)
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{_cluster.port}", "acks": "all"})
    for value in GARBAGE:
        producer.produce("pos.online.changes", value, partition=1)
    producer.produce("pos.online.counts", BROKEN_COUNT)
    assert producer.flush(60) == 0
    whole_milliseconds(landing)
    return Sent(_cluster, landing)


@pytest.fixture(scope="module")
def loaded(
    sent_both_ways: Sent, with_spark: ResidentDbt, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Loaded]:
    """Each way, into a lakehouse of its own."""
    ways = {}
    with_spark.call(on_spark(Settings(sent_both_ways.landing, Path("none").absolute())), begin)
    for way in WAYS:
        settings = Settings(sent_both_ways.landing, tmp_path_factory.mktemp("_".join(way)) / "lake")
        ways[way] = Loaded(way, settings)
        take_in(ways[way], sent_both_ways, with_spark)
    return ways


def take_in(lakehouse: Loaded, sent: Sent, with_spark: ResidentDbt) -> None:
    loader, source = lakehouse.way
    address = sent.address(source)
    started = time.monotonic()
    if loader == "stream":
        lakehouse.taken = with_spark.call(
            on_spark(lakehouse.settings), stream_once, str(sent.landing), address, MOST
        )
    else:
        settings = lakehouse.settings
        with KafkaLoader(settings, address) if address else Loader(settings) as loading:
            lakehouse.taken = loading.load().rows
    lakehouse.seconds = time.monotonic() - started


def on_spark(settings: Settings) -> Settings:
    return Settings(settings.landing, settings.lakehouse, target="spark")


@pytest.fixture(params=WAYS, ids="_of_".join)
def lakehouse(request: pytest.FixtureRequest, loaded: dict[tuple[str, str], Loaded]) -> Loaded:
    return loaded[request.param]


@pytest.mark.parametrize("feed", FEEDS)
def test_all_that_was_sent_is_there_once(
    lakehouse: Loaded, loaded: dict[tuple[str, str], Loaded], month: Month, feed: str
) -> None:
    rows = lakehouse.rows(feed)
    places = Counter(tuple(row[name] for name in PLACE) for row in rows)
    assert set(places.values()) == {1}
    assert len(rows) >= {MESSAGES: 300, COUNTS: 600, ITEMS: 200}[feed]
    by_files = loaded["load", "files"].rows(feed)
    assert Counter(map(said, rows)) == Counter(map(said, by_files))


@pytest.mark.parametrize("source", ["files", "kafka"])
@pytest.mark.parametrize("feed", FEEDS)
def test_both_loaders_make_the_same_rows(
    loaded: dict[tuple[str, str], Loaded], source: str, feed: str
) -> None:
    by_load, by_stream = (loaded[loader, source].rows(feed) for loader in ("load", "stream"))
    assert Counter(map(placed, by_stream)) == Counter(map(placed, by_load))
    # When each landed is the broker's or the file's, for both.
    landed = [{placed(row): row["landed_at"] for row in rows} for rows in (by_load, by_stream)]
    assert landed[0] == landed[1]


@pytest.mark.parametrize("feed", FEEDS)
def test_numbers_only_go_up(lakehouse: Loaded, feed: str) -> None:
    """Commit by commit: no reader ever sees a number without those before it."""
    path = str(lakehouse.settings.table("bronze", feed))
    seen: set[int] = set()
    commits = 0
    for version in range(DeltaTable(path).version() + 1):
        table = DeltaTable(path, version=version).to_pyarrow_table(columns=["ingest_id"])
        numbers = set(table["ingest_id"].to_pylist())
        if new := numbers - seen:
            assert new == {max(seen, default=0) + 1}
            commits += 1
        assert numbers >= seen
        seen = numbers
    assert commits >= 1
    if lakehouse.way == ("stream", "kafka") and feed == MESSAGES:
        assert commits >= 2, "back-pressure made no difference"


@pytest.mark.parametrize("feed", FEEDS)
def test_rows_of_a_commit_are_numbered_in_order(lakehouse: Loaded, feed: str) -> None:
    by_commit: dict[int, list[int]] = {}
    for row in lakehouse.rows(feed):
        by_commit.setdefault(row["ingest_id"], []).append(row["ingest_line"])
    for lines in by_commit.values():
        assert lines == list(range(1, len(lines) + 1))


def test_columns_are_those_of_bronze(lakehouse: Loaded) -> None:
    for feed in FEEDS:
        table = DeltaTable(str(lakehouse.settings.table("bronze", feed)))
        assert table.schema().to_arrow().names == SCHEMAS[feed].names
        assert table.metadata().configuration["delta.appendOnly"] == "true"


def test_garbage_is_kept(lakehouse: Loaded) -> None:
    bodies = Counter(row["body"] for row in lakehouse.rows(MESSAGES))
    kept = ["not json", "not UTF-8: \\xff\\xfe{", '{"trans_id": "half', "not UTF-8: \\xfc", "[]"]
    assert all(bodies[body] == 1 for body in kept), bodies.most_common(5)
    broken = [row for row in lakehouse.rows(COUNTS) if row["raw"] in ("1,2", "3,4")]
    assert len(broken) == 2
    assert all("header is item_id,quantity" in row["defect"] for row in broken)


def test_a_count_is_in_one_commit(lakehouse: Loaded) -> None:
    commits: dict[str, set[int]] = {}
    for row in lakehouse.rows(COUNTS):
        commits.setdefault(row["source_file"], set()).add(row["ingest_id"])
    assert len(commits) >= 6
    assert all(len(numbers) == 1 for numbers in commits.values())


def test_nothing_new_adds_nothing(
    lakehouse: Loaded, sent_both_ways: Sent, with_spark: ResidentDbt
) -> None:
    before = {feed: lakehouse.rows(feed) for feed in FEEDS}
    again = Loaded(lakehouse.way, lakehouse.settings)
    take_in(again, sent_both_ways, with_spark)
    assert sum(again.taken.values()) == 0
    assert {feed: lakehouse.rows(feed) for feed in FEEDS} == before


@pytest.mark.parametrize("source", ["files", "kafka"])
def test_a_stream_that_goes_on_has_the_same(
    loaded: dict[tuple[str, str], Loaded],
    sent_both_ways: Sent,
    with_spark: ResidentDbt,
    tmp_path: Path,
    source: str,
) -> None:
    expected = {feed: loaded["load", source].rows(feed) for feed in FEEDS}
    settings = Settings(sent_both_ways.landing, tmp_path / "lake", target="spark")
    with_spark.call(
        settings,
        stream_until,
        str(sent_both_ways.landing),
        sent_both_ways.address(source),
        MOST,
        {feed: len(rows) for feed, rows in expected.items()},
    )
    found = Loaded(("stream", source), settings)
    for feed in FEEDS:
        assert Counter(map(placed, found.rows(feed))) == Counter(map(placed, expected[feed]))


@pytest.mark.parametrize("source", ["files", "kafka"])
@pytest.mark.parametrize("loader", ["load", "stream"])
def test_killed_and_started_again_exactly_once(
    loaded: dict[tuple[str, str], Loaded],
    sent_both_ways: Sent,
    tmp_path: Path,
    loader: str,
    source: str,
) -> None:
    """Before and after a commit: there, nothing but the table itself knows what it has."""
    settings = Settings(sent_both_ways.landing, tmp_path / "lake")
    address = sent_both_ways.address(source)
    arguments = [loader, "--once", *(["--from", address] if address else [])]
    if loader == "stream":
        arguments += ["--batch", str(MOST)]
    environment = {**os.environ, **settings.environment(), **QUICK_JAVA}
    for place in (f"{loader}.before_commit:2", f"{loader}.after_commit"):
        done = subprocess.run(
            command(*arguments),
            env={**environment, "POS_FAIL_AT": place},
            capture_output=True,
            timeout=STREAM_SECONDS,
            check=False,
            cwd=PROJECT,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2_000:]
    done = subprocess.run(
        command(*arguments),
        env=environment,
        capture_output=True,
        timeout=STREAM_SECONDS,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    found = Loaded((loader, source), settings)
    for feed in FEEDS:
        expected = loaded["load", source].rows(feed)
        assert Counter(map(placed, found.rows(feed))) == Counter(map(placed, expected))
        numbers = sorted({row["ingest_id"] for row in found.rows(feed)})
        assert numbers == list(range(1, len(numbers) + 1))


def test_pos_load_goes_on_after_a_stream(
    loaded: dict[tuple[str, str], Loaded], sent_both_ways: Sent, tmp_path: Path
) -> None:
    """Its ledger knows nothing of what a stream has loaded, so all is another delivery; but the
    numbers go on."""
    by_stream = loaded["stream", "files"]
    before = by_stream.rows(ITEMS)
    with Loader(by_stream.settings) as loader:
        assert loader.commits[ITEMS] == max(row["ingest_id"] for row in before)
        loader.load_again(ITEMS, [before[0]["ingest_id"] * 2**31 + before[0]["ingest_line"]])
    after = by_stream.rows(ITEMS)
    assert after[: len(before)] == before
    assert after[-1]["ingest_id"] == before[-1]["ingest_id"] + 1
    assert after[-1]["redrive_of_ingest_id"] == before[0]["ingest_id"]


def test_rates(loaded: dict[tuple[str, str], Loaded], figures: Figures) -> None:
    for (loader, source), lakehouse in loaded.items():
        rows = sum(len(lakehouse.rows(feed)) for feed in FEEDS)
        rate = f"{rows:,} rows in {lakehouse.seconds:.1f} s"
        figures.add(f"`pos {loader}` of {source}, in a process that has started", rate, COMMAND)
        assert rows > 1_000
