"""An independent oracle: the landed bytes, judged and added up in plain Python.

Written from DESIGN section 5 and never from the SQL; nothing but the standard library. It is slow
and obvious on purpose: a dict per rule. The dbt models must say the same, whatever the batching.

`judge` the deliveries, then ask for a table: each answer is a dict from the table's key to a row
whose fields are the table's columns. `as_known_at` is the knowledge clock, the number of deliveries
received so far; `at` is the event clock. What depends on what was published when takes the
`builds`, each the number of deliveries that it knew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tests.oracle import counts, orders, pace, published, stock
from tests.oracle.counts import Shrink, Variance
from tests.oracle.known import BOPIS, STORES, Key, Known, known
from tests.oracle.orders import Order, OrderKey
from tests.oracle.pace import Supply, Suspect
from tests.oracle.published import Alert, AlertKey, Restatement, VersionKey
from tests.oracle.reading import CHANGE_TYPES, COUNT_FIELDS, ITEM_FIELDS
from tests.oracle.received import (
    COUNTS,
    ITEMS,
    MESSAGES,
    Change,
    ChangeKey,
    CountKey,
    Delivery,
    Item,
    Received,
    line_numbers,
    reasons,
)
from tests.oracle.stock import LedgerEntry, LedgerKey, OnHand, Position

__all__ = [
    "BOPIS",
    "CHANGE_TYPES",
    "COUNTS",
    "COUNT_FIELDS",
    "ITEMS",
    "ITEM_FIELDS",
    "MESSAGES",
    "STORES",
    "Alert",
    "AlertKey",
    "Change",
    "ChangeKey",
    "CountKey",
    "Delivery",
    "Item",
    "Key",
    "LedgerEntry",
    "LedgerKey",
    "OnHand",
    "Oracle",
    "Order",
    "OrderKey",
    "Position",
    "Restatement",
    "Shrink",
    "Supply",
    "Suspect",
    "Variance",
    "VersionKey",
    "judge",
    "line_numbers",
    "reasons",
]


@dataclass
class Oracle(Received):
    """Everything received, judged once, in order of receipt. Ask it what must be in the tables."""

    stores: Mapping[int, str] = field(default_factory=lambda: dict(STORES))

    # What is known.

    def known(self, as_known_at: int | None = None, at: datetime | None = None) -> Known:
        return known(self, self.stores, as_known_at, at)

    def known_by(self, time: datetime | None) -> int | None:
        """How many deliveries had been received by a time; deliveries in order of receipt."""
        return None if time is None else bisect_right(self.received_at, time)

    def event_clock(self, as_known_at: int | None = None) -> datetime | None:
        """The latest event time of all kept changes."""
        return self.known(as_known_at).event_clock

    # Silver.

    def stock_counts(self, as_known_at: int | None = None) -> dict[CountKey, int]:
        """The standing quantity of every count: the last received."""
        standing = self.known(as_known_at).counts
        return {key: versions[-1].quantity for key, versions in standing.items()}

    def item_rows(self, as_known_at: int | None = None) -> Mapping[int, Item]:
        """The standing row of every item: the newest received."""
        return self.known(as_known_at).items

    # Gold, whatever the builds.

    def inventory(
        self, as_known_at: int | None = None, at: datetime | None = None
    ) -> dict[Key, Position]:
        """What is in stock, from the first `as_known_at` deliveries, at the event time `at`."""
        return stock.inventory(self.known(as_known_at, at))

    def inventory_as_of(self, at: datetime, known_at: datetime | None = None) -> dict[Key, OnHand]:
        """What was in stock at `at`, by what had been received by `known_at`."""
        return stock.on_hand(self.known(self.known_by(known_at), at))

    def ledger(self, as_known_at: int | None = None) -> dict[LedgerKey, LedgerEntry]:
        """Every change that moves stock and every count, with the stock after it."""
        return stock.ledger(self.known(as_known_at))

    def bopis_orders(self, as_known_at: int | None = None) -> dict[OrderKey, Order]:
        """Every transaction and item that has a BOPIS record."""
        return orders.bopis_orders(self.known(as_known_at))

    def count_variances(self, as_known_at: int | None = None) -> dict[CountKey, Variance]:
        """Every count against the books."""
        return counts.count_variances(self.known(as_known_at))

    def shrink_by_item(self, as_known_at: int | None = None) -> dict[Key, Shrink]:
        """What is missing of every store and item that was counted twice or more."""
        return counts.shrink_by_item(self.known(as_known_at))

    def days_of_supply(self, as_known_at: int | None = None) -> dict[Key, Supply]:
        """How long the stock lasts, for every store and item with sales in the window."""
        return pace.days_of_supply(self.known(as_known_at))

    def phantom_stock_suspects(self, as_known_at: int | None = None) -> dict[Key, Suspect]:
        """Every store and item that should have sold and did not."""
        return pace.phantom_stock_suspects(self.known(as_known_at))

    # Gold, as the builds made it.

    def stock_count_figures(self, builds: Sequence[int]) -> dict[VersionKey, Variance]:
        """Every published version of every count's figures."""
        return published.stock_count_figures(self.known, builds)

    def restatements(self, builds: Sequence[int]) -> dict[VersionKey, Restatement]:
        """Every published figure that moved."""
        return published.restatements(self.known, builds)

    def alerts(self, builds: Sequence[int]) -> dict[AlertKey, Alert]:
        """Every alert that was raised, as the last build left it."""
        return published.alerts(self.known, builds)


def judge(deliveries: Iterable[Delivery], stores: Mapping[int, str] | None = None) -> Oracle:
    """The oracle after all `deliveries`."""
    oracle = Oracle(stores=dict(STORES if stores is None else stores))
    for delivery in deliveries:
        oracle.receive(delivery)
    return oracle
