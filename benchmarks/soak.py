"""The soak: the main job for long, at ten times the seed's pace, with every fault on, and charted.

``python -m benchmarks.soak --minutes 60`` (``make soak``) plays a simulated month with duplicates,
late and broken messages, late and corrected counts into an empty lakehouse and builds as it comes.
Each build leaves a sample: its seconds, the memory of dbt and of the engine, files, log entries. In
the end gold is held against the simulator's truth, and the last third of the samples against the
third before it. Exits with 1 if gold differs or something grows. Writes ``target/soak``. In less
than half an hour logs and files have not come to their level: then growth is shown and not judged.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from loaders import engine
from loaders.catalog import tables_on_disk
from loaders.check import Comparison, compare_variances_with_truth, compare_with_truth
from loaders.config import Settings
from loaders.playback import Month, only_player, play
from loaders.schedule import IDLE_SECONDS, Schedule
from loaders.simulator import Config, Faults, simulate, write_month

MOST_FAILURES = 100
LEAST_MINUTES = 30.0  # five minutes of log and six of files are kept, so both rise for so long
RETENTION_HOURS = 0.1
SPEED = 100.0  # event seconds a second: ten times the seed's
FAULTS = Faults(
    duplicates=0.05,
    late=0.03,
    out_of_order=0.05,
    malformed=0.01,
    unknown_item=0.01,
    conflicting=0.01,
    late_counts=0.2,
    corrected_counts=0.02,
    late_days=1,
)
# How much more the last third may be than the third before it. Less: a machine that does something
# else fails the soak. More: a leak needs more than an hour to be seen.
GROWTH = {"seconds": 1.3, "engine_mb": 1.3, "dbt_mb": 1.15, "files": 1.3, "log_entries": 1.3}
TITLES = {
    "seconds": "seconds of a build",
    "engine_mb": "MB of the engine",
    "dbt_mb": "MB of loader and dbt, peak so far",
    "files": "data files on disk, retained ones included",
    "log_entries": "names in the tables' logs",
}


@dataclass(frozen=True)
class Sample:
    """After one build: minutes since the start, and what it cost."""

    minute: float
    seconds: float
    engine_mb: float
    dbt_mb: float
    files: int
    log_entries: int


def grown(samples: Sequence[Sample]) -> dict[str, float]:
    """By measure, the median of the last third against that of the third before it."""
    third = len(samples) // 3
    if not third:
        return {}
    before, last = samples[-2 * third : -third], samples[-third:]
    found = {}
    for name in GROWTH:
        first = statistics.median(getattr(sample, name) for sample in before)
        found[name] = statistics.median(getattr(sample, name) for sample in last) / max(first, 1e-9)
    return found


def chart(samples: Sequence[Sample]) -> str:
    """The samples as SVG: a panel for each measure over the minutes, from zero."""
    width, height, left = 760, 130, 90
    panels = []
    end = max(sample.minute for sample in samples) or 1.0
    for number, (name, title) in enumerate(TITLES.items()):
        top = number * (height + 50) + 30
        most = max(getattr(sample, name) for sample in samples) or 1.0
        points = " ".join(
            f"{left + sample.minute / end * width:.1f},"
            f"{top + height - getattr(sample, name) / most * height:.1f}"
            for sample in samples
        )
        panels.append(
            f'<text x="{left}" y="{top - 8}">{title}</text>'
            f'<text x="{left - 8}" y="{top + 10}" text-anchor="end">{most:,.4g}</text>'
            f'<text x="{left - 8}" y="{top + height}" text-anchor="end">0</text>'
            f'<path d="M{left} {top}V{top + height}H{left + width}" fill="none" stroke="#94a3b8"/>'
            f'<polyline points="{points}" fill="none" stroke="#c2410c" stroke-width="1.5"/>'
        )
    bottom = len(TITLES) * (height + 50) + 10
    panels.append(
        f'<text x="{left + width}" y="{bottom}" text-anchor="end">{end:.0f} minutes</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 20}" '
        f'height="{bottom + 20}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
        + "".join(panels)
        + "</svg>\n"
    )


class _Player(threading.Thread):
    """The playback, until it has played so long."""

    def __init__(self, month: Month, landing: Path, minutes: float) -> None:
        super().__init__(name="playback", daemon=True)
        self._month, self._landing = month, landing
        self._until = month.starts_at + timedelta(seconds=minutes * 60 * SPEED)
        self.clock = month.starts_at
        self.error: Exception | None = None
        self.stop = threading.Event()

    def run(self) -> None:
        try:
            self.clock = play(
                self._month,
                self._landing,
                speed=SPEED,
                until=self._until,
                on_slot=lambda _clock: None,
                should_stop=self.stop.is_set,
            )
        except Exception as error:
            self.error = error


def soak(folder: Path, minutes: float, port: int, say: Callable[[str], None]) -> bool:
    """Run it in ``folder``, made anew; True if gold equals the truth and nothing grew."""
    shutil.rmtree(folder, ignore_errors=True)
    places = (folder / "landing", folder / "lakehouse", port)
    settings = Settings(*places, retention_hours=RETENTION_HOURS)
    settings.landing.mkdir(parents=True)
    days = math.ceil(minutes * 60 * SPEED / 86_400) + 1
    config = Config(
        days=days, lines=round(1_500_000 / 31 * days), count_every_days=1, faults=FAULTS
    )
    write_month(simulate(config), folder / "month")
    month = Month(folder / "month")
    with only_player(settings.landing), Schedule(settings) as schedule:
        player = _Player(month, settings.landing, minutes)
        player.start()
        try:
            samples, failures = _follow(settings, schedule, player, say)
        finally:
            player.stop.set()
            player.join()
    if player.error is not None:
        raise player.error
    differences = [
        compare(settings.lakehouse, month.folder, player.clock)
        for compare in (compare_with_truth, compare_variances_with_truth)
    ]
    engine.down(settings)
    samples_text = "".join(json.dumps(asdict(sample)) + "\n" for sample in samples)
    (folder / "samples.jsonl").write_text(samples_text)
    (folder / "soak.svg").write_text(chart(samples))
    say(f"{len(samples)} builds in {minutes:g} minutes of play, {failures} failed")
    is_equal = _say_differences(differences, say)
    is_flat = _say_growth(samples, say)
    if minutes < LEAST_MINUTES:
        say(f"whether it stays flat takes {LEAST_MINUTES:.0f} minutes to say")
        is_flat = True
    return is_flat and is_equal and not failures


def _follow(
    settings: Settings, schedule: Schedule, player: _Player, say: Callable[[str], None]
) -> tuple[list[Sample], int]:
    """Load and build until all that was played is built; the samples, and the failed builds."""
    samples: list[Sample] = []
    failures, started = 0, time.monotonic()
    while True:
        was_playing = player.is_alive()  # asked before the tick: what it published is built
        tick = schedule.tick()
        said = [f"build failed: {text}" for report in tick.reports for text in report.failures]
        said += [str(upkeep) for upkeep in tick.upkeep if upkeep.problem]
        for text in said:
            say(text)
        failures += sum(not report.succeeded for report in tick.reports)
        if tick.build is not None and tick.build.succeeded:
            samples.append(_sample(settings, started, tick.build.seconds))
        if not was_playing and (schedule.is_settled or failures > MOST_FAILURES):
            return samples, failures
        if not tick.reports:
            time.sleep(IDLE_SECONDS)


def _say_differences(comparisons: Sequence[Comparison], say: Callable[[str], None]) -> bool:
    for comparison in comparisons:
        say(f"{comparison.keys:,} keys against the truth: {comparison.differences:,} differ")
        for example in comparison.examples:
            say(f"  {example}")
    return not any(comparison.differences for comparison in comparisons)


def _say_growth(samples: Sequence[Sample], say: Callable[[str], None]) -> bool:
    growth = grown(samples)
    for name, title in TITLES.items():
        values = sorted(getattr(sample, name) for sample in samples)
        say(
            f"{title}: median {statistics.median(values):,.1f}, most {values[-1]:,.1f}, last third "
            f"{growth.get(name, math.nan):.2f} times the one before (at most {GROWTH[name]})"
        )
    return bool(growth) and all(growth[name] <= most for name, most in GROWTH.items())


def _sample(settings: Settings, started: float, seconds: float) -> Sample:
    files = logs = 0
    for _, _, path in tables_on_disk(settings.disk):
        files += sum(1 for _ in path.rglob("*.parquet"))
        logs += sum(1 for _ in (path / "_delta_log").iterdir())
    return Sample(
        (time.monotonic() - started) / 60,
        seconds,
        engine.resident_bytes(settings) / 1e6,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        files,
        logs,
    )


def main() -> None:
    """Arguments to a call."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path, default=Path("target/soak"))
    parser.add_argument("--port", type=int, default=50071)
    arguments = parser.parse_args()
    if not soak(arguments.folder.resolve(), arguments.minutes, arguments.port, print):
        raise SystemExit("the soak failed: the lines above say what differs, fails or grows")


if __name__ == "__main__":
    main()
