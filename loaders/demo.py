"""The main job: simulate a month, play its first days, load and build as it plays, and check.

The playback is a thread of this process, so that whatever ends the one ends the other.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from loaders import engine
from loaders.check import Comparison, compare_with_truth
from loaders.clock import percentile
from loaders.config import Settings
from loaders.errors import UserError
from loaders.playback import Month, only_player, play, progress_of
from loaders.schedule import IDLE_SECONDS, Schedule
from loaders.simulator import Config, simulate, write_month
from loaders.view import Figures, View

if TYPE_CHECKING:
    from loaders.page.live import LivePage

MOST_FAILURES = 3  # builds in a row, after which trying on is no use


def prepare_month(folder: Path, config: Config, console: Console) -> Month:
    """The month in ``folder``, simulated first if it is not there."""
    if not (folder / "month.json").exists():
        started = time.monotonic()
        console.print(f"simulating {config.days} days of {config.items:,} items ...")
        write_month(simulate(config), folder)
        console.print(f"simulated in {time.monotonic() - started:.1f} s: {folder}", markup=False)
    return Month(folder)


def next_stop(month: Month, landing: Path, days: int) -> datetime:
    """Where this playback is to stop: after ``days``, or the next so many if those are done."""
    progress = progress_of(landing)
    done = progress.published_through - month.starts_at if progress else timedelta(0)
    step = timedelta(days=days)
    return min(month.starts_at + step * (math.floor(done / step) + 1), month.ends_at)


def run_demo(
    settings: Settings,
    month: Month,
    *,
    days: int,
    speed: float | None,
    console: Console,
    should_stop: threading.Event,
    page: Callable[[Callable[[str], None]], AbstractContextManager[LivePage | None]],
) -> bool:
    """Play, load, build and show until ``days`` more are in gold; True if gold equals the truth."""
    tell = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    figures = Figures()
    until = next_stop(month, settings.landing, days)
    with ExitStack() as stack:
        stack.enter_context(only_player(settings.landing))
        tell(f"starting the engine and dbt (target {settings.target}) ...")
        schedule = stack.enter_context(Schedule(settings))
        view = stack.enter_context(View(console))
        live = stack.enter_context(page(view.say))
        player = _Player(month, settings.landing, speed, until, should_stop)
        stack.callback(player.join)
        stack.callback(should_stop.set)
        player.start()

        failures = 0
        while not should_stop.is_set():
            was_playing = player.is_alive()  # asked before the tick: what it published is built
            tick = schedule.tick()
            figures.clock = player.clock
            view.observe(tick, figures, settings.lakehouse)
            if live:
                live.after(tick)
            failures = failures + 1 if tick.failed else 0 if tick.reports else failures
            if not was_playing and (schedule.is_settled or failures == MOST_FAILURES):
                failures += _failures_of_marts(schedule, view)
                if live:
                    live.built()
                break
            if not tick.reports:
                time.sleep(IDLE_SECONDS)
        player.join()
    if player.error is not None:
        raise player.error
    if should_stop.is_set() and not player.finished:
        if settings.target == "local":
            engine.down(settings)
        tell("\nstopped; start again to go on from here")
        return True
    if failures:
        raise UserError(
            f"the last {failures} builds failed; the lines above say where. What was loaded is "
            f"safe; put it right and start again"
        )
    clock = player.clock or until
    return _conclude(settings, month, clock, figures, tell)


def _failures_of_marts(schedule: Schedule, view: View) -> int:
    """Build the marts as of the end of the playback; how many builds failed, 0 or 1."""
    marts = schedule.build_marts() if schedule.is_settled else None
    if marts is None or marts.succeeded:
        return 0
    for failure in marts.failures:
        view.say(f"build failed: {failure}")
    return 1


class _Player(threading.Thread):
    """The playback, and where it is."""

    def __init__(
        self,
        month: Month,
        landing: Path,
        speed: float | None,
        until: datetime,
        should_stop: threading.Event,
    ) -> None:
        super().__init__(name="playback", daemon=True)
        self._arguments = (month, landing, speed, until, should_stop)
        self.clock: datetime | None = None
        self.finished = False
        self.error: BaseException | None = None

    def run(self) -> None:
        month, landing, speed, until, should_stop = self._arguments
        try:
            self.clock = play(
                month,
                landing,
                speed=speed,
                until=until,
                on_slot=self._advance,
                should_stop=should_stop.is_set,
            )
            self.finished = self.clock >= until
        except Exception as error:
            self.error = error
            should_stop.set()

    def _advance(self, clock: datetime) -> None:
        self.clock = clock


def _conclude(
    settings: Settings, month: Month, clock: datetime, figures: Figures, tell: Callable[[str], None]
) -> bool:
    figures.refresh(settings.lakehouse)
    comparison = compare_with_truth(settings.lakehouse, month.folder, clock)
    tell(
        f"\nevent clock {clock:%Y-%m-%d %H:%M:%S}: {figures.lines:,} lines in, "
        f"{figures.builds} builds, landing to gold "
        f"p50 {percentile(figures.lags, 0.5):.1f} s, p95 {percentile(figures.lags, 0.95):.1f} s"
    )
    tell(_verdict(comparison))
    tell(_what_next(settings, month.folder))
    return comparison.differences == 0


def _verdict(comparison: Comparison) -> str:
    if comparison.differences == 0:
        return (
            f"inventory equals the simulator's truth for all {comparison.keys:,} "
            f"store and item keys"
        )
    examples = "\n  ".join(comparison.examples)
    return (
        f"inventory DIFFERS from the simulator's truth for {comparison.differences:,} of "
        f"{comparison.keys:,} keys, for example:\n  {examples}"
    )


def _what_next(settings: Settings, month: Path) -> str:
    table = settings.table("gold", "inventory_current")
    landing = f"--landing {settings.landing}"
    places = f"{landing} --lakehouse {settings.lakehouse} --port {settings.port}"
    target = "" if settings.target == "local" else f" TARGET={settings.target}"
    lines = [
        "What to look at next",
        '  query the table   .venv/bin/python -c "import polars as pl; '
        f"print(pl.read_delta('{table}').sort('on_hand_quantity').head())\"",
        f"  the inventory     .venv/bin/pos page --serve --lakehouse {settings.lakehouse}",
        "  lineage and docs  make docs",
        f"  the next days     make run{target}",
        f"  at the seed's pace  .venv/bin/pos play {month} --speed 10 {landing} &",
        f"                      .venv/bin/pos run {places} --target {settings.target}",
    ]
    if settings.target == "local":
        lines.append(f"  stop the engine   .venv/bin/pos down {places.removeprefix(landing + ' ')}")
    return "\n" + "\n".join(lines)
