"""The floor: a script with DuckDB for its state and delta-rs for its tables; no dbt, no tests.

What is new goes to a bronze Delta table, into DuckDB's own file, and the inventory, a table of
200,000 rows, is written anew as a Delta table: for that size quicker than any merge.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.systems.duck_sql import INCREMENT, NEW_CHANGES, NEW_COUNTS, listed
from benchmarks.systems.protocol import Seconds


class Floor:
    """A DuckDB file and two Delta tables."""

    def __init__(self, folder: Path, _port: int) -> None:
        self._bronze = str(folder / "bronze_messages")
        self._gold = str(folder / "inventory")
        self._duck = duckdb.connect(str(folder / "state.duckdb"))
        self._duck.execute("set TimeZone = 'UTC'")
        self._duck.execute("""
            create table changes (
                store_id int, item_id bigint, quantity bigint, occurred_at timestamp
            );
            create table counts (
                store_id int, item_id bigint, quantity bigint, counted_at timestamp
            );
            create table inventory (
                store_id int, item_id bigint, on_hand_quantity bigint, counted_at timestamp
            );
        """)

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("duckdb", "deltalake")}

    def backfill(self, files: dict[str, Path]) -> Seconds:
        return self.tick(files)

    def tick(self, files: dict[str, Path]) -> Seconds:
        started = time.monotonic()
        messages = [place for path, place in files.items() if "/changes/" in path]
        counts = [str(place) for path, place in files.items() if "/counts/" in path]
        lines = [line for place in messages for line in place.read_text().split("\n") if line]
        write_deltalake(self._bronze, pa.table({"body": lines}), mode="append")
        kept = time.monotonic()
        duck = self._duck
        new_changes = NEW_CHANGES.format(changes=listed([str(place) for place in messages]))
        duck.execute("begin")
        duck.execute(f"create or replace temp table new_changes as {new_changes}")
        empty = "select * from counts limit 0"
        new_counts = NEW_COUNTS.format(counts=listed(counts)) if counts else empty
        duck.execute(f"create or replace temp table new_counts as {new_counts}")
        duck.execute("insert into changes from new_changes")
        duck.execute("insert into counts from new_counts")
        increment = INCREMENT.format(
            new_changes="from new_changes",
            new_counts="from new_counts",
            changes="changes",
            inventory="inventory",
        )
        duck.execute(f"create or replace temp table touched as {increment}")
        duck.execute("""
            merge into inventory using touched using (store_id, item_id)
            when matched then update set
                on_hand_quantity = touched.on_hand_quantity, counted_at = touched.counted_at
            when not matched then insert
        """)
        duck.execute("commit")
        stated = time.monotonic()
        rows = duck.execute("select store_id, item_id, on_hand_quantity from inventory")
        write_deltalake(self._gold, rows.to_arrow_table(), mode="overwrite")
        done = time.monotonic()
        parts = {"bronze": kept - started, "state": stated - kept, "gold": done - stated}
        return Seconds(done - started, parts)

    def inventory(self) -> pa.Table:
        return pa.table(DeltaTable(self._gold).to_pyarrow_table())

    def processes(self) -> list[int]:
        return []

    def close(self) -> None:
        self._duck.close()
