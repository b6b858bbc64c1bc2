"""What was published when: the tables that remember what earlier builds said.

A build is the number of deliveries that it knew. A full refresh is a build like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.oracle.counts import Counted, Variance, count_variances, intervals
from tests.oracle.known import Known
from tests.oracle.received import CountKey
from tests.oracle.stock import Position, inventory

VersionKey = tuple[int, int, datetime, int]  # store, item, counted at, version
AlertKey = tuple[int, int, str]  # store, item, alert
KnownAt = Callable[[int], Known]

RE_DRIVE = "re_drive"


@dataclass(frozen=True)
class Restatement:
    """What gold.inventory_restatements must say of one version; `build` is the build's place."""

    believed_on_hand_quantity: int
    on_hand_quantity: int
    believed_book_quantity: int | None
    book_quantity: int
    believed_variance_quantity: int | None
    variance_quantity: int
    cause: str
    build: int


@dataclass(frozen=True)
class Alert:
    """What gold.inventory_alerts must say of one store, item and alert."""

    is_active: bool
    raised_at: datetime | None
    cleared_at: datetime | None
    raised_quantity: int
    times_raised: int


def stock_count_figures(known_at: KnownAt, builds: Sequence[int]) -> dict[VersionKey, Variance]:
    """Every version of every count's figures that one of the builds published."""
    return _publish(known_at, builds)[0]


def restatements(known_at: KnownAt, builds: Sequence[int]) -> dict[VersionKey, Restatement]:
    """Every published figure that moved, and what made it move."""
    return _publish(known_at, builds)[1]


def _publish(
    known_at: KnownAt, builds: Sequence[int]
) -> tuple[dict[VersionKey, Variance], dict[VersionKey, Restatement]]:
    published: dict[VersionKey, Variance] = {}
    moved: dict[VersionKey, Restatement] = {}
    versions: dict[CountKey, int] = {}
    known_before = 0
    for build, deliveries in enumerate(builds):
        known = known_at(deliveries)
        counted_of = intervals(known)
        for key, now in count_variances(known).items():
            version = versions.get(key, 0)
            before = published.get((*key, version))
            if before == now:
                continue
            versions[key] = version + 1
            published[(*key, version + 1)] = now
            cause = None
            if before is not None and _moved(before, now):
                cause = _cause(before, now, counted_of[key], known_before)
            elif before is None and now.is_late and now.counted_quantity != now.book_quantity:
                cause = RE_DRIVE if counted_of[key].count.redriven else "late_count"
            if cause is not None:
                moved[(*key, version + 1)] = Restatement(
                    believed_on_hand_quantity=(
                        before.counted_quantity if before else now.book_quantity
                    ),
                    on_hand_quantity=now.counted_quantity,
                    believed_book_quantity=before.book_quantity if before else None,
                    book_quantity=now.book_quantity,
                    believed_variance_quantity=before.variance_quantity if before else None,
                    variance_quantity=now.variance_quantity,
                    cause=cause,
                    build=build,
                )
        known_before = deliveries
    return published, moved


def _moved(before: Variance, now: Variance) -> bool:
    return (before.counted_quantity, before.book_quantity) != (
        now.counted_quantity,
        now.book_quantity,
    )


def _cause(before: Variance, now: Variance, counted: Counted, known_before: int) -> str:
    """The first difference that explains it; a re-drive if what is responsible came by one."""
    count, previous, interval = counted
    new_changes = [change for change in interval if change.known_at >= known_before]
    if before.counted_quantity != now.counted_quantity:
        cause, responsible = "corrected_count", [count]
    elif before.previous_counted_at != now.previous_counted_at:
        cause, responsible = "late_count", [previous]
    elif before.previous_counted_quantity != now.previous_counted_quantity:
        cause, responsible = "corrected_count", [previous]
    elif before.change_quantity != now.change_quantity and new_changes:
        cause, responsible = "late_event", new_changes
    else:
        return "rebuild"
    return RE_DRIVE if any(fact is not None and fact.redriven for fact in responsible) else cause


def alerts(known_at: KnownAt, builds: Sequence[int]) -> dict[AlertKey, Alert]:
    """Every alert that one of the builds raised, as the last build left it."""
    found: dict[AlertKey, Alert] = {}
    for deliveries in builds:
        known = known_at(deliveries)
        for key, position in inventory(known).items():
            if not position.is_counted:
                continue
            for name, (quantity, raises, clears) in _conditions(position).items():
                before = found.get((*key, name))
                if raises and (before is None or not before.is_active):
                    times = before.times_raised + 1 if before else 1
                    alert = Alert(True, known.event_clock, None, quantity, times)
                elif clears and before is not None and before.is_active:
                    alert = Alert(
                        False,
                        before.raised_at,
                        known.event_clock,
                        before.raised_quantity,
                        before.times_raised,
                    )
                else:
                    continue
                found[(*key, name)] = alert
    return found


def _conditions(position: Position) -> dict[str, tuple[int, bool, bool]]:
    """For each alert the quantity that it watches, and whether that raises it or clears it."""
    on_hand, available = position.on_hand_quantity, position.available_quantity
    safety = position.safety_stock_quantity
    enough = None if safety is None else safety + max(1, -(-safety * 20 // 100))
    return {
        "negative": (on_hand, on_hand < 0, on_hand >= 1),
        "out_of_stock": (available, available <= 0, available >= 2),
        "below_safety_stock": (
            available,
            safety is not None and available < safety,
            enough is None or available >= enough,
        ),
    }
