"""Places at which a process can be told to die: how the tests prove that a kill does no harm.

``POS_FAIL_AT=load.before_commit`` kills the process, as ``kill -9`` does, when it first comes
there, ``load.before_commit:3`` the third time. Without the variable a place costs one look into the
environment, half a microsecond.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

from loaders.errors import UserError

VARIABLE = "POS_FAIL_AT"

# Every place, in the order in which a run comes there. What lies between two of them is one
# atomic step: a rename, a commit to a table's log, or deletions of what nobody names any more.
PLACES = (
    "play.before_slot_is_planned",
    "play.before_slot_is_published",
    "play.between_files",
    "play.before_slot_is_done",
    "engine.before_start",
    "engine.after_start",
    "engine.before_register",
    "load.before_plan",
    "load.before_commit",
    "load.after_commit",
    "load.before_plan_is_removed",
    "load.after_plan_is_removed",
    "build.before_statement",
    "build.after_statement",
    "build.after_run",
    "upkeep.before_settings",
    "upkeep.before_merge",
    "upkeep.before_checkpoint",
    "upkeep.before_log_is_cut",
    "upkeep.before_files_are_removed",
    "upkeep.between_removals",
    "page.before_data",
    "page.before_publish",
    "page.before_sweep",
    "redrive.before_commit",
    "redrive.after_commit",
    "stream.before_commit",
    "stream.after_commit",
)

_reached: Counter[str] = Counter()


def reach(place: str) -> None:
    """Die here if the environment says so; :class:`UserError` where it names no such place."""
    armed = os.environ.get(VARIABLE)
    if armed is None:
        return
    name, times = parsed(armed)
    _reached[place] += 1
    if name == place and _reached[place] == times:
        os.kill(os.getpid(), signal.SIGKILL)


def is_armed() -> bool:
    """True if this process is to die somewhere."""
    return VARIABLE in os.environ


def parsed(text: str) -> tuple[str, int]:
    """The place, and the how-manieth time that it is reached; :class:`UserError`.

    >>> parsed("load.before_commit"), parsed("load.before_commit:3")
    (('load.before_commit', 1), ('load.before_commit', 3))
    """
    name, _, times = text.partition(":")
    if name not in PLACES or not (times or "1").isdigit() or int(times or "1") < 1:
        raise UserError(
            f"{VARIABLE} is a place of loaders/failpoints.py, with :n the n-th time that it is "
            f"reached; not {text!r}"
        )
    return name, int(times or "1")
