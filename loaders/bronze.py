"""The bronze tables: their columns, and how a landed file becomes rows.

Bronze keeps what was received as it was received: a message is a string, a CSV row is five
strings. What is wrong with a message is for silver to say; only what cannot be put into these
columns at all (a CSV with another header) is described here, in ``defect``, and kept in ``raw``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import pyarrow as pa

from loaders.landing import COUNTS, ITEMS, MESSAGES

COUNT_FIELDS = ("item_id", "employee_id", "store_id", "date_time", "quantity")
ITEM_FIELDS = ("item_id", "name", "supplier_id", "safety_stock_quantity")

_RECEIPT = [
    pa.field("ingest_id", pa.int64(), nullable=False),
    pa.field("ingest_line", pa.int64(), nullable=False),
    pa.field("source_file", pa.string(), nullable=False),
    pa.field("source_line", pa.int32(), nullable=False),
    pa.field("received_at", pa.timestamp("us", tz="UTC"), nullable=False),
    pa.field("landed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    pa.field("redrive_of_ingest_id", pa.int64()),
    pa.field("redrive_of_ingest_line", pa.int64()),
]


def _csv_schema(fields: Sequence[str]) -> pa.Schema:
    text = [pa.field(name, pa.string()) for name in (*fields, "defect", "raw")]
    return pa.schema([*_RECEIPT, *text])


SCHEMAS: dict[str, pa.Schema] = {
    MESSAGES: pa.schema([*_RECEIPT, pa.field("body", pa.string(), nullable=False)]),
    COUNTS: _csv_schema(COUNT_FIELDS),
    ITEMS: _csv_schema(ITEM_FIELDS),
}

# Statistics on the body would put half a message into the log of every commit. The loaders only
# ever append, and the table says so: a writer that would change history is refused.
CONFIGURATION = {
    "delta.appendOnly": "true",
    "delta.dataSkippingStatsColumns": "ingest_id,received_at,landed_at,redrive_of_ingest_id",
}


def rows_of(feed: str, data: bytes) -> dict[str, list[object]]:
    """Columns of one file's rows, without the receipt columns but for ``source_line``.

    ``source_line`` counts from 1 as an editor does. Blank lines are not messages. Bytes that are
    not UTF-8 become ``\\xNN``, which is no valid JSON and so reaches quarantine unharmed.
    """
    text = data.decode("utf-8-sig", errors="backslashreplace")
    if feed == MESSAGES:
        return _message_rows(text)
    return _csv_rows(text, COUNT_FIELDS if feed == COUNTS else ITEM_FIELDS)


def _message_rows(text: str) -> dict[str, list[object]]:
    # Not splitlines(): a message may hold U+2028 and its like.
    numbered = [
        (number, line.rstrip("\r"))
        for number, line in enumerate(text.split("\n"), start=1)
        if line and not line.isspace()
    ]
    return {
        "source_line": [number for number, _ in numbered],
        "body": [line for _, line in numbered],
    }


def _csv_rows(text: str, fields: Sequence[str]) -> dict[str, list[object]]:
    lines = text.splitlines(keepends=True)
    reader = csv.reader(io.StringIO(text, newline=""), strict=False)
    header = next(_until_unreadable(reader), None)
    columns: dict[str, list[object]] = {
        name: [] for name in ("source_line", *fields, "defect", "raw")
    }
    width = len(header or [])
    positions = _positions(header or [], fields)
    header_defect = None if positions else _header_defect(header, fields)
    if header_defect and len(lines) <= 1:
        _append(columns, fields, 1, None, header_defect, text)
        return columns
    first_line = reader.line_num + 1
    for row in _until_unreadable(reader):
        last_line, line, first_line = reader.line_num, first_line, reader.line_num + 1
        if not row:
            continue
        defect = header_defect
        if defect is None and len(row) != width:
            defect = f"row has {len(row)} fields; the header has {width}"
        if defect is None and positions:
            _append(columns, fields, line, [row[position] for position in positions], None, None)
        else:
            raw = "".join(lines[line - 1 : last_line]).rstrip("\r\n")
            _append(columns, fields, line, None, defect, raw)
    return columns


def _until_unreadable(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The reader's rows; a row that even a lenient reader refuses (a field of over 128 KB) is
    passed on as one field, so that it is described and not lost."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield [f"unreadable: {error}"]


def _positions(header: Sequence[str], fields: Sequence[str]) -> list[int]:
    names = [name.strip() for name in header]
    if any(names.count(field) != 1 for field in fields):
        return []
    return [names.index(field) for field in fields]


def _header_defect(header: Sequence[str] | None, fields: Sequence[str]) -> str:
    found = ",".join(header) if header else "(nothing)"
    return f"header is {found[:200]}; expected {','.join(fields)}"


def _append(
    columns: dict[str, list[object]],
    fields: Sequence[str],
    line: int,
    values: Sequence[str] | None,
    defect: str | None,
    raw: str | None,
) -> None:
    columns["source_line"].append(line)
    for index, name in enumerate(fields):
        columns[name].append(values[index] if values else None)
    columns["defect"].append(defect)
    columns["raw"].append(raw)
