"""What is known at a moment, on two clocks: the rules read this and nothing else.

The knowledge clock is the number of deliveries received so far, the event clock is what the tills
wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from tests.oracle.reading import CHANGE_TYPES
from tests.oracle.received import Change, Count, CountKey, Item, Received

BOPIS = 4
STORES = {0: "online", 1: "physical"}  # the seed: store to channel

Key = tuple[int, int]  # store, item


@dataclass(frozen=True)
class Known:
    """Kept changes in order of receipt, each count's versions likewise, the standing item rows."""

    changes: list[Change]
    counts: Mapping[CountKey, list[Count]]
    items: Mapping[int, Item]
    stores: Mapping[int, str]

    @cached_property
    def event_clock(self) -> datetime | None:
        """The latest event time of all kept changes."""
        return max((change.occurred_at for change in self.changes), default=None)

    @cached_property
    def changes_of(self) -> Mapping[Key, list[Change]]:
        """All changes of each store and item, in order of receipt."""
        grouped = defaultdict(list)
        for change in self.changes:
            grouped[change.store_id, change.item_id].append(change)
        return grouped

    @cached_property
    def counts_of(self) -> Mapping[Key, list[Count]]:
        """The standing version of each count of a store and item, by time of the count."""
        grouped = defaultdict(list)
        for store_id, item_id, counted_at in sorted(self.counts):
            standing = self.counts[store_id, item_id, counted_at][-1]
            grouped[store_id, item_id].append(standing)
        return grouped

    def is_order(self, change: Change) -> bool:
        """A BOPIS record of an online store; of an unknown store it is a pickup."""
        return change.change_type_id == BOPIS and self.stores.get(change.store_id) == "online"

    def moves_stock(self, change: Change) -> bool:
        """An order does not; everything else moves its store's stock."""
        return not self.is_order(change)

    def moving(self, changes: Iterable[Change]) -> list[Change]:
        return [change for change in changes if self.moves_stock(change)]


def change_type(change: Change) -> str:
    return CHANGE_TYPES[change.change_type_id]


def known(
    received: Received,
    stores: Mapping[int, str],
    as_known_at: int | None = None,
    at: datetime | None = None,
) -> Known:
    """The first `as_known_at` deliveries, and of them what had happened at the event time `at`."""
    deliveries = received.deliveries if as_known_at is None else as_known_at
    changes = [
        change
        for change in received.changes.values()
        if change.known_at < deliveries and (at is None or change.occurred_at <= at)
    ]
    counts = {
        key: versions
        for key, all_versions in received.counts.items()
        if (versions := [each for each in all_versions if each.known_at < deliveries])
        and (at is None or key[2] <= at)
    }
    items = {
        item_id: versions[-1]
        for item_id, all_versions in received.items.items()
        if (versions := [each for each in all_versions if each.known_at < deliveries])
    }
    return Known(changes, counts, items, stores)
