"""One id leads from a message to gold: through bronze, silver, the build, the ledger."""

from __future__ import annotations

from typing import Any

import pytest

import loaders.schedule
from loaders.journal import entries
from loaders.schedule import Schedule
from loaders.trace import traced
from loaders.warehouse import BuildReport
from tests.builds.worlds import Station, World
from tests.files import message

pytestmark = pytest.mark.faults


def test_a_message_is_followed_to_gold(
    station: Station, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shared:
        def __init__(self, _settings: object) -> None: ...

        def invoke(self, *arguments: str) -> BuildReport:
            return station.warehouse.invoke(*arguments)

    monkeypatch.setattr(loaders.schedule, "Warehouse", Shared)
    ticks = []
    with Schedule(world.settings) as schedule:
        for number in range(3):
            world.land_messages(
                message(f"T{number}", f"09:0{number}:00", (1, -1), (2, -3)),
                message(f"Q{number}", "09:00:00", (1, -1), ("x", -3)),
            )
            ticks.append(schedule.tick())
        schedule.build_marts()
    assert not any(tick.failed for tick in ticks)
    assert [tick.point is not None for tick in ticks] == [
        True,
        False,
        False,
    ], "before the first build, which may be a bad one"
    steps: list[dict[str, Any]] = list(traced(world.settings, "T1", None))
    (received,) = [step for step in steps if step["step"] == "received"]
    assert (received["ingest_id"], received["source_line"]) == (2, 1)
    kept = [step for step in steps if step["step"] == "kept"]
    assert {(step["item_id"], step["quantity"]) for step in kept} == {(1, -1), (2, -3)}
    (built,) = [step for step in steps if step["step"] == "built"]
    assert ticks[1].build is not None
    assert built["build_id"] == ticks[1].build.build_id
    assert len({tick.build.build_id for tick in ticks if tick.build}) == 3
    ledger = [step for step in steps if step["step"] == "in the ledger"]
    assert {(step["item_id"], step["quantity"]) for step in ledger} == {(1, -1), (2, -3)}
    gold = {
        step["item_id"]: step["on_hand_quantity"] for step in steps if step["step"] == "in gold"
    }
    assert gold == {1: -6, 2: -9}
    rejected = [
        step for step in traced(world.settings, "Q2", None) if step["step"] == "quarantined"
    ]
    assert [step["reason"] for step in rejected] == ["missing_or_mistyped_item_id"]
    of_commit = list(traced(world.settings, None, 3))
    assert len([step for step in of_commit if step["step"] == "received"]) == 2
    assert list(traced(world.settings, "nothing", None)) == []

    said = list(entries(world.settings))
    loaded = [entry for entry in said if entry["event"] == "loaded"]
    assert [entry["ingest_ids"] for entry in loaded] == [[3, 3], [2, 2], [1, 1]]
    builds = [entry for entry in said if entry["event"] == "built"]
    assert [entry["through"]["pos_messages"] for entry in builds] == [3, 2, 1]
    assert [entry["what"] for entry in builds] == ["tables", "tables", "tables"]
