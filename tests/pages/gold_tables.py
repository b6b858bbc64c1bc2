"""Gold written by hand: tables with the columns and types of the contracts, without an engine.

For what no simulator makes: names that want to be markup, numbers that JavaScript cannot hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from deltalake import write_deltalake

from loaders.bronze import SCHEMAS

MODELS = Path(__file__).resolve().parents[2] / "models" / "gold"
TYPES = {
    "int": pa.int32(),
    "bigint": pa.int64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
STORES = {0: ("online", "online"), 1: ("store_001", "physical")}

Row = dict[str, Any]


def contract(model: str) -> pa.Schema:
    """The columns of a gold model, as its YAML states them."""
    (described,) = yaml.safe_load((MODELS / f"{model}.yml").read_text())["models"]
    return pa.schema(
        [pa.field(column["name"], TYPES[column["data_type"]]) for column in described["columns"]]
    )


def write_gold(lakehouse: Path, model: str, rows: Iterable[Row], **options: Any) -> None:
    """Write the table anew, a version more; what a row does not say is null."""
    table = pa.Table.from_pylist(list(rows), schema=contract(model))
    write_deltalake(str(lakehouse / "gold" / model), table, mode="overwrite", **options)


def write_bronze(lakehouse: Path, feed: str, rows: Iterable[Row]) -> None:
    """Append to a bronze table."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMAS[feed])
    write_deltalake(str(lakehouse / "bronze" / feed), table, mode="append")


def at(text: str) -> datetime:
    """A time of January 2021, `02 10:30:00`, or a whole one."""
    whole = text if len(text) > 11 else f"2021-01-{text}"
    return datetime.fromisoformat(whole).replace(tzinfo=UTC)


def position(store_id: int, item_id: int, on_hand: int, **more: Any) -> Row:
    """A row of `inventory_current`, counted on the first, with the flags that follow from it."""
    name, channel = STORES.get(store_id, (None, None))
    row: Row = {
        "store_id": store_id,
        "item_id": item_id,
        "store_name": name,
        "channel": channel,
        "item_name": f"item {item_id}",
        "on_hand_quantity": on_hand,
        "committed_quantity": 0,
        "counted_quantity": on_hand,
        "change_quantity": 0,
        "sale_quantity": 0,
        "shrink_quantity": 0,
        "restock_quantity": 0,
        "bopis_quantity": 0,
        "lifetime_change_quantity": 0,
        "lifetime_bopis_quantity": 0,
        "safety_stock_quantity": 2,
        "is_known_store": store_id in STORES,
        "is_known_item": True,
        "counted_at": at("01 08:00:00"),
        "last_changed_at": at("02 10:00:00"),
        "_changes_ingest_id": 1,
        "_counts_ingest_id": 1,
        "_items_ingest_id": 1,
        **more,
    }
    available = row["on_hand_quantity"] - row["committed_quantity"]
    safety = row["safety_stock_quantity"]
    return {
        "available_quantity": available,
        "available_to_promise_quantity": max(0, available - (safety or 0)),
        "is_counted": row["counted_at"] is not None,
        "is_negative": row["on_hand_quantity"] < 0,
        "is_below_safety_stock": safety is not None and available < safety,
        **row,
    }


def entry(
    store_id: int, item_id: int, kind: str, quantity: int, balance: int, when: str, **more: Any
) -> Row:
    """A row of `inventory_ledger`."""
    moment = at(when)
    return {
        "store_id": store_id,
        "item_id": item_id,
        "change_type": kind,
        "trans_id": "" if kind == "count" else f"{item_id}-{when}",
        "quantity": quantity,
        "balance_quantity": balance,
        "occurred_at": moment,
        "_receipt": None if kind == "count" else 1,
        "_store_roles": "",
        "_changes_ingest_id": 1,
        "_publication": 1,
        "occurred_on": moment.date(),
        **more,
    }
