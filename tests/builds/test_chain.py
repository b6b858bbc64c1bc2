"""Many stores by real builds: gold is the truth of each of them, in two builds as in one."""

from __future__ import annotations

import re
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from loaders import engine
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.playback import Month, play
from loaders.simulator import Chain, Config, write_chain
from loaders.simulator.chain import store_rows
from tests.builds.worlds import Station, World
from tests.worlds import ALL_FAULTS

STORES, ITEMS = 7, 50
CHAIN = Chain(
    Config(
        seed=11,
        items=ITEMS,
        days=4,
        lines=6_000,
        bopis_share=0.4,
        count_every_days=2,
        faults=ALL_FAULTS,
    ),
    STORES,
)
BETWEEN = datetime(2021, 1, 2, 15)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    folder = tmp_path_factory.mktemp("chain")
    write_chain(CHAIN, folder)
    return Month(folder)


def know_stores(world: World, *store_ids: int) -> None:
    """What the seed says of a chain whose `stores.csv` is in the project."""
    rows = [
        f"({row['store_id']}, '{row['store_name']}', '{row['channel']}')"
        for row in store_rows(CHAIN)
        if row["store_id"] in store_ids
    ]
    session = engine.connect(world.settings)
    session.sql(f"insert into silver.stores values {', '.join(rows)}").collect()


def assert_truth(world: World, month: Month, clock: datetime, keys: int) -> None:
    for compare in (compare_with_truth, compare_variances_with_truth):
        found = compare(world.settings.lakehouse, month.folder, clock)
        assert found.differences == 0, found.examples
        assert found.keys >= keys


def inventory(world: World) -> pa.Table:
    table = DeltaTable(str(world.settings.table("gold", "inventory_current")))
    return pa.table(table.to_pyarrow_table())


def test_gold_is_the_truth_of_every_store_whatever_the_builds(
    station: Station, month: Month
) -> None:
    at_once = station.world()
    know_stores(at_once, *range(2, STORES))  # the project's own seed has the first two
    play(month, at_once.settings.landing, speed=None)
    at_once.load_and_build()
    assert_truth(at_once, month, month.ends_at, STORES * ITEMS)
    whole = inventory(at_once)

    in_two = station.world()
    # Some of the opening counts are sent late; a store is known only after the first build, when
    # the roles of the others are too long to be kept in words.
    said: list[str] = []
    for stores, clock, keys in (
        (range(2, STORES - 1), BETWEEN, ITEMS),
        ([STORES - 1], month.ends_at, STORES * ITEMS),
    ):
        know_stores(in_two, *stores)
        play(month, in_two.settings.landing, speed=None, until=clock)
        in_two.load_and_build()
        assert_truth(in_two, month, clock, keys)
        roles = {row["_store_roles"] for row in in_two.rows("gold", "bopis_orders")}
        assert len(roles) == 1, "all orders are added up under the roles of now"
        said += roles
    in_words, hashed = said
    assert in_words.endswith("physical:4 physical:5")
    assert re.fullmatch("[0-9a-f]{64}", hashed)

    table = inventory(in_two)
    business = [name for name in table.column_names if not name.startswith("_")]
    order = [("store_id", "ascending"), ("item_id", "ascending")]
    assert table.select(business).sort_by(order) == whole.select(business).sort_by(order)
    assert set(table["store_id"].to_pylist()) == set(range(STORES))
    assert pc.all(table["is_known_store"]).as_py()
    committed = table.filter(pc.greater(table["committed_quantity"], 0))
    assert len(set(committed["store_id"].to_pylist())) >= 3
    assert in_two.check() == []
