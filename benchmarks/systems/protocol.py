"""What a system must be able to do to be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Unavailable(Exception):  # noqa: N818 - no error: a finding that is reported
    """This system cannot run here; the text says why."""


@dataclass(frozen=True)
class Seconds:
    """How long something took: in all, and the parts that are of interest, by name."""

    total: float
    parts: dict[str, float] = field(default_factory=dict)


class System(Protocol):
    """One lakehouse or database that takes in landed files and keeps on hand by store and item.

    Made with the folder in which it may keep all it has, and a port that it may listen on.
    """

    def versions(self) -> dict[str, str]:
        """The programs at work, by name."""
        ...

    def backfill(self, files: dict[str, Path]) -> Seconds:
        """Take in a month of files (landing path → where it lies); the time it took."""
        ...

    def tick(self, files: dict[str, Path]) -> Seconds:
        """Take in what is new; the time until it can be read in the table."""
        ...

    def inventory(self) -> pa.Table:
        """``store_id, item_id, on_hand_quantity`` as a reader finds them."""
        ...

    def processes(self) -> list[int]:
        """Processes beside this one's descendants that belong to the system."""
        ...

    def close(self) -> None:
        """Stop what it started."""
        ...


def land(folder: Path, files: dict[str, Path]) -> None:
    """Move files, by the path that they land at, into a system's landing folder."""
    for path, place in files.items():
        landed = folder / path
        landed.parent.mkdir(parents=True, exist_ok=True)
        place.replace(landed)
