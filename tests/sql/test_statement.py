"""What `pos sql` lets through, what it says of errors, and what a result looks like as text."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from rich.console import Console

from loaders.errors import UserError
from loaders.sql import output
from loaders.sql.statement import is_finished, one_query, sentence, split

READS = (
    "select 1",
    "SELECT replace(name, 'a', 'b') as replaced from items",
    "with a as (select replace('x', 'y', 'z') as x) select * from a",
    "values (1), (2)",
    "show tables in gold",
    "explain select * from gold.inventory_current",
    "-- delete nothing\n/* drop */ select 'drop table x; insert' as text, `update` from items",
)
WRITES = {
    "delete from gold.inventory_current": "DELETE",
    "/* select */ drop table gold.inventory_current": "DROP",
    "-- select\ninsert into silver.stores values (9)": "INSERT",
    "with a as (select 1) insert into silver.stores select * from a": "INSERT",
    "with a as (select 1) delete from silver.stores": "DELETE",
    "explain insert into silver.stores values (9)": "INSERT",
    "create or replace table gold.x as select 1": "CREATE",
    "set spark.sql.session.timeZone = 'Asia/Tokyo'": "SET",
    "use silver": "USE",
    "merge into a using b on a.x = b.x when matched then delete": "MERGE",
}


@pytest.mark.parametrize("statement", READS)
def test_what_reads_is_let_through(statement: str) -> None:
    sent = one_query(f"\n{statement} ;\n")
    assert statement.endswith(sent)
    assert sent.partition(" ")[0].lower() in ("select", "with", "values", "show", "explain")


@pytest.mark.parametrize("statement", WRITES)
def test_what_writes_is_refused_with_a_sentence(statement: str) -> None:
    with pytest.raises(UserError, match=f"not {WRITES[statement]}; .*dbt models"):
        one_query(statement)


def test_one_statement_at_a_time() -> None:
    with pytest.raises(UserError, match="one statement at a time; these are 2"):
        one_query("select 1; drop table gold.inventory_current")
    for nothing in ("", " ; ;", "-- only a comment"):
        with pytest.raises(UserError, match="there is no statement"):
            one_query(nothing)
    assert split("select ';' as a; -- b;\nselect 2") == ["select ';' as a", "select 2"]


def test_a_statement_is_finished_by_a_semicolon_of_its_own() -> None:
    assert is_finished("select 1;  -- done\n")
    for text in ("select 1", "select ';'", "select 1 -- ;", "select 1 /* ; */"):
        assert not is_finished(text), text


def test_describe_needs_no_word_before_the_table() -> None:
    assert one_query("describe gold.stores") == "describe table gold.stores"
    assert one_query("DESC stores;") == "DESC table stores"
    for said in ("describe table gold.stores", "describe extended x", "describe schema gold"):
        assert one_query(said) == said


def test_an_error_is_a_sentence_with_what_to_do() -> None:
    tables = ["gold.inventory_current", "gold.bopis_orders"]
    missing = "Table not found: [TABLE_OR_VIEW_NOT_FOUND] Table or view not found: inventory_curent"
    assert sentence(missing, tables) == (
        "there is no table inventory_curent; did you mean gold.inventory_current?"
    )
    assert sentence(missing) == "there is no table inventory_curent; see: show tables in gold"
    column = (
        'attribute ObjectName([Identifier("a"), Identifier("b")]) is missing from the schema: x'
    )
    assert sentence(column).startswith("there is no column a.b in what is selected from")
    assert sentence("invalid argument: found selec at 0:5 expected ';', or end of input") == (
        "the statement cannot be read from 'selec' on (character 1): expected ';', or end of input"
    )
    assert sentence("divide\n by zero\n\nJVM stacktrace:\nat x") == "divide by zero"


NAME = "=HYPERLINK(\"http://x\")\x1b[2J\u202e, 'new'\nline"
RESULT = pa.table(
    {
        "item_id": pa.array([9_007_199_254_740_993, None], pa.int64()),
        "price": pa.array([Decimal("-1.50"), None], pa.decimal128(20, 2)),
        "name": pa.array([NAME, ""], pa.string()),
        "at": pa.array([datetime(2021, 1, 1, 10, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "on": pa.array([date(2021, 1, 1), None], pa.date32()),
        "is_new": pa.array([True, None], pa.bool_()),
        "rate": pa.array([float("nan"), 0.25], pa.float64()),
        "tags": pa.array([["a", "-b"], None], pa.list_(pa.string())),
        "by_store": pa.array([[("1", 2)], None], pa.map_(pa.string(), pa.int32())),
        "line": pa.array([{"n": Decimal("0.10"), "x": None}, None]),
        "digest": pa.array([b"\x00\xff", None], pa.binary()),
    }
)


def test_json_keeps_types_digits_and_nulls() -> None:
    text = "\n".join(output.json_lines(RESULT))
    first, second = json.loads(text, parse_float=Decimal)
    assert first == {
        "item_id": 9_007_199_254_740_993,
        "price": Decimal("-1.50"),
        "name": NAME,
        "at": "2021-01-01T10:00:00Z",
        "on": "2021-01-01",
        "is_new": True,
        "rate": "NaN",
        "tags": ["a", "-b"],
        "by_store": {"1": 2},
        "line": {"n": Decimal("0.10"), "x": None},
        "digest": "00ff",
    }
    assert second == {**dict.fromkeys(RESULT.column_names), "name": "", "rate": Decimal("0.25")}
    assert json.loads("".join(output.json_lines(RESULT.slice(0, 0)))) == []


def test_json_refuses_two_columns_of_one_name() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(UserError, match="two columns are called a"):
        list(output.json_lines(twice))
    assert output.csv_text(twice) == b'"a","a"\n1,2\n'


def test_csv_is_safe_to_open_in_a_spreadsheet() -> None:
    text = output.csv_text(RESULT).decode()
    header, first, second = csv.reader(io.StringIO(text))
    found = dict(zip(header, first, strict=True))
    assert found["name"] == f"'{NAME}"
    assert (found["price"], found["item_id"]) == ("-1.50", "9007199254740993")
    assert (found["at"], found["on"]) == ("2021-01-01 10:00:00", "2021-01-01")
    assert (found["tags"], found["by_store"]) == ('["a", "-b"]', '{"1": 2}')
    assert second[:3] == ["", "", ""]
    assert '\n,,"",' in text, "null is nothing, an empty text is quotes"
    _, raw, _ = csv.reader(io.StringIO(output.csv_text(RESULT, raw=True).decode()))
    assert raw[2] == NAME


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", " =1", "\r1", "＝1", "－1"])
def test_every_beginning_of_a_formula_is_defused(text: str) -> None:
    (_, row) = csv.reader(
        io.StringIO(output.csv_text(pa.table({"a": [text]})).decode(), newline="")
    )
    assert row == [f"'{text}"]


def test_a_table_shows_what_is_there_and_nothing_acts_on_the_terminal() -> None:
    text = table_text(RESULT, width=80)
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    assert "\\x1b[2J\\u202e, 'new'\\nline" in text
    assert len(text.splitlines()) == 4, "off a terminal a row is a line, whatever the width"
    assert "9007199254740993" in text


def test_a_table_too_wide_for_the_terminal_is_shown_row_by_row() -> None:
    text = table_text(RESULT, width=60, force_terminal=True, color_system=None)
    assert "── row 2 " in text
    assert "price     -1.50" in text
    narrow = table_text(RESULT.select(["item_id"]), width=60, force_terminal=True)
    assert "row 1" not in narrow


def table_text(result: pa.Table, **options: object) -> str:
    sink = io.StringIO()
    output.print_table(result, Console(file=sink, highlight=False, **options))
    return sink.getvalue()
