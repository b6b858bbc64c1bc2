"""The page's section on many stores: what was measured of each chain, what one machine holds by it,
and what Spark on more cores would, as an estimate whose arithmetic is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from benchmarks.layouts import LAYOUTS
from benchmarks.results import Record, find, is_wrong_or_failed
from benchmarks.stores import RATES, SPARK_CORES, SPARK_RATES, Size
from benchmarks.tables import table

GIB = 2**30
BUSIEST_HOUR = 0.097  # of a day's lines, DESIGN section 7: 17 to 18 h
DAY_LINES_OF_200 = 20_000_000
ESTIMATED_CORES = (1, 10, 100)
MEASURED = "chain_ticks"

INTRODUCTION = (
    "`python -m benchmarks stores` simulates a chain's day, 100,000 lines a store (the first size: "
    "1.5 million), takes in what is sent until 19 h, the counts of all keys first, and then makes "
    "ticks of what follows, all stores mixed. Before a time counts gold equals the simulator's "
    "truth in all keys.\n\n"
)
TICKS = "\nSeconds of a tick, median (smallest to largest), by the lines that it brings:\n\n"
HOLDS = (
    "\n### What this machine holds\n\n"
    "The pace that it keeps up with is the best of the rates: a tick's lines by its seconds. The "
    "busiest hour of a day has 9.7 % of its lines, so the day that it keeps up with has that pace "
    "x 3,600 s / 0.097 lines. Where more comes the ticks get longer and nothing is lost: what has "
    "landed waits.\n\n"
)
ESTIMATE = (
    "\n### An estimate for Spark on more cores\n\n"
    "**Nobody has measured this**: there are two cores here. A tick on n cores is taken for "
    "s + p / n seconds (Amdahl). From t1 and t2, measured on one core and on two: p = 2 (t1 - t2), "
    "s = t1 - p. What a network between the cores costs is not in it. In s is what more cores do "
    "not help: planning, some 400 small jobs, commits.\n\n"
)
GROWTH = (
    "\n### How a tick grows\n\n"
    "Least squares through all medians above: seconds = a + b x million keys + c x 1,000 "
    "lines.\n\n"
)

# Between these two of profiles/SIZES.md the figures are put.
BEGINS = "<!-- what follows is written by: python -m benchmarks stores -->\n"
ENDS = "<!-- up to here -->\n"
NOTHING = "No results yet: `make bench-stores` measures it.\n"


@dataclass(frozen=True)
class Fit:
    """A tick's seconds as `fixed` + `per_million_keys` + `per_thousand_lines`, by least squares."""

    fixed: float
    per_million_keys: float
    per_thousand_lines: float

    @classmethod
    def of(cls, records: Sequence[Record]) -> Fit | None:
        """Of all rates of some sizes on one target; None of fewer than three points."""
        points = [
            (1.0, record["keys"] / 1e6, float(rate) / 1e3, seconds)
            for record in records
            for rate, seconds in record["p50"].items()
        ]
        if len(points) < 3 or len({point[1] for point in points}) < 2:
            return None
        matrix = np.array(points)
        found, *_ = np.linalg.lstsq(matrix[:, :3], matrix[:, 3], rcond=None)
        return cls(*(float(each) for each in found))


def section(records: Sequence[Record]) -> str:
    """The section, or nothing where nothing was measured."""
    sizes = _sizes(records)
    if not sizes:
        return ""
    return "".join(
        [
            "## Many stores\n\n",
            INTRODUCTION,
            table(*_days(records, sizes)),
            TICKS,
            table(*_ticks(records, sizes)),
            _layouts(records),
            _holds(records, sizes),
            _estimate(records, sizes),
            _failures(records),
        ]
    )


