"""Hostile input is stored, quarantined or refused: never run, never the end of a build, never the
loss of a neighbour."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from pathlib import Path
from random import Random

import pytest
from dbt.adapters.spark import session as dbt_session
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.bronze import fields_of, rows_of
from loaders.catalog import SCHEMAS as TABLES_OF
from loaders.config import Settings
from loaders.landing import COUNTS, FEEDS, ITEMS, MESSAGES, LandedFile, feed_of, printable, scan
from loaders.load import Loader
from loaders.sql.output import csv_text
from tests import oracle
from tests.builds.worlds import World, differences
from tests.faults.figures import Figures
from tests.faults.hostile import MARK, NAMES, hostile_csv, hostile_line
from tests.files import message
from tests.oracle.reading import csv_rows, message_lines

SEED = int(os.environ.get("POS_TEST_SEED", "7"))
HEADERS = {COUNTS: ",".join(oracle.COUNT_FIELDS), ITEMS: ",".join(oracle.ITEM_FIELDS)}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def content(random: Random, feed: str) -> bytes:
    if feed == MESSAGES:
        return b"\n".join(hostile_line(random) for _ in range(10))
    return hostile_csv(random, HEADERS[feed], 10)


def read_alike(feed: str, data: bytes) -> int:
    """Hold the loader's rows of a file against the oracle's; the number of rows."""
    rows = rows_of(feed, data)
    lines = rows["source_line"]
    if feed == MESSAGES:
        # The oracle says which lines there are; of Unicode's blanks the loader knows more.
        expected = [
            line
            for line, _ in message_lines(data)
            if not data_line(data, line).decode("utf-8", "backslashreplace").isspace()
        ]
        assert lines == expected
        return len(lines)
    fields = fields_of(feed)
    found = zip(lines, *(rows[name] for name in fields), rows["defect"], strict=True)
    plain = [
        (line, f"unreadable_row: {defect}" if defect else dict(zip(fields, cells, strict=True)))
        for line, *cells, defect in found
    ]
    stripped = [
        (line, row if isinstance(row, str) else {name: row[name].strip(" ") for name in fields})
        for line, row in plain
    ]
    assert stripped == list(csv_rows(data, fields))
    return len(lines)


def data_line(data: bytes, line: int) -> bytes:
    return data.removeprefix(b"\xef\xbb\xbf").split(b"\n")[line - 1]


@pytest.mark.parametrize("feed", FEEDS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_rows(feed: str, data: bytes) -> None:
    read_alike(feed, data)


@pytest.mark.parametrize("feed", FEEDS)
def test_hostile_files_are_read_as_the_oracle_reads_them(feed: str) -> None:
    random = Random(SEED)
    assert sum(read_alike(feed, content(random, feed)) for _ in range(30)) > 100


@pytest.mark.faults
def test_a_hundred_thousand_hostile_rows_are_read_as_the_oracle_reads_them(
    figures: Figures,
) -> None:
    random, read = Random(SEED), 0
    while read < 120_000:
        for feed in FEEDS:
            read += read_alike(feed, content(random, feed))
    figures.add("hostile rows read as the oracle reads them", f"{read:,}", "make test-faults")


@settings(max_examples=200, deadline=None)
@given(name=st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name))
def test_any_file_name_can_be_remembered_and_shown(name: bytes) -> None:
    path = f"{os.fsdecode(name)}/changes/x.json"
    assert feed_of(path) in (MESSAGES, None)
    identity = LandedFile(1, path, 2).identity
    assert identity.count("\t") == 2
    assert "\n" not in identity
    identity.encode()
    printable(path).encode()


def test_hostile_names_links_and_pipes(tmp_path: Path) -> None:
    where = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    folder = os.fsencode(where.landing) + b"/store_001/changes/"
    os.makedirs(folder)  # noqa: PTH103 - names that are no text
    for name in NAMES:
        Path(os.fsdecode(folder + name + b".json")).write_bytes(b'{"a": 1}\n')
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    changes = where.landing / "store_001/changes"
    (changes / "link.json").symlink_to(secret)
    (changes / "loop").symlink_to(changes)
    (where.landing / "linked").symlink_to(tmp_path)
    os.mkfifo(changes / "pipe.json")
    (changes / "folder.json").mkdir()
    with Loader(where) as loader:
        report = loader.load()
        assert loader.load().is_empty
    read = [name for name in NAMES if not name.startswith(b".")]
    assert report.rows == {"pos_messages": len(read)}
    said = "\n".join(report.warnings)
    said.encode()
    for name in ("link.json", "pipe.json", "loop", "linked"):
        assert name in said
    assert len(scan(where.landing)[0][MESSAGES]) == len(read)
    with Loader(where) as loader:
        assert loader.load().is_empty, "and it is remembered by its name"


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that dbt sends to the engine."""
    sent: list[str] = []
    execute = dbt_session.Cursor.execute

    def recorded(self: dbt_session.Cursor, sql: str, *parameters: object) -> None:
        sent.append(sql)
        execute(self, sql, *parameters)

    monkeypatch.setattr(dbt_session.Cursor, "execute", recorded)
    return sent


