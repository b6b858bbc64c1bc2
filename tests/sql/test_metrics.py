"""Semantic models and metrics: dbt takes them, and each says of the sample what the tables say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pytest

from loaders.schedule import CHANGES_BUILD, MARTS_BUILD, SHORT_BUILD
from loaders.sql.session import reader
from tests.sql.conftest import PROJECT, Sample

WANTED = {
    "units_on_hand",
    "units_sold",
    "stock_outs",
    "below_safety_stock_rate",
    "shrink_units",
    "count_variance_units",
    "open_bopis_units",
}


@dataclass(frozen=True)
class Parsed:
    """The project as dbt has parsed it, and where it wrote what it did."""

    manifest: Any
    options: tuple[str, ...]
    semantics: dict[str, Any]

    def selected_by(self, selector: str) -> list[str]:
        from dbt.cli.main import dbtRunner

        arguments = ["--quiet", "ls", "--selector", selector, *self.options]
        listed = dbtRunner(manifest=self.manifest).invoke(arguments)
        assert listed.success, listed.exception
        names: list[str] = listed.result
        return names


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    from dbt.cli.main import dbtRunner

    target = tmp_path_factory.mktemp("target")
    options = (
        *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")),
        *("--target", "local", "--target-path", str(target), "--log-path", str(target)),
    )
    done = dbtRunner().invoke(["--quiet", "parse", *options])
    assert done.success, done.exception
    semantics = json.loads((target / "semantic_manifest.json").read_text())
    return Parsed(done.result, options, semantics)


@pytest.fixture(scope="module")
def semantics(parsed: Parsed) -> dict[str, Any]:
    """What dbt has written of the semantic layer."""
    return parsed.semantics


def test_dbt_parse_has_the_models_the_metrics_and_the_time_spine(
    semantics: dict[str, Any],
) -> None:
    assert {metric["name"] for metric in semantics["metrics"]} >= WANTED
    for metric in semantics["metrics"]:
        assert metric["label"], metric["name"]
        assert metric["description"], metric["name"]
    (spine,) = semantics["project_configuration"]["time_spines"]
    assert spine["node_relation"]["alias"] == "time_spine_days"
    assert spine["primary_column"] == {"name": "day_on", "time_granularity": "day"}
    models = {model["node_relation"]["alias"] for model in semantics["semantic_models"]}
    assert models == {
        *("inventory_current", "inventory_ledger", "stock_count_variances", "bopis_orders")
    }


def total(column: str) -> Callable[[dict[str, Any]], int]:
    return lambda row: row[column] or 0


def sold(row: dict[str, Any]) -> int:
    return -row["quantity"] if row["change_type"] in ("sale", "bopis") else 0


def shrunk(row: dict[str, Any]) -> int:
    return (row["recorded_shrink_quantity"] or 0) + (row["found_shrink_quantity"] or 0)


def variance(row: dict[str, Any]) -> int:
    return 0 if row["previous_counted_at"] is None else row["variance_quantity"]


EXPECTED: dict[str, tuple[str, Callable[[dict[str, Any]], int]]] = {
    "units_on_hand": ("inventory_current", total("on_hand_quantity")),
    "positions": ("inventory_current", lambda _: 1),
    "stock_out_positions": ("inventory_current", lambda row: row["on_hand_quantity"] <= 0),
    "below_safety_stock_positions": ("inventory_current", total("is_below_safety_stock")),
    "units_sold": ("inventory_ledger", sold),
    "count_variance_units": ("stock_count_variances", variance),
    "shrink_units": ("stock_count_variances", shrunk),
    "units_sold_between_counts": ("stock_count_variances", total("sold_quantity")),
    "open_bopis_units": ("bopis_orders", total("open_quantity")),
}


@pytest.mark.pages
def test_every_measure_and_dimension_says_what_the_tables_say(
    sample: Sample, semantics: dict[str, Any]
) -> None:
    measured: dict[str, tuple[str, int]] = {}
    with reader(sample.settings) as tables:
        for model in semantics["semantic_models"]:
            name = model["node_relation"]["alias"]
            columns = [*model["entities"], *model["dimensions"]]
            expressions = [column["expr"] or column["name"] for column in columns]
            found = tables.query(f"select {', '.join(expressions)} from gold.{name}")
            primary = [entity["type"] for entity in model["entities"]].index("primary")
            keys = found.column(primary)
            assert pc.count_distinct(keys).as_py() == found.num_rows > 0, "a row has a key"
            for measure in model["measures"]:
                query = f"select {measure['agg']}({measure['expr']}) from gold.{name}"
                value = tables.query(query).column(0)[0].as_py()
                measured[measure["name"]] = (name, value)
    expected = {
        measure: (name, sum(map(of_row, sample.table(name).to_pylist())))
        for measure, (name, of_row) in EXPECTED.items()
    }
    assert measured == expected
    assert all(value for _, value in measured.values()), "zeros prove nothing"


@pytest.mark.pages
def test_the_time_spine_has_every_day_of_the_sample(sample: Sample) -> None:
    days = sample.table("time_spine_days")["day_on"].to_pylist()
    assert len(days) == len(set(days)) == (max(days) - min(days)).days + 1
    assert set(sample.table("inventory_ledger")["occurred_on"].to_pylist()) <= set(days)


def test_no_schedule_but_the_full_build_makes_the_time_spine(parsed: Parsed) -> None:
    for *_, selector in (SHORT_BUILD, CHANGES_BUILD, MARTS_BUILD):
        selected = parsed.selected_by(selector)
        assert any("inventory_" in name for name in selected)
        assert not any("time_spine" in name for name in selected)
    assert any("time_spine_days" in name for name in parsed.selected_by("full_tests"))
