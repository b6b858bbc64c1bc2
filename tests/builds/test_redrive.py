"""What is in quarantine put through again: in silver once, or back in quarantine and linked."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from loaders.config import Settings
from loaders.landing import publish
from loaders.load import Loader
from loaders.plan import batches
from loaders.redrive import Count, Report, redrive
from tests.builds.test_commands import Said, assert_one_sentence, options, pos
from tests.builds.test_load_crash import STEPS, Killed, arm
from tests.builds.worlds import World, business_rows
from tests.files import message

NOON = "2021-01-01 12:00:00"
MESSAGES, COUNTS, ITEMS = "pos_messages", "pos_count_rows", "pos_items"
QUANTITY, ITEM_ID = "missing_or_mistyped_quantity", "missing_or_mistyped_item_id"
CHANGE_TYPE, FUTURE = "unknown_change_type", "date_time_in_the_future"
CONFLICT, UNREADABLE = "conflicting_duplicate", "unreadable_row"

CONSERVATION = ("assert_every_line_ever_is_accounted_for", "stg_pos__quarantine")

Row = dict[str, Any]


def again(world: World, *arguments: str) -> Report:
    """Put through again and build; nothing may be lost or unbalanced."""
    report = redrive(world.settings, *arguments)
    world.load_and_build()
    assert world.station.warehouse.invoke("test", "--select", *CONSERVATION).failures == []
    return report


def quarantined(world: World, *columns: str) -> list[tuple[Any, ...]]:
    """The quarantine in order of receipt; by default reasons, and which row each repeats."""
    names = columns or ("reason", "_redrive_of_ingest_id", "_redrive_of_ingest_line")
    rows = world.rows("silver", "stg_pos__quarantine")
    rows.sort(key=lambda row: (row["_ingest_id"], row["_ingest_line"], row["line_number"]))
    return [tuple(row[name] for name in names) for row in rows]


def books(world: World, source: str = MESSAGES) -> dict[int, tuple[int, int, int]]:
    """Kept, duplicate and quarantined lines of each commit; their sum is what was received."""
    names = ("lines_kept", "lines_duplicate", "lines_quarantined")
    found = {}
    for row in world.rows("silver", "int_pos__loads_reconciled"):
        if row["source"] == source:
            found[row["_ingest_id"]] = tuple(row[name] for name in names)
            assert sum(found[row["_ingest_id"]]) == row["lines_received"]
    return found


def test_after_a_fix_a_line_is_in_silver_once_and_its_quarantine_row_stays(world: World) -> None:
    world.know_change_types(1, 2, 4)
    restock = message("R", NOON, (1, 24), (2, 6), change_type_id=3)
    path = world.land_messages(message("A", NOON, (1, -1)), restock)
    world.load_and_build()
    before = world.quarantine()
    assert before == {(MESSAGES, path, 2, CHANGE_TYPE): 2}
    world.know_change_types(1, 2, 3, 4)

    report = again(world)
    assert report == Report((Count(MESSAGES, CHANGE_TYPE, 2),), (), rows=1, gone=0, finished=0)
    assert [world.on_hand(1, item) for item in (1, 2)] == [23, 6]
    changes = [
        row for row in world.rows("silver", "stg_pos__inventory_changes") if row["trans_id"] == "R"
    ]
    assert [row["_redrive_of_ingest_id"] for row in changes] == [1, 1]
    assert {(row["_source_file"], row["_source_line"]) for row in changes} == {(path, 2)}
    assert all(row["landed_at"] == row["received_at"] for row in changes)
    assert world.quarantine() == before
    assert books(world) == {1: (1, 0, 2), 2: (2, 0, 0)}
    assert world.check() == []

    # Built anew, the first delivery is good and the second repeats it.
    kept = {name: rows for name, rows in business_rows(world).items() if name != "quarantine"}
    assert world.build("--full-refresh").succeeded
    assert {name: business_rows(world)[name] for name in kept} == kept
    assert books(world) == {1: (3, 0, 0), 2: (0, 2, 0)}
    assert again(world).rows == 0


def test_what_was_ahead_of_its_time_is_kept_once_its_time_has_come(world: World) -> None:
    early_until = datetime.now(UTC) + timedelta(seconds=8)
    at = f"{early_until + timedelta(hours=24):%Y-%m-%d %H:%M:%S}"
    world.land_messages(message("A", at, (1, -1)))
    world.land_counts((1, 9, 1, NOON, 50), (2, 9, 1, at, 7))
    world.load_and_build()
    assert quarantined(world) == [(FUTURE, None, None)] * 2
    time.sleep(max((early_until - datetime.now(UTC)).total_seconds() + 1, 0))

    report = again(world)
    assert report.put == (Count(COUNTS, FUTURE, 1), Count(MESSAGES, FUTURE, 1))
    assert [world.on_hand(1, item) for item in (1, 2)] == [49, 7]
    counts = {row["item_id"]: row for row in world.rows("silver", "stg_pos__stock_counts")}
    assert [counts[item]["_redrive_of_ingest_id"] for item in (1, 2)] == [None, 1]
    assert counts[2]["landed_at"] > counts[1]["landed_at"]
    assert quarantined(world) == [(FUTURE, None, None)] * 2
    assert books(world, COUNTS) == {1: (1, 0, 1), 2: (1, 0, 0)}


def test_what_is_still_bad_comes_back_and_names_what_it_repeats(world: World) -> None:
    world.land_messages("not json", message("A", NOON, (1, -1)), message("B", NOON, ("x", 1)))
    world.load_and_build()
    first = [("unparsable_message", None, None), (ITEM_ID, None, None)]
    assert quarantined(world) == first
    assert redrive(world.settings).rows == 2
    assert redrive(world.settings) == Report((), (), 0, 0, 0), "twice without a build in between"
    world.load_and_build()
    second = [("unparsable_message", 1, 1), (ITEM_ID, 1, 3)]
    assert quarantined(world) == first + second

    assert again(world).rows == 2, "what came back may go once more, and the first may not"
    third = [("unparsable_message", 2, 1), (ITEM_ID, 2, 2)]
    assert quarantined(world) == first + second + third
    assert (
        quarantined(world, "raw", "_source_line")
        == [
            ("not json", 1),
            ('{"item_id":"x","quantity":1}', 3),
        ]
        * 3
    )
    assert books(world) == {1: (1, 0, 2), 2: (0, 0, 2), 3: (0, 0, 2)}
    assert world.on_hand(1, 1) == -1


def test_a_new_reason_may_take_the_place_of_the_old(world: World) -> None:
    world.know_change_types(1, 2, 4)
    world.land_messages(message("A", NOON, (1, "many"), (2, 6), change_type_id=3))
    world.load_and_build()
    assert quarantined(world) == [(CHANGE_TYPE, None, None)] * 2
    world.know_change_types(1, 2, 3, 4)
    again(world)
    assert quarantined(world) == [(CHANGE_TYPE, None, None)] * 2 + [(QUANTITY, 1, 1)]
    assert books(world) == {1: (0, 0, 2), 2: (1, 0, 1)}
    assert world.on_hand(1, 2) == 6


def test_the_good_items_of_a_message_are_not_doubled_by_its_bad_ones(world: World) -> None:
    items = [(1, -1), ("x", -1), (2, None), (3, -1), (3, -2)]
    world.land_messages(message("A", NOON, *items), message("B", NOON, (4, -1)))
    world.load_and_build()
    kept = world.rows("silver", "stg_pos__inventory_changes")
    assert [reason for reason, *_ in quarantined(world)] == [ITEM_ID, QUANTITY]

    report = again(world, MESSAGES, QUANTITY)
    # The message goes as a whole, so its other bad item has had its turn too.
    assert report.put == (Count(MESSAGES, ITEM_ID, 1), Count(MESSAGES, QUANTITY, 1))
    assert (report.rows, report.left) == (1, ())
    assert world.rows("silver", "stg_pos__inventory_changes") == kept
    assert [world.on_hand(1, item) for item in (1, 3, 4)] == [-1, -3, -1]
    assert books(world) == {1: (4, 0, 2), 2: (0, 3, 2)}
    assert quarantined(world)[2:] == [(ITEM_ID, 1, 1), (QUANTITY, 1, 1)]


def test_a_conflicting_duplicate_conflicts_again(world: World) -> None:
    world.land_messages(message("A", NOON, (1, -1), (2, -1)), message("A", NOON, (1, -5), (2, -1)))
    world.load_and_build()
    assert quarantined(world) == [(CONFLICT, None, None)]
    assert again(world).put == (Count(MESSAGES, CONFLICT, 1),)
    assert quarantined(world) == [(CONFLICT, None, None), (CONFLICT, 1, 2)]
    assert books(world) == {1: (2, 1, 1), 2: (0, 1, 1)}
    assert [world.on_hand(1, item) for item in (1, 2)] == [-1, -1]


def test_rows_of_counts_and_items_go_through_with_all_that_bronze_has_of_them(
    world: World,
) -> None:
    header = "item_id,employee_id,store_id,date_time,quantity\n"
    world.land("store_001/counts/1.csv", f"{header}1,9,1\n2,9,1,{NOON},few\n3,9,1,{NOON},7\n")
    world.land("store_001/counts/2.csv", f"other,columns\n4,{NOON}\n")
    world.land_items((1, "Tea", 7, "few"), ("x", "Tea", 7, 3), (2, 'Milk "fresh"', 7, 5))
    world.land("reference/items_2.csv", "item_id,name,supplier_id,safety_stock_quantity\n6,Milk\n")
    world.land_messages("not json")
    world.load_and_build()
    first = quarantined(world, "source", "reason", "raw", "_source_file", "_source_line")
    assert len(first) == 7

    assert redrive(world.settings, COUNTS).rows == 3
    assert redrive(world.settings, ITEMS, UNREADABLE).rows == 1
    report = again(world)
    assert report.put == (
        Count(ITEMS, "missing_or_mistyped_item_id", 1),
        Count(ITEMS, "mistyped_safety_stock_quantity", 1),
        Count(MESSAGES, "unparsable_message", 1),
    )
    both = quarantined(world, "source", "reason", "raw", "_source_file", "_source_line")
    assert Counter(both) == Counter(first * 2)
    for feed in (COUNTS, ITEMS):
        rows = world.rows("bronze", feed)
        known = {(row["ingest_id"], row["ingest_line"]): row for row in rows}
        for row in rows:
            if row["redrive_of_ingest_id"] is not None:
                repeated = known[row["redrive_of_ingest_id"], row["redrive_of_ingest_line"]]
                assert as_received(row) == as_received(repeated)
                assert row["received_at"] > repeated["received_at"]
    assert books(world, COUNTS) == {1: (1, 0, 3), 2: (0, 0, 3)}
    assert books(world, ITEMS) == {1: (1, 0, 3), 2: (0, 0, 1), 3: (0, 0, 2)}
    assert world.check() == []


# Without an engine: the quarantine is written by hand, for speed.

BAD = 7
LINES = "".join(f'{{"trans_id": "{number}"}}\nnot json {number}\n' for number in range(BAD))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two bronze tables of which every second row is in quarantine, one of them with two lines."""
    for name in ("POS_LANDING", "POS_LAKEHOUSE", "POS_PORT", "DBT_TARGET"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    for number, line in enumerate(LINES.splitlines()):
        publish(settings.landing / f"online/changes/{number:02d}.json", f"{line}\n".encode())
    publish(settings.landing / "store_001/counts/1.csv", b"item_id\n1\n")
    with Loader(settings) as loader:
        loader.load(batch_bytes=60)
    put_in_quarantine(settings)
    return settings


def put_in_quarantine(settings: Settings) -> None:
    """What a build would have put there."""
    lines = [(COUNTS, f"{UNREADABLE}: header is item_id", 1, 1)]
    for row in bronze(settings, MESSAGES):
        if row["body"].startswith("not json"):
            place = (row["ingest_id"], row["ingest_line"])
            lines.append((MESSAGES, "unparsable_message", *place))
            if row["body"] == "not json 3":
                lines.append((MESSAGES, QUANTITY, *place))
    names = ("source", "reason", "_ingest_id", "_ingest_line")
    table = pa.table(dict(zip(names, map(list, zip(*lines, strict=True)), strict=True)))
    path = settings.table("silver", "stg_pos__quarantine")
    write_deltalake(str(path), table, mode="overwrite")


def bronze(settings: Settings, feed: str) -> list[Row]:
    rows: list[Row] = DeltaTable(str(settings.table("bronze", feed))).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["ingest_id"], row["ingest_line"]))


