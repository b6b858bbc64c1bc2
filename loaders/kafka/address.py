"""Names: of a broker, of topics, and of the place that a bronze row came from.

Pure, and without the client library, so that the command line can ask it.
"""

from __future__ import annotations

import re

from loaders.errors import UserError
from loaders.landing import COUNTS, ITEMS, MESSAGES, REFERENCE, feed_of

SCHEME = "kafka://"
PREFIX = "pos"
# Where the playback keeps its place; no feed, as its name has two parts only.
PLAYBACK_TOPIC = "pos.playback"
_KINDS = {MESSAGES: "changes", COUNTS: "counts", ITEMS: "items"}
_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,200}")
# Bronze numbers the lines of a source by an int. Offsets are larger: what a line number cannot
# hold is said in the name.
LINES_PER_NAME = 2**31


def bootstrap_of(address: str) -> str:
    """The brokers that an address names, as the client library wants them; :class:`UserError`.

    >>> bootstrap_of("kafka://127.0.0.1:9092")
    '127.0.0.1:9092'
    """
    brokers = address.removeprefix(SCHEME).rstrip("/")
    parts = brokers.split(",")
    if address.startswith(SCHEME) and all(map(_is_broker, parts)):
        return brokers
    raise UserError(
        f"a Kafka broker is named as in kafka://127.0.0.1:9092 (several: host:port,host:port); "
        f"not {address!r}"
    )


def _is_broker(text: str) -> bool:
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65_536
    return is_port and re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]", host) is not None


def topic_of(path: str) -> str:
    """The topic that takes what would land at ``path``; :class:`UserError` where none can.

    >>> topic_of("store_001/changes/1.json"), topic_of("reference/items_2.csv")
    ('pos.store_001.changes', 'pos.reference.items')
    """
    feed = feed_of(path)
    pos = path.split("/", maxsplit=1)[0]
    if feed is None or not _LEGAL.fullmatch(pos):
        raise UserError(f"{path} has no topic: a topic's name has only letters, digits and . _ -")
    return f"{PREFIX}.{pos}.{_KINDS[feed]}"


def feed_of_topic(topic: str) -> str | None:
    """The bronze table that a topic belongs to, or ``None``.

    >>> feed_of_topic("pos.online.counts"), feed_of_topic("pos.playback")
    ('pos_count_rows', None)
    """
    parts = topic.split(".")
    if len(parts) < 3 or parts[0] != PREFIX:
        return None
    if parts[-1] == _KINDS[ITEMS]:
        return ITEMS if parts[1:-1] == [REFERENCE] else None
    return {_KINDS[feed]: feed for feed in (MESSAGES, COUNTS)}.get(parts[-1])


def pattern_of(feed: str) -> str:
    """The regular expression that the topics of a bronze table match, as Java and Python read it.

    >>> pattern_of("pos_items"), pattern_of("pos_messages")
    ('pos\\\\.reference\\\\.items', 'pos\\\\..*\\\\.changes')
    """
    sender = rf"\.{REFERENCE}" if feed == ITEMS else r"\..*"
    return rf"{PREFIX}{sender}\.{_KINDS[feed]}"


def place_of_message(topic: str, partition: int, offset: int) -> tuple[str, int]:
    """``source_file`` and ``source_line`` of a message that is one row.

    >>> place_of_message("pos.online.changes", 0, 17)
    ('kafka://pos.online.changes/0', 17)
    >>> place_of_message("pos.online.changes", 0, 2**31 + 5)
    ('kafka://pos.online.changes/0+2147483648', 5)
    """
    names, line = divmod(offset, LINES_PER_NAME)
    beyond = f"+{names * LINES_PER_NAME}" if names else ""
    return f"{SCHEME}{topic}/{partition}{beyond}", line


def name_of_text(topic: str, partition: int, offset: int) -> str:
    """``source_file`` of a message that is a CSV; ``source_line`` counts in it as in a file.

    >>> name_of_text("pos.store_001.counts", 0, 3)
    'kafka://pos.store_001.counts/0/3'
    """
    return f"{SCHEME}{topic}/{partition}/{offset}"


def application_of(topic: str, topic_id: str, partition: int) -> str:
    """The name under which Delta remembers the next offset of a partition.

    With the topic's id: one that is deleted and made anew counts from 0, and under the old one's
    name its first messages would be passed over as loaded.
    """
    return f"pos-load/kafka/{topic}/{topic_id}/{partition}"
