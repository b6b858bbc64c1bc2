"""A chain: an online shop and many stores, simulated one store at a time.

Kept apart from month.py, whose two stores are drawn together and stay as they are. A store hangs on
the chain's configuration, on random streams of its own and on what was ordered online for it, and
on no other store: made alone, in any order or in any process, it is the same. So a chain of any
size takes the memory of its largest store, and of what was ordered online.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loaders.errors import UserError
from loaders.simulator import bopis, catalogue, demand, stock
from loaders.simulator.config import (
    ONLINE_STORE_ID,
    SHOP_STORE_ID,
    Config,
    pos_name,
    random_streams,
)
from loaders.simulator.month import Month, put_together
from loaders.simulator.tables import Ints, Ledger, concatenate, random_trans_ids

MAX_STORES = 1_000  # a store's name has three digits
# Of the logarithm of a store's lines: of 200 the largest is 2.5 times the mean.
_SIZE_DEVIATION = 0.35
# Between the counts of two stores of one night. The last of 1,000 is taken before 3 h, and nothing
# moves from midnight to 4 h.
_COUNTS_APART_S = 10


@dataclass(frozen=True)
class Chain:
    """`config` as of a month, its `lines` over all stores; `stores` with the online shop, which is
    one among them, so that `online_share` says nothing here. Every order names its store.

    Raises UserError where there are too few or too many stores.
    """

    config: Config
    stores: int

    def __post_init__(self) -> None:
        if not 2 < self.stores <= MAX_STORES:
            raise UserError(f"a chain has 3 to {MAX_STORES:,} stores, not {self.stores:,}")

    @property
    def store_ids(self) -> range:
        """All stores, the online shop first."""
        return range(ONLINE_STORE_ID, self.stores)

    def as_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {**self.config.as_json(), "stores": self.stores}


@dataclass(frozen=True)
class Shared:
    """What all stores of a chain hang on.

    rank: (items,) of each item in the chain as a whole, from 0. lines: (stores,) wanted of each.
    safety_stock: (items,) units. online: what the online shop is asked for; pickups: what of it is
    fetched in the stores.
    """

    goods: catalogue.Catalogue
    rank: Ints
    lines: NDArray[np.float64]
    safety_stock: Ints
    online: Ledger
    online_lines: float
    pickups: Ledger


@lru_cache(maxsize=1)
def shared_by_stores(chain: Chain) -> Shared:
    """What no store can draw for itself; as large as the online shop's sales."""
    config = chain.config
    streams = random_streams(config.seed)
    goods = catalogue.make_catalogue(config.items, streams["catalogue"])
    rank = streams["popularity"].permutation(config.items)
    sizes = np.exp(_SIZE_DEVIATION * streams["store_sizes"].standard_normal(chain.stores))
    lines = config.lines * sizes / sizes.sum()
    # The safety stock is that of the mean store, as an item has one for all stores.
    shares = catalogue.weight_by_rank(config.items)[rank]
    mean_store = stock.make_policy(_daily_units(config, shares * config.lines / chain.stores))

    shares = popularity(chain, rank, ONLINE_STORE_ID)
    wanted = _basket_lines(config, lines[ONLINE_STORE_ID], shares, sold=1.0 - config.bopis_share)
    baskets = demand.turn_into_returns(
        demand.draw_baskets(config, ONLINE_STORE_ID, wanted, shares, streams["baskets_online"]),
        config.return_rate,
        streams["returns"],
    )
    shops = chain.stores - SHOP_STORE_ID
    online, ordered = bopis.mark_orders(config, baskets, streams["bopis"], shops)
    online = replace(online, trans_id=random_trans_ids(streams["trans_ids"], online.size))
    pickups = bopis.draw_pickups(config, online.take(np.flatnonzero(ordered)), streams["bopis"])
    safety_stock = mean_store.reorder_point // 2
    return Shared(goods, rank, lines, safety_stock, online, wanted, pickups)


def simulate_store(chain: Chain, store_id: int) -> Month:
    """The month of one store of the chain."""
    shared = shared_by_stores(chain)
    config, streams = chain.config, random_streams(chain.config.seed, store_id)
    shares = popularity(chain, shared.rank, store_id)
    if store_id == ONLINE_STORE_ID:
        parts, lines = [shared.online], shared.online_lines
        daily = shares * lines * (1.0 - config.bopis_share)
    else:
        here = np.flatnonzero(shared.pickups.store_id == store_id)
        pickups = shared.pickups.take(here)
        fetched = len(pickups.item) * popularity(chain, shared.rank, ONLINE_STORE_ID)
        lines = _basket_lines(config, shared.lines[store_id], shares, fetched=fetched)
        baskets = demand.draw_baskets(config, store_id, lines, shares, streams["baskets_shop"])
        baskets = replace(
            demand.turn_into_returns(baskets, config.return_rate, streams["returns"]),
            trans_id=random_trans_ids(streams["trans_ids"], baskets.size),
        )
        parts = [baskets, pickups]
        daily = shares * lines + fetched
    written_off, lost = demand.draw_shrink(config, store_id, lines, shares, streams["shrink"])
    ids = random_trans_ids(streams["trans_ids"], written_off.size)
    return put_together(
        config,
        shared.goods,
        stock.make_policy(_daily_units(config, daily)),
        shared.safety_stock,
        concatenate([*parts, replace(written_off, trans_id=ids)]),
        lost,
        streams,
        (store_id,),
        counted_after_s=_COUNTS_APART_S * store_id,
    )


def popularity(chain: Chain, rank: Ints, store_id: int) -> NDArray[np.float64]:
    """(items,) probability that a basket line of the store is the item: the chain's ranking,
    blurred in each store."""
    rng = random_streams(chain.config.seed, store_id)["popularity"]
    shares = catalogue.weight_by_rank(chain.config.items)[catalogue.blurred(rank, rng)]
    return shares


def store_rows(chain: Chain) -> list[dict[str, Any]]:
    """The stores as rows of the seed `stores`."""
    return [
        {
            "store_id": store_id,
            "store_name": pos_name(store_id),
            "channel": "online" if store_id == ONLINE_STORE_ID else "physical",
        }
        for store_id in chain.store_ids
    ]


def _basket_lines(
    config: Config,
    lines: float,
    shares: NDArray[np.float64],
    *,
    sold: float = 1.0,
    fetched: NDArray[np.float64] | float = 0.0,
) -> float:
    """Basket lines of a store, so that baskets, pickups, write-offs and restocks make `lines`
    together. `sold`: the share of its baskets that leaves its own stock; `fetched` (items,): lines
    that are fetched from it."""
    pickups = float(np.sum(fetched))
    per_line = 1.0 + config.shrink_rate * config.shrink_recorded_share
    baskets = 0.9 * lines
    for _ in range(4):  # restocks depend on the baskets a little; this settles at once
        daily = _daily_units(config, shares * baskets * sold + fetched)
        restocks = stock.expected_deliveries(stock.make_policy(daily), daily, config.days)
        baskets = max(0.3 * lines, (lines - pickups - restocks) / per_line)
    return baskets


def _daily_units(config: Config, lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """(items,) expected units a day, of the lines (items,) of the whole time."""
    per_line = demand.MEAN_UNITS * (1.0 + config.shrink_rate - 2 * config.return_rate)
    return lines * per_line / config.days
