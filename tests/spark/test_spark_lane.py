"""The same month on Spark and the embedded engine: same tables; each goes on with the other's.

One module-wide run, because a cold JVM costs more than all builds of the embedded engine together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from loaders import catalog, spark, truth
from loaders.config import Settings
from loaders.warehouse import BuildReport
from tests import worlds
from tests.worlds import ResidentDbt

pytestmark = pytest.mark.spark

TABLES_ONLY = ("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test")
HISTORY = (
    "silver.stg_pos__inventory_changes",
    "silver.stock_counts_history",
    "gold.inventory_current",
)


@dataclass
class Lanes:
    """Four lakehouses that took in the same two parts of a month, and who built which part.

    local, spark: one engine did all. local_then_spark, spark_then_local: the last part was built by
    the other engine on a copy of what the first had made.
    """

    month: Path
    clock: datetime
    local: Settings
    spark: Settings
    local_then_spark: Settings
    spark_then_local: Settings
    spark_dbt: ResidentDbt
    reports: dict[str, BuildReport] = field(default_factory=dict)


@pytest.fixture(scope="module")
def lanes(spark_dbt: ResidentDbt, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lanes]:
    folder = tmp_path_factory.mktemp("lanes")
    month = worlds.small_month(folder / "month")
    ends = worlds.part_ends(month, 2)

    def lakehouse(name: str, target: str) -> Settings:
        return Settings(folder / "landing", folder / name, worlds.free_port(), target)

    with ResidentDbt() as local_dbt:
        made = Lanes(
            month,
            ends[-1],
            lakehouse("local", "local"),
            lakehouse("spark", "spark"),
            lakehouse("local_then_spark", "spark"),
            lakehouse("spark_then_local", "local"),
            spark_dbt,
        )
        engines = {"local": local_dbt, "spark": spark_dbt}
        begun = [made.local, made.spark]
        crossed = [made.spark_then_local, made.local_then_spark]
        after = worlds.BEGINNING
        for end in ends:
            if end == ends[-1]:
                worlds.copy_lakehouse(made.local, made.local_then_spark)
                worlds.copy_lakehouse(made.spark, made.spark_then_local)
            worlds.publish_part(month, folder / "landing", after, end)
            for settings in begun if end != ends[-1] else [*crossed, *begun]:
                worlds.load(settings)
                report = engines[settings.target].build(settings, *TABLES_ONLY)
                made.reports[f"{settings.lakehouse.name} {end}"] = report
            after = end
        yield made


def forget_by_drop(settings: Settings, table: str) -> None:
    """The catalogue knows all tables but one."""
    session = spark.session(settings)
    catalog.register(session, settings.lakehouse)
    session.sql(f"drop table {table}")


def break_listing(settings: Settings, _table: str) -> None:
    """The catalogue fails when asked what tables there are; dbt-spark takes that for none."""
    from dbt.adapters.spark.impl import SparkAdapter
    from dbt_common.exceptions import DbtRuntimeError

    catalog.register(spark.session(settings), settings.lakehouse)
    ask = SparkAdapter.execute_macro

    def fail(self, macro_name, *arguments, **named):
        if "list_relations" in macro_name:
            raise DbtRuntimeError("the catalogue does not answer")
        return ask(self, macro_name, *arguments, **named)

    SparkAdapter.execute_macro = fail


def mend_listing(settings: Settings) -> None:
    """Undo either: the next build starts with an empty catalogue that answers."""
    from dbt.adapters.spark.impl import SparkAdapter

    if "execute_macro" in vars(SparkAdapter):
        del SparkAdapter.execute_macro
    worlds.forget_tables(settings)


def rows_and_version(settings: Settings, name: str) -> tuple[int, list[str]]:
    table = worlds.open_table(settings, name)
    return table.version(), worlds.business_rows(table)


def assert_same_tables(one: Settings, other: Settings) -> None:
    names = worlds.table_names(one, "silver", "gold")
    assert names == worlds.table_names(other, "silver", "gold")
    for name in names:
        table, same = worlds.open_table(one, name), worlds.open_table(other, name)
        assert worlds.business_columns(table) == worlds.business_columns(same), name
        assert worlds.business_rows(table) == worlds.business_rows(same), name


def test_spark_makes_the_same_tables_as_the_embedded_engine(lanes):
    assert_same_tables(lanes.local, lanes.spark)


def test_each_engine_goes_on_with_the_tables_of_the_other(lanes):
    assert_same_tables(lanes.local, lanes.spark_then_local)
    assert_same_tables(lanes.local, lanes.local_then_spark)


@pytest.mark.parametrize("lane", ["local", "spark", "local_then_spark", "spark_then_local"])
def test_gold_is_what_the_simulator_knows_to_be_true(lanes, lane):
    expected = truth.expected_on_hand(lanes.month, lanes.clock)
    gold = worlds.open_table(getattr(lanes, lane), "gold.inventory_current").to_pyarrow_table()
    found = gold.select(expected.column_names).cast(expected.schema).to_pylist()
    by_key = {(row["store_id"], row["item_id"]): row for row in found}
    assert len(by_key) == len(found)
    for row in expected.to_pylist():
        assert by_key.pop((row["store_id"], row["item_id"])) == row
    # What is left was only ever ordered online, which moves nothing.
    assert {(row["on_hand_quantity"], row["is_counted"]) for row in by_key.values()} <= {(0, False)}


def test_spark_passes_the_invariants(lanes):
    report = lanes.spark_dbt.call(
        lanes.spark, worlds.invoke, "test", "--select", "test_type:singular"
    )
    assert report.failures == []
    assert len(report.node_seconds) > 1


@pytest.mark.parametrize("table", HISTORY)
@pytest.mark.parametrize(
    ("forget", "error"),
    [
        (forget_by_drop, "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION"),
        (break_listing, "TABLE_OR_VIEW_ALREADY_EXISTS"),
    ],
)
def test_a_forgotten_table_keeps_its_rows(lanes, forget, error, table):
    before = rows_and_version(lanes.spark, table)
    select = ("--select", table.split(".")[1])
    lanes.spark_dbt.call(lanes.spark, forget, table)
    try:
        report = lanes.spark_dbt.call(lanes.spark, worlds.invoke, "build", *select, *TABLES_ONLY)
    finally:
        lanes.spark_dbt.call(lanes.spark, mend_listing)
    assert not report.succeeded
    (failure,) = report.failures
    assert error in failure
    assert rows_and_version(lanes.spark, table) == before


def test_after_that_a_new_session_builds_again(lanes):
    report = lanes.spark_dbt.build(lanes.spark, *TABLES_ONLY)
    assert report.succeeded
    assert_same_tables(lanes.local, lanes.spark)
