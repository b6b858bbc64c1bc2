"""BOPIS: what was ordered online, what of it was picked up, what is still to be kept (rule 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.oracle.known import BOPIS, Key, Known
from tests.oracle.received import Change

RELEASE = timedelta(days=7)

OrderKey = tuple[str, int]  # transaction, item


@dataclass(frozen=True)
class Order:
    """What gold.bopis_orders must say of one transaction and item."""

    ordered_at: datetime | None
    ordered_quantity: int | None
    stated_fulfillment_store_id: int | None
    fulfillment_store_id: int | None
    is_unassigned: bool
    picked_up_at: datetime | None
    picked_up_quantity: int
    release_at: datetime | None
    status: str
    open_quantity: int


def bopis_orders(known: Known) -> dict[OrderKey, Order]:
    """Every transaction and item that has a BOPIS record."""
    order_lines: dict[OrderKey, list[Change]] = defaultdict(list)
    pickups: dict[OrderKey, list[Change]] = defaultdict(list)
    for change in known.changes:
        if change.change_type_id == BOPIS:
            side = order_lines if known.is_order(change) else pickups
            side[change.trans_id, change.item_id].append(change)
    return {
        key: _order(known, order_lines.get(key, []), pickups.get(key, []))
        for key in sorted({*order_lines, *pickups})
    }


def committed(known: Known) -> Mapping[Key, int]:
    """Units to be kept for orders, for each store and item that an order is collected from."""
    units: dict[Key, int] = defaultdict(int)
    for (_, item_id), order in bopis_orders(known).items():
        if order.fulfillment_store_id is not None:
            units[order.fulfillment_store_id, item_id] += order.open_quantity
    return units


def _order(known: Known, lines: Sequence[Change], pickups: Sequence[Change]) -> Order:
    stated = lines[0].fulfillment_store_id if lines else None  # of the first received
    store_id = only_physical_store(known.stores) if lines and stated is None else stated
    ordered_at = min((line.occurred_at for line in lines), default=None)
    ordered = -sum(line.quantity for line in lines) if lines else None
    picked_up = -sum(pickup.quantity for pickup in pickups)
    status = _status(known.event_clock, ordered_at, ordered, picked_up)
    is_open = status in ("open", "partly_collected")
    return Order(
        ordered_at=ordered_at,
        ordered_quantity=ordered,
        stated_fulfillment_store_id=stated,
        fulfillment_store_id=store_id,
        is_unassigned=bool(lines) and store_id is None,
        picked_up_at=max((pickup.occurred_at for pickup in pickups), default=None),
        picked_up_quantity=picked_up,
        release_at=ordered_at + RELEASE if ordered_at else None,
        status=status,
        open_quantity=ordered - max(picked_up, 0) if is_open and ordered is not None else 0,
    )


def _status(
    clock: datetime | None, ordered_at: datetime | None, ordered: int | None, picked_up: int
) -> str:
    if clock is None or ordered_at is None or ordered is None:
        return "awaiting_order"
    if picked_up > 0 and picked_up >= ordered:
        return "collected"
    if ordered <= 0 or clock > ordered_at + RELEASE:
        return "released"
    return "partly_collected" if picked_up > 0 else "open"


def only_physical_store(stores: Mapping[int, str]) -> int | None:
    """Where an order is collected that names no store; None where that is not one place."""
    physical = [store_id for store_id, channel in stores.items() if channel == "physical"]
    return physical[0] if len(physical) == 1 else None
