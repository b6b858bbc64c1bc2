"""What was broken on purpose and what came of it, in figures, at the end of the run."""

from __future__ import annotations

import pytest

from tests.builds.worlds import World
from tests.faults.figures import Figures
from tests.faults.landing import land_some

FIGURES = pytest.StashKey[Figures]()


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    return pytestconfig.stash.setdefault(FIGURES, Figures())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(FIGURES, None)
    if found:
        terminalreporter.section("broken on purpose")
        for line in found.lines():
            terminalreporter.write_line(line)


@pytest.fixture
def begun(world: World) -> World:
    world.land_items((1, "Tea", 7, 3), (2, "Salt", 7, 50))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 100), (2, 9, 1, "2021-01-01 08:00:00", 60))
    for number in range(3):
        land_some(world, number)
        world.load_and_build()
    return world
