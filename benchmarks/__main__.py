"""``python -m benchmarks full|quick``: measure, judge, write the page (of ``full``).

``judge`` and ``report`` do the second and the third of a run's results, without measuring.
``stores`` measures many stores (benchmarks/stores.py) and writes the page.

Exit codes: 0 all targets that were to be measured are met, 1 a target is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import layouts, measures, race, stores, stores_page
from benchmarks.history import Base, History
from benchmarks.report import render
from benchmarks.results import PROJECT, Record, Results, is_wrong_or_failed, median_seconds
from benchmarks.systems import SYSTEMS
from benchmarks.targets import FULL, QUICK, SIZES, exit_code, judge

HERE = PROJECT / "benchmarks"
LEAST_TICKS = 20
FRESHNESS_TICKS = 200
QUICK_RIVAL = race.Limits(seconds=20.0)
OWN_MEASURES = ("simulate", "load", "backfill", "freshness", "memory", "aging")
NEVER_ENDS = 1e9  # seconds: a bound by ticks alone
SPARK_SECONDS = 900.0  # in which it makes some 40 ticks; 200 are more than an hour


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and where."""

    what: str
    work: Path
    results: Results
    resume: bool
    port: int
    environment: Path | None
    systems: Sequence[str]
    sizes: Sequence[int]
    measures: Sequence[str]
    month: Path
    ticks: int
    special_ticks: int
    freshness_seconds: float
    keep_histories: bool
    aging_ticks: int
    chains: Sequence[stores.Size]
    spark_chains: Sequence[stores.Size]

    def has(self, **wanted: object) -> bool:
        """True if the run that is resumed has this measurement."""
        return self.resume and self.results.has(**wanted)

    def measure(
        self, take: Callable[[], Record], *, anew: bool = False, **wanted: object
    ) -> Record | None:
        """Take a measurement, unless the run that is resumed has it (``anew``: even then); say how
        it went."""
        if not anew and self.has(**wanted):
            return None
        name = " ".join(str(value) for value in wanted.values())
        print(f"{time.strftime('%H:%M:%S')} {name} ...", flush=True)
        started = time.monotonic()
        record = self.results.add(take())
        print(f"  {_summary(record)} ({time.monotonic() - started:.0f} s)", flush=True)
        return record


def main() -> None:
    """Parse arguments and do it."""
    arguments = _arguments()
    environment = Path(arguments.environment).absolute()
    plan = Plan(
        what=arguments.what,
        work=arguments.work.absolute(),
        results=Results(arguments.results.absolute()),
        resume=arguments.resume,
        port=arguments.port,
        environment=environment if (environment / "bin" / "python").exists() else None,
        systems=arguments.systems.split(","),
        sizes=[int(size) for size in arguments.sizes.split(",") if size],
        measures=[name for name in arguments.measures.split(",") if name],
        month=arguments.work.absolute() / "month",
        ticks=arguments.ticks,
        special_ticks=arguments.special_ticks,
        freshness_seconds=arguments.freshness_seconds,
        keep_histories=arguments.keep_histories,
        aging_ticks=arguments.aging_ticks,
        chains=_chains(arguments.chains),
        spark_chains=_chains(arguments.spark_chains),
    )
    if arguments.what in MEASURING:
        if not arguments.resume:
            plan.results.path.unlink(missing_ok=True)
        plan.work.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        MEASURING[arguments.what](plan)
        print(f"in all {(time.monotonic() - started) / 60:.1f} minutes")
    if arguments.what == "stores":
        write_page(plan)
        sys.exit(int(any(map(is_wrong_or_failed, plan.results.records()))))
    targets = QUICK if arguments.what in ("quick", "judge") else FULL
    outcomes = judge(targets, plan.results.records())
    for outcome in outcomes:
        print(outcome.line())
    if arguments.what in ("full", "report"):
        write_page(plan)
    sys.exit(exit_code(outcomes))


def full(plan: Plan) -> None:
    """Everything, hours: our own measurements, then the race at each size."""
    _own_measures(plan, repetitions=3, ticks=FRESHNESS_TICKS, seconds=NEVER_ENDS, demo_days=3)
    base = Base(plan.month)
    for months in plan.sizes:
        course = race.Course.of(History(base, months), plan.ticks, plan.special_ticks)
        for name in plan.systems:
            _race(plan, name, course, race.Limits())
        if not plan.keep_histories:
            for place in race.places_of_histories(course.history, plan.work):
                shutil.rmtree(place, ignore_errors=True)


