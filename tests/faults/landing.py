"""What the tests of backup and rollback land."""

from __future__ import annotations

from tests.builds.worlds import World
from tests.files import message


def land_some(world: World, number: int) -> None:
    """A file with new sales, a repeated one, a late one and a broken line; a count now and then."""
    world.land_messages(
        message(f"A{number}", f"09:{number:02}:00", (1, -1), (2, -3)),
        message("A0", "09:00:00", (1, -1), (2, -3)),
        message(f"L{number}", f"2020-12-30 10:{number:02}:00", (1, -2)),
        "not json",
    )
    if number % 3 == 0:
        world.land_counts((1, 9, 1, f"2021-01-01 09:{number:02}:30", 90 + number))
