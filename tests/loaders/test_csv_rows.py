"""Rows of a CSV file: the short way says what the standard library's reader says, or nothing."""

from __future__ import annotations

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.csv_rows import csv_rows, lines_of, plain_columns, text_of

CELLS = st.text(alphabet='ab ,"\r\n\t\0\\;\x85\u2028é', max_size=4)


@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=4), data=st.data())
def test_the_short_way_says_what_the_reader_says(
    rows: list[list[str]], data: st.DataObject
) -> None:
    ends = st.sampled_from(["\n", "\r\n", "\r", ""])
    text = "".join(",".join(row) + data.draw(ends) for row in rows)
    lines = [text_of(line) for line in lines_of(text.encode())]
    read = list(csv_rows(lines, 2))
    plain = plain_columns(lines, 2)
    if plain is not None:
        assert [(row.at, row.lines, row.fault) for row in read] == [
            (at, 1, None) for at in range(len(lines))
        ]
        assert [[row.fields[column] for row in read] for column in range(2)] == plain


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_plain_file_is_read_the_short_way(end: str) -> None:
    lines = [f"a, b{end}", f",{end}", "é,1"]
    assert plain_columns(lines, 2) == [["a", "", "é"], [" b", "", "1"]]


@pytest.mark.parametrize(
    "line", ["", "\n", "a\n", "a,b,c\n", '"a",b\n', 'a,b"\n', "a," + "b" * csv.field_size_limit()]
)
def test_what_may_be_no_row_is_left_to_the_reader(line: str) -> None:
    assert plain_columns(["a,b\n", line, "c,d\n"], 2) is None
