"""Scratch lakehouses for tests: land files, load, build on the embedded engine, read the tables.

One engine and one resident dbt serve a whole pytest process, because parsing costs seconds. A world
is a fresh landing folder and a fresh lakehouse that the engine is pointed at; the one before is
forgotten: only the newest world can be built, the others can be read. `tests/worlds.py` is for
tests that set engines side by side.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from loaders import engine
from loaders.catalog import SCHEMAS, register
from loaders.config import Settings
from loaders.landing import publish
from loaders.load import Loader, LoadReport, create_bronze
from loaders.warehouse import BuildReport, Warehouse
from tests import oracle
from tests.files import csv_text

# What a tick of the schedule builds; seeds and tests are left to `World.check`.
INCREMENTAL = ("run", "--select", "config.materialized:incremental")
EVERYTHING = ("build", "--exclude-resource-type", "unit_test")

SILVER_AND_GOLD = {
    "silver": (
        "int_pos__loads_reconciled",
        "stg_pos__inventory_changes",
        "stg_pos__items",
        "stg_pos__quarantine",
        "stg_pos__stock_counts",
    ),
    "gold": ("inventory_current",),
}

FIRST_INSTANT_NS = 1_600_000_000_000_000_000  # of the landed files: order is what matters


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Station:
    """The engine and the resident dbt of one pytest process. Close it: the engine is a process."""

    def __init__(self, folder: Path, project: Path | None = None) -> None:
        self._folder = folder
        self._worlds = 0
        self._environment = dict(os.environ)
        settings = Settings(folder / "landing", folder / "station", free_port())
        self.settings = settings if project is None else replace(settings, project=project)
        engine.up(self.settings)
        try:
            self.warehouse = Warehouse(self.settings)
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
        return World(settings, self)

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

    # Landing.

    def land(self, path: str, data: bytes | str) -> None:
        """Put a file down, a second after the one before."""
        self._clock_ns += 1_000_000_000
        target = self.settings.landing / path
        publish(target, data.encode() if isinstance(data, str) else data)
        os.utime(target, ns=(self._clock_ns, self._clock_ns))
        self.landed.append(path)

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
        table = DeltaTable(str(self.settings.table(schema, name))).to_pyarrow_table()
        columns = {name: _values(table[name]) for name in table.column_names}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

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

    def versions(self) -> dict[str, int]:
        """The Delta version of every silver and gold table."""
        return {
            f"{schema}.{name}": DeltaTable(str(self.settings.table(schema, name))).version()
            for schema, names in SILVER_AND_GOLD.items()
            for name in names
        }

    def deliveries(self) -> list[oracle.Delivery]:
        """What was landed, in the order and with the times of the loader's own commits."""
        commits: dict[tuple[str, str], tuple[int, int, datetime]] = {}
        for feed in (oracle.ITEMS, oracle.MESSAGES, oracle.COUNTS):
            for row in self.rows("bronze", feed):
                place = (row["ingest_id"], row["ingest_line"], row["received_at"])
                known = commits.setdefault((feed, row["source_file"]), place)
                commits[feed, row["source_file"]] = min(known, place)
        ordered = sorted(commits.items(), key=lambda each: (each[0][0], each[1]))
        return [
            oracle.Delivery(feed, path, self._bytes(path), received_at, commit)
            for (feed, path), (commit, _, received_at) in ordered
        ]

    def _bytes(self, path: str) -> bytes:
        return (self.settings.landing / path).read_bytes()


# The tables against the oracle: each says what differs, nothing where they are equal.


def differences(world: World) -> list[str]:
    """Everything in which silver, gold and the books differ from the oracle."""
    judged = oracle.judge(world.deliveries())
    return [
        *_differences("inventory", _positions(judged), gold_rows(world)),
        *_differences("changes", _changes(judged), change_rows(world)),
        *_differences("counts", judged.stock_counts(), count_rows(world)),
        *_differences(
            "quarantine", dict(oracle.reasons(judged.quarantine)), dict(world.quarantine())
        ),
        *_differences("books", _books(judged), book_rows(world)),
    ]


def business_rows(world: World) -> dict[str, Any]:
    """All that must not depend on the batching: business columns, no cursors and no receipts."""
    return {
        "inventory": gold_rows(world),
        "changes": change_rows(world),
        "counts": count_rows(world),
        "quarantine": world.quarantine(),
        "items": {
            row["item_id"]: (row["item_name"], row["safety_stock_quantity"])
            for row in world.rows("silver", "stg_pos__items")
        },
    }


GOLD_COLUMNS = (
    "on_hand_quantity",
    "counted_quantity",
    "counted_at",
    "change_quantity",
    "is_counted",
    "last_changed_at",
    "safety_stock_quantity",
    "is_below_safety_stock",
    "is_negative",
    "is_known_store",
    "is_known_item",
)
TYPES = tuple(oracle.CHANGE_TYPES.values())


def gold_rows(world: World) -> dict[oracle.Key, dict[str, Any]]:
    columns = (*GOLD_COLUMNS, *(f"{change_type}_quantity" for change_type in TYPES))
    rows = world.rows("gold", "inventory_current")
    return _unique(
        ((row["store_id"], row["item_id"]), {name: row[name] for name in columns}) for row in rows
    )


def change_rows(world: World) -> dict[oracle.ChangeKey, tuple[int, datetime]]:
    key = ("store_id", "trans_id", "change_type_id", "item_id", "occurred_on")
    rows = world.rows("silver", "stg_pos__inventory_changes")
    return _unique(
        (tuple(row[name] for name in key), (row["quantity"], row["occurred_at"])) for row in rows
    )


def count_rows(world: World) -> dict[tuple[int, int, datetime], int]:
    rows = world.rows("silver", "stg_pos__stock_counts")
    return _unique(
        ((row["store_id"], row["item_id"], row["counted_at"]), row["quantity"]) for row in rows
    )


def book_rows(world: World) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    names = ("lines_received", "lines_kept", "lines_duplicate", "lines_quarantined")
    rows = world.rows("silver", "int_pos__loads_reconciled")
    return _unique(
        ((row["source"], row["_ingest_id"]), tuple(row[name] for name in names)) for row in rows
    )


def _positions(judged: oracle.Oracle) -> dict[oracle.Key, dict[str, Any]]:
    return {
        key: {
            **{name: getattr(position, name) for name in GOLD_COLUMNS},
            **{f"{name}_quantity": position.quantity_by_type[name] for name in TYPES},
        }
        for key, position in judged.inventory().items()
    }


def _changes(judged: oracle.Oracle) -> dict[oracle.ChangeKey, tuple[int, datetime]]:
    return {key: (change.quantity, change.occurred_at) for key, change in judged.changes.items()}


def _books(judged: oracle.Oracle) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    return {
        key: (books.received, books.kept, books.duplicate, books.quarantined)
        for key, books in judged.books.items()
        if books.received
    }


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    listed = list(pairs)
    repeated = [key for key, times in Counter(key for key, _ in listed).items() if times > 1]
    assert not repeated, f"keys with more than one row: {repeated[:5]}"
    return dict(listed)


def _differences(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    nothing = "nothing"
    return [
        f"{what} {key}: expected {expected.get(key, nothing)}, found {found.get(key, nothing)}"
        for key in {**expected, **found}
        if expected.get(key, nothing) != found.get(key, nothing)
    ]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    try:
        return [value and value.replace(tzinfo=None) for value in column.to_pylist()]
    except OverflowError:  # a year that Python does not have: shown as microseconds, to differ
        return list(column.cast(pa.int64()).to_pylist())
