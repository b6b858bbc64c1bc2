"""A store's row comes later or says otherwise: orders, pickups and the books follow (rule 6)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loaders import engine
from tests.builds.comparing import is_of_builds
from tests.builds.worlds import Station, World, differences
from tests.files import message
from tests.oracle import STORES

BOPIS = 4


@pytest.fixture
def world(station: Station) -> Iterator[World]:
    """Store 77 is not in `stores`; it sends BOPIS records before, between and after counts."""
    world = station.world()
    world.land_counts((1, 9, 77, "2021-01-01 08:00:00", 10), (1, 9, 1, "2021-01-01 08:00:00", 10))
    for time, trans_id in (("09:00:00", "A"), ("11:00:00", "B")):
        more = {"store_id": 77, "change_type_id": BOPIS}
        world.land_messages(message(trans_id, time, (1, -2), **more))
    world.land_messages(message("A", "12:00:00", (1, -1), change_type_id=BOPIS))
    world.land_counts((1, 9, 77, "2021-01-01 10:00:00", 8))
    world.load_and_build()
    assert differences(world) == []
    yield world


def test_bopis_records_of_a_store_are_orders_once_it_is_known_as_online(world: World) -> None:
    know_store(world, 77, "online")
    world.land_messages(message("S", "13:00:00", (1, -1)))
    world.load_and_build()
    known = {**STORES, 77: "online"}
    assert world.on_hand(77, 1) == 8
    (variance,) = [
        row
        for row in world.rows("gold", "stock_count_variances")
        if row["store_id"] == 77 and row["counted_at"].hour == 10
    ]
    assert (variance["change_quantity"], variance["variance_quantity"]) == (0, -2)
    assert now_known(differences(world, known)) == []
    before = world.versions()
    world.load_and_build()
    assert world.versions() == before, "it was made anew once more, without news"
    assert world.build("--full-refresh").succeeded
    assert [each for each in differences(world, known) if not is_of_builds(each)] == []


def test_with_a_second_physical_store_an_order_has_to_name_one(world: World) -> None:
    know_store(world, 77, "physical")
    more = {"store_id": 0, "change_type_id": BOPIS}
    world.land_messages(message("C", "13:00:00", (1, -3), **more))
    world.load_and_build()
    assert now_known(differences(world, {**STORES, 77: "physical"})) == []
    (order,) = [row for row in world.rows("gold", "bopis_orders") if row["trans_id"] == "C"]
    assert (order["status"], order["is_unassigned"]) == ("open", True)
    assert world.position(1, 1)["committed_quantity"] == 0


def know_store(world: World, store_id: int, channel: str) -> None:
    session = engine.connect(world.settings)
    values = f"({store_id}, 'store {store_id}', '{channel}')"
    session.sql(f"insert into silver.stores values {values}").collect()


def now_known(found: list[str]) -> list[str]:
    """The entries of what is an order now stay until a full refresh, as the ledger's model says."""
    return [
        each for each in found if not each.startswith("inventory_ledger") and not is_of_builds(each)
    ]
