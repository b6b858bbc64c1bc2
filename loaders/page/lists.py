"""What there is to do and to know: alerts, orders to be collected, counts, restatements, freshness.

Each list is a table of columns in the order in which it is shown; it goes to the page in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from loaders.landing import COUNTS, ITEMS, MESSAGES
from loaders.page.encode import Column, flags, numbers, second, texts, times
from loaders.page.gold import ALERTS, FEEDS, ORDERS, RESTATEMENTS, VARIANCES, Gold, foremost
from loaders.page.stock import Stock

PART_ROWS = 1_000
ALERT_KINDS = ("negative", "out_of_stock", "below_safety_stock")
TO_COLLECT = ("open", "partly_collected")
# Of a full count of a store, half of the items may vary: the largest are what somebody looks at.
MOST_VARIANCES = 5_000
MOST_RESTATEMENTS = 5_000
VARIANCE_DAYS = 7
SESSION_DAYS = 31
MOST_SESSIONS = 60


@dataclass
class Listed:
    """Columns of one list; ``total`` is how many rows there are in gold, shown or not."""

    columns: dict[str, Column]
    total: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the list has."""
        return len(next(iter(self.columns.values())))

    def parts(self) -> Iterator[dict[str, Column]]:
        """The columns, so many rows at a time."""
        for start in range(0, self.rows, PART_ROWS):
            yield {name: values[start : start + PART_ROWS] for name, values in self.columns.items()}


def alerts(gold: Gold, stock: Stock) -> Listed | None:
    """All alerts that stand, the worst first, and how many there are of each kind and store."""
    rows = gold.read(
        ALERTS,
        ["store_id", "item_id", "alert", "raised_at", "raised_quantity", "times_raised"],
        pc.field("is_active"),
    )
    if rows is None:
        return None
    kinds = pc.fill_null(pc.index_in(rows["alert"], pa.array(ALERT_KINDS)), len(ALERT_KINDS))
    rows = rows.append_column("kind", kinds).sort_by(
        [
            ("kind", "ascending"),
            ("raised_at", "descending"),
            ("store_id", "ascending"),
            ("item_id", "ascending"),
        ]
    )
    there = stock.rows.take(stock.rows_of(rows["store_id"], rows["item_id"]))
    by_kind = rows.group_by(["alert", "store_id"]).aggregate([("alert", "count")])
    return Listed(
        {
            "store": numbers(rows["store_id"]),
            "item": numbers(rows["item_id"]),
            "name": stock.names_of(rows["item_id"]),
            "alert": texts(rows["alert"]),
            "raised_at": times(rows["raised_at"]),
            "raised_quantity": numbers(rows["raised_quantity"]),
            "times": numbers(rows["times_raised"]),
            "on_hand": numbers(there["on_hand_quantity"]),
            "available": numbers(there["available_quantity"]),
            "safety": numbers(there["safety_stock_quantity"]),
        },
        rows.num_rows,
        {"by_kind": [list(row.values()) for row in by_kind.to_pylist()]},
    )


def orders(gold: Gold, stock: Stock) -> Listed | None:
    """Orders that somebody is still to collect, those that are released first on top."""
    statuses = gold.read(ORDERS, ["status"])
    if statuses is None:
        return None
    rows = gold.read(
        ORDERS,
        [
            "trans_id",
            "item_id",
            "fulfillment_store_id",
            "status",
            "ordered_at",
            "ordered_quantity",
            "picked_up_quantity",
            "open_quantity",
            "release_at",
        ],
        pc.field("status").isin(TO_COLLECT),
    )
    assert rows is not None
    rows = rows.sort_by(
        [("ordered_at", "ascending"), ("trans_id", "ascending"), ("item_id", "ascending")]
    )
    return Listed(
        {
            "order": texts(rows["trans_id"]),
            "item": numbers(rows["item_id"]),
            "name": stock.names_of(rows["item_id"]),
            "store": numbers(rows["fulfillment_store_id"]),
            "status": texts(rows["status"]),
            "ordered_at": times(rows["ordered_at"]),
            "ordered": numbers(rows["ordered_quantity"]),
            "picked_up": numbers(rows["picked_up_quantity"]),
            "open": numbers(rows["open_quantity"]),
            "release_at": times(rows["release_at"]),
        },
        rows.num_rows,
        {
            "by_status": _counts_of(statuses["status"]),
            "open_units": pc.sum(rows["open_quantity"]).as_py() or 0,
        },
    )


