"""Buy online, pick up in store: which online baskets are orders, and when the shop hands them out.

Kept apart because the two records of one trans_id obey rules of their own (DESIGN section 5, rule
2).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from loaders.messages import NO_STORE
from loaders.simulator.config import BOPIS, DAY_S, SHOP_STORE_ID, Config
from loaders.simulator.tables import Bools, Ledger

_NAMES_THE_SHOP = 0.5  # share of the orders that carry fulfillment_store_id
_MEDIAN_DELAY_H = 8.0
_DELAY_SIGMA = 1.0  # log-normal: a tenth waits for more than a day, one in 800 for more than a week
_SHOP_OPENS_S = 8 * 3600
_LINE_COLLECTED = 0.6  # of a partly collected order


def mark_orders(
    config: Config, baskets: Ledger, rng: np.random.Generator, shops: int = 1
) -> tuple[Ledger, Bools]:
    """Turn a share of the online baskets into BOPIS orders; also returns (n,) which ones.

    An order's quantities are all negative: nothing is returned in an order. Where there are several
    `shops` (store ids from SHOP_STORE_ID on), every order names one, or nobody could tell.
    """
    ordered = rng.random(baskets.size) < config.bopis_share
    if shops == 1:
        named = ordered & (rng.random(baskets.size) < _NAMES_THE_SHOP)
        shop = np.full(baskets.size, SHOP_STORE_ID)
    else:
        named = ordered
        shop = SHOP_STORE_ID + rng.integers(0, shops, baskets.size)
    line_ordered = ordered[baskets.transaction]
    marked = replace(
        baskets,
        change_type_id=np.where(ordered, BOPIS, baskets.change_type_id),
        fulfillment_store_id=np.where(named, shop, NO_STORE),
        quantity=np.where(line_ordered, -np.abs(baskets.quantity), baskets.quantity),
    )
    return marked, ordered


def draw_pickups(config: Config, orders: Ledger, rng: np.random.Generator) -> Ledger:
    """The pickups of `orders` in their shop, hours to days later, under the orders' trans_id.

    Some orders are never collected, some partly, and those due after the month are left open. What
    is wanted here is still subject to the shop's stock.
    """
    delay_s = 3600.0 * rng.lognormal(math.log(_MEDIAN_DELAY_H), _DELAY_SIGMA, orders.size)
    occurred_s = orders.occurred_s + np.maximum(3600, delay_s.astype(np.int64))
    at_night = occurred_s % DAY_S < _SHOP_OPENS_S
    morning = occurred_s // DAY_S * DAY_S + _SHOP_OPENS_S + rng.integers(0, 3 * 3600, orders.size)
    occurred_s = np.where(at_night, morning, occurred_s)
    collected = rng.random(orders.size) >= config.never_collected
    collected &= occurred_s < config.days * DAY_S
    partly = (rng.random(orders.size) < config.partly_collected)[orders.transaction]
    lines = len(orders.item)
    kept = collected[orders.transaction] & (~partly | (rng.random(lines) < _LINE_COLLECTED))
    fewer = partly & (rng.random(lines) < 0.5)
    units = -orders.quantity
    some = 1 + (rng.random(lines) * units).astype(np.int64)  # 1 up to all of them
    pickups = replace(
        orders,
        store_id=np.where(
            orders.fulfillment_store_id == NO_STORE, SHOP_STORE_ID, orders.fulfillment_store_id
        ),
        occurred_s=occurred_s,
        fulfillment_store_id=np.full(orders.size, NO_STORE),
    )
    return pickups.with_lines(kept, -np.where(fewer, some, units))
