"""The simulated stock: never negative, exact in its counts, equal to one event after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loaders.simulator import Config, Faults, simulate
from loaders.simulator.config import BOPIS, DAY_S
from loaders.simulator.counts import CountFile
from loaders.simulator.stock import Wanted, make_policy, run_stock

MISCOUNTS = Faults(late_counts=0.5, corrected_counts=0.1)
SMALL = Config(items=50, days=3, lines=500)


def test_the_last_version_of_a_count_is_right_and_the_first_was_not() -> None:
    config = replace(SMALL, days=12)
    first: dict[tuple[int, int, int], int] = {}
    last: dict[tuple[int, int, int], int] = {}
    for file in simulate(replace(config, faults=MISCOUNTS)).counts:
        for item, units in zip(file.item.tolist(), file.quantity.tolist(), strict=True):
            first.setdefault((file.store_id, file.counted_s, item), units)
            last[file.store_id, file.counted_s, item] = units
    right = {
        (file.store_id, file.counted_s, item): units
        for file in simulate(config).counts
        for item, units in zip(file.item.tolist(), file.quantity.tolist(), strict=True)
    }
    assert last == right
    assert 0 < sum(first[key] != units for key, units in right.items()) < len(right) / 2


def test_stock_is_never_negative_and_counts_are_the_stock() -> None:
    """Event by event in plain Python, in a world whose shrink is all recorded, partly at a count's
    instant.
    """
    config = replace(SMALL, days=12, lines=6_000, shrink_rate=0.3, shrink_recorded_share=1.0)
    month = simulate(config)
    ledger = month.ledger
    owner = ledger.transaction
    moving = (ledger.change_type_id != BOPIS) | (ledger.store_id == 1)
    events = sorted(
        (int(ledger.occurred_s[who]), -max(units, 0), int(ledger.store_id[who]), item, units)
        for who, item, units in zip(
            owner.tolist(), ledger.item.tolist(), ledger.quantity.tolist(), strict=True
        )
        if moving[who]
    )
    stock = {
        (file.store_id, item): units
        for file in month.counts
        if not file.counted_s
        for item, units in zip(file.item.tolist(), file.quantity.tolist(), strict=True)
    }
    counts = [file for file in month.counts if file.counted_s]
    assert {at for at, *_ in events} & {file.counted_s for file in counts}
    lowest = 0
    for at, _, store_id, item, units in events:
        while counts and counts[0].counted_s < at:
            _assert_counted(counts.pop(0), stock)
        stock[store_id, item] += units
        lowest = min(lowest, stock[store_id, item])
    assert lowest >= 0
    assert not counts
    assert all(month.physical[key] == units for key, units in stock.items())


def _assert_counted(file: CountFile, stock: dict[tuple[int, int], int]) -> None:
    assert [stock[file.store_id, item] for item in file.item.tolist()] == file.quantity.tolist()


def test_hidden_shrink_only_lowers_the_counts() -> None:
    month = simulate(replace(SMALL, days=12, lines=6_000, shrink_rate=0.1))
    ledger = month.ledger
    moving = ((ledger.change_type_id != BOPIS) | (ledger.store_id == 1))[ledger.transaction]
    store = ledger.store_id[ledger.transaction]
    book = np.zeros((2, SMALL.items), np.int64)
    for file in month.counts:
        if not file.counted_s:
            book[file.store_id] = file.quantity
    np.add.at(book, (store[moving], ledger.item[moving]), ledger.quantity[moving])
    assert (month.physical <= book).all()
    assert (month.physical < book).any()
    assert (month.physical >= 0).all()


def test_the_vectorised_stock_equals_one_event_after_the_other() -> None:
    rng = np.random.default_rng(5)
    keys, days, size = 6, 4, 600
    wanted = Wanted(
        rng.integers(0, keys, size),
        rng.integers(1, days * DAY_S + 1, size),
        rng.integers(-4, 2, size),
        rng.random(size) < 0.7,
    )
    policy = make_policy(np.full(keys, 3.0))
    run = run_stock(policy, wanted, days, [0], np.random.default_rng(1), np.random.default_rng(2))
    stock = run.at_counts[0].copy()
    # (time, rank, key, effect, all or nothing, row): a delivery at a midnight comes after the
    # events that bear that instant.
    arrivals = zip(
        run.delivery_day.tolist(),
        run.delivery_key.tolist(),
        run.delivery_units.tolist(),
        strict=True,
    )
    events = [(day * DAY_S, 1, key, units, True, -1) for day, key, units in arrivals]
    for row in range(size):
        at = int(wanted.occurred_s[row])
        effect, whole = int(wanted.effect[row]), bool(wanted.all_or_nothing[row])
        events.append((at, 0, int(wanted.key[row]), effect, whole, row))
    dropped = 0
    in_order = sorted(events, key=lambda event: (event[0], event[1], event[5]))
    for _, _, key, wanted_effect, whole, row in in_order:
        effect = wanted_effect
        if stock[key] + effect < 0:
            effect = 0 if whole else -int(stock[key])
            dropped += 1
        stock[key] += effect
        if row >= 0:
            assert run.effect[row] == effect
    assert dropped > 20
    assert (stock == run.at_end).all()


def test_some_events_bear_the_very_instant_of_a_count() -> None:
    month = simulate(replace(SMALL, days=11, lines=20_000, shrink_rate=0.2))
    at = month.ledger.occurred_s
    assert np.isin(at, [file.counted_s for file in month.counts]).any()
    assert at.min() > 0
    assert at.max() < 11 * DAY_S
