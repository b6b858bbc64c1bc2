"""From bytes to values, and why a line cannot be kept: the first reason that applies (rule 6)."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

COUNT_FIELDS = ("item_id", "employee_id", "store_id", "date_time", "quantity")
ITEM_FIELDS = ("item_id", "name", "supplier_id", "safety_stock_quantity")

CHANGE_TYPES = {1: "sale", 2: "shrink", 3: "restock", 4: "bopis"}
FUTURE_TOLERANCE = timedelta(hours=24)

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
INT32 = range(-(2**31), 2**31)


def message_fault(message: Mapping[str, Any] | None, received_at: datetime) -> str | None:
    """Why a whole message cannot be kept; None where its items are to be judged."""
    if message is None:
        return "unparsable_message"
    occurred_at = real_time(message.get("date_time"))
    faults = {
        "missing_or_mistyped_trans_id": not text_of(message.get("trans_id")).strip(),
        "missing_or_mistyped_store_id": store_of(message.get("store_id")) is None,
        "missing_or_mistyped_date_time": occurred_at is None,
        "unknown_change_type": whole_number(message.get("change_type_id")) not in CHANGE_TYPES,
        "date_time_in_the_future": is_ahead(occurred_at, received_at),
    }
    return next((reason for reason, applies in faults.items() if applies), None)


def item_fault(item: Any) -> str | None:
    """Why one item of a good message cannot be kept."""
    if not isinstance(item, dict) or whole_number(item.get("item_id")) is None:
        return "missing_or_mistyped_item_id"
    if units_of(item.get("quantity")) is None:
        return "missing_or_mistyped_quantity"
    return None


def count_fault(row: Mapping[str, str], received_at: datetime) -> str | None:
    """Why a count row cannot be kept."""
    if store_of(row["store_id"]) is None:
        return "missing_or_mistyped_store_id"
    if whole_number(row["item_id"]) is None:
        return "missing_or_mistyped_item_id"
    counted_at = real_time(row["date_time"])
    if counted_at is None:
        return "missing_or_mistyped_date_time"
    if is_ahead(counted_at, received_at):
        return "date_time_in_the_future"
    if units_of(row["quantity"]) is None:
        return "missing_or_mistyped_quantity"
    return None


def item_row_fault(row: Mapping[str, str]) -> str | None:
    """Why an item's reference row is of no use."""
    if whole_number(row["item_id"]) is None:
        return "missing_or_mistyped_item_id"
    if row["safety_stock_quantity"] and units_of(row["safety_stock_quantity"]) is None:
        return "mistyped_safety_stock_quantity"
    return None


# From bytes to values.


def message_lines(data: bytes) -> Iterator[tuple[int, str | None]]:
    """Line numbers and texts of a message file; None where a line is not UTF-8."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            yield number, None


def whole_json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that `text` is, by the letter of the standard; None for anything else.

    Nor with a name twice in one object, of which nobody could say which is meant, or with a number
    that is larger than any double.
    """

    def refuse(name: str) -> None:
        raise ValueError(name)

    def each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError(pairs)
        return dict(pairs)

    def within_a_double(number: str) -> Any:
        if math.isinf(float(number)):
            raise ValueError(number)
        if number.startswith("-") and float(number) == 0:
            return 0  # minus zero, however it is spelt
        return float(number) if set(number) & set(".eE") else int(number)

    try:
        value = json.loads(
            text or "",
            parse_constant=refuse,
            parse_int=within_a_double,
            parse_float=within_a_double,
            object_pairs_hook=each_name_once,
        )
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def csv_rows(data: bytes, fields: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Line numbers and rows of a CSV file, blanks stripped; a text is why a row is unreadable."""
    lines = physical_lines(data.removeprefix(b"\xef\xbb\xbf"))
    count, header, _ = one_row(lines, None)
    names = [name.strip() for name in header]
    if any(names.count(name) != 1 for name in fields):
        found = ",".join(header) or "(nothing)"
        wrong = f"unreadable_row: header is {found[:200]}; expected {','.join(fields)}"
        if len(lines) <= count:
            yield 1, wrong
        at = count
        while at < len(lines):
            taken, row, fault = one_row(lines[at : at + LINES_OF_A_ROW], None)
            if row or fault:
                yield at + 1, wrong
            at += taken
        return
    at = count
    while at < len(lines):
        taken, row, fault = one_row(lines[at : at + LINES_OF_A_ROW], len(header))
        if fault:
            yield at + 1, f"unreadable_row: {fault}"
        elif row and len(row) != len(header):
            has = f"row has {len(row)} fields; the header has {len(header)}"
            yield at + 1, f"unreadable_row: {has}"
        elif row:
            yield at + 1, {name: row[names.index(name)].strip(" ") for name in fields}
        at += taken


LINES_OF_A_ROW = 64


def physical_lines(data: bytes) -> list[str]:
    """What lies between line ends, with them: LF, CR LF or a CR by itself."""
    text = data.decode("utf-8", errors="backslashreplace")
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def one_row(lines: Sequence[str], width: int | None) -> tuple[int, list[str], str | None]:
    """How many lines the first row takes, its fields, and why it is none.

    The shortest run of lines that is a row by the letter of the standard. If there is none, or if
    it has several lines and not the header's number of fields, it is the first line alone. One
    line that a lenient reader understands is a row too.
    """
    not_closed = (1, [], "a quote is not closed")
    for count in range(1, len(lines[:LINES_OF_A_ROW]) + 1):
        text = "".join(lines[:count])
        try:
            (row,) = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                continue
            if count > 1:
                return not_closed
            if "field larger" in str(error):
                return 1, [], f"unreadable: {error}"
            lenient = csv.reader([*lines[:1], ""])
            row = next(lenient)
            return (1, row, None) if lenient.line_num == 1 else not_closed
        return not_closed if count > 1 and width not in (None, len(row)) else (count, row, None)
    return not_closed if lines else (0, [], None)


def whole_number(value: Any) -> int | None:
    """A whole number or its text, up to 18 digits; None for 1.5, 1e3, true, "two" and the like."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = "0" if value == "-0.0" else str(value)
    return int(text) if WHOLE_NUMBER.fullmatch(text) else None


def units_of(value: Any) -> int | None:
    """A number of units: a whole number of at most nine digits."""
    number = whole_number(value)
    return number if number is not None and len(str(value).lstrip("-")) <= 9 else None


def real_time(value: Any) -> datetime | None:
    """A UTC time from exactly yyyy-MM-dd HH:mm:ss; None for anything else, or for no such time."""
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def is_ahead(time: datetime | None, received_at: datetime) -> bool:
    """Whether a time lies further ahead of its receipt than clocks may differ."""
    return time is not None and time > received_at + FUTURE_TOLERANCE


def store_of(value: Any) -> int | None:
    """The number of a store; None where it is no number, or too large for one."""
    number = whole_number(value)
    return number if number is not None and number in INT32 else None


def text_of(value: Any) -> str:
    """A transaction's name: any text, or a number's; empty for what is neither."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
