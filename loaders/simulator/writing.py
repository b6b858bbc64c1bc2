"""Write a simulated month, or a chain store by store, to a folder.

Kept apart as the only simulator module that touches a disk. Every file appears by rename,
month.json last: where it lies, the month is complete.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from loaders.messages import date_time_texts
from loaders.simulator.catalogue import Catalogue
from loaders.simulator.chain import Chain, shared_by_stores, simulate_store, store_rows
from loaders.simulator.config import FIRST_ITEM_ID, pos_name
from loaders.simulator.counts import CountFile
from loaders.simulator.month import Month
from loaders.simulator.tables import Ints
from loaders.simulator.truth_tables import sum_of_totals, totals, truth_tables

FORMAT_VERSION = 1
# Rows of a row group of a chain's messages, 1 MB: whoever plays them reads one of each store at a
# time, and 200 stores at once.
MESSAGES_AT_ONCE = 4_096


def write_month(month: Month, out: Path) -> None:
    """Write landing data, truth and month.json of `month` below `out` (made where missing).

    A month that lies there already is replaced. Times in file columns are UTC without a zone.
    """
    _begin(out, [pos_name(store_id) for store_id in month.store_ids])
    _write(out / "reference" / "items.csv", _items_csv(month.catalogue, month.safety_stock))
    sent = _write_sent(month, out)
    _write_json(out / "counts.json", sent)
    _write_truth(month, out / "truth")
    _write_json(
        out / "month.json",
        {"format_version": FORMAT_VERSION, "config": month.config.as_json(), **totals(month)},
    )


def write_chain(chain: Chain, out: Path, jobs: int = 1) -> None:
    """Write a chain below `out` as a month is written, but for the truth, which is in a folder for
    each store, and with `stores.csv`, which is the seed `stores` of this chain.

    A store at a time in each of `jobs` processes, so the memory is that of the largest store. The
    files are the same whatever the jobs.
    """
    _begin(out, [pos_name(store_id) for store_id in chain.store_ids])
    shared = shared_by_stores(chain)
    _write(out / "reference" / "items.csv", _items_csv(shared.goods, shared.safety_stock))
    _write(out / "stores.csv", _csv(store_rows(chain)))
    make = partial(write_store, chain, out)
    if jobs == 1:
        written = [make(store_id) for store_id in chain.store_ids]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            written = list(pool.map(make, chain.store_ids))
    sent = [count for counts, _ in written for count in counts]
    _write_json(out / "counts.json", sorted(sent, key=lambda each: each["sent_at"]))
    _write_json(
        out / "month.json",
        {
            "format_version": FORMAT_VERSION,
            "config": chain.as_json(),
            **sum_of_totals([found for _, found in written]),
        },
    )


def write_store(
    chain: Chain, out: Path, store_id: int
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Simulate and write one store of a chain; what counts were sent, and its totals."""
    month = simulate_store(chain, store_id)
    sent = _write_sent(month, out, MESSAGES_AT_ONCE)
    _write_truth(month, out / "truth" / pos_name(store_id))
    return sent, totals(month)


def _begin(out: Path, names: list[str]) -> None:
    """From here on the folder is incomplete; and nothing stays of a month or chain that another one
    would be taken for part of."""
    (out / "month.json").unlink(missing_ok=True)
    (out / "stores.csv").unlink(missing_ok=True)
    for truth in (*out.glob("truth/*.parquet"), *out.glob("truth/*/*.parquet")):
        truth.unlink()
    for changes in out.glob("*/changes.parquet"):
        if changes.parent.name not in names:
            changes.unlink()
            names = [*names, changes.parent.name]
    for pos in names:
        for stale in (out / pos / "counts").glob(f"{pos}_*.csv"):
            stale.unlink()


def _write_sent(
    month: Month, out: Path, messages_at_once: int | None = None
) -> list[dict[str, str]]:
    """Write what the stores sent; where each count is, by the time it was sent."""
    start = datetime.combine(month.config.start, datetime.min.time())
    for store_id in month.store_ids:
        changes = out / pos_name(store_id) / "changes.parquet"
        _write_parquet(changes, _changes(month, store_id), messages_at_once)
    sent: list[dict[str, str]] = []
    for count in month.counts:
        pos = pos_name(count.store_id)
        sent_at = start + timedelta(seconds=count.sent_s)
        path = f"{pos}/counts/{pos}_{sent_at:%Y%m%dT%H%M%S}.csv"
        _write(out / path, _count_csv(count, start + timedelta(seconds=count.counted_s)))
        sent.append({"sent_at": f"{sent_at:%Y-%m-%d %H:%M:%S}", "pos": pos, "path": path})
    return sent


def _write_truth(month: Month, folder: Path) -> None:
    for name, table in truth_tables(month).items():
        _write_parquet(folder / f"{name}.parquet", table)


def _items_csv(goods: Catalogue, safety_stock: Ints) -> bytes:
    columns = (
        goods.item_id.tolist(),
        goods.names,
        goods.supplier_id.tolist(),
        safety_stock.tolist(),
    )
    names = ("item_id", "name", "supplier_id", "safety_stock_quantity")
    return _csv([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
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


def _write_parquet(path: Path, table: pa.Table, row_group_size: int | None = None) -> None:
    sink = io.BytesIO()
    plain = [field.name for field in table.schema if field.name == "body"]
    pq.write_table(
        table,
        sink,
        row_group_size=row_group_size,
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
