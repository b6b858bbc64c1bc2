"""What was broken on purpose and what came of it, in figures, at the end of the run."""

from __future__ import annotations

import pytest

from tests.faults.figures import Figures

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
