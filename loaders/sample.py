"""``pos sample``: a small lakehouse with something in every table, for whoever writes a model.

In a folder and on a port of its own, so that nothing tried there is seen by a running schedule.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from loaders import engine
from loaders.config import DEFAULT_TARGET, Settings
from loaders.errors import UserError
from loaders.playback import Month, only_player, play
from loaders.schedule import Schedule, Tick
from loaders.simulator import Config, Faults, simulate, write_month

# A little of everything, so that quarantine, duplicates and restatements have rows too.
FAULTS = Faults(
    duplicates=0.01,
    late=0.02,
    out_of_order=0.02,
    malformed=0.002,
    unknown_item=0.001,
    conflicting=0.002,
    late_counts=0.2,
    corrected_counts=0.01,
)


def make_sample(
    folder: Path,
    port: int,
    *,
    days: int,
    items: int,
    lines: int,
    seed: int,
    tell: Callable[[str], None],
) -> list[str]:
    """Make the sample in ``folder``, or use the one that is there; its engine is up afterwards.

    Returns the lines of shell that point dbt and ``pos`` to it. :class:`UserError` where a build
    fails, or the folder holds what an interrupted call has left.
    """
    folder = folder.resolve()
    settings = Settings(folder / "landing", folder / "lakehouse", port, DEFAULT_TARGET)
    finished = folder / "finished"
    if not finished.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"{folder} is not empty and holds no whole sample; remove it, or name another"
            )
        tell(f"simulating {days} days of {items:,} items, and building twice ...")
        month = folder / "month"
        config = Config(seed=seed, days=days, items=items, lines=lines, faults=FAULTS)
        write_month(simulate(config), month)
        _build(settings, Month(month))
        finished.touch()
    engine.up(settings)
    tell(f"the sample is ready; stop its engine with: pos down --lakehouse {settings.lakehouse}")
    return [f"export {name}={shlex.quote(text)}" for name, text in settings.environment().items()]


def _build(settings: Settings, month: Month) -> None:
    """Build the month in two parts: what comes late restates what the first has published."""
    most = month.starts_at + (month.ends_at - month.starts_at) * 0.55  # after a count, by default
    with only_player(settings.landing), Schedule(settings) as schedule:
        for until in (most, month.ends_at):
            play(month, settings.landing, speed=None, until=until)
            _refuse_failure(schedule.tick())
            while not schedule.is_settled:
                _refuse_failure(schedule.tick())
        marts = schedule.build_marts()
        if marts is not None and not marts.succeeded:
            raise UserError(f"the build of the sample failed: {marts.failures[0]}")


def _refuse_failure(tick: Tick) -> None:
    if tick.failed:
        failures = [failure for report in tick.reports for failure in report.failures]
        raise UserError(f"the build of the sample failed: {failures[0]}")
