"""What was received, judged once, in order of receipt: kept, duplicate or quarantined (rules 5-7).

A landed file is one delivery. A re-drive puts chosen lines of an earlier file through again: it is
a delivery of its own, with its own commit and its own time of receipt.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from tests.oracle.reading import (
    COUNT_FIELDS,
    ITEM_FIELDS,
    count_fault,
    csv_rows,
    item_fault,
    item_row_fault,
    message_fault,
    message_lines,
    real_time,
    store_of,
    units_of,
    whole_json_object,
    whole_number,
)

MESSAGES, COUNTS, ITEMS = "pos_messages", "pos_count_rows", "pos_items"

ChangeKey = tuple[int, str, int, int, date]  # store, transaction, change type, item, event date
CountKey = tuple[int, int, datetime]  # store, item, counted at
T = TypeVar("T")


@dataclass(frozen=True)
class Delivery:
    """One landed file as the loader took it in; `commit` is the loader's number for its feed."""

    feed: str
    path: str
    data: bytes
    received_at: datetime  # UTC without a zone, as all times here
    landed_at: datetime
    commit: int = 1
    redriven: bool = False
    lines: tuple[int, ...] | None = None  # the file's lines to judge, in this order; None: all


@dataclass(frozen=True)
class Change:
    """A kept inventory change: one item of one message, its lines summed."""

    store_id: int
    trans_id: str
    change_type_id: int
    item_id: int
    quantity: int
    occurred_at: datetime
    known_at: int  # index of its delivery
    line: int
    lines: int  # how many lines were summed
    fulfillment_store_id: int | None
    receipt: int  # its place among all that was ever received
    received_at: datetime
    landed_at: datetime
    redriven: bool

    @property
    def key(self) -> ChangeKey:
        on = self.occurred_at.date()
        return (self.store_id, self.trans_id, self.change_type_id, self.item_id, on)

    @property
    def content(self) -> tuple[int, datetime, int | None]:
        """What must be the same for a repetition to be no conflict."""
        return (self.quantity, self.occurred_at, self.fulfillment_store_id)


@dataclass(frozen=True)
class Count:
    """One version of a stock count as received."""

    store_id: int
    item_id: int
    counted_at: datetime
    quantity: int
    known_at: int
    receipt: int
    received_at: datetime
    landed_at: datetime
    redriven: bool

    @property
    def key(self) -> CountKey:
        return (self.store_id, self.item_id, self.counted_at)


@dataclass(frozen=True)
class Item:
    """One version of an item's reference row."""

    item_id: int
    name: str | None
    safety_stock_quantity: int | None
    known_at: int


@dataclass(frozen=True, order=True)
class Rejected:
    """One quarantined message, line or row."""

    source: str
    path: str
    line: int
    reason: str
    redriven: bool = False


@dataclass
class Books:
    """Lines of one commit of one feed; `received` must be the sum of the others."""

    received: int = 0
    kept: int = 0
    duplicate: int = 0
    quarantined: int = 0


