"""The inventory page in Chromium: what a person sees is what gold has, and all of it works."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loaders import engine
from loaders.config import Settings
from loaders.page.folder import PageFolder
from loaders.page.gold import versions_of
from loaders.page.writing import PageWriter, write_page
from loaders.playback import Month, play
from tests.builds.worlds import Station
from tests.pages.conftest import DESKTOP, PHONE, SCREENSHOTS, Tab
from tests.pages.gold_tables import at, entry, position, write_gold
from tests.worlds import BEGINNING, free_port, part_ends, publish_part, small_month

pytestmark = pytest.mark.pages

Tabs = Callable[..., Tab]
PATIENCE = 400.0  # a full build, on a machine that does other things too


@dataclass
class Real:
    """A lakehouse that the engine has built of a short month with all faults, and its page."""

    settings: Settings
    page: Path

    def gold(self, table: str) -> pl.DataFrame:
        return pl.read_delta(str(self.settings.table("gold", table)))

    def names(self) -> dict[int, str | None]:
        current = self.gold("inventory_current")
        return dict(zip(current["item_id"], current["item_name"], strict=True))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, station: Station) -> Real:
    folder = tmp_path_factory.mktemp("real")
    month = small_month(folder / "month", days=6, items=1_500, lines=12_000)
    world = station.world()
    after = BEGINNING
    for through in part_ends(month, 2):
        publish_part(month, world.settings.landing, after, through)
        after = through
        world.load()
        report = world.build()
        assert report.succeeded, report.failures
    write_page(world.settings, folder / "page")
    return Real(world.settings, folder / "page")


def number(text: str) -> int:
    """A number as the page writes it."""
    return int(text.replace(",", "").replace("−", "-").replace("+", ""))


def moment(value: datetime | None, *, seconds: bool = False) -> str:
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"[: 19 if seconds else 16]


def table(tab: Tab, name: str) -> list[list[str]]:
    """A small table, cell by cell."""
    found: list[list[str]] = tab.page.locator(f"#{name}").evaluate(
        "table => [...table.tBodies[0].rows]"
        ".map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return found


# ---------------------------------------------------------------- numbers against gold


def test_totals_are_those_of_gold(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    current, alerts = real.gold("inventory_current"), real.gold("inventory_alerts")
    active = alerts.filter(pl.col("is_active"))
    orders = real.gold("bopis_orders").filter(pl.col("status").is_in(["open", "partly_collected"]))
    tiles = dict(
        re.split(r"\n+", tile.inner_text())[:2]
        for tile in open_tab.page.locator("#tiles > div").all()
    )
    assert {name: number(text) for name, text in tiles.items()} == {
        "Items in all stores": current.height,
        "Units on hand": current["on_hand_quantity"].sum(),
        "Committed to orders": current["committed_quantity"].sum(),
        "Alerts": active.height,
        "Orders to collect": orders.height,
        "Below safety stock": current["is_below_safety_stock"].sum(),
    }
    for row, store in zip(table(open_tab, "stores"), (0, 1), strict=True):
        of_store = current.filter(store_id=store)
        assert row[0].startswith(of_store["store_name"][0])
        assert [number(text) for text in row[1:]] == [
            of_store.height,
            of_store["on_hand_quantity"].sum(),
            of_store["committed_quantity"].sum(),
            of_store["available_quantity"].sum(),
            of_store["is_negative"].sum(),
            (of_store["available_quantity"] <= 0).sum(),
            of_store["is_below_safety_stock"].sum(),
            (~of_store["is_counted"]).sum(),
            active.filter(store_id=store).height,
        ]
    clock = current["last_changed_at"].max()
    assert moment(clock, seconds=True) in open_tab.section("as-of").inner_text()


def test_a_sample_of_keys_is_that_of_gold(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    sample = real.gold("inventory_current").filter(pl.col("item_id") > 0).sample(25, seed=3)
    for gold in sample.iter_rows(named=True):
        open_tab.search("stock", str(gold["item_id"]))
        open_tab.choose("stock", "Store", gold["store_name"])
        found = [row for row in open_tab.rows("stock") if row[0].endswith(f"\n{gold['item_id']}")]
        assert len(found) == 1
        (name, store, on_hand, committed, available, safety, changed, state) = found[0]
        assert name.partition("\n")[0] == (gold["item_name"] or "no name")
        assert store == gold["store_name"]
        assert number(on_hand) == gold["on_hand_quantity"]
        assert number(committed) == gold["committed_quantity"]
        assert number(available) == gold["available_quantity"]
        assert safety == str(
            "–" if gold["safety_stock_quantity"] is None else gold["safety_stock_quantity"]
        )
        assert changed == moment(gold["last_changed_at"])
        assert ("negative" in state) == gold["is_negative"]


def test_lists_are_those_of_gold(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    names = real.names()
    active = real.gold("inventory_alerts").filter(pl.col("is_active"))
    for label, kind in (
        ("out of stock", "out_of_stock"),
        ("below safety stock", "below_safety_stock"),
        ("negative", "negative"),
    ):
        open_tab.choose("alerts", "Alert", label)
        count = active.filter(alert=kind).height
        assert open_tab.info("alerts").endswith(f" of {count:,}" if count else "")
    variances = real.gold("stock_count_variances").filter(
        pl.col("previous_counted_at").is_not_null()
        & (pl.col("variance_quantity") != 0)
        & (pl.col("counted_at") >= pl.col("counted_at").max() - timedelta(days=7))
    )
    assert variances.height > 10
    assert open_tab.info("variances").endswith(f" of {variances.height:,}")
    largest = variances.with_columns(pl.col("variance_quantity").abs().alias("units")).sort(
        ["units", "counted_at", "store_id", "item_id"], descending=[True, True, False, False]
    )
    for row, gold in zip(
        open_tab.rows("variances"), largest.head(10).iter_rows(named=True), strict=True
    ):
        assert row[0] == f"{names[gold['item_id']] or 'no name'}\n{gold['item_id']}"
        assert row[2] == moment(gold["counted_at"])
        assert [number(text) for text in row[3:6]] == [
            gold["book_quantity"],
            gold["counted_quantity"],
            gold["variance_quantity"],
        ]
        assert ("restated" in row[6]) == gold["is_restated"]
        assert ("came late" in row[6]) == gold["is_late"]
    restated = real.gold("inventory_restatements")
    assert restated.height > 0
    assert open_tab.info("restatements").endswith(f" of {restated.height:,}")
    note = open_tab.section("restatements-note").inner_text()
    for cause, count in restated["cause"].value_counts().iter_rows():
        assert f"{count:,} by {cause.replace('_', ' ').replace('re drive', 're-drive')}" in note
    orders = (
        real.gold("bopis_orders")
        .filter(pl.col("status").is_in(["open", "partly_collected"]))
        .sort(["ordered_at", "trans_id", "item_id"])
    )
    for row, gold in zip(
        open_tab.rows("orders"), orders.head(10).iter_rows(named=True), strict=True
    ):
        assert row[0].endswith(str(gold["item_id"]))
        assert number(row[2]) == gold["open_quantity"]
        assert row[5:8] == [
            moment(gold["ordered_at"]),
            moment(gold["release_at"]),
            gold["trans_id"],
        ]


def test_counts_changes_and_freshness_are_those_of_gold(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    variances = real.gold("stock_count_variances").with_columns(
        pl.col("counted_at").dt.date().alias("day"),
        pl.when(pl.col("previous_counted_at").is_null())
        .then(0)
        .otherwise(pl.col("variance_quantity"))
        .alias("found"),
    )
    sessions = (
        variances.group_by("day", "store_id")
        .agg(
            pl.len().alias("items"),
            pl.col("counted_quantity").sum().alias("units"),
            pl.col("previous_counted_at").is_null().sum().alias("first"),
            (pl.col("found") != 0).sum().alias("varied"),
            (-pl.col("found").clip(upper_bound=0)).sum().alias("missing"),
            pl.col("found").clip(lower_bound=0).sum().alias("surplus"),
            pl.col("is_restated").sum().alias("restated"),
            pl.col("is_late").sum().alias("late"),
        )
        .sort(["day", "store_id"], descending=[True, False])
    )
    shown = open_tab.rows("sessions")
    assert len(shown) == min(6, sessions.height)
    for row, gold in zip(shown, sessions.head(6).iter_rows(named=True), strict=True):
        assert row[0].startswith(str(gold["day"]))
        assert [number(text) for text in row[2:]] == [
            gold[name]
            for name in (
                "items",
                "units",
                "first",
                "varied",
                "missing",
                "surplus",
                "restated",
                "late",
            )
        ]
    latest = (
        real.gold("inventory_current")
        .filter(pl.col("last_changed_at").is_not_null())
        .sort(["last_changed_at", "item_id", "store_id"], descending=[True, False, False])
    )
    ledger = real.gold("inventory_ledger")
    moved = 0
    for row, gold in zip(
        open_tab.rows("changed"), latest.head(10).iter_rows(named=True), strict=True
    ):
        assert row[0].endswith(str(gold["item_id"]))
        assert row[2] == moment(gold["last_changed_at"], seconds=True)
        assert number(row[4]) == gold["on_hand_quantity"]
        movement = ledger.filter(
            store_id=gold["store_id"], item_id=gold["item_id"], occurred_at=gold["last_changed_at"]
        ).filter(pl.col("change_type") != "count")
        if movement.height == 1:
            moved += 1
            assert number(row[3].rpartition(" ")[2]) == movement["quantity"][0]
    assert moved > 0
    feeds = table(open_tab, "feeds")
    for row, feed in zip(feeds, ("pos_messages", "pos_count_rows", "pos_items"), strict=True):
        bronze = pl.read_delta(str(real.settings.table("bronze", feed)))
        assert row[0].endswith(f"bronze.{feed}")
        assert row[1].startswith(moment(bronze["received_at"].max(), seconds=True))
        assert number(row[3]) == bronze.height
    for row, (name, version) in zip(
        table(open_tab, "tables"), versions_of(real.settings.lakehouse).items(), strict=True
    ):
        assert row[:2] == [name, str(version)]


# ---------------------------------------------------------------- search, paging, sorting


def test_search_by_name_and_number_in_all_stores(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    current = real.gold("inventory_current")
    name = current.filter(item_id=100_010)["item_name"][0]
    words = name.upper().split()
    open_tab.search("stock", f"{words[-1]} {words[0]} 100010")
    found = open_tab.rows("stock")
    assert [row[0] for row in found] == [f"{name}\n100010"] * 2
    assert [row[1] for row in found] == ["online", "store_001"]
    open_tab.search("stock", "cheddar")
    hits = current.filter(pl.col("item_name").str.to_lowercase().str.contains("cheddar")).height
    assert open_tab.info("stock") == f"1 to 25 of {hits:,}"
    open_tab.search("stock", "no such thing at all")
    assert open_tab.rows("stock") == []
    assert "no item is like that" in open_tab.section("stock").inner_text()
    open_tab.search("stock", "")
    assert open_tab.info("stock") == f"1 to 25 of {current.height:,}"


def test_paging_filtering_and_sorting(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    current = real.gold("inventory_current").sort(["item_id", "store_id"])
    keys = [str(item) for item in current["item_id"]]

    def items() -> list[str]:
        return [row[0].rpartition("\n")[2] for row in open_tab.rows("stock")]

    assert items() == keys[:25]
    open_tab.press("stock", "next page")
    assert items() == keys[25:50]
    open_tab.press("stock", "last page")
    rest = current.height % 25 or 25
    assert items() == keys[-rest:]
    assert open_tab.section("stock").get_by_role("button", name="next page").is_disabled()
    open_tab.press("stock", "page before")
    open_tab.press("stock", "first page")
    assert items() == keys[:25]
    open_tab.choose("stock", "Store", "store_001")
    assert items() == [str(item) for item in current.filter(store_id=1)["item_id"]][:25]
    open_tab.press("stock", "next page")
    assert items() == [str(item) for item in current.filter(store_id=1)["item_id"]][25:50]
    open_tab.choose("stock", "State", "below safety stock")
    below = current.filter(pl.col("is_below_safety_stock") & (pl.col("store_id") == 1))
    assert items() == [str(item) for item in below["item_id"]][:25]
    open_tab.choose("stock", "State", "any")
    open_tab.page.locator("#stock th", has_text="On hand").click()
    open_tab.settled()
    most = current.filter(store_id=1)["on_hand_quantity"].sort(descending=True)
    assert [number(row[2]) for row in open_tab.rows("stock")] == most.head(25).to_list()
    heading = open_tab.page.locator("#stock th", has_text="On hand")
    assert heading.get_attribute("aria-sort") == "descending"
    heading.click()
    open_tab.settled()
    assert [number(row[2]) for row in open_tab.rows("stock")] == most.reverse().head(25).to_list()


# ---------------------------------------------------------------- one item and its ledger


def test_the_chart_of_an_item_has_its_counts(real: Real, tab: Tabs) -> None:
    ledger = real.gold("inventory_ledger").sort(["occurred_at", "_receipt"], nulls_last=True)
    busiest = (
        ledger.group_by("store_id", "item_id")
        .agg(pl.len().alias("entries"), (pl.col("change_type") == "count").sum().alias("counts"))
        .filter(pl.col("counts") > 1)
        .sort("entries", descending=True)
        .row(0, named=True)
    )
    store, item = busiest["store_id"], busiest["item_id"]
    mine = ledger.filter(store_id=store, item_id=item)
    current = real.gold("inventory_current").filter(store_id=store, item_id=item).row(0, named=True)
    open_tab = tab().open(real.page, f"#item/{store}/{item}")
    assert open_tab.page.locator("#item-title").inner_text() == current["item_name"]
    tiles = dict(
        re.split(r"\n+", tile.inner_text())
        for tile in open_tab.page.locator("#item .figures .tiles > div").all()
    )
    assert number(tiles["On hand"]) == current["on_hand_quantity"]
    assert number(tiles["To promise elsewhere"]) == current["available_to_promise_quantity"]
    account = open_tab.page.locator(".account").inner_text()
    assert f"Counted {current['counted_quantity']:,} at {moment(current['counted_at'])}" in account
    for units, text in (
        (current["sale_quantity"], "sales"),
        (current["restock_quantity"], "deliveries"),
        (current["shrink_quantity"], "shrink"),
    ):
        shown = re.search(rf"([−+][\d,]+) {text}", account)
        assert (number(shown[1]) if shown else 0) == units
    # The line, and on it a ring in the colour of counts where each count is.
    drawn = open_tab.page.evaluate(
        """() => {
            const {chart} = Item;
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [chart.ctx.canvas.width, chart.ctx.canvas.height];
            const copy = canvas.getContext('2d', {willReadFrequently: true});
            copy.drawImage(chart.ctx.canvas, 0, 0);
            const style = getComputedStyle(document.documentElement);
            const wanted = style.getPropertyValue('--count').trim();
            const [red, green, blue] = [1, 3, 5].map(at => parseInt(wanted.slice(at, at + 2), 16));
            const rings = [];
            chart.data[2].forEach((balance, at) => {
                if (balance === null) return;
                const x = Math.round(chart.valToPos(chart.data[0][at], 'x', true));
                const y = Math.round(chart.valToPos(balance, 'y', true));
                const around = copy.getImageData(x - 7, y - 7, 15, 15).data;
                let found = 0;
                for (let byte = 0; byte < around.length; byte += 4) {
                    const near = (value, from) => Math.abs(value - from) < 40;
                    if (near(around[byte], red) && near(around[byte + 1], green)
                        && near(around[byte + 2], blue)) found += 1;
                }
                rings.push([chart.data[0][at], balance, found]);
            });
            return {at: chart.data[0], balances: chart.data[1], rings, width: canvas.width};
        }"""
    )
    times = [int(each.timestamp()) for each in mine["occurred_at"]]
    assert drawn["at"][: len(times)] == times
    assert drawn["balances"][: len(times)] == mine["balance_quantity"].to_list()
    counts = mine.filter(change_type="count")
    assert [ring[:2] for ring in drawn["rings"]] == [
        [int(when.timestamp()), units]
        for when, units in zip(counts["occurred_at"], counts["balance_quantity"], strict=True)
    ]
    assert all(pixels > 10 for _, _, pixels in drawn["rings"]), drawn["rings"]
    label = open_tab.page.locator("#chart").get_attribute("aria-label")
    assert label is not None
    assert f"{counts.height} stock counts" in label
    # The same as a table, the latest first.
    newest = mine.reverse().head(15)
    for row, gold in zip(open_tab.rows("entries"), newest.iter_rows(named=True), strict=True):
        assert row[0] == moment(gold["occurred_at"], seconds=True)
        assert (row[1] == "stock count") == (gold["change_type"] == "count")
        assert [number(text) for text in row[2:]] == [gold["quantity"], gold["balance_quantity"]]
    open_tab.screenshot("item_desktop")


def test_from_the_table_to_an_item_and_back(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    open_tab.search("stock", "100020")
    open_tab.choose("stock", "Store", "online")
    open_tab.section("stock").locator("a.item-link").first.click()
    open_tab.page.wait_for_selector("#item-title")
    open_tab.settled()
    assert open_tab.page.url.endswith("#item/0/100020")
    assert open_tab.page.evaluate("document.activeElement.id") == "item-title"
    assert not open_tab.section("overview").is_visible()
    open_tab.page.locator("#item-stores a", has_text="store_001").click()
    open_tab.wait("document.querySelector('.where').textContent.includes('store_001')")
    open_tab.page.go_back()
    open_tab.page.go_back()
    open_tab.settled()
    assert open_tab.section("overview").is_visible()
    assert len(open_tab.rows("stock")) == 1, "the search is as it was"
    missing = tab().open(real.page, "#item/1/5")
    assert "nothing of this item" in missing.section("item").inner_text()


# ---------------------------------------------------------------- names that want to be markup

ATTACKS = {
    1: "</script><script>window.attacked=1</script>",
    2: '<img src="x" onerror="window.attacked=2">',
    3: "'; drop table inventory_current; --",
    4: '"><svg onload=window.attacked=4>',
    5: "a\u2028window.attacked=5\u2029b",
    6: "\u202eevil\u202c\u202etxt.exe",
    7: "W" * 3_000,
    8: "javascript:window.attacked=8",
    9: "{{constructor.constructor('window.attacked=9')()}} ${window.attacked=9}",
    10: "<b>bold</b> &amp; &lt;i&gt;",
}
EVIL_STORE = "<script>window.attacked=99</script>\u202e store"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    lakehouse = folder / "lakehouse"
    write_gold(
        lakehouse,
        "inventory_current",
        [
            *(
                position(1, item, item - 3, item_name=name, store_name=EVIL_STORE)
                for item, name in ATTACKS.items()
            ),
            position(1, 2**63 - 1, 2**60, item_name="large", store_name=EVIL_STORE),
            position(7, 11, 3, item_name=None, is_known_item=False, counted_at=None),
        ],
    )
    write_gold(
        lakehouse,
        "inventory_alerts",
        [
            {
                "store_id": 1,
                "item_id": item,
                "alert": "negative",
                "is_active": True,
                "raised_at": at("02 10:00:00"),
                "raised_quantity": -1,
                "times_raised": 1,
            }
            for item in ATTACKS
        ],
    )
    write_gold(
        lakehouse,
        "bopis_orders",
        [
            {
                "trans_id": name,
                "item_id": item,
                "status": "open",
                "ordered_at": at("02 10:00:00"),
                "ordered_quantity": 1,
                "fulfillment_store_id": 1 if item % 2 else None,
                "picked_up_quantity": 0,
                "open_quantity": 1,
            }
            for item, name in ATTACKS.items()
        ],
    )
    write_gold(
        lakehouse,
        "inventory_ledger",
        [
            entry(1, 1, "sale", -2, -2, "02 10:00:00"),
            entry(1, 2**63 - 1, "count", 3, 3, "01 10:00:00"),
        ],
    )
    page = folder / "page"
    write_page(Settings(folder / "landing", lakehouse), page)
    return page


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_hostile_names_are_text_and_do_nothing(
    hostile: Path, tab: Tabs, viewport: dict[str, int]
) -> None:
    open_tab = tab(viewport).open(hostile)
    names = open_tab.page.locator("#stock tbody bdi.name").all_text_contents()
    for name in ATTACKS.values():
        assert (name if len(name) <= 200 else name[:199] + "…") in names
    assert EVIL_STORE in open_tab.page.locator("#stores bdi").all_text_contents()
    assert ATTACKS[1] in open_tab.page.locator("#orders bdi.code").all_text_contents()
    options = open_tab.section("stock").get_by_label("Store", exact=True).locator("option")
    assert EVIL_STORE in options.all_text_contents()
    for item in (1, 2, 6, 7):
        open_tab.open(hostile, f"#item/1/{item}")
        assert open_tab.width() <= viewport["width"]
    open_tab.open(hostile)
    open_tab.search("stock", "<script>")
    assert len(open_tab.rows("stock")) == 1
    assert open_tab.page.evaluate("window.attacked") is None
    assert open_tab.page.title() == "Inventory"
    assert open_tab.page.locator("main img, main svg, main script, main b").count() == 0
    assert open_tab.width() <= viewport["width"]
    assert open_tab.axe() == []
    # A name that turns its line around turns nothing beside it.
    open_tab.search("stock", "evil")
    cell = open_tab.page.locator("#stock tbody th").first
    name, sub = cell.locator("bdi.name").bounding_box(), cell.locator(".sub").bounding_box()
    assert name is not None
    assert sub is not None
    assert abs(name["x"] - sub["x"]) < 2, "it begins where its number begins"
    open_tab.search("stock", "")
    open_tab.screenshot(f"hostile_{'phone' if viewport is PHONE else 'desktop'}")


def test_numbers_that_javascript_cannot_hold(hostile: Path, tab: Tabs) -> None:
    open_tab = tab().open(hostile)
    total = sum(item - 3 for item in ATTACKS) + 2**60 + 3
    assert f"{total:,}" in open_tab.section("tiles").inner_text()
    open_tab.search("stock", "9223372036854775807")
    (row,) = open_tab.rows("stock")
    assert row[0] == f"large\n{2**63 - 1}"
    assert number(row[2]) == 2**60
    open_tab.page.locator("#stock tbody a").click()
    open_tab.page.wait_for_selector("#item-title")
    open_tab.settled()
    assert number(open_tab.page.locator("#item .tiles dd").first.inner_text()) == 2**60
    assert open_tab.rows("entries") == [["2021-01-01 10:00:00", "stock count", "+3", "3"]]


def test_the_page_forbids_itself_what_it_does_not_need(hostile: Path, tab: Tabs) -> None:
    """The policy is not only there, it holds: what a name could inject is not run."""
    open_tab = tab(is_quiet=False).open(hostile)
    open_tab.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.attacked = 1';
            document.body.append(script);
            const image = document.createElement('img');
            image.setAttribute('onerror', 'window.attacked = 2');
            image.src = 'http://127.0.0.1:9/x.png';
            document.body.append(image);
            return new Promise(done => setTimeout(done, 300));
        }"""
    )
    assert open_tab.page.evaluate("window.attacked") is None
    assert any("Content Security Policy" in problem for problem in open_tab.problems)


