"""The load killed at each of its steps: the next start leaves every file in bronze exactly once."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

import loaders.load
from loaders.bronze import SCHEMAS
from loaders.config import Settings
from loaders.errors import UserError
from loaders.landing import FEEDS, publish
from loaders.load import Loader, ledger_of
from tests.worlds import rows_in

FILES = {
    "reference/items_1.csv": "item_id,name,supplier_id,safety_stock_quantity\n1,Tea,7,3\n",
    "store_001/counts/1.csv": "item_id,employee_id,store_id,date_time,quantity\n"
    "1,9,1,2021-01-01 08:00:00,10\n2,9,1,2021-01-01 08:00:00,20\n",
    "online/changes/1.json": '{"trans_id": "A"}\nnot json\n',
    "store_001/changes/1.json": '{"trans_id": "B"}\n',
    "store_001/changes/a name with\ttab, \u00e9 and\nline end.json": '{"trans_id": "C"}\n',
    "store_001/changes/empty.json": "",
}
FIRST_US = 1_600_000_000_000_000
LINES = Counter({"pos_items": 1, "pos_count_rows": 2, "pos_messages": 4})


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it but the test."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for path, text in FILES.items():
        publish(tmp_path / "landing" / path, text.encode())
    return Settings(tmp_path / "landing", tmp_path / "lakehouse")


def load(settings: Settings, batch_bytes: int = 30) -> None:
    with Loader(settings) as loader:
        loader.load(batch_bytes=batch_bytes)


def kill_at(call: int, when: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, killed at its call number `call`, before, halfway or after."""
    numbers = itertools.count(1)

    def killed(*arguments: Any, **named: Any) -> Any:
        if next(numbers) != call:
            return function(*arguments, **named)
        if when == "halfway":
            path, data = arguments
            function(path, data[: len(data) // 2])
        elif when == "after":
            function(*arguments, **named)
        raise Killed

    return killed


STEPS = [
    ("write_atomically", "before"),
    ("write_atomically", "after"),
    ("write_deltalake", "before"),
    ("write_deltalake", "after"),
    ("append_durably", "before"),
    ("append_durably", "halfway"),
    ("append_durably", "after"),
    ("unlink", "before"),
    ("unlink", "after"),
]


def arm(patch: pytest.MonkeyPatch, step: str, when: str, call: int) -> None:
    if step == "unlink":
        patch.setattr(Path, "unlink", kill_at(call, when, Path.unlink))
    else:
        patch.setattr(loaders.load, step, kill_at(call, when, getattr(loaders.load, step)))


@pytest.mark.parametrize("call", [1, 2, 4])
@pytest.mark.parametrize(("step", "when"), STEPS)
def test_killed_at_any_step_each_file_is_loaded_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str, when: str, call: int
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, step, when, call)
        with pytest.raises(Killed):
            load(settings)
    load(settings)
    assert rows_in(settings) == LINES
    assert sum(len(ledger_of(settings, feed)) for feed in FEEDS) == len(FILES)
    load(settings)
    assert rows_in(settings) == LINES
    assert not list(settings.state.glob("*.plan.json"))


@pytest.mark.parametrize(("step", "when"), STEPS)
@pytest.mark.parametrize(("again", "at"), [STEPS[3], STEPS[5], STEPS[7]])
def test_killed_again_while_it_recovers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, step: str, when: str, again: str, at: str
) -> None:
    for each, moment in ((step, when), (again, at)):
        with monkeypatch.context() as patch:
            arm(patch, each, moment, 1)
            with pytest.raises(Killed):
                load(settings)
    load(settings)
    assert rows_in(settings) == LINES


def test_files_that_land_between_the_kill_and_the_next_start_are_loaded_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", "after", 1)
        with pytest.raises(Killed):
            load(settings)
    publish(settings.landing / "store_001/changes/2.json", b'{"trans_id": "D"}\n')
    load(settings)
    assert rows_in(settings) == LINES + Counter({"pos_messages": 1})


def test_a_file_that_is_replaced_is_another_delivery(settings: Settings) -> None:
    load(settings)
    publish(settings.landing / "store_001/changes/1.json", b'{"trans_id": "B"}\n{"n": 2}\n')
    with Loader(settings) as loader:
        assert loader.load().rows == {"pos_messages": 2}


def test_a_planned_file_that_is_gone_is_a_sentence_and_its_batch_waits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", "before", 1)
        with pytest.raises(Killed):
            load(settings)
    planned = settings.landing / "reference/items_1.csv"
    elsewhere = planned.rename(settings.landing / ".elsewhere")
    with pytest.raises(UserError, match=r"items_1\.csv landed but cannot be read"):
        load(settings)
    elsewhere.rename(planned)
    load(settings)
    assert rows_in(settings) == LINES


def test_a_second_loader_is_refused_with_a_sentence(settings: Settings) -> None:
    with (
        Loader(settings),
        pytest.raises(UserError, match=r"another process \(pid \d+\) is already loading"),
        Loader(settings),
    ):
        pass
    load(settings)
    assert rows_in(settings) == LINES