def as_received(row: Row) -> Row:
    """A row of bronze without its receipt."""
    receipt = ("ingest_id", "ingest_line", "received_at", "landed_at")
    return {
        name: value
        for name, value in row.items()
        if name not in receipt and not name.startswith("redrive_of_")
    }


def assert_each_went_once(settings: Settings) -> None:
    """All of the quarantine has gone through once, in its order, and bronze holds all else."""
    rows = bronze(settings, MESSAGES)
    numbers = sorted({row["ingest_id"] for row in rows})
    assert numbers == list(range(1, len(numbers) + 1)), "a gap in the numbers of the commits"
    received = [row for row in rows if row["redrive_of_ingest_id"] is None]
    repeated = [row for row in rows if row["redrive_of_ingest_id"] is not None]
    assert [row["body"] for row in received] == LINES.splitlines()
    assert [row["body"] for row in repeated] == [f"not json {number}" for number in range(BAD)]
    known = {(row["ingest_id"], row["ingest_line"]): as_received(row) for row in received}
    for row in repeated:
        place = (row["redrive_of_ingest_id"], row["redrive_of_ingest_line"])
        assert as_received(row) == known[place]
        assert row["redrive_of_ingest_id"] < row["ingest_id"]
        assert row["landed_at"] > max(other["landed_at"] for other in received)
    assert [row["redrive_of_ingest_id"] for row in bronze(settings, COUNTS)] == [None, 1]
    assert not list(settings.state.glob("*.plan.json"))


