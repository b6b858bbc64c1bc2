"""Figures that tests collect; `make test-faults`, `make test-cluster` print them for README."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """What was measured, and the command that measures it again."""

    what: str
    value: str
    command: str


@dataclass
class Figures:
    """Filled by the tests through the fixture `figures`, printed at the end of the run."""

    found: list[Figure] = field(default_factory=list)

    def add(self, what: str, value: object, command: str) -> None:
        """Whole numbers and fractions are written with thousands separated."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        text = f"{value:,}" if is_number else str(value)
        self.found.append(Figure(what, text, command))

    def __bool__(self) -> bool:
        return bool(self.found)

    def lines(self) -> list[str]:
        """A Markdown table, a row for each figure."""
        rows = [f"| {figure.what} | {figure.value} | `{figure.command}` |" for figure in self.found]
        return ["| what | figure | command |", "| --- | --- | --- |", *rows]