def sessions(gold: Gold, stock: Stock) -> Listed | None:
    """The counts of the last month, by store and day, the newest first."""
    if VARIANCES not in gold.versions:
        return None
    since = _days_before(_latest_count(stock), SESSION_DAYS)
    names = ["store_id", "counted_at", "previous_counted_at", "counted_quantity", "book_quantity"]
    names += ["variance_quantity", "is_restated", "is_late"]
    parts = [_by_day(batch) for batch in gold.batches(VARIANCES, names, _since(since))]
    totals = _summed(pa.concat_tables(parts)) if parts else None
    if totals is None:
        return Listed({"store": []}, 0, {"days": SESSION_DAYS})
    totals = totals.sort_by([("counted_on", "descending"), ("store_id", "ascending")])
    shown = totals.slice(0, MOST_SESSIONS)
    return Listed(
        {
            "store": numbers(shown["store_id"]),
            "first_at": times(shown["first_at"]),
            "last_at": times(shown["last_at"]),
            **{name: numbers(shown[name]) for name in _SESSION_SUMS},
        },
        totals.num_rows,
        {"days": SESSION_DAYS},
    )


_SESSION_KEYS = ["store_id", "counted_on"]
_SESSION_SUMS = (
    "items",
    "counted",
    "book",
    "opening",
    "varied",
    "missing",
    "surplus",
    "restated",
    "late",
)


