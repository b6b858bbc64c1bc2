"""The models' own unit tests, which no build of the schedule runs: on the embedded engine."""

from __future__ import annotations

import re
from pathlib import Path

from tests.builds.worlds import World
from tests.files import message

MODELS = Path(__file__).parents[2] / "models"


def test_the_unit_tests_of_all_models_pass(world: World) -> None:
    world.land_messages(message("A", "09:00:00", (1, -1)))  # columns' types are asked of tables
    world.load_and_build()

    report = world.station.warehouse.invoke("test", "--select", "test_type:unit")

    assert report.succeeded, report.failures
    written = set()
    for path in MODELS.rglob("*.yml"):
        _, _, unit_tests = path.read_text().partition("\nunit_tests:\n")
        written |= set(re.findall(r"^  - name: (\w+)$", unit_tests, flags=re.MULTILINE))
    # dbt reports its hooks, too, and names the tests of a model with versions after the version.
    ran = {name for name in report.node_seconds if "-on-run-" not in name}
    assert written == {re.sub(r"_v\d+$", "", name) for name in ran}
