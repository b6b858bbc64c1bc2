"""The comparison itself: a table that is right says nothing, one that is wrong says where."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests import oracle
from tests.builds.comparing import (
    FIGURES,
    GOLD,
    Build,
    History,
    Table,
    gold_differences,
    gold_rows,
)
from tests.told import SALE, at, changes, count, items, order, pickup, sale, told

FIRST_BUILD = datetime(2022, 1, 2, 12, 0, 0, 500_000)
EVERYTHING = frozenset(table.name for table in GOLD)
BY_NAME = {table.name: table for table in GOLD}

FILES = (
    items(5),
    count(("08:00:00", 9), ("20:00:00", 5)),
    changes(*((f"1{hour}:00:00", SALE, -1) for hour in range(5))),
    order("09:00:00", 2),
    pickup("09:30:00", 1),
    count(("08:00:00", 8)),
    sale("2021-01-05 10:00:00", 9, item=2),
)
BUILDS = (3, 5, 7)


def history(*wrote: frozenset[str]) -> History:
    builds = []
    for place, written in enumerate(wrote or [EVERYTHING] * len(BUILDS)):
        started_at = FIRST_BUILD + timedelta(seconds=10 * place)
        builds.append(Build(started_at, started_at + timedelta(seconds=5), {}, written))
    return History(builds, BUILDS)


@pytest.fixture
def judged() -> oracle.Oracle:
    return told(*FILES)


def rows_of(table: Table, judged: oracle.Oracle, builds: History) -> list[dict[str, Any]]:
    """The table as it ought to be on disk, with a column more and another order of rows."""
    rows = []
    for key, row in table.expected(judged, builds).items():
        columns = {each.name: getattr(row, each.name) for each in fields(row)}
        for kind, units in columns.pop("quantity_by_type", {}).items():
            columns[f"{kind}_quantity"] = units
        if "build" in columns:
            build = builds.builds[columns.pop("build")]
            columns["restated_at"] = build.started_at + timedelta(seconds=1)
        rows.append({**dict(zip(table.key, key, strict=True)), **columns, "_cursor": 7})
    return rows[::-1]


@pytest.mark.parametrize("table", GOLD, ids=lambda table: table.name)
def test_a_table_is_compared_row_by_row_and_column_by_column(
    table: Table, judged: oracle.Oracle
) -> None:
    rows = rows_of(table, judged, history())
    assert rows, "a case without rows proves little"
    assert gold_differences(table, rows, judged, history()) == []

    assert gold_differences(table, None, judged, history()) == [
        f"table gold.{table.name} is missing"
    ]
    (said,) = gold_differences(table, rows[1:], judged, history())
    assert "found nothing" in said
    for name in table.columns:
        wrong = [{**rows[0], name: "wrong"}, *rows[1:]]
        if name == "restated_at":
            wrong[0][name] = FIRST_BUILD - timedelta(days=1)
        (said,) = gold_differences(table, wrong, judged, history())
        assert f"expected {{'{name}'" in said, said
        without = [{each: row[each] for each in row if each != name} for row in rows]
        (said,) = gold_differences(table, without, judged, history())
        assert said == f"table gold.{table.name} lacks {name}"
    with pytest.raises(AssertionError, match="more than one row"):
        gold_rows(table, rows + rows[:1])


def test_fractions_may_differ_in_their_last_digits(judged: oracle.Oracle) -> None:
    table = BY_NAME["days_of_supply"]
    rows = rows_of(table, judged, history())
    rows[0]["observed_days"] += 1e-12
    assert gold_differences(table, rows, judged, history()) == []
    rows[0]["observed_days"] += 1e-3
    assert len(gold_differences(table, rows, judged, history())) == 1


def test_a_build_that_broke_off_may_leave_the_restatements_to_the_next(
    judged: oracle.Oracle,
) -> None:
    table = BY_NAME["inventory_restatements"]
    broken = history(EVERYTHING, EVERYTHING - {table.name}, EVERYTHING)
    expected = table.expected(judged, broken)
    assert {row.build for row in expected.values()} == {1, 2}
    rows = rows_of(table, judged, broken)
    assert gold_differences(table, rows, judged, broken) == []
    late = [{**row, "restated_at": broken.builds[2].started_at} for row in rows]
    assert gold_differences(table, late, judged, broken) == []
    assert gold_differences(table, late, judged, history()) != []


def test_only_builds_that_wrote_a_table_count_for_it(judged: oracle.Oracle) -> None:
    table = BY_NAME[FIGURES]
    partly = history(EVERYTHING, frozenset({"inventory_current"}), EVERYTHING)
    assert partly.knowledge_of(FIGURES) == [3, 7]
    rows = rows_of(table, judged, partly)
    assert gold_differences(table, rows, judged, partly) == []
    assert gold_differences(table, rows, judged, history()) != []


def test_a_start_in_whole_seconds_is_the_builds_own() -> None:
    found = history()
    whole = FIRST_BUILD.replace(microsecond=0)
    assert found.start_of(whole) == FIRST_BUILD
    assert found.start_of(whole + timedelta(seconds=1)) == FIRST_BUILD, "dbt begins a little later"
    assert found.start_of(whole + timedelta(seconds=10)) == FIRST_BUILD + timedelta(seconds=10)
    assert found.start_of(FIRST_BUILD + timedelta(seconds=7)) is None


def test_what_a_build_knew_is_told_by_the_loaders_numbers() -> None:
    deliveries = [
        oracle.Delivery(feed, "", b"", at(f"10:00:0{place}"), at("09:00:00"), commit)
        for place, (feed, commit) in enumerate(
            [(oracle.ITEMS, 1), (oracle.MESSAGES, 1), (oracle.MESSAGES, 2), (oracle.COUNTS, 1)]
        )
    ]
    builds = [
        Build(FIRST_BUILD, FIRST_BUILD, commits, EVERYTHING)
        for commits in (
            {},
            {oracle.ITEMS: 1, oracle.MESSAGES: 1},
            {oracle.ITEMS: 1, oracle.MESSAGES: 2},
        )
    ]
    assert History.of(builds, deliveries).known == [0, 2, 3]
