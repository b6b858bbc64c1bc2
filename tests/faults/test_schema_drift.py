"""What POS systems send changes without notice: each kind of drift, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loaders.redrive import redrive
from tests.builds.worlds import Station, World, differences
from tests.files import message
from tests.oracle.reading import CHANGE_TYPES

NOON, ONE = "2021-01-01 12:00:00", (1, -1)
COUNT_HEADER = "item_id,employee_id,store_id,date_time,quantity"
RETURNED = 5


def sent(trans_id: str, /, **fields: Any) -> dict[str, Any]:
    """A message of which some fields drifted; a field that is `...` is no longer sent."""
    whole = {**message(trans_id, NOON, ONE), **fields}
    return {name: value for name, value in whole.items() if value is not ...}


def reasons(world: World, path: str) -> dict[int, str]:
    """Of a file, the reason by line."""
    return {line: reason for (_, where, line, reason) in world.quarantine() if where == path}


@pytest.fixture(scope="module")
def drifted(station: Station) -> tuple[World, dict[str, str]]:
    """One world that every kind of drift has reached, a file each."""
    world = station.world()
    items = [{"item_id": 11, "quantity": -1}]
    paths = {
        "new field": world.land_messages(
            sent("new", items=items, loyalty={"card": "x", "tiers": [1, {"y": None}]}, till=4)
        ),
        "missing": world.land_messages(*(sent(f"gone {name}", **{name: ...}) for name in FIELDS)),
        "renamed": world.land_messages(
            *(sent(f"re {name}", **{name: ..., f"{name}_v2": 1}) for name in FIELDS)
        ),
        "retyped": world.land_messages(
            sent(17, items=[{"item_id": 12, "quantity": -1}]),
            sent("text", store_id="1", items=[{"item_id": "12", "quantity": "-1"}]),
            sent("fraction", store_id=1.0),
            sent("iso", date_time="2021-01-01T12:00:00Z"),
            sent("epoch", date_time=1609502400),
            sent("object", items={"11": -1}),
            sent("nested", items=[{"item_id": {"id": 11}, "quantity": -1}]),
        ),
        "letters": world.land_messages(sent("case", trans_id=..., Trans_ID="case")),
        "type": world.land_messages(sent("back", change_type_id=RETURNED)),
        "store": world.land_messages(sent("far", store_id=7, items=items)),
    }
    counts = {
        "count new column": f"{COUNT_HEADER},shelf\n21,9,1,{NOON},5,A3\n",
        "count other order": f"quantity,date_time,store_id,employee_id,item_id\n6,{NOON},1,9,22\n",
        "count missing": f"item_id,store_id,date_time,quantity\n23,1,{NOON},5\n24,1,{NOON},5\n",
        "count renamed": f"{COUNT_HEADER.replace('quantity', 'qty')}\n23,9,1,{NOON},5\n",
        "count twice": f"{COUNT_HEADER},quantity\n23,9,1,{NOON},5,6\n",
        "count semicolons": f"{COUNT_HEADER.replace(',', ';')}\n23;9;1;{NOON};5\n",
        "count retyped": f"{COUNT_HEADER}\n23,9,1,{NOON},5.0\n23,9,1,2021-01-01T12:00,5\n25,9,1,"
        f"{NOON},7\n",
        "count new store": f"{COUNT_HEADER}\n21,9,7,{NOON},3\n",
    }
    for name, text in counts.items():
        paths[name] = f"store_001/counts/{name}.csv"
        world.land(paths[name], text)
    paths["items"] = "reference/items_1.csv"
    world.land(
        paths["items"],
        "item_id,name,supplier_id,safety_stock_quantity,colour\n21,Tea,ACME,3,red\n",
    )
    world.load_and_build()
    return world, paths


FIELDS = ("trans_id", "store_id", "date_time", "change_type_id", "items")
REASONS = (
    "missing_or_mistyped_trans_id",
    "missing_or_mistyped_store_id",
    "missing_or_mistyped_date_time",
    "unknown_change_type",
    "missing_or_mistyped_items",
)


def test_a_new_field_is_kept_in_bronze_and_its_message_counts(
    drifted: tuple[World, dict[str, str]],
) -> None:
    world, paths = drifted
    assert reasons(world, paths["new field"]) == {}
    assert world.on_hand(1, 11) == -1
    bodies = [
        row["body"]
        for row in world.rows("bronze", "pos_messages")
        if row["source_file"] == paths["new field"]
    ]
    assert json.loads(bodies[0])["loyalty"] == {"card": "x", "tiers": [1, {"y": None}]}


@pytest.mark.parametrize("how", ["missing", "renamed"])
def test_a_field_that_is_missing_or_renamed_is_a_reason_each(
    drifted: tuple[World, dict[str, str]], how: str
) -> None:
    world, paths = drifted
    assert reasons(world, paths[how]) == dict(enumerate(REASONS, start=1))


def test_a_retyped_field_is_kept_where_it_says_the_same_and_a_reason_where_not(
    drifted: tuple[World, dict[str, str]],
) -> None:
    world, paths = drifted
    assert world.on_hand(1, 12) == -2
    assert reasons(world, paths["retyped"]) == {
        3: "missing_or_mistyped_store_id",
        4: "missing_or_mistyped_date_time",
        5: "missing_or_mistyped_date_time",
        6: "missing_or_mistyped_items",
        7: "missing_or_mistyped_item_id",
    }
    assert reasons(world, paths["letters"]) == {1: "missing_or_mistyped_trans_id"}


def test_counts_are_read_by_the_names_of_their_columns(
    drifted: tuple[World, dict[str, str]],
) -> None:
    world, paths = drifted
    assert world.on_hand(1, 21) == 5
    assert world.on_hand(1, 22) == 6
    assert world.on_hand(1, 25) == 7
    for name in ("missing", "renamed", "twice", "semicolons"):
        said = reasons(world, paths[f"count {name}"])
        assert said, name
        assert all(reason.startswith("unreadable_row: header is ") for reason in said.values())
    assert reasons(world, paths["count retyped"]) == {
        2: "missing_or_mistyped_quantity",
        3: "missing_or_mistyped_date_time",
    }
    assert reasons(world, paths["items"]) == {}


def test_a_new_store_is_counted_and_sold_from_before_it_is_known(
    drifted: tuple[World, dict[str, str]],
) -> None:
    world, _ = drifted
    assert world.on_hand(7, 11) == -1
    assert world.position(7, 21)["counted_quantity"] == 3
    assert world.position(7, 21)["store_name"] is None


def test_the_oracle_says_the_same_of_all_of_it(drifted: tuple[World, dict[str, str]]) -> None:
    world, _ = drifted
    assert differences(world) == []


def test_a_new_change_type_waits_in_quarantine_until_it_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CHANGE_TYPES, 3)
    world.know_change_types(1, 2, 4)
    path = world.land_messages(
        message("R", NOON, (1, 5), change_type_id=3), message("S", NOON, (1, -1))
    )
    world.load_and_build()
    assert reasons(world, path) == {1: "unknown_change_type"}
    assert world.on_hand(1, 1) == -1
    assert differences(world) == []
    monkeypatch.setitem(CHANGE_TYPES, 3, "restock")
    world.know_change_types(1, 2, 3, 4)
    assert redrive(world.settings).rows == 1
    world.load_and_build()
    assert world.on_hand(1, 1) == 4


def test_an_item_that_is_removed_and_returns(world: World) -> None:
    """It is not in the newest reference file: its row stands, and its stock counts, until a newer
    row comes. There is no row that says that an item is gone."""
    world.land_items((1, "Tea", 7, 3), (2, "Milk", 7, 3))
    world.land_messages(message("A", "09:00:00", (1, -1), (2, -1)))
    world.load_and_build()
    world.land_items((2, "Milk", 7, 3))
    world.land_messages(message("B", "10:00:00", (1, -1)))
    world.load_and_build()
    assert world.position(1, 1)["item_name"] == "Tea"
    assert world.on_hand(1, 1) == -2
    world.land_items((1, "Tea, green", 8, 5))
    world.load_and_build()
    assert world.position(1, 1)["item_name"] == "Tea, green"
    assert world.position(1, 1)["safety_stock_quantity"] == 5
    assert world.on_hand(1, 1) == -2
    assert differences(world) == []
