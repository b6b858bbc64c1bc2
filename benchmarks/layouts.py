"""How the inventory of many stores is best laid out: the one statement of a tick that writes to
every key's table, against copies of it in other orders and partitions.

The copies are of the inventory of a chain's history. A tick changes so many keys of a few stores,
or of all; a layout's time counts where the table afterwards says what the plain one says.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from benchmarks.processes import usage
from benchmarks.results import Record
from benchmarks.stores import Places
from loaders import engine
from loaders.config import Settings
from loaders.load import open_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BUCKETS = 16
FILE_BYTES = 4 * 2**20
KEYS_OF_A_TICK = 3_000
FEW_STORES = 5
REPETITIONS = 3
KEY = ["store_id", "item_id"]
IN_FEW_FILES = f"limit {2**53}"  # as macros/merge.sql has it


@dataclass(frozen=True)
class Layout:
    """How the table lies, and by which statement a tick changes it."""

    title: str
    partition: str | None = None
    is_ordered: bool = False
    reach: str | None = None  # the column whose values in the tick say what is replaced
    statement: str = "overwrite"


LAYOUTS = {
    "plain": Layout("one table, all of it rewritten (as it is)"),
    "merge": Layout("one table, by MERGE", statement="merge"),
    "ordered": Layout(
        "files in order of the stores, those of the tick's stores replaced",
        is_ordered=True,
        reach="store_id",
        statement="replace",
    ),
    "buckets": Layout(
        f"{BUCKETS} partitions of stores, those of the tick's replaced",
        partition="store_bucket",
        reach="store_bucket",
        statement="replace",
    ),
    "stores": Layout(
        "a partition for each store, those of the tick's replaced",
        partition="store_id",
        reach="store_id",
        statement="replace",
    ),
}


def layouts(places: Places, port: int) -> Record:
    """Seconds, files and bytes of a tick's merge in each layout, of few stores and of all."""
    folder = places.work / f"layouts_{places.size}"
    shutil.rmtree(folder, ignore_errors=True)
    settings = Settings(folder / "landing", folder / "lakehouse", port, "local")
    settings.state.mkdir(parents=True)
    inventory = _inventory(places.history / "lakehouse")
    sources = {
        "few": _tick(inventory, FEW_STORES, seed=1),
        "all": _tick(inventory, places.size.stores, seed=2),
    }
    found: dict[str, dict[str, Any]] = {}
    expected: dict[str, int] = {}
    server, _ = engine.up(settings)
    try:
        session = engine.connect(settings)
        for name, source in sources.items():
            pq.write_table(source, folder / f"{name}.parquet")
            _register(session, f"tick_{name}", folder / f"{name}.parquet", "parquet")
        for name, layout in LAYOUTS.items():
            for kind, source in sources.items():
                place = folder / f"{name}_{kind}"
                _write(place, inventory, layout)
                _register(session, f"{name}_{kind}", place, "delta")
                before = usage([server.pid])
                took = _merges(session, f"{name}_{kind}", f"tick_{kind}", source, layout)
                used = usage([server.pid]).since(before)
                added, removed, written = _last_commit(place)
                total = _sum_of(place)
                wrong = total != expected.setdefault(kind, total)
                found.setdefault(name, {})[kind] = {
                    "seconds": took,
                    "cpu_seconds": used.cpu_seconds / len(took),
                    "files_added": added,
                    "files_removed": removed,
                    "bytes_written": written,
                    "is_wrong": wrong,
                }
                shutil.rmtree(place)
    finally:
        engine.down(settings)
    shutil.rmtree(folder)
    return {
        "measure": "chain_layouts",
        "keys": inventory.num_rows,
        "keys_of_a_tick": KEYS_OF_A_TICK,
        "layouts": found,
        "p50": {
            name: {kind: median(each["seconds"]) for kind, each in kinds.items()}
            for name, kinds in found.items()
        },
    }


