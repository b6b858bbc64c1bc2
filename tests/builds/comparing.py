"""The tables against the oracle: what differs, as sentences; nothing where they are equal.

Each gold table of the project is one entry of `GOLD`: its key, its columns (those of the oracle's
row) and what the oracle says of it. A table or a column that is not there is a difference.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from tests import oracle
from tests.oracle import Oracle

Row = dict[str, Any]

STORE_ITEM = ("store_id", "item_id")
COUNT = (*STORE_ITEM, "counted_at")
VERSION = (*COUNT, "figure_version")


@dataclass(frozen=True)
class Build:
    """One dbt invocation: when it ran, what it knew and which models it wrote."""

    started_at: datetime
    ended_at: datetime
    commits: Mapping[str, int]  # the latest of each feed
    wrote: frozenset[str]


@dataclass(frozen=True)
class History:
    """All builds of a lakehouse, and how many deliveries each of them knew."""

    builds: Sequence[Build]
    known: Sequence[int]

    @classmethod
    def of(cls, builds: Sequence[Build], deliveries: Sequence[oracle.Delivery]) -> History:
        known = []
        for build in builds:
            taken_in = [each.commit <= build.commits.get(each.feed, 0) for each in deliveries]
            known.append(sum(taken_in))
            assert all(taken_in[: known[-1]]), "deliveries are not in order of receipt"
        return cls(builds, known)

    def that_wrote(self, model: str) -> list[int]:
        """Places of the builds that ran a model to its end."""
        return [place for place, build in enumerate(self.builds) if model in build.wrote]

    def knowledge_of(self, model: str) -> list[int]:
        """What a model's builds knew, as the oracle wants it."""
        return [self.known[place] for place in self.that_wrote(model)]

    def started(self, place: int) -> datetime:
        """The start of the build in which a row could come to be at the latest.

        Where a build broke off between two models, the next one writes the second.
        """
        later = [each for each in self.that_wrote("inventory_restatements") if each >= place]
        return self.builds[min(later, default=place)].started_at

    def start_of(self, time: datetime) -> datetime | None:
        """The same, of the build that was running at a time.

        A time in whole seconds may be one that was cut off, and then lie just before its build; a
        build may also have ended in that second, so the later one is meant.
        """
        for place, build in reversed(list(enumerate(self.builds))):
            started_at = build.started_at
            if not time.microsecond:
                started_at = started_at.replace(microsecond=0)
            if started_at <= time <= build.ended_at:
                return self.started(place)
        return None


@dataclass(frozen=True)
class Table:
    """A gold table, and the oracle's word on it."""

    name: str
    key: tuple[str, ...]
    row: type
    expected: Callable[[Oracle, History], Mapping[Any, Any]]
    depends_on_builds: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        names = [each.name for each in fields(self.row)]
        if "quantity_by_type" in names:
            names.remove("quantity_by_type")
            names += [f"{change_type}_quantity" for change_type in oracle.CHANGE_TYPES.values()]
        return tuple("restated_at" if name == "build" else name for name in names)


FIGURES = "stock_count_figures"

GOLD = (
    Table("inventory_current", STORE_ITEM, oracle.Position, lambda judged, _: judged.inventory()),
    Table(
        "bopis_orders",
        ("trans_id", "item_id"),
        oracle.Order,
        lambda judged, _: judged.bopis_orders(),
    ),
    Table(
        "stock_count_variances", COUNT, oracle.Variance, lambda judged, _: judged.count_variances()
    ),
    Table(
        "inventory_ledger",
        (*STORE_ITEM, "occurred_at", "change_type", "trans_id"),
        oracle.LedgerEntry,
        lambda judged, _: judged.ledger(),
    ),
    Table("days_of_supply", STORE_ITEM, oracle.Supply, lambda judged, _: judged.days_of_supply()),
    Table(
        "phantom_stock_suspects",
        STORE_ITEM,
        oracle.Suspect,
        lambda judged, _: judged.phantom_stock_suspects(),
    ),
    Table("shrink_by_item", STORE_ITEM, oracle.Shrink, lambda judged, _: judged.shrink_by_item()),
    Table(
        FIGURES,
        VERSION,
        oracle.Variance,
        lambda judged, history: judged.stock_count_figures(history.knowledge_of(FIGURES)),
        depends_on_builds=True,
    ),
    Table(
        "inventory_restatements",
        VERSION,
        oracle.Restatement,
        lambda judged, history: judged.restatements(history.knowledge_of(FIGURES)),
        depends_on_builds=True,
    ),
    Table(
        "inventory_alerts",
        (*STORE_ITEM, "alert"),
        oracle.Alert,
        lambda judged, history: judged.alerts(history.knowledge_of("inventory_alerts")),
        depends_on_builds=True,
    ),
)


