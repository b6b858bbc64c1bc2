"""Every kind of bad input: in quarantine or in a warning, with its reason; the good stays."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from loaders.load import LoadReport
from tests.builds.worlds import Station, World, differences
from tests.files import message

NOON = "2021-01-01 12:00:00"
GOOD = json.dumps(message("good", NOON, (1, -1)))


def broken(**fields: Any) -> str:
    """A message of which one field is wrong; a field that is `...` is missing."""
    whole = {**message("broken", NOON, (1, -1)), **fields}
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


def with_item(**fields: Any) -> str:
    item = {"item_id": 1, "quantity": -1, **fields}
    return broken(items=[{name: value for name, value in item.items() if value is not ...}])


def hours_ahead(hours: float) -> str:
    return f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%d %H:%M:%S}"


UNPARSABLE = "unparsable_message"
TRANS_ID, STORE_ID = "missing_or_mistyped_trans_id", "missing_or_mistyped_store_id"
DATE_TIME, CHANGE_TYPE = "missing_or_mistyped_date_time", "unknown_change_type"
ITEMS, ITEM_ID = "missing_or_mistyped_items", "missing_or_mistyped_item_id"
QUANTITY, FUTURE = "missing_or_mistyped_quantity", "date_time_in_the_future"

MESSAGES: list[tuple[str, str | bytes, str]] = [
    ("truncated", GOOD[:-20], UNPARSABLE),
    ("trailing text", GOOD + " x", UNPARSABLE),
    ("two objects", GOOD + GOOD, UNPARSABLE),
    ("single quotes", GOOD.replace('"', "'"), UNPARSABLE),
    ("not a number", GOOD.replace("-1}", "NaN}"), UNPARSABLE),
    ("trailing comma", GOOD.replace("-1}", "-1,}"), UNPARSABLE),
    ("leading zero", GOOD.replace("-1}", "-01}"), UNPARSABLE),
    ("a comment", GOOD + " // x", UNPARSABLE),
    ("bare key", GOOD.replace('"items"', "items"), UNPARSABLE),
    ("raw tab in a text", GOOD.replace("good", "go\tod"), UNPARSABLE),
    ("a list", "[1, 2]", UNPARSABLE),
    ("a number", "12", UNPARSABLE),
    ("a text", '"text"', UNPARSABLE),
    ("words", "not json", UNPARSABLE),
    ("not utf-8", GOOD.replace("good", "caf\xe9").encode("latin-1"), UNPARSABLE),
    ("a NUL byte", GOOD.replace("good", "go\0od"), UNPARSABLE),
    ("byte order mark within", "\ufeff" + GOOD, UNPARSABLE),
    ("no trans_id", broken(trans_id=...), TRANS_ID),
    ("null trans_id", broken(trans_id=None), TRANS_ID),
    ("blank trans_id", broken(trans_id=" "), TRANS_ID),
    ("trans_id a list", broken(trans_id=["x"]), TRANS_ID),
    ("trans_id an object", broken(trans_id={"x": 1}), TRANS_ID),
    ("trans_id a truth value", broken(trans_id=True), TRANS_ID),
    ("no store", broken(store_id=...), STORE_ID),
    ("null store", broken(store_id=None), STORE_ID),
    ("store in words", broken(store_id="one"), STORE_ID),
    ("store a fraction", broken(store_id=1.5), STORE_ID),
    ("store a truth value", broken(store_id=True), STORE_ID),
    ("store too large", broken(store_id=2**31), STORE_ID),
    ("no date_time", broken(date_time=...), DATE_TIME),
    ("null date_time", broken(date_time=None), DATE_TIME),
    ("date_time a number", broken(date_time=1609459200), DATE_TIME),
    ("date_time with a T", broken(date_time="2021-01-01T12:00:00"), DATE_TIME),
    ("date_time with a zone", broken(date_time=f"{NOON}Z"), DATE_TIME),
    ("date_time without seconds", broken(date_time="2021-01-01 12:00"), DATE_TIME),
    ("date_time with a fraction", broken(date_time=f"{NOON}.5"), DATE_TIME),
    ("date_time with blanks", broken(date_time=f" {NOON}"), DATE_TIME),
    ("no such day", broken(date_time="2021-02-29 12:00:00"), DATE_TIME),
    ("no such hour", broken(date_time="2021-01-01 24:00:00"), DATE_TIME),
    ("leap second", broken(date_time="2021-01-01 23:59:60"), DATE_TIME),
    ("year nought", broken(date_time="0000-01-01 12:00:00"), DATE_TIME),
    ("no change type", broken(change_type_id=...), CHANGE_TYPE),
    ("null change type", broken(change_type_id=None), CHANGE_TYPE),
    ("change type 0", broken(change_type_id=0), CHANGE_TYPE),
    ("change type 5", broken(change_type_id=5), CHANGE_TYPE),
    ("change type in words", broken(change_type_id="sale"), CHANGE_TYPE),
    ("change type 1.5", broken(change_type_id=1.5), CHANGE_TYPE),
    ("tomorrow and a bit", broken(date_time=hours_ahead(26)), FUTURE),
    ("far in the future", broken(date_time="9999-12-31 23:59:59"), FUTURE),
    ("no items", broken(items=...), ITEMS),
    ("null items", broken(items=None), ITEMS),
    ("empty items", broken(items=[]), ITEMS),
    ("items a text", broken(items="1"), ITEMS),
    ("items an object", broken(items={"item_id": 1, "quantity": 1}), ITEMS),
    ("first reason of two", broken(store_id="x", date_time="x", items=[]), STORE_ID),
    ("message before item", broken(change_type_id=9, items=[{"item_id": "x"}]), CHANGE_TYPE),
    ("no item_id", with_item(item_id=...), ITEM_ID),
    ("item_id in words", with_item(item_id="tea"), ITEM_ID),
    ("item_id a fraction", with_item(item_id=1.0), ITEM_ID),
    ("item_id of 19 digits", with_item(item_id=10**18), ITEM_ID),
    ("item a number", broken(items=[7]), ITEM_ID),
    ("item null", broken(items=[None]), ITEM_ID),
    ("item a list", broken(items=[[1, 2]]), ITEM_ID),
    ("item_id before quantity", with_item(item_id="x", quantity="y"), ITEM_ID),
    ("no quantity", with_item(quantity=...), QUANTITY),
    ("null quantity", with_item(quantity=None), QUANTITY),
    ("quantity in words", with_item(quantity="two"), QUANTITY),
    ("quantity a fraction", with_item(quantity=1.5), QUANTITY),
    ("quantity an exponent", with_item(quantity=-1).replace("-1}", "1e2}"), QUANTITY),
    ("quantity a truth value", with_item(quantity=True), QUANTITY),
    ("quantity blank", with_item(quantity=""), QUANTITY),
    ("quantity with a plus", with_item(quantity="+1"), QUANTITY),
    ("quantity with blanks", with_item(quantity=" 1"), QUANTITY),
    ("quantity of ten digits", with_item(quantity=-(10**9)), QUANTITY),
    ("quantity of 19 digits", with_item(quantity=10**18), QUANTITY),
    ("quantity an object", with_item(quantity={"units": 1}), QUANTITY),
    ("quantity a list", with_item(quantity=[1]), QUANTITY),
]

# Good, though a reader might doubt it: kept, as (item, quantity) of store 1.
KEPT: list[tuple[str, str, tuple[int, int]]] = [
    ("numbers as text", with_item(item_id="201", quantity="-2"), (201, -2)),
    ("store and type as text", broken(store_id="1", change_type_id="3", items=[
        {"item_id": 202, "quantity": 5}]), (202, 5)),
    ("trans_id a number", broken(trans_id=17, items=[{"item_id": 203, "quantity": 1}]), (203, 1)),
    ("unknown fields", broken(till={"id": 4}, items=[
        {"item_id": 204, "quantity": 1, "price": 1.5}]), (204, 1)),
    ("within a day ahead", broken(date_time=hours_ahead(22), items=[
        {"item_id": 205, "quantity": 1}]), (205, 1)),
    ("minus zero", with_item(item_id=206, quantity=-1).replace("-1}", "-0}"), (206, 0)),
    ("eighteen digits", with_item(item_id=10**17, quantity=-1), (10**17, -1)),
    ("nine digits", with_item(item_id=207, quantity=10**9 - 1), (207, 10**9 - 1)),
    ("blanks around", f"  {with_item(item_id=208)}  ", (208, -1)),
    ("a line separator within", with_item(item_id=209).replace("broken", "a\u2028b"), (209, -1)),
    ("quotes and backslashes", broken(trans_id='a"\\b', items=[
        {"item_id": 210, "quantity": 1}]), (210, 1)),
    ("escaped names", with_item(item_id=211).replace("trans_id", "trans\\u005fid"), (211, -1)),
]  # fmt: skip


@dataclass
class Result:
    """One world that took in everything above."""

    world: World
    load: LoadReport
    paths: dict[str, str]
    quarantine: Counter[tuple[str, str, int, str]]
    positions: dict[tuple[int, int], int]


# Known not to hold yet; each in a world of its own kind, so that the others can be compared whole.
@pytest.fixture(scope="module")
def result(station: Station) -> Result:
    return _taken_in(station)


def _taken_in(station: Station) -> Result:
    world, paths = station.world(), {}
    for number, (name, line, _) in enumerate(MESSAGES):
        # Between good neighbours, in a file of its own; the broken line is the second.
        item = 1000 + number
        good = [json.dumps(message(f"{item}{side}", NOON, (item, -1))).encode() for side in "ab"]
        text = line.encode() if isinstance(line, str) else line
        paths[name] = f"store_001/changes/bad_{number:03d}.json"
        world.land(paths[name], b"\n".join([good[0], text, good[1], b""]))
    for number, (name, line, _) in enumerate(KEPT):
        paths[name] = f"store_001/changes/kept_{number:03d}.json"
        world.land(paths[name], f"{line}\n")
    report = world.load()
    build = world.build()
    assert build.succeeded, build.failures
    positions = {
        (row["store_id"], row["item_id"]): row["on_hand_quantity"]
        for row in world.rows("gold", "inventory_current")
    }
    return Result(world, report, paths, world.quarantine(), positions)


@pytest.mark.parametrize(
    ("number", "name", "reason"),
    [
        pytest.param(number, name, reason, id=name)
        for number, (name, _, reason) in enumerate(MESSAGES)
    ],
)
def test_a_bad_line_is_quarantined_and_its_neighbours_are_kept(
    result: Result, number: int, name: str, reason: str
) -> None:
    path = result.paths[name]
    found = {place[2:]: times for place, times in result.quarantine.items() if place[1] == path}
    assert found == {(2, reason): 1}
    assert result.positions.get((1, 1000 + number)) == -2


@pytest.mark.parametrize(
    ("name", "expected"),
    [pytest.param(name, kept, id=name) for name, _, kept in KEPT],
)
def test_an_odd_but_good_line_is_kept(result: Result, name: str, expected: tuple[int, int]) -> None:
    item_id, quantity = expected
    assert result.positions.get((1, item_id)) == quantity


def test_the_oracle_agrees(result: Result) -> None:
    assert differences(result.world) == []


def test_one_bad_item_leaves_the_good_ones_of_its_message(world: World) -> None:
    items = [
        {"item_id": 1, "quantity": -1},
        {"item_id": "x", "quantity": -1},
        {"item_id": 2, "quantity": None},
        {"item_id": 3, "quantity": -1},
        {"item_id": 3, "quantity": -2},
    ]
    path = world.land_messages(broken(items=items), broken(trans_id="", items=items))
    world.land_messages(broken(items=[items[0]]), broken(items=[items[3]]))
    world.load_and_build()
    assert [world.on_hand(1, item) for item in (1, 3)] == [-1, -3]
    quarantine = world.quarantine()
    assert quarantine["pos_messages", path, 1, ITEM_ID] == 1
    assert quarantine["pos_messages", path, 1, QUANTITY] == 1
    assert quarantine["pos_messages", path, 2, TRANS_ID] == 5
    assert sum(quarantine.values()) == 8  # and the last line, whose 3 has another quantity
    assert differences(world) == []
    assert world.check() == []


COUNT_HEADER = "item_id,employee_id,store_id,date_time,quantity\n"
GOOD_ROW = f"1,9,1,{NOON},5\n"


def test_csv_files_and_names_of_every_kind(world: World) -> None:
    def counts(name: str, data: str | bytes) -> str:
        path = f"store_001/counts/{name}.csv"
        world.land(path, data)
        return path

    bad = {
        counts("header", f"item,employee,store,at,units\n{GOOD_ROW}"): (
            2, "unreadable_row: header is item,employee,store,at,units; expected "
            "item_id,employee_id,store_id,date_time,quantity"),
        counts("no_header", GOOD_ROW): (
            1, f"unreadable_row: header is {GOOD_ROW.strip()}; expected "
            "item_id,employee_id,store_id,date_time,quantity"),
        counts("short", f"{COUNT_HEADER}1,9,1\n2,9,1,{NOON},7\n"): (
            2, "unreadable_row: row has 3 fields; the header has 5"),
        counts("long", f"{COUNT_HEADER}{GOOD_ROW.strip()},6\n3,9,1,{NOON},7\n"): (
            2, "unreadable_row: row has 6 fields; the header has 5"),
        counts("latin", f"{COUNT_HEADER}caf\xe9,9,1,{NOON},5\n".encode("latin-1")): (2, ITEM_ID),
        counts("store", f"{COUNT_HEADER}4,9,x,{NOON},5\n"): (2, STORE_ID),
        counts("date", f"{COUNT_HEADER}4,9,1,01/01/2021,5\n"): (2, DATE_TIME),
        counts("future", f"{COUNT_HEADER}4,9,1,{hours_ahead(26)},5\n"): (2, FUTURE),
        counts("quantity", f"{COUNT_HEADER}\n4,9,1,{NOON},five\n"): (3, QUANTITY),
        counts("fraction", f"{COUNT_HEADER}4,9,1,{NOON},5.0\n"): (2, QUANTITY),
    }  # fmt: skip
    counts("empty", "")
    counts("header_only", COUNT_HEADER)
    counts("bom_crlf", b"\xef\xbb\xbf" + COUNT_HEADER.replace("\n", "\r\n").encode()
           + f"5,9,1,{NOON},50\r\n\r\n6,9,1,{NOON},60\r\n".encode())  # fmt: skip
    counts("order", f"quantity, date_time,store_id,note,employee_id,item_id\n70,{NOON},1,x,9,7\n")
    counts("quoted", f'{COUNT_HEADER}"8","9","1","{NOON}"," 80 "\n')
    counts("no_line_end", f"{COUNT_HEADER}9,9,1,{NOON},90")
    world.land(
        "store_001/changes/bom.json", b"\xef\xbb\xbf" + GOOD.replace("1,", "10,", 0).encode()
    )
    world.land("store_001/changes/crlf.json",
               f"\r\n{json.dumps(message('x', NOON, (11, -1)))}\r\n \t\r\n\n"
               f"{json.dumps(message('y', NOON, (11, -2)))}")  # fmt: skip
    world.land("store_001/changes/half.json.tmp", GOOD)
    world.land("store_001/changes/.hidden.json", GOOD[:5])
    world.land("store_001/changes/_under.json", GOOD[:5])
    world.land("store_001/notes.txt", "read me")
    items_path = "reference/items_1.csv"
    items = '1,"Tea, ""black""",7,3\nx,Tea,7,3\n5,Milk,7,few\n6,Milk\n7,,,\n8,Bread,ACME,-1\n'
    world.land(items_path, f"item_id,name,supplier_id,safety_stock_quantity\n{items}")
    report = world.load()
    build = world.build()
    assert build.succeeded, build.failures

    quarantine = world.quarantine()
    for path, (line, reason) in bad.items():
        assert quarantine["pos_count_rows", path, line, reason] == 1, path
        if reason.startswith("unreadable_row"):
            words = reason.removeprefix("unreadable_row: ")
            assert any(path in said and words in said for said in report.warnings), path
    assert quarantine["pos_items", items_path, 3, ITEM_ID] == 1
    assert quarantine["pos_items", items_path, 4, "mistyped_safety_stock_quantity"] == 1
    short = "unreadable_row: row has 2 fields; the header has 4"
    assert quarantine["pos_items", items_path, 5, short] == 1
    assert any(f"{items_path}, line 5: row has 2" in said for said in report.warnings)

    counted = {item: 10 * item for item in (5, 6, 7, 8, 9)} | {2: 7, 3: 7}
    assert {item: world.on_hand(1, item) for item in counted} == counted
    assert world.on_hand(1, 11) == -3
    assert world.on_hand(1, 1) == -1, "of the file with a byte order mark, the count's row is bad"
    assert world.position(1, 1)["item_name"] == 'Tea, "black"'
    said = "\n".join(report.warnings)
    assert "store_001/changes/half.json.tmp: not read: a half-written file" in said
    assert "store_001/notes.txt: not read: expected" in said
    assert "hidden" not in said
    assert "_under" not in said
    assert differences(world) == []
