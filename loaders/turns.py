"""Turns: one writing dbt at a time on the embedded engine.

dbt takes its turn in ``macros/turns.sql``, by a view in the session that all clients share. Here is
the schedule's part: to wait for another's turn without keeping the engine busy, and to end the turn
of a schedule that was killed.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OWNER_VARIABLE = "POS_TURN_OWNER"
SCHEDULE = "schedule"
STALE_SECONDS = 60
POLL_SECONDS = 0.1


def end_own(session: SparkSession) -> None:
    """End the turn of an earlier schedule: whoever holds the schedule's lock knows it is dead."""
    if f"'{SCHEDULE}'" in _holder(session):
        session.sql("drop view if exists default.dbt_turn").collect()


def wait(session: SparkSession) -> None:
    """Return once nobody has the turn, or whoever has it took it too long ago to be alive."""
    while holder := _holder(session):
        taken_at = re.search(r"taken_at=(\d+);", holder)
        if taken_at and time.time() - int(taken_at[1]) > STALE_SECONDS:
            return
        time.sleep(POLL_SECONDS)


def _holder(session: SparkSession) -> str:
    rows = session.sql("show table extended in default like 'dbt_turn'").collect()
    return str(rows[0][3]) if rows else ""