# ---------------------------------------------------------------- live


@pytest.fixture
def moving(tmp_path: Path) -> tuple[PageWriter, Callable[[int], None], Path]:
    """A page that is written anew by a call."""
    lakehouse, page = tmp_path / "lakehouse", tmp_path / "page"
    writer = PageWriter(lakehouse, page, every=1.0)

    def write(units: int) -> None:
        write_gold(
            lakehouse,
            "inventory_current",
            [
                position(1, item, units, last_changed_at=at(f"02 10:00:{units:02d}"))
                for item in range(1, 40)
            ],
        )
        writer.write(versions_of(lakehouse))

    write(5)
    return writer, write, page


ON_HAND = "document.querySelector('#stock tbody td:nth-child(3)')"


def test_an_open_page_follows_by_itself(
    moving: tuple[PageWriter, Callable[[int], None], Path], tab: Tabs
) -> None:
    _, write, page = moving
    open_tab = tab().open(page)
    open_tab.page.evaluate("window.isTheSame = true")
    open_tab.press("stock", "next page")
    open_tab.page.locator("#stock tbody a").nth(3).focus()
    focused = open_tab.page.evaluate("document.activeElement.getAttribute('href')")
    write(6)
    open_tab.wait(f"{ON_HAND}.textContent === '6'")
    open_tab.settled()
    assert open_tab.info("stock") == "26 to 39 of 39", "on the page where it was"
    assert open_tab.page.evaluate("document.activeElement.getAttribute('href')") == focused
    assert open_tab.page.evaluate("window.isTheSame"), "it was not loaded anew"
    assert "10:00:06" in open_tab.section("as-of").inner_text()
    assert open_tab.page.locator("#changed .fresh").count() == 10, "what is new is marked"
    open_tab.page.get_by_role("button", name="Pause updates").click()
    write(7)
    open_tab.page.wait_for_timeout(2_500)
    assert open_tab.page.evaluate(f"{ON_HAND}.textContent") == "6"
    assert "paused" in open_tab.section("updated").inner_text()
    open_tab.page.get_by_role("button", name="Pause updates").click()
    open_tab.wait(f"{ON_HAND}.textContent === '7'")
    open_tab.page.goto(open_tab.page.url.partition("#")[0] + "#item/1/3")
    open_tab.wait("document.querySelector('#item .tiles dd')?.textContent === '7'")
    write(8)
    open_tab.wait("document.querySelector('#item .tiles dd').textContent === '8'")


