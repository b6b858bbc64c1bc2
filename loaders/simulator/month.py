"""One simulated month, put together: world, transmissions and the truth beside them.

Kept apart from the writing: this is pure and in memory. Same configuration, same month.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loaders.simulator import bopis, catalogue, counts, deliveries, demand, faults, stock
from loaders.simulator.config import (
    BOPIS,
    ONLINE_STORE_ID,
    SALE,
    SHOP_STORE_ID,
    STORE_IDS,
    STORES,
    Config,
    random_streams,
)
from loaders.simulator.tables import Ints, Ledger, concatenate, random_trans_ids


@dataclass(frozen=True)
class Month:
    """A simulated month.

    ledger: every transaction that the rules keep, as it happened; first_sent_s (n,): its first good
    delivery, seconds since the start. transmissions: every message sent. counts: every count file
    sent. store_ids: whose month it is. physical: (stores, items) units on the shelf at the end, in
    their order. safety_stock: (items,) units.
    """

    config: Config
    catalogue: catalogue.Catalogue
    safety_stock: Ints
    ledger: Ledger
    first_sent_s: Ints
    transmissions: faults.Transmissions
    counts: list[counts.CountFile]
    physical: Ints
    store_ids: tuple[int, ...] = STORE_IDS


def simulate(config: Config) -> Month:
    """Simulate the world of `config`: DESIGN section 7 by default, in a few seconds."""
    streams = random_streams(config.seed)
    goods = catalogue.make_catalogue(config.items, streams["catalogue"])
    popularity = catalogue.draw_popularity(config.items, streams["popularity"])
    basket_lines = _basket_lines(config, popularity)
    policy = stock.make_policy(_daily_units(config, popularity, basket_lines))

    wanted, hidden = _wanted_ledger(config, popularity, basket_lines, streams)
    safety_stock = np.maximum.reduce(policy.reorder_point.reshape(STORES, config.items)) // 2
    return put_together(
        config, goods, policy, safety_stock, wanted, hidden, streams, store_ids=STORE_IDS
    )


def put_together(
    config: Config,
    goods: catalogue.Catalogue,
    policy: stock.Policy,
    safety_stock: Ints,
    wanted: Ledger,
    hidden: demand.HiddenShrink,
    streams: dict[str, np.random.Generator],
    store_ids: tuple[int, ...],
    counted_after_s: int = 0,
) -> Month:
    """The month of the stores `store_ids` (ascending), of what is wanted of them and what they
    lose. `policy` is that of their keys, one store after the other; they are counted
    `counted_after_s` seconds after a midnight."""
    ids = np.asarray(store_ids, np.int64)
    moves = ~((wanted.store_id == ONLINE_STORE_ID) & (wanted.change_type_id == BOPIS))
    moving = moves[wanted.transaction]
    line_place = np.searchsorted(ids, wanted.store_id[wanted.transaction][moving])
    hidden_key = np.searchsorted(ids, hidden.store_id) * config.items + hidden.item
    run = stock.run_stock(
        policy,
        stock.Wanted(
            np.concatenate([line_place * config.items + wanted.item[moving], hidden_key]),
            np.concatenate([wanted.occurred_s[wanted.transaction][moving], hidden.occurred_s]),
            np.concatenate([wanted.quantity[moving], -hidden.units]),
            np.concatenate(
                [
                    wanted.change_type_id[wanted.transaction][moving] == SALE,
                    np.zeros(len(hidden_key), np.bool_),
                ]
            ),
        ),
        config.days,
        counts.count_days(config),
        streams["opening_stock"],
        streams["lead_times"],
    )
    quantity = wanted.quantity.copy()
    quantity[moving] = run.effect[: int(moving.sum())]
    happened = wanted.with_lines(quantity != 0, quantity)
    restocks = deliveries.delivery_documents(run, goods.supplier_id, streams["deliveries"])
    restocks = replace(restocks, store_id=ids[restocks.store_id])
    ledger = faults.add_unknown_items(
        config, concatenate([happened, restocks]), streams["fault_unknown_item"]
    )
    first_sent_s = faults.first_sent(config, ledger, streams)
    return Month(
        config,
        goods,
        safety_stock,
        ledger,
        first_sent_s,
        faults.transmit(config, ledger, first_sent_s, streams),
        counts.make_count_files(config, run.at_counts, streams, store_ids, counted_after_s),
        run.at_end.reshape(len(store_ids), config.items),
        store_ids,
    )


def _wanted_ledger(
    config: Config,
    popularity: NDArray[np.float64],
    basket_lines: NDArray[np.float64],
    streams: dict[str, np.random.Generator],
) -> tuple[Ledger, demand.HiddenShrink]:
    """All transactions that somebody wants, but for restocks, and the losses that nobody sees."""
    parts: list[Ledger] = []
    losses: list[demand.HiddenShrink] = []
    for store_id, stream in ((ONLINE_STORE_ID, "baskets_online"), (SHOP_STORE_ID, "baskets_shop")):
        shares = popularity[store_id]
        baskets = demand.draw_baskets(
            config, store_id, basket_lines[store_id], shares, streams[stream]
        )
        parts.append(demand.turn_into_returns(baskets, config.return_rate, streams["returns"]))
        written_off, lost = demand.draw_shrink(
            config, store_id, basket_lines[store_id], shares, streams["shrink"]
        )
        parts.append(written_off)
        losses.append(lost)
    online, ordered = bopis.mark_orders(config, parts[0], streams["bopis"])
    ids = random_trans_ids(streams["trans_ids"], sum(part.size for part in parts))
    bounds = np.cumsum([part.size for part in parts])[:-1]
    named = [
        replace(part, trans_id=chunk)
        for part, chunk in zip([online, *parts[1:]], np.split(ids, bounds), strict=True)
    ]
    orders = named[0].take(np.flatnonzero(ordered))
    named.append(bopis.draw_pickups(config, orders, streams["bopis"]))
    hidden = demand.HiddenShrink(
        *(
            np.concatenate([getattr(lost, column) for lost in losses])
            for column in ("store_id", "item", "occurred_s", "units")
        )
    )
    return concatenate(named), hidden


def _basket_lines(config: Config, popularity: NDArray[np.float64]) -> NDArray[np.float64]:
    """(STORES,) basket lines per store, so that baskets, pickups, write-offs and restocks make
    `config.lines` together."""
    share = np.empty(STORES)
    share[ONLINE_STORE_ID] = config.online_share
    share[SHOP_STORE_ID] = 1.0 - config.online_share
    pickups = config.online_share * config.bopis_share * (1.0 - config.never_collected)
    per_line = 1.0 + pickups + config.shrink_rate * config.shrink_recorded_share
    baskets = 0.9 * config.lines
    for _ in range(4):  # restocks depend on the baskets a little; this settles at once
        daily = _daily_units(config, popularity, baskets * share)
        restocks = stock.expected_deliveries(stock.make_policy(daily), daily, config.days)
        baskets = max(0.3 * config.lines, (config.lines - restocks) / per_line)
    return baskets * share


def _daily_units(
    config: Config, popularity: NDArray[np.float64], basket_lines: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(keys,) expected units per day that leave the stock of each key."""
    orders = config.bopis_share * basket_lines[ONLINE_STORE_ID]
    daily = np.empty_like(popularity)
    daily[ONLINE_STORE_ID] = popularity[ONLINE_STORE_ID] * (basket_lines[ONLINE_STORE_ID] - orders)
    daily[SHOP_STORE_ID] = (
        popularity[SHOP_STORE_ID] * basket_lines[SHOP_STORE_ID]
        + popularity[ONLINE_STORE_ID] * orders
    )
    per_line = demand.MEAN_UNITS * (1.0 + config.shrink_rate - 2 * config.return_rate)
    return daily.reshape(-1) * per_line / config.days
