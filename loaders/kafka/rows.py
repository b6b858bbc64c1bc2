"""What a batch of Kafka messages becomes: bronze rows, as a landed file would. Pure.

A message of a `changes` topic is a row. A message of a `counts` or `items` topic is a CSV text with
its header, so that a count comes whole or not at all.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from loaders.bronze import SCHEMAS, fields_of, message_of, rows_of
from loaders.csv_rows import text_of
from loaders.errors import UserError
from loaders.kafka.address import name_of_text, place_of_message
from loaders.landing import MESSAGES
from loaders.parts import lines_at_most
from loaders.plan import EPOCH, Plan, received

# Of a CSV in one message. What a build holds is bounded by the lines of a commit; files that have
# more are loaded in parts, and a message is loaded whole.
MESSAGE_LINES = 1_000_000


@dataclass(frozen=True)
class Message:
    """One message as the broker has it.

    ``appended_us`` is when the broker appended it, microseconds since 1970; ``None`` where the
    topic keeps the producers' times instead. ``value`` is ``None`` for a tombstone.
    """

    topic: str
    partition: int
    offset: int
    appended_us: int | None
    value: bytes | None

    @property
    def place(self) -> str:
        """Its topic, partition and offset."""
        return name_of_text(self.topic, self.partition, self.offset)


@dataclass(frozen=True)
class Start:
    """Where reading a partition begins, and what is to be said about that.

    ``lost`` is what should have been loaded and cannot be, ``missed`` what was gone before this
    lakehouse knew of the partition.
    """

    offset: int
    lost: str | None = None
    missed: str | None = None


def start_of(name: str, position: int | None, low: int, high: int) -> Start:
    """Where to go on in a partition that the broker has from ``low`` up to below ``high``.

    ``position`` is the next offset by the table's log, ``None`` for a partition never read. What
    has been lost is said: offsets that retention has deleted unread, or an end before what has
    been loaded, as after a broker was put back to an older state.
    """
    if position is None:
        missed = f"{name}: offsets 0 to {low - 1} were deleted before it was first read"
        return Start(low, missed=missed if low else None)
    if position < low:
        return Start(low, f"{name}: offsets {position} to {low - 1} were deleted unread")
    if position > high:
        return Start(
            high,
            f"{name}: the broker ends at offset {high}, but all before {position} is loaded: "
            f"it has lost {position - high}, and counts on from there",
        )
    return Start(position)


def in_order(messages: Iterable[Message]) -> list[Message]:
    """Messages by when they were appended, those of a partition in their own order.

    Without a time, a partition's place among the others is behind them.
    """
    latest: dict[tuple[str, int], float] = {}
    keyed = []
    for message in messages:
        partition = (message.topic, message.partition)
        at = float("inf") if message.appended_us is None else message.appended_us
        # A broker's clock may be set back; an offset never is.
        latest[partition] = max(at, latest.get(partition, at))
        keyed.append((latest[partition], partition, message.offset, message))
    return [message for *_, message in sorted(keyed, key=lambda row: row[:3])]


def rows_of_messages(plan: Plan, messages: Iterable[Message]) -> pa.Table:
    """The bronze rows of messages of one feed, in order of arrival, under the plan's number."""
    arrived = in_order(messages)
    received_us = (plan.received_at - EPOCH) // timedelta(microseconds=1)

    def landed_us(message: Message) -> int:
        appended = message.appended_us
        return plan.landed_us(received_us if appended is None else appended)

    if plan.feed == MESSAGES:
        places = [place_of_message(each.topic, each.partition, each.offset) for each in arrived]
        of_messages = {
            "source_file": [name for name, _ in places],
            "source_line": [line for _, line in places],
            "body": [body_of(each.value) for each in arrived],
        }
        return received(plan, of_messages, 1, [landed_us(each) for each in arrived])
    tables = []
    first_line = 1
    for message in arrived:
        columns = rows_of_text(plan.feed, message.value or b"")
        count = len(columns["source_line"])
        columns["source_file"] = [message.place] * count
        tables.append(received(plan, columns, first_line, [landed_us(message)] * count))
        first_line += count
    return pa.concat_tables(tables) if tables else SCHEMAS[plan.feed].empty_table()


def rows_of_text(feed: str, data: bytes) -> dict[str, list[object]]:
    """Columns of the rows of a CSV that came as one message, and so goes into one commit. One of
    more lines than a commit may have is one row, with that for its defect."""
    if (lines := lines_at_most(feed, data)) <= MESSAGE_LINES:
        return rows_of(feed, data)
    defect = f"{lines:,} lines in one message, at most {MESSAGE_LINES:,}: send it in several"
    return {
        "source_line": [1],
        **{name: [None] for name in fields_of(feed)},
        "defect": [defect],
        "raw": [text_of(data)],
    }


def body_of(value: bytes | None) -> str:
    """A message's body as bronze keeps it; no value is an empty one, which silver rejects.

    >>> body_of(b"\\xff{"), body_of(None)
    ('not UTF-8: \\\\xff{', '')
    """
    return message_of((value or b"").removeprefix(codecs.BOM_UTF8))


def refuse_loss(lost: Sequence[str], *, accept: bool) -> None:
    """:class:`UserError` for messages that are gone, unless that has been accepted."""
    if lost and not accept:
        raise UserError(
            f"messages are lost: {'; '.join(lost)}. Nothing was loaded; put them back, "
            f"or go on without them with: --accept-loss"
        )
