"""The physical stock, day by day: what is delivered, what can be sold, what is reordered.

Kept apart because it alone decides which wanted units exist. A day is the span (midnight, next
midnight]: an event stamped at a count's instant belongs to the day that the count closes (DESIGN
section 5, rule 1). Keys are store_id * items + item index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loaders.simulator.config import DAY_S
from loaders.simulator.tables import Bools, Ints

LEAD_DAYS = (1, 3)
_PROTECTED_DAYS = LEAD_DAYS[1] + 1  # the longest lead time and the day until the next look
_SAFETY_DEVIATIONS = 1.65  # 95 % of a normal demand
_VARIANCE_TO_MEAN = 1.6  # of units per day: lines come like Poisson, some of several units
_COVER_DAYS = 8
_CASE = 8  # the smallest order, units


@dataclass(frozen=True)
class Policy:
    """(s, S) per key: reorder when stock and orders are at most `reorder_point`, up to
    `order_up_to`.
    """

    reorder_point: Ints
    order_up_to: Ints


@dataclass(frozen=True)
class Wanted:
    """m stock movements that somebody wants: key, occurred_s, effect (signed units),
    all_or_nothing; (m,).

    Where the stock does not suffice, an all-or-nothing movement does not happen, another takes what
    is left.
    """

    key: Ints
    occurred_s: Ints
    effect: Ints
    all_or_nothing: Bools


@dataclass(frozen=True)
class StockRun:
    """effect: (m,) what became of the wanted effects. delivery_*: one row per delivered key and
    day.

    at_counts: the stock (keys,) at each count's instant; at_end: the stock (keys,) after the last
    day.
    """

    effect: Ints
    delivery_day: Ints
    delivery_key: Ints
    delivery_units: Ints
    at_counts: list[Ints]
    at_end: Ints


def make_policy(daily_units: NDArray[np.float64]) -> Policy:
    """(s, S) from the expected units per day of each key (keys,)."""
    protected = _PROTECTED_DAYS * daily_units
    safety = _SAFETY_DEVIATIONS * np.sqrt(protected * _VARIANCE_TO_MEAN)
    reorder_point = np.maximum(2, np.ceil(protected + safety)).astype(np.int64)
    size = np.maximum(_CASE, np.ceil(_COVER_DAYS * daily_units)).astype(np.int64)
    return Policy(reorder_point, reorder_point + size)


def expected_deliveries(policy: Policy, daily_units: NDArray[np.float64], days: int) -> float:
    """About how many delivered lines the policy leads to, for the budget of lines."""
    size = policy.order_up_to - policy.reorder_point + 1.0
    return float((daily_units / size).sum()) * max(0.0, days - sum(LEAD_DAYS) / 2)


def run_stock(
    policy: Policy,
    wanted: Wanted,
    days: int,
    count_days: Sequence[int],
    rng_opening: np.random.Generator,
    rng_lead: np.random.Generator,
) -> StockRun:
    """Play the days one after the other; in each, the deliveries first, then the wanted effects by
    time.

    `count_days`: the days (0-based) at whose first midnight a count is taken. The stock never falls
    below zero.
    """
    keys = len(policy.reorder_point)
    span = policy.order_up_to - policy.reorder_point
    stock = policy.reorder_point + 1 + (rng_opening.random(keys) * span).astype(np.int64)
    coming = np.zeros((days + LEAD_DAYS[1] + 1, keys), np.int32)
    on_order = np.zeros(keys, np.int64)

    day = (wanted.occurred_s - 1) // DAY_S
    # Day, key and second in one number (at most 1e12): one stable sort instead of three.
    second = wanted.occurred_s - day * DAY_S
    order = np.argsort((day * keys + wanted.key) * (DAY_S + 1) + second, kind="stable")
    bounds = np.searchsorted(day[order], np.arange(days + 1))
    key, asked, whole = wanted.key[order], wanted.effect[order], wanted.all_or_nothing[order]
    given = np.zeros_like(asked)

    delivered: list[tuple[Ints, Ints, Ints]] = []
    at_counts: list[Ints] = []
    for today in range(days):
        if today in count_days:
            at_counts.append(stock.copy())
        arrived = np.flatnonzero(coming[today])
        units = coming[today, arrived].astype(np.int64)
        delivered.append((np.full(len(arrived), today), arrived, units))
        stock[arrived] += units
        on_order[arrived] -= units

        here = slice(int(bounds[today]), int(bounds[today + 1]))
        given[here] = _serve(stock, key[here], asked[here], whole[here])

        position = stock + on_order
        low = np.flatnonzero(position <= policy.reorder_point)
        size = policy.order_up_to[low] - position[low]
        lead = rng_lead.integers(LEAD_DAYS[0], LEAD_DAYS[1] + 1, len(low))
        coming[today + lead, low] += size.astype(np.int32)
        on_order[low] += size

    effect = np.empty_like(given)
    effect[order] = given
    day_of, key_of, units_of = (np.concatenate(column) for column in zip(*delivered, strict=True))
    return StockRun(effect, day_of, key_of, units_of, at_counts, stock)


def _serve(stock: Ints, key: Ints, asked: Ints, whole: Bools) -> Ints:
    """Apply one day's effects, sorted by key and time, to `stock` (in place); returns what was
    given.

    A key whose outflow of the day fits its stock needs no look at the order of events. The few
    others are played event by event, all such keys side by side: round r plays the r-th event of
    each.
    """
    given = asked.copy()
    if not len(key):
        return given
    start = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    length = np.diff(np.append(start, len(key)))
    owner = key[start]
    outflow = np.add.reduceat(np.minimum(asked, 0), start)
    tight = stock[owner] + outflow < 0

    active_start, active_length = start[tight], length[tight]
    left = stock[owner[tight]]
    for turn in range(int(active_length.max(initial=0))):
        lane = np.flatnonzero(active_length > turn)
        event = active_start[lane] + turn
        effect = asked[event]
        short = left[lane] + effect < 0
        effect = np.where(short, np.where(whole[event], 0, -left[lane]), effect)
        given[event] = effect
        left[lane] += effect
    stock[owner] += np.add.reduceat(given, start)
    return given