@dataclass
class Received:
    """Everything received so far, judged."""

    changes: dict[ChangeKey, Change] = field(default_factory=dict)
    duplicates: list[Change] = field(default_factory=list)
    quarantine: list[Rejected] = field(default_factory=list)
    counts: dict[CountKey, list[Count]] = field(default_factory=dict)
    items: dict[int, list[Item]] = field(default_factory=dict)
    books: dict[tuple[str, int], Books] = field(default_factory=lambda: defaultdict(Books))
    deliveries: int = 0
    received_at: list[datetime] = field(default_factory=list)  # of each delivery
    _receipts: int = 0

    def receive(self, delivery: Delivery) -> None:
        """Judge one more file; files of a feed in the order in which the loader took them."""
        judge = {MESSAGES: self._messages, COUNTS: self._count_rows, ITEMS: self._item_rows}
        judge[delivery.feed](delivery)
        self.received_at.append(delivery.received_at)
        self.deliveries += 1

    def _messages(self, delivery: Delivery) -> None:
        for line, text in chosen(message_lines(delivery.data), delivery.lines):
            message = whole_json_object(text)
            items = message.get("items") if message is not None else None
            readable = items if isinstance(items, list) and items else None
            books = self.books[delivery.feed, delivery.commit]
            books.received += len(readable) if readable else 1
            reason = message_fault(message, delivery.received_at)
            if reason is None and readable is None:
                reason = "missing_or_mistyped_items"
            if reason is not None or message is None or readable is None:
                for _ in readable or [None]:
                    self._reject(delivery, line, reason or "unparsable_message")
                continue
            self._message(delivery, line, message, readable)

    def _message(
        self, delivery: Delivery, line: int, message: Mapping[str, Any], items: Sequence[Any]
    ) -> None:
        occurred_at = real_time(message["date_time"])
        store_id = store_of(message["store_id"])
        change_type_id = whole_number(message["change_type_id"])
        assert occurred_at is not None and store_id is not None and change_type_id is not None
        quantities: dict[int, list[int]] = defaultdict(list)
        for item in items:
            reason = item_fault(item)
            if reason is not None:
                self._reject(delivery, line, reason)
                continue
            item_id, quantity = whole_number(item["item_id"]), units_of(item["quantity"])
            assert item_id is not None and quantity is not None
            quantities[item_id].append(quantity)
        for item_id, units in quantities.items():
            change = Change(
                store_id=store_id,
                trans_id=str(message["trans_id"]),
                change_type_id=change_type_id,
                item_id=item_id,
                quantity=sum(units),
                occurred_at=occurred_at,
                known_at=self.deliveries,
                line=line,
                lines=len(units),
                fulfillment_store_id=store_of(message.get("fulfillment_store_id")),
                receipt=self._next_receipt(),
                received_at=delivery.received_at,
                landed_at=delivery.landed_at,
                redriven=delivery.redriven,
            )
            self._change(delivery, change)

    def _change(self, delivery: Delivery, change: Change) -> None:
        books = self.books[delivery.feed, delivery.commit]
        first = self.changes.setdefault(change.key, change)
        if first is change:
            books.kept += change.lines
        elif first.content == change.content:
            books.duplicate += change.lines
            self.duplicates.append(change)
        else:
            for _ in range(change.lines):
                self._reject(delivery, change.line, "conflicting_duplicate")

    def _count_rows(self, delivery: Delivery) -> None:
        books = self.books[delivery.feed, delivery.commit]
        for line, row in chosen(csv_rows(delivery.data, COUNT_FIELDS), delivery.lines):
            books.received += 1
            reason = row if isinstance(row, str) else count_fault(row, delivery.received_at)
            if isinstance(row, str) or reason is not None:
                self._reject(delivery, line, str(reason))
                continue
            store_id, item_id = store_of(row["store_id"]), whole_number(row["item_id"])
            counted_at, quantity = real_time(row["date_time"]), units_of(row["quantity"])
            assert store_id is not None and item_id is not None
            assert counted_at is not None and quantity is not None
            books.kept += 1
            count = Count(
                store_id=store_id,
                item_id=item_id,
                counted_at=counted_at,
                quantity=quantity,
                known_at=self.deliveries,
                receipt=self._next_receipt(),
                received_at=delivery.received_at,
                landed_at=delivery.landed_at,
                redriven=delivery.redriven,
            )
            self.counts.setdefault(count.key, []).append(count)

    def _item_rows(self, delivery: Delivery) -> None:
        books = self.books[delivery.feed, delivery.commit]
        for line, row in chosen(csv_rows(delivery.data, ITEM_FIELDS), delivery.lines):
            books.received += 1
            reason = row if isinstance(row, str) else item_row_fault(row)
            if isinstance(row, str) or reason is not None:
                self._reject(delivery, line, str(reason))
                continue
            item_id = whole_number(row["item_id"])
            assert item_id is not None
            books.kept += 1
            safety = units_of(row["safety_stock_quantity"])
            item = Item(item_id, row["name"] or None, safety, self.deliveries)
            self.items.setdefault(item_id, []).append(item)

    def _reject(self, delivery: Delivery, line: int, reason: str) -> None:
        self.books[delivery.feed, delivery.commit].quarantined += 1
        self.quarantine.append(
            Rejected(delivery.feed, delivery.path, line, reason, delivery.redriven)
        )

    def _next_receipt(self) -> int:
        self._receipts += 1
        return self._receipts


def line_numbers(feed: str, data: bytes) -> list[int]:
    """The lines of a file that are there to be judged."""
    if feed == MESSAGES:
        return [line for line, _ in message_lines(data)]
    fields = COUNT_FIELDS if feed == COUNTS else ITEM_FIELDS
    return [line for line, _ in csv_rows(data, fields)]


def chosen(
    numbered: Iterator[tuple[int, T]], lines: tuple[int, ...] | None
) -> Iterable[tuple[int, T]]:
    """All lines of a file, or the chosen ones in the order chosen."""
    if lines is None:
        return numbered
    by_number = dict(numbered)
    return [(line, by_number[line]) for line in lines]


def reasons(rejected: Iterable[Rejected]) -> Counter[tuple[str, str, int, str, bool]]:
    """Rejected lines as a multiset, to compare with a table's rows."""
    return Counter(
        (each.source, each.path, each.line, each.reason, each.redriven) for each in rejected
    )
