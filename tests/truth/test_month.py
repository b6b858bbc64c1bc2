"""A simulated month with all faults on, taken in step by step: gold is what the simulator knows.

The truth is the simulator's own, reckoned in numpy beside the month (`loaders/truth.py`): neither
the models nor the oracle have a part in it.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.playback import Month, play
from tests.builds.worlds import Station, World
from tests.scale import SCALE
from tests.truth.figures import Proof

SEED = 3
FAULTS = {
    "duplicates": 0.05,
    "late": 0.03,
    "out-of-order": 0.05,
    "malformed": 0.005,
    "unknown-item": 0.01,
    "conflicting": 0.01,
    "late-counts": 0.2,
    "corrected-counts": 0.01,
}


def simulate(folder: Path) -> Month:
    """By the command, as anybody would."""
    size = {"seed": SEED, "days": SCALE.month.days}
    size |= {"items": SCALE.month.items, "lines": SCALE.month.lines}
    options = [f"--{name}={value}" for name, value in (size | FAULTS).items()]
    command = [sys.executable, "-m", "loaders", "simulate", "--out", str(folder), *options]
    subprocess.run(command, check=True, capture_output=True)
    return Month(folder)


def take_in(world: World, month: Month) -> int:
    """Play, load and build until all that was sent is in; returns the number of builds."""
    until, builds = month.starts_at, 0
    while until < month.ends_at:
        until += timedelta(hours=SCALE.month.hours)
        play(month, world.settings.landing, speed=None, until=until)
        world.load_and_build()
        builds += 1
    return builds


def test_a_month_with_all_faults_comes_out_as_it_was(
    station: Station, proof: Proof, tmp_path: Path
) -> None:
    month, world = simulate(tmp_path / "month"), station.world()
    builds = take_in(world, month)
    lakehouse = world.settings.lakehouse
    lines = month.description["lines"]
    note = f"{lines:,} lines in {builds} builds"
    for what, compare in (
        ("keys of a month in stock", compare_with_truth),
        ("stock counts of a month against the books", compare_variances_with_truth),
    ):
        found = compare(lakehouse, month.folder, month.ends_at)
        proof(what, found.keys, found.keys - found.differences, "equal to the truth", note)
        assert found.differences == 0, found.examples
        assert found.keys >= SCALE.month.items
    assert world.check() == []
    happened_in(world)


def happened_in(world: World) -> None:
    """A month in which nothing went wrong proves little."""
    variances = world.rows("gold", "stock_count_variances")
    assert any(row["is_late"] for row in variances)
    assert any(row["is_restated"] for row in variances)
    causes = {row["cause"] for row in world.rows("gold", "inventory_restatements")}
    assert causes == {"late_event", "late_count", "corrected_count"}
    reasons = {reason for _, _, _, reason in world.quarantine()}
    assert {"unparsable_message", "conflicting_duplicate"} < reasons
    statuses = {row["status"] for row in world.rows("gold", "bopis_orders")}
    assert {"collected", "open"} <= statuses
