"""In however many batches the same is taken in, and built anew: the same tables, the oracle's."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builds.random_worlds import ALL_FAULTS, Landing, batches, colliding, simulated
from tests.builds.worlds import Station, World, built, business_rows, differences
from tests.scale import SCALE
from tests.truth.figures import Proof

SEED = 1
COMPARED = 20  # batches, at most, that are followed by a comparison


def landings_of(kind: str, folder: Path, seed: int = SEED) -> list[Landing]:
    if kind == "colliding":
        return colliding(seed, SCALE.files)
    return simulated(seed, folder / "month", files=SCALE.files)


def play(world: World, landings: list[Landing], number: int) -> list[str]:
    """Take it in and build, batch by batch; returns what differed from the oracle, and when."""
    for position, batch in enumerate(batches(landings, number), start=1):
        if number <= COMPARED or position % (number // COMPARED) == 0 or position == number:
            if said := built(world, batch):
                return [f"after batch {position} of {number}: {each}" for each in said]
        else:
            world.land_all(batch)
            world.load_and_build()
    return []


@pytest.mark.parametrize("kind", ["colliding", "simulated"])
def test_every_batching_and_a_rebuild_give_the_same_tables(
    station: Station, kind: str, tmp_path: Path, proof: Proof
) -> None:
    landings = landings_of(kind, tmp_path)
    assert len(landings) >= max(SCALE.batchings)
    outcomes: list[dict[str, Any]] = []
    for number in SCALE.batchings:
        world = station.world()
        said = play(world, landings, number)
        outcomes.append(business_rows(world))
        is_same = not said and outcomes[-1] == outcomes[0]
        proof(f"batchings of a {kind} world", 1, int(is_same), "the same", f"{number} batches")
        assert said[:5] == []
        assert is_same

    before = world.versions()
    report = world.build()
    assert report.succeeded, report.failures
    assert world.versions() == before, "a build with nothing new wrote something"

    report = world.build("--full-refresh")
    assert report.succeeded, report.failures
    is_same = business_rows(world) == outcomes[0]
    proof(f"batchings of a {kind} world", 1, int(is_same), "the same", "--full-refresh")
    assert is_same
    assert differences(world)[:3] == []


# Who came first is part of what these say.
OF_RECEIPT = {"is_late", "is_restated", "balance_quantity"}


def test_the_order_of_arrival_does_not_matter_where_nothing_contradicts(
    station: Station, tmp_path: Path, proof: Proof
) -> None:
    """Without conflicts and corrections, whose word stands by the order of arrival."""
    faults = replace(ALL_FAULTS, conflicting=0.0, corrected_counts=0.0)
    landings = simulated(SEED, tmp_path / "month", faults=faults)
    outcomes = []
    for seed in (None, SEED):
        if seed is not None:
            random.Random(seed).shuffle(landings)
        world = station.world()
        assert play(world, landings, 2) == []
        outcomes.append(
            {
                name: without(rows, OF_RECEIPT) if name not in ("counts", "items") else rows
                for name, rows in business_rows(world).items()
                if name != "quarantine"
            }
        )
    is_same = outcomes[0] == outcomes[1]
    proof("orders of arrival", len(outcomes), len(outcomes) * is_same, "the same")
    assert is_same


def without(rows: dict[Any, dict[str, Any]], names: set[str]) -> dict[Any, dict[str, Any]]:
    return {
        key: {name: value for name, value in row.items() if name not in names}
        for key, row in rows.items()
    }


@pytest.mark.parametrize("kind", ["colliding", "simulated"])
def test_the_books_balance_and_the_projects_own_tests_pass(
    station: Station, kind: str, tmp_path: Path
) -> None:
    world = station.world()
    for batch in batches(landings_of(kind, tmp_path, seed=4), 2):
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
