"""Kafka without a broker: names, rows, where reading begins, a load killed around its commits."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import loaders.kafka.load
import loaders.load
from loaders.bronze import SCHEMAS
from loaders.config import Settings
from loaders.errors import UserError
from loaders.kafka import broker
from loaders.kafka.address import (
    LINES_PER_NAME,
    bootstrap_of,
    feed_of_topic,
    name_of_text,
    place_of_message,
    topic_of,
)
from loaders.kafka.load import KafkaLoader
from loaders.kafka.rows import Message, in_order, rows_of_messages, start_of
from loaders.kafka.sink import messages_of
from loaders.kafka.source import (
    LINE_BYTES,
    Batch,
    Extent,
    Partition,
    UnavailableError,
    cost_of,
)
from loaders.landing import COUNTS, ITEMS, MESSAGES, feed_of
from loaders.load import Loader
from loaders.plan import Plan, rows_of_contents
from tests.worlds import rows_in

RECEIVED_AT = datetime(2021, 1, 2, tzinfo=UTC)
SECOND_US = 1_000_000
PATHS = ("online/changes/1.json", "store_001/counts/1.csv", "reference/items_1.csv")


# Names.


@pytest.mark.parametrize("path", PATHS)
def test_a_topic_is_of_the_feed_of_the_file(path: str) -> None:
    assert feed_of_topic(topic_of(path)) == feed_of(path) is not None


@pytest.mark.parametrize("topic", ["pos.playback", "other.online.changes", "pos.online.items", ""])
def test_other_topics_are_not_read(topic: str) -> None:
    assert feed_of_topic(topic) is None


@pytest.mark.parametrize("path", ["a b/changes/1.json", "online/other/1.json", "é/counts/1.csv"])
def test_what_cannot_be_a_topic_is_a_sentence(path: str) -> None:
    with pytest.raises(UserError, match="has no topic"):
        topic_of(path)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9092", "kafka://", "kafka://host", "kafka://host:0", "kafka://h:1,"]
)
def test_what_names_no_broker_is_a_sentence(address: str) -> None:
    with pytest.raises(UserError, match="a Kafka broker is named as in"):
        bootstrap_of(address)


@pytest.mark.parametrize("offset", [0, 1, 2**31 - 1, 2**31, 2**31 + 5, 2**32, 2**62])
def test_a_place_says_the_offset_whatever_its_size(offset: int) -> None:
    name, line = place_of_message("pos.online.changes", 3, offset)
    base = int(name.partition("+")[2] or 0)
    assert base + line == offset
    assert 0 <= line < LINES_PER_NAME
    assert pa.scalar(line, SCHEMAS[MESSAGES].field("source_line").type).as_py() == line


# Rows.


def plan_of(feed: str, floor_us: int | None = None) -> Plan:
    return Plan(feed, 7, RECEIVED_AT, floor_us)


def at(seconds: float | None, offset: int, value: bytes | None = b"{}", partition: int = 0) -> Any:
    appended_us = None if seconds is None else int(seconds * SECOND_US)
    return Message("pos.online.changes", partition, offset, appended_us, value)


def landings(table: pa.Table) -> list[int]:
    return list(table["landed_at"].cast(pa.int64()).to_pylist())


def test_messages_become_the_rows_of_a_file_with_these_lines() -> None:
    lines = [b'{"trans_id": "A"}', b"not json", b"\xff", '{"é": 1}'.encode(), b"\xef\xbb\xbf{}"]
    table = rows_of_messages(plan_of(MESSAGES), [at(9, n, line) for n, line in enumerate(lines)])
    (landed,) = [
        rows_of_contents(plan_of(MESSAGES), [(_file(), b"\xef\xbb\xbf" * (n == 4) + line + b"\n")])
        for n, line in enumerate([b"\n".join(lines[:4])])
    ]
    assert table["body"].to_pylist()[:4] == landed["body"].to_pylist()
    assert table["body"].to_pylist()[4] == "{}"
    assert table.schema == landed.schema
    assert table["source_line"].to_pylist() == [0, 1, 2, 3, 4]
    assert set(table["source_file"].to_pylist()) == {"kafka://pos.online.changes/0"}
    assert table["ingest_line"].to_pylist() == [1, 2, 3, 4, 5]


def _file() -> Any:
    from loaders.landing import LandedFile

    return LandedFile(0, "online/changes/1.json", 1)


def test_a_message_without_a_value_is_a_row_that_silver_rejects() -> None:
    table = rows_of_messages(plan_of(MESSAGES), [at(1, 0, None), at(1, 1, b"")])
    assert table["body"].to_pylist() == ["", ""]


def test_a_count_is_its_rows_with_their_lines() -> None:
    text = b"item_id,employee_id,store_id,date_time,quantity\n1,9,1,d,10\n2,9,1,d,20,more\n"
    messages = [Message("pos.s.counts", 0, n, n * SECOND_US, text) for n in (4, 5)]
    table = rows_of_messages(plan_of(COUNTS), messages)
    assert table["source_file"].to_pylist()[::2] == [
        name_of_text("pos.s.counts", 0, 4),
        (name_of_text("pos.s.counts", 0, 5)),
    ]
    assert table["source_line"].to_pylist() == [2, 3, 2, 3]
    assert [defect is None for defect in table["defect"].to_pylist()] == [True, False] * 2
    assert table["ingest_line"].to_pylist() == [1, 2, 3, 4]


def test_a_count_without_a_header_is_kept_as_defect() -> None:
    table = rows_of_messages(plan_of(COUNTS), [Message("pos.s.counts", 0, 0, 1, None)])
    assert "header is" in table["defect"].to_pylist()[0]


def test_a_count_of_more_lines_than_a_commit_may_have_is_one_defect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loaders.kafka.rows.MESSAGE_LINES", 3)
    header = b"item_id,employee_id,store_id,date_time,quantity\n"
    few, many = header + b"1,9,1,2021-01-01 08:00:00,5\n", header + b"1,9,1,x,5\n" * 3
    messages = [Message("pos.online.counts", 0, n, SECOND_US, v) for n, v in enumerate((few, many))]
    kept, broken = rows_of_messages(plan_of(COUNTS), messages).to_pylist()
    assert kept["item_id"] == "1"
    assert kept["defect"] is None
    assert broken["defect"] == "5 lines in one message, at most 3: send it in several"
    assert broken["raw"] == many.decode()
    assert (kept["ingest_line"], broken["ingest_line"]) == (1, 2)


@pytest.mark.parametrize(
    ("feed", "value", "expected"),
    [
        (MESSAGES, b"x" * 5_000, 5_000),
        (MESSAGES, b"{}" * 50, 51 * LINE_BYTES),
        (COUNTS, b"\n" * 100, 101 * LINE_BYTES),
        (MESSAGES, b"", LINE_BYTES),
    ],
)
def test_lines_count_as_bytes_where_they_are_short(feed: str, value: bytes, expected: int) -> None:
    assert cost_of(feed, value) == expected


def test_it_landed_when_it_was_appended_but_after_what_was_loaded_before() -> None:
    messages = [at(1, 0), at(5, 1), at(9, 2)]
    assert landings(rows_of_messages(plan_of(MESSAGES), messages)) == [
        1 * SECOND_US,
        5 * SECOND_US,
        9 * SECOND_US,
    ]
    floored = rows_of_messages(plan_of(MESSAGES, 6 * SECOND_US), messages)
    assert landings(floored) == [6 * SECOND_US + 1, 6 * SECOND_US + 1, 9 * SECOND_US]


def test_without_the_brokers_time_it_landed_when_it_was_received() -> None:
    table = rows_of_messages(plan_of(MESSAGES), [at(None, 0)])
    assert landings(table) == [int(RECEIVED_AT.timestamp() * SECOND_US)]


def test_who_came_first_is_by_time_and_never_against_the_offsets() -> None:
    back = [at(5, 0), at(3, 1), at(6, 2)]  # the broker's clock was set back
    other = [at(4, 0, partition=1), at(5.5, 1, partition=1)]
    for messages in itertools.permutations(back + other):
        found = [(each.partition, each.offset) for each in in_order(_as_read(messages))]
        assert found == [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2)]


def _as_read(messages: Iterable[Message]) -> list[Message]:
    """Partitions in any mixture, each in its own order, as a consumer gives them."""
    queues: dict[int, list[Message]] = {}
    mixture = list(messages)
    for message in sorted(mixture, key=lambda each: each.offset):
        queues.setdefault(message.partition, []).append(message)
    return [queues[message.partition].pop(0) for message in mixture]


# Where reading begins.


@pytest.mark.parametrize(
    ("position", "low", "high", "offset", "lost", "missed"),
    [
        (None, 0, 9, 0, None, None),
        (None, 4, 9, 4, None, "offsets 0 to 3 were deleted before it was first read"),
        (5, 0, 9, 5, None, None),
        (5, 5, 9, 5, None, None),
        (9, 0, 9, 9, None, None),
        (5, 7, 9, 7, "offsets 5 to 6 were deleted unread", None),
        (5, 9, 9, 9, "offsets 5 to 8 were deleted unread", None),
        (
            5,
            0,
            3,
            3,
            "the broker ends at offset 3, but all before 5 is loaded: it has lost 2",
            None,
        ),
    ],
)
def test_what_is_lost_is_said(
    position: int | None, low: int, high: int, offset: int, lost: str | None, missed: str | None
) -> None:
    start = start_of("topic/0", position, low, high)
    assert start.offset == offset
    for said, expected in ((start.lost, lost), (start.missed, missed)):
        assert (said is None) == (expected is None)
        assert expected is None or f"topic/0: {expected}" in str(said)


# The sink's messages.


def test_each_line_of_changes_is_a_message_with_store_and_transaction_for_a_key() -> None:
    lines = [b'{"trans_id": "A", "store_id": 1}', b'{"trans', b"[1]", b'{"trans_id": "B"}']
    found = list(messages_of("online/changes/1.json", b"\n".join(lines) + b"\n"))
    assert found == [(b"1:A", lines[0]), (None, lines[1]), (None, lines[2]), (None, lines[3])]


def test_a_count_is_one_message() -> None:
    assert list(messages_of("store_001/counts/1.csv", b"a\nb\n")) == [(b"store_001", b"a\nb\n")]


# The load, against a source that lies in memory.


class Killed(BaseException):
    """Stands for a SIGKILL."""


class Memory:
    """A cluster in memory, as `Source` shows it."""

    def __init__(self) -> None:
        self.values: dict[Partition, list[bytes]] = {}
        self.low: dict[Partition, int] = {}
        self.is_down = False

    def put(self, topic: str, *values: bytes, number: int = 0, topic_id: str = "id") -> Partition:
        partition = Partition(topic, topic_id, number)
        self.values.setdefault(partition, []).extend(values)
        return partition

    def close(self) -> None:
        pass

    def partitions(self) -> list[Partition]:
        if self.is_down:
            raise UnavailableError("nobody there")
        return sorted(self.values)

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, Extent]:
        return {each: Extent(self.low.get(each, 0), len(self.values[each])) for each in partitions}

    def read(
        self, starts: Mapping[Partition, int], ends: Mapping[Partition, int], most_bytes: int
    ) -> Batch:
        batch = Batch(positions=dict(starts))
        for partition, start in starts.items():
            room = most_bytes // len(starts)
            for offset in range(start, ends[partition]):
                value = self.values[partition][offset]
                batch.messages.append(
                    Message(partition.topic, partition.number, offset, 1_000 + offset, value)
                )
                batch.positions[partition] = offset + 1
                room -= len(value)
                if room <= 0:
                    break
        return batch


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    for topic, number, count in (
        ("pos.online.changes", 0, 30),
        ("pos.online.changes", 1, 7),
        ("pos.store_001.changes", 0, 11),
    ):
        lines = [f'{{"trans_id": "{topic}/{number}/{n}"}}'.encode() for n in range(count)]
        memory.put(topic, *lines, number=number)
    memory.put("pos.online.counts", b"item_id,employee_id,store_id,date_time,quantity\n1,9,1,d,1\n")
    memory.put(
        "pos.reference.items", b"item_id,name,supplier_id,safety_stock_quantity\n1,Tea,7,3\n"
    )
    monkeypatch.setattr(loaders.kafka.load, "Source", lambda _address: memory)
    return memory


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "landing", tmp_path / "lakehouse")


ALL = Counter({ITEMS: 1, MESSAGES: 48, COUNTS: 1})


def load(settings: Settings, batch_bytes: int = 200, **options: Any) -> Any:
    with KafkaLoader(settings, "kafka://memory:1", **options) as loader:
        return loader.load(batch_bytes=batch_bytes)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", range(1, 9))
def test_killed_around_any_commit_each_message_is_loaded_once(
    settings: Settings, memory: Memory, monkeypatch: pytest.MonkeyPatch, call: int, when: str
) -> None:
    calls = itertools.count(1)
    write = loaders.load.write_deltalake

    def killed(*arguments: Any, **named: Any) -> None:
        if next(calls) != call:
            return write(*arguments, **named)
        if when == "after":
            write(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loaders.load, "write_deltalake", killed)
        with pytest.raises(Killed):
            load(settings)
    load(settings)
    assert rows_in(settings) == ALL
    assert load(settings).is_empty
    assert rows_in(settings) == ALL


def test_what_is_sent_later_is_loaded_later_by_whoever_loads(
    settings: Settings, memory: Memory
) -> None:
    with KafkaLoader(settings, "kafka://memory:1") as loader:
        loader.load()
        memory.put("pos.online.changes", b"{}")
        memory.put("pos.store_002.changes", b"{}", b"{}")
        assert loader.load().rows == {MESSAGES: 3}
    memory.put("pos.online.changes", b"{}")
    assert load(settings).rows == {MESSAGES: 1}


def test_as_many_commits_as_asked_for(settings: Settings, memory: Memory) -> None:
    with KafkaLoader(settings, "kafka://memory:1") as loader:
        first = loader.load(batch_bytes=100, batches=1)
        assert first.is_partial
        assert 0 < first.rows[MESSAGES] < ALL[MESSAGES]
        while loader.load(batch_bytes=100, batches=1).is_partial:
            pass
    assert rows_in(settings) == ALL


def test_files_and_messages_share_the_numbers_of_the_commits(
    settings: Settings, memory: Memory
) -> None:
    load(settings)
    path = settings.landing / "online" / "changes" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}\n")
    with Loader(settings) as loader:
        loader.load()
    memory.put("pos.online.changes", b"{}")
    load(settings)
    assert rows_in(settings) == ALL + Counter({MESSAGES: 2})


def test_lost_messages_are_an_error_and_nothing_is_loaded_until_that_is_accepted(
    settings: Settings, memory: Memory
) -> None:
    partition = memory.put("pos.online.changes")
    load(settings)
    memory.put("pos.online.changes", b"{}", b"{}", b"{}")
    memory.put("pos.store_001.changes", b"{}")
    memory.low[partition] = 32
    for _ in range(2):
        with pytest.raises(UserError, match=r"pos\.online\.changes/0: offsets 30 to 31 were del"):
            load(settings)
    assert rows_in(settings) == ALL
    report = load(settings, accept_loss=True)
    assert ["offsets 30 to 31 were deleted unread" in text for text in report.warnings] == [True]
    assert report.rows == {MESSAGES: 2}
    assert load(settings).is_empty


def test_a_topic_that_is_made_anew_is_read_from_its_beginning(
    settings: Settings, memory: Memory
) -> None:
    load(settings)
    old = memory.put("pos.online.changes")
    del memory.values[old]
    memory.put("pos.online.changes", b'{"new": 1}', topic_id="another")
    assert load(settings).rows == {MESSAGES: 1}


def test_a_broker_that_is_down_is_an_error_or_waited_for(
    settings: Settings, memory: Memory
) -> None:
    memory.is_down = True
    with pytest.raises(UserError, match="does not answer: nobody there; start one with"):
        load(settings)
    with KafkaLoader(settings, "kafka://memory:1", is_resident=True) as loader:
        assert [len(loader.load().warnings) for _ in range(3)] == [1, 0, 0]
        memory.is_down = False
        loader.load()
    assert rows_in(settings) == ALL


# The broker's jars.


def test_the_brokers_jars_are_pinned() -> None:
    jars = broker.pinned_jars()
    assert {("org.apache.kafka", "kafka_2.13", "3.9.1")} <= {
        (jar.group, jar.artifact, jar.version) for jar in jars
    }
    assert len({jar.file_name for jar in jars}) == len(jars) > 50
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)


def test_without_java_the_line_that_installs_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"Apache Kafka needs Java 17 .* apt-get install openjdk"):
        broker.up(settings)
