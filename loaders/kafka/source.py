"""The source: which topics there are, what the broker has of each partition, and reading it.

Offsets are told to it and never committed to the broker: the next ones lie in the Delta log, beside
the rows. It reads what is committed, so that of a playback's transaction a load sees all or
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from loaders.kafka.address import application_of, bootstrap_of, feed_of_topic
from loaders.kafka.client import admin_of, common
from loaders.kafka.rows import Message
from loaders.load import BATCH_BYTES, BATCH_LINES
from loaders.parts import lines_at_most

ANSWER_SECONDS = 10.0  # how long the broker may take to answer a question
# Nothing at all from the broker for so long, though it has said that there is something.
STALL_SECONDS = 30.0
# A line counts as so many bytes, so that a batch has no more lines than one of files may have.
LINE_BYTES = BATCH_BYTES // BATCH_LINES
# What the client fetches ahead, beyond the batch: bounds its memory.
AHEAD_KILOBYTES = 16 * 1024
MESSAGES_AT_ONCE = 1_000
# The client waits so long for as many messages as that, also where it has some: an event waits too.
POLL_SECONDS = 0.02
# What the client only tells of, and goes on trying.
PASSING = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE}


class UnavailableError(Exception):
    """The broker does not answer, or not to the end: what it has said is in the text."""


@dataclass(frozen=True, order=True)
class Partition:
    """A partition of a topic that is a feed; the topic made anew under its name is another one."""

    topic: str
    topic_id: str
    number: int

    @property
    def feed(self) -> str:
        """The bronze table that its messages belong to."""
        return feed_of_topic(self.topic) or ""

    @property
    def application(self) -> str:
        """The name under which Delta remembers its next offset."""
        return application_of(self.topic, self.topic_id, self.number)

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True)
class Extent:
    """The offsets that a partition has: from ``low`` up to below ``high``."""

    low: int
    high: int


@dataclass
class Batch:
    """What was read: messages, and for each partition that was asked for its next offset."""

    messages: list[Message] = field(default_factory=list)
    positions: dict[Partition, int] = field(default_factory=dict)


class Source:
    """The feeds of one cluster. Close it."""

    def __init__(self, address: str) -> None:
        """Connects when it is first asked; :class:`UserError` for an address that is none."""
        servers = bootstrap_of(address)
        self._admin = admin_of(servers)
        self._consumer = Consumer(
            {
                **common(servers),
                "group.id": "pos-load",  # demanded by the client; no group is joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",  # what retention deletes is not passed over silently
                "queued.max.messages.kbytes": AHEAD_KILOBYTES,
                "check.crcs": True,
                "fetch.wait.max.ms": 50,
            }
        )

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def partitions(self) -> list[Partition]:
        """All partitions of all feeds, sorted; :class:`UnavailableError`."""
        with _answers():
            topics = self._admin.list_topics(timeout=ANSWER_SECONDS).topics
            names = [topic for topic in topics if feed_of_topic(topic)]
            if not names:
                return []
            told = self._admin.describe_topics(
                TopicCollection(names), request_timeout=ANSWER_SECONDS
            )
            found = []
            for name, answer in told.items():
                description = answer.result()
                topic_id = str(description.topic_id)
                found += [Partition(name, topic_id, each.id) for each in description.partitions]
        return sorted(found)

    def extents(self, partitions: Iterable[Partition]) -> dict[Partition, Extent]:
        """What the broker has of each, committed transactions only; :class:`UnavailableError`."""
        by_place = {TopicPartition(each.topic, each.number): each for each in partitions}
        if not by_place:
            return {}
        with _answers():
            lows = self._offsets(by_place, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
            highs = self._offsets(by_place, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {each: Extent(lows[each], highs[each]) for each in by_place.values()}

    def _offsets(
        self, by_place: Mapping[TopicPartition, Partition], which: OffsetSpec
    ) -> dict[Partition, int]:
        told = self._admin.list_offsets(
            dict.fromkeys(by_place, which),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ANSWER_SECONDS,
        )
        return {by_place[place]: answer.result().offset for place, answer in told.items()}

    def read(
        self, starts: Mapping[Partition, int], ends: Mapping[Partition, int], most_bytes: int
    ) -> Batch:
        """Messages from ``starts`` up to below ``ends``, of each partition its share of about
        ``most_bytes`` and at least one message; :class:`UnavailableError`.

        A share each, so that none has to wait for the others and who came first is seen. What else
        comes of a partition that has had its share is passed over and read again: a pause would
        outlast the assignment, and costs the next one a second (librdkafka 2.16.0, measured).
        """
        by_place = {(each.topic, each.number): each for each in starts}
        batch = Batch(positions=dict(starts))
        room = dict.fromkeys(starts, most_bytes // max(len(starts), 1))
        heard_at = time.monotonic()
        self._consumer.assign(
            [TopicPartition(each.topic, each.number, start) for each, start in starts.items()]
        )
        try:
            while room:
                with _answers():
                    polled = self._consumer.consume(MESSAGES_AT_ONCE, POLL_SECONDS)
                # That the broker is away is told as well, again and again, and is no sign of life.
                if any(_is_sign_of_life(message) for message in polled):
                    heard_at = time.monotonic()
                elif time.monotonic() - heard_at > STALL_SECONDS:
                    silent = ", ".join(map(str, room))
                    raise UnavailableError(f"nothing for {STALL_SECONDS:.0f} seconds from {silent}")
                for message in polled:
                    self._take(message, by_place, ends, room, batch)
        finally:
            self._consumer.unassign()
        return batch

    def _take(
        self,
        polled: KafkaMessage,
        by_place: Mapping[tuple[str, int], Partition],
        ends: Mapping[Partition, int],
        room: dict[Partition, int],
        batch: Batch,
    ) -> None:
        """Enter one message, or what the client reports in its place, into the batch."""
        error = polled.error()
        topic, number, offset = polled.topic(), polled.partition(), polled.offset()
        partition = by_place.get((topic or "", -1 if number is None else number))
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.code() in PASSING:
                return  # it tries again by itself; too long is too long for the caller
            raise UnavailableError(f"{partition or 'broker'}: {error.str()}")
        if partition is None or partition not in room or offset is None:
            return
        if error is not None:
            self._end(partition, ends[partition])
        if error is not None or offset >= ends[partition]:
            # The end, or what was sent since: the last offsets may be a transaction's marks only.
            batch.positions[partition] = max(batch.positions[partition], ends[partition])
            del room[partition]
            return
        if offset < batch.positions[partition]:
            return
        kind, milliseconds = polled.timestamp()
        appended_us = milliseconds * 1_000 if kind == TIMESTAMP_LOG_APPEND_TIME else None
        value = polled.value()
        batch.messages.append(
            Message(partition.topic, partition.number, offset, appended_us, value)
        )
        batch.positions[partition] = offset + 1
        room[partition] -= cost_of(partition.feed, value or b"")
        if room[partition] <= 0 or offset + 1 >= ends[partition]:
            del room[partition]

    def _end(self, partition: Partition, end: int) -> None:
        """:class:`UnavailableError` if the broker had less than it has said before.

        Not by the offset in what the client reports: before marks that is where they begin.
        """
        place = TopicPartition(partition.topic, partition.number)
        _, high = self._consumer.get_watermark_offsets(place, cached=True)
        if high < end:
            raise UnavailableError(f"{partition} ends at {high} now, and did at {end} before")


def cost_of(feed: str, value: bytes) -> int:
    """What a message takes of a batch's bytes: its own, or what its lines are counted as, since a
    build holds the lines and not the bytes.

    >>> cost_of("pos_messages", b"x" * 500), cost_of("pos_messages", b"{}" * 50)
    (500, 3417)
    """
    return max(len(value), LINE_BYTES * lines_at_most(feed, value))


def _is_sign_of_life(message: KafkaMessage) -> bool:
    error = message.error()
    return error is None or error.code() == KafkaError._PARTITION_EOF


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise UnavailableError(error.args[0].str()) from error