@pytest.mark.parametrize(("changes", "goes"), [(1, True), (100, False)])
def test_a_table_whose_settings_change_meanwhile_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, changes: int, goes: bool
) -> None:
    """Delta refuses the commit; as upkeep that keeps less brings it about."""
    load(settings)
    publish(settings.landing / "online/changes/2.json", b'{"trans_id": "D"}\n')
    write, calls = loaders.load.write_deltalake, itertools.count(1)

    def write_beside_a_change(path: str, *arguments: Any, **named: Any) -> None:
        number, table = next(calls), DeltaTable(path)
        if number <= changes:
            kept = {"delta.logRetentionDuration": f"interval {number} days"}
            DeltaTable(path).alter.set_table_properties(kept)
        write(table, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(loaders.load, "write_deltalake", write_beside_a_change)
        if goes:
            load(settings)
        else:
            with pytest.raises(UserError, match=r"not be written, 5 times .* nothing is lost"):
                load(settings)
    load(settings)
    assert rows_in(settings) == LINES + Counter({"pos_messages": 1})


def test_one_commit_after_the_other_numbers_grow(settings: Settings) -> None:
    with Loader(settings) as loader:
        for batch in range(3):
            publish(settings.landing / f"online/changes/more_{batch}.json", b"{}\n")
            loader.load()
    rows_in(settings)
    table = DeltaTable(str(settings.table("bronze", "pos_messages"))).to_pyarrow_table()
    assert set(table["ingest_id"].to_pylist()) == {1, 2, 3}


# When a file landed: its modification time, but never before what earlier calls have loaded.


def land(settings: Settings, path: str, modified_us: int) -> None:
    """A file with one row in it, at `modified_us` after the first instant."""
    header = FILES["store_001/counts/1.csv"].partition("\n")[0]
    data = f"{header}\n1,9,1,2021-01-01 08:00:00,10\n" if "counts" in path else "{}\n"
    publish(settings.landing / path, data.encode())
    modified_ns = FIRST_US * 1_000 + modified_us * 1_000 + 999
    os.utime(settings.landing / path, ns=(modified_ns, modified_ns))


def landings(settings: Settings) -> dict[str, int]:
    """`landed_at` by file, in microseconds after the first instant."""
    found: dict[str, int] = {}
    for feed in FEEDS:
        table = DeltaTable(str(settings.table("bronze", feed))).to_pyarrow_table()
        microseconds = table["landed_at"].cast(pa.int64()).to_pylist()
        for path, landed_us in zip(table["source_file"].to_pylist(), microseconds, strict=True):
            found[path] = landed_us - FIRST_US
    return found


@pytest.fixture
def empty(tmp_path: Path) -> Settings:
    (tmp_path / "landing").mkdir()
    return Settings(tmp_path / "landing", tmp_path / "lakehouse")


@pytest.mark.parametrize("restarts", [True, False])
def test_landed_at_is_the_files_time_but_after_what_was_loaded_before(
    empty: Settings, restarts: bool
) -> None:
    with Loader(empty) as loader:
        land(empty, "store_001/changes/1.json", 700)
        land(empty, "store_001/counts/1.csv", 300)
        land(empty, "online/changes/1.json", 1_234)
        loader.load(batch_bytes=1)
        expected = {
            "store_001/changes/1.json": 700,
            "store_001/counts/1.csv": 300,
            "online/changes/1.json": 1_234,
        }
        assert landings(empty) == expected, "the files of one call keep their own times"

        late = {"store_001/changes/2.json": 5, "store_001/counts/2.csv": 1_234}
        for path, modified_us in late.items():
            land(empty, path, modified_us)
        land(empty, "store_001/changes/3.json", 1_236)
        if not restarts:
            loader.load(batch_bytes=1)
    with Loader(empty) as loader:
        loader.load(batch_bytes=1)
        expected |= {**dict.fromkeys(late, 1_235), "store_001/changes/3.json": 1_236}
        assert landings(empty) == expected
        land(empty, "store_001/counts/3.csv", 0)
        loader.load()
        assert landings(empty) == {**expected, "store_001/counts/3.csv": 1_237}


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_commit_is_finished_with_the_landing_that_it_was_planned_with(
    empty: Settings, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    land(empty, "store_001/changes/1.json", 100)
    load(empty)
    land(empty, "store_001/changes/2.json", 500)
    land(empty, "store_001/counts/1.csv", 7)
    with monkeypatch.context() as patch:
        arm(patch, "write_deltalake", when, 2)
        with pytest.raises(Killed):
            load(empty)
    land(empty, "store_001/counts/2.csv", 8)
    load(empty)
    assert landings(empty) == {
        "store_001/changes/1.json": 100,
        "store_001/changes/2.json": 500,
        "store_001/counts/1.csv": 101,
        "store_001/counts/2.csv": 501,
    }


def test_a_lakehouse_of_an_older_version_is_refused_with_a_sentence(settings: Settings) -> None:
    old = pa.schema([*list(SCHEMAS["pos_messages"])[:5], pa.field("body", pa.string())])
    DeltaTable.create(str(settings.table("bronze", "pos_messages")), old)
    with pytest.raises(UserError, match=r"has no landed_at: .* older version; move it away"):
        load(settings)