def _by_day(batch: pa.RecordBatch) -> pa.Table:
    """The sums of one batch by store and day of the count.

    A first count finds the opening stock: it has no variance that somebody could look into.
    """
    rows = pa.Table.from_batches([batch])
    is_first = pc.is_null(rows["previous_counted_at"])
    variance = pc.if_else(is_first, 0, rows["variance_quantity"])
    one = pa.scalar(1, pa.int64())
    columns = {
        "store_id": rows["store_id"],
        "counted_on": rows["counted_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.date32()),
        "first_at": rows["counted_at"],
        "last_at": rows["counted_at"],
        "items": pc.if_else(is_first, one, one),
        "counted": rows["counted_quantity"],
        "book": pc.if_else(is_first, 0, rows["book_quantity"]),
        "opening": is_first.cast(pa.int64()),
        "varied": pc.not_equal(variance, 0).cast(pa.int64()),
        "missing": pc.if_else(pc.less(variance, 0), pc.negate(variance), 0),
        "surplus": pc.if_else(pc.greater(variance, 0), variance, 0),
        "restated": pc.fill_null(rows["is_restated"], False).cast(pa.int64()),
        "late": pc.fill_null(rows["is_late"], False).cast(pa.int64()),
    }
    return _summed(pa.table(columns))


def _summed(rows: pa.Table) -> pa.Table:
    """One row a store and day; sums of sums are sums again, so parts can be added up."""
    how = {"first_at": "min", "last_at": "max", **dict.fromkeys(_SESSION_SUMS, "sum")}
    summed = rows.group_by(_SESSION_KEYS).aggregate(list(how.items()))
    return summed.select(
        [*_SESSION_KEYS, *(f"{name}_{by}" for name, by in how.items())]
    ).rename_columns([*_SESSION_KEYS, *how])


def variances(gold: Gold, stock: Stock) -> Listed | None:
    """What the counts of the last days found missing or too much, the most units first."""
    since = _days_before(_latest_count(stock), VARIANCE_DAYS)
    is_variance = (pc.field("variance_quantity") != 0) & pc.field("previous_counted_at").is_valid()
    rows = gold.read(
        VARIANCES,
        [
            "store_id",
            "item_id",
            "counted_at",
            "counted_quantity",
            "book_quantity",
            "variance_quantity",
            "is_restated",
            "is_late",
        ],
        is_variance if since is None else is_variance & _since(since),
    )
    if rows is None:
        return None
    rows = rows.append_column("units", pc.abs(rows["variance_quantity"]))
    shown = foremost(
        rows,
        MOST_VARIANCES,
        [
            ("units", "descending"),
            ("counted_at", "descending"),
            ("store_id", "ascending"),
            ("item_id", "ascending"),
        ],
    )
    return Listed(
        {
            "store": numbers(shown["store_id"]),
            "item": numbers(shown["item_id"]),
            "name": stock.names_of(shown["item_id"]),
            "counted_at": times(shown["counted_at"]),
            "book": numbers(shown["book_quantity"]),
            "counted": numbers(shown["counted_quantity"]),
            "variance": numbers(shown["variance_quantity"]),
            "is_restated": flags(shown["is_restated"]),
            "is_late": flags(shown["is_late"]),
        },
        rows.num_rows,
        {"days": VARIANCE_DAYS},
    )


def restatements(gold: Gold, stock: Stock) -> Listed | None:
    """Published figures that were changed afterwards, the last changed first."""
    published = gold.read(RESTATEMENTS, ["cause", "restated_at"])
    if published is None:
        return None
    # A log that only grows: of all but the newest rows no more than this is read.
    newest = foremost(published, MOST_RESTATEMENTS, [("restated_at", "descending")])
    since = pc.min(newest["restated_at"])
    rows = gold.read(
        RESTATEMENTS,
        [
            "store_id",
            "item_id",
            "counted_at",
            "figure_version",
            "cause",
            "restated_at",
            "believed_on_hand_quantity",
            "on_hand_quantity",
            "believed_book_quantity",
            "book_quantity",
            "believed_variance_quantity",
            "variance_quantity",
        ],
        pc.field("restated_at") >= since,
    )
    assert rows is not None
    shown = foremost(
        rows,
        MOST_RESTATEMENTS,
        [
            ("restated_at", "descending"),
            ("counted_at", "descending"),
            ("store_id", "ascending"),
            ("item_id", "ascending"),
            ("figure_version", "descending"),
        ],
    )
    return Listed(
        {
            "store": numbers(shown["store_id"]),
            "item": numbers(shown["item_id"]),
            "name": stock.names_of(shown["item_id"]),
            "counted_at": times(shown["counted_at"]),
            "cause": texts(shown["cause"]),
            "restated_at": times(shown["restated_at"]),
            "was_on_hand": numbers(shown["believed_on_hand_quantity"]),
            "on_hand": numbers(shown["on_hand_quantity"]),
            "was_book": numbers(shown["believed_book_quantity"]),
            "book": numbers(shown["book_quantity"]),
            "was_variance": numbers(shown["believed_variance_quantity"]),
            "variance": numbers(shown["variance_quantity"]),
        },
        published.num_rows,
        {"by_cause": _counts_of(published["cause"])},
    )


def freshness(gold: Gold, stock: Stock) -> list[dict[str, Any]]:
    """What each feed has sent: how many rows, and when it was heard of last.

    The last event is what gold knows of it: messages and counts tell their own time, a list of
    items has none.
    """
    events = {
        MESSAGES: stock.clock,
        COUNTS: second(pc.max(stock.rows["counted_at"])),
        ITEMS: None,
    }
    found = []
    for feed, table in FEEDS.items():
        files = gold.files(table)
        if files is None:
            continue
        files = files.filter(pc.greater(files["num_records"], 0))
        received_at = landed_at = None
        if files.num_rows:
            # The log's own maximum of a time is cut to milliseconds: it says where to look.
            newest = pc.max(files["max.ingest_id"]).as_py()
            rows = gold.read(table, ["received_at", "landed_at"], pc.field("ingest_id") == newest)
            assert rows is not None
            received_at = second(pc.max(rows["received_at"]))
            landed_at = second(pc.max(rows["landed_at"]))
        found.append(
            {
                "feed": feed,
                "rows": pc.sum(files["num_records"]).as_py() or 0,
                "received_at": received_at,
                "landed_at": landed_at,
                "event_at": events[feed],
            }
        )
    return found


def _counts_of(values: pa.ChunkedArray) -> dict[str, int]:
    """How often each value is there."""
    return {row["values"]: row["counts"] for row in values.value_counts().to_pylist()}


def _latest_count(stock: Stock) -> int | None:
    return second(pc.max(stock.rows["counted_at"]))


def _days_before(moment: int | None, days: int) -> datetime | None:
    if moment is None:
        return None
    try:
        return datetime.fromtimestamp(moment, UTC) - timedelta(days=days)
    except (OverflowError, ValueError):  # a year that Python does not have
        return None


def _since(moment: datetime | None) -> pc.Expression | None:
    return None if moment is None else pc.field("counted_at") >= moment
