"""The bronze tables: their columns, and how a landed file becomes rows.

Bronze keeps what was received as it was received: a message is a string, a CSV row is five
strings. What is wrong with a message is for silver to say; only what cannot be put into these
columns at all (a CSV with another header) is described here, in ``defect``, and kept in ``raw``.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

import pyarrow as pa

from loaders.csv_rows import MOST_LINES_OF_A_ROW, csv_rows, lines_of, plain_columns, text_of
from loaders.landing import COUNTS, ITEMS, MESSAGES
from loaders.parts import BEGINNING, Part

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


def rows_of(feed: str, data: bytes, part: Part = BEGINNING) -> dict[str, list[object]]:
    """Columns of the rows of a file, or of a part of one, without the receipt columns but for
    ``source_line``.

    ``source_line`` counts from 1 as an editor does. Blank lines are not messages. Bytes that are
    not UTF-8 become ``\\xNN``; a message with such bytes says so in front, so that it is no JSON,
    whatever they stand behind, and reaches quarantine.
    """
    if part.start == 0:
        data = data.removeprefix(codecs.BOM_UTF8)
    if feed == MESSAGES:
        return _message_rows(data, part.first_line)
    return _csv_columns(data, fields_of(feed), part)


def fields_of(feed: str) -> tuple[str, ...]:
    """The fields that a CSV file of a feed has to have."""
    return COUNT_FIELDS if feed == COUNTS else ITEM_FIELDS


def header_of(feed: str, data: bytes) -> tuple[bytes, int | None]:
    """The header that a CSV file begins with, and how many fields each of its rows is to have;
    ``None`` if the header lacks one of the feed's."""
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = lines_of(data)
    header, count = _header(lines)
    width = len(header) if _positions(header, fields_of(feed)) else None
    return b"".join(lines[:count]), width


def _message_rows(data: bytes, first_line: int) -> dict[str, list[object]]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\n".join(message_of(line) for line in data.split(b"\n"))
    # Not splitlines(): a message may hold U+2028 and its like.
    numbered = [
        (number, line.rstrip("\r"))
        for number, line in enumerate(text.split("\n"), start=first_line)
        if line and not line.isspace()
    ]
    return {
        "source_line": [number for number, _ in numbered],
        "body": [line for _, line in numbered],
    }


def message_of(line: bytes) -> str:
    """A message's bytes as text; those that are not UTF-8 so that silver rejects them."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return f"not UTF-8: {text_of(line)}"


def _csv_columns(data: bytes, fields: Sequence[str], part: Part) -> dict[str, list[object]]:
    columns: dict[str, list[object]] = {
        name: [] for name in ("source_line", *fields, "defect", "raw")
    }
    encoded = lines_of(data)
    if part.start == 0:
        header, header_lines = _header(encoded)
    else:
        header, header_lines = _header(lines_of(part.header.encode("latin-1")))[0], 0
    positions = _positions(header, fields)
    header_defect = None if positions else _header_defect(header, fields)
    if part.start == 0 and header_defect and len(encoded) <= header_lines:
        _append(columns, fields, 1, None, header_defect, text_of(data))
        return columns
    width = len(header) if positions else None
    lines = [text_of(line) for line in encoded[header_lines:]]
    first_line = part.first_line + header_lines
    plain = plain_columns(lines, width) if width else None
    if plain is not None:
        columns["source_line"] = list(range(first_line, first_line + len(lines)))
        for name, position in zip(fields, positions, strict=True):
            columns[name] = list[object](plain[position])
        columns["defect"], columns["raw"] = [None] * len(lines), [None] * len(lines)
        return columns
    for row in csv_rows(lines, width):
        if not row.fields and row.fault is None:
            continue
        defect = header_defect or row.fault
        if defect is None and len(row.fields) != width:
            defect = f"row has {len(row.fields)} fields; the header has {width}"
        line = first_line + row.at
        if defect is None:
            values = [row.fields[position] for position in positions]
            _append(columns, fields, line, values, None, None)
        else:
            raw = "".join(lines[row.at : row.at + row.lines]).rstrip("\r\n")
            _append(columns, fields, line, None, defect, raw)
    return columns


def _header(lines: Sequence[bytes]) -> tuple[list[str], int]:
    """The fields of the first row, and of how many lines it is."""
    first = next(csv_rows([text_of(line) for line in lines[:MOST_LINES_OF_A_ROW]]), None)
    return ([], 0) if first is None else (first.fields, first.lines)


def _positions(header: Sequence[str], fields: Sequence[str]) -> list[int]:
    names = [name.strip() for name in header]
    if any(names.count(field) != 1 for field in fields):
        return []
    return [names.index(field) for field in fields]


def _header_defect(header: Sequence[str], fields: Sequence[str]) -> str:
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
