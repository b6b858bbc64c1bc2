"""Stock counts as the files a POS sends, with the faults that counts have.

Kept apart from the messages: a count is a file of its own with its own time of transmission.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loaders.simulator.config import DAY_S, STORE_IDS, Config
from loaders.simulator.tables import Ints

_EMPLOYEES = 12
_LATE_DAYS = (1, 4)
_CORRECTED_AFTER_S = (2 * 3600, 3 * DAY_S)
_MAX_MISCOUNT = 5  # units


@dataclass(frozen=True)
class CountFile:
    """One count file: counted_s and sent_s in seconds since the start; item (catalogue index),
    employee_id and quantity (units), all (k,)."""

    store_id: int
    counted_s: int
    sent_s: int
    item: Ints
    employee_id: Ints
    quantity: Ints


def count_days(config: Config) -> list[int]:
    """The days (0-based) that begin with a full count of every store; the first is day 0."""
    return list(range(0, config.days, config.count_every_days))


def make_count_files(
    config: Config,
    at_counts: list[Ints],
    streams: dict[str, np.random.Generator],
    store_ids: Sequence[int] = STORE_IDS,
    after_s: int = 0,
) -> list[CountFile]:
    """Full counts from the physical stock (keys,) at each count, and their corrections, sorted by
    sent_s. The keys are those of the stores `store_ids`, one after the other. They are taken
    `after_s` seconds after midnight, in hours in which nothing moves.

    A corrected row is wrong in the first file and right in the second. No two files of a store are
    sent in the same second, because the second names the file.
    """
    files: list[CountFile] = []
    everything = np.arange(config.items)
    for day, stock in zip(count_days(config), at_counts, strict=True):
        for place, store_id in enumerate(store_ids):
            truth = stock[place * config.items : (place + 1) * config.items]
            shelves = streams["employees"].integers(1, _EMPLOYEES + 1, _EMPLOYEES)
            employee = shelves[everything * _EMPLOYEES // config.items]
            counted_s = day * DAY_S + after_s
            sent_s = counted_s
            late = streams["fault_late_counts"]
            if late.random() < config.faults.late_counts:
                sent_s += int(late.integers(_LATE_DAYS[0] * DAY_S, _LATE_DAYS[1] * DAY_S + 1))
            rng = streams["fault_corrected_counts"]
            wrong = rng.random(config.items) < config.faults.corrected_counts
            error = rng.integers(1, _MAX_MISCOUNT + 1, config.items)
            # Too few only where there is enough, so that nobody counts less than nothing.
            sign = np.where((rng.random(config.items) < 0.5) & (truth >= error), -1, 1)
            first = np.where(wrong, truth + sign * error, truth)
            files.append(CountFile(store_id, counted_s, sent_s, everything, employee, first))
            again_s = sent_s + int(rng.integers(*_CORRECTED_AFTER_S))
            if wrong.any():
                chosen = np.flatnonzero(wrong)
                files.append(
                    CountFile(store_id, counted_s, again_s, chosen, employee[chosen], truth[chosen])
                )
    return _without_ties(files)


def _without_ties(files: list[CountFile]) -> list[CountFile]:
    taken: set[tuple[int, int]] = set()
    result = []
    for file in sorted(files, key=lambda each: each.sent_s):
        sent_s = file.sent_s
        while (file.store_id, sent_s) in taken:
            sent_s += 1
        taken.add((file.store_id, sent_s))
        result.append(
            CountFile(
                file.store_id, file.counted_s, sent_s, file.item, file.employee_id, file.quantity
            )
        )
    return sorted(result, key=lambda each: each.sent_s)