def quick(plan: Plan) -> None:
    """Ten minutes at most: what fits of the targets."""
    _own_measures(plan, repetitions=1, ticks=10**9, seconds=60, demo_days=1)
    course = race.Course.of(History(Base(plan.month), 1), LEAST_TICKS, special=1)
    for name in ("ours_local", "vendor_sail"):
        _race(plan, name, course, QUICK_RIVAL)
    days = plan.work / "days"
    command = [sys.executable, "-m", "loaders", "simulate", "--out", str(days)]
    # Five days are the fewest with a count that is older than a late one (history.LATE).
    command += ["--days", "5", "--lines", "242000"]
    subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    few_days = race.Course.of(History(Base(days), 1), 3, special=0)
    _race(plan, "ours_spark", few_days, QUICK_RIVAL, months=0)


def many_stores(plan: Plan) -> None:
    """Each size: its day simulated, loaded, built, then the ticks after it on each target; the
    layouts at the largest. What a resumed run has measured takes no time again."""
    largest = max(plan.chains, key=lambda size: size.keys)
    for size in plan.chains:
        places, port = stores.Places(plan.work, size), plan.port
        steps: list[tuple[Record, partial[Record]]] = [
            ({"measure": "chain_simulate"}, partial(stores.simulate, places, size.lines)),
            ({"measure": "chain_load"}, partial(stores.load, places)),
            ({"measure": "chain_history"}, partial(stores.history, places, port)),
            (
                {"measure": "chain_ticks", "target": "local"},
                partial(stores.ticks, places, port, "local"),
            ),
        ]
        for cores in stores.SPARK_CORES if size in plan.spark_chains else ():
            of = {"measure": "chain_ticks", "target": "spark", "cores": cores}
            steps.append((of, partial(stores.ticks, places, port, "spark", cores)))
        if size == largest:
            steps.append(({"measure": "chain_layouts"}, partial(layouts.layouts, places, port)))
        _steps_of_a_size(plan, places, steps)


def _steps_of_a_size(
    plan: Plan, places: stores.Places, steps: Sequence[tuple[Record, partial[Record]]]
) -> None:
    size = {"size": str(places.size), "stores": places.size.stores, "items": places.size.items}
    missing = [of for of, _ in steps if not plan.has(**of, **size)]
    made = {"chain_simulate": places.has_chain, "chain_history": places.has_history}
    for of, take in steps if missing else ():
        # What a later step stands on is made again where it is gone.
        anew = not made.get(of["measure"], lambda: True)()
        done = plan.measure(partial(_of_a_chain, take, of | size), anew=anew, **of, **size)
        if done is not None and done.get("error") and of["measure"] in made:
            return
    places.remove()


def _of_a_chain(take: partial[Record], of: Record) -> Record:
    return measures.alone(take.func, *take.args) | of


def _own_measures(
    plan: Plan, *, repetitions: int, ticks: int, seconds: float, demo_days: int
) -> None:
    is_full = repetitions > 1
    targets = ("local", "spark") if is_full else ("local",)
    month, work, port = plan.month, plan.work, plan.port
    if "simulate" in plan.measures or not (month / "month.json").exists():
        plan.measure(lambda: measures.simulate(month, repetitions), measure="simulate")
    if "load" in plan.measures:
        plan.measure(
            lambda: measures.alone(measures.load, month, work, repetitions), measure="load"
        )
    for target in targets:
        own: dict[str, tuple[Callable[..., Record], tuple[object, ...]]] = {
            "backfill": (measures.backfill, (repetitions if target == "local" else 1,)),
            "freshness": (
                measures.freshness,
                (ticks, seconds if target == "local" else min(seconds, plan.freshness_seconds)),
            ),
            "memory": (measures.memory, (demo_days,)),
            "aging": (measures.aging, (plan.aging_ticks,)),
        }
        for name, (function, rest) in own.items():
            if name not in plan.measures:
                continue
            # 2,000 ticks on Spark would take most of a day.
            if name == "aging" and not (is_full and target == "local"):
                continue
            take = partial(_own_record, function, month, work, port, target, *rest)
            plan.measure(take, measure=name, target=target)


