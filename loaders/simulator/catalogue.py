"""The items of the simulated shops and how popular each is in each store.

Kept apart because demand and replenishment both start from it, and the item file is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loaders.simulator.config import FIRST_ITEM_ID, ONLINE_STORE_ID, SHOP_STORE_ID, STORES
from loaders.simulator.tables import Ints

RANK_SLOPE = -0.67  # DESIGN section 7: popularity falls with rank to this power
RANK_NOISE = 0.8  # of the logarithm of the rank: how far the online ranking strays from the shop's

_BRANDS = ("Northfield", "Casa Bella", "Everyday", "O'Malley's", "Green Valley", "Pure & Simple")
_VARIETIES = (
    "organic",
    "classic",
    "light",
    "family size",
    "unsalted",
    "extra mild",
    "spicy",
    "fresh",
)
_PRODUCTS = (
    "tomato soup", "whole milk", "rye bread", "apple juice", "ground coffee", "cheddar",
    "dish soap", "penne", "olive oil", "yoghurt", "oat flakes", "paper towels", "cat food",
    "shampoo", "dark chocolate",
)  # fmt: skip
_SIZES = ("250 g", "500 g", "1 kg", "330 ml", "1 l", "6 pack", '9" tray', '12" pack')


@dataclass(frozen=True)
class Catalogue:
    """n items: item_id (n,), names, supplier_id (n,)."""

    item_id: Ints
    names: list[str]
    supplier_id: Ints


def make_catalogue(items: int, rng: np.random.Generator) -> Catalogue:
    """Draw `items` products; some names hold a comma or a quotation mark, as real ones do."""
    number = np.arange(items)
    suppliers = max(1, min(300, items // 20))
    parts = zip(
        rng.integers(0, len(_BRANDS), items).tolist(),
        rng.integers(0, len(_VARIETIES), items).tolist(),
        rng.integers(0, len(_PRODUCTS), items).tolist(),
        rng.integers(0, len(_SIZES), items).tolist(),
        (rng.random(items) < 0.25).tolist(),
        strict=True,
    )
    names = [
        f"{_BRANDS[brand]} {_PRODUCTS[product]}{',' if comma else ''} "
        f"{_VARIETIES[variety]} {_SIZES[size]}"
        for brand, variety, product, size, comma in parts
    ]
    return Catalogue(FIRST_ITEM_ID + number, names, rng.integers(1, suppliers + 1, items))


def draw_popularity(items: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(STORES, items) probability that a basket line of the store is the item; each row sums to 1.

    Each store has its own ranking; the online one is the shop's, blurred.
    """
    weight = weight_by_rank(items)
    shop_rank = rng.permutation(items)
    online_rank = blurred(shop_rank, rng)
    popularity = np.empty((STORES, items))
    popularity[SHOP_STORE_ID] = weight[shop_rank]
    popularity[ONLINE_STORE_ID] = weight[online_rank]
    return popularity


def weight_by_rank(items: int) -> NDArray[np.float64]:
    """(items,) probability that a basket line is the item of each rank, the most popular first."""
    weight = np.arange(1, items + 1, dtype=np.float64) ** RANK_SLOPE
    shares: NDArray[np.float64] = weight / weight.sum()
    return shares


def blurred(rank: Ints, rng: np.random.Generator) -> Ints:
    """(items,) another store's ranking: `rank` (items,), each item some way up or down from it."""
    moved = np.log1p(rank) + rng.normal(0.0, RANK_NOISE, len(rank))
    found = np.empty(len(rank), np.int64)
    found[np.argsort(moved, kind="stable")] = np.arange(len(rank))
    return found
