"""Readers that are not ours see the same rows in every gold table: delta-rs, DuckDB and Polars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_delta
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from tests.builds.comparing import GOLD
from tests.truth.compact import Compact
from tests.truth.figures import Proof

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with its Delta extension out of the wheel: nothing is downloaded."""
    (extension,) = Path(duckdb_extension_delta.__path__[0]).rglob("*.duckdb_extension")
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.load_extension(str(extension))
    yield connection
    connection.close()


def by_delta_rs(path: Path, _duck: duckdb.DuckDBPyConnection) -> pa.Table:
    return pa.table(DeltaTable(str(path)).to_pyarrow_table())


def by_duckdb(path: Path, duck: duckdb.DuckDBPyConnection) -> pa.Table:
    return duck.sql(f"select * from delta_scan('{path}')").to_arrow_table()


def by_polars(path: Path, _duck: duckdb.DuckDBPyConnection) -> pa.Table:
    return pl.read_delta(str(path)).to_arrow()


READERS: tuple[Callable[[Path, duckdb.DuckDBPyConnection], pa.Table], ...] = (
    by_delta_rs,
    by_duckdb,
    by_polars,
)


def rows_of(table: pa.Table) -> tuple[list[str], Rows]:
    """The names of the columns, and the rows with their values as plain Python, sorted."""
    names = sorted(table.column_names)
    columns = [[plain(value) for value in table[name].to_pylist()] for name in names]
    return names, sorted(zip(*columns, strict=True), key=repr)


def plain(value: Any) -> Any:
    """A time as UTC without a zone: readers name the zone of the same instant differently."""
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).replace(tzinfo=None) if is_zoned else value


@pytest.mark.parametrize("name", [table.name for table in GOLD])
def test_every_reader_sees_the_same(
    compact_world: Compact, duck: duckdb.DuckDBPyConnection, name: str, proof: Proof
) -> None:
    path = compact_world.world.settings.table("gold", name)
    first, *others = [rows_of(read(path, duck)) for read in READERS]
    is_same = all(other == first for other in others)
    proof("gold tables read by delta-rs, DuckDB and Polars", 1, int(is_same), "the same")
    assert first[1], "an empty table proves nothing"
    for other in others:
        assert other == first
