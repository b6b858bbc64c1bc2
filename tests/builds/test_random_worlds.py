"""Random worlds: whatever the batching, every table equals the oracle and a rebuild."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.builds.random_worlds import (
    Landing,
    batches,
    colliding,
    only,
    packed,
    simulated,
    worlds_of,
)
from tests.builds.worlds import Station, World, business_rows, differences

BATCHES = (10, 3, 1)
FEW = (3,)  # for worlds that only have to differ from the others

# POS_TEST_SEEDS=10:30 tries others, for whoever changes a model.
FROM_SEED, _, TO_SEED = os.environ.get("POS_TEST_SEEDS", "2:3").partition(":")
SEEDS = range(int(FROM_SEED), int(TO_SEED))
# So many small worlds cost what one costs.
WORLDS = int(os.environ.get("POS_TEST_WORLDS", "25"))
STEPS = 8


def landings_of(kind: str, seed: int, folder: Path) -> list[Landing]:
    return colliding(seed) if kind == "colliding" else simulated(seed, folder / "month")


def play(world: World, landings: list[Landing], number: int) -> list[str]:
    """Land, load and build in batches; returns what differed from the oracle after any of them."""
    differing: list[str] = []
    for position, batch in enumerate(batches(landings, number), start=1):
        world.land_all(batch)
        world.load_and_build()
        differing += [f"batch {position} of {number}: {each}" for each in differences(world)]
    return differing


@pytest.mark.parametrize(
    ("kind", "seed", "numbers"),
    [
        ("colliding", 1, BATCHES),
        ("simulated", 1, BATCHES),
        *(("colliding", seed, FEW) for seed in SEEDS),
        ("simulated", 2, FEW),
    ],
)
def test_every_batching_and_a_rebuild_equal_the_oracle(
    station: Station, kind: str, seed: int, numbers: tuple[int, ...], tmp_path: Path
) -> None:
    landings = landings_of(kind, seed, tmp_path)
    outcomes: list[dict[str, Any]] = []
    for number in numbers:
        world = station.world()
        assert play(world, landings, number)[:3] == []
        outcomes.append(business_rows(world))
    assert all(outcome == outcomes[0] for outcome in outcomes)

    before = world.versions()
    report = world.build()
    assert report.succeeded, report.failures
    assert world.versions() == before, "a build with nothing new wrote something"

    report = world.build("--full-refresh")
    assert report.succeeded, report.failures
    assert business_rows(world) == outcomes[0]
    assert differences(world)[:3] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_many_small_worlds_at_once_equal_the_oracle(station: Station, seed: int) -> None:
    landings = packed(seed, WORLDS, STEPS)
    differing = play(station.world(), landings, STEPS)
    if not differing:
        return
    for number in worlds_of(differing):
        alone = only(landings, number)
        if said := play(station.world(), alone, STEPS):
            story = "\n".join(f"--- {each.path}\n{each.data.decode()}" for each in alone)
            pytest.fail(f"world {number} of {seed}, alone:\n{story}\n" + "\n".join(said[:5]))
    pytest.fail("only together: " + "\n".join(differing[:5]))


@pytest.mark.parametrize("kind", ["colliding", "simulated"])
def test_the_books_balance_and_the_projects_own_tests_pass(
    station: Station, kind: str, tmp_path: Path
) -> None:
    world = station.world()
    for batch in batches(landings_of(kind, 4, tmp_path), 2):
        world.land_all(batch)
        world.load()
        assert world.check() == []
    books = world.rows("silver", "int_pos__loads_reconciled")
    assert {row["source"] for row in books} == {"pos_messages", "pos_count_rows", "pos_items"}
    for row in books:
        parts = ("lines_kept", "lines_duplicate", "lines_quarantined")
        assert row["lines_received"] == sum(row[part] for part in parts), row
    messages = [row for row in books if row["source"] == "pos_messages"]
    for part in ("lines_kept", "lines_duplicate", "lines_quarantined"):
        assert sum(row[part] for row in messages) > 0, f"a world without {part} proves little"
    assert differences(world)[:3] == []
