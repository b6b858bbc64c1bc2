"""Turns: one writing dbt at a time on the embedded engine.

dbt takes its turn in ``macros/turns.sql``, by a view in the session that all clients share. Here is
the schedule's part: to wait for another's turn without keeping the engine busy, to end the turn of
a schedule that was killed, and to take one for the maintenance, beside which no dbt may write.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OWNER_VARIABLE = "POS_TURN_OWNER"
SCHEDULE = "schedule"
BY_HAND = "by_hand"  # a dbt
UPKEEP = "upkeep"  # `pos maintain`
STALE_SECONDS = 60
POLL_SECONDS = 0.1


def end_own(session: SparkSession, owner: str) -> None:
    """End the turn of an earlier schedule or upkeep: whoever holds its lock knows it is dead."""
    if f"'{owner}'" in _holder(session):
        session.sql("drop view if exists default.dbt_turn").collect()


def wait(session: SparkSession) -> None:
    """Return once nobody has the turn, or whoever has it took it too long ago to be alive."""
    while (holder := _holder(session)) and not _is_stale(holder):
        time.sleep(POLL_SECONDS)


def wait_and_take(session: SparkSession, owner: str) -> str:
    """Take the turn as soon as it can be had, for as long as the session lives."""
    while True:
        wait(session)
        if turn := take(session, owner):
            return turn
        time.sleep(POLL_SECONDS)


@contextmanager
def waited_for(session: SparkSession, owner: str) -> Iterator[None]:
    """Hold the turn, once it can be had."""
    turn = wait_and_take(session, owner)
    try:
        yield
    finally:
        _end(session, turn)


@contextmanager
def taken(session: SparkSession, owner: str) -> Iterator[bool]:
    """Hold the turn; False where somebody has it."""
    turn = take(session, owner)
    if turn is None:
        yield False
        return
    try:
        yield True
    finally:
        _end(session, turn)


def take(session: SparkSession, owner: str) -> str | None:
    """Take the turn, for as long as the session lives; None where somebody has it. As dbt does, one
    of a run that was killed is taken over: else it would be waited for without end."""
    turn = str(uuid.uuid4())
    is_dead = _is_stale(_holder(session))
    creation = "create or replace view" if is_dead else "create view if not exists"
    session.sql(
        f"{creation} default.dbt_turn as select '{turn}' as invocation_id, "
        f"'{owner}' as turn_owner, 'taken_at={time.time():.0f};' as taken_at"
    ).collect()
    return turn if turn in _holder(session) else None


def _end(session: SparkSession, turn: str) -> None:
    if turn in _holder(session):
        session.sql("drop view if exists default.dbt_turn").collect()


def _is_stale(holder: str) -> bool:
    """True if whoever has the turn took it too long ago to be alive, or in what is the future: the
    clock has been set back since."""
    taken_at = re.search(r"taken_at=(\d+);", holder)
    return taken_at is not None and abs(time.time() - int(taken_at[1])) > STALE_SECONDS


def _holder(session: SparkSession) -> str:
    rows = session.sql("show table extended in default like 'dbt_turn'").collect()
    return str(rows[0][3]) if rows else ""
