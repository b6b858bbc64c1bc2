"""How fast an item sells: how long its stock lasts, and where it should have sold and did not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.oracle.known import BOPIS, Key, Known, change_type
from tests.oracle.received import Change
from tests.oracle.stock import inventory, units

WINDOW = timedelta(days=28)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PHANTOM_LEAST_SALES = 5
PHANTOM_LEAST = timedelta(hours=24)
PHANTOM_GAP_MULTIPLE = 8


@dataclass(frozen=True)
class Supply:
    """What gold.days_of_supply must say of one store and item."""

    sold_quantity: int
    observed_days: float
    average_daily_quantity: float
    days_of_supply: float | None


@dataclass(frozen=True)
class Suspect:
    """What gold.phantom_stock_suspects must say of one store and item."""

    sale_count: int
    first_sold_at: datetime
    last_sold_at: datetime
    usual_gap_hours: float
    hours_since_last_sale: float


def days_of_supply(known: Known) -> dict[Key, Supply]:
    """Every store and item with sales in the window."""
    rows: dict[Key, Supply] = {}
    for key, position in inventory(known).items():
        sales = _sales_in_window(known, key)
        if not sales:
            continue
        sold = -units(sales)
        observed_days = max(_observed(known) / DAY, 1.0)
        average = sold / observed_days
        rows[key] = Supply(
            sold_quantity=sold,
            observed_days=observed_days,
            average_daily_quantity=average,
            days_of_supply=max(position.available_quantity, 0) / average if average > 0 else None,
        )
    return rows


def phantom_stock_suspects(known: Known) -> dict[Key, Suspect]:
    """Every store and item that has stock, used to sell, and has not for far too long."""
    rows: dict[Key, Suspect] = {}
    for key, position in inventory(known).items():
        times = sorted(
            sale.occurred_at for sale in _sales_in_window(known, key) if sale.quantity < 0
        )
        clock = known.event_clock
        if clock is None or position.on_hand_quantity <= 0 or len(times) < PHANTOM_LEAST_SALES:
            continue
        quiet, span, gaps = clock - times[-1], times[-1] - times[0], len(times) - 1
        # Whole seconds throughout: quiet > multiple * span / gaps.
        if quiet > PHANTOM_LEAST and quiet * gaps > PHANTOM_GAP_MULTIPLE * span:
            rows[key] = Suspect(len(times), times[0], times[-1], span / HOUR / gaps, quiet / HOUR)
    return rows


def _sales_in_window(known: Known, key: Key) -> list[Change]:
    """Sales and pickups of the last days, returns among them."""
    clock = known.event_clock
    return [
        change
        for change in known.moving(known.changes_of.get(key, []))
        if (change_type(change) == "sale" or change.change_type_id == BOPIS)
        and clock is not None
        and clock - change.occurred_at < WINDOW
    ]


def _observed(known: Known) -> timedelta:
    """How much of the window we have been told of at all."""
    clock = known.event_clock
    assert clock is not None
    return min(WINDOW, clock - min(change.occurred_at for change in known.changes))
