"""The way of one transaction, or of one commit of the loader, from its message to gold.

What joins the steps: ``ingest_id`` and ``ingest_line`` name a row of bronze for good, silver and
quarantine carry both, the ledger carries them as one number (``_receipt``), and the journal says
which build went through that commit. Read from the tables, with no engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from loaders.config import Settings
from loaders.journal import build_of, entries
from loaders.landing import MESSAGES
from loaders.plan import SCAN
from loaders.tables import StoredTable

Step = dict[str, Any]

RECEIPTS_A_COMMIT = 2**32  # macros/receipt.sql


def traced(settings: Settings, trans_id: str | None, ingest_id: int | None) -> Iterator[Step]:
    """The steps, in order: received, kept or quarantined, built, in the ledger, in gold.

    Of the transaction ``trans_id``, or of all that the loader's commit ``ingest_id`` of messages
    took in. A look for a transaction reads all messages.
    """
    if ingest_id is not None:
        wanted = pc.field("ingest_id") == ingest_id
    else:
        wanted = pc.match_substring(pc.field("body"), str(trans_id))
    columns = ["ingest_id", "ingest_line", "source_file", "source_line", "received_at", "landed_at"]
    received = _rows(settings, "bronze", MESSAGES, columns, wanted)
    if not received:
        return
    yield from ({"step": "received", **row} for row in received)
    commits = sorted({row["ingest_id"] for row in received})
    places = {(row["ingest_id"], row["ingest_line"]) for row in received}
    of_commits = pc.field("_ingest_id").isin(commits)
    if trans_id is not None:
        kept_where = of_commits & (pc.field("trans_id") == trans_id)
    else:
        kept_where = of_commits
    columns = ["store_id", "trans_id", "change_type_id", "item_id", "quantity", "occurred_at"]
    place = ["_ingest_id", "_ingest_line"]
    kept = _rows(settings, "silver", "stg_pos__inventory_changes", [*columns, *place], kept_where)
    yield from ({"step": "kept", **row} for row in kept)
    of_messages = of_commits & (pc.field("source") == MESSAGES)
    rejected = _rows(settings, "silver", "stg_pos__quarantine", ["reason", *place], of_messages)
    for row in rejected:
        if (row["_ingest_id"], row["_ingest_line"]) in places:
            yield {"step": "quarantined", **row}
    said = list(entries(settings))
    for commit in commits:
        build = build_of(said, MESSAGES, commit) or {}
        yield {
            "step": "built",
            "ingest_id": commit,
            **{name: build.get(name) for name in ("build_id", "at", "seconds")},
        }
    receipts = {row["_ingest_id"] * RECEIPTS_A_COMMIT + row["_ingest_line"] for row in kept}
    if receipts:
        columns = ["store_id", "item_id", "change_type", "trans_id", "quantity", "balance_quantity"]
        in_ledger = pc.field("_receipt").isin(pa.array(sorted(receipts), pa.int64()))
        names = [*columns, "occurred_at"]
        for row in _rows(settings, "gold", "inventory_ledger", names, in_ledger):
            yield {"step": "in the ledger", **row}
    yield from _positions(settings, {(row["store_id"], row["item_id"]) for row in kept})


def _positions(settings: Settings, keys: set[tuple[int, int]]) -> Iterator[Step]:
    """What gold says of the keys that were moved."""
    columns = ["store_id", "item_id", "on_hand_quantity", "available_quantity", "last_changed_at"]
    of_items = pc.field("item_id").isin(sorted({item_id for _, item_id in keys}))
    for row in _rows(settings, "gold", "inventory_current", columns, of_items):
        if (row["store_id"], row["item_id"]) in keys:
            yield {"step": "in gold", **row}


def _rows(
    settings: Settings, schema: str, name: str, columns: list[str], where: pc.Expression
) -> list[Step]:
    path = str(settings.table(schema, name))
    if not DeltaTable.is_deltatable(path):
        return []
    dataset = StoredTable(path).to_pyarrow_dataset()
    rows: list[Step] = dataset.to_table(columns=columns, filter=where, **SCAN).to_pylist()
    return rows
