"""A lakehouse that is destroyed comes back from its backup, and goes on as if nothing had been."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import loaders.backup
import loaders.points
from loaders.backup import back_up, put_back, verify
from loaders.catalog import tables_on_disk
from loaders.config import Settings
from loaders.errors import UserError
from loaders.load import Loader, ledger_path, open_table, plan_path
from loaders.maintenance import Maintenance
from loaders.points import points_in
from tests.builds.worlds import World, differences
from tests.faults.landing import land_some

pytestmark = pytest.mark.faults


def destroy_and_restore(world: World, repository: Path, at: str | None = None) -> None:
    shutil.rmtree(world.settings.lakehouse)
    put_back(world.settings, repository, at)
    world.station.point_engine_at(world.settings)


def test_a_destroyed_lakehouse_comes_back_and_goes_on(begun: World, tmp_path: Path) -> None:
    """What landed after the backup lies in the landing folder still, and is loaded once more."""
    repository = tmp_path / "backups"
    report = back_up(begun.settings, repository)
    builds = list(begun.builds)
    assert report.bytes_copied > 0
    verify(report.point)
    land_some(begun, 3)
    begun.load_and_build()  # lost with the disk
    land_some(begun, 4)
    destroy_and_restore(begun, repository)
    begun.builds[:] = builds  # what was published since is forgotten
    assert differences(begun) == [], "as it was"
    begun.load_and_build()
    assert differences(begun) == [], "and on from there, nothing lost or twice"
    assert len(begun.rows("bronze", "pos_messages")) == 5 * 4
    assert begun.check() == []


def test_backups_share_what_has_not_changed(begun: World, tmp_path: Path) -> None:
    repository = tmp_path / "backups"
    first = back_up(begun.settings, repository)
    land_some(begun, 3)
    begun.load_and_build()
    second = back_up(begun.settings, repository, keep=2)
    assert second.bytes_shared > 0
    assert second.bytes_copied < first.bytes_copied * 2
    third = back_up(begun.settings, repository, keep=2)
    assert [point.name for point in points_in(repository)] == [second.point.name, third.point.name]
    for backup in points_in(repository):
        verify(backup)
    builds = begun.builds[:]
    destroy_and_restore(begun, repository, at=second.point.name)
    begun.builds[:] = builds
    assert differences(begun) == []


def test_it_is_whole_while_loads_and_upkeep_go_on(begun: World, tmp_path: Path) -> None:
    """Loads, upkeep that keeps nothing, and backups at once; each backup is one moment."""
    repository, over = tmp_path / "backups", threading.Event()
    failures: list[Exception] = []

    def load() -> None:
        try:
            with Loader(begun.settings) as loader:
                number = 3
                while not over.is_set() and number < 60:
                    land_some(begun, number)
                    loader.load()
                    number += 1
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    backups = []
    try:
        for _ in range(4):
            backups.append(back_up(begun.settings, repository).point)
            list(Maintenance(replace(begun.settings, retention_hours=0.0001)).everything(None))
    finally:
        over.set()
        thread.join()
    assert failures == []
    for backup in backups:
        place = Settings(begun.settings.landing, backup.folder)
        for feed in ("pos_messages", "pos_count_rows", "pos_items"):
            rows = open_table(place.table("bronze", feed)).to_pyarrow_table()
            bronze = {str(number) for number in rows["ingest_id"].to_pylist()}
            ledger = ledger_path(place, feed).read_text().splitlines()
            planned = set()
            if plan_path(place, feed).exists():
                planned = {str(json.loads(plan_path(place, feed).read_bytes())["ingest_id"])}
            entered = {line.split("\t")[0] for line in ledger}
            assert entered | planned == bronze, (backup.name, feed)
        verify(backup)
    builds = begun.builds[:]
    destroy_and_restore(begun, repository, at=backups[1].name)
    begun.builds[:] = builds
    begun.load_and_build()
    assert differences(begun) == []


def test_a_damaged_backup_is_refused(begun: World, tmp_path: Path) -> None:
    repository = tmp_path / "backups"
    backup = back_up(begun.settings, repository).point
    victim = sorted(backup.folder.glob("gold/inventory_current/*.parquet"))[0]
    whole = victim.read_bytes()
    away = replace(begun.settings, lakehouse=tmp_path / "elsewhere")
    for damage in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        victim.write_bytes(damage)
        with pytest.raises(UserError, match="is not what was backed up"):
            verify(backup)
        with pytest.raises(UserError, match="is not what was backed up"):
            put_back(away, repository)
        assert list(tmp_path.glob(".elsewhere*")) == []
        assert not away.lakehouse.exists()
    victim.unlink()
    with pytest.raises(UserError, match="is not what was backed up"):
        put_back(away, repository)
    victim.write_bytes(whole)
    put_back(away, repository)
    assert len(list(tables_on_disk(away.lakehouse))) == len(backup.versions)


def test_what_a_person_gets_wrong_is_said(begun: World, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not empty; stop what runs on it"):
        back_up(begun.settings, tmp_path / "backups")
        put_back(begun.settings, tmp_path / "backups")
    with pytest.raises(UserError, match="there is no backup in"):
        put_back(begun.settings, tmp_path)
    with pytest.raises(UserError, match="lie in one another"):
        back_up(begun.settings, begun.settings.lakehouse / "backups")
    with pytest.raises(UserError, match="nothing to back up"):
        back_up(replace(begun.settings, lakehouse=tmp_path / "nothing"), tmp_path / "backups")
    away = replace(begun.settings, lakehouse=tmp_path / "elsewhere")
    with pytest.raises(UserError, match="there is no backup from 2001-01-01 or before"):
        put_back(away, tmp_path / "backups", at="2001-01-01")
    with pytest.raises(UserError, match="is no moment"):
        put_back(away, tmp_path / "backups", at="yesterday")


def test_a_disk_that_is_full_leaves_the_backup_before(
    begun: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "backups"
    first = back_up(begun.settings, repository).point
    land_some(begun, 3)
    begun.load_and_build()

    def full(*_arguments: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(loaders.backup, "_copy", full)
        with pytest.raises(UserError, match=r"failed \(No space left on device\); what was there"):
            back_up(begun.settings, repository)
    assert [point.name for point in points_in(repository)] == [first.name]
    assert [path.name for path in repository.iterdir()] == [first.name]
    verify(first)
    assert not (begun.settings.state / "backup").exists()
