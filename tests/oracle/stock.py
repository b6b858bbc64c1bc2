"""What is in stock: now, at another moment, and entry by entry (rules 1 to 4, 10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from tests.oracle.known import BOPIS, Key, Known, change_type
from tests.oracle.orders import committed
from tests.oracle.reading import CHANGE_TYPES
from tests.oracle.received import Change, Count

LedgerKey = tuple[int, int, datetime, str, str]  # store, item, occurred at, type, transaction


@dataclass(frozen=True)
class Position:
    """What gold.inventory_current must say of one store and item."""

    on_hand_quantity: int
    counted_quantity: int | None
    counted_at: datetime | None
    change_quantity: int
    is_counted: bool
    last_changed_at: datetime | None
    committed_quantity: int
    available_quantity: int
    available_to_promise_quantity: int
    safety_stock_quantity: int | None
    is_below_safety_stock: bool
    is_negative: bool
    is_known_store: bool
    is_known_item: bool
    lifetime_change_quantity: int
    lifetime_bopis_quantity: int
    quantity_by_type: Mapping[str, int]


@dataclass(frozen=True)
class OnHand:
    """What an as-of query must say of one store and item."""

    on_hand_quantity: int
    counted_quantity: int | None
    counted_at: datetime | None


@dataclass(frozen=True)
class LedgerEntry:
    """What gold.inventory_ledger must say of one change or count."""

    quantity: int
    balance_quantity: int


def inventory(known: Known) -> dict[Key, Position]:
    """Every store and item that was changed, counted, or is to serve an order."""
    to_keep = committed(known)
    keys = {*known.changes_of, *known.counts_of, *to_keep}
    return {key: _position(known, key, to_keep.get(key, 0)) for key in sorted(keys)}


def on_hand(known: Known) -> dict[Key, OnHand]:
    """Every store and item that was changed or counted."""
    return {
        key: OnHand(position.on_hand_quantity, position.counted_quantity, position.counted_at)
        for key, position in inventory(known).items()
        if key in known.changes_of or key in known.counts_of
    }


def _position(known: Known, key: Key, to_keep: int) -> Position:
    store_id, item_id = key
    changes = known.changes_of.get(key, [])
    count = latest(known, key)
    since = [change for change in changes if count is None or change.occurred_at > count.counted_at]
    change_quantity = units(known.moving(since))
    on_hand = (count.quantity if count else 0) + change_quantity
    available = on_hand - to_keep
    item = known.items.get(item_id)
    safety = item.safety_stock_quantity if item else None
    by_type = dict.fromkeys(CHANGE_TYPES.values(), 0)
    for change in since:
        by_type[change_type(change)] += change.quantity
    return Position(
        on_hand_quantity=on_hand,
        counted_quantity=count.quantity if count else None,
        counted_at=count.counted_at if count else None,
        change_quantity=change_quantity,
        is_counted=count is not None,
        last_changed_at=max((change.occurred_at for change in changes), default=None),
        committed_quantity=to_keep,
        available_quantity=available,
        available_to_promise_quantity=max(available - (safety or 0), 0),
        safety_stock_quantity=safety,
        is_below_safety_stock=safety is not None and available < safety,
        is_negative=on_hand < 0,
        is_known_store=store_id in known.stores,
        is_known_item=item is not None,
        lifetime_change_quantity=units(known.moving(changes)),
        lifetime_bopis_quantity=units(each for each in changes if each.change_type_id == BOPIS),
        quantity_by_type=by_type,
    )


def ledger(known: Known) -> dict[LedgerKey, LedgerEntry]:
    """Every change that moves stock and every count, with the stock after it."""
    entries: dict[LedgerKey, LedgerEntry] = {}
    by_key: dict[Key, list[Change | Count]] = defaultdict(list)
    for key, changes in known.changes_of.items():
        by_key[key].extend(known.moving(changes))
    for key, counts in known.counts_of.items():
        by_key[key].extend(counts)
    for key, facts in by_key.items():
        balance = 0
        for fact in sorted(facts, key=_ledger_order):
            if isinstance(fact, Count):
                entry = LedgerEntry(fact.quantity - balance, fact.quantity)
                place = (*key, fact.counted_at, "count", "")
            else:
                entry = LedgerEntry(fact.quantity, balance + fact.quantity)
                place = (*key, fact.occurred_at, change_type(fact), fact.trans_id)
            balance = entry.balance_quantity
            entries[place] = entry
    return entries


def _ledger_order(fact: Change | Count) -> tuple[datetime, bool, int]:
    """By time; of one instant the changes in order of receipt, then the count."""
    if isinstance(fact, Count):
        return (fact.counted_at, True, fact.receipt)
    return (fact.occurred_at, False, fact.receipt)


def latest(known: Known, key: Key) -> Count | None:
    counts = known.counts_of.get(key)
    return counts[-1] if counts else None


def units(changes: Iterable[Change]) -> int:
    return sum(change.quantity for change in changes)