def small_redrive(settings: Settings) -> Report:
    """In commits of about two rows."""
    return redrive(settings, batch_bytes=80)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize(("step", "when"), STEPS)
def test_killed_at_any_step_each_row_goes_through_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str, when: str, call: int
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, step, when, call)
        with pytest.raises(Killed):
            small_redrive(settings)
    small_redrive(settings)
    assert_each_went_once(settings)
    assert small_redrive(settings).rows == 0
    assert_each_went_once(settings)


@pytest.mark.parametrize(("step", "when"), STEPS)
@pytest.mark.parametrize(("again_step", "at"), [STEPS[3], STEPS[5], STEPS[7]])
def test_killed_again_while_it_recovers(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    when: str,
    again_step: str,
    at: str,
) -> None:
    for each, moment in ((step, when), (again_step, at)):
        with monkeypatch.context() as patch:
            arm(patch, each, moment, 1)
            with pytest.raises(Killed):
                small_redrive(settings)
    small_redrive(settings)
    assert_each_went_once(settings)


def test_the_load_finishes_what_a_killed_redrive_had_begun(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", "before", 2)
        with pytest.raises(Killed):
            small_redrive(settings)
    before = len(bronze(settings, MESSAGES))
    with Loader(settings) as loader:
        assert loader.load().is_empty
    assert len(bronze(settings, MESSAGES)) > before
    small_redrive(settings)
    assert_each_went_once(settings)


def test_what_was_finished_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", "before", 1)
        with pytest.raises(Killed):
            redrive(settings)
    report = redrive(settings)
    assert (report.finished, report.rows) == (BAD, 1)


def test_compacting_bronze_in_between_changes_nothing(settings: Settings) -> None:
    DeltaTable(str(settings.table("bronze", MESSAGES))).optimize.compact()
    small_redrive(settings)
    DeltaTable(str(settings.table("bronze", MESSAGES))).optimize.compact()
    assert_each_went_once(settings)
    assert small_redrive(settings).rows == 0


def test_a_row_that_bronze_holds_no_more_is_counted_and_left(settings: Settings) -> None:
    path = str(settings.table("bronze", MESSAGES))
    table = DeltaTable(path)
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.delete("body = 'not json 3'")
    report = redrive(settings)
    assert (report.rows, report.gone) == (BAD, 1)
    assert report.left == (
        Count(MESSAGES, QUANTITY, 1),
        Count(MESSAGES, "unparsable_message", 1),
    )


def test_batches_are_bounded_by_bytes_and_by_rows() -> None:
    sizes = {5: 10, 1: 10, 2: 10, 3: 999, 4: 10}
    assert list(batches(sorted(sizes.items()), 20, 10)) == [[1, 2], [3], [4, 5]]
    assert list(batches(sorted(sizes.items()), 10_000, 2)) == [[1, 2], [3, 4], [5]]
    assert list(batches([], 20, 10)) == []


# The command.


def redrive_command(
    capsys: pytest.CaptureFixture[str], settings: Settings, *arguments: str
) -> Said:
    return pos(capsys, "redrive", *options(settings, "landing", "lakehouse"), *arguments)


def test_the_command_says_what_it_did_what_is_left_and_what_to_do_next(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    version = DeltaTable(str(settings.table("bronze", MESSAGES))).version()
    said = redrive_command(capsys, settings, "--dry-run")
    assert said == Said(
        0,
        "pos_count_rows: 1 lines would be put through again: unreadable_row\n"
        f"pos_messages: 1 lines would be put through again: {QUANTITY}\n"
        "pos_messages: 7 lines would be put through again: unparsable_message\n",
        "",
    )
    assert DeltaTable(str(settings.table("bronze", MESSAGES))).version() == version
    status = pos(capsys, "status", *options(settings, "landing", "lakehouse"))
    assert "quarantine: 9 lines not put through again; see pos redrive" in status.out

    said = redrive_command(capsys, settings, "--source", MESSAGES, "--reason", QUANTITY)
    assert said == Said(
        0,
        f"pos_messages: 1 lines put through again: {QUANTITY}\n"
        "pos_messages: 1 lines put through again: unparsable_message\n"
        "pos_count_rows: 1 lines left in quarantine: unreadable_row\n"
        "pos_messages: 6 lines left in quarantine: unparsable_message\n"
        "build to see what becomes of them: pos run --once, or dbt build\n",
        "",
    )
    status = pos(capsys, "status", *options(settings, "landing", "lakehouse"))
    assert "quarantine: 7 lines not put through again" in status.out

    none = redrive_command(capsys, settings, "--source", ITEMS)
    assert (none.code, none.out.splitlines()[0]) == (0, "nothing to re-drive")
    assert redrive_command(capsys, settings).code == 0
    assert redrive_command(capsys, settings) == Said(0, "nothing to re-drive\n", "")
    assert sorted(
        row["body"] for row in bronze(settings, MESSAGES) if row["redrive_of_ingest_id"]
    ) == [f"not json {number}" for number in range(BAD)]


def test_the_command_says_in_a_sentence_why_it_cannot_work(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert redrive_command(capsys, settings, "--source", "pos_returns").code == 2
    with Loader(settings):
        said = redrive_command(capsys, settings)
        assert_one_sentence(said, "another process", "is already loading", "wait for it or stop it")
        assert redrive_command(capsys, settings, "--dry-run").code == 0
    nowhere = Settings(tmp_path / "landing", tmp_path / "nowhere")
    for arguments in ((), ("--dry-run",)):
        said = redrive_command(capsys, nowhere, *arguments)
        assert_one_sentence(said, "no quarantine", "pos run --once")
    assert not nowhere.lakehouse.exists()


def test_a_bronze_of_an_older_version_is_refused(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old = pa.schema([("ingest_id", pa.int64()), ("ingest_line", pa.int64())])
    path = settings.table("bronze", ITEMS)
    DeltaTable.create(str(path), old, mode="overwrite", configuration={"delta.appendOnly": "false"})
    for arguments in ((), ("--dry-run",)):
        said = redrive_command(capsys, settings, *arguments)
        assert_one_sentence(said, "made by an older version")
    status = pos(capsys, "status", *options(settings, "landing", "lakehouse"))
    assert (status.code, "made by an older version" in status.err) == (1, True)
