"""A chain of stores: each the same whoever makes it beside what, and the truth beside them all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from loaders.cli import pos
from loaders.errors import UserError
from loaders.landing import scan
from loaders.playback import Month, play
from loaders.simulator import Chain, Config, simulate, write_chain, write_month, writing
from loaders.simulator.chain import shared_by_stores, simulate_store
from loaders.simulator.config import BOPIS, DAY_S, pos_name
from loaders.simulator.writing import write_store
from loaders.truth import expected_commitments, expected_on_hand
from tests.loaders.received import Received
from tests.worlds import ALL_FAULTS

STORES = 7
CONFIG = Config(
    items=50, days=6, lines=12_000, bopis_share=0.4, count_every_days=3, faults=ALL_FAULTS
)
CHAIN = Chain(CONFIG, STORES)
START = datetime(2021, 1, 1)
CLOCKS = [START + timedelta(days=days) for days in (-1, 0, 0.6, 3, 4.2, 12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain, a store after the other, in row groups so small that a slot takes several."""
    found = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "MESSAGES_AT_ONCE", 20)
        write_chain(CHAIN, found)
    return found


def digests(folder: Path, under: str = "**") -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(f"{under}/*"))
        if path.is_file()
    }


def bodies(folder: Path) -> Counter[str]:
    return Counter(
        body
        for path in folder.glob("*/changes.parquet")
        for body in pq.read_table(path)["body"].to_pylist()
    )


def test_two_processes_make_the_same_files_as_one(tmp_path: Path) -> None:
    for name, jobs in (("one", 1), ("two", 2)):
        write_chain(CHAIN, tmp_path / name, jobs)
    one = digests(tmp_path / "one")
    assert one == digests(tmp_path / "two")
    assert {f"{pos_name(store)}/changes.parquet" for store in range(STORES)} <= set(one)


def test_a_store_that_is_made_alone_is_the_one_of_the_whole(tmp_path: Path) -> None:
    write_chain(CHAIN, tmp_path / "whole")
    for store_id in (5, 0, 3):  # neither from the first on nor all of them
        shared_by_stores.cache_clear()
        write_store(CHAIN, tmp_path / "part", store_id)
    part, whole = digests(tmp_path / "part"), digests(tmp_path / "whole")
    assert len(part) > 15
    assert part == {name: whole[name] for name in part}


def test_another_seed_makes_another_chain() -> None:
    other = Chain(replace(CONFIG, seed=2), STORES)
    for store_id in (0, 4):
        one, two = simulate_store(CHAIN, store_id), simulate_store(other, store_id)
        assert one.transmissions.bodies != two.transmissions.bodies
    # Nor do two stores of one chain say the same.
    first, second = simulate_store(CHAIN, 1), simulate_store(CHAIN, 2)
    assert not set(first.ledger.trans_id.tolist()) & set(second.ledger.trans_id.tolist())
    assert (first.physical != second.physical).any()


@pytest.mark.parametrize("clock", CLOCKS, ids=str)
def test_the_truth_is_what_the_messages_of_all_stores_say(folder: Path, clock: datetime) -> None:
    assert expected_on_hand(folder, clock).to_pylist() == Received(folder, clock).on_hand()


def test_open_orders_commit_units_of_the_store_that_they_name(folder: Path) -> None:
    clock = START + timedelta(days=4.2)
    received = Received(folder, clock)
    rest: dict[tuple[str, int], int] = Counter()
    for (store, trans_id, kind, item, _), (quantity, _, _) in received.kept.items():
        if kind == BOPIS:
            rest[trans_id, item] += -quantity if store == 0 else quantity
    expected: Counter[tuple[int, int]] = Counter()
    for (trans_id, item), units in rest.items():
        store = received.targets[trans_id]
        assert store in range(1, STORES), "in a chain each order names its store"
        expected[store, item] += max(units, 0)
    found = {
        (row["store_id"], row["item_id"]): row["committed_quantity"]
        for row in expected_commitments(folder, clock).to_pylist()
    }
    assert +Counter(found) == +expected
    assert len({store for store, _ in found}) == STORES - 1


