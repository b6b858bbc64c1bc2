"""What a simulated month is made of: the knobs, and one random stream per concern.

Kept apart so that every other module takes a `Config` and never a loose number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any

import numpy as np

from loaders.errors import UserError

ONLINE_STORE_ID = 0
SHOP_STORE_ID = 1


def pos_name(store_id: int) -> str:
    """What the system of a store is called, which is also the folder that it sends to."""
    return "online" if store_id == ONLINE_STORE_ID else f"store_{store_id:03d}"


STORE_IDS = (ONLINE_STORE_ID, SHOP_STORE_ID)  # of the month; a chain has more (chain.py)
POS_NAMES: Mapping[int, str] = {store_id: pos_name(store_id) for store_id in STORE_IDS}
STORES = len(POS_NAMES)

SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4  # the seed inventory_change_types.csv

FIRST_ITEM_ID = 100_001
DAY_S = 86_400

# New names go to the end: a stream is a child of the seed by its position in this tuple.
STREAMS = (
    "catalogue",
    "popularity",
    "baskets_online",
    "baskets_shop",
    "returns",
    "shrink",
    "bopis",
    "opening_stock",
    "lead_times",
    "trans_ids",
    "deliveries",
    "employees",
    "fault_unknown_item",
    "fault_late",
    "fault_out_of_order",
    "fault_duplicates",
    "fault_conflicting",
    "fault_malformed",
    "fault_late_counts",
    "fault_corrected_counts",
    "store_sizes",
)


@dataclass(frozen=True)
class Faults:
    """How often something goes wrong in transmission; every rate is a probability, 0 by default.

    duplicates: a message is sent again, minutes to days later. late: it is sent hours to
    `late_days` days after its event. out_of_order: sent seconds to minutes after its event.
    malformed: a broken extra line follows it. unknown_item: it has one more line, of an item
    outside the catalogue. conflicting: it is sent again with another quantity. late_counts: a count
    file is sent days after it was taken. corrected_counts: a row of a count is wrong at first and
    sent again with the correct quantity.
    """

    duplicates: float = 0.0
    late: float = 0.0
    out_of_order: float = 0.0
    malformed: float = 0.0
    unknown_item: float = 0.0
    conflicting: float = 0.0
    late_counts: float = 0.0
    corrected_counts: float = 0.0
    late_days: int = 10

    def __post_init__(self) -> None:
        for knob in fields(self):
            value = getattr(self, knob.name)
            if knob.name != "late_days" and not 0.0 <= value <= 1.0:
                raise UserError(f"fault rate {knob.name} must lie between 0 and 1, not {value}")
        if self.late_days < 1:
            raise UserError(f"late_days must be at least 1, not {self.late_days}")


@dataclass(frozen=True)
class Config:
    """A simulated world. The defaults are the month of DESIGN section 7.

    start: first day (UTC). days, items: at least 1. lines: wanted number of item lines over both
    stores and all change types, met within some percent (exactly in no case: stock-outs and
    restocks depend on chance). online_share: share of the basket lines that are ordered online.
    bopis_share: share of the online baskets that are collected in the shop. Rates of returns and
    shrink are per basket line.

    Raises UserError where a value makes no sense.
    """

    seed: int = 1
    start: date = date(2021, 1, 1)
    days: int = 31
    items: int = 100_000
    lines: int = 1_500_000
    online_share: float = 0.30
    bopis_share: float = 0.12
    never_collected: float = 0.035
    partly_collected: float = 0.06
    return_rate: float = 0.017
    shrink_rate: float = 0.014
    shrink_recorded_share: float = 0.6
    count_every_days: int = 5
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        for name in ("days", "items", "lines", "count_every_days"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        for knob in fields(self):
            value = getattr(self, knob.name)
            if isinstance(value, float) and not 0.0 <= value <= 1.0:
                raise UserError(f"{knob.name} must lie between 0 and 1, not {value}")
        if self.seed < 0:
            raise UserError(f"seed must not be negative, not {self.seed}")

    @property
    def keys(self) -> int:
        """Number of (store, item) pairs; the key of a pair is store_id * items + item index."""
        return STORES * self.items

    def as_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return {**asdict(self), "start": self.start.isoformat()}


def random_streams(seed: int, store_id: int | None = None) -> dict[str, np.random.Generator]:
    """One independent PCG64 generator per name of STREAMS: a change in one shifts no other.

    With a `store_id` the streams of that store of a chain, which hang on no other store.
    """
    of_store = () if store_id is None else (store_id,)
    children = np.random.SeedSequence(seed, spawn_key=of_store).spawn(len(STREAMS))
    return {
        name: np.random.Generator(np.random.PCG64(child))
        for name, child in zip(STREAMS, children, strict=True)
    }
