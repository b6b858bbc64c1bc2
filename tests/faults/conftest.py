"""What the tests of faults begin with."""

from __future__ import annotations

import pytest

from tests.builds.worlds import Station, World
from tests.faults.landing import land_some


@pytest.fixture(scope="session")
def begun_once(station: Station) -> World:
    world = station.world()
    world.land_items((1, "Tea", 7, 3), (2, "Salt", 7, 50))
    world.land_counts((1, 9, 1, "2021-01-01 08:00:00", 100), (2, 9, 1, "2021-01-01 08:00:00", 60))
    for number in range(3):
        land_some(world, number)
        world.load_and_build()
    return world


@pytest.fixture
def begun(station: Station, begun_once: World) -> World:
    """Three builds old; each test has a copy."""
    return station.copy_of(begun_once)
