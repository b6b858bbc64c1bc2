"""An independent oracle: the landed bytes, judged and added up in plain Python.

Written from DESIGN section 5 and never from the SQL; nothing but the standard library. It is slow
and obvious on purpose: a dict per rule. The dbt models must say the same, whatever the batching.

Two clocks, as in the models: the knowledge clock is the number of deliveries received so far
(`as_known_at`), the event clock is what the tills wrote (`at`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

MESSAGES, COUNTS, ITEMS = "pos_messages", "pos_count_rows", "pos_items"
COUNT_FIELDS = ("item_id", "employee_id", "store_id", "date_time", "quantity")
ITEM_FIELDS = ("item_id", "name", "supplier_id", "safety_stock_quantity")

CHANGE_TYPES = {1: "sale", 2: "shrink", 3: "restock", 4: "bopis"}
BOPIS = 4
STORES = {0: "online", 1: "physical"}  # the seed: store to channel
FUTURE_TOLERANCE = timedelta(hours=24)

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
INT32 = range(-(2**31), 2**31)

Key = tuple[int, int]  # store, item
ChangeKey = tuple[int, str, int, int, date]  # store, transaction, change type, item, event date


@dataclass(frozen=True)
class Delivery:
    """One landed file as the loader took it in; `commit` is the loader's number for its feed."""

    feed: str
    path: str
    data: bytes
    received_at: datetime  # UTC without a zone, as all times here
    commit: int = 1


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
    lines: int = 1  # how many lines were summed
    fulfillment_store_id: int | None = None

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
    """One version of a stock count."""

    store_id: int
    item_id: int
    counted_at: datetime
    quantity: int
    known_at: int


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


@dataclass
class Books:
    """Lines of one commit of one feed; `received` must be the sum of the others."""

    received: int = 0
    kept: int = 0
    duplicate: int = 0
    quarantined: int = 0


@dataclass(frozen=True)
class Position:
    """What gold.inventory_current must say of one store and item."""

    on_hand_quantity: int
    counted_quantity: int | None
    counted_at: datetime | None
    change_quantity: int
    is_counted: bool
    last_changed_at: datetime | None
    safety_stock_quantity: int | None
    is_below_safety_stock: bool
    is_negative: bool
    is_known_store: bool
    is_known_item: bool
    quantity_by_type: Mapping[str, int]


