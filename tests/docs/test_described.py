"""Everything is described, the grain first, and nothing twice. The tables themselves: test_site."""

from __future__ import annotations

import copy

import pytest

from tests.docs.manifest import (
    Manifest,
    described_twice,
    not_as_the_table,
    own_macros,
    tables,
    undescribed,
)


def test_everything_is_described(manifest: Manifest) -> None:
    assert undescribed(manifest) == []


def test_what_several_tables_share_is_described_once(manifest: Manifest) -> None:
    assert described_twice(manifest) == []


def test_the_grain_comes_first(manifest: Manifest) -> None:
    for node_id, node in tables(manifest):
        assert node["description"].startswith("One row per "), node_id


@pytest.mark.parametrize(
    ("kind", "node_id"),
    [
        ("nodes", "model.pos_lakehouse.inventory_current.v1"),
        ("sources", "source.pos_lakehouse.bronze.pos_items"),
        ("nodes", "seed.pos_lakehouse.stores"),
        ("nodes", "snapshot.pos_lakehouse.stock_counts_history"),
        ("nodes", "test.pos_lakehouse.assert_on_hand_adds_up"),
        ("exposures", "exposure.pos_lakehouse.inventory_page"),
        ("macros", "macro.pos_lakehouse.moves_stock"),
        ("macros", "macro.pos_lakehouse.test_unique_combination"),
    ],
)
def test_what_is_not_described_is_noticed(manifest: Manifest, kind: str, node_id: str) -> None:
    broken = copy.deepcopy(manifest[kind][node_id])
    broken["description"] = ""
    assert undescribed({**manifest, kind: {**manifest[kind], node_id: broken}}) == [node_id]


def test_a_column_or_argument_that_is_not_described_is_noticed(manifest: Manifest) -> None:
    model_id, macro_id = "model.pos_lakehouse.inventory_current.v1", "macro.pos_lakehouse.is_new"
    broken = copy.deepcopy(manifest)
    broken["nodes"][model_id]["columns"]["item_id"]["description"] = " "
    broken["macros"][macro_id]["arguments"].pop()
    assert undescribed(broken) == [f"{model_id}.item_id", f"{macro_id}(window)"]


def test_a_column_that_differs_from_the_table_is_noticed(manifest: Manifest) -> None:
    columns = {node_id: set(node["columns"]) for node_id, node in tables(manifest)}
    seed_id = "seed.pos_lakehouse.stores"
    assert not_as_the_table(manifest, columns) == []
    columns[seed_id] = {"store_id", "store_name", "opened_on"}
    assert not_as_the_table(manifest, columns) == [
        f"{seed_id}.opened_on: not described",
        f"{seed_id}.channel: no such column",
    ]


def test_the_project_has_what_is_looked_at(manifest: Manifest) -> None:
    """An empty manifest would be described in full."""
    assert len(list(tables(manifest))) >= 25
    assert len(list(own_macros(manifest))) >= 90
    assert len(manifest["exposures"]) >= 3
