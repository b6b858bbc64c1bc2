"""Delivered goods as restock transactions: one document per store, morning and supplier.

Kept apart because it turns the stock's bookkeeping back into what a POS transmits.
"""

from __future__ import annotations

import numpy as np

from loaders.messages import NO_STORE
from loaders.simulator.config import DAY_S, RESTOCK
from loaders.simulator.stock import StockRun
from loaders.simulator.tables import Ints, Ledger, random_trans_ids

_ARRIVAL_S = (4 * 3600, 5 * 3600)  # before the first customer of the day


def delivery_documents(run: StockRun, supplier_id: Ints, rng: np.random.Generator) -> Ledger:
    """The restocks (change type 3, positive) of a stock run; `supplier_id` (items,) by catalogue
    index.
    """
    items = len(supplier_id)
    store = run.delivery_key // items
    item = run.delivery_key % items
    suppliers = int(supplier_id.max()) + 1
    stores = int(store.max(initial=0)) + 1
    code = (run.delivery_day * stores + store) * suppliers + supplier_id[item]
    order = np.argsort(code, kind="stable")
    documents, transaction = np.unique(code[order], return_inverse=True)
    count = len(documents)
    day_store = documents // suppliers
    arrival = day_store // stores * DAY_S + rng.integers(*_ARRIVAL_S, count)
    return Ledger(
        random_trans_ids(rng, count),
        day_store % stores,
        arrival,
        np.full(count, RESTOCK, np.int64),
        np.full(count, NO_STORE, np.int64),
        transaction.astype(np.int64),
        item[order],
        run.delivery_units[order],
    )
