"""What a world says was delivered, from bronze as the loader wrote it; no engine takes part."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.config import Settings
from tests import oracle
from tests.builds.worlds import World
from tests.files import message


@pytest.fixture
def world(tmp_path: Path) -> World:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    return World(settings, None)  # type: ignore[arg-type]


def at(minute: int) -> datetime:
    return datetime(2022, 1, 1, 0, minute, tzinfo=UTC)


def append(world: World, commit: int, *rows: dict[str, Any], loaded: bool = True) -> None:
    """A commit to bronze's messages, and to the loader's ledger of files if it `loaded` any."""
    schema = pa.schema(
        [
            ("ingest_id", pa.int64()),
            ("ingest_line", pa.int64()),
            ("source_file", pa.string()),
            ("source_line", pa.int32()),
            ("received_at", pa.timestamp("us", tz="UTC")),
            ("landed_at", pa.timestamp("us", tz="UTC")),
            ("redrive_of_ingest_id", pa.int64()),
            ("redrive_of_ingest_line", pa.int64()),
        ]
    )
    received = [
        {
            "ingest_id": commit,
            "ingest_line": place,
            "received_at": at(commit),
            "landed_at": at(0),
            **row,
        }
        for place, row in enumerate(rows, start=1)
    ]
    path = world.settings.table("bronze", oracle.MESSAGES)
    write_deltalake(str(path), pa.Table.from_pylist(received, schema=schema), mode="append")
    if loaded:
        ledger = world.settings.state / f"{oracle.MESSAGES}.ledger.tsv"
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a") as text:
            for name in sorted({row["source_file"] for row in rows}):
                status = (world.settings.landing / name).stat()
                text.write(f"{commit}\t{name}\t{status.st_size}\t{status.st_mtime_ns}\n")


def row(path: str, line: int, of: tuple[int, int] | None = None) -> dict[str, Any]:
    again = {"redrive_of_ingest_id": of[0], "redrive_of_ingest_line": of[1]} if of else {}
    return {"source_file": path, "source_line": line, **again}


def test_a_re_drive_is_told_line_by_line_from_the_file_that_landed(world: World) -> None:
    first = world.land_messages(message("A", "10:00:00", (1, -1)), "not json", "nor this")
    second = world.land_messages("bad as well")
    append(world, 1, row(first, 1), row(first, 2), row(first, 3), row(second, 1))
    append(
        world,
        2,
        row(first, 3, of=(1, 3)),
        row(first, 2, of=(1, 2)),
        row(second, 1, of=(1, 4)),
        loaded=False,
    )
    append(world, 3, row(first, 2, of=(2, 2)), loaded=False)  # again, and again in vain
    found = world._deliveries(oracle.MESSAGES)
    assert [(each.path, each.commit, each.redriven, each.lines) for each in found] == [
        (first, 1, False, None),
        (second, 1, False, None),
        (first, 2, True, (3, 2)),
        (second, 2, True, (1,)),
        (first, 3, True, (2,)),
    ]
    assert {each.data for each in found if each.path == second} == {b"bad as well\n"}
    assert found[0].landed_at == datetime(2022, 1, 1)
    assert found[0].received_at == datetime(2022, 1, 1, 0, 1)
    judged = oracle.judge(found)
    assert judged.books[oracle.MESSAGES, 1] == oracle.received.Books(4, 1, 0, 3)
    assert judged.books[oracle.MESSAGES, 2] == oracle.received.Books(3, 0, 0, 3)
    assert [each.line for each in judged.quarantine if each.redriven] == [3, 2, 1, 2]


def test_a_file_that_was_replaced_is_what_it_was_when_it_was_loaded(world: World) -> None:
    world.land("store_001/changes/a.json", "first")
    append(world, 1, row("store_001/changes/a.json", 1))
    world.land("store_001/changes/a.json", "second")
    append(world, 2, row("store_001/changes/a.json", 1))
    assert [each.data for each in world._deliveries(oracle.MESSAGES)] == [b"first", b"second"]


def test_a_file_that_somebody_else_landed_is_read_where_it_lies(world: World) -> None:
    path = world.settings.landing / "store_001/changes/a.json"
    path.parent.mkdir(parents=True)
    path.write_text("theirs")
    os.utime(path, (1, 1))
    append(world, 1, row("store_001/changes/a.json", 1))
    assert [each.data for each in world._deliveries(oracle.MESSAGES)] == [b"theirs"]
