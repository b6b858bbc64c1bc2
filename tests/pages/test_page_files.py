"""The page's files against gold: every number, any name, and nothing half written."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from loaders.config import Settings
from loaders.errors import UserError
from loaders.page import folder, ledger, lists, stock
from loaders.page.folder import ASSETS, PageFolder
from loaders.page.gold import versions_of
from loaders.page.writing import PageWriter, write_page
from tests.pages.gold_tables import Row, at, entry, position, write_bronze, write_gold
from tests.pages.reading import ledger_rows, list_rows, now_of, payload, stock_rows

HOSTILE = (
    "</script><script>document.title='hacked'</script>",
    "<img src=x onerror=alert(1)>",
    "'; drop table inventory_current; --",
    '"quotes" & <b>markup</b>',
    "line\u2028separator\u2029paragraph\nbreak\ttab\x00nul",
    "\u202eright to left\u202c mark \u200f",
    "x" * 5_000,
    "{{assets}} ${1+1} `tick`",
    "emoji 🧀 and ﬁ ligature",
)


def seconds(text: str) -> int:
    return int(at(text).timestamp())


@pytest.fixture
def lakehouse(tmp_path: Path) -> Path:
    return tmp_path / "lakehouse"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page"


def written(lakehouse: Path, page: Path) -> Path:
    write_page(Settings(lakehouse.parent / "landing", lakehouse), page)
    return page


def test_every_key_is_on_the_page_as_gold_has_it(
    lakehouse: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "BLOCK_ROWS", 7)
    monkeypatch.setattr(stock, "NAMES_BLOCK_ITEMS", 5)
    rows = [
        position(
            store,
            item,
            on_hand=(item * 7 + store) % 9 - 2,
            committed_quantity=item % 3,
            sale_quantity=-item,
            safety_stock_quantity=None if item % 5 == 0 else item % 4,
            counted_at=None if item % 6 == 0 else at("01 08:00:00"),
            counted_quantity=None if item % 6 == 0 else item,
            last_changed_at=None if item % 7 == 0 else at(f"02 10:00:{item:02d}"),
            is_known_item=item % 8 != 0,
            item_name=None if item % 8 == 0 else f"item {item}",
        )
        for item in range(1, 41)
        for store in (0, 1, 7)
        if not (store == 7 and item % 2)
    ]
    write_gold(lakehouse, "inventory_current", reversed(rows))
    found = stock_rows(written(lakehouse, page))
    assert len(now_of(page)["stock"]["files"]) > 5
    assert [(row["item"], row["store"]) for row in found] == sorted(
        (row["item_id"], row["store_id"]) for row in rows
    )
    by_key = {(row["store_id"], row["item_id"]): row for row in rows}
    for row in found:
        gold = by_key[row["store"], row["item"]]
        assert row["name"] == gold["item_name"]
        for shown, column in (
            ("on_hand", "on_hand_quantity"),
            ("committed", "committed_quantity"),
            ("available", "available_quantity"),
            ("to_promise", "available_to_promise_quantity"),
            ("safety", "safety_stock_quantity"),
            ("counted", "counted_quantity"),
            ("sale", "sale_quantity"),
        ):
            assert row[shown] == gold[column]
        for shown, column in (("changed_at", "last_changed_at"), ("counted_at", "counted_at")):
            moment = gold[column]
            assert row[shown] == (moment and int(moment.timestamp()))
        assert row["flags"] == (
            stock.NEGATIVE * (gold["on_hand_quantity"] < 0)
            + stock.NOTHING_AVAILABLE * (gold["available_quantity"] <= 0)
            + stock.BELOW_SAFETY * gold["is_below_safety_stock"]
            + stock.NEVER_COUNTED * (not gold["is_counted"])
            + stock.UNKNOWN_ITEM * (not gold["is_known_item"])
            + stock.UNKNOWN_STORE * (gold["store_id"] == 7)
        )
    for store in now_of(page)["stores"]:
        of_store = [row for row in rows if row["store_id"] == store["id"]]
        assert store["keys"] == len(of_store)
        assert store["name"] == of_store[0]["store_name"]
        assert store["on_hand"] == sum(row["on_hand_quantity"] for row in of_store)
        assert store["available"] == sum(row["available_quantity"] for row in of_store)
        assert store["committed"] == sum(row["committed_quantity"] for row in of_store)
        assert store["negative"] == sum(row["is_negative"] for row in of_store)
        assert store["below_safety"] == sum(row["is_below_safety_stock"] for row in of_store)
        assert store["nothing_available"] == sum(row["available_quantity"] <= 0 for row in of_store)
        assert store["never_counted"] == sum(not row["is_counted"] for row in of_store)
    totals = now_of(page)["totals"]
    assert totals["on_hand"] == sum(row["on_hand_quantity"] for row in rows)
    counts = np.array(now_of(page)["stock"]["rows"]).sum(axis=0).tolist()
    assert counts == [store["keys"] for store in now_of(page)["stores"]]


def test_names_are_text_whatever_they_hold(lakehouse: Path, page: Path) -> None:
    rows = [
        position(0, number, 1, item_name=name, store_name=HOSTILE[0], channel="online")
        for number, name in enumerate(HOSTILE, start=1)
    ]
    write_gold(lakehouse, "inventory_current", rows)
    found = {row["item"]: row["name"] for row in stock_rows(written(lakehouse, page))}
    for number, name in enumerate(HOSTILE, start=1):
        is_long = len(name) > 200
        assert found[number] == (name[:199] + "…" if is_long else name)
    assert now_of(page)["stores"][0]["name"] == HOSTILE[0]
    for path in (page / "data").rglob("*.js"):
        text = path.read_text()
        assert "<" not in text
        assert "\u2028" not in text
        assert text.count("\n") == 1, "one line, whatever is in it"
    assert "{{assets}}" not in (page / "index.html").read_text()


def test_numbers_beyond_javascript_are_exact(lakehouse: Path, page: Path) -> None:
    large, least = 2**63 - 1, -(2**63)
    write_gold(
        lakehouse,
        "inventory_current",
        [position(0, large, 2**53), position(0, 5, -(2**53) + 1), position(1, least, 3)],
    )
    write_gold(lakehouse, "inventory_ledger", [entry(0, large, "sale", 1, 2**60, "02 10:00:00")])
    found = {str(row["item"]): row["on_hand"] for row in stock_rows(written(lakehouse, page))}
    assert found == {str(large): str(2**53), "5": -(2**53) + 1, str(least): 3}
    (entries,) = ledger_rows(page).values()
    assert entries[0][3] == str(2**60)


def alert(store_id: int, item_id: int, kind: str, **more: object) -> Row:
    return {
        "store_id": store_id,
        "item_id": item_id,
        "alert": kind,
        "is_active": True,
        "raised_at": at("02 09:00:00"),
        "raised_quantity": 0,
        "times_raised": 1,
        **more,
    }


def test_alerts_that_stand_the_worst_first(
    lakehouse: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PART_ROWS", 2)
    write_gold(lakehouse, "inventory_current", [position(0, 1, 0), position(1, 2, -3)])
    write_gold(
        lakehouse,
        "inventory_alerts",
        [
            alert(0, 1, "below_safety_stock"),
            alert(0, 1, "out_of_stock", raised_at=at("02 08:00:00")),
            alert(1, 2, "out_of_stock", raised_at=None),
            alert(1, 2, "negative", raised_quantity=-1, times_raised=3),
            alert(1, 2, "below_safety_stock", is_active=False),
            alert(1, 99, "out_of_stock"),
        ],
    )
    found = list_rows(written(lakehouse, page), "alerts")
    assert [(row["alert"], row["store"], row["item"]) for row in found] == [
        ("negative", 1, 2),
        ("out_of_stock", 1, 99),
        ("out_of_stock", 0, 1),
        ("out_of_stock", 1, 2),
        ("below_safety_stock", 0, 1),
    ]
    assert found[0] == {
        "store": 1,
        "item": 2,
        "name": "item 2",
        "alert": "negative",
        "raised_at": seconds("02 09:00:00"),
        "raised_quantity": -1,
        "times": 3,
        "on_hand": -3,
        "available": -3,
        "safety": 2,
    }
    assert (found[1]["name"], found[1]["on_hand"]) == (None, None), "a key that is not there yet"
    listed = now_of(page)["alerts"]
    assert listed["total"] == listed["rows"] == 5
    assert sorted(listed["by_kind"]) == [
        ["below_safety_stock", 0, 1],
        ["negative", 1, 1],
        ["out_of_stock", 0, 1],
        ["out_of_stock", 1, 2],
    ]


def test_orders_to_collect_those_released_first_on_top(lakehouse: Path, page: Path) -> None:
    order = {
        "item_id": 1,
        "fulfillment_store_id": 1,
        "ordered_quantity": 3,
        "picked_up_quantity": 0,
        "open_quantity": 3,
        "is_unassigned": False,
        "_store_roles": "",
        "_changes_ingest_id": 1,
    }
    write_gold(lakehouse, "inventory_current", [position(1, 1, 5, committed_quantity=4)])
    write_gold(
        lakehouse,
        "bopis_orders",
        [
            {**order, "trans_id": "B", "status": "open", "ordered_at": at("02 10:00:00")},
            {
                **order,
                "trans_id": HOSTILE[1],
                "status": "partly_collected",
                "ordered_at": at("01 10:00:00"),
                "release_at": at("08 10:00:00"),
                "picked_up_quantity": 2,
                "open_quantity": 1,
                "fulfillment_store_id": None,
            },
            *(
                {**order, "trans_id": status, "status": status}
                for status in ("collected", "released", "awaiting_order")
            ),
        ],
    )
    found = list_rows(written(lakehouse, page), "orders")
    assert [row["order"] for row in found] == [HOSTILE[1], "B"]
    assert found[0] == {
        "order": HOSTILE[1],
        "item": 1,
        "name": "item 1",
        "store": None,
        "status": "partly_collected",
        "ordered_at": seconds("01 10:00:00"),
        "ordered": 3,
        "picked_up": 2,
        "open": 1,
        "release_at": seconds("08 10:00:00"),
    }
    listed = now_of(page)["orders"]
    assert listed["open_units"] == 4
    assert listed["by_status"] == {
        "open": 1,
        "partly_collected": 1,
        "collected": 1,
        "released": 1,
        "awaiting_order": 1,
    }


def variance(
    store_id: int, item_id: int, when: str, book: int, counted: int, **more: object
) -> Row:
    return {
        "store_id": store_id,
        "item_id": item_id,
        "counted_at": at(when),
        "counted_quantity": counted,
        "book_quantity": book,
        "variance_quantity": counted - book,
        "is_restated": False,
        "is_late": False,
        "previous_counted_at": at("01 08:00:00"),
        "figure_version": 1,
        "_publication": 1,
        **more,
    }


def test_counts_by_store_and_day_and_their_variances(lakehouse: Path, page: Path) -> None:
    write_gold(
        lakehouse,
        "inventory_current",
        [position(0, 1, 5, counted_at=at("20 09:30:00")), position(1, 2, 5)],
    )
    write_gold(
        lakehouse,
        "stock_count_variances",
        [
            variance(0, 1, "20 09:00:00", 10, 7, is_restated=True),
            variance(0, 2, "20 09:30:00", 10, 11, is_late=True),
            variance(0, 3, "20 09:00:00", 5, 5),
            variance(0, 4, "20 09:00:00", 0, 50, previous_counted_at=None),
            variance(1, 1, "19 23:59:59", 10, 2),
            variance(1, 1, "12 08:00:00", 10, 1),
            variance(1, 1, "2020-12-01 08:00:00", 10, 0),
        ],
    )
    found = list_rows(written(lakehouse, page), "sessions")
    assert found[0] == {
        "store": 0,
        "first_at": seconds("20 09:00:00"),
        "last_at": seconds("20 09:30:00"),
        "items": 4,
        "counted": 73,
        "book": 25,
        "opening": 1,
        "varied": 2,
        "missing": 3,
        "surplus": 1,
        "restated": 1,
        "late": 1,
    }
    assert [(row["store"], row["items"], row["missing"]) for row in found[1:]] == [
        (1, 1, 8),
        (1, 1, 9),
    ], "the last month's, the newest first"
    varied = list_rows(page, "variances")
    assert [(row["store"], row["item"], row["variance"]) for row in varied] == [
        (1, 1, -8),
        (0, 1, -3),
        (0, 2, 1),
    ], "the most units first; no first count, none of long ago, none that varied by nothing"
    assert (varied[1]["book"], varied[1]["counted"], varied[1]["is_restated"]) == (10, 7, 1)
    assert now_of(page)["variances"]["total"] == 3


def test_the_latest_restatements_and_all_causes(
    lakehouse: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_RESTATEMENTS", 2)
    restatement = {
        "store_id": 1,
        "item_id": 1,
        "counted_at": at("01 08:00:00"),
        "believed_on_hand_quantity": 5,
        "on_hand_quantity": 7,
        "believed_book_quantity": None,
        "book_quantity": 6,
        "believed_variance_quantity": None,
        "variance_quantity": 1,
        "_publication": 1,
    }
    write_gold(lakehouse, "inventory_current", [position(1, 1, 5)])
    write_gold(
        lakehouse,
        "inventory_restatements",
        [
            {**restatement, "figure_version": version, "cause": cause, "restated_at": at(when)}
            for version, cause, when in (
                (1, "late_count", "02 08:00:00"),
                (2, "late_event", "03 08:00:00"),
                (3, "late_event", "04 08:00:00"),
            )
        ],
    )
    found = list_rows(written(lakehouse, page), "restatements")
    assert [row["restated_at"] for row in found] == [
        seconds("04 08:00:00"),
        seconds("03 08:00:00"),
    ]
    assert found[0] == {
        "store": 1,
        "item": 1,
        "name": "item 1",
        "counted_at": seconds("01 08:00:00"),
        "cause": "late_event",
        "restated_at": seconds("04 08:00:00"),
        "was_on_hand": 5,
        "on_hand": 7,
        "was_book": None,
        "book": 6,
        "was_variance": None,
        "variance": 1,
    }
    listed = now_of(page)["restatements"]
    assert (listed["rows"], listed["total"]) == (2, 3)
    assert listed["by_cause"] == {"late_count": 1, "late_event": 2}


def test_the_ledger_of_each_key_in_its_order(
    lakehouse: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "BLOCK_ITEMS", 2)
    monkeypatch.setattr("loaders.page.writing.BLOCK_ITEMS", 2)
    monkeypatch.setattr(ledger, "MOST_ENTRIES", 3)
    write_gold(
        lakehouse,
        "inventory_current",
        [
            position(store, item, 1, last_changed_at=at("2021-02-20 10:00:00"))
            for item in range(1, 6)
            for store in (0, 1)
        ],
    )
    instant = "2021-02-19 10:00:00"
    write_gold(
        lakehouse,
        "inventory_ledger",
        [
            entry(1, 3, "count", -1, 4, instant),
            entry(1, 3, "sale", -2, 5, instant, _receipt=9),
            entry(1, 3, "restock", 2, 7, instant, _receipt=3),
            entry(0, 5, "shrink", -1, 0, "2021-02-20 10:00:00"),
            entry(0, 1, "bopis", -1, 3, "2021-02-20 09:00:00"),
            entry(0, 1, "sale", -1, 4, "2021-01-10 09:00:00"),
            *(entry(0, 2, "sale", -1, 9 - day, f"2021-02-1{day} 09:00:00") for day in range(5)),
            entry(9, 9, "sale", -1, 4, "2021-02-19 09:00:00"),
        ],
        partition_by=["occurred_on"],
    )
    found = ledger_rows(written(lakehouse, page))
    assert found[1, 3] == [
        (seconds(instant), "restock", 2, 7),
        (seconds(instant), "sale", -2, 5),
        (seconds(instant), "count", -1, 4),
    ]
    assert [row[3] for row in found[0, 2]] == [7, 6, 5], "no more than fit into a chart"
    assert len(found[0, 1]) == 1, "nothing of before the last month"
    assert (9, 9) not in found, "its key comes with the next moment"
    assert sorted(found) == [(0, 1), (0, 2), (0, 5), (1, 3)]
    now = now_of(page)
    assert now["ledger"]["first"] == [1, 3, 5]
    changed = {
        (store, item): (kind, quantity)
        for store, item, kind, quantity in zip(
            *(now["changed"][name] for name in ("store", "item", "kind", "quantity")), strict=True
        )
    }
    assert len(changed) == 10
    assert changed[0, 5] == (now["kinds"].index("shrink"), -1)
    assert changed[0, 1] == (None, None), "the ledger does not have its last event yet"


def test_freshness_is_that_of_the_newest_commit(lakehouse: Path, page: Path) -> None:
    def received(ingest_id: int, when: str) -> Row:
        return {
            "ingest_id": ingest_id,
            "ingest_line": 1,
            "source_file": "online/changes/1.json",
            "source_line": 1,
            "received_at": at(when),
            "landed_at": at("05 11:59:58"),
            "body": "{}",
        }

    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    write_bronze(
        lakehouse, "pos_messages", [received(1, "05 12:00:00"), received(1, "05 12:00:01")]
    )
    write_bronze(lakehouse, "pos_messages", [received(2, "05 12:00:07")])
    (feed,) = now_of(written(lakehouse, page))["freshness"]
    assert feed == {
        "feed": "pos_messages",
        "rows": 3,
        "received_at": seconds("05 12:00:07"),
        "landed_at": seconds("05 11:59:58"),
        "event_at": seconds("02 10:00:00"),
    }


def test_tables_that_are_not_there_yet(lakehouse: Path, page: Path) -> None:
    with pytest.raises(UserError, match=r"no inventory in .* yet; build it first: pos run --once"):
        written(lakehouse, page)
    write_gold(lakehouse, "inventory_current", [])
    now = now_of(written(lakehouse, page))
    assert now["stock"]["keys"] == 0
    assert [now[name] for name in ("alerts", "orders", "sessions", "ledger")] == [None] * 4
    assert now["tables"][0][:2] == ["gold.inventory_current", 0]


def test_the_moment_is_that_of_the_versions(lakehouse: Path, page: Path) -> None:
    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    before = versions_of(lakehouse)
    write_gold(lakehouse, "inventory_current", [position(0, 1, 4)])
    writer = PageWriter(lakehouse, page)
    writer.write(before)
    assert [row["on_hand"] for row in stock_rows(page)] == [5]
    assert now_of(page)["tables"][0][1] == 0
    writer.write(versions_of(lakehouse))
    assert [row["on_hand"] for row in stock_rows(page)] == [4]


def test_only_what_has_changed_is_written(
    lakehouse: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "BLOCK_ROWS", 10)
    rows = [position(0, item, 5) for item in range(100)]
    write_gold(lakehouse, "inventory_current", rows)
    write_gold(lakehouse, "inventory_ledger", [entry(0, 3, "sale", -1, 5, "02 10:00:00")])
    writer = PageWriter(lakehouse, page)
    first = writer.write()
    assert first.files_written == first.files
    assert writer.write().files_written == 1, "the moment alone"
    rows[55] = position(0, 55, 4)
    write_gold(lakehouse, "inventory_current", rows)
    again = writer.write()
    assert again.files_written == 3, "its block, that of its details, and the moment"
    assert again.files == first.files
    assert ledger_rows(page)[0, 3] == [(seconds("02 10:00:00"), "sale", -1, 5)]


def test_a_reader_of_the_last_moment_finds_its_files_for_a_while(
    lakehouse: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    writer = PageWriter(lakehouse, page)
    writer.write()
    stale = set((page / "data" / "stock").iterdir())
    write_gold(lakehouse, "inventory_current", [position(0, 1, 4)])
    writer.write()
    assert stale < set((page / "data" / "stock").iterdir())
    monkeypatch.setattr(folder, "KEEP_SECONDS", -1.0)
    writer.write()
    assert not stale & set((page / "data" / "stock").iterdir())
    assert [row["on_hand"] for row in stock_rows(page)] == [4]


def test_a_reader_never_sees_half_a_page(lakehouse: Path, page: Path) -> None:
    """All of a moment's figures are of that moment, while the page is written again and again."""
    writer = PageWriter(lakehouse, page)

    def write(number: int) -> None:
        rows = [position(0, item, number, item_name=f"of {number}") for item in range(50)]
        write_gold(lakehouse, "inventory_current", rows)
        writer.write(versions_of(lakehouse))

    write(0)
    seen: list[int] = []
    problems: list[BaseException] = []
    is_over = threading.Event()

    def read() -> None:
        try:
            while not is_over.is_set():
                rows = stock_rows_of_one_moment(page)
                (number,) = {row["on_hand"] for row in rows}
                assert {row["name"] for row in rows} == {f"of {number}"}
                seen.append(number)
        except BaseException as error:
            problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 8):
        write(number)
    is_over.set()
    reader.join()
    assert not problems, problems[0]
    assert len(set(seen)) > 1, "it read while it was written"
    assert seen == sorted(seen)


