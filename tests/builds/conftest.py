"""One engine and one resident dbt for all tests in this folder, a fresh world for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builds.worlds import Station, World


@pytest.fixture(scope="session")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    station = Station(tmp_path_factory.mktemp("station"))
    yield station
    station.close()


@pytest.fixture
def world(station: Station) -> World:
    return station.world()
