"""The generators of random worlds: enough happens in them, and one world can be cut out of many."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests import oracle
from tests.builds.random_worlds import (
    HEARTBEAT,
    ITEMS_OF_A_WORLD,
    Landing,
    as_deliveries,
    colliding,
    only,
    packed,
    worlds_of,
)

WORLDS = 8


def happened(landings: list[Landing], builds: int = 8) -> Counter[str]:
    """How often each rule had work to do, over some builds."""
    judged = oracle.judge(as_deliveries(landings))
    ends = [len(landings) * part // builds for part in range(1, builds + 1)]
    found: Counter[str] = Counter()
    for end in ends:
        for order in judged.bopis_orders(end).values():
            found[order.status] += 1
            found["a stated store"] += order.stated_fulfillment_store_id is not None
            found["a negative pickup"] += order.picked_up_quantity < 0
        found["a suspect"] += len(judged.phantom_stock_suspects(end))
    for row in judged.count_variances().values():
        found["a late count"] += row.is_late
        found["a restated count"] += row.is_restated
    instants = {(each.store_id, each.item_id, each.occurred_at) for each in judged.changes.values()}
    found["a change at a count's instant"] = len(instants & set(judged.counts))
    found["a change of nothing"] = sum(each.quantity == 0 for each in judged.changes.values())
    found["an unknown store"] = sum(each.store_id == 77 for each in judged.changes.values())
    found["a repetition"] = len(judged.duplicates)
    found["a landing again"] = len(landings) - len({landing.path for landing in landings})
    found.update(row.cause for row in judged.restatements(ends).values())
    for (_, _, name), alert in judged.alerts(ends).items():
        found[name] += 1
        found["cleared"] += not alert.is_active
    found.update(rejected.reason.partition(":")[0] for rejected in judged.quarantine)
    return found


OFTEN = {
    "awaiting_order", "collected", "open", "partly_collected", "released", "a stated store",
    "a negative pickup", "a suspect", "a late count", "a restated count",
    "a change at a count's instant", "a change of nothing", "an unknown store", "a repetition",
    "a landing again", "corrected_count", "late_count", "late_event", "negative", "out_of_stock",
    "below_safety_stock", "cleared", "conflicting_duplicate", "unparsable_message",
    "missing_or_mistyped_date_time", "missing_or_mistyped_quantity", "unreadable_row",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["colliding", "packed"])
def test_every_rule_has_work_to_do(kind: str) -> None:
    found: Counter[str] = Counter()
    for seed in range(1, 7):
        found += happened(colliding(seed) if kind == "colliding" else packed(seed))
    assert {each: found[each] for each in OFTEN if found[each] < 3} == {}


def test_a_seed_is_a_world() -> None:
    assert colliding(5) == colliding(5) != colliding(6)
    assert packed(5, 3) == packed(5, 3) != packed(6, 3)


def tables(landings: list[Landing]) -> dict[str, dict[Any, Any]]:
    judged = oracle.judge(as_deliveries(landings))
    return {
        "inventory": judged.inventory(),
        "orders": judged.bopis_orders(),
        "ledger": judged.ledger(),
        "supply": judged.days_of_supply(),
        "suspects": judged.phantom_stock_suspects(),
        "shrink": judged.shrink_by_item(),
        # Whatever the builds: landings are not as many when most worlds are gone.
        "variances": judged.count_variances(),
        "items": {
            item_id: (row.name, row.safety_stock_quantity)
            for item_id, row in judged.item_rows().items()
        },
    }


def item_of(table: str, key: Any) -> int:
    return int(key if table == "items" else key[1])


@pytest.mark.parametrize("seed", [1, 2])
def test_a_world_alone_is_what_it_was_among_the_others(seed: int) -> None:
    landings = packed(seed, WORLDS)
    together = tables(landings)
    rows = 0
    for world in range(1, WORLDS + 1):
        alone = only(landings, world)
        assert {each for landing in alone for each in landing.worlds} == {HEARTBEAT, world}
        for table, found in tables(alone).items():
            expected = {
                key: row
                for key, row in together[table].items()
                if item_of(table, key) // ITEMS_OF_A_WORLD in (HEARTBEAT, world)
            }
            assert found == expected, (world, table)
            rows += len(expected)
    assert rows > 100


def test_differences_name_their_worlds() -> None:
    said = ["inventory_current (1, 300005): expected 2021, found nothing", "books ('x', 12): …"]
    assert worlds_of(said) == [3]