def stock_rows_of_one_moment(page: Path) -> list[Row]:
    """As an open page does: the names of the moment are read once, the files then."""
    now = now_of(page)
    name, on_hand = (
        payload(page / "data" / kind / f"0000.{now[kind]['files'][0]}.js")
        for kind in ("names", "stock")
    )
    return [
        {"name": each, "on_hand": units}
        for each, units in zip(name["name"], on_hand["on_hand"], strict=True)
    ]


def test_what_a_killed_writer_left_is_taken_over_and_removed(lakehouse: Path, page: Path) -> None:
    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    (page / "data" / "stock").mkdir(parents=True)
    (page / "assets").mkdir()
    left = page / "data" / "stock" / ".0000.0123456789.js.77.tmp"
    left.write_text("receive(")
    os.utime(left, (0, 0))
    written(lakehouse, page)
    assert not left.exists()


@pytest.mark.parametrize("name", ["index.html", "thesis.txt"])
def test_a_folder_of_other_things_is_left_alone(lakehouse: Path, page: Path, name: str) -> None:
    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    page.mkdir()
    (page / name).write_text("<h1>mine</h1>")
    with pytest.raises(UserError, match="name another"):
        written(lakehouse, page)
    assert [path.name for path in page.iterdir()] == [name]
    assert (page / name).read_text() == "<h1>mine</h1>"


