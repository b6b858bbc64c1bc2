"""The targets of the issue, and what was measured of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import Record, find, median_seconds, ratio_of_medians

MEGA, GIB = 1_000_000, 2**30
SIZES = (1, 10, 100)  # months of history


@dataclass(frozen=True)
class Target:
    """One target: a figure that must be at most (or at least) so much; ``None``: not measured."""

    name: str
    bound: float
    unit: str
    measured: Callable[[Sequence[Record]], float | None]
    at_least: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a target."""

    name: str
    value: float | None
    wanted: str
    unit: str
    verdict: str  # ok, MISS, not measured

    def line(self) -> str:
        """``name, value, target, ok or MISS`` for people and for grep."""
        return (
            f"{self.name:<62} {shown(self.value, self.unit):>14} {self.wanted:>18}  {self.verdict}"
        )


def judge(targets: Sequence[Target], records: Sequence[Record]) -> list[Outcome]:
    """Each target with its figure and a verdict."""
    found = []
    for target in targets:
        value = target.measured(records)
        if value is None or math.isnan(value):
            verdict = "not measured"
        else:
            kept = value >= target.bound if target.at_least else value <= target.bound
            verdict = "ok" if kept else "MISS"
        sign = "≥" if target.at_least else "≤"
        wanted = f"{sign} {shown(target.bound, target.unit)}"
        found.append(Outcome(target.name, value, wanted, target.unit, verdict))
    return found


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """1 if any target was missed, or not measured although it was to be."""
    return int(any(outcome.verdict != "ok" for outcome in outcomes))


def shown(value: float | None, unit: str) -> str:
    """A figure as people read it."""
    if value is None or math.isnan(value):
        return "-"
    if unit == "lines/s":
        return f"{value:,.0f} {unit}"
    if unit == "×":
        return f"{value:.2f} ×" if value < 10 else f"{value:.0f} ×"
    if unit == "GiB":
        return f"{value:.2f} GiB"
    return f"{value:.2f} {unit}"


def steady(system: str, months: int) -> Callable[[Sequence[Record]], float | None]:
    """The median steady tick of a system, seconds."""
    return _ticks(system, months, "steady")


def ratio(
    slower: tuple[str, int], faster: tuple[str, int]
) -> Callable[[Sequence[Record]], float | None]:
    """How many times longer the one steady tick takes than the other (system, months), if the same
    machine made both."""

    def measured(records: Sequence[Record]) -> float | None:
        above, below = (
            find(records, measure="race", system=system, months=months)
            for system, months in (slower, faster)
        )
        return ratio_of_medians(above, below, "steady")

    return measured


def of(measure: str, field: str, **wanted: str) -> Callable[[Sequence[Record]], float | None]:
    """A figure of one of our own measurements."""

    def measured(records: Sequence[Record]) -> float | None:
        record = find(records, measure=measure, **wanted)
        value = record.get(field) if record else None
        return None if value is None else float(value)

    return measured


def _ticks(system: str, months: int, kind: str) -> Callable[[Sequence[Record]], float | None]:
    def measured(records: Sequence[Record]) -> float | None:
        return median_seconds(find(records, measure="race", system=system, months=months), kind)

    return measured


QUICK_LOCAL = [
    Target("local: steady tick, 1.5 million lines of history", 1.2, "s", steady("ours_local", 1)),
    Target("local: no-op tick", 0.3, "s", _ticks("ours_local", 1, "no_op")),
    Target(
        "local: full count of a store (100,000 keys)", 4, "s", _ticks("ours_local", 1, "full_count")
    ),
    Target("local: freshness p95 at 10x playback", 3, "s", of("freshness", "p95", target="local")),
    Target(
        "local: backfill, bronze to gold",
        300_000,
        "lines/s",
        of("backfill", "lines_per_second", target="local"),
        at_least=True,
    ),
    Target(
        "load, landing to bronze", 200_000, "lines/s", of("load", "lines_per_second"), at_least=True
    ),
    Target("simulate the month", 10, "s", of("simulate", "seconds")),
    Target(
        "local: memory of the whole make run",
        2.5,
        "GiB",
        of("memory", "peak_gib", target="local"),
    ),
    Target(
        "against the vendor's way on Sail, 1.5 million lines",
        3,
        "×",
        ratio(("vendor_sail", 1), ("ours_local", 1)),
        at_least=True,
    ),
]

SPARK_TICK = "spark: steady tick, warm JVM"
QUICK = [
    *QUICK_LOCAL,
    Target(SPARK_TICK, 12, "s", steady("ours_spark", 0)),  # 0: a few days of history
]

FULL = [
    *QUICK_LOCAL,
    Target(f"{SPARK_TICK}, 1.5 million lines", 12, "s", steady("ours_spark", 1)),
    Target("spark: freshness p95 at 10x playback", 30, "s", of("freshness", "p95", target="spark")),
    *(
        Target(
            f"{engine}: flat, tick at 150 million lines against 1.5 million",
            1.2,
            "×",
            ratio((f"ours_{engine}", 100), (f"ours_{engine}", 1)),
        )
        for engine in ("local", "spark")
    ),
    Target(
        "local: last 100 ticks of an old lakehouse against the first of a new one",
        1.2,
        "×",
        of("aging", "last_to_first", target="local"),
    ),
    Target(
        "against the vendor's way on Spark, 1.5 million lines",
        3,
        "×",
        ratio(("vendor_spark", 1), ("ours_spark", 1)),
        at_least=True,
    ),
    *(
        Target(
            f"against the vendor's way on {name}, 150 million lines",
            30,
            "×",
            ratio((vendor, 100), (ours, 100)),
            at_least=True,
        )
        for name, vendor, ours in (
            ("Sail", "vendor_sail", "ours_local"),
            ("Spark", "vendor_spark", "ours_spark"),
        )
    ),
    *(
        Target(
            f"against dbt-duckdb in full, {lines} million lines",
            bound,
            "×",
            ratio(("dbt_duckdb_full", months), ("ours_local", months)),
            at_least=True,
        )
        for months, lines, bound in ((10, "15", 1), (100, "150", 5))
    ),
    *(
        Target(
            f"against duckrun's merge, {lines} million lines",
            1,
            "×",
            ratio(("duckrun", months), ("ours_local", months)),
            at_least=True,
        )
        for months, lines in ((1, "1.5"), (10, "15"), (100, "150"))
    ),
]
