"""`pos sql` on a lakehouse that somebody else is using: its answers and errors, and no trace."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC

import pyarrow as pa
import pytest

from loaders import engine
from tests.sql.conftest import PROJECT, Sample

pytestmark = pytest.mark.pages

ORDERS = (
    "select trans_id, item_id, status, ordered_at, open_quantity, picked_up_at, is_unassigned, "
    "cast(ordered_quantity as decimal(12, 2)) / 4 as quarter from bopis_orders"
)


def assert_one_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("pos: "), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_json_has_the_rows_of_gold_with_their_types(sample: Sample) -> None:
    done = sample.pos("sql", f"{ORDERS} -- all of them", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout, parse_float=str)
    expected = [
        {
            "trans_id": row["trans_id"],
            "item_id": row["item_id"],
            "status": row["status"],
            "ordered_at": iso(row["ordered_at"]),
            "open_quantity": row["open_quantity"],
            "picked_up_at": iso(row["picked_up_at"]),
            "is_unassigned": row["is_unassigned"],
        }
        for row in sample.table("bopis_orders").to_pylist()
    ]
    quarters = {row.pop("quarter") for row in found}
    assert all(quarter is None or "." in quarter for quarter in quarters), "decimals with digits"
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert {row["picked_up_at"] for row in found} > {None}


def test_csv_has_the_rows_of_gold(sample: Sample) -> None:
    done = sample.pos("sql", "select * from gold.inventory_current", "--format", "csv")
    assert done.returncode == 0, done.stderr
    header, *rows = csv.reader(io.StringIO(done.stdout))
    table = sample.table("inventory_current")
    assert sorted(header) == sorted(table.column_names)
    expected = Counter(tuple(text(row[name]) for name in header) for row in table.to_pylist())
    assert Counter(tuple(row) for row in rows) == expected


def test_a_formula_in_an_item_name_is_defused_unless_raw(sample: Sample) -> None:
    statement = "select '=1+1' as name, -1 as quantity"
    safe = sample.pos("sql", statement, "--format", "csv").stdout
    raw = sample.pos("sql", statement, "--format", "csv", "--raw").stdout
    assert (safe, raw) == ('"name","quantity"\n"\'=1+1",-1\n', '"name","quantity"\n"=1+1",-1\n')


def test_a_table_says_that_there_are_more(sample: Sample) -> None:
    some = sample.pos("sql", "select * from inventory_current", "--limit", "3").stdout
    assert "(the first 3 rows; there are more, see --limit)" in some
    assert len(some.splitlines()) == 6
    every = sample.pos("sql", "select store_id from inventory_current", "--limit", "0").stdout
    assert f"({sample.table('inventory_current').num_rows:,} rows)" in every
    cut = sample.pos("sql", "select * from inventory_current", "--format", "json", "--limit", "2")
    assert (len(json.loads(cut.stdout)), cut.stderr) == (2, "cut after 2 rows; see --limit\n")


def test_a_statement_comes_from_a_file_or_standard_input(sample: Sample) -> None:
    file = sample.folder / "question.sql"
    file.write_text("-- how many\nselect count(*) as items from inventory_current;\n")
    wanted = [{"items": sample.table("inventory_current").num_rows}]
    by_file = sample.pos("sql", "--file", str(file), "--format", "json")
    assert json.loads(by_file.stdout) == wanted
    for arguments in (("-",), ()):
        done = sample.pos("sql", *arguments, "--format", "json", stdin=file.read_text())
        assert json.loads(done.stdout) == wanted
    assert_one_sentence(sample.pos("sql", "--file", "nowhere.sql"), "nowhere.sql cannot be read")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("select * from inventory_curent", ["did you mean gold.inventory_current?"]),
        ("select nothing from inventory_current", ["there is no column nothing"]),
        ("select frm", ["there is no column frm"]),
        ("select * form x", ["cannot be read from"]),
        ("select 1 / 0", ["divide by zero"]),
        ("delete from inventory_current", ["not DELETE", "dbt models"]),
        ("select 1; select 2", ["one statement at a time"]),
        ("", ["there is no statement"]),
    ],
)
def test_a_mistake_is_one_sentence(sample: Sample, statement: str, words: list[str]) -> None:
    assert_one_sentence(sample.pos("sql", statement), *words)


def test_no_lakehouse_is_one_sentence(sample: Sample) -> None:
    nowhere = sample.pos("sql", "select 1", "--lakehouse", str(sample.folder / "nowhere"))
    assert_one_sentence(nowhere, "there are no tables in", "pos sample")


def test_it_leaves_the_shared_engine_and_its_tables_alone(sample: Sample) -> None:
    session = engine.connect(sample.settings)
    state = (sample.settings.state / "engine.json").read_bytes()
    before = session.sql("show tables in gold").collect()
    # Somebody is building: the turn is taken. Whoever reads does not wait for it.
    session.sql("create view default.dbt_turn as select 'x' as invocation_id").collect()
    try:
        assert sample.pos("sql", "select count(*) from inventory_current").returncode == 0
    finally:
        session.sql("drop view default.dbt_turn").collect()
    assert session.sql("show tables in gold").collect() == before
    assert (sample.settings.state / "engine.json").read_bytes() == state
    assert engine.running(sample.settings) is not None


def test_the_prompt_answers_goes_on_after_a_mistake_and_remembers(sample: Sample) -> None:
    typed = ["select count(*) as", "items from inventory_current;", "select * form x;", "exit"]
    shown = typed_at_a_terminal(sample, typed)
    assert str(sample.table("inventory_current").num_rows) in shown
    assert "the statement cannot be read from " in shown
    assert "Traceback" not in shown
    history = (sample.settings.state / "sql_history").read_text()
    assert "items from inventory_current;" in history


def typed_at_a_terminal(sample: Sample, lines: list[str]) -> str:
    """What a terminal shows of the prompt while ``lines`` are typed, each at a prompt."""
    main, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "loaders", "sql"],
        cwd=PROJECT,
        env={**sample.environment, "TERM": "dumb"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    shown, prompts, deadline = "", 0, time.monotonic() + 300
    try:
        while time.monotonic() < deadline:
            try:
                shown += os.read(main, 65536).decode(errors="replace")
            except OSError:  # the other end is closed: it has ended
                break
            while shown.count("> ") > prompts and prompts < len(lines):
                os.write(main, f"{lines[prompts]}\n".encode())
                prompts += 1
        assert process.wait(60) == 0, shown
    finally:
        process.kill()
        os.close(main)
    return shown


def iso(time_: object) -> str | None:
    return time_ and time_.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if hasattr(value, "astimezone"):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return "" if value is None else str(value)


def test_the_sample_has_something_in_every_table(sample: Sample) -> None:
    empty = [name for name in sample.gold if not sample.table(name).num_rows]
    assert empty == []
    assert isinstance(sample.table("inventory_restatements"), pa.Table)
    again = sample.pos("sample", str(sample.folder), "--port", str(sample.settings.port))
    assert again.returncode == 0
    assert "simulating" not in again.stderr, "what is there is used"
