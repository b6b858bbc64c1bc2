"""Backup, restore and rollback of tables alone: no engine, no dbt. With builds: tests/faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from loaders.backup import back_up, put_back, verify
from loaders.config import Settings
from loaders.landing import publish
from loaders.load import Loader, LoadReport
from loaders.maintenance import Maintenance
from loaders.points import BUILT, make, moment_of, points_folder, points_of
from loaders.rollback import roll_back
from tests.files import message
from tests.worlds import free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Three loads, and a table of gold that was replaced three times."""
    places = (tmp_path / "landing", tmp_path / "lakehouse", free_port())
    settings = Settings(*places, retention_hours=0.0001)
    settings.landing.mkdir()
    for number in range(3):
        load_one(settings, number)
        write_gold(settings, number)
    return settings


def load_one(settings: Settings, number: int) -> LoadReport:
    body = json.dumps(message(f"T{number}", "09:00:00", (1, -1)))
    publish(settings.landing / f"store_001/changes/{number:06d}.json", f"{body}\n".encode())
    with Loader(settings) as loader:
        return loader.load()


def write_gold(settings: Settings, quantity: int) -> None:
    rows = pa.table({"item_id": range(5), "on_hand_quantity": [quantity] * 5})
    write_deltalake(str(settings.table("gold", "inventory_current")), rows, mode="overwrite")


def on_hand(settings: Settings) -> set[int]:
    table = DeltaTable(str(settings.table("gold", "inventory_current"))).to_pyarrow_table()
    return set(table["on_hand_quantity"].to_pylist())


def messages(settings: Settings) -> list[int]:
    table = DeltaTable(str(settings.table("bronze", "pos_messages"))).to_pyarrow_table()
    return sorted(table["ingest_id"].to_pylist())


def test_a_destroyed_lakehouse_comes_back_and_loads_on(settings: Settings, tmp_path: Path) -> None:
    backup = back_up(settings, tmp_path / "backups").point
    verify(backup)
    load_one(settings, 3)
    write_gold(settings, 3)
    shutil.rmtree(settings.lakehouse)
    put_back(settings, tmp_path / "backups")
    assert (on_hand(settings), messages(settings)) == ({2}, [1, 2, 3])
    assert load_one(settings, 4).rows == {"pos_messages": 2}, "what was lost lies in landing still"
    assert messages(settings) == [1, 2, 3, 4, 4]


def test_gold_goes_back_and_bronze_does_not(settings: Settings) -> None:
    point = make(settings, points_folder(settings), BUILT)
    assert [each.name for each in points_of(settings)] == [point.name]
    load_one(settings, 3)
    for quantity in range(100, 115):
        write_gold(settings, quantity)
    for _ in range(2):
        list(Maintenance(settings).everything(None))
    before = DeltaTable(str(settings.table("gold", "inventory_current"))).version()
    report = roll_back(settings, point.name)
    assert report.restored == ["gold.inventory_current"]
    assert (on_hand(settings), messages(settings)) == ({2}, [1, 2, 3, 4])
    assert DeltaTable(str(settings.table("gold", "inventory_current"))).version() > before
    assert report.undone_by is not None
    write_gold(settings, 7)
    assert on_hand(settings) == {7}, "and it can be written on"


def test_a_moment_is_read_as_utc() -> None:
    noon = moment_of("20210101T120000Z")
    for text in ("2021-01-01 12:00", "2021-01-01T12:00:00Z", "2021-01-01T13:00:00+01:00"):
        assert moment_of(text) == noon
