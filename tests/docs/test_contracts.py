"""A change that breaks a contract builds nothing: neither a new table nor an increment.

In a scratch copy of the project, on the embedded engine. In a pull request the same change is found
by `state:modified` before anything is built.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

from tests.builds.worlds import Station, World
from tests.files import message
from tests.truth.mutations import scratch_copy

SUPPLY = "models/gold/days_of_supply"
# A type and a column of tables that are made anew each time, and a type of one that grows by
# increments: file, what stands there, what somebody makes of it, and what they are told.
BREACHES = {
    "days_of_supply": (
        f"{SUPPLY}.sql",
        "        sales_pace.observed_days,\n        sales_pace.average_daily_quantity,",
        "        cast(sales_pace.observed_days as int) as observed_days,\n"
        "        sales_pace.average_daily_quantity,",
        "contract",
    ),
    "shrink_by_item": (
        "models/gold/shrink_by_item.sql",
        "        recorded_shrink_quantity + found_shrink_quantity as shrink_quantity,\n",
        "",
        "contract",
    ),
    "inventory_alerts": (
        "models/gold/inventory_alerts.sql",
        "turned.times_raised + case when turned.is_raised then 1 else 0 end as times_raised",
        "cast(turned.times_raised + 1 as bigint) as times_raised",
        "out of sync",
    ),
}


@pytest.fixture(scope="module")
def built(station: Station) -> World:
    world = station.world()
    world.land_items((1, "Tea", 7, 30))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 10))
    world.land_messages(message("A", "09:00:00", (1, -1)))
    world.load_and_build()
    # The alert is cleared by the next build, which so has a row to write.
    world.land_messages(message("B", "10:00:00", (1, 90), change_type_id=3))
    world.load()
    return world


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return scratch_copy(tmp_path / "project")


def break_contract(copy: Path, file: str, old: str, new: str) -> None:
    text = (copy / file).read_text()
    assert text.count(old) == 1, f"{file} has other text now; say here how to break its contract"
    (copy / file).write_text(text.replace(old, new))


def test_what_breaks_a_contract_builds_nothing(station: Station, built: World, copy: Path) -> None:
    before = {name: version_of(built, name) for name in BREACHES}
    for file, old, new, _said in BREACHES.values():
        break_contract(copy, file, old, new)
    with station.project(copy):
        station.point_engine_at(built.settings)
        report = station.warehouse.invoke("run")
    failures = {failure.partition(":")[0]: failure for failure in report.failures}
    assert set(failures) == set(BREACHES)
    for name, (*_edit, said) in BREACHES.items():
        assert said in failures[name]
    assert {name: version_of(built, name) for name in BREACHES} == before
    assert built.on_hand(1, 1) == 99, "the tables whose contract holds are built"


def test_a_breaking_change_of_a_version_is_found_before_it_is_built(
    manifest_folder: Path, copy: Path, tmp_path: Path
) -> None:
    break_contract(copy, f"{SUPPLY}.yml", "name: observed_days", "name: days_observed")
    done = dbt(
        copy,
        *("ls", "--select", "state:modified", "--state", str(manifest_folder)),
        *("--target-path", str(tmp_path / "after")),
    )
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "breaking change" in said
    assert re.search("days_of_supply.*observed_days", said), said


def version_of(world: World, name: str) -> int:
    return DeltaTable(str(world.settings.table("gold", name))).version()


def dbt(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dbt.cli.main", *arguments, "--target", "local"]
    command += ["--profiles-dir", "profiles", "--no-use-colors", "--log-path", "logs"]
    return subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=300, check=False
    )
