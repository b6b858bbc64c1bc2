"""The playback's sink: each slot of the event clock is one Kafka transaction.

It holds the slot's messages and, in a topic of its own, how far the playback has come. So whatever
is killed, broker or playback, a slot is there whole or not at all, and none twice. Readers must
read what is committed (`isolation.level=read_committed`), as ours does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from loaders.errors import UserError
from loaders.kafka.address import PLAYBACK_TOPIC, bootstrap_of, feed_of_topic, topic_of
from loaders.kafka.client import MOST_BYTES, admin_of, common
from loaders.landing import MESSAGES
from loaders.playback import Month, Progress, Slot

PARTITIONS = 3  # of a topic of changes; counts and items come in the order in which they were sent
ANSWER_SECONDS = 30.0
# The next playback ends an open transaction at once; without one, readers wait for it so long.
TRANSACTION_SECONDS = 60
# A broker that is started anew is waited for.
PATIENCE_SECONDS = 180.0
PAUSE_SECONDS = 0.5
# What is said of a topic of which the news has not reached everybody.
NOT_YET_THERE = {
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
}
LOOK_BACK = 64  # offsets of the playback's own topic that are read to find the last


def messages_of(path: str, data: bytes) -> Iterator[tuple[bytes | None, bytes]]:
    """Key and value of each message that a landed file becomes.

    A line of changes is a message, its key store and transaction; whatever is broken has none. A
    CSV is one, its key the store or sender: a count comes whole or not at all.
    """
    if feed_of_topic(topic_of(path)) != MESSAGES:
        yield path.split("/", maxsplit=1)[0].encode(), data
        return
    for line in data.split(b"\n"):
        if line.strip():
            yield key_of(line), line


def key_of(body: bytes) -> bytes | None:
    """Store and transaction of a message, or ``None`` where it does not say.

    >>> key_of(b'{"trans_id": "A", "store_id": 1}'), key_of(b'{"trans')
    (b'1:A', None)
    """
    try:
        message = orjson.loads(body)
        return f"{message['store_id']}:{message['trans_id']}".encode()
    except (ValueError, TypeError, KeyError):
        return None


class KafkaSink:
    """Plays into the topics of one cluster; one playback at a time, the later one takes over."""

    def __init__(self, address: str, patience: float = PATIENCE_SECONDS) -> None:
        """:class:`UserError` for an address that is none, and a broker that does not answer."""
        self._address = address
        self._servers = bootstrap_of(address)
        self._patience = patience
        self._admin = admin_of(self._servers)
        self._producer: Producer | None = None
        self._made: set[str] = set()
        self._last: bytes | None = None  # the progress that this playback knows of

    def progress(self) -> Progress | None:
        """How far the playback has come, by what is committed."""
        try:
            self._begin()
            self._last = self._remembered()
        except KafkaException as error:
            raise UserError(
                f"the Kafka broker at {self._address} does not answer: {_said(error)}; start one "
                f"with: pos kafka up"
            ) from error
        return None if self._last is None else Progress.from_json(self._last)

    def publish(self, month: Month, progress: Progress) -> None:
        """Send the slot and the progress in one transaction; again until the broker has it."""
        slot = Slot(progress.published_through, progress.publishing_through)
        after = Progress(month.identity, slot.through, slot.through)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                if self._producer is None:
                    self._begin()
                    if (found := self._remembered()) == after.to_json():
                        break  # its answer was lost, and not the transaction
                    if found != self._last:
                        raise UserError(f"another playback has taken over {self._address}")
                self._send(month, slot, after)
                break
            except KafkaException as error:
                self._producer = None
                if time.monotonic() > deadline:
                    raise UserError(
                        f"the Kafka broker at {self._address} does not take the playback: "
                        f"{_said(error)}; start again to go on from here"
                    ) from error
                time.sleep(PAUSE_SECONDS)
        self._last = after.to_json()
        progress.published_through = progress.publishing_through

    def refusal(self) -> str:
        """Name the broker, and what mixes the two."""
        return (
            f"{self._address} holds the playback of another month; choose another broker, or "
            f"delete the topic {PLAYBACK_TOPIC} to mix them"
        )

    def _begin(self) -> None:
        """A producer that has ended what an earlier one had begun, and shut that one out."""
        self._make_topic(PLAYBACK_TOPIC)
        producer = Producer(
            {
                **common(self._servers),
                "transactional.id": PLAYBACK_TOPIC,  # idempotent, so none is appended twice
                "transaction.timeout.ms": TRANSACTION_SECONDS * 1_000,
                "message.max.bytes": MOST_BYTES,
                "compression.type": "lz4",
                "linger.ms": 5,
                "partitioner": "murmur2_random",  # as Java's producers do
            }
        )
        producer.init_transactions(ANSWER_SECONDS)
        self._producer = producer

    def _send(self, month: Month, slot: Slot, after: Progress) -> None:
        producer = self._producer
        assert producer is not None
        producer.begin_transaction()
        feed_before: str | None = None
        for path, data in month.files_of(slot):
            topic = topic_of(path)
            self._make_topic(topic)
            if (feed := feed_of_topic(topic)) != feed_before:
                producer.flush()  # what a store sends first is appended first
            feed_before = feed
            for key, value in messages_of(path, data):
                if len(value) > MOST_BYTES - 1_024:
                    raise UserError(
                        f"{path} has {len(value):,} bytes, more than one message holds "
                        f"({MOST_BYTES:,}); split it into several files with a header each"
                    )
                self._produce(producer, topic, key, value)
        self._produce(producer, PLAYBACK_TOPIC, b"playback", after.to_json())
        producer.commit_transaction()

    @staticmethod
    def _produce(producer: Producer, topic: str, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                producer.produce(topic, value, key)
                producer.poll(0)
                return
            except BufferError:  # so much waits to be sent
                producer.poll(0.1)

    def _make_topic(self, topic: str) -> None:
        """Make a topic where there is none yet; what is there stays as it is."""
        if topic in self._made:
            return
        if topic == PLAYBACK_TOPIC:
            wanted = NewTopic(topic, 1, config={"cleanup.policy": "compact"})
        elif feed_of_topic(topic) == MESSAGES:
            wanted = NewTopic(topic, PARTITIONS, config={"message.timestamp.type": "LogAppendTime"})
        else:
            config = {
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(MOST_BYTES),
            }
            wanted = NewTopic(topic, 1, config=config)
        for answer in self._admin.create_topics([wanted], request_timeout=ANSWER_SECONDS).values():
            try:
                answer.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        self._made.add(topic)

    def _remembered(self) -> bytes | None:
        """The last committed value of the playback's own topic."""
        consumer = Consumer(
            {
                **common(self._servers),
                "group.id": "pos-play",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        try:
            place = TopicPartition(PLAYBACK_TOPIC, 0)
            low, high = _extent(consumer, place)
            back = LOOK_BACK
            while True:
                first = max(low, high - back)
                value = _last_value(consumer, first)
                if value is not None or first <= low:
                    return value
                back *= 8
        finally:
            consumer.close()


def _extent(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Lowest and next offset. A topic that was made a moment ago is waited for: the broker answers
    that it is there before it can say what is in it."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET_THERE or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return low, high


def _last_value(consumer: Consumer, first: int) -> bytes | None:
    consumer.assign([TopicPartition(PLAYBACK_TOPIC, 0, first)])
    found: bytes | None = None
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        message = consumer.poll(1.0)
        if message is None:
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))
        elif (error := message.error()) is None:
            found = message.value()
        elif error.code() == KafkaError._PARTITION_EOF:
            return found


def _said(error: KafkaException) -> str:
    told: KafkaError = error.args[0]
    return told.str()
