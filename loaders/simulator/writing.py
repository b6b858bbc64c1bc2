"""Write a simulated month to a folder.

Kept apart as the only simulator module that touches a disk. Every file appears by rename,
month.json last: where it lies, the month is complete.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from loaders.messages import date_time_texts
from loaders.simulator.config import FIRST_ITEM_ID, POS_NAMES
from loaders.simulator.counts import CountFile
from loaders.simulator.month import Month
from loaders.simulator.truth_tables import totals, truth_tables

FORMAT_VERSION = 1


def write_month(month: Month, out: Path) -> None:
    """Write landing data, truth and month.json of `month` below `out` (made where missing).

    A month that lies there already is replaced. Times in file columns are UTC without a zone.
    """
    start = datetime.combine(month.config.start, datetime.min.time())
    (out / "month.json").unlink(missing_ok=True)  # from here on the folder is incomplete
    _write(out / "reference" / "items.csv", _items_csv(month))
    for store_id, pos in POS_NAMES.items():
        _write_parquet(out / pos / "changes.parquet", _changes(month, store_id))
        for stale in (out / pos / "counts").glob(f"{pos}_*.csv"):
            stale.unlink()
    sent: list[dict[str, str]] = []
    for count in month.counts:
        pos = POS_NAMES[count.store_id]
        sent_at = start + timedelta(seconds=count.sent_s)
        path = f"{pos}/counts/{pos}_{sent_at:%Y%m%dT%H%M%S}.csv"
        _write(out / path, _count_csv(count, start + timedelta(seconds=count.counted_s)))
        sent.append({"sent_at": f"{sent_at:%Y-%m-%d %H:%M:%S}", "pos": pos, "path": path})
    _write_json(out / "counts.json", sent)
    for name, table in truth_tables(month).items():
        _write_parquet(out / "truth" / f"{name}.parquet", table)
    _write_json(
        out / "month.json",
        {"format_version": FORMAT_VERSION, "config": month.config.as_json(), **totals(month)},
    )


def _items_csv(month: Month) -> bytes:
    goods = month.catalogue
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["item_id", "name", "supplier_id", "safety_stock_quantity"])
    columns: tuple[Iterable[Any], ...] = (
        goods.item_id.tolist(),
        goods.names,
        goods.supplier_id.tolist(),
        month.safety_stock.tolist(),
    )
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _changes(month: Month, store_id: int) -> pa.Table:
    sent = month.transmissions
    chosen = np.flatnonzero(sent.store_id == store_id)
    chosen = chosen[np.argsort(sent.sent_s[chosen], kind="stable")]
    instants = np.datetime64(month.config.start, "us") + sent.sent_s[chosen].astype(
        "timedelta64[s]"
    )
    return pa.table(
        {
            "sent_at": pa.array(instants, pa.timestamp("us")),
            "lines": pa.array(sent.lines[chosen], pa.int32()),
            "body": pa.array([sent.bodies[index] for index in chosen.tolist()], pa.string()),
        }
    )


def _count_csv(count: CountFile, counted_at: datetime) -> bytes:
    rows = len(count.item)
    text = date_time_texts(np.array([counted_at], "datetime64[s]"))[0]
    table = pa.table(
        {
            "item_id": count.item + FIRST_ITEM_ID,
            "employee_id": count.employee_id,
            "store_id": pa.repeat(count.store_id, rows),
            "date_time": pa.repeat(text, rows),
            "quantity": count.quantity,
        }
    )
    sink = io.BytesIO()
    sink.write((",".join(table.column_names) + "\n").encode())  # pyarrow would put it in quotes
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    pa_csv.write_csv(table, sink, options)
    return sink.getvalue()


def _write_json(path: Path, value: object) -> None:
    _write(path, (json.dumps(value, indent=1) + "\n").encode())


def _write_parquet(path: Path, table: pa.Table) -> None:
    sink = io.BytesIO()
    plain = [field.name for field in table.schema if field.name == "body"]
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in table.column_names if name not in plain],
    )
    _write(path, sink.getvalue())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
