"""The docs site as a person sees it, in headless Chromium, and its columns against the tables.

Screenshots for whoever looks at them: target/screenshots/docs_*.png.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loaders.docs import COLUMNS, build_site, site_server
from tests.builds.worlds import Station
from tests.docs.manifest import ROOT, Manifest, not_as_the_table, tables, undescribed
from tests.files import message

pytestmark = pytest.mark.pages

CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = ROOT / "target/screenshots"
INVENTORY = "model.pos_lakehouse.inventory_current.v1"
MESSAGES = "source.pos_lakehouse.bronze.pos_messages"
COUNT_ROWS = "source.pos_lakehouse.bronze.pos_count_rows"
ITEMS = "source.pos_lakehouse.bronze.pos_items"
SEEDS = {"seed.pos_lakehouse.stores", "seed.pos_lakehouse.inventory_change_types"}
# dbt's graph is drawn on a canvas; its nodes and edges are known to the library that draws it.
GRAPH = """() => {
    for (const element of document.querySelectorAll('.__________cytoscape_container')) {
        const shown = element._cyreg && element._cyreg.cy.edges().filter(
            edge => edge.source().visible() && edge.target().visible()
        );
        const ends = edge => [edge.source().id(), edge.target().id()];
        if (shown && shown.length) return shown.map(ends);
    }
    return null;
}"""


@dataclass
class Site:
    """The site as it was written, served at ``address``, and dbt's artifacts that it is made of."""

    folder: Path
    address: str
    said: list[str]
    manifest: Manifest
    catalogue: dict[str, Any]
    columns: dict[str, Any]


@pytest.fixture(scope="module")
def site(station: Station, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = station.world()
    world.land_items((1, "Tea", 7, 3))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 10))
    world.land_messages(message("A", "09:00:00", (1, -1)))
    world.load_and_build()
    assert station.warehouse.invoke("snapshot").succeeded
    assert station.warehouse.invoke("run", "--select", "time_spine_days").succeeded
    target, folder = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("site")
    said = build_site(world.settings, target, folder)
    artifacts = [
        json.loads(path.read_text())
        for path in (
            target / "manifest.json",
            target / "catalog.json",
            folder / Path(COLUMNS).with_suffix(".json"),
        )
    ]
    with site_server(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(folder, f"http://127.0.0.1:{server.server_port}/", said, *artifacts)
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """A page that asks nobody but the site for anything."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(120_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    elsewhere = [url for url in asked if not url.startswith((site.address, "data:", "blob:"))]
    assert elsewhere == []
    assert asked, "nothing was opened"


def keep_picture(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"docs_{name}.png"))


def upstream_of(node: Any, edges: list[tuple[Any, Any]]) -> set[Any]:
    """All that a node is made of, whatever the number of steps."""
    parents = defaultdict(set)
    for source, target in edges:
        parents[target].add(source)
    found: set[Any] = set()
    waiting = [node]
    while waiting:
        for parent in parents[waiting.pop()] - found:
            found.add(parent)
            waiting.append(parent)
    return found


def test_all_tables_and_all_columns_are_described(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    on_disk = {
        node_id: {name.lower() for name in table["columns"]}
        for kind in ("nodes", "sources")
        for node_id, table in site.catalogue[kind].items()
    }
    # No table has them; the columns are those that their SQL gives.
    inlined = {
        node_id: set(site.columns["nodes"][node_id]["columns"])
        for node_id, node in tables(site.manifest)
        if node["config"].get("materialized") == "ephemeral"
    }
    assert len(inlined) >= 4
    assert site.said == []
    assert not_as_the_table(site.manifest, on_disk | inlined) == []
    assert undescribed(site.manifest) == []
    columns = sum(len(names) for names in (on_disk | inlined).values())
    with capsys.disabled():
        print(f"\ndocs coverage: {len(on_disk | inlined)} tables, {columns} columns, 100 %")


def test_the_overview_is_the_landing_page(site: Site, page: Any) -> None:
    page.goto(site.address)
    page.wait_for_selector("h1:has-text('What is in stock now')")
    text = page.inner_text("body")
    for heading in (
        "Where to start",
        "Bronze, silver, gold",
        "The two clocks",
        "The rules in short",
    ):
        assert heading in text, heading
    keep_picture(page, "overview")
    hrefs = page.eval_on_selector_all("a", "links => links.map(link => link.getAttribute('href'))")
    linked = {
        found[1]
        for href in hrefs
        if (found := re.search(r"#!/(?:model|snapshot)/([\w.]+)", href or ""))
    }
    assert INVENTORY in linked
    assert linked <= set(site.manifest["nodes"]), "a link of the overview leads nowhere"
    assert COLUMNS in hrefs
    assert (site.folder / COLUMNS).is_file()


def test_the_lineage_of_the_inventory_reaches_back_to_the_tills_and_the_seeds(
    site: Site, page: Any
) -> None:
    page.goto(f"{site.address}#!/model/{INVENTORY}?g_v=1&g_i=%2Binventory_current%2B")
    page.wait_for_function(GRAPH)
    page.wait_for_timeout(3000)  # until it is drawn
    keep_picture(page, "lineage")
    edges = [(source, target) for source, target in page.evaluate(GRAPH)]
    assert upstream_of(INVENTORY, edges) >= {MESSAGES, COUNT_ROWS, ITEMS} | SEEDS
    assert INVENTORY in upstream_of("exposure.pos_lakehouse.inventory_page", edges)


def test_a_table_says_what_it_is(site: Site, page: Any) -> None:
    page.goto(f"{site.address}#!/model/{INVENTORY}")
    page.wait_for_selector("h1:has-text('inventory_current')")
    page.wait_for_selector("text=One row per store and item.")
    keep_picture(page, "inventory_current")
    text = page.inner_text("body")
    assert "Inventory analytics" in text  # who answers for it
    for name in site.manifest["nodes"][INVENTORY]["columns"]:
        assert name in text, name


def test_the_lineage_of_a_column_reaches_back_to_what_the_tills_sent(site: Site, page: Any) -> None:
    edges = [
        ((edge["source"], edge["sourceColumn"]), (edge["target"], edge["targetColumn"]))
        for edge in site.columns["lineage"]["edges"]
    ]
    made_of = upstream_of((INVENTORY, "on_hand_quantity"), edges)
    assert made_of >= {(MESSAGES, "body"), (COUNT_ROWS, "quantity")}
    assert (ITEMS, "name") not in made_of
    assert (ITEMS, "name") in upstream_of((INVENTORY, "item_name"), edges)

    page.goto(f"{site.address}{COLUMNS}?model={INVENTORY}&children=0&parents=1")
    page.wait_for_selector("text=on_hand_quantity")
    page.wait_for_timeout(3000)  # until it is drawn
    keep_picture(page, "columns")
