"""The oracle itself, on cases small enough to be worked out by hand.

Every file is a delivery of its own (`told`); `builds` are numbers of deliveries. Item 1 and store
1, unless a case says otherwise.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests import oracle
from tests.files import message as message_of
from tests.oracle import Oracle, Order, Restatement
from tests.told import (
    LANDED,
    RESTOCK,
    SALE,
    SHRINK,
    File,
    at,
    changes,
    count,
    every,
    items,
    messages,
    order,
    pickup,
    sale,
    told,
)


def on_hand(judged: Oracle, key: tuple[int, int] = (1, 1)) -> list[int | None]:
    """On hand after each delivery."""
    known = [judged.inventory(as_known_at=number + 1) for number in range(judged.deliveries)]
    return [each[key].on_hand_quantity if key in each else None for each in known]


def variances(judged: Oracle, time: str) -> list[int | None]:
    """The variance of a count after each delivery."""
    known = [judged.count_variances(as_known_at=number + 1) for number in range(judged.deliveries)]
    return [
        each[1, 1, at(time)].variance_quantity if (1, 1, at(time)) in each else None
        for each in known
    ]


# The acceptance cases of DESIGN section 8.


def test_square_a_late_sale_explains_the_variance() -> None:
    files = (
        count(("08:00:00", 100)),
        sale("13:10:00", 3),
        count(("13:30:00", 95)),
        sale("13:20:00", 2),
        changes(("13:40:00", SHRINK, -2)),
    )
    judged = told(*files)
    assert on_hand(judged) == [100, 97, 95, 95, 93]
    assert variances(judged, "13:30:00") == [None, None, -2, 0, 0]
    before, after = (judged.count_variances(known)[1, 1, at("13:30:00")] for known in (3, 5))
    assert (before.is_restated, after.is_restated) == (False, True)
    assert (after.counted_quantity, after.book_quantity, after.change_quantity) == (95, 95, -5)
    assert (after.sold_quantity, after.recorded_shrink_quantity) == (5, 0)
    assert judged.restatements(every(files)) == {
        (1, 1, at("13:30:00"), 2): Restatement(
            believed_on_hand_quantity=95,
            on_hand_quantity=95,
            believed_book_quantity=97,
            book_quantity=95,
            believed_variance_quantity=-2,
            variance_quantity=0,
            cause="late_event",
            build=3,
        )
    }


def test_erpnext_54295_the_variance_moves_by_56_and_on_hand_stays() -> None:
    files = (
        count(("2021-11-11 10:00:00", 1)),
        changes(("2021-07-01 10:00:00", RESTOCK, 56)),
    )
    judged = told(*files)
    assert on_hand(judged) == [1, 1]
    before, after = variances(judged, "2021-11-11 10:00:00")
    assert (before, after) == (1, -55)
    row = judged.count_variances()[1, 1, at("2021-11-11 10:00:00")]
    assert (row.is_restated, row.book_quantity) == (True, 56)
    # The first count is where the books begin: its variance is opening stock.
    assert row.recorded_shrink_quantity is row.found_shrink_quantity is row.sold_quantity is None
    (moved,) = judged.restatements(every(files)).values()
    assert (moved.cause, moved.believed_variance_quantity, moved.variance_quantity) == (
        "late_event",
        1,
        -55,
    )


def test_erpnext_28936_an_earlier_count_restates_the_later_ones_variance() -> None:
    later, earlier = "2021-03-10 10:00:00", "2021-03-05 10:00:00"
    files = (count((later, 10)), sale("2021-03-11 10:00:00", 1), count((earlier, 50)))
    judged = told(*files)
    assert on_hand(judged) == [10, 9, 9]
    assert variances(judged, later) == [10, 10, -40]
    assert judged.count_variances()[1, 1, at(later)].is_restated
    assert judged.restatements(every(files)) == {
        (1, 1, at(later), 2): Restatement(
            believed_on_hand_quantity=10,
            on_hand_quantity=10,
            believed_book_quantity=0,
            book_quantity=50,
            believed_variance_quantity=10,
            variance_quantity=-40,
            cause="late_count",
            build=2,
        ),
        # The earlier count is late itself: at its time the books, and so we, said 0.
        (1, 1, at(earlier), 1): Restatement(
            believed_on_hand_quantity=0,
            on_hand_quantity=50,
            believed_book_quantity=None,
            book_quantity=0,
            believed_variance_quantity=None,
            variance_quantity=50,
            cause="late_count",
            build=2,
        ),
    }


def test_oracle_a_late_sale_leaves_on_hand_and_explains_the_variance() -> None:
    files = (
        changes(("09:00:00", RESTOCK, 20)),
        count(("2021-01-02 09:00:00", 18)),
        sale("18:00:00", 2),
    )
    judged = told(*files)
    assert on_hand(judged) == [20, 18, 18]
    assert variances(judged, "2021-01-02 09:00:00") == [None, -2, 0]
    assert [row.cause for row in judged.restatements(every(files)).values()] == ["late_event"]


def test_ibm_what_is_kept_or_committed_is_not_promised() -> None:
    judged = told(items(2), count(("08:00:00", 4)), order("09:00:00", 3))
    position = judged.inventory()[1, 1]
    assert (position.on_hand_quantity, position.safety_stock_quantity) == (4, 2)
    assert (position.committed_quantity, position.available_quantity) == (3, 1)
    assert position.available_to_promise_quantity == 0
    assert position.is_below_safety_stock


# BOPIS.


def the_order(judged: Oracle, as_known_at: int | None = None) -> Order:
    return judged.bopis_orders(as_known_at)["B", 1]


def statuses(judged: Oracle) -> list[tuple[str, int]]:
    """Status and open units after each delivery."""
    rows = [the_order(judged, number + 1) for number in range(judged.deliveries)]
    return [(row.status, row.open_quantity) for row in rows]


def test_a_pickup_before_its_order_waits_for_it() -> None:
    judged = told(pickup("15:00:00", 2), order("09:00:00", 2))
    assert statuses(judged) == [("awaiting_order", 0), ("collected", 0)]
    assert the_order(judged, 1) == Order(
        ordered_at=None,
        ordered_quantity=None,
        stated_fulfillment_store_id=None,
        fulfillment_store_id=None,
        is_unassigned=False,
        picked_up_at=at("15:00:00"),
        picked_up_quantity=2,
        release_at=None,
        status="awaiting_order",
        open_quantity=0,
    )
    assert the_order(judged) == Order(
        ordered_at=at("09:00:00"),
        ordered_quantity=2,
        stated_fulfillment_store_id=None,
        fulfillment_store_id=1,
        is_unassigned=False,
        picked_up_at=at("15:00:00"),
        picked_up_quantity=2,
        release_at=at("2021-01-08 09:00:00"),
        status="collected",
        open_quantity=0,
    )
    assert on_hand(judged) == [-2, -2]
    assert on_hand(judged, (0, 1)) == [
        None,
        0,
    ]  # the order is a change of the shop's, and moves none


def test_a_partial_pickup_leaves_the_rest_committed() -> None:
    judged = told(
        changes(("08:00:00", RESTOCK, 10)),
        order("09:00:00", 5),
        pickup("10:00:00", 2),
        pickup("2021-01-02 10:00:00", 3),  # the same transaction on another day
    )
    kept = [judged.inventory(number)[1, 1] for number in (1, 2, 3, 4)]
    assert [position.on_hand_quantity for position in kept] == [10, 10, 8, 5]
    assert [position.committed_quantity for position in kept] == [0, 5, 3, 0]
    assert [position.available_quantity for position in kept] == [10, 5, 5, 5]
    assert kept[3].lifetime_bopis_quantity == -5
    assert kept[3].lifetime_change_quantity == 5
    assert statuses_from(judged, 2) == [("open", 5), ("partly_collected", 3), ("collected", 0)]
    assert the_order(judged).picked_up_at == at("2021-01-02 10:00:00")


def statuses_from(judged: Oracle, first: int) -> list[tuple[str, int]]:
    rows = [the_order(judged, number) for number in range(first, judged.deliveries + 1)]
    return [(row.status, row.open_quantity) for row in rows]


def test_an_order_is_released_by_the_event_clock_without_an_event_of_its_own() -> None:
    judged = told(
        order("09:00:00", 5),
        sale("2021-01-08 09:00:00", 1, item=2),  # 7 days to the second: not more
        sale("2021-01-08 09:00:01", 1, item=3),
    )
    assert statuses(judged) == [("open", 5), ("open", 5), ("released", 0)]
    committed = [judged.inventory(known)[1, 1].committed_quantity for known in (1, 2, 3)]
    assert committed == [5, 5, 0]
    assert on_hand(judged) == [0, 0, 0]  # a key that only an order has


def test_a_pickup_after_the_release_still_collects() -> None:
    judged = told(
        order("09:00:00", 5), pickup("2021-01-09 09:00:00", 2), pickup("2021-01-10 09:00:00", 3)
    )
    assert statuses(judged) == [("open", 5), ("released", 0), ("collected", 0)]
    assert on_hand(judged) == [0, -2, -5]


def test_a_stated_store_keeps_the_units_wherever_they_are_picked_up() -> None:
    judged = told(
        order("09:00:00", 5, fulfillment_store_id=77),
        order("2021-01-02 09:00:00", 1, fulfillment_store_id=1),  # more of it, on another day
        pickup("2021-01-02 10:00:00", 2),
    )
    order_row = the_order(judged)
    assert (order_row.stated_fulfillment_store_id, order_row.fulfillment_store_id) == (77, 77)
    assert (order_row.ordered_quantity, order_row.ordered_at) == (6, at("09:00:00"))
    assert judged.inventory(1)[77, 1].committed_quantity == 5
    assert judged.inventory()[77, 1].committed_quantity == 4
    assert judged.inventory()[1, 1].committed_quantity == 0


@pytest.mark.parametrize("stores", [{0: "online"}, {0: "online", 1: "physical", 2: "physical"}])
def test_an_order_for_no_one_place_is_kept_and_flagged(stores: dict[int, str]) -> None:
    judged = told(order("09:00:00", 5), stores=stores)
    row = the_order(judged)
    assert row.is_unassigned and row.fulfillment_store_id is None
    assert (row.status, row.open_quantity) == ("open", 5)
    assert {key: each.committed_quantity for key, each in judged.inventory().items()} == {(0, 1): 0}


def test_a_bopis_record_of_an_unknown_store_is_a_pickup() -> None:
    judged = told(pickup("10:00:00", 2, store_id=77))
    assert the_order(judged).picked_up_quantity == 2
    assert on_hand(judged, (77, 1)) == [-2]


def test_odd_orders() -> None:
    nothing = told(order("09:00:00", 0))
    assert statuses(nothing) == [("released", 0)]
    back = told(order("09:00:00", 3), pickup("10:00:00", -1))
    assert statuses(back) == [("open", 3), ("open", 3)]
    assert the_order(back).picked_up_quantity == -1
    negative = told(order("09:00:00", -3), pickup("10:00:00", 1))
    assert statuses(negative) == [("released", 0), ("collected", 0)]
    more = told(order("09:00:00", 3), pickup("10:00:00", 4))
    assert statuses(more)[-1] == ("collected", 0)


# Counts.


def test_an_event_at_the_counts_instant_is_part_of_the_count() -> None:
    judged = told(
        changes(("10:00:00", SALE, -1), ("10:00:01", SALE, -2)),
        count(("10:00:00", 50), ("10:00:01", 47)),
    )
    rows = judged.count_variances()
    assert rows[1, 1, at("10:00:00")].change_quantity == -1
    second = rows[1, 1, at("10:00:01")]
    assert (second.previous_counted_at, second.previous_counted_quantity) == (at("10:00:00"), 50)
    assert (second.change_quantity, second.book_quantity, second.variance_quantity) == (-2, 48, -1)
    assert (second.found_shrink_quantity, second.sold_quantity) == (1, 2)
    # The first is late, as the sale a second after it was known; the second is not, though the
    # first came with it: the rows of a file are received in their order.
    assert [row.is_late for row in rows.values()] == [True, False]
    assert [row.is_restated for row in rows.values()] == [False, False]


def test_a_correction_restates_its_own_variance_and_that_of_the_next() -> None:
    files = (
        count(("10:00:00", 50)),
        count(("12:00:00", 40)),
        count(("10:00:00", 45)),
        count(("10:00:00", 45)),  # the same again is no news
    )
    judged = told(*files)
    assert variances(judged, "10:00:00") == [50, 50, 45, 45]
    assert variances(judged, "12:00:00") == [None, -10, -5, -5]
    assert {key[2]: row.is_restated for key, row in judged.count_variances().items()} == {
        at("10:00:00"): True,
        at("12:00:00"): True,
    }
    moved = judged.restatements(every(files))
    assert {(key[2], key[3]): (row.cause, row.build) for key, row in moved.items()} == {
        (at("10:00:00"), 2): ("corrected_count", 2),
        (at("12:00:00"), 2): ("corrected_count", 2),
    }
    first = moved[1, 1, at("10:00:00"), 2]
    assert (first.believed_on_hand_quantity, first.on_hand_quantity) == (50, 45)


def test_a_count_corrected_and_back_is_restated_though_no_figure_moved() -> None:
    files = (count(("10:00:00", 50)), count(("10:00:00", 45)), count(("10:00:00", 50)))
    judged = told(*files)
    assert judged.count_variances()[1, 1, at("10:00:00")].is_restated
    assert len(judged.restatements([1, 2, 3])) == 2
    assert judged.restatements([1, 3]) == {}, "no build ever said 45"
    versions = judged.stock_count_figures([1, 3])
    assert [row.is_restated for row in versions.values()] == [False, True]


def test_a_correction_received_before_the_next_count_does_not_restate_that() -> None:
    judged = told(count(("10:00:00", 50)), count(("10:00:00", 45)), count(("12:00:00", 40)))
    assert not judged.count_variances()[1, 1, at("12:00:00")].is_restated


def test_late_is_what_landed_after_something_newer() -> None:
    judged = told(
        count(("12:00:00", 9)),
        count(("11:00:00", 9)),  # late: a newer count was known
        sale("14:00:00", 1),
        count(("13:00:00", 9)),  # late: a newer sale was known
        count(("15:00:00", 9)),
        sale("14:30:00", 1),
        order("16:00:00", 1),
        count(("15:30:00", 9)),  # an order moves nothing, so nothing newer was known
    )
    late = {
        key[2].hour + key[2].minute / 60: row.is_late
        for key, row in judged.count_variances().items()
    }
    assert late == {11: True, 12: False, 13: True, 15: False, 15.5: False}


def test_a_late_count_of_what_the_books_said_restates_nothing() -> None:
    files = (
        changes(("09:00:00", RESTOCK, 20)),
        sale("11:00:00", 1),
        count(("10:00:00", 20)),
    )
    judged = told(*files)
    assert judged.count_variances()[1, 1, at("10:00:00")].is_late
    assert judged.restatements(every(files)) == {}
    assert set(judged.stock_count_figures(every(files))) == {(1, 1, at("10:00:00"), 1)}


def test_late_events_that_cancel_out_are_restated_and_publish_nothing() -> None:
    files = (count(("10:00:00", 5)), changes(("09:00:00", SALE, -2), ("09:30:00", RESTOCK, 2)))
    judged = told(*files)
    assert judged.count_variances()[1, 1, at("10:00:00")].is_restated
    assert judged.restatements([1, 2]) == {}


def test_what_one_build_takes_in_at_once_was_never_published() -> None:
    files = (count(("10:00:00", 5)), sale("09:00:00", 2), count(("10:00:00", 6)))
    judged = told(*files)
    assert judged.restatements([3]) == {}
    assert judged.count_variances()[1, 1, at("10:00:00")].is_restated, "whatever the builds"
    assert [row.cause for row in judged.restatements([1, 3]).values()] == ["corrected_count"]
    assert [row.cause for row in judged.restatements([1, 2, 3]).values()] == [
        "late_event",
        "corrected_count",
    ]


def test_what_changes_without_a_new_fact_is_a_rebuild() -> None:
    judged = told(count(("10:00:00", 5)), sale("09:00:00", 2))
    # A build that is told of fewer deliveries than the one before stands for a rule that changed.
    assert [row.cause for row in judged.restatements([2, 1]).values()] == ["rebuild"]


def test_a_re_drive_is_named_as_the_cause() -> None:
    bad = message_of("R", "09:00:00", (1, -2))
    files = (
        count(("10:00:00", 5), ("12:00:00", 4)),
        messages(bad),
        messages(message_of("S", "11:00:00", (1, -1))),
        File("", "", redrive_of=0),
    )
    # A line that is good at once is kept at once; what is put through again is then a repetition.
    judged = told(*files)
    assert {row.cause for row in judged.restatements(every(files)).values()} == {"late_event"}
    ahead = (
        count(("2021-12-01 10:00:00", 5)),
        messages(message_of("F", "2022-01-02 00:01:02", (1, -2))),  # a second too far ahead
        count(("2022-01-02 00:02:00", 3)),
        File("", "", redrive_of=1),
    )
    judged = told(*ahead)
    assert [each.reason for each in judged.quarantine] == ["date_time_in_the_future"]
    assert on_hand(judged) == [5, 5, 3, 3]
    (moved,) = judged.restatements(every(ahead)).values()
    assert (moved.cause, moved.build) == ("re_drive", 3)
    assert judged.books[oracle.MESSAGES, 4] == oracle.received.Books(1, 1, 0, 0)


def test_shrink_is_what_is_recorded_and_what_is_found() -> None:
    judged = told(
        count(("08:00:00", 100)),
        changes(("09:00:00", SALE, -10), ("09:30:00", SALE, 2), ("10:00:00", SHRINK, -3)),
        count(("12:00:00", 88)),  # 89 by the books
        changes(("13:00:00", SALE, -12)),
        count(("18:00:00", 77)),  # 76 by the books
    )
    assert judged.shrink_by_item() == {
        (1, 1): oracle.Shrink(
            counts=2,
            recorded_shrink_quantity=3,
            found_shrink_quantity=0,
            sold_quantity=20,
            shrink_quantity=3,
            shrink_rate=0.15,
            since=at("08:00:00"),
            through=at("18:00:00"),
        )
    }
    assert judged.shrink_by_item(as_known_at=1) == {}
    unsold = told(count(("08:00:00", 9)), count(("09:00:00", 8)))
    assert unsold.shrink_by_item()[1, 1].shrink_rate is None


# Alerts.


def test_alerts_do_not_flap() -> None:
    files = (
        count(("08:00:00", 3)),
        sale("09:00:00", 3),  # 0
        changes(("10:00:00", RESTOCK, 1)),  # 1: not enough to clear
        sale("11:00:00", 2),  # -1
        changes(("12:00:00", RESTOCK, 1)),  # 0: not enough to clear
        changes(("13:00:00", RESTOCK, 2)),  # 2
        sale("14:00:00", 2),  # 0 again
    )
    judged = told(*files)
    assert judged.alerts([1]) == {}
    raised = oracle.Alert(True, at("09:00:00"), None, 0, 1)
    assert judged.alerts([1, 2]) == judged.alerts([1, 2, 3]) == {(1, 1, "out_of_stock"): raised}
    assert judged.alerts(range(1, 6)) == {
        (1, 1, "out_of_stock"): raised,
        (1, 1, "negative"): oracle.Alert(True, at("11:00:00"), None, -1, 1),
    }
    assert judged.alerts(range(1, 7)) == {
        (1, 1, "out_of_stock"): oracle.Alert(False, at("09:00:00"), at("13:00:00"), 0, 1),
        (1, 1, "negative"): oracle.Alert(False, at("11:00:00"), at("13:00:00"), -1, 1),
    }
    assert judged.alerts(every(files))[1, 1, "out_of_stock"] == oracle.Alert(
        True, at("14:00:00"), None, 0, 2
    )
    assert judged.alerts([7])[1, 1, "out_of_stock"].times_raised == 1, "nobody saw it in between"


def test_below_safety_stock_clears_well_above_it_or_without_it() -> None:
    files = (
        count(("08:00:00", 10)),
        items(11),  # enough is 11 + 3
        changes(("09:00:00", RESTOCK, 3)),  # 13
        changes(("10:00:00", RESTOCK, 1)),  # 14
        items(15),
        items(None),
    )
    judged = told(*files)
    key = (1, 1, "below_safety_stock")
    states = [judged.alerts(range(1, number + 1)).get(key) for number in every(files)]
    assert [state and state.is_active for state in states] == [None, True, True, False, True, False]
    assert states[1] == oracle.Alert(True, None, None, 10, 1), "no event yet, so no event clock"
    assert states[5] == oracle.Alert(False, at("10:00:00"), at("10:00:00"), 14, 2)


def test_what_was_never_counted_raises_no_alert() -> None:
    assert told(sale("09:00:00", 3)).alerts([1]) == {}


def test_an_order_is_as_good_as_gone() -> None:
    judged = told(
        count(("08:00:00", 3)), order("09:00:00", 3), sale("2021-01-09 09:00:00", 0, item=2)
    )
    assert judged.alerts([1, 2])[1, 1, "out_of_stock"].raised_at == at("09:00:00")
    assert not judged.alerts([1, 2, 3])[1, 1, "out_of_stock"].is_active, "released, so available"


# Ledger and as of.


def test_the_ledgers_last_balance_is_on_hand() -> None:
    judged = told(
        count(("10:00:00", 50)),
        changes(("10:00:00", SALE, -4), ("10:00:00", SHRINK, -1), ("11:00:00", SALE, -8)),
        pickup("09:00:00", 2),
        order("09:00:00", 5),
    )
    entries = {
        key[2:]: (row.quantity, row.balance_quantity) for key, row in judged.ledger().items()
    }
    assert entries == {
        (at("09:00:00"), "bopis", "B"): (-2, -2),
        (at("10:00:00"), "sale", "1 10:00:00"): (-4, -6),
        (at("10:00:00"), "shrink", "2 10:00:00"): (-1, -7),
        (at("10:00:00"), "count", ""): (57, 50),
        (at("11:00:00"), "sale", "1 11:00:00"): (-8, 42),
    }
    assert judged.inventory()[1, 1].on_hand_quantity == 42
    assert judged.count_variances()[1, 1, at("10:00:00")].variance_quantity == 57


def test_as_of_answers_on_both_clocks() -> None:
    judged = told(
        count(("08:00:00", 100)),
        sale("13:10:00", 3),
        count(("13:30:00", 95)),
        sale("13:20:00", 2),
        count(("13:30:00", 94)),
        order("13:00:00", 1, item=2),
    )
    received = [LANDED + timedelta(minutes=place, seconds=1) for place in range(6)]

    def of(time: str, known_at: datetime | None = None) -> int:
        return judged.inventory_as_of(at(time), known_at)[1, 1].on_hand_quantity

    assert [of(time) for time in ("08:00:00", "13:10:00", "13:29:00", "14:00:00")] == [
        100,
        97,
        95,
        94,
    ]
    assert [of("13:29:00", time) for time in received] == [100, 97, 97, 95, 95, 95]
    assert [of("14:00:00", time) for time in received] == [100, 97, 95, 95, 94, 94]
    assert judged.inventory_as_of(at("07:59:59")) == {}
    keys = set(judged.inventory_as_of(at("14:00:00")))
    assert keys == {(0, 2), (1, 1)}, "where an order is collected is no key of what is in stock"
    assert set(judged.inventory()) == {*keys, (1, 2)}


# Pace.


def test_days_of_supply() -> None:
    judged = told(
        changes(("2021-01-01 00:00:00", RESTOCK, 100)),
        changes(("2021-01-02 00:00:00", SALE, -7), ("2021-01-03 00:00:00", SALE, 1)),
        pickup("2021-01-05 00:00:00", 2),
        order("2021-01-05 00:00:00", 2, trans_id="C"),
    )
    assert judged.days_of_supply(1) == {}
    assert judged.days_of_supply(3)[1, 1] == oracle.Supply(8, 4.0, 2.0, 46.0)
    assert judged.days_of_supply() == {(1, 1): oracle.Supply(8, 4.0, 2.0, 45.0)}  # 90 available
    returned = told(sale("10:00:00", -1))
    assert returned.days_of_supply()[1, 1] == oracle.Supply(-1, 1.0, -1.0, None)


def test_the_window_is_28_days_and_open_at_its_start() -> None:
    judged = told(
        sale("2021-01-01 00:00:00", 100),
        sale("2021-01-01 00:00:01", 56),
        sale("2021-01-29 00:00:00", 0, item=2),
    )
    assert judged.days_of_supply()[1, 1] == oracle.Supply(56, 28.0, 2.0, 0.0)
    assert judged.days_of_supply()[1, 2] == oracle.Supply(0, 28.0, 0.0, None)


def test_phantom_stock_has_sold_often_and_suddenly_no_more() -> None:
    usual = changes(*((f"2021-01-01 {hour:02}:00:00", SALE, -1) for hour in (8, 11, 12, 15, 20)))
    stock, back = count(("2021-01-01 00:00:00", 20)), changes(("2021-01-01 21:00:00", SALE, 1))
    day = sale("2021-01-02 20:00:00", 1, item=2)  # 24 hours: not more
    second = sale("2021-01-02 20:00:01", 1, item=3)
    judged = told(stock, usual, back, day, second)
    assert judged.phantom_stock_suspects(4) == {}
    assert judged.phantom_stock_suspects() == {
        (1, 1): oracle.Suspect(
            sale_count=5,
            first_sold_at=at("08:00:00"),
            last_sold_at=at("20:00:00"),
            usual_gap_hours=3.0,
            hours_since_last_sale=24 + 1 / 3600,
        )
    }
    assert told(usual, day, second).phantom_stock_suspects() == {}, "nothing on hand"
    four = changes(*((f"2021-01-01 {hour:02}:00:00", SALE, -1) for hour in (8, 11, 12, 15)))
    assert told(stock, four, day, second).phantom_stock_suspects() == {}


def test_who_sells_seldom_is_no_suspect() -> None:
    # Every 6 hours: 8 times that is 48 hours.
    usual = changes(
        *((f"2021-01-0{1 + n // 4} {6 * (n % 4):02}:00:00", SALE, -1) for n in range(5))
    )
    stock = count(("2021-01-01 00:00:00", 20))
    for clock, suspected in [("2021-01-04 00:00:00", False), ("2021-01-04 00:00:01", True)]:
        judged = told(stock, usual, sale(clock, 1, item=2))
        assert bool(judged.phantom_stock_suspects()) == suspected