def test_pickups_are_of_orders_for_that_store() -> None:
    orders = simulate_store(CHAIN, 0).ledger
    asked = orders.change_type_id == BOPIS
    named = dict(
        zip(
            orders.trans_id[asked].tolist(),
            orders.fulfillment_store_id[asked].tolist(),
            strict=True,
        )
    )
    seen = 0
    for store_id in range(1, STORES):
        ledger = simulate_store(CHAIN, store_id).ledger
        fetched = ledger.trans_id[ledger.change_type_id == BOPIS].tolist()
        assert {named[trans_id] for trans_id in fetched} == {store_id}
        assert set(ledger.store_id.tolist()) == {store_id}
        seen += len(fetched)
    assert 0 < seen < len(named)


def test_the_lines_wanted_are_those_of_all_stores_together(tmp_path: Path) -> None:
    config = Config(items=300, days=4, lines=60_000)
    write_chain(Chain(config, 12), tmp_path)
    found = json.loads((tmp_path / "month.json").read_text())
    assert found["kept_lines"] == pytest.approx(60_000, rel=0.05)
    assert found["kept_lines"] == found["lines"] == sum(found["kept_lines_by_change_type"].values())
    assert found["count_rows"] == 12 * 300
    files = [pq.read_table(path) for path in tmp_path.glob("*/changes.parquet")]
    assert found["messages"] == sum(file.num_rows for file in files)
    sizes = [sum(file["lines"].to_pylist()) for file in files]
    assert sum(sizes) == found["lines"]
    assert max(sizes) > 1.3 * min(sizes), "stores are not of one size"


def test_nothing_is_sold_that_is_not_there() -> None:
    for store_id in (0, 2):
        month = simulate_store(CHAIN, store_id)
        assert (month.physical >= 0).all()
        for count in month.counts:
            assert count.store_id == store_id
            assert count.counted_s % DAY_S == 10 * store_id, "each store at a time of its own"
            assert (np.asarray(count.quantity) >= 0).all()


def test_playing_it_in_hours_sends_each_message_once(folder: Path, tmp_path: Path) -> None:
    month = Month(folder)
    assert pq.ParquetFile(folder / "store_003" / "changes.parquet").num_row_groups > 5
    play(month, tmp_path, speed=None, until=START + timedelta(days=2.3))
    play(Month(folder), tmp_path, speed=None)
    found, _ = scan(tmp_path)
    landed: Counter[str] = Counter()
    for file in found["pos_messages"]:
        landed.update((tmp_path / file.path).read_text().splitlines())
    assert landed == bodies(folder)
    assert len(found["pos_count_rows"]) == month.description["count_files"]


def test_a_chain_leaves_nothing_of_a_larger_one_nor_a_month_of_a_chain(tmp_path: Path) -> None:
    small = Chain(replace(CONFIG, days=2), 4)
    write_chain(CHAIN, tmp_path / "again")
    for name in ("again", "fresh"):
        write_chain(small, tmp_path / name)
    assert digests(tmp_path / "again") == digests(tmp_path / "fresh")
    month = simulate(replace(CONFIG, days=2))
    for name in ("again", "alone"):
        write_month(month, tmp_path / name)
    assert digests(tmp_path / "again") == digests(tmp_path / "alone")


def test_the_seed_that_comes_with_it_names_every_store(folder: Path) -> None:
    project = Path(__file__).resolve().parents[2]
    rows = (folder / "stores.csv").read_text().splitlines()
    assert rows[:3] == (project / "seeds" / "stores.csv").read_text().splitlines()
    assert rows[-1] == "6,store_006,physical"
    assert len(rows) == 1 + STORES


@pytest.mark.parametrize("stores", [-1, 0, 1, 1001])
def test_a_chain_of_too_few_or_too_many_stores_is_refused(stores: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a chain has 3 to 1,000 stores"):
        Chain(CONFIG, stores)
    arguments = ["simulate", "--out", str(tmp_path / "none"), "--stores", str(stores)]
    result = CliRunner().invoke(pos, arguments)
    assert isinstance(result.exception, UserError)
    assert not (tmp_path / "none").exists()
