"""What the proof tier proved, in figures: printed at the end of the run, whatever pytest shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Figure:
    """Of one kind of proof: how much was tried, how much of it held, how long it took."""

    held_as: str  # "equal", "caught", …
    tried: int = 0
    held: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def line(self, what: str) -> str:
        notes = f" ({', '.join(dict.fromkeys(self.notes))})" if self.notes else ""
        return f"{self.tried:,} {what}, {self.held:,} {self.held_as}, {self.seconds:,.0f} s{notes}"


class Proof:
    """Called as each part is done; the seconds are those since the part before it."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.since = time.monotonic()

    def __call__(self, what: str, tried: int, held: int, held_as: str, note: str = "") -> None:
        figure = self.figures.setdefault(what, Figure(held_as))
        figure.tried += tried
        figure.held += held
        now = time.monotonic()
        figure.seconds += now - self.since
        self.since = now
        if note:
            figure.notes.append(note)

    def lines(self) -> list[str]:
        return [figure.line(what) for what, figure in self.figures.items()]