def is_of_builds(difference: str) -> bool:
    """Whether it is of a table that depends on the builds: what each of them knew and published.

    The oracle takes a build to have known all of bronze and the stores as they are now.
    """
    return difference.startswith(tuple(table.name for table in GOLD if table.depends_on_builds))


def gold_differences(
    table: Table, found: list[Row] | None, judged: Oracle, history: History
) -> list[str]:
    """Everything in which a gold table differs from the oracle."""
    if found is None:
        return [f"table gold.{table.name} is missing"]
    lacking = [name for name in (*table.key, *table.columns) if found and name not in found[0]]
    said = [f"table gold.{table.name} lacks {', '.join(lacking)}"] if lacking else []
    if set(lacking) & set(table.key):
        return said
    expected = {
        key: _as_columns(row, history, lacking)
        for key, row in table.expected(judged, history).items()
    }
    rows = gold_rows(table, found)
    for row in rows.values():
        if row.get("restated_at") is not None:
            row["restated_at"] = history.start_of(row["restated_at"]) or row["restated_at"]
    return said + differing(table.name, expected, rows)


def gold_rows(table: Table, found: list[Row] | None) -> dict[Any, Row]:
    """A gold table in its business columns, those that it has."""
    there = [name for name in table.columns if found and name in found[0]]
    return keyed(found or [], table.key, there)


def keyed(rows: Iterable[Row], key: Sequence[str], columns: Sequence[str]) -> dict[Any, Row]:
    """Rows by their key, which must be one."""
    return unique(
        (tuple(row[name] for name in key), {name: row[name] for name in columns}) for row in rows
    )


def unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    listed = list(pairs)
    repeated = [key for key, times in Counter(key for key, _ in listed).items() if times > 1]
    assert not repeated, f"keys with more than one row: {repeated[:5]}"
    return dict(listed)


def differing(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    """One sentence for each key; of rows only the columns that differ."""
    nothing = "nothing"
    sentences = []
    for key in {**expected, **found}:
        wanted, had = expected.get(key, nothing), found.get(key, nothing)
        if not same(wanted, had):
            if isinstance(wanted, dict) and isinstance(had, dict):
                names = [name for name in wanted if not same(wanted[name], had[name])]
                wanted, had = ({name: row[name] for name in names} for row in (wanted, had))
            sentences.append(f"{what} {key}: expected {wanted}, found {had}")
    return sentences


def same(expected: Any, found: Any) -> bool:
    """Equality, but for the last digits of a fraction."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            same(value, found[name]) for name, value in expected.items()
        )
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(expected, found, rel_tol=1e-9, abs_tol=1e-9)
    return bool(expected == found)


def _as_columns(row: Any, history: History, lacking: Sequence[str]) -> Row:
    columns = {each.name: getattr(row, each.name) for each in fields(row)}
    by_type = columns.pop("quantity_by_type", {})
    columns |= {f"{change_type}_quantity": units for change_type, units in by_type.items()}
    if "build" in columns:
        place = history.that_wrote(FIGURES)[columns.pop("build")]
        columns["restated_at"] = history.started(place)
    return {name: value for name, value in columns.items() if name not in lacking}
