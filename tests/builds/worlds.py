"""Scratch lakehouses for tests: land files, load, build on the embedded engine, read the tables.

`differences` holds all tables against the oracle (`comparing.py`).

One engine and one resident dbt serve a whole pytest process, because parsing costs seconds. A world
is a fresh landing folder and a fresh lakehouse that the engine is pointed at; the one before is
forgotten: only the newest world can be built, the others can be read. `tests/worlds.py` is for
tests that set engines side by side.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

from loaders import engine
from loaders.catalog import SCHEMAS, register
from loaders.config import Settings
from loaders.landing import FEEDS, publish
from loaders.load import Loader, LoadReport, create_bronze
from loaders.warehouse import BuildReport, Warehouse
from tests import oracle
from tests.builds.comparing import (
    GOLD,
    Build,
    History,
    Row,
    differing,
    gold_differences,
    gold_rows,
    keyed,
    unique,
)
from tests.files import csv_text
from tests.worlds import ResidentDbt, free_port, invoke

if TYPE_CHECKING:
    from tests.builds.random_worlds import Landing

# All models, the marts too, but for the days, which are the same in each world; seeds, snapshots
# and tests are left to `World.check`.
INCREMENTAL = ("run", "--exclude", "time_spine_days")
EVERYTHING = ("build", "--exclude-resource-type", "unit_test")

SILVER_AND_GOLD = {
    "silver": (
        "int_pos__loads_reconciled",
        "stg_pos__inventory_changes",
        "stg_pos__items",
        "stg_pos__quarantine",
        "stg_pos__stock_counts",
    ),
    "gold": tuple(table.name for table in GOLD),
}

REPLACED = ("days_of_supply", "phantom_stock_suspects", "shrink_by_item")

RECEIPT = ("ingest_id", "ingest_line", "source_file", "source_line", "received_at")
RECEIPT_SINCE_RE_DRIVES = ("landed_at", "redrive_of_ingest_id", "redrive_of_ingest_line")

FIRST_INSTANT_NS = 1_600_000_000_000_000_000  # of the landed files: order is what matters


class Station:
    """The engine and the resident dbt of one pytest process. Close it: the engine is a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worlds = 0
        self._environment = dict(os.environ)
        self.settings = Settings(folder / "landing", folder / "station", free_port())
        engine.up(self.settings)
        self.current: World | None = None
        try:
            self.warehouse = RecordingWarehouse(self, Warehouse(self.settings).invoke)
            report = self.warehouse.invoke("seed")
            assert report.succeeded, report.failures
        except BaseException:
            engine.down(self.settings)
            raise

    def world(self) -> World:
        """A world with nothing in it but the seeds."""
        self._worlds += 1
        folder = self._folder / f"world_{self._worlds:03d}"
        settings = replace(
            self.settings, landing=folder / "landing", lakehouse=folder / "lakehouse"
        )
        settings.landing.mkdir(parents=True)
        for seed in ("stores", "inventory_change_types"):
            shutil.copytree(self.settings.table("silver", seed), settings.table("silver", seed))
        self.point_engine_at(settings)
        self.current = World(settings, self)
        return self.current

    @contextmanager
    def project(self, folder: Path) -> Iterator[None]:
        """Build by a copy of the project for a while; begin a world after that."""
        own = self.warehouse
        settings = replace(self.settings, project=folder, lakehouse=folder / "lakehouse")
        self.warehouse = RecordingWarehouse(self, Warehouse(settings).invoke)
        try:
            yield
        finally:
            self.warehouse = own

    def point_engine_at(self, settings: Settings) -> None:
        """Make the engine's catalogue and dbt's environment those of another lakehouse."""
        settings.state.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.settings.state / "engine.json", settings.state / "engine.json")
        os.environ.update(settings.environment())
        create_bronze(settings)
        session = engine.connect(settings)
        forget_tables(session)
        register(session, settings.lakehouse)

    def close(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        engine.down(self.settings)


class RecordingWarehouse:
    """A resident dbt that enters each of its builds in the books of the newest world.

    Whoever built it: what was published when decides what is a restatement.
    """

    def __init__(self, station: Station, invoke: Callable[..., BuildReport]) -> None:
        self._station = station
        self._invoke = invoke

    def invoke(self, *arguments: str) -> BuildReport:
        world = self._station.current
        commits = world.latest_commits() if world else {}
        started_at = datetime.now(UTC).replace(tzinfo=None)
        report = self._invoke(*arguments)
        ended_at = datetime.now(UTC).replace(tzinfo=None)
        if world:
            failed = {failure.partition(":")[0] for failure in report.failures}
            ran = {name for name, seconds in report.node_seconds.items() if seconds > 0}
            build = Build(started_at, ended_at, commits, frozenset(ran - failed))
            world.builds.append(build)
        return report


class SparkStation(Station):
    """The same on Apache Spark: dbt and its JVM in a child process that stays."""

    def __init__(self, folder: Path, dbt: ResidentDbt) -> None:
        self._folder = folder
        self._worlds = 0
        self._dbt = dbt
        self.current = None
        self.settings = Settings(folder / "landing", folder / "station", free_port(), "spark")
        create_bronze(self.settings)
        self.warehouse = RecordingWarehouse(self, self._invoke)
        report = self.warehouse.invoke("seed")
        assert report.succeeded, report.failures

    def _invoke(self, *arguments: str) -> BuildReport:
        settings = self.current.settings if self.current else self.settings
        return self._dbt.call(settings, invoke, *arguments)

    def point_engine_at(self, settings: Settings) -> None:
        """Spark is told of the tables at the start of each build."""
        create_bronze(settings)

    def close(self) -> None:
        """The child is whoever started it's to stop."""


def forget_tables(session: Any) -> None:
    """Empty the engine's catalogue; the files stay."""
    for schema in SCHEMAS:
        for row in session.sql(f"show tables in {schema}").collect():
            if row[0] == schema:
                session.sql(f"drop table {schema}.{row[1]}").collect()


@dataclass
class World:
    """One landing folder and one lakehouse, and what has been landed there."""

    settings: Settings
    station: Station
    _clock_ns: int = FIRST_INSTANT_NS
    landed: list[str] = field(default_factory=list)
    builds: list[Build] = field(default_factory=list)
    _contents: dict[tuple[str, int], bytes] = field(default_factory=dict)

    # Landing.

    def land(self, path: str, data: bytes | str) -> None:
        """Put a file down, a second after the one before; one of that path is replaced."""
        self._clock_ns += 1_000_000_000
        target = self.settings.landing / path
        content = data.encode() if isinstance(data, str) else data
        publish(target, content)
        os.utime(target, ns=(self._clock_ns, self._clock_ns))
        self._contents[path, self._clock_ns] = content
        self.landed.append(path)

    def land_all(self, landings: Iterable[Landing]) -> None:
        """Put files down; before one takes an earlier one's place, that one is loaded."""
        for landing in landings:
            if landing.path in self.landed:
                self.load()
            self.land(landing.path, landing.data)

    def land_messages(self, *messages: Mapping[str, Any] | str, pos: str = "store_001") -> str:
        """A file of messages: dicts, or lines as they are."""
        lines = [line if isinstance(line, str) else json.dumps(line) for line in messages]
        path = f"{pos}/changes/{len(self.landed) + 1:06d}.json"
        self.land(path, "".join(f"{line}\n" for line in lines))
        return path

    def land_counts(self, *rows: Sequence[object], pos: str = "store_001") -> str:
        """A count file of rows (item_id, employee_id, store_id, date_time, quantity)."""
        path = f"{pos}/counts/{len(self.landed) + 1:06d}.csv"
        self.land(path, csv_text(oracle.COUNT_FIELDS, rows))
        return path

    def land_items(self, *rows: Sequence[object]) -> str:
        """A reference file of rows (item_id, name, supplier_id, safety_stock_quantity)."""
        path = f"reference/items_{len(self.landed) + 1:06d}.csv"
        self.land(path, csv_text(oracle.ITEM_FIELDS, rows))
        return path

    def know_change_types(self, *ids: int) -> None:
        """Make the table of change types that of another seed; `check` puts the project's back."""
        seed = DeltaTable(str(self.station.settings.table("silver", "inventory_change_types")))
        rows = seed.to_pyarrow_table()
        known = rows.filter([number.as_py() in ids for number in rows["change_type_id"]])
        path = self.settings.table("silver", "inventory_change_types")
        write_deltalake(str(path), known, mode="overwrite")

    # Loading and building.

    def load(self) -> LoadReport:
        with Loader(self.settings) as loader:
            return loader.load()

    def build(self, *more: str) -> BuildReport:
        """Build the incremental tables; the report says how it went."""
        return self.station.warehouse.invoke(*INCREMENTAL, *more)

    def load_and_build(self) -> None:
        self.load()
        report = self.build()
        assert report.succeeded, report.failures

    def check(self) -> list[str]:
        """Build everything, seeds, snapshots and data tests included; returns what failed."""
        return self.station.warehouse.invoke(*EVERYTHING).failures

    # Reading.

    def rows(self, schema: str, name: str) -> list[dict[str, Any]]:
        """A table as any Delta reader sees it; times UTC without a zone."""
        return _records(DeltaTable(str(self.settings.table(schema, name))).to_pyarrow_table())

    def on_hand(self, store_id: int = 1, item_id: int = 100001) -> int:
        return int(self.position(store_id, item_id)["on_hand_quantity"])

    def position(self, store_id: int = 1, item_id: int = 100001) -> dict[str, Any]:
        """The one row of a key."""
        (row,) = [
            row
            for row in self.rows("gold", "inventory_current")
            if (row["store_id"], row["item_id"]) == (store_id, item_id)
        ]
        return row

    def quarantine(self) -> Counter[tuple[str, str, int, str]]:
        return Counter(
            (row["source"], row["_source_file"], row["_source_line"], row["reason"])
            for row in self.rows("silver", "stg_pos__quarantine")
        )

    def rows_if_there(self, schema: str, name: str) -> list[Row] | None:
        """A table's rows; None where there is no such table."""
        is_there = DeltaTable.is_deltatable(str(self.settings.table(schema, name)))
        return self.rows(schema, name) if is_there else None

    def versions(self) -> dict[str, int]:
        """The Delta version of every silver and gold table that is there, but for those marts that
        any build replaces; the schedule does not build them without news."""
        paths = {
            f"{schema}.{name}": str(self.settings.table(schema, name))
            for schema, names in SILVER_AND_GOLD.items()
            for name in names
            if name not in REPLACED
        }
        return {
            name: DeltaTable(path).version()
            for name, path in paths.items()
            if DeltaTable.is_deltatable(path)
        }

    def latest_commits(self) -> dict[str, int]:
        """The loader's latest number of each feed."""
        latest = {}
        for feed in FEEDS:
            numbers = self._bronze(feed, "ingest_id")["ingest_id"]
            latest[feed] = pc.max(numbers).as_py() or 0
        return latest

    def deliveries(self) -> list[oracle.Delivery]:
        """What was landed, in the order and with the times of the loader's own commits.

        Bronze says only which file or line came when: contents are those that were landed.
        """
        found = [delivery for feed in FEEDS for delivery in self._deliveries(feed)]
        return sorted(found, key=lambda each: each.received_at)

    def _deliveries(self, feed: str) -> list[oracle.Delivery]:
        table = self._bronze(feed, *RECEIPT, *RECEIPT_SINCE_RE_DRIVES)
        by_place = {(row["ingest_id"], row["ingest_line"]): row for row in _records(table)}

        def origin(row: Row) -> tuple[int, str, int]:
            """Commit, file and line of a row as it first landed."""
            while row.get("redrive_of_ingest_id") is not None:
                row = by_place[row["redrive_of_ingest_id"], row["redrive_of_ingest_line"]]
            return (row["ingest_id"], row["source_file"], row["source_line"])

        def delivery_of(row: Row) -> tuple[int, bool, int, str]:
            first_commit, path, _ = origin(row)
            is_again = row.get("redrive_of_ingest_id") is not None
            return (row["ingest_id"], is_again, first_commit, path)

        deliveries: list[oracle.Delivery] = []
        begun: dict[str, list[tuple[int, int]]] = {}  # by path, its parts: place, first line
        in_order = [by_place[place] for place in sorted(by_place)]
        for (commit, is_again, first_commit, path), group in groupby(in_order, key=delivery_of):
            received = list(group)
            deliveries.append(
                oracle.Delivery(
                    feed=feed,
                    path=path,
                    data=self._content(feed, first_commit, path),
                    received_at=received[0]["received_at"],
                    landed_at=received[0].get("landed_at", received[0]["received_at"]),
                    commit=commit,
                    redriven=is_again,
                    lines=tuple(origin(row)[2] for row in received) if is_again else None,
                )
            )
            if not is_again:
                begun.setdefault(path, []).append((len(deliveries) - 1, received[0]["source_line"]))
                if self._is_entered(feed, commit, path):
                    take_parts(deliveries, begun.pop(path))
                else:
                    last_line = received[-1]["source_line"]
        for parts in begun.values():  # not loaded to its end yet
            take_parts(deliveries, parts, last_line + 1)
        return deliveries

    def _bronze(self, feed: str, *names: str) -> pa.Table:
        table = DeltaTable(str(self.settings.table("bronze", feed)))
        there = {each.name for each in table.schema().fields}
        return table.to_pyarrow_table(columns=[name for name in names if name in there])

    def _is_entered(self, feed: str, commit: int, path: str) -> bool:
        """Whether a file was loaded to its end by a commit; otherwise this was a part of it."""
        return any((number, name) == (commit, path) for number, name, _ in self._ledger(feed))

    def _ledger(self, feed: str) -> Iterator[tuple[int, str, int]]:
        """Commit, path and modification time of each file that was loaded to its end."""
        ledger = self.settings.state / f"{feed}.ledger.tsv"
        for line in ledger.read_text().splitlines() if ledger.exists() else ():
            number, name, _, modified_ns = line.split("\t")
            yield int(number), unquote(name), int(modified_ns)

    def _content(self, feed: str, commit: int, path: str) -> bytes:
        """What a file held when the loader took it in with a commit."""
        for number, name, modified_ns in self._ledger(feed):
            if (number, name) == (commit, path) and (path, modified_ns) in self._contents:
                return self._contents[path, modified_ns]
        return (self.settings.landing / path).read_bytes()


def take_parts(
    deliveries: list[oracle.Delivery], parts: list[tuple[int, int]], end: int | None = None
) -> None:
    """Give each part of a file, by place and first line, the lines up to the next part.

    Of the lines that the oracle reads, so that one that bronze has lost between two is missed.
    """
    if len(parts) == 1 and end is None:
        return
    bounds = [0, *(first_line for _, first_line in parts[1:]), end or 2**31]
    for (place, _), first, after in zip(parts, bounds[:-1], bounds[1:], strict=True):
        whole = deliveries[place]
        numbers = oracle.line_numbers(whole.feed, whole.data)
        lines = tuple(number for number in numbers if first <= number < after)
        deliveries[place] = replace(whole, lines=lines)


def built(world: World, batch: Iterable[Landing]) -> list[str]:
    """Land, load and build; returns what differs from the oracle, or what failed."""
    world.land_all(batch)
    world.load()
    report = world.build()
    if not report.succeeded:
        return [f"build failed: {failure}" for failure in report.failures]
    try:
        return differences(world)
    except AssertionError as error:  # a key with more than one row
        return [str(error)]


def differences(world: World, stores: Mapping[int, str] | None = None) -> list[str]:
    """Everything in which silver, gold and the books differ from the oracle."""
    deliveries = world.deliveries()
    judged = oracle.judge(deliveries, stores)
    history = History.of(world.builds, deliveries)
    said = [
        *differing("changes", _changes(judged), change_rows(world)),
        *differing("counts", judged.stock_counts(), count_rows(world)),
        *differing("items", _items(judged), item_rows(world)),
        *differing("quarantine", dict(oracle.reasons(judged.quarantine)), _quarantined(world)),
        *differing("books", _books(judged), book_rows(world)),
    ]
    for table in GOLD:
        rows = world.rows_if_there("gold", table.name)
        said += gold_differences(table, rows, judged, history)
    return said


def business_rows(world: World) -> dict[str, Any]:
    """All that must not depend on the batching: business columns, no cursors and no receipts."""
    return {
        "changes": change_rows(world),
        "counts": count_rows(world),
        "items": item_rows(world),
        "quarantine": world.quarantine(),
        **{
            table.name: gold_rows(table, world.rows_if_there("gold", table.name))
            for table in GOLD
            if not table.depends_on_builds
        },
    }


def change_rows(world: World) -> dict[Any, Row]:
    rows = world.rows("silver", "stg_pos__inventory_changes")
    key = ("store_id", "trans_id", "change_type_id", "item_id", "occurred_on")
    return keyed(rows, key, ("quantity", "occurred_at", "fulfillment_store_id"))


def count_rows(world: World) -> dict[oracle.CountKey, int]:
    rows = world.rows("silver", "stg_pos__stock_counts")
    return unique(
        ((row["store_id"], row["item_id"], row["counted_at"]), row["quantity"]) for row in rows
    )


def item_rows(world: World) -> dict[int, tuple[str | None, int | None]]:
    rows = world.rows("silver", "stg_pos__items")
    return unique(
        (row["item_id"], (row["item_name"], row["safety_stock_quantity"])) for row in rows
    )


def book_rows(world: World) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    names = ("lines_received", "lines_kept", "lines_duplicate", "lines_quarantined")
    rows = world.rows("silver", "int_pos__loads_reconciled")
    return unique(
        ((row["source"], row["_ingest_id"]), tuple(row[name] for name in names)) for row in rows
    )


def _quarantined(world: World) -> dict[tuple[str, str, int, str, bool], int]:
    names = ("source", "_source_file", "_source_line", "reason")
    return Counter(
        (*(row[name] for name in names), row.get("_redrive_of_ingest_id") is not None)
        for row in world.rows("silver", "stg_pos__quarantine")
    )


def _changes(judged: oracle.Oracle) -> dict[oracle.ChangeKey, Row]:
    return {
        key: {
            "quantity": change.quantity,
            "occurred_at": change.occurred_at,
            "fulfillment_store_id": change.fulfillment_store_id,
        }
        for key, change in judged.changes.items()
    }


def _items(judged: oracle.Oracle) -> dict[int, tuple[str | None, int | None]]:
    return {
        item_id: (item.name, item.safety_stock_quantity)
        for item_id, item in judged.item_rows().items()
    }


def _books(judged: oracle.Oracle) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    return {
        key: (books.received, books.kept, books.duplicate, books.quarantined)
        for key, books in judged.books.items()
        if books.received
    }


def _records(table: pa.Table) -> list[Row]:
    columns = {name: _values(table[name]) for name in table.column_names}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    try:
        return [value and value.replace(tzinfo=None) for value in column.to_pylist()]
    except OverflowError:  # a year that Python does not have: shown as microseconds, to differ
        return list(column.cast(pa.int64()).to_pylist())
