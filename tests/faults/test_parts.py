"""A file too large for one commit is loaded in parts: all its rows, each once, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loaders.load
from loaders.bronze import header_of, rows_of
from loaders.config import Settings
from loaders.csv_rows import MOST_LINES_OF_A_ROW
from loaders.landing import COUNTS, FEEDS, ITEMS, MESSAGES, publish
from loaders.load import Loader
from loaders.parts import BEGINNING, Part, lines_at_most, part_after
from tests.builds.test_load_crash import STEPS, Killed, arm, rows_in
from tests.builds.worlds import World, differences
from tests.files import csv_text, message
from tests.oracle import COUNT_FIELDS

HEADER = {
    COUNTS: b"item_id,employee_id,store_id,date_time,quantity\n",
    ITEMS: b"item_id,name,supplier_id,safety_stock_quantity\n",
    MESSAGES: b"",
}


def parts_of(feed: str, data: bytes, window: int, most_lines: int) -> list[Part]:
    before, parts = BEGINNING, []
    width = None
    if feed != MESSAGES:
        header, width = header_of(feed, data)
        before = Part(header=header.decode("latin-1"))
    while not before.is_last:
        read = data[before.end : before.end + window]
        is_end = before.end + len(read) == len(data)
        before = part_after(feed, before, read, most_lines, width=width, is_end=is_end)
        parts.append(before)
        assert before.end > before.start or len(data) == 0, "it goes on"
    return parts


def joined(feed: str, data: bytes, parts: list[Part]) -> dict[str, list[object]]:
    together: dict[str, list[object]] = {}
    for part in parts:
        for name, values in rows_of(feed, data[part.start : part.end], part).items():
            together.setdefault(name, []).extend(values)
    return together


PIECES = st.sampled_from(
    [
        b"1",
        b",",
        b'"',
        b"\n",
        b"\r\n",
        b"\r",
        b"a",
        b"\xc3\xa9",
        b"\xff",
        b" ",
        b"\xe2\x80\xa8",
        b"{",
    ]
)


@pytest.mark.parametrize("feed", FEEDS)
@settings(max_examples=80, deadline=None)
@given(
    body=st.lists(PIECES, max_size=120).map(b"".join),
    window=st.integers(70, 200),
    most_lines=st.integers(2, 40),
    mark=st.booleans(),
)
def test_the_parts_of_a_file_have_the_rows_that_it_has(
    feed: str, body: bytes, window: int, most_lines: int, mark: bool
) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + HEADER[feed] + body
    if feed != MESSAGES:
        most_lines += 2 * MOST_LINES_OF_A_ROW
    parts = parts_of(feed, data, window, most_lines)
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert parts[-1].end == len(data)
    together = joined(feed, data, parts)
    whole = rows_of(feed, data)
    line_ends = (b"\n",) if feed == MESSAGES else (b"\n", b"\r")
    is_cut = any(
        not data[: part.end].endswith(line_ends) or part.end - part.start == window
        for part in parts[:-1]
    )
    if not is_cut:  # no row was longer than what may be in memory at once
        assert together == whole
    shown = b"".join(str(value).encode() for value in together[next(reversed(together))] if value)
    said = len(b"not UTF-8: ") * len(together["source_line"])
    assert len(shown) <= len(data) * 4 + said, "nothing comes twice"


def test_a_part_has_no_more_lines_than_it_may() -> None:
    data = b"".join(
        json.dumps(message(str(number), "12:00:00", (1, -1), (2, -1))).encode() + b"\n"
        for number in range(1000)
    )
    for part in parts_of(MESSAGES, data, len(data), 100):
        assert lines_at_most(MESSAGES, data[part.start : part.end]) <= 101
    garbage = b"x\n" * 10_000
    parts = parts_of(MESSAGES, garbage, len(garbage), 100)
    assert len(parts) == 100
    bomb = json.dumps({"items": [0] * 1000}).encode() + b"\n"
    assert lines_at_most(MESSAGES, bomb) >= 1000


def test_a_line_that_never_ends_is_kept_in_pieces() -> None:
    data = "\u00e9".encode() * 1000
    parts = parts_of(MESSAGES, data, 101, 100)
    together = joined(MESSAGES, data, parts)
    assert "".join(str(body) for body in together["body"]) == data.decode()
    assert set(together["source_line"]) == {1}


MANY = 40


def land_large(world: World) -> None:
    changes = [message(f"A{n}", "12:00:00", (n % 7, -1), (100 + n, -2)) for n in range(MANY)]
    lines = [json.dumps(each) for each in changes]
    lines[7] = "not json"
    lines[20] = ""
    world.land("store_001/changes/large.json", "\n".join(lines))
    world.land_messages(message("small", "13:00:00", (1, -5)))
    rows = [(n, 9, 1, "2021-01-01 08:00:00", 10 * n) for n in range(MANY)]
    text = csv_text(COUNT_FIELDS, rows).replace("5,9,1", '"5,9,1').replace("9,9,1", "9,x\ny,1")
    world.land("store_001/counts/large.csv", text)
    names = [(n, f"na\nme {n}", 1, 3) for n in range(MANY)]
    world.land("reference/items_large.csv", csv_text(("item_id", "name", "supplier_id",
                                                      "safety_stock_quantity"), names))  # fmt: skip


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders.load, "PART_BYTES", 600)


def test_large_files_of_every_kind_against_the_oracle(world: World, small_parts: None) -> None:
    land_large(world)
    with Loader(world.settings) as loader:
        for _ in range(2):
            assert loader.load(batches=1).is_partial
    report = world.build()
    assert report.succeeded, report.failures
    assert differences(world) == [], "in the middle of two files"
    world.load_and_build()
    assert len(world.deliveries()) > 12
    assert differences(world) == []


def test_the_counts_do_not_wait_for_the_changes(world: World, small_parts: None) -> None:
    land_large(world)
    with Loader(world.settings) as loader:
        first = loader.load(batches=1)
        assert first.is_partial
        assert set(first.rows) == {"pos_items", "pos_messages", "pos_count_rows"}
        rows = Counter(first.rows)
        while (report := loader.load(batches=1)).is_partial:
            rows.update(report.rows)
        rows.update(report.rows)
    assert rows["pos_messages"] == MANY - 1 + 1, "all but the blank line, and the small file"


LARGE = {
    "store_001/changes/large.json": b"".join(b'{"n": %d}\n' % number for number in range(30)),
    "store_001/counts/large.csv": HEADER[COUNTS]
    + b"".join(b"%d,9,1,2021-01-01 08:00:00,1\n" % number for number in range(30)),
}
ALL_LINES = Counter({"pos_items": 0, "pos_count_rows": 30, "pos_messages": 30})


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(loaders.load, "PART_BYTES", 120)
    for path, data in LARGE.items():
        publish(tmp_path / "landing" / path, data)
    return Settings(tmp_path / "landing", tmp_path / "lakehouse")


def load(settings: Settings, batches: int | None = None) -> Any:
    with Loader(settings) as loader:
        return loader.load(batches=batches)


@pytest.mark.parametrize(("step", "when"), STEPS)
@pytest.mark.parametrize("call", [1, 2, 5])
def test_killed_between_parts_nothing_is_lost_and_nothing_twice(
    large: Settings, monkeypatch: pytest.MonkeyPatch, step: str, when: str, call: int
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, step, when, call)
        with contextlib.suppress(Killed):  # there may be fewer calls
            load(large)
    load(large)
    assert rows_in(large) == ALL_LINES
    assert not list(large.state.glob("*.plan.json"))
    assert not list(large.state.glob("*.begun.json"))
    assert load(large).is_empty


@pytest.mark.parametrize("restarts", [True, False])
def test_a_file_replaced_between_two_parts_is_another_delivery(
    large: Settings, restarts: bool
) -> None:
    path = large.landing / "store_001/changes/large.json"
    with Loader(large) as loader:
        loader.load(batches=2)
        publish(path, b'{"m": 1}\n')
        if not restarts:
            said = loader.load().warnings
    if restarts:
        said = load(large).warnings
    assert any("was taken away or replaced while it was being loaded" in each for each in said)
    table = loaders.load.open_table(large.table("bronze", "pos_messages")).to_pyarrow_table()
    bodies = table["body"].to_pylist()
    assert bodies.count('{"m": 1}') == 1
    assert len(bodies) == len(set(bodies)) < 30
    assert load(large).is_empty


def test_a_file_replaced_while_a_part_of_it_was_planned(
    large: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", "before", 1)
        with pytest.raises(Killed):
            load(large)
    for path, data in LARGE.items():
        publish(large.landing / path, data)
        os.utime(large.landing / path, ns=(10**18, 10**18))
    load(large)
    assert rows_in(large) == ALL_LINES


def test_a_part_planned_of_a_file_that_is_gone_waits(
    large: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", "before", 2)
        with pytest.raises(Killed):
            load(large)
    path = large.landing / "store_001/changes/large.json"
    elsewhere = path.rename(path.with_name(".elsewhere"))
    with pytest.raises(loaders.load.UserError, match=r"landed but cannot be read"):
        load(large)
    elsewhere.rename(path)
    load(large)
    assert rows_in(large) == ALL_LINES
