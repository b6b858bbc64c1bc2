"""Pathway, if what is installed runs without a licence key: it must write a table that a reader
opens, as the others do.

Not in requirements.in: its dependencies (a hundred packages, a newer delta-rs) do not stand beside
duckrun's. Version 0.33.0 was tried in an environment of its own: its engine computes without a key,
and its Delta writer asks for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from benchmarks.systems.protocol import Unavailable

TRIED = (
    "Pathway 0.33.0 computes without a key, but writing a Delta table raises: the feature(s) you "
    'used ["DELTALAKE"] require a Pathway license key'
)


class Pathway:
    """Cannot run: says why."""

    def __init__(self, _folder: Path, _port: int) -> NoReturn:
        raise Unavailable(TRIED)
