"""Small oracles, told a few files: `told(count(("08:00:00", 100)), sale("13:10:00", 3))`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests import oracle
from tests.files import csv_text
from tests.files import message as message_of
from tests.oracle import Oracle

SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4
LANDED = datetime(2022, 1, 1)  # of the first file: after all events, so that none is ahead of it


@dataclass(frozen=True)
class File:
    feed: str
    text: str
    redrive_of: int | None = None  # place of the file whose first line is put through again


def at(time: str) -> datetime:
    """A time of 2021-01-01, or one that names its date."""
    return datetime.fromisoformat(time if " " in time else f"2021-01-01 {time}")


def messages(*bodies: dict[str, Any] | str) -> File:
    lines = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return File(oracle.MESSAGES, "\n".join(lines))


def changes(*listed: tuple[str, int, int], item: int = 1, store_id: int = 1) -> File:
    """Changes (time, change type, quantity), each a transaction of its own."""
    return messages(
        *(
            message_of(
                f"{kind} {time}", time, (item, units), change_type_id=kind, store_id=store_id
            )
            for time, kind, units in listed
        )
    )


def sale(time: str, units: int, **more: Any) -> File:
    return changes((time, SALE, -units), **more)


def order(time: str, units: int, trans_id: str = "B", item: int = 1, **more: Any) -> File:
    body = message_of(trans_id, time, (item, -units), store_id=0, change_type_id=BOPIS, **more)
    return messages(body)


def pickup(time: str, units: int, trans_id: str = "B", item: int = 1, store_id: int = 1) -> File:
    body = message_of(trans_id, time, (item, -units), store_id=store_id, change_type_id=BOPIS)
    return messages(body)


def count(*listed: tuple[str, int], item: int = 1, store_id: int = 1) -> File:
    rows = [(item, 9, store_id, at(time), units) for time, units in listed]
    return File(oracle.COUNTS, csv_text(oracle.COUNT_FIELDS, rows))


def items(safety: int | None, item: int = 1) -> File:
    text = csv_text(oracle.ITEM_FIELDS, [(item, "Tea", 7, "" if safety is None else safety)])
    return File(oracle.ITEMS, text)


def told(*files: File, stores: dict[int, str] | None = None) -> Oracle:
    """The oracle after these files, each landed and received a minute after the one before."""
    deliveries: list[oracle.Delivery] = []
    for place, file in enumerate(files):
        landed_at = LANDED + timedelta(minutes=place)
        again = file.redrive_of is not None
        source = files[file.redrive_of] if file.redrive_of is not None else file
        deliveries.append(
            oracle.Delivery(
                feed=source.feed,
                path=f"{place}",
                data=source.text.encode(),
                received_at=landed_at + timedelta(seconds=1),
                landed_at=landed_at,
                commit=place + 1,
                redriven=again,
                lines=(2 if source.feed == oracle.COUNTS else 1,) if again else None,
            )
        )
    return oracle.judge(deliveries, stores)


def every(files: tuple[File, ...]) -> range:
    """A build after each file."""
    return range(1, len(files) + 1)