def land_hostile(world: World, random: Random, files: int, lines: int) -> int:
    """Hostile files, each hostile line between good neighbours; how many good messages."""
    good = 0
    for number in range(files):
        rows = []
        for _ in range(lines):
            rows.append(hostile_line(random))
            neighbour = message(f"good{good}", "2021-01-01 11:00:00", (500 + good % 50, -1))
            rows.append(json.dumps(neighbour).encode())
            good += 1
        world.land(f"store_001/changes/{MARK}'{number:04d}.json", b"\n".join(rows))
        world.land(
            f"store_001/counts/{MARK}'{number:04d}.csv", hostile_csv(random, HEADERS[COUNTS], lines)
        )
        world.land(f"reference/items{number:04d}.csv", hostile_csv(random, HEADERS[ITEMS], lines))
    return good


def hold(world: World, statements: list[str], files: int, lines: int, seed: int) -> int:
    good = land_hostile(world, Random(seed), files, lines)
    world.load_and_build()
    assert differences(world) == []
    kept = {row["trans_id"] for row in world.rows("silver", "stg_pos__inventory_changes")}
    assert {f"good{number}" for number in range(good)} <= kept, "a neighbour is lost"
    assert len(statements) > 20
    assert [sql for sql in statements if MARK in sql] == [], "data has become a statement"
    assert_exports_are_safe(world)
    return files * lines * 3


def assert_exports_are_safe(world: World) -> None:
    for schema in TABLES_OF:
        folder = world.settings.lakehouse / schema
        for path in sorted(folder.iterdir()):
            table = DeltaTable(str(path)).to_pyarrow_table()
            texts = [f.name for f in table.schema if str(f.type) in ("string", "large_string")]
            if not texts or not table.num_rows:
                continue
            exported = csv_text(table.select(texts)).decode()
            csv.field_size_limit(2**30)
            try:
                for row in csv.reader(io.StringIO(exported, newline="")):
                    assert not any(cell.startswith(FORMULA) for cell in row), (path.name, row)
            finally:
                csv.field_size_limit(131_072)


def test_hostile_batches_against_the_oracle(world: World, statements: list[str]) -> None:
    hold(world, statements, files=3, lines=40, seed=SEED)


def test_an_employees_key_that_would_be_sql_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.land_counts((1, "nine'\\", 1, "2021-01-01 08:00:00", 5))
    world.load()
    monkeypatch.setenv("POS_EMPLOYEE_HASH_KEY", "it's \\ a key' -- \\")
    report = world.build()
    assert not report.succeeded
    assert any("POS_EMPLOYEE_HASH_KEY may hold letters" in failure for failure in report.failures)

    monkeypatch.setenv("POS_EMPLOYEE_HASH_KEY", "a+key/of=ours_.-")
    world.load_and_build()
    (count,) = world.rows("silver", "stg_pos__stock_counts")
    expected = hashlib.sha256(b"a+key/of=ours_.-|nine'\\").hexdigest()
    assert count["employee_key"] == expected


@pytest.mark.faults
def test_thousands_of_hostile_lines_a_batch_against_the_oracle(
    world: World, statements: list[str], figures: Figures
) -> None:
    lines = 0
    for batch in range(2):
        lines += hold(world, statements, files=4, lines=300, seed=SEED + 100 + batch)
        world.settings.landing.rename(world.settings.landing.with_name(f"taken_{batch}"))
        world.settings.landing.mkdir()
    figures.add(
        "hostile lines and rows built, equal to the oracle", f"{lines:,}", "make test-faults"
    )
