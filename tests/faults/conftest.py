"""What the faults tests measured is printed at the end, with the command that measures it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass
class Figures:
    lines: list[str] = field(default_factory=list)

    def add(self, what: str, value: object, command: str) -> None:
        self.lines.append(f"{what}: {value}  [{command}]")


FIGURES = pytest.StashKey[Figures]()


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    return pytestconfig.stash.setdefault(FIGURES, Figures())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(FIGURES, None)
    if found and found.lines:
        terminalreporter.section("figures")
        for line in found.lines:
            terminalreporter.write_line(line)
