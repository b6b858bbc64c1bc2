"""Stock counts against the books, and what is missing (rules 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from tests.oracle.known import Key, Known, change_type
from tests.oracle.received import Change, Count, CountKey
from tests.oracle.stock import units


@dataclass(frozen=True)
class Variance:
    """What gold.stock_count_variances must say of one count."""

    counted_quantity: int
    previous_counted_at: datetime | None
    previous_counted_quantity: int | None
    change_quantity: int
    book_quantity: int
    variance_quantity: int
    recorded_shrink_quantity: int | None
    found_shrink_quantity: int | None
    sold_quantity: int | None
    is_late: bool
    is_restated: bool


@dataclass(frozen=True)
class Shrink:
    """What gold.shrink_by_item must say of one store and item."""

    counts: int
    recorded_shrink_quantity: int
    found_shrink_quantity: int
    sold_quantity: int
    shrink_quantity: int
    shrink_rate: float | None
    since: datetime
    through: datetime


class Counted(NamedTuple):
    """A standing count, the one before it, and the changes that move stock between them."""

    count: Count
    previous: Count | None
    interval: list[Change]


def intervals(known: Known) -> dict[CountKey, Counted]:
    """Every count with what led to it: from after the previous count up to its own instant."""
    found: dict[CountKey, Counted] = {}
    for key, counts in known.counts_of.items():
        moving = known.moving(known.changes_of.get(key, []))
        previous = None
        for count in counts:
            interval = [
                change
                for change in moving
                if change.occurred_at <= count.counted_at
                and (previous is None or change.occurred_at > previous.counted_at)
            ]
            found[count.key] = Counted(count, previous, interval)
            previous = count
    return found


def count_variances(known: Known) -> dict[CountKey, Variance]:
    """Every count, in its standing version."""
    return {key: _variance(known, counted) for key, counted in intervals(known).items()}


def shrink_by_item(known: Known) -> dict[Key, Shrink]:
    """Every store and item with at least two counts; the first is where the sums begin."""
    variances = count_variances(known)
    rows: dict[Key, Shrink] = {}
    for key, counts in known.counts_of.items():
        after_first = [variances[count.key] for count in counts[1:]]
        if not after_first:
            continue
        recorded = sum(each.recorded_shrink_quantity or 0 for each in after_first)
        found = sum(each.found_shrink_quantity or 0 for each in after_first)
        sold = sum(each.sold_quantity or 0 for each in after_first)
        rows[key] = Shrink(
            counts=len(after_first),
            recorded_shrink_quantity=recorded,
            found_shrink_quantity=found,
            sold_quantity=sold,
            shrink_quantity=recorded + found,
            shrink_rate=(recorded + found) / sold if sold > 0 else None,
            since=counts[0].counted_at,
            through=counts[-1].counted_at,
        )
    return rows


def _variance(known: Known, counted: Counted) -> Variance:
    count, previous, interval = counted
    changed = units(interval)
    book = (previous.quantity if previous else 0) + changed
    is_first = previous is None
    return Variance(
        counted_quantity=count.quantity,
        previous_counted_at=previous.counted_at if previous else None,
        previous_counted_quantity=previous.quantity if previous else None,
        change_quantity=changed,
        book_quantity=book,
        variance_quantity=count.quantity - book,
        recorded_shrink_quantity=None if is_first else -_units_of("shrink", interval),
        found_shrink_quantity=None if is_first else book - count.quantity,
        sold_quantity=None if is_first else -_units_of("sale", interval),
        is_late=_is_late(known, count),
        is_restated=_is_restated(known, counted),
    )


def _is_late(known: Known, count: Count) -> bool:
    """Whether something newer of its key was known when it first landed."""
    key = (count.store_id, count.item_id)
    first = known.counts[count.key][0]
    newer_change = any(
        change.occurred_at > count.counted_at and change.landed_at < first.landed_at
        for change in known.moving(known.changes_of.get(key, []))
    )
    newer_count = any(
        other.counted_at > count.counted_at and known.counts[other.key][0].receipt < first.receipt
        for other in known.counts_of[key]
    )
    return newer_change or newer_count


def _is_restated(known: Known, counted: Counted) -> bool:
    """Whether its figures could have been believed to be others since it first landed."""
    versions = known.counts[counted.count.key]
    first = versions[0]
    was_corrected = any(version.quantity != first.quantity for version in versions)
    previous_moved = counted.previous is not None and (
        _last_quantity_change(known.counts[counted.previous.key]) > first.receipt
    )
    late_change = any(
        change.quantity != 0 and change.landed_at > first.landed_at for change in counted.interval
    )
    return was_corrected or previous_moved or late_change


def _last_quantity_change(versions: list[Count]) -> int:
    """Receipt of the version that last said another quantity than the one before it."""
    changing = [versions[0]]
    for version in versions[1:]:
        if version.quantity != changing[-1].quantity:
            changing.append(version)
    return changing[-1].receipt


def _units_of(kind: str, changes: list[Change]) -> int:
    return units(change for change in changes if change_type(change) == kind)
