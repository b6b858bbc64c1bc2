"""What a person watches while the lakehouse runs: a live panel, or plain lines off a terminal."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType

import pyarrow.compute as pc
from deltalake import DeltaTable
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loaders.clock import percentile
from loaders.freshness import Freshness
from loaders.places import Place
from loaders.schedule import Tick
from loaders.tables import StoredTable

LINE_SECONDS = 5.0
PRODUCTS_SHOWN = 6


@dataclass
class Figures:
    """The running totals of one run."""

    clock: datetime | None = None
    lines: int = 0
    count_rows: int = 0
    builds: int = 0
    is_stale: bool = False
    last_build_seconds: float = math.nan
    lags: list[float] = field(default_factory=list)
    low_stock: int | None = None
    negative: int | None = None
    moved: list[tuple[str, str, int]] = field(default_factory=list)
    stale: dict[str, Freshness] = field(default_factory=dict)  # by source

    def add(self, tick: Tick) -> None:
        """Count one turn of the schedule."""
        self.count_rows += tick.load.rows.get("pos_count_rows", 0)
        if tick.build is not None:
            self.builds += 1
            self.is_stale = True
            self.last_build_seconds = tick.build.seconds
        self.lags.extend(tick.lags)

    def add_freshness(self, looked_at: list[Freshness]) -> list[str]:
        """Take over how fresh the sources are; a sentence for each of which that has changed."""
        said = []
        for source in looked_at:
            before = self.stale.pop(source.rule.table, None)
            if source.is_stale:
                self.stale[source.rule.table] = source
            if source.status != (before.status if before else "pass"):
                said.append(f"source {source}" + ("" if source.is_stale else ", fresh again"))
        return said

    def refresh(self, lakehouse: Place) -> None:
        """Read what is shown of the tables, if there was a build since it was last read."""
        if self.is_stale:
            self._read_gold(lakehouse)
            self._read_lines(lakehouse)
            self.is_stale = False

    def _read_gold(self, lakehouse: Place) -> None:
        """Refresh what is shown of the inventory from the Delta table itself."""
        path = lakehouse / "gold" / "inventory_current"
        if not DeltaTable.is_deltatable(str(path)):
            return
        table = StoredTable(str(path)).to_pyarrow_table(
            columns=[
                "store_name",
                "item_name",
                "item_id",
                "on_hand_quantity",
                "last_changed_at",
                "is_below_safety_stock",
                "is_negative",
            ]
        )
        self.low_stock = pc.sum(table["is_below_safety_stock"]).as_py() or 0
        self.negative = pc.sum(table["is_negative"]).as_py() or 0
        changed = table.filter(pc.is_valid(table["last_changed_at"]))
        newest = pc.select_k_unstable(
            changed, k=PRODUCTS_SHOWN, sort_keys=[("last_changed_at", "descending")]
        )
        self.moved = [
            (
                row["store_name"] or "unknown store",
                row["item_name"] or f"unknown item {row['item_id']}",
                row["on_hand_quantity"],
            )
            for row in changed.take(newest).to_pylist()
        ]

    def _read_lines(self, lakehouse: Place) -> None:
        """Refresh the number of message lines taken in, from the books of the intake."""
        path = lakehouse / "silver" / "int_pos__loads_reconciled"
        if DeltaTable.is_deltatable(str(path)):
            table = StoredTable(str(path)).to_pyarrow_table(columns=["source", "lines_received"])
            messages = table.filter(pc.equal(table["source"], "pos_messages"))
            self.lines = pc.sum(messages["lines_received"]).as_py() or 0


class View:
    """Shows :class:`Figures`; live on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._line_at = 0.0

    def __enter__(self) -> View:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def observe(self, tick: Tick, figures: Figures, lakehouse: Place) -> None:
        """Say what went wrong in one turn of the schedule, count it, and draw what it changed."""
        for warning in tick.load.warnings:
            self.say(warning)
        for report in tick.reports:
            for failure in report.failures:
                self.say(f"build failed: {failure}")
        for upkeep in tick.upkeep:
            if upkeep.problem:
                self.say(f"maintenance failed: {upkeep.table}: {upkeep.problem}")
        for change in figures.add_freshness(tick.freshness or []):
            self.say(change)
        figures.add(tick)
        self.show(figures, lakehouse)

    def say(self, message: str) -> None:
        """A message that stays on the screen: a warning, a failure."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def show(self, figures: Figures, lakehouse: Place) -> None:
        """Draw the figures as they stand; what is not drawn is not read."""
        if not figures.builds:
            return
        if self._live:
            figures.refresh(lakehouse)
            self._live.update(panel(figures), refresh=True)
        elif time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + LINE_SECONDS
            figures.refresh(lakehouse)
            self.say(line(figures))


def line(figures: Figures) -> str:
    """One log line."""
    clock = f"event clock {figures.clock:%Y-%m-%d %H:%M:%S}, " if figures.clock else ""
    lag = f"lag {_lag(figures, ', ')}, " if figures.lags else ""
    return (
        f"{clock}{figures.lines:,} lines in, build {figures.last_build_seconds:.1f} s, "
        f"{lag}{figures.low_stock or 0:,} below safety stock"
    )


def _lag(figures: Figures, between: str) -> str:
    """How old the files were when gold had them; a dash before there was any."""
    if not figures.lags:
        return "-"
    shares = ((f"p{share * 100:.0f}", percentile(figures.lags, share)) for share in (0.5, 0.95))
    return between.join(f"{name} {seconds:.1f} s" for name, seconds in shares)


def panel(figures: Figures) -> Panel:
    """The live panel."""
    numbers = Table.grid(padding=(0, 3))
    numbers.add_column(style="dim")
    numbers.add_column()
    if figures.clock:
        numbers.add_row("event clock", f"{figures.clock:%a %Y-%m-%d %H:%M:%S}")
    numbers.add_row("lines taken in", f"{figures.lines:,} and {figures.count_rows:,} counted")
    numbers.add_row("landing to gold", _lag(figures, "   "))
    numbers.add_row("last build", f"{figures.last_build_seconds:.1f} s, {figures.builds} in all")
    numbers.add_row("below safety stock", f"{figures.low_stock or 0:,}")
    numbers.add_row("negative", f"{figures.negative or 0:,}")
    for source in figures.stale.values():
        numbers.add_row("stale source", str(source))
    moved = Table(box=None, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    moved.add_column("just moved")
    moved.add_column("store")
    moved.add_column("in stock", justify="right")
    for store, item, on_hand in figures.moved:
        # As text, not as markup: an item's name may hold anything.
        moved.add_row(Text(item), Text(store), f"{on_hand:,}")
    return Panel(Group(numbers, Text(), moved), title="inventory, now", padding=(1, 2))
