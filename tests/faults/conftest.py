"""Figures that the tests measure, printed at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.builds.worlds import World
from tests.faults.landing import land_some


@dataclass
class Figures:
    """What was measured: what it is, its value, and the command that measured it."""

    lines: list[str] = field(default_factory=list)

    def add(self, what: str, value: object, command: str) -> None:
        self.lines.append(f"{what}: {value} ({command})")


_figures = Figures()


@pytest.fixture(scope="session")
def figures() -> Figures:
    return _figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures.lines:
        terminalreporter.section("figures")
        for line in _figures.lines:
            terminalreporter.write_line(line)


@pytest.fixture
def begun(world: World) -> World:
    world.land_items((1, "Tea", 7, 3), (2, "Salt", 7, 50))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 100), (2, 9, 1, "2021-01-01 08:00:00", 60))
    for number in range(3):
        land_some(world, number)
        world.load_and_build()
    return world
