"""Many stores: the slots of a chain's day, the arithmetic of the page. No times are measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import layouts
from benchmarks.layouts import LAYOUTS, Layout
from benchmarks.report import render
from benchmarks.results import Record
from benchmarks.stores import PARTS, Day, Size, make_project
from benchmarks.stores_page import BEGINS, ENDS, NOTHING, Fit, into_page, section
from loaders.config import Settings
from loaders.playback import Slot
from loaders.simulator import Chain, Config, write_chain
from loaders.warehouse import Warehouse

SIZE = Size(4, 30)
LINES = 3_000
SIZES = Path(__file__).resolve().parents[2] / "profiles" / "SIZES.md"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    write_chain(Chain(Config(days=1, items=SIZE.items, lines=LINES), SIZE.stores), folder)
    return folder


def lines_of(paths: list[Path]) -> int:
    return sum(
        len(json.loads(line)["items"])
        for path in paths
        if "changes" in path.parts
        for line in path.read_text().splitlines()
    )


def test_the_history_is_all_that_is_sent_until_the_evening(chain: Path, tmp_path: Path) -> None:
    day = Day(chain)
    slots = list(day.history())
    opening = day.put_down(slots[:1], tmp_path / "opening")
    assert sum("counts" in path for path in opening) == SIZE.stores
    assert lines_of(list(opening.values())) < LINES / 20
    rest = day.put_down(slots[1:], tmp_path / "rest")
    assert not any("counts" in path for path in rest)
    found = lines_of([*opening.values(), *rest.values()])
    assert found == day.lines_until(day.evening)
    assert 0.7 < found / day.lines_until(day.month.ends_at) < 0.9


def test_the_ticks_after_it_bring_the_lines_wanted_each_once(chain: Path, tmp_path: Path) -> None:
    day, clock, total = Day(chain), Day(chain).evening, 0
    for number in range(4):
        slot = Slot(clock, day.after_lines(clock, 60))
        put_down = day.put_down([slot], tmp_path / str(number))
        lines = lines_of(list(put_down.values()))
        assert lines == day.lines_until(slot.through) - day.lines_until(slot.after)
        assert 60 <= lines < 60 + 170, "up to the last message, which may be long"
        clock, total = slot.through, total + lines
    assert total == day.lines_until(clock) - day.lines_until(day.evening)
    with pytest.raises(ValueError, match="the day ends before"):
        day.after_lines(clock, LINES)


def test_the_project_of_a_chain_knows_its_stores_and_parses(chain: Path, tmp_path: Path) -> None:
    make_project(chain, tmp_path / "project")
    with (tmp_path / "project" / "seeds" / "stores.csv").open(newline="") as text:
        assert [row["store_name"] for row in csv.DictReader(text)][-1] == "store_003"
    assert {path.name for path in (tmp_path / "project").iterdir()} == {*PARTS, "seeds"}
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", project=tmp_path / "project")
    settings.state.mkdir(parents=True)
    Warehouse(settings)


def test_a_tick_of_a_layout_changes_the_keys_of_so_many_stores() -> None:
    rows = [(store, item) for store in range(8) for item in range(1_000)]
    inventory = pa.table(
        {
            "store_id": pa.array([store for store, _ in rows], pa.int32()),
            "item_id": [item for _, item in rows],
            "on_hand_quantity": [5] * len(rows),
        }
    )
    for stores in (2, 8):
        tick = layouts._tick(inventory, stores, seed=1)
        assert len(set(tick["store_id"].to_pylist())) == stores
        assert set(tick["on_hand_quantity"].to_pylist()) == {4}
        keys = list(zip(tick["store_id"].to_pylist(), tick["item_id"].to_pylist(), strict=True))
        assert len(set(keys)) == len(keys) == min(layouts.KEYS_OF_A_TICK, stores * 1_000)


def test_every_layout_but_the_plain_ones_says_what_it_replaces() -> None:
    for layout in LAYOUTS.values():
        assert isinstance(layout, Layout)
        assert (layout.reach is not None) == (layout.statement == "replace")


def ticks_of(size: str, seconds: dict[str, float], **more: object) -> Record:
    some = {
        rate: [{"total": each, "lines": int(rate), "parts": {}}] for rate, each in seconds.items()
    }
    return {
        "measure": "chain_ticks",
        "size": size,
        "keys": Size.parse(size).keys,
        "p50": seconds,
        "ticks": some,
        "peak_bytes": 2**31,
        "differing_keys": {"ticks": 0},
        **more,
    }


def test_a_plane_through_the_medians_is_found() -> None:
    records = [
        ticks_of(size, {str(n): 1 + 2 * Size.parse(size).keys / 1e6 + 0.1 * n / 1e3 for n in rates})
        for size, rates in (("2x100000", (300, 30_000)), ("50x20000", (300, 3_000)))
    ]
    fit = Fit.of(records)
    assert fit is not None
    assert (fit.fixed, fit.per_million_keys, fit.per_thousand_lines) == pytest.approx((1, 2, 0.1))
    assert Fit.of(records[:1]) is None


def test_the_page_shows_what_holds_and_the_estimate_with_its_arithmetic() -> None:
    machine = {"cpu": "a", "cores": 2, "memory_gib": 24, "system": "Linux", "python": "3.11"}
    stamp: Record = {"machine": machine, "commit": "abc", "at": "2026-01-01 00:00:00"}
    local = ticks_of("20x20000", {"300": 1.0, "3000": 2.0, "30000": 5.0}, target="local")
    one = ticks_of("20x20000", {"3000": 40.0, "30000": 60.0}, target="spark", cores=1)
    two = ticks_of("20x20000", {"3000": 30.0, "30000": 40.0}, target="spark", cores=2)
    page = render([], [stamp | each for each in (local, one, two)])
    # 30,000 lines in 5 s; 6,000 x 3,600 / 0.097 a day.
    assert "| 20 x 20,000 | 2.0 s | 6,000 | 223 million | 2.0 million | 2.0 GiB |" in page
    # p = 2 (60 - 40) = 40, s = 20: 24 s on ten cores, 20.4 on a hundred.
    assert "| 20 x 20,000 | 30,000 | 60.0 s | 40.0 s | 20.0 | 60.0 s | 24.0 s | 20.4 s |" in page
    assert "Nobody has measured this" in page

    wrong = stamp | local | {"differing_keys": {"ticks": 7}}
    page = render([], [wrong])
    assert "| 20 x 20,000 | 2.0 s |" not in page
    assert "WRONG: {'ticks': 7}" in page


def test_the_page_of_sizes_takes_the_figures_between_its_marks_and_nothing_else() -> None:
    page = SIZES.read_text()
    before, after = page.partition(BEGINS)[0], page.partition(ENDS)[2]
    local = ticks_of("20x20000", {"300": 1.0, "3000": 2.0, "30000": 5.0}, target="local")
    filled = into_page(page, [local])
    assert filled.startswith(before + BEGINS)
    assert filled.endswith(ENDS + after)
    assert "| 20 x 20,000 | 2.0 s | 6,000 | 223 million | 2.0 million | 2.0 GiB |" in filled
    assert into_page(filled, [local]) == filled
    assert NOTHING in into_page(filled, [])
    with pytest.raises(ValueError, match="no place"):
        into_page(before, [local])


def test_the_layouts_are_shown_and_a_wrong_one_is_named() -> None:
    taken = {"seconds": [1.0, 3.0, 2.0], "cpu_seconds": 4.0, "files_removed": 5}
    taken |= {"files_added": 5, "bytes_written": 6_000_000, "is_wrong": False}
    record = {
        "measure": "chain_layouts",
        "size": "20x20000",
        "keys": 400_000,
        "layouts": {
            "plain": {"few": taken, "all": taken},
            "stores": {"few": taken, "all": taken | {"is_wrong": True}},
        },
    }
    text = section([record])
    said = "2.0 s, 4.0 CPU-seconds, 5 files replaced, 6 MB written"
    assert f"| {LAYOUTS['plain'].title} | {said} | {said} |" in text
    assert f"| {LAYOUTS['stores'].title} | {said} | WRONG |" in text


def test_without_measurements_there_is_no_such_section() -> None:
    assert "## Many stores" not in render([])
