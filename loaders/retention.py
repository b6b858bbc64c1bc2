"""The retention of employees' numbers: bronze keeps who counted for so many days, then a key.

A number is replaced by its keyed hash in bronze itself, marked ``key:``, and a row that did not fit
its columns by its shape. Silver makes the same key of both (`macros/employee_key.sql`), so a full
refresh gives what the increments gave, before and after. What is given up: nobody can tell any more
which number it was, and with another hash key the old ones stay under the old.

Bronze is append-only, and says so to all writers; that is lifted for the one commit that puts the
keys in, by whoever holds the load's lock. Killed in between, the next call puts it right.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties, write_deltalake

from loaders.bronze import CONFIGURATION
from loaders.config import Settings
from loaders.errors import UserError
from loaders.files import only_holder
from loaders.landing import COUNTS
from loaders.load import ROW_GROUP_ROWS, open_table
from loaders.tables import StoredTable

MARK = "key:"
DEFAULT_KEY = "development"  # as macros/employee_key.sql has it
DAYS_VARIABLE = "POS_EMPLOYEE_DAYS"
# Rows that are replaced by one commit: bounds its memory.
BATCH_ROWS = 500_000
# What is left of a row that did not fit its columns: its separators. As macros/employee_key.sql.
SHAPE = '[^,;" ]'


@dataclass(frozen=True)
class Report:
    """What was done: rows whose number became a key, or whose text a shape, and until when."""

    rows: int
    before: datetime


def days_from_environment() -> float | None:
    """How long numbers are kept, in days; None: for good. :class:`UserError`."""
    text = os.environ.get(DAYS_VARIABLE)
    if not text:
        return None
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 36_500:
        raise UserError(f"{DAYS_VARIABLE} is a number of days, 0 or more; not {text!r}")
    return days


def key_of(employee_id: str, hash_key: str) -> str:
    """What silver calls an employee.

    >>> key_of(" 9 ", "development")[:8]
    'aaa41f92'
    """
    return hashlib.sha256(f"{hash_key}|{employee_id.strip(' ')}".encode()).hexdigest()


def retain(settings: Settings, days: float) -> Report:
    """Put keys for the numbers that were received more than ``days`` ago, and are in silver.

    Takes the load's lock: beside `pos run`, which does it by itself, it is refused.
    """
    with only_holder(settings.state / "loader.lock", doing="loading"):
        return replace_numbers(settings, days)


def replace_numbers(settings: Settings, days: float) -> Report:
    """As :func:`retain`, for whoever holds the load's lock.

    :class:`UserError` where the environment's hash key is not the one that silver was built with:
    the keys would name nobody that silver knows, and the numbers would be gone.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    path = settings.table("bronze", COUNTS)
    table = open_table(path)
    hash_key = os.environ.get("POS_EMPLOYEE_HASH_KEY") or DEFAULT_KEY
    rows = 0
    try:
        for first, last in _ranges(settings, table, before):
            rows += _replace(settings, str(path), first, last, hash_key)
    finally:
        _set_append_only(DeltaTable(str(path)), CONFIGURATION["delta.appendOnly"])
    return Report(rows, before)


def _ranges(settings: Settings, table: DeltaTable, before: datetime) -> Iterator[tuple[int, int]]:
    """First and last commit of each batch that has something to replace; commits that are built."""
    dataset = table.to_pyarrow_dataset()
    is_old = pc.field("received_at") < pa.scalar(before, pa.timestamp("us", tz="UTC"))
    is_due = is_old & (pc.field("ingest_id") <= _built_through(settings))
    has_number = pc.field("employee_id").is_valid() & ~pc.starts_with(pc.field("employee_id"), MARK)
    has_text = pc.field("raw").is_valid() & pc.match_substring_regex(pc.field("raw"), '[^,;" #]')
    due = dataset.to_table(columns=["ingest_id"], filter=is_due & (has_number | has_text))
    found = due.group_by("ingest_id").aggregate([([], "count_all")]).sort_by("ingest_id")
    first = last = None
    size = 0
    for row in found.to_pylist():
        if first is not None and last is not None and size + row["count_all"] > BATCH_ROWS:
            yield first, last
            first, size = None, 0
        first = row["ingest_id"] if first is None else first
        last = row["ingest_id"]
        size += row["count_all"]
    if first is not None and last is not None:
        yield first, last


def _replace(settings: Settings, path: str, first: int, last: int, hash_key: str) -> int:
    table = StoredTable(path)
    in_range = (pc.field("ingest_id") >= first) & (pc.field("ingest_id") <= last)
    rows = table.to_pyarrow_dataset().to_table(filter=in_range)
    numbers, texts = rows["employee_id"].to_pylist(), rows["raw"].to_pylist()
    keys = {
        number: MARK + key_of(number, hash_key) for number in set(numbers) if _is_number(number)
    }
    _refuse_another_key(settings, rows, keys, first, last)
    replaced = [keys.get(number, number) for number in numbers]
    shapes = [text if text is None else re.sub(SHAPE, "#", text) for text in texts]
    changed: int = sum(
        old != new for old, new in zip([*numbers, *texts], [*replaced, *shapes], strict=True)
    )
    for name, values in (("employee_id", replaced), ("raw", shapes)):
        position = rows.schema.get_field_index(name)
        rows = rows.set_column(position, rows.schema.field(position), pa.array(values, pa.string()))
    _set_append_only(table, "false")
    write_deltalake(
        path,
        rows,
        mode="overwrite",
        predicate=f"ingest_id >= {first} and ingest_id <= {last}",
        writer_properties=WriterProperties(max_row_group_size=ROW_GROUP_ROWS),
    )
    return changed


def _is_number(text: str | None) -> bool:
    return text is not None and not text.startswith(MARK)


def _built_through(settings: Settings) -> int:
    """The last commit of counts that the books have closed."""
    path = str(settings.table("silver", "int_pos__loads_reconciled"))
    if not DeltaTable.is_deltatable(path):
        return 0
    books = StoredTable(path).to_pyarrow_table(
        columns=["_ingest_id"], filters=[("source", "=", COUNTS)]
    )
    return int(pc.max(books["_ingest_id"]).as_py() or 0)


def _refuse_another_key(
    settings: Settings, rows: pa.Table, keys: dict[str, str], first: int, last: int
) -> None:
    """Hold what would be written against what silver says of the same rows."""
    path = str(settings.table("silver", "stg_pos__stock_counts"))
    if not DeltaTable.is_deltatable(path):
        return
    where = (pc.field("_ingest_id") >= first) & (pc.field("_ingest_id") <= last)
    names = ["_ingest_id", "_ingest_line", "employee_key"]
    silver = StoredTable(path).to_pyarrow_dataset().to_table(columns=names, filter=where)
    known = {
        (row["_ingest_id"], row["_ingest_line"]): row["employee_key"] for row in silver.to_pylist()
    }
    places = zip(
        *(rows[name].to_pylist() for name in ("ingest_id", "ingest_line", "employee_id")),
        strict=True,
    )
    for commit, line, number in places:
        if number not in keys or (commit, line) not in known:
            continue
        if keys[number] != f"{MARK}{known[commit, line]}":
            raise UserError(
                "POS_EMPLOYEE_HASH_KEY is not the key that the counts in silver were hashed with, "
                "so no number was replaced; set that key, or build the counts anew with this one: "
                "dbt build --full-refresh -s stg_pos__stock_counts+"
            )


def _set_append_only(table: DeltaTable, value: str) -> None:
    if table.metadata().configuration.get("delta.appendOnly") != value:
        table.alter.set_table_properties({"delta.appendOnly": value})
