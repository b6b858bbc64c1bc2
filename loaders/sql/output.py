"""A result as text: a table for people, CSV for spreadsheets, JSON for programs.

What is in the tables came from outside, so text is never written where it could do something: no
control characters to a terminal, no formulas into a spreadsheet.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from loaders.errors import UserError

FORMATS = ("table", "csv", "json")
# What spreadsheets take for a formula, in the usual and in full-width forms, after any white space.
FORMULA = r"^\s*[=+\-@\t\r\n＝＋－＠]"


def print_table(result: pa.Table, console: Console) -> None:
    """Print a table; a row to a block, as psql does, where the terminal is too narrow for it."""
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for field in result.schema:
        is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        is_number = is_number or pa.types.is_decimal(field.type)
        grid.add_column(
            Text(_printable(field.name)),
            justify="right" if is_number else "left",
            no_wrap=True,
        )
    rows = list(_rows(result))
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    wanted = Measurement.get(console, console.options.update(width=100_000), grid).maximum
    if not console.is_terminal:
        console.width = max(wanted, console.width)  # a file has no edge
    if wanted <= console.width:
        console.print(grid)
    else:
        width = max((len(name) for name in result.column_names), default=0)
        for number, row in enumerate(rows, start=1):
            console.print(Text(f"── row {number} ", style="dim"))
            for name, value in zip(result.column_names, row, strict=True):
                console.print(Text(f"{_printable(name):{width}}  ").append_text(_cell(value)))


def csv_text(result: pa.Table, *, raw: bool = False) -> bytes:
    """The result as CSV, UTF-8, with a header; null is nothing, an empty text ``""``.

    Text that a spreadsheet would take for a formula gets an apostrophe in front of it, as OWASP
    advises, unless ``raw``. Lists, maps and structures are JSON text.
    """
    columns = [_csv_column(column, raw=raw) for column in result.columns]
    names = result.column_names if raw else _defused(pa.array(result.column_names)).to_pylist()
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.Table.from_arrays(columns, names=names), sink)
    return bytes(sink.getvalue().to_pybytes())


def json_lines(result: pa.Table) -> Iterator[str]:
    """The lines of a JSON list, an object a row.

    Whole numbers and decimals are numbers with all their digits, times ISO texts (UTC with a Z),
    bytes hexadecimal, null is null; NaN and infinities, which JSON has not, are texts.
    :class:`UserError` where two columns have one name.
    """
    twice = [name for name, times in Counter(result.column_names).items() if times > 1]
    if twice:
        raise UserError(
            f"two columns are called {twice[0]}, and a JSON object can hold one; name them with as"
        )
    names = [json.dumps(name, ensure_ascii=False) for name in result.column_names]
    yield "["
    last = result.num_rows - 1
    for number, row in enumerate(_rows(result)):
        pairs = ", ".join(f"{n}: {json_value(v)}" for n, v in zip(names, row, strict=True))
        yield f"{{{pairs}}}{'' if number == last else ','}"
    yield "]"


def json_value(value: object) -> str:
    """One value as JSON text.

    >>> json_value(Decimal("1.50")), json_value(datetime(2021, 1, 1, tzinfo=UTC))
    ('1.50', '"2021-01-01T00:00:00Z"')
    """
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, dict):
        return _json_object(value.items())
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):  # how Arrow gives a map
            return _json_object(value)
        return f"[{', '.join(json_value(item) for item in value)}]"
    return json.dumps(_json_scalar(value), ensure_ascii=False)


def _json_object(items: Iterable[tuple[object, object]]) -> str:
    pairs = (f"{json.dumps(_text(key), ensure_ascii=False)}: {json_value(v)}" for key, v in items)
    return f"{{{', '.join(pairs)}}}"


def _json_scalar(value: object) -> object:
    """What the standard encoder takes for ``value``."""
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text.removesuffix('+00:00')}Z" if value.tzinfo else text
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | float) else _text(value)


def _rows(result: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows as plain Python; by position, since two columns may have one name."""
    for batch in result.to_batches(max_chunksize=10_000):
        yield from zip(*(_plain(column) for column in batch.columns), strict=True)


def _plain(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        naive = column.cast(pa.timestamp("us")).to_pylist()
        return [None if time is None else time.replace(tzinfo=UTC) for time in naive]
    values: list[Any] = column.to_pylist()
    return values


def _cell(value: object) -> Text:
    if value is None:
        return Text("null", style="dim")
    return Text(_printable(_text(value)))


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case datetime():
            return value.replace(tzinfo=None).isoformat(" ")
        case Decimal():
            return format(value, "f")
        case date() | timedelta():
            return str(value)
    return json_value(value)


def _printable(text: str) -> str:
    """Text without anything that a terminal would act on: control and direction characters."""
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs")
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _csv_column(column: pa.ChunkedArray, *, raw: bool) -> pa.ChunkedArray | pa.Array:
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = [value for chunk in column.chunks for value in _plain(chunk)]
        texts = [None if value is None else json_value(value).strip('"') for value in values]
        text = pa.array(texts, pa.string())
        return text if raw else _defused(text)
    if pa.types.is_timestamp(kind):
        return _time_texts(column)
    if pa.types.is_null(kind) or pa.types.is_duration(kind):
        return column.cast(pa.string()) if pa.types.is_null(kind) else column.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        text = column.cast(pa.string())
        return text if raw else _defused(text)
    return column


def _time_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as the landing format has them, with fractions of a second where there are any."""
    naive = column.cast(pa.timestamp("us"))
    seconds = pc.floor_temporal(naive, unit="second")
    has_fractions = pc.any(pc.not_equal(naive, seconds)).as_py()
    unit = "us" if has_fractions else "s"
    return pc.strftime(naive.cast(pa.timestamp(unit)), format="%Y-%m-%d %H:%M:%S")


def _defused(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    is_formula = pc.match_substring_regex(texts, FORMULA)
    return pc.if_else(is_formula, pc.binary_join_element_wise("'", texts, ""), texts)
