"""Transactions and their lines as columns, the shape that all simulator modules hand on.

Kept apart because demand, stock, faults and truth share it, and none of them owns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Ledger:
    """n transactions with m lines, the lines of a transaction together and in transaction order.

    trans_id (n,) S38; store_id, change_type_id, fulfillment_store_id (-1 = absent) (n,); occurred_s
    (n,) seconds since the start of the month. transaction (m,) index of the line's transaction,
    ascending; item (m,) catalogue index (item_id - FIRST_ITEM_ID, past the catalogue for unknown
    items); quantity (m,) units, signed as transmitted.
    """

    trans_id: NDArray[np.bytes_]
    store_id: Ints
    occurred_s: Ints
    change_type_id: Ints
    fulfillment_store_id: Ints
    transaction: Ints
    item: Ints
    quantity: Ints

    @property
    def size(self) -> int:
        """Number of transactions."""
        return len(self.store_id)

    @property
    def first_line(self) -> Ints:
        """(n + 1,) bounds: transaction k owns the lines first_line[k] up to first_line[k + 1]."""
        return np.searchsorted(self.transaction, np.arange(self.size + 1)).astype(np.int64)

    def with_lines(self, kept: Bools, quantity: Ints) -> Ledger:
        """Keep the lines where `kept`, with their new `quantity` (both (m,)); drop empty
        transactions.
        """
        transaction = self.transaction[kept]
        full = np.zeros(self.size, np.bool_)
        full[transaction] = True
        number = np.cumsum(full) - 1
        return Ledger(
            self.trans_id[full],
            self.store_id[full],
            self.occurred_s[full],
            self.change_type_id[full],
            self.fulfillment_store_id[full],
            number[transaction],
            self.item[kept],
            quantity[kept],
        )

    def take(self, chosen: Ints) -> Ledger:
        """The transactions `chosen` (k,) with all their lines, in that order."""
        lines, owner = ragged_take(self.first_line, chosen)
        return Ledger(
            self.trans_id[chosen],
            self.store_id[chosen],
            self.occurred_s[chosen],
            self.change_type_id[chosen],
            self.fulfillment_store_id[chosen],
            owner,
            self.item[lines],
            self.quantity[lines],
        )


def concatenate(ledgers: Sequence[Ledger]) -> Ledger:
    """One ledger after the other."""
    starts = np.cumsum([0] + [ledger.size for ledger in ledgers])
    return Ledger(
        np.concatenate([ledger.trans_id for ledger in ledgers]),
        np.concatenate([ledger.store_id for ledger in ledgers]),
        np.concatenate([ledger.occurred_s for ledger in ledgers]),
        np.concatenate([ledger.change_type_id for ledger in ledgers]),
        np.concatenate([ledger.fulfillment_store_id for ledger in ledgers]),
        np.concatenate(
            [ledger.transaction + start for ledger, start in zip(ledgers, starts, strict=False)]
        ),
        np.concatenate([ledger.item for ledger in ledgers]),
        np.concatenate([ledger.quantity for ledger in ledgers]),
    )


def ragged_take(bounds: Ints, chosen: Ints) -> tuple[Ints, Ints]:
    """Indices of all members of the groups `chosen`, and for each the position in `chosen` of its
    group.

    `bounds` (n + 1,): group k has the members bounds[k] up to bounds[k + 1].
    """
    sizes = bounds[chosen + 1] - bounds[chosen]
    owner = np.repeat(np.arange(len(chosen)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return bounds[chosen][owner] + within, owner


def first_of_each(transaction: Ints, item: Ints, items: int) -> Bools:
    """(m,) whether a line is the first of its item in its transaction, in the order given."""
    key = transaction * items + item
    order = np.argsort(key, kind="stable")
    first = np.ones(len(key), np.bool_)
    first[order[1:]] = key[order[1:]] != key[order[:-1]]
    return first


def random_trans_ids(rng: np.random.Generator, count: int) -> NDArray[np.bytes_]:
    """(count,) upper-case GUIDs in braces, as S38."""
    digits = np.frombuffer(b"0123456789ABCDEF", np.uint8)[rng.integers(0, 16, (count, 32))]
    text = np.full((count, 38), ord("-"), np.uint8)
    text[:, 0], text[:, 37] = ord("{"), ord("}")
    taken = 0
    for start, end in ((1, 9), (10, 14), (15, 19), (20, 24), (25, 37)):
        text[:, start:end] = digits[:, taken : taken + end - start]
        taken += end - start
    return text.reshape(-1).view("S38")
