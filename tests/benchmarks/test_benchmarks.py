"""The benchmarks' own arithmetic: the history, the answer, the verdicts. No times are measured."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.answer import answers, differing_keys
from benchmarks.history import LATE, Base, File, History, is_never_counted
from benchmarks.report import render
from benchmarks.results import Results, median_seconds
from benchmarks.targets import FULL, QUICK, Target, exit_code, judge, of
from loaders.check import KEYS
from loaders.simulator import Config, simulate, write_month

DAYS = 7


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "month"
    config = Config(
        seed=3, start=date(2021, 1, 1), days=DAYS, items=200, lines=9_000, count_every_days=2
    )
    write_month(simulate(config), folder)
    return folder


@pytest.fixture(scope="module")
def base(month: Path) -> Base:
    return Base(month)


def messages(files: Iterable[File]) -> list[dict[str, Any]]:
    found = []
    for path, data in files:
        if "/changes/" in path:
            found += [json.loads(line) for line in data.decode().splitlines()]
    return found


def count_rows(files: Iterable[File]) -> list[dict[str, str]]:
    found = []
    for path, data in files:
        if "/counts/" in path:
            found += list(csv.DictReader(io.StringIO(data.decode())))
    return found


def brute_force(files: list[File]) -> pa.Table:
    """Rule 1 by the letter: each count, each change, one after the other."""
    counted: dict[tuple[int, int], tuple[str, int]] = {}
    for row in count_rows(files):
        key = int(row["store_id"]), int(row["item_id"])
        if row["date_time"] >= counted.get(key, ("", 0))[0]:
            counted[key] = row["date_time"], int(row["quantity"])
    stock: dict[tuple[int, int], int] = defaultdict(int)
    stock |= {key: quantity for key, (_, quantity) in counted.items()}
    for message in messages(files):
        if (message["store_id"], message["change_type_id"]) == (0, 4):
            continue
        for item in message["items"]:
            key = message["store_id"], item["item_id"]
            if message["date_time"] > counted.get(key, ("", 0))[0]:
                stock[key] += item["quantity"]
    rows = [(*key, quantity) for key, quantity in stock.items()]
    names = [*KEYS, "on_hand_quantity"]
    return pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)})


def test_the_answer_is_that_of_plain_python_before_and_after_ticks(base: Base) -> None:
    history = History(base, 3)
    landed = [file for number in history.months() for file in history.files(number)]
    stages = [
        [*base.tick(0).files, *base.tick(1).files],
        base.tick_with_late_count(2).files,
        base.tick_with_full_count(3).files,
    ]

    found = answers(history, stages)

    for number, answer in enumerate(found):
        files = landed + [file for stage in stages[:number] for file in stage]
        assert differing_keys(brute_force(files), answer) == 0
    assert differing_keys(found[1], found[2]) > 0  # the late count is the newest of its keys
    assert differing_keys(found[2], found[3]) > 0


def test_a_month_is_moved_as_a_whole_with_ids_of_its_own(base: Base) -> None:
    last, earlier = messages(base.changes(0)), messages(base.changes(-2))

    for one, other in zip(last, earlier, strict=True):
        moved = datetime.fromisoformat(one["date_time"]) - timedelta(days=2 * DAYS)
        assert other["date_time"] == f"{moved:%Y-%m-%d %H:%M:%S}"
        same = ("store_id", "change_type_id", "items")
        assert [one[name] for name in same] == [other[name] for name in same]
    assert not {each["trans_id"] for each in last} & {each["trans_id"] for each in earlier}
    assert len({each["trans_id"] for each in last}) == len({m["trans_id"] for m in earlier})


def test_some_items_are_in_no_count_and_the_last_days_have_none(base: Base) -> None:
    history = History(base, 2)
    counted = count_rows(file for month in history.months() for file in history.files(month))

    items = {int(row["item_id"]) for row in counted}
    assert len(items) == 196  # of 200
    assert not any(is_never_counted(item) for item in items)
    ends = base.first_day + timedelta(days=DAYS)
    assert max(datetime.fromisoformat(row["date_time"]) for row in counted) <= ends - LATE


def test_ticks_follow_one_another_without_a_gap(base: Base) -> None:
    ticks = [base.tick(number) for number in range(2)]

    lines = [line for tick in ticks for line in messages(tick.files)]
    month = [m for m in messages(base.changes(1)) if m["date_time"] <= f"{ticks[1].clock}"]
    assert sorted(line["trans_id"] for line in lines) == sorted(m["trans_id"] for m in month)
    assert sum(tick.lines for tick in ticks) == sum(len(line["items"]) for line in lines)
    assert all(2_900 < tick.lines < 3_100 for tick in ticks)
    first_of_next = base.tick(base.ticks_in_a_month)
    assert f"{first_of_next.clock - ticks[0].clock}" == f"{timedelta(days=DAYS)}"
    late = count_rows(base.tick_with_late_count(1).files)
    assert {row["date_time"] for row in late} == {f"{ticks[1].clock - LATE:%Y-%m-%d %H:%M:%S}"}


def race(system: str, months: int, seconds: list[float], differing: int = 0) -> dict[str, Any]:
    ticks = [{"total": each, "parts": {}, "lines": 3_000} for each in seconds]
    return {
        "at": "2026-01-01 00:00:00",
        "commit": "0123456789ab",
        "machine": {"cpu": "a", "cores": 2, "memory_gib": 8, "system": "s", "python": "3"},
        "measure": "race",
        "system": system,
        "months": months,
        "lines": 1_500_000 * months,
        "days": 31 * months,
        "versions": {"duckdb": "1"},
        "warm_up": ticks[:1],
        "steady": ticks,
        "differing_keys": {"steady": differing},
    }


def test_the_page_shows_ratios_misses_and_wrong_answers(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    for record in (
        race("ours_local", 1, [2.0, 1.0, 3.0]),
        race("vendor_sail", 1, [9.0, 8.0, 10.0]),
        race("floor", 1, [0.1], differing=17),
        {**race("pathway", 1, []), "reason": "needs a key"},
    ):
        results.add(record)

    page = render(results.records())

    assert "| **this project, Sail** | 2.00 (1.00 to 3.00, 3) |" in page
    assert "| vendor's way, Sail | 9.00 (8.00 to 10.00, 3), 4.50 × |" in page
    assert "| floor: DuckDB + delta-rs | WRONG (17 keys) |" in page
    assert "- Pathway: needs a key" in page
    assert (
        "| local: steady tick, 1.5 million lines of history | 2.00 s | ≤ 1.20 s | **MISS** |"
        in page
    )
    assert (
        "| against the vendor's way on Sail, 1.5 million lines | 4.50 × | ≥ 3.00 × | ok |" in page
    )
    assert median_seconds(race("floor", 1, [0.1], differing=17), "steady") is None


def test_of_what_was_measured_twice_the_page_has_the_last_and_no_ratio_of_two_machines() -> None:
    def on(chip: str, record: dict[str, Any]) -> dict[str, Any]:
        return record | {"machine": record["machine"] | {"cpu": chip}}

    records = [
        on("chip A", race("ours_local", 1, [64.0])),
        on("chip A", race("vendor_sail", 1, [9.0])),
        on("chip B", race("ours_local", 1, [2.0])),
    ]
    page = render(records)
    assert "64.00" not in page
    assert "| vendor's way, Sail | 9.00 (9.00 to 9.00, 1) |" in page
    assert "| against the vendor's way on Sail, 1.5 million lines | - | ≥ 3.00 × |" in page
    for chip in ("chip A", "chip B"):
        line = f"- {chip}, 2 cores, 8 GiB, s, Python 3. Commit 0123456789ab, 2026-01-01: race at"
        assert line in page

    page = render([*records, on("chip B", race("vendor_sail", 1, [8.0]))])
    assert "| vendor's way, Sail | 8.00 (8.00 to 8.00, 1), 4.00 × |" in page
    assert "chip A" not in page


def test_the_page_says_which_settings_of_spark_were_not_the_project_s() -> None:
    usual = race("ours_spark", 1, [2.0]) | {"settings": {}}
    page = render(
        [usual, race("vendor_spark", 1, [3.0]) | {"settings": {"POS_SPARK_CODEGEN": "1"}}]
    )
    assert "- vendor's way, Spark, 1.5 million lines: `POS_SPARK_CODEGEN=1`\n\n" in page
    assert "other settings" not in render([usual])


def test_the_page_says_where_a_tick_s_time_goes() -> None:
    record = race("ours_local", 1, [2.0, 4.0, 3.0])
    for number, tick in enumerate(record["steady"]):
        tick["parts"] = {"build": 1.5, "load and wait": 0.1, "node inventory_current": number}
        tick["parts"] |= {"node seldom": 0.5} if number == 0 else {}
    page = render([record])
    assert "| tick | 3.00 |" in page
    assert "| inventory_current | 1.00 |" in page
    assert "| seldom | 0.00 |" in page


def test_a_target_missed_or_not_measured_fails_the_run() -> None:
    target = Target("load", 200_000, "lines/s", of("load", "lines_per_second"), at_least=True)

    def code(*records: dict[str, Any]) -> int:
        return exit_code(judge([target], records))

    assert code({"measure": "load", "lines_per_second": 200_000.0}) == 0
    assert code({"measure": "load", "lines_per_second": 199_999.0}) == 1
    assert code() == 1
    assert [each.verdict for each in judge(QUICK, [])] == ["not measured"] * len(QUICK)


def test_what_spark_took_says_nothing_of_a_target_of_local() -> None:
    figures = ("lines_per_second", "p95", "peak_gib", "last_to_first")
    records = [
        {"measure": measure, "target": "spark", **dict.fromkeys(figures, 1.0)}
        for measure in ("backfill", "freshness", "memory", "aging")
    ]
    judged = {each.name: each.verdict for each in judge(FULL, records)}
    assert {judged[name] for name in judged if name.startswith("local")} == {"not measured"}
    assert judged["spark: freshness p95 at 10x playback"] == "ok"


def test_the_command_ends_with_1_where_a_target_is_missed(tmp_path: Path) -> None:
    results = tmp_path / "quick.jsonl"
    Results(results).add(race("ours_local", 1, [99.0]))
    command = [sys.executable, "-m", "benchmarks", "judge", "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert any(line.endswith("MISS") and "99.00 s" in line for line in done.stdout.splitlines())
