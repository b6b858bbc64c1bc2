"""The mark of a rollback that is under way: as long as it stands the tables are of two moments.

Apart from the rollback, because whatever builds has to look for it first.
"""

from __future__ import annotations

import json
from pathlib import Path

from loaders.config import Settings
from loaders.errors import UserError


def mark(settings: Settings) -> Path:
    """The file that says where a rollback is on its way to."""
    return settings.state / "rollback.json"


def unfinished(settings: Settings) -> str | None:
    """The restore point that an interrupted rollback was on its way to."""
    try:
        return str(json.loads(mark(settings).read_bytes())["to"])
    except FileNotFoundError:
        return None


def refuse_unfinished(settings: Settings) -> None:
    """:class:`UserError` where a rollback was interrupted: nothing may build on two moments."""
    point = unfinished(settings)
    if point is not None:
        raise UserError(
            f"a rollback of {settings.lakehouse} was interrupted; finish it first: "
            f"pos rollback --to {point} --lakehouse {settings.lakehouse}"
        )
