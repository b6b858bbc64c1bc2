"""Whatever lands, is loaded and is built in whatever order: after each build all is as it must be.

Hypothesis plays the tills, the people who count, the schedule, and the misfortunes; it makes a
failure as short as it can and prints it as the calls that lead to it. POS_TEST_EXAMPLES says how
many worlds it plays, POS_TEST_SEED repeats a run.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.builds.comparing import GOLD
from tests.builds.worlds import SILVER_AND_GOLD, Station, World, differences
from tests.files import message
from tests.scale import SCALE
from tests.truth.figures import Proof

SEED = int(os.environ.get("POS_TEST_SEED", "0")) or random.randrange(1, 10**6)
STEPS = 20
EQUAL = "equal to the oracle after each build"

SALE, SHRINK, RESTOCK, BOPIS = 1, 2, 3, 4
MODELS = [name for names in SILVER_AND_GOLD.values() for name in names]
# What is built by hand without what it stands on. Not the tables whose rows say what the others
# knew at that time, and not the books: they enter a line as lost that silver has not read yet.
ALONE = [
    name
    for name in MODELS
    if name != "int_pos__loads_reconciled"
    and name not in {table.name for table in GOLD if table.depends_on_builds}
]

# The days are far enough apart for orders to be released, and the last for a window to move on.
TIMES = st.sampled_from(
    [
        "2021-01-01 10:00:00",
        "2021-01-01 12:00:00",
        "2021-01-01 12:00:01",
        "2021-01-02 12:00:00",
        "2021-01-08 10:00:00",
        "2021-01-08 10:00:01",
        "2021-01-29 12:00:00",
        "2021-02-05 12:00:01",
    ]
)
ITEMS = st.sampled_from([1, 2])
STORES = st.sampled_from([1, 0, 77])
UNITS = st.integers(min_value=-1, max_value=3)  # a negative sale is a return
COUNTED = st.sampled_from([5, 0, 1, 2, 9])
TRANSACTIONS = st.sampled_from(["A", "B"])

BAD_MESSAGES = st.sampled_from(
    [
        "not json",
        json.dumps(message("", "10:00:00", (1, -1))),
        json.dumps(message("Q", "10:00:00", (1, -1), change_type_id=9)),
        json.dumps(message("Q", "2090-01-01 10:00:00", (1, -1))),
        json.dumps({**message("Q", "10:00:00", (1, -1)), "items": []}),
        json.dumps(
            {**message("Q", "10:00:00", (2, -1)), "items": [{"item_id": 1}, {"item_id": 2}]}
        ),
    ]
)
BAD_ROWS = st.sampled_from(
    [(1, 9, 1, "yesterday", 5), ("x", 9, 1, "2021-01-01 10:00:00", 5), (1, 9, 1)]
)


class Lakehouse(RuleBasedStateMachine):
    """One world, and all that may happen to it."""

    station: Station
    sent: Bundle = Bundle("sent")  # messages
    counted: Bundle = Bundle("counted")  # rows of counts

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self.station.world()
        self.names = 0
        self.is_settled = False  # all that landed is built
        self.has_failed = False
        self.costly = 2  # what takes long happens only so often

    def teardown(self) -> None:
        if not self.is_settled and not self.has_failed:
            self.schedule_builds()

    # What lands.

    @rule(target=sent, time=TIMES, item=ITEMS, units=UNITS, store=STORES)
    def sale_lands(self, time: str, item: int, units: int, store: int) -> dict[str, Any]:
        return self._lands(self._name(), time, item, -units, store, SALE)

    @rule(target=sent, time=TIMES, item=ITEMS, units=UNITS, kind=st.sampled_from([SHRINK, RESTOCK]))
    def shrink_or_restock_lands(
        self, time: str, item: int, units: int, kind: int
    ) -> dict[str, Any]:
        return self._lands(self._name(), time, item, units, 1, kind)

    @rule(
        target=sent,
        trans_id=TRANSACTIONS,
        time=TIMES,
        item=ITEMS,
        units=UNITS,
        at_store=st.sampled_from([None, 1, 77]),
    )
    def order_lands(
        self, trans_id: str, time: str, item: int, units: int, at_store: int | None
    ) -> dict[str, Any]:
        stated = {} if at_store is None else {"fulfillment_store_id": at_store}
        return self._lands(trans_id, time, item, -units, 0, BOPIS, **stated)

    @rule(
        target=sent,
        trans_id=TRANSACTIONS,
        time=TIMES,
        item=ITEMS,
        units=UNITS,
        store=st.sampled_from([1, 77]),
    )
    def pickup_lands(
        self, trans_id: str, time: str, item: int, units: int, store: int
    ) -> dict[str, Any]:
        return self._lands(trans_id, time, item, -units, store, BOPIS)

    @rule(target=sent, times=st.lists(TIMES, min_size=2, max_size=6), item=ITEMS)
    def many_sales_land(self, times: list[str], item: int) -> Any:
        bodies = [message(self._name(), time, (item, -1)) for time in times]
        self._put(bodies)
        return multiple(*bodies)

    @rule(body=sent)
    def a_message_lands_again(self, body: dict[str, Any]) -> None:
        self._put([body])

    @rule(body=sent, units=UNITS)
    def a_message_lands_with_other_content(self, body: dict[str, Any], units: int) -> None:
        items = [{**line, "quantity": -units} for line in body["items"]]
        self._put([{**body, "items": items}])

    @rule(line=BAD_MESSAGES)
    def a_bad_message_lands(self, line: str) -> None:
        self._put([line])

    @rule(target=counted, time=TIMES, item=ITEMS, units=COUNTED, store=STORES)
    def count_lands(self, time: str, item: int, units: int, store: int) -> tuple[Any, ...]:
        row = (item, 9, store, time, units)
        self._count([row])
        return row

    @rule(target=counted, time=TIMES, units=COUNTED)
    def full_count_lands(self, time: str, units: int) -> Any:
        rows = [(item, 9, 1, time, units) for item in (1, 2)]
        self._count(rows)
        return multiple(*rows)

    @rule(target=counted, row=counted, units=COUNTED)
    def correction_lands(self, row: tuple[Any, ...], units: int) -> tuple[Any, ...]:
        corrected = (*row[:4], units)
        self._count([corrected])
        return corrected

    @rule(row=BAD_ROWS)
    def a_bad_row_lands(self, row: tuple[Any, ...]) -> None:
        self._count([row])

    @rule(item=ITEMS, safety=st.sampled_from([3, 0, ""]))
    def item_lands(self, item: int, safety: int | str) -> None:
        self.is_settled = False
        self.world.land_items((item, f"Item {item}", 7, safety))

    # What is done with it.

    @rule()
    def loader_loads(self) -> None:
        self.world.load()

    @rule()
    def schedule_builds(self) -> None:
        """Load what has landed and build."""
        self.world.load()
        self._build()

    @precondition(lambda self: self.costly and self.world.landed)
    @rule()
    def everything_is_rebuilt(self) -> None:
        self.costly -= 1
        self.world.load()
        self._build("--full-refresh")

    @precondition(lambda self: self.costly and self.is_settled)
    @rule()
    def nothing_new_is_built(self) -> None:
        self.costly -= 1
        before = self.world.versions()
        self._build()
        assert self.world.versions() == before, "a build with nothing new wrote something"

    @precondition(lambda self: self.costly and self.world.landed)
    @rule(model=st.sampled_from(MODELS), full_refresh=st.booleans())
    def build_breaks_off_after(self, model: str, full_refresh: bool) -> None:
        """Only a model and what it stands on are built: a crash between two models."""
        self.costly -= 1
        self.world.load()
        self._build_some(f"+{model}", *(["--full-refresh"] if full_refresh else []))

    @precondition(lambda self: self.costly and self.world.builds)
    @rule(model=st.sampled_from(ALONE))
    def somebody_builds_only(self, model: str) -> None:
        """One model by hand, whatever it stands on. It may fail, where that is not there."""
        self.costly -= 1
        self.world.load()
        self._build_some(model)

    def _lands(
        self, trans_id: str, time: str, item: int, quantity: int, store: int, kind: int, **more: Any
    ) -> dict[str, Any]:
        body = message(
            trans_id, time, (item, quantity), store_id=store, change_type_id=kind, **more
        )
        self._put([body])
        return body

    def _put(self, bodies: list[Any]) -> None:
        self.is_settled = False
        self.world.land_messages(*bodies)

    def _count(self, rows: list[tuple[Any, ...]]) -> None:
        self.is_settled = False
        self.world.land_counts(*rows)

    def _name(self) -> str:
        self.names += 1
        return f"T{self.names}"

    def _build(self, *more: str) -> None:
        self.has_failed = True
        report = self.world.build(*more)
        assert report.succeeded, report.failures
        said = differences(self.world)
        assert not said, "\n".join(said[:10])
        self.has_failed = False
        self.is_settled = True

    def _build_some(self, *select: str) -> None:
        self.station.warehouse.invoke("run", "--select", *select)
        self.is_settled = False


def test_all_tables_equal_the_oracle_whatever_happens(station: Station, proof: Proof) -> None:
    class AtStation(Lakehouse):
        worlds = 0

        def teardown(self) -> None:
            super().teardown()
            AtStation.worlds += 1

    AtStation.station = station
    print(f"POS_TEST_SEED={SEED}")
    run_state_machine_as_test(
        hypothesis.seed(SEED)(AtStation),
        settings=settings(
            max_examples=SCALE.examples,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    note = f"{STEPS} steps each, POS_TEST_SEED={SEED}"
    proof("worlds of the state machine", AtStation.worlds, AtStation.worlds, EQUAL, note)