def into_page(page: str, records: Sequence[Record]) -> str:
    """`profiles/SIZES.md` with what one machine holds and what more cores would, by measurement."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError("the page has no place for the figures")
    sizes = _sizes(records)
    text = _holds(records, sizes) + _estimate(records, sizes)
    return before + begins + (text.removeprefix("\n") or NOTHING) + ends + after


def _sizes(records: Sequence[Record]) -> list[str]:
    found = {record["size"]: Size.parse(record["size"]) for record in records if "size" in record}
    return sorted(found, key=lambda size: (found[size].keys, found[size].stores))


def _good(records: Sequence[Record], **wanted: object) -> Record | None:
    record = find(records, **wanted)
    return None if record is None or is_wrong_or_failed(record) else record


def _days(records: Sequence[Record], sizes: list[str]) -> tuple[list[str], list[list[str]]]:
    header = ["stores x items", "keys", "lines a day", "simulate", "load", "opening counts to gold"]
    header += ["changes to gold", "on disk"]
    rows = []
    for size in sizes:
        made = _good(records, measure="chain_simulate", size=size)
        loaded = _good(records, measure="chain_load", size=size)
        built = _good(records, measure="chain_history", size=size)
        shape = Size.parse(size)
        rows.append(
            [
                f"{shape.stores} x {shape.items:,}",
                f"{shape.keys:,}",
                f"{made['lines']:,}" if made else "",
                _pace(made),
                _pace(loaded),
                f"{built['counts_seconds']:.0f} s" if built else "",
                f"{built['lines_per_second']:,.0f} lines/s" if built else "",
                f"{built['bytes_on_disk'] / 1e9:.1f} GB" if built else "",
            ]
        )
    return header, rows


def _pace(record: Record | None) -> str:
    if record is None:
        return ""
    return f"{record['lines_per_second']:,.0f} lines/s, {record['peak_bytes'] / GIB:.2f} GiB"


def _ticks(records: Sequence[Record], sizes: list[str]) -> tuple[list[str], list[list[str]]]:
    header = ["stores x items", "keys", "engine", *(f"{rate:,} lines" for rate in RATES), "memory"]
    rows = []
    for size in sizes:
        for title, of in _engines():
            record = _good(records, measure=MEASURED, size=size, **of)
            if record is None:
                continue
            cells = [_seconds(record["ticks"].get(str(rate))) for rate in RATES]
            shape = Size.parse(size)
            shown = [f"{shape.stores} x {shape.items:,}", f"{shape.keys:,}", title]
            rows.append([*shown, *cells, f"{record['peak_bytes'] / GIB:.1f} GiB"])
    return header, rows


def _engines() -> list[tuple[str, Record]]:
    spark = [(f"Spark, {_cores(n)}", {"target": "spark", "cores": n}) for n in SPARK_CORES]
    return [("Sail", {"target": "local"}), *spark]


def _cores(number: int) -> str:
    return f"{number:,} core{'s' if number > 1 else ''}"


def _seconds(some: list[Record] | None) -> str:
    if not some:
        return ""
    seconds = [each["total"] for each in some]
    return f"{median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"


def _layouts(records: Sequence[Record]) -> str:
    record = next((r for r in reversed(records) if r.get("measure") == "chain_layouts"), None)
    if record is None or is_wrong_or_failed(record):
        return ""
    rows = []
    for name, kinds in record["layouts"].items():
        cells = [LAYOUTS[name].title]
        for each in kinds.values():
            said = (
                f"{median(each['seconds']):.1f} s, {each['cpu_seconds']:.1f} CPU-seconds, "
                f"{each['files_removed']} files replaced, "
                f"{each['bytes_written'] / 1e6:,.0f} MB written"
            )
            cells.append("WRONG" if each["is_wrong"] else said)
        rows.append(cells)
    header = ["layout of `inventory_current`", "3,000 keys of 5 stores", "3,000 keys of all stores"]
    return (
        "\n### How the inventory lies\n\nThe statement of a tick that writes to it, "
        f"{record['keys']:,} keys, on Sail:\n\n{table(header, rows)}"
    )


def _holds(records: Sequence[Record], sizes: list[str]) -> str:
    """What one machine keeps up with: the lines of a tick in the seconds that the tick takes."""
    rows = []
    for size in sizes:
        record = _good(records, measure=MEASURED, size=size, target="local")
        if record is None:
            continue
        shape = Size.parse(size)
        pace = max(_lines_per_second(some) for some in record["ticks"].values())
        day = pace * 3600 / BUSIEST_HOUR
        usual = record["p50"].get("3000", float("nan"))
        rows.append(
            [
                f"{shape.stores} x {shape.items:,}",
                f"{usual:.1f} s",
                f"{pace:,.0f}",
                f"{day / 1e6:,.0f} million",
                f"{DAY_LINES_OF_200 * shape.stores / 200 / 1e6:,.1f} million",
                f"{record['peak_bytes'] / GIB:.1f} GiB",
            ]
        )
    if not rows:
        return ""
    header = ["stores x items", "tick of 3,000", "lines/s kept up with", "so lines a day"]
    header += ["100,000 a store would be", "memory"]
    return HOLDS + table(header, rows)


def _lines_per_second(some: list[Record]) -> float:
    return float(median(each["lines"] / each["total"] for each in some))


def _estimate(records: Sequence[Record], sizes: list[str]) -> str:
    """Spark on more cores: what was measured on one and two, carried on by Amdahl's law."""
    rows = []
    for size in sizes:
        one, two = (
            _good(records, measure=MEASURED, size=size, target="spark", cores=cores)
            for cores in SPARK_CORES
        )
        for rate in map(str, SPARK_RATES):
            if not one or not two or rate not in one["p50"] or rate not in two["p50"]:
                continue
            first, second = one["p50"][rate], two["p50"][rate]
            shared = max(0.0, 2 * (first - second))
            serial = first - shared
            cells = [f"{serial + shared / cores:.1f} s" for cores in ESTIMATED_CORES]
            shape = Size.parse(size)
            known = [f"{shape.stores} x {shape.items:,}", f"{int(rate):,}"]
            rows.append([*known, f"{first:.1f} s", f"{second:.1f} s", f"{serial:.1f}", *cells])
    text = ""
    if rows:
        header = ["stores x items", "lines", "measured, 1 core", "measured, 2 cores", "serial s"]
        header += [f"estimate, {_cores(cores)}" for cores in ESTIMATED_CORES]
        text += ESTIMATE + table(header, rows)
    text += _growth(records, sizes)
    return text


def _growth(records: Sequence[Record], sizes: list[str]) -> str:
    rows = []
    for title, of in _engines():
        some = [_good(records, measure=MEASURED, size=size, **of) for size in sizes]
        found = [record for record in some if record is not None]
        fit = Fit.of(found)
        if fit:
            cells = [f"{fit.fixed:.1f} s", f"{fit.per_million_keys:.1f} s"]
            rows.append([title, str(len(found)), *cells, f"{fit.per_thousand_lines:.2f} s"])
    if not rows:
        return ""
    header = ["engine", "sizes", "a tick of nothing", "for each million keys"]
    header += ["for each 1,000 lines"]
    return GROWTH + table(header, rows)


def _failures(records: Sequence[Record]) -> str:
    said = []
    for record in records:
        last = find(records, **{k: record.get(k) for k in ("measure", "size", "target", "cores")})
        if record is last and is_wrong_or_failed(record):
            what = " ".join(str(record[k]) for k in ("measure", "size", "target") if record.get(k))
            why = record.get("error") or f"WRONG: {record['differing_keys']}"
            said.append(f"- {what}: {why}\n")
    return "\nWhat could not be measured:\n\n" + "".join(said) if said else ""