@dataclass
class Oracle:
    """Everything received, judged once, in order of receipt. Ask it what must be in the tables."""

    changes: dict[ChangeKey, Change] = field(default_factory=dict)
    duplicates: list[Change] = field(default_factory=list)
    quarantine: list[Rejected] = field(default_factory=list)
    counts: dict[tuple[int, int, datetime], list[Count]] = field(default_factory=dict)
    items: dict[int, list[Item]] = field(default_factory=dict)
    books: dict[tuple[str, int], Books] = field(default_factory=lambda: defaultdict(Books))
    stores: Mapping[int, str] = field(default_factory=lambda: dict(STORES))
    deliveries: int = 0

    def receive(self, delivery: Delivery) -> None:
        """Judge one more file; files of a feed in the order in which the loader took them."""
        judge = {MESSAGES: self._messages, COUNTS: self._count_rows, ITEMS: self._item_rows}
        judge[delivery.feed](delivery)
        self.deliveries += 1

    def stock_counts(self, as_known_at: int | None = None) -> dict[tuple[int, int, datetime], int]:
        """The standing quantity of every count: the last received."""
        standing: dict[tuple[int, int, datetime], int] = {}
        for key, versions in self.counts.items():
            known = [version for version in versions if _known(version.known_at, as_known_at)]
            if known:
                standing[key] = known[-1].quantity
        return standing

    def item_rows(self, as_known_at: int | None = None) -> dict[int, Item]:
        """The standing row of every item: the newest received."""
        standing: dict[int, Item] = {}
        for item_id, versions in self.items.items():
            known = [version for version in versions if _known(version.known_at, as_known_at)]
            if known:
                standing[item_id] = known[-1]
        return standing

    def inventory(
        self, as_known_at: int | None = None, at: datetime | None = None
    ) -> dict[Key, Position]:
        """What is in stock, from the first `as_known_at` deliveries, at the event time `at`."""
        changes: dict[Key, list[Change]] = defaultdict(list)
        for change in self.changes.values():
            if _known(change.known_at, as_known_at) and (at is None or change.occurred_at <= at):
                changes[change.store_id, change.item_id].append(change)
        latest_count: dict[Key, tuple[datetime, int]] = {}
        for (store_id, item_id, counted_at), quantity in self.stock_counts(as_known_at).items():
            if at is not None and counted_at > at:
                continue
            latest = latest_count.get((store_id, item_id))
            if latest is None or counted_at > latest[0]:
                latest_count[store_id, item_id] = (counted_at, quantity)
        items = self.item_rows(as_known_at)
        return {
            key: self._position(key, changes.get(key, []), latest_count.get(key), items)
            for key in sorted({*changes, *latest_count})
        }

    def moves_stock(self, change: Change) -> bool:
        """An online BOPIS record is an order; everything else moves its store's stock."""
        is_online = self.stores.get(change.store_id) == "online"
        return not (is_online and change.change_type_id == BOPIS)

    def _position(
        self,
        key: Key,
        changes: Sequence[Change],
        count: tuple[datetime, int] | None,
        items: Mapping[int, Item],
    ) -> Position:
        store_id, item_id = key
        since = [change for change in changes if count is None or change.occurred_at > count[0]]
        change_quantity = sum(change.quantity for change in since if self.moves_stock(change))
        on_hand = (count[1] if count else 0) + change_quantity
        item = items.get(item_id)
        safety = item.safety_stock_quantity if item else None
        by_type = dict.fromkeys(CHANGE_TYPES.values(), 0)
        for change in since:
            by_type[CHANGE_TYPES[change.change_type_id]] += change.quantity
        return Position(
            on_hand_quantity=on_hand,
            counted_quantity=count[1] if count else None,
            counted_at=count[0] if count else None,
            change_quantity=change_quantity,
            is_counted=count is not None,
            last_changed_at=max((change.occurred_at for change in changes), default=None),
            safety_stock_quantity=safety,
            is_below_safety_stock=safety is not None and on_hand < safety,
            is_negative=on_hand < 0,
            is_known_store=store_id in self.stores,
            is_known_item=item is not None,
            quantity_by_type=by_type,
        )

    # What one file says.

    def _messages(self, delivery: Delivery) -> None:
        for line, text in message_lines(delivery.data):
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
        store_id = whole_number(message["store_id"])
        change_type_id = whole_number(message["change_type_id"])
        assert occurred_at is not None and store_id is not None and change_type_id is not None
        quantities: dict[int, list[int]] = defaultdict(list)
        for item in items:
            reason = item_fault(item)
            if reason is not None:
                self._reject(delivery, line, reason)
                continue
            item_id, quantity = whole_number(item["item_id"]), whole_number(item["quantity"])
            assert item_id is not None and quantity is not None
            quantities[item_id].append(quantity)
        for item_id, units in quantities.items():
            self._change(
                delivery,
                Change(
                    store_id,
                    str(message["trans_id"]),
                    change_type_id,
                    item_id,
                    sum(units),
                    occurred_at,
                    self.deliveries,
                    line,
                    len(units),
                    whole_number(message.get("fulfillment_store_id")),
                ),
            )

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
        for line, row in csv_rows(delivery.data, COUNT_FIELDS):
            books.received += 1
            reason = row if isinstance(row, str) else count_fault(row, delivery.received_at)
            if isinstance(row, str) or reason is not None:
                self._reject(delivery, line, str(reason))
                continue
            store_id, item_id = whole_number(row["store_id"]), whole_number(row["item_id"])
            counted_at, quantity = real_time(row["date_time"]), whole_number(row["quantity"])
            assert store_id is not None and item_id is not None
            assert counted_at is not None and quantity is not None
            books.kept += 1
            count = Count(store_id, item_id, counted_at, quantity, self.deliveries)
            self.counts.setdefault((store_id, item_id, counted_at), []).append(count)

    def _item_rows(self, delivery: Delivery) -> None:
        books = self.books[delivery.feed, delivery.commit]
        for line, row in csv_rows(delivery.data, ITEM_FIELDS):
            books.received += 1
            reason = row if isinstance(row, str) else item_row_fault(row)
            if isinstance(row, str) or reason is not None:
                self._reject(delivery, line, str(reason))
                continue
            item_id = whole_number(row["item_id"])
            assert item_id is not None
            books.kept += 1
            safety = whole_number(row["safety_stock_quantity"])
            item = Item(item_id, row["name"] or None, safety, self.deliveries)
            self.items.setdefault(item_id, []).append(item)

    def _reject(self, delivery: Delivery, line: int, reason: str) -> None:
        self.books[delivery.feed, delivery.commit].quarantined += 1
        self.quarantine.append(Rejected(delivery.feed, delivery.path, line, reason))


def judge(deliveries: Iterable[Delivery], stores: Mapping[int, str] | None = None) -> Oracle:
    """The oracle after all `deliveries`."""
    oracle = Oracle(stores=dict(STORES if stores is None else stores))
    for delivery in deliveries:
        oracle.receive(delivery)
    return oracle


