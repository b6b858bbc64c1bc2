"""The truth of a month as tables: what an inventory built from the messages must come to.

Kept apart from the writing so that tests and the truth's reader share the columns. Times are
timestamp[us], UTC without a zone; quantities are units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from loaders.simulator.config import BOPIS, FIRST_ITEM_ID, ONLINE_STORE_ID
from loaders.simulator.month import Month
from loaders.simulator.tables import Bools, Ints


def truth_tables(month: Month) -> dict[str, pa.Table]:
    """movements, orders, pickups, counts and physical, by file name without ending.

    movements: each kept line that moves stock, quantity = signed effect, sent_at = first good
    delivery. orders, pickups: BOPIS lines with positive units. counts: each version of each counted
    row.
    """
    ledger = month.ledger
    order = (ledger.change_type_id == BOPIS) & (ledger.store_id == ONLINE_STORE_ID)
    pickup = (ledger.change_type_id == BOPIS) & ~order
    return {
        "movements": _movements(month, ~order[ledger.transaction]),
        "orders": _bopis_lines(month, order, "fulfillment_store_id", "ordered_at"),
        "pickups": _bopis_lines(month, pickup, "store_id", "picked_up_at"),
        "counts": _counts(month),
        "physical": pa.table(
            {
                "store_id": pa.array(np.repeat(month.store_ids, month.config.items), pa.int32()),
                "item_id": np.tile(month.catalogue.item_id, len(month.store_ids)),
                "quantity": month.physical.reshape(-1),
            }
        ),
    }


def totals(month: Month) -> dict[str, Any]:
    """The figures of month.json: messages and lines as sent, kept lines by change type, first and
    last.
    """
    sent = month.transmissions
    types = month.ledger.change_type_id[month.ledger.transaction]
    moments = np.concatenate([sent.sent_s, [count.sent_s for count in month.counts]]).astype(
        np.int64
    )
    first, last = (str(_instant(month, moment)) for moment in (moments.min(), moments.max()))
    return {
        "messages": len(sent.bodies),
        "lines": int(sent.lines.sum()),
        "kept_messages": month.ledger.size,
        "kept_lines": len(types),
        "kept_lines_by_change_type": {
            str(kind): int((types == kind).sum()) for kind in np.unique(types).tolist()
        },
        "count_files": len(month.counts),
        "count_rows": sum(len(count.item) for count in month.counts),
        "first_sent_at": first.replace("T", " "),
        "last_sent_at": last.replace("T", " "),
    }


def sum_of_totals(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The totals of several stores as those of one month."""
    kinds = sorted({kind for part in parts for kind in part["kept_lines_by_change_type"]})
    found: dict[str, Any] = {}
    for name, value in parts[0].items():
        values = [part[name] for part in parts]
        if name == "kept_lines_by_change_type":
            found[name] = {kind: sum(each.get(kind, 0) for each in values) for kind in kinds}
        elif isinstance(value, int):
            found[name] = sum(values)
        else:
            found[name] = min(values) if name == "first_sent_at" else max(values)
    return found


def _movements(month: Month, moving: Bools) -> pa.Table:
    ledger = month.ledger
    transaction = ledger.transaction[moving]
    return pa.table(
        {
            "store_id": pa.array(ledger.store_id[transaction], pa.int32()),
            "item_id": ledger.item[moving] + FIRST_ITEM_ID,
            "occurred_at": _times(month, ledger.occurred_s[transaction]),
            "sent_at": _times(month, month.first_sent_s[transaction]),
            "change_type_id": pa.array(ledger.change_type_id[transaction], pa.int32()),
            "quantity": ledger.quantity[moving],
        }
    )


def _bopis_lines(month: Month, chosen: Bools, store_column: str, time_column: str) -> pa.Table:
    ledger = month.ledger
    lines = chosen[ledger.transaction]
    transaction = ledger.transaction[lines]
    store: Ints = getattr(ledger, store_column)[transaction]
    return pa.table(
        {
            "trans_id": pa.array(ledger.trans_id[transaction].astype("U38").tolist(), pa.string()),
            store_column: pa.array(store, pa.int32(), mask=store < 0),
            "item_id": ledger.item[lines] + FIRST_ITEM_ID,
            time_column: _times(month, ledger.occurred_s[transaction]),
            "sent_at": _times(month, month.first_sent_s[transaction]),
            "quantity": -ledger.quantity[lines],
        }
    )


def _counts(month: Month) -> pa.Table:
    files = month.counts
    rows = [len(file.item) for file in files]
    return pa.table(
        {
            "store_id": pa.array(np.repeat([file.store_id for file in files], rows), pa.int32()),
            "item_id": np.concatenate([file.item for file in files]) + FIRST_ITEM_ID,
            "counted_at": _times(month, np.repeat([file.counted_s for file in files], rows)),
            "sent_at": _times(month, np.repeat([file.sent_s for file in files], rows)),
            "quantity": np.concatenate([file.quantity for file in files]),
        }
    )


def _times(month: Month, seconds: Ints) -> pa.Array:
    instants = np.datetime64(month.config.start, "us") + seconds.astype("timedelta64[s]")
    return pa.array(instants, pa.timestamp("us"))


def _instant(month: Month, seconds: np.int64) -> np.datetime64:
    return np.datetime64(month.config.start, "s") + np.timedelta64(int(seconds), "s")