def test_a_page_whose_files_are_gone_finds_the_newer_ones(
    moving: tuple[PageWriter, Callable[[int], None], Path], tab: Tabs
) -> None:
    """As after a long sleep: the files of the moment that it shows have been removed since."""
    _, write, page = moving
    open_tab = tab(is_quiet=False).open(page)
    open_tab.page.get_by_role("button", name="Pause updates").click()
    stale = list((page / "data" / "names").iterdir())
    open_tab.page.evaluate("Data.show(structuredClone(Data.now))")
    write(9)
    for path in stale:
        path.unlink()
    for path in (page / "data" / "stock").iterdir():
        path.unlink()
    PageFolder(page).prepare()
    write(4)
    open_tab.page.evaluate(
        "for (const key of ['stock', 'names']) Data.now[key].files = ['0000000000']"
    )
    open_tab.page.evaluate("Data.show(Data.now)")
    open_tab.search("stock", "item 3")
    open_tab.wait(f"{ON_HAND}?.textContent === '4'")


def test_a_new_program_loads_itself(
    moving: tuple[PageWriter, Callable[[int], None], Path],
    tab: Tabs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, write, page = moving
    open_tab = tab().open(page)
    open_tab.page.evaluate("window.isTheSame = true")
    monkeypatch.setattr(PageFolder, "assets_digest", "0123456789")
    with open_tab.page.expect_event("load"):
        write(6)
    open_tab.wait("document.getElementById('as-of').textContent !== ''")
    open_tab.settled()
    assert open_tab.page.evaluate("window.isTheSame === undefined")
    assert open_tab.page.evaluate("document.documentElement.dataset.assets") == "0123456789"


def test_without_its_data_it_says_what_to_do(tmp_path: Path, tab: Tabs) -> None:
    PageFolder(tmp_path / "page").prepare()
    open_tab = tab(is_quiet=False)
    open_tab.page.goto(f"{(tmp_path / 'page').as_uri()}/index.html")
    problem = open_tab.page.locator("#problem")
    problem.wait_for(state="visible")
    assert problem.inner_text().endswith("Write the page anew: pos page")
    assert not [each for each in open_tab.problems if each.startswith("error:")]


def test_beside_a_run_it_follows_the_builds(tmp_path: Path, tab: Tabs) -> None:
    """`pos run --page`, an open page over HTTP, and a disk that fails in between."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    month = Month(small_month(tmp_path / "month", days=2, items=300, lines=2_000))
    page = tmp_path / "page"
    environment = {**os.environ, **settings.environment(), "PYTHONUNBUFFERED": "1"}
    middle = month.starts_at + timedelta(days=1)
    play(month, settings.landing, speed=None, until=middle)
    log = tmp_path / "run.log"
    with log.open("w") as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "loaders", "run", "--page", str(page), "--page-every", "0.5"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    port = free_port()
    try:
        until((page / "data" / "now.js").exists, "there is no page", run)
        serve = subprocess.Popen(
            [sys.executable, "-m", "loaders", "page", "--out", str(page), "--serve", str(port)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            until(lambda: answers(port), "nobody serves", run)
            open_tab = tab(is_quiet=False).open(url)  # it will miss a file
            assert "Live" in open_tab.section("updated").inner_text()
            before = open_tab.section("as-of").inner_text()
            # In the way of the page: the run must go on, and the page come back.
            (page / "data").rename(tmp_path / "aside")
            (page / "data").write_text("in the way")
            play(month, settings.landing, speed=None, until=month.ends_at)
            until(lambda: "cannot be written" in log.read_text(), "it does not say so", run)
            until(
                lambda: is_built(settings, middle + timedelta(hours=6)), "the build has failed", run
            )
            (page / "data").unlink()
            (tmp_path / "aside").rename(page / "data")
            # Nothing more is built, so nothing is ordered: what was ordered is still owed.
            open_tab.wait(
                f"document.getElementById('as-of').innerText !== {json.dumps(before)}", 60
            )
        finally:
            serve.send_signal(signal.SIGTERM)
            serve.wait(20)
        assert serve.returncode == 0
        run.send_signal(signal.SIGTERM)
        run.wait(60)
    finally:
        run.kill()
        engine.down(settings)
    assert run.returncode == 0, log.read_text()
    assert "build failed" not in log.read_text()


def is_built(settings: Settings, clock: datetime) -> bool:
    """Whether events of after that time are in gold."""
    current = pl.read_delta(str(settings.table("gold", "inventory_current")))
    latest: Any = current["last_changed_at"].max()
    return bool(latest.replace(tzinfo=None) > clock)


def answers(port: int) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/"):
            return True
    except OSError:
        return False


def until(condition: Callable[[], bool], what: str, run: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert run.poll() is None, "pos run has ended"
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


# ---------------------------------------------------------------- for everybody, everywhere


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_is_accessible_and_looks_like_this(
    real: Real, tab: Tabs, viewport: dict[str, int], scheme: str
) -> None:
    kind = f"{'phone' if viewport is PHONE else 'desktop'}_{scheme}"
    open_tab = tab(viewport, color_scheme=scheme, device_scale_factor=2 if viewport is PHONE else 1)
    open_tab.open(real.page)
    assert open_tab.axe() == []
    assert open_tab.width() <= viewport["width"]
    open_tab.screenshot(f"overview_{kind}")
    open_tab.screenshot(f"top_{kind}", full=False)
    open_tab.open(real.page, "#item/1/100001")
    assert open_tab.axe() == []
    assert open_tab.width() <= viewport["width"]
    open_tab.screenshot(f"item_{kind}")


def test_landmarks_headings_and_tables(real: Real, tab: Tabs) -> None:
    page = tab().open(real.page).page
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("navigation", name="Sections").count() == 1
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].filter(h => h.checkVisibility())"
        ".map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for table_name in ("Stock by store and item", "Alerts that stand", "Orders to be collected"):
        assert page.get_by_role("table", name=table_name).count() == 1
    assert page.locator("#stock tbody th[scope=row]").count() == 25
    assert page.locator("table.data thead th:not([scope=col])").count() == 0
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length"
    )
    assert unnamed == 0


def test_it_works_by_keyboard(real: Real, tab: Tabs) -> None:
    open_tab = tab().open(real.page)
    page = open_tab.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "search":
            break
    assert page.evaluate("document.activeElement.labels[0].innerText") == "Search by name or number"
    page.keyboard.type("100002")
    page.wait_for_timeout(300)
    open_tab.settled()
    assert len(open_tab.rows("stock")) == 2
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('th')?.innerText ?? ''").startswith(
            "On hand"
        ):
            break
    page.keyboard.press("Enter")
    open_tab.settled()
    assert page.locator("#stock th", has_text="On hand").get_attribute("aria-sort") == "descending"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "where the keyboard is can be seen"


def test_on_paper(real: Real, tab: Tabs) -> None:
    open_tab = tab(color_scheme="dark").open(real.page)
    open_tab.page.emulate_media(media="print")
    for hidden in (".tools", ".pager", ".top nav", "#pause"):
        assert not open_tab.page.locator(hidden).first.is_visible()
    ink, paper = open_tab.page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert ink == "rgb(26, 32, 37)", "dark on white, whatever the screen is"
    assert paper == "rgba(0, 0, 0, 0)"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for address in ("", "#item/1/100001"):
        open_tab.open(real.page, address)
        name = "item" if address else "overview"
        pdf = open_tab.page.pdf(path=SCREENSHOTS / f"print_{name}.pdf", format="A4")
        assert pdf.startswith(b"%PDF")
    open_tab.page.emulate_media(media="print")
    open_tab.page.set_viewport_size({"width": 794, "height": 1123})
    open_tab.screenshot("print_item")
    open_tab.open(real.page)
    open_tab.screenshot("print_overview")
    assert open_tab.width() <= 794


def test_nothing_moves_for_who_wants_none(
    moving: tuple[PageWriter, Callable[[int], None], Path], tab: Tabs
) -> None:
    _, write, page = moving
    open_tab = tab(reduced_motion="reduce").open(page)
    write(6)
    open_tab.wait("document.querySelector('#changed .fresh')")
    assert (
        open_tab.page.evaluate(
            "getComputedStyle(document.querySelector('#changed .fresh')).animationName"
        )
        == "none"
    )


# ---------------------------------------------------------------- 200,000 keys


def test_at_full_size_it_opens_small_and_finds_all(tmp_path: Path, tab: Tabs) -> None:
    lakehouse, page = tmp_path / "lakehouse", tmp_path / "page"
    write_gold(
        lakehouse,
        "inventory_current",
        (
            position(
                store, 100_000 + item, item % 23, item_name=f"Brand {item % 97} thing no {item}"
            )
            for item in range(100_000)
            for store in (0, 1)
        ),
    )
    started = time.process_time()
    report = write_page(Settings(tmp_path / "landing", lakehouse), page)
    assert report.keys == 200_000
    assert time.process_time() - started < 10
    largest = max(path.stat().st_size for path in page.rglob("*.js"))
    assert largest < 500_000
    open_tab = tab().open(page)
    read = {url.partition("?")[0] for url in open_tab.requests if url.startswith("file:")}
    size = sum(Path(url.removeprefix("file://")).stat().st_size for url in read)
    assert size < 1_500_000, f"{size:,} bytes to open it"
    assert open_tab.info("stock") == "1 to 25 of 200,000"
    open_tab.press("stock", "last page")
    assert open_tab.rows("stock")[-1][0] == f"Brand {99_999 % 97} thing no 99999\n199999"
    open_tab.search("stock", "thing 31415")
    assert {row[0].partition("\n")[0] for row in open_tab.rows("stock")} >= {
        f"Brand {31_415 % 97} thing no 31415"
    }
    open_tab.search("stock", "")
    open_tab.choose("stock", "State", "none available")
    none = sum(1 for item in range(100_000) if item % 23 == 0) * 2
    assert open_tab.info("stock") == f"1 to 25 of {none:,}"
