"""The proof tier: its figures are printed at the end, whatever the tests themselves print."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.builds.worlds import Station
from tests.truth.compact import Compact
from tests.truth.figures import Proof
from tests.truth.mutations import scratch_copy

PROOF = pytest.StashKey[Proof]()


@pytest.fixture
def proof(pytestconfig: pytest.Config) -> Proof:
    found = pytestconfig.stash.setdefault(PROOF, Proof())
    found.since = time.monotonic()
    return found


@pytest.fixture(scope="session")
def project_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's SQL, to make mistakes in."""
    return scratch_copy(tmp_path_factory.mktemp("mutations") / "project")


@pytest.fixture(scope="session")
def compact_world(station: Station, project_copy: Path) -> Compact:
    """The compact world as the copy builds it without any mistake."""
    with station.project(project_copy):
        return Compact.played(station.world())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(PROOF, None)
    if found and found.figures:
        terminalreporter.section("proved")
        for line in found.lines():
            terminalreporter.write_line(line)
