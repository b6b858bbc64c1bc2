"""The chart: seconds of a tick against the history before it, per system, both logarithmic.

Run with the benchmarks' own environment, which has matplotlib:
``python -m benchmarks.chart RESULTS.jsonl CHART.svg``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Record, Results, latest, median_seconds
from benchmarks.systems import SYSTEMS

OURS = "#c2410c"
OTHERS = ("#1d4ed8", "#0f766e", "#7c3aed", "#64748b", "#b45309", "#0891b2", "#4d7c0f", "#9d174d")


def series(records: Sequence[Record]) -> dict[str, list[tuple[int, float]]]:
    """By system: million lines of history and median seconds, where the answer was right."""
    found: dict[str, dict[int, float]] = {}
    for record in latest(records):
        seconds = median_seconds(record, "steady")
        if record.get("measure") == "race" and record["months"] > 0 and seconds is not None:
            found.setdefault(record["system"], {})[record["lines"]] = seconds
    return {name: sorted(found[name].items()) for name in SYSTEMS if name in found}


def draw(records: Sequence[Record], path: Path) -> None:
    """Write the chart as SVG, the same bytes for the same results."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    others = iter(OTHERS)
    for name, points in series(records).items():
        is_ours = name.startswith("ours")
        x_values = [lines / 1e6 for lines, _ in points]
        y_values = [seconds for _, seconds in points]
        axes.plot(
            x_values,
            y_values,
            marker="o",
            color=OURS if is_ours else next(others, "#94a3b8"),
            linestyle="--" if name.endswith("spark") else "-",
            linewidth=2.6 if is_ours else 1.4,
            label=SYSTEMS[name].title,
        )
    axes.set(xscale="log", yscale="log")
    sizes = {lines / 1e6 for points in series(records).values() for lines, _ in points}
    axes.set_xticks(sorted(sizes), minor=False)
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:g} M")
    axes.yaxis.set_major_formatter("{x:g} s")
    axes.set_xlabel("lines of history")
    axes.set_ylabel("one tick of about 3,000 lines, median")
    axes.grid(visible=True, which="major", alpha=0.35)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, metadata={"Date": None})
    # matplotlib leaves blanks at the ends of lines.
    text = "\n".join(line.rstrip() for line in path.read_text().splitlines())
    path.write_text(text + "\n")


if __name__ == "__main__":
    draw(Results(Path(sys.argv[1])).records(), Path(sys.argv[2]))
