"""The tables that the page is made of, each at a version that is chosen before anything is read.

Choosing costs a look into each table's log folder, so whoever has just built can say which
versions belong together; reading them may take seconds, and what is written meanwhile is not seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from loaders.errors import UserError, first_line
from loaders.landing import COUNTS, ITEMS, MESSAGES
from loaders.places import Place
from loaders.tables import StoredTable

if TYPE_CHECKING:
    import pyarrow.dataset as ds

CURRENT = "gold.inventory_current"
ALERTS = "gold.inventory_alerts"
ORDERS = "gold.bopis_orders"
VARIANCES = "gold.stock_count_variances"
RESTATEMENTS = "gold.inventory_restatements"
LEDGER = "gold.inventory_ledger"
FEEDS = {feed: f"bronze.{feed}" for feed in (MESSAGES, COUNTS, ITEMS)}
TABLES = (CURRENT, ALERTS, ORDERS, VARIANCES, RESTATEMENTS, LEDGER, *FEEDS.values())

# A build commits its tables one after another, some tenths of a second apart.
QUIET_SECONDS = 0.5
PATIENCE_SECONDS = 5.0

Versions = dict[str, int]


def versions_of(lakehouse: Place) -> Versions:
    """The newest version of each table that there is."""
    found: Versions = {}
    for table in TABLES:
        schema, name = table.split(".")
        version = _latest_version(lakehouse / schema / name)
        if version is not None:
            found[table] = version
    return found


def quiet_versions(lakehouse: Place) -> Versions:
    """The newest versions once nothing has been committed for a moment, so that they belong
    together; after a few seconds of commits, those of that moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    versions = versions_of(lakehouse)
    while versions and time.monotonic() < deadline:
        time.sleep(QUIET_SECONDS)
        before, versions = versions, versions_of(lakehouse)
        if versions == before:
            break
    return versions


def _latest_version(table: Place) -> int | None:
    if not isinstance(table, Path):
        is_there = DeltaTable.is_deltatable(str(table))
        return DeltaTable(str(table)).version() if is_there else None
    try:
        names = os.listdir(table / "_delta_log")  # noqa: PTH208 - thousands of names, of which one is wanted
    except FileNotFoundError:
        return None
    numbers = (name.partition(".") for name in names if name.endswith(".json"))
    return max((int(number) for number, _, _ in numbers if len(number) == 20), default=None)


def foremost(rows: pa.Table, most: int, order: list[tuple[str, str]]) -> pa.Table:
    """The first so many rows in an order (column, ascending or descending); the rest is not
    sorted."""
    places = pc.select_k_unstable(rows, k=min(most, rows.num_rows), sort_keys=order)
    return rows.take(places)


@dataclass(frozen=True)
class Written:
    """One table as the page has it."""

    name: str
    version: int
    committed_at: int | None  # seconds since 1970
    rows: int


class Gold:
    """Pinned tables of one lakehouse; one that is not there yet has no rows and no version."""

    def __init__(self, lakehouse: Place, versions: Versions) -> None:
        self._lakehouse = lakehouse
        self.versions = versions
        self._open: dict[str, DeltaTable] = {}

    def table(self, name: str) -> DeltaTable | None:
        """The table at its version; :class:`UserError` when it cannot be read."""
        if name not in self.versions:
            return None
        if name not in self._open:
            schema, short = name.split(".")
            path = self._lakehouse / schema / short
            try:
                self._open[name] = StoredTable(str(path), version=self.versions[name])
            except (DeltaError, OSError) as error:
                raise UserError(
                    f"cannot read {name} at {path}, version {self.versions[name]}: "
                    f"{first_line(error)}"
                ) from error
        return self._open[name]

    def read(
        self, name: str, columns: list[str], where: pc.Expression | None = None
    ) -> pa.Table | None:
        """Some columns of the rows for which the expression holds."""
        dataset = self._dataset(name)
        return None if dataset is None else dataset.to_table(columns=columns, filter=where)

    def batches(
        self,
        name: str,
        columns: list[str],
        where: pc.Expression | None = None,
        as_codes: tuple[str, ...] = (),
    ) -> Iterator[pa.RecordBatch]:
        """The same batch by batch, with less in memory at a time; ``as_codes`` are dictionaries."""
        dataset = self._dataset(name, as_codes)
        if dataset is not None:
            # One file at a time: read ahead, a month of the ledger takes four times the memory.
            yield from dataset.to_batches(
                columns=columns,
                filter=where,
                batch_size=65_536,
                batch_readahead=1,
                fragment_readahead=1,
            )

    def _dataset(self, name: str, as_codes: tuple[str, ...] = ()) -> ds.Dataset | None:
        import pyarrow.dataset as ds

        table = self.table(name)
        if table is None:
            return None
        options = ds.ParquetReadOptions(
            dictionary_columns=list(as_codes), coerce_int96_timestamp_unit="us"
        )
        return table.to_pyarrow_dataset(parquet_read_options=options)

    def files(self, name: str) -> pa.Table | None:
        """Statistics of each file of a table, from its log."""
        table = self.table(name)
        return None if table is None else pa.table(table.get_add_actions(flatten=True))

    def written(self) -> list[Written]:
        """Which version of each table this is, when it was committed and how many rows it has."""
        found = []
        for name in self.versions:
            table = self.table(name)
            files = self.files(name)
            if table is None or files is None:
                continue
            committed_ms = table.history(1)[0].get("timestamp")
            rows = pc.sum(files["num_records"]).as_py() or 0
            found.append(
                Written(name, table.version(), committed_ms and committed_ms // 1000, rows)
            )
        return found