def _inventory(lakehouse: Path) -> pa.Table:
    table = open_table(lakehouse / "gold" / "inventory_current").to_pyarrow_table()
    bucket = pa.array(np.asarray(table["store_id"], np.int32) % BUCKETS, pa.int32())
    return pa.table(table).append_column("store_bucket", bucket)


def _tick(inventory: pa.Table, stores: int, seed: int) -> pa.Table:
    """The rows of a tick: so many keys of so many stores, a unit fewer on hand of each."""
    rng = np.random.default_rng(seed)
    ids = np.asarray(inventory["store_id"], np.int64)
    chosen = rng.choice(np.unique(ids), min(stores, len(np.unique(ids))), replace=False)
    rows = np.flatnonzero(np.isin(ids, chosen))
    rows = np.sort(rng.choice(rows, min(KEYS_OF_A_TICK, len(rows)), replace=False))
    some = inventory.take(pa.array(rows))
    at = some.column_names.index("on_hand_quantity")
    return some.set_column(
        at, some.schema.field(at), pc.subtract(some["on_hand_quantity"], pa.scalar(1, pa.int64()))
    )


def _write(place: Path, inventory: pa.Table, layout: Layout) -> None:
    if layout.is_ordered:
        inventory = inventory.sort_by([(name, "ascending") for name in KEY])
    write_deltalake(
        str(place),
        inventory,
        partition_by=[layout.partition] if layout.partition else None,
        target_file_size=FILE_BYTES if layout.is_ordered else None,
    )


def _merges(
    session: SparkSession, table: str, source: str, rows: pa.Table, layout: Layout
) -> list[float]:
    seconds = []
    for _ in range(REPETITIONS):
        statement = _statement(session, table, source, rows, layout)
        started = time.monotonic()
        session.sql(statement).collect()
        seconds.append(time.monotonic() - started)
    return seconds


def _statement(
    session: SparkSession, table: str, source: str, rows: pa.Table, layout: Layout
) -> str:
    names = session.sql(f"select * from {table} limit 0").columns
    same = " and ".join(f"dbt_source.{key} = dbt_target.{key}" for key in KEY)
    if layout.statement == "merge":
        return (
            f"merge into {table} as dbt_target using {source} as dbt_source on {same} "
            f"when matched then update set * when not matched then insert *"
        )
    reach = "true"
    if layout.reach:
        values = sorted(set(rows[layout.reach].to_pylist()))
        reach = f"{layout.reach} in ({', '.join(map(str, values))})"
    into = (
        f"insert into table {table} replace where {reach}"
        if layout.statement == "replace"
        else f"insert overwrite table {table}"
    )
    return (
        f"{into} select {', '.join(names)} from {source} union all "
        f"select dbt_target.{', dbt_target.'.join(names)} "
        f"from (select * from {table} where {reach}) as dbt_target "
        f"left anti join {source} as dbt_source on {same} {IN_FEW_FILES}"
    )


def _register(session: SparkSession, name: str, place: Path, kind: str) -> None:
    session.sql(f"create table {name} using {kind} location '{place}'").collect()


def _last_commit(place: Path) -> tuple[int, int, int]:
    """Files added and removed, and bytes added, by the newest commit."""
    version = DeltaTable(str(place)).version()
    entries = (place / "_delta_log" / f"{version:020d}.json").read_text().splitlines()
    actions = [json.loads(entry) for entry in entries]
    added = [action["add"]["size"] for action in actions if "add" in action]
    return len(added), sum("remove" in action for action in actions), sum(added)


def _sum_of(place: Path) -> int:
    """What tells one state of the table from another: units, weighed by the place of the key."""
    table = DeltaTable(str(place)).to_pyarrow_table(columns=[*KEY, "on_hand_quantity"])
    key = np.asarray(table["store_id"], np.int64) * 1_000_003 + np.asarray(
        table["item_id"], np.int64
    )
    units = np.asarray(table["on_hand_quantity"], np.int64)
    weighed: int = (key % 1_000_000_007 * (units + 1)).sum().item()
    return weighed + int(table.num_rows)