def test_two_writers_of_one_page_are_refused(lakehouse: Path, page: Path) -> None:
    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    with (
        PageWriter(lakehouse, page).alone(),
        pytest.raises(UserError, match="already writing this page"),
    ):
        written(lakehouse, page)


def test_the_page_asks_nobody_and_first_reads_little(lakehouse: Path, page: Path) -> None:
    write_gold(lakehouse, "inventory_current", [position(0, 1, 5)])
    written(lakehouse, page)
    html = (page / "index.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]+)"', html):
        is_own = address.startswith(("assets/", "#", "data:,"))
        assert is_own, address
        if address.startswith("assets/"):
            assert (page / address.partition("?")[0]).is_file()
    assert "default-src 'none'" in html
    size = sum(path.stat().st_size for path in (page / "assets").rglob("*") if path.is_file())
    assert size < 300_000


def test_what_is_not_ours_is_what_it_says(tmp_path: Path) -> None:
    vendor = ASSETS / "vendor"
    told = dict(
        re.findall(
            r"^\| (\S+) \| .* \| ([0-9a-f]{64}) \|$", (vendor / "README.md").read_text(), re.M
        )
    )
    kept = {path.name for path in vendor.iterdir() if path.suffix in (".js", ".css")}
    assert set(told) == kept
    for name, digest in told.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    PageFolder(tmp_path / "page").prepare()
    assert (tmp_path / "page/assets/vendor/uPlot.LICENSE.txt").exists(), "licences travel along"


def test_a_large_lakehouse_in_a_moment(lakehouse: Path, page: Path) -> None:
    """40,000 keys: what the time grows with is measured at full size by hand (DECISIONS.md)."""
    rows = [position(store, item, item % 9) for item in range(20_000) for store in (0, 1)]
    write_gold(lakehouse, "inventory_current", rows)
    started = time.process_time()
    written(lakehouse, page)
    assert time.process_time() - started < 5
    largest = max(path.stat().st_size for path in (page / "data").rglob("*.js"))
    assert largest < 300_000