def reasons(rejected: Iterable[Rejected]) -> Counter[tuple[str, str, int, str]]:
    """Rejected lines as a multiset, to compare with a table's rows."""
    return Counter((each.source, each.path, each.line, each.reason) for each in rejected)


# The rules of judgement, the first that applies.


def message_fault(message: Mapping[str, Any] | None, received_at: datetime) -> str | None:
    """Why a whole message cannot be kept; None where its items are to be judged."""
    if message is None:
        return "unparsable_message"
    store_id = whole_number(message.get("store_id"))
    occurred_at = real_time(message.get("date_time"))
    faults = {
        "missing_or_mistyped_trans_id": not text_of(message.get("trans_id")).strip(),
        "missing_or_mistyped_store_id": store_id is None or store_id not in INT32,
        "missing_or_mistyped_date_time": occurred_at is None,
        "unknown_change_type": whole_number(message.get("change_type_id")) not in CHANGE_TYPES,
        "date_time_in_the_future": is_ahead(occurred_at, received_at),
    }
    return next((reason for reason, applies in faults.items() if applies), None)


def item_fault(item: Any) -> str | None:
    """Why one item of a good message cannot be kept."""
    if not isinstance(item, dict) or whole_number(item.get("item_id")) is None:
        return "missing_or_mistyped_item_id"
    if whole_number(item.get("quantity")) is None:
        return "missing_or_mistyped_quantity"
    return None


def count_fault(row: Mapping[str, str], received_at: datetime) -> str | None:
    """Why a count row cannot be kept."""
    store_id = whole_number(row["store_id"])
    if store_id is None or store_id not in INT32:
        return "missing_or_mistyped_store_id"
    if whole_number(row["item_id"]) is None:
        return "missing_or_mistyped_item_id"
    counted_at = real_time(row["date_time"])
    if counted_at is None:
        return "missing_or_mistyped_date_time"
    if is_ahead(counted_at, received_at):
        return "date_time_in_the_future"
    if whole_number(row["quantity"]) is None:
        return "missing_or_mistyped_quantity"
    return None


def item_row_fault(row: Mapping[str, str]) -> str | None:
    """Why an item's reference row is of no use."""
    if whole_number(row["item_id"]) is None:
        return "missing_or_mistyped_item_id"
    if row["safety_stock_quantity"] and whole_number(row["safety_stock_quantity"]) is None:
        return "mistyped_safety_stock_quantity"
    return None


# From bytes to values.


def message_lines(data: bytes) -> Iterator[tuple[int, str | None]]:
    """Line numbers and texts of a message file; None where a line is not UTF-8."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            yield number, None


def whole_json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that `text` is, by the letter of the standard; None for anything else."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        value = json.loads(text or "", parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def csv_rows(data: bytes, fields: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Line numbers and rows of a CSV file, blanks stripped; a text is why a row is unreadable."""
    text = data.decode("utf-8-sig", errors="backslashreplace")
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    names = [name.strip() for name in header]
    wrong_header = any(names.count(name) != 1 for name in fields)
    line = 1
    if wrong_header:
        found = ",".join(header) or "(nothing)"
        wrong = f"unreadable_row: header is {found[:200]}; expected {','.join(fields)}"
        rest = [(reader.line_num, row) for row in reader if row]
        yield from ((number, wrong) for number, _ in rest or [(line, header)])
        return
    while True:
        line = reader.line_num + 1
        row = next(reader, None)
        if row is None:
            return
        if len(row) not in (0, len(header)):
            yield line, f"unreadable_row: row has {len(row)} fields; the header has {len(header)}"
        elif row:
            yield line, {name: row[names.index(name)].strip() for name in fields}


def whole_number(value: Any) -> int | None:
    """A whole number or its text, up to 18 digits; None for 1.5, 1e3, true, "two" and the like."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return int(text) if WHOLE_NUMBER.fullmatch(text) else None


def real_time(value: Any) -> datetime | None:
    """A UTC time from exactly yyyy-MM-dd HH:mm:ss; None for anything else, or for no such time."""
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def is_ahead(time: datetime | None, received_at: datetime) -> bool:
    """Whether a time lies further ahead of its receipt than clocks may differ."""
    return time is not None and time > received_at + FUTURE_TOLERANCE


def text_of(value: Any) -> str:
    """A transaction's name: any text, or a number's; empty for what is neither."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _known(known_at: int, as_known_at: int | None) -> bool:
    return as_known_at is None or known_at < as_known_at
