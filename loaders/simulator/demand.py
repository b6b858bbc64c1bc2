"""What customers want: baskets with their times, items and units; and what gets lost (shrink).

Kept apart from the stock: nothing here knows what is on the shelf. The profiles are those of DESIGN
section 7 (hours and weekdays, lines per basket, units per line).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loaders.messages import NO_STORE
from loaders.simulator.config import DAY_S, SALE, SHRINK, Config
from loaders.simulator.tables import Ints, Ledger, first_of_each

FIRST_HOUR = 5
HOUR_WEIGHTS = np.array(
    [0.5, 1.2, 1.9, 2.7, 3.9, 5.4, 6.5, 6.7, 7.0, 7.5, 8.5, 9.6, 9.7, 8.6, 7.1, 5.4, 3.4, 2.0, 1.0]
)  # from 5h to 23h
WEEKDAY_WEIGHTS = np.array([14.1, 13.4, 13.2, 13.3, 13.9, 15.8, 16.3])  # Monday first

MAX_BASKET_LINES = 161
MEDIAN_BASKET_LINES = 5.0
MEAN_BASKET_LINES = 9.4
# A log-normal's mean is median * exp(sigma^2 / 2). Cutting its tail at 161 costs some of the mean,
# and lost sales some more, which the 0.3 gives back: sold baskets have mean 9.4, median 5.
_SIGMA = math.sqrt(2 * math.log((MEAN_BASKET_LINES + 0.3) / MEDIAN_BASKET_LINES))

_TAIL = 0.62 ** np.arange(9)  # 4 to 12 units; the rest of the 100 % after the three measured shares
UNIT_WEIGHTS = np.concatenate([[0.79, 0.14, 0.03], 0.04 * _TAIL / _TAIL.sum()])
MEAN_UNITS = float((UNIT_WEIGHTS * np.arange(1, 13)).sum())

_LINES_PER_WRITE_OFF = 4
_WRITE_OFF_AT_MIDNIGHT = 0.05  # so that some events bear exactly the instant of a count


@dataclass(frozen=True)
class HiddenShrink:
    """Units that vanish unseen: store_id, item (catalogue index), occurred_s, units; all (k,)."""

    store_id: Ints
    item: Ints
    occurred_s: Ints
    units: Ints


def draw_moments(config: Config, count: int, rng: np.random.Generator) -> Ints:
    """(count,) seconds since the start, by the weekday and hour-of-day profile."""
    weekdays = (config.start.weekday() + np.arange(config.days)) % 7
    day = _draw(WEEKDAY_WEIGHTS[weekdays], count, rng)
    hour = FIRST_HOUR + _draw(HOUR_WEIGHTS, count, rng)
    return day * DAY_S + hour * 3600 + rng.integers(0, 3600, count)


def draw_basket_sizes(count: int, rng: np.random.Generator) -> Ints:
    """(count,) lines per basket: log-normal, rounded, from 1 to 161."""
    sizes = np.full(count, np.inf)
    while (outside := np.flatnonzero(sizes > MAX_BASKET_LINES)).size:
        drawn = rng.lognormal(math.log(MEDIAN_BASKET_LINES), _SIGMA, outside.size)
        sizes[outside] = np.maximum(1.0, np.rint(drawn))
    return sizes.astype(np.int64)


def draw_units(count: int, rng: np.random.Generator) -> Ints:
    """(count,) units of a line, 1 to 12."""
    return 1 + _draw(UNIT_WEIGHTS, count, rng)


def draw_baskets(
    config: Config,
    store_id: int,
    lines: float,
    popularity: NDArray[np.float64],
    rng: np.random.Generator,
) -> Ledger:
    """Sale baskets of one store with about `lines` lines; quantities are negative, trans_id still
    empty.
    """
    # More baskets than needed, cut where the lines are reached: so small worlds, where an item
    # often comes twice in a basket and is dropped once, meet their target too.
    sizes = draw_basket_sizes(round(1.1 * lines / MEAN_BASKET_LINES) + 50, rng)
    transaction = np.repeat(np.arange(len(sizes)), sizes)
    item = _draw(popularity, len(transaction), rng)
    first = first_of_each(transaction, item, config.items)
    transaction, item = transaction[first], item[first]
    count = int(transaction[: max(1, round(lines))][-1]) + 1
    end = int(np.searchsorted(transaction, count))
    transaction, item = transaction[:end], item[:end]
    units = draw_units(end, rng)
    moments = np.sort(draw_moments(config, count, rng))
    return _ledger(store_id, SALE, moments, transaction, item, -units)


def turn_into_returns(baskets: Ledger, rate: float, rng: np.random.Generator) -> Ledger:
    """Make `rate` of the lines positive: units that come back over the counter, still change type
    1.
    """
    quantity = np.where(rng.random(len(baskets.item)) < rate, -baskets.quantity, baskets.quantity)
    return baskets.with_lines(np.ones(len(quantity), np.bool_), quantity)


def draw_shrink(
    config: Config,
    store_id: int,
    sale_lines: float,
    popularity: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[Ledger, HiddenShrink]:
    """Recorded write-offs (change type 2, negative) and hidden losses, wanted before looking at the
    stock.
    """
    recorded = round(sale_lines * config.shrink_rate * config.shrink_recorded_share)
    sessions = recorded // _LINES_PER_WRITE_OFF + 1
    moments = draw_moments(config, sessions, rng)
    midnight = (moments // DAY_S + 1) * DAY_S
    at_midnight = (rng.random(sessions) < _WRITE_OFF_AT_MIDNIGHT) & (midnight < config.days * DAY_S)
    transaction = np.sort(rng.integers(0, sessions, recorded))
    item = _draw(popularity, recorded, rng)
    units = draw_units(recorded, rng)
    first = first_of_each(transaction, item, config.items)
    times = np.where(at_midnight, midnight, moments)
    events = _ledger(store_id, SHRINK, times, transaction[first], item[first], -units[first])

    hidden = round(sale_lines * config.shrink_rate * (1 - config.shrink_recorded_share))
    losses = HiddenShrink(
        np.full(hidden, store_id),
        _draw(popularity, hidden, rng),
        draw_moments(config, hidden, rng),
        draw_units(hidden, rng),
    )
    return events, losses


def _ledger(
    store_id: int,
    change_type_id: int,
    occurred_s: Ints,
    transaction: Ints,
    item: Ints,
    quantity: Ints,
) -> Ledger:
    count = len(occurred_s)
    return Ledger(
        np.zeros(count, "S38"),
        np.full(count, store_id, np.int64),
        occurred_s,
        np.full(count, change_type_id, np.int64),
        np.full(count, NO_STORE, np.int64),
        transaction,
        item,
        quantity,
    )


def _draw(weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> Ints:
    """(count,) indices drawn with probabilities in proportion to `weights`."""
    cumulative = np.cumsum(weights)
    found = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    indices: Ints = np.minimum(found, len(weights) - 1).astype(np.int64)
    return indices
