"""The books of the intake when something comes between: a load, a rule, a build by halves."""

from __future__ import annotations

from tests.builds.comparing import is_of_builds
from tests.builds.worlds import World, book_rows, differences
from tests.files import message

NOON = "2021-01-01 12:00:00"
CHANGES = "stg_pos__inventory_changes"


def build_only(world: World, *selection: str) -> None:
    report = world.station.warehouse.invoke("run", *selection)
    assert report.succeeded, report.failures


def test_a_load_in_the_middle_of_a_build_is_booked_by_the_next(world: World) -> None:
    world.land_messages(message("A", NOON, (1, -1)))
    world.load()
    build_only(world, "--select", CHANGES)
    world.land_messages(message("B", NOON, (1, -1)), message("B", NOON, (2, "x")))
    world.land_counts((1, 9, 1, NOON, 50))
    world.load()
    build_only(world, "--select", "config.materialized:incremental", "--exclude", CHANGES)
    assert sorted(book_rows(world)) == [("pos_count_rows", 1), ("pos_messages", 1)]
    assert world.station.warehouse.invoke("test", "--select", "tag:every_build").failures == []
    assert sum(world.quarantine().values()) == 0

    world.land_messages(message("C", NOON, (1, -1)))
    world.load_and_build()
    assert sorted(book_rows(world)) == [
        ("pos_count_rows", 1),
        *(("pos_messages", n) for n in (1, 2, 3)),
    ]
    assert [each for each in differences(world) if not is_of_builds(each)] == []
    assert world.check() == []


def test_a_commit_of_which_nothing_was_kept_is_judged_once(world: World) -> None:
    """A build must not read it again by a new rule, when the books have it in quarantine."""
    world.know_change_types(1, 2, 4)
    path = world.land_messages(message("R", NOON, (1, 24), change_type_id=3))
    world.load_and_build()
    world.know_change_types(1, 2, 3, 4)
    world.land_messages(message("A", NOON, (1, -1)))
    world.load_and_build()
    assert world.on_hand(1, 1) == -1
    assert world.quarantine() == {("pos_messages", path, 1, "unknown_change_type"): 1}
    assert world.check() == []
