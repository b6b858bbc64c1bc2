"""The engines that tests share: one each for the whole run, started by the first that needs it.

Spark's tests need a Java; without one they are skipped, saying how to install it. And what tests
measure, which they are told by the fixture `figures`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loaders.config import Settings
from loaders.errors import UserError
from loaders.jars import fetch, jars_folder
from loaders.java import java_home_or_advice
from tests.builds.worlds import Station, World
from tests.faults.figures import Figures
from tests.scale import IS_ALL
from tests.worlds import ResidentDbt

FIGURES = pytest.StashKey[Figures]()


@pytest.fixture
def figures(pytestconfig: pytest.Config) -> Figures:
    """What a test measures, shown in a table at the end of the run."""
    return pytestconfig.stash.setdefault(FIGURES, Figures())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(FIGURES, None)
    if found:
        terminalreporter.section("figures")
        for line in found.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """The embedded engine and a resident dbt."""
    station = Station(tmp_path_factory.mktemp("station"))
    yield station
    station.close()


@pytest.fixture
def world(station: Station) -> World:
    """A fresh one for each test."""
    return station.world()


@pytest.fixture(scope="session")
def spark_jars() -> Path:
    try:
        java_home_or_advice()
    except UserError as error:
        if IS_ALL:
            pytest.fail(f"not all can be proved here: {error}")
        pytest.skip(str(error))
    folder = jars_folder(Settings(Path(), Path()).project)
    fetch(folder)
    return folder


@pytest.fixture(scope="session")
def spark_dbt(spark_jars: Path) -> Iterator[ResidentDbt]:
    """dbt on Spark in a child process, for all tests: a cold JVM costs more than most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POS_JARS", str(spark_jars))
        # Compile little: on tables this small compiling would be half the work.
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        patch.setenv(
            "PYSPARK_SUBMIT_ARGS",
            "--conf spark.sql.codegen.wholeStage=false "
            "--conf spark.sql.codegen.factoryMode=NO_CODEGEN pyspark-shell",
        )
        with ResidentDbt() as dbt:
            yield dbt