def _own_record(
    function: Callable[..., Record], month: Path, work: Path, port: int, target: str, *rest: object
) -> Record:
    return measures.alone(function, month, work, port, target, *rest) | {"target": target}


def _race(
    plan: Plan, name: str, course: race.Course, limits: race.Limits, months: int | None = None
) -> None:
    """One system over one course; ``months`` is what the record says, 0 for a few days."""
    shown = course.history.length if months is None else months

    def take() -> Record:
        found = race.run(name, course, plan.work, plan.port + 1, plan.environment, limits)
        return found | {"months": shown}

    plan.measure(take, measure="race", system=name, months=shown)


def write_page(plan: Plan) -> None:
    """README.md and the chart, of the results as they are."""
    records = {name: Results(HERE / "results" / f"{name}.jsonl") for name in ("full", "stores")}
    records["stores" if plan.what == "stores" else "full"] = plan.results
    full_records = records["full"].records()
    chain_records = records["stores"].records()
    (HERE / "README.md").write_text(render(full_records, chain_records))
    sizes = PROJECT / "profiles" / "SIZES.md"
    sizes.write_text(stores_page.into_page(sizes.read_text(), chain_records))
    if plan.what == "stores":
        return
    if plan.environment is None:
        print("no chart: the benchmarks' environment is not made (make .venv-bench)")
        return
    python = str(plan.environment / "bin" / "python")
    chart = [python, "-m", "benchmarks.chart", str(plan.results.path), str(HERE / "tick_time.svg")]
    subprocess.run(chart, cwd=PROJECT, check=True, env={**os.environ, "PYTHONPATH": str(PROJECT)})


def _summary(record: Record) -> str:
    for said in ("reason", "error"):
        if record.get(said):
            return f"{said}: {record[said]}"
    if record["measure"] == "race":
        figures = {
            kind: median_seconds(record, kind)
            for kind in ("steady", "no_op", "late_count", "full_count")
        }
        known = ", ".join(
            f"{kind} {value:.2f} s" for kind, value in figures.items() if value is not None
        )
        return known or f"WRONG: {record['differing_keys']}"
    return ", ".join(
        f"{name} {value:,.2f}" for name, value in record.items() if isinstance(value, float)
    )


def _chains(text: str) -> list[stores.Size]:
    return [stores.Size.parse(size) for size in text.split(",") if size]


MEASURING = {"full": full, "quick": quick, "stores": many_stores}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=("full", "quick", "judge", "report", "stores"))
    parser.add_argument("--work", type=Path, default=PROJECT / "target" / "bench")
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/WHAT.jsonl")
    parser.add_argument("--resume", action="store_true", help="keep what this commit has measured")
    parser.add_argument("--port", type=int, default=50300, help="this one and the next are used")
    parser.add_argument("--environment", default=str(PROJECT / ".venv-bench"))
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="months of history")
    parser.add_argument("--measures", default=",".join(OWN_MEASURES))
    parser.add_argument("--chains", default=",".join(map(str, stores.SIZES)), help="STORESxITEMS")
    spark_chains = ",".join(map(str, stores.SPARK_SIZES))
    parser.add_argument("--spark-chains", default=spark_chains, help="of those, on Spark as well")
    parser.add_argument("--ticks", type=int, default=LEAST_TICKS, help="steady ticks of a race")
    parser.add_argument(
        "--special-ticks", type=int, default=race.SPECIAL, help="of each other kind"
    )
    parser.add_argument(
        "--freshness-seconds", type=float, default=SPARK_SECONDS, help="at most, on Spark"
    )
    parser.add_argument(
        "--keep-histories", action="store_true", help="for the next run: they take hours to build"
    )
    parser.add_argument("--aging-ticks", type=int, default=measures.AGING_TICKS)
    arguments = parser.parse_args()
    if arguments.results is None:
        name = {"judge": "quick", "report": "full"}.get(arguments.what, arguments.what)
        folder = PROJECT / "target" if name == "quick" else HERE / "results"
        arguments.results = folder / f"{name}.jsonl"
    return arguments


if __name__ == "__main__":
    main()
