"""The page: results as tables, targets with their verdicts, losses as plain as wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from benchmarks import stores_page
from benchmarks.results import Record, find, is_wrong, median_seconds
from benchmarks.systems import SYSTEMS
from benchmarks.tables import table
from benchmarks.targets import FULL, Outcome, judge, shown

KINDS = {
    "steady": "steady tick",
    "late_count": "tick with a count 5 days late",
    "full_count": "tick with a full count of one store",
}

HERE = Path(__file__).parent


def render(records: Sequence[Record], chains: Sequence[Record] = ()) -> str:
    """The whole page, of the records of one run and of one of many stores."""
    parts = [
        (HERE / "head.md").read_text() + "\n",
        _machine(records),
        "## Targets\n\n",
        _targets(judge(FULL, records)),
        "\n## Side by side\n\n",
        *(_race(records, kind, title) for kind, title in KINDS.items()),
        _answers_and_reasons(records),
        "\n## This project alone\n\n",
        _own(records),
        "\n",
        *(f"{text}\n" for text in [stores_page.section(chains)] if text),
        (HERE / "method.md").read_text(),
    ]
    return "".join(parts)


def _machine(records: Sequence[Record]) -> str:
    if not records:
        return "No results yet.\n\n"
    last = records[-1]
    box = last["machine"]
    versions: dict[str, str] = {}
    for record in records:
        versions |= record.get("versions", {})
    named = " · ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    commits = sorted({record["commit"] for record in records})
    return (
        f"{box['cpu']}, {box['cores']} cores, {box['memory_gib']} GiB, {box['system']}, "
        f"Python {box['python']}. Commit {', '.join(commits)}, "
        f"{records[0]['at'][:10]} to {last['at'][:10]}.\n\n{named}\n\n"
    )


def _targets(outcomes: Iterable[Outcome]) -> str:
    rows = [
        [each.name, shown(each.value, each.unit), each.wanted, _bold_miss(each.verdict)]
        for each in outcomes
    ]
    return table(["target", "measured", "wanted", ""], rows)


def _bold_miss(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "MISS" else verdict


def _race(records: Sequence[Record], kind: str, title: str) -> str:
    """One table: systems down, histories across; how each compares with ours on Sail."""
    races = [record for record in records if record.get("measure") == "race"]
    sizes = sorted({record["months"] for record in races if record["months"] > 0})
    if not sizes:
        return ""
    header = ["system"]
    for months in sizes:
        sample = next(record for record in races if record["months"] == months)
        lines, days = sample["lines"], sample["days"]
        header.append(f"{lines / 1e6:,.1f} million lines ({days:,} days)")
    rows = []
    for name, entry in SYSTEMS.items():
        found = [find(races, system=name, months=months) for months in sizes]
        if any(found):
            cells = [_cell(races, record, kind) for record in found]
            rows.append([f"**{entry.title}**" if name.startswith("ours") else entry.title, *cells])
    note = "Seconds: median (smallest to largest, repetitions); × is against this project on Sail."
    return f"### {title[0].upper()}{title[1:]}\n\n{note}\n\n{table(header, rows)}\n"


def _cell(races: Sequence[Record], record: Record | None, kind: str) -> str:
    if record is None:
        return ""
    if record.get("reason"):
        return "cannot run"
    if record.get("error"):
        return "failed"
    if is_wrong(record):
        return f"WRONG ({max(record['differing_keys'].values()):,} keys)"
    seconds = [tick["total"] for tick in record.get(kind, [])]
    if not seconds:
        return ""
    text = f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)})"
    ours = median_seconds(find(races, system="ours_local", months=record["months"]), kind)
    if ours and record["system"] != "ours_local":
        text += f", {median(seconds) / ours:.2f} ×"
    return text


def _answers_and_reasons(records: Sequence[Record]) -> str:
    """What each system said that could not be measured, once for each."""
    said = []
    for name, entry in SYSTEMS.items():
        for record in records:
            if record.get("system") == name:
                why = record.get("reason") or record.get("error")
                if why and f"- {entry.title}: {why}\n" not in said:
                    said.append(f"- {entry.title}: {why}\n")
    return "### What could not be measured, and why\n\n" + "".join(said) if said else ""


def _own(records: Sequence[Record]) -> str:
    """Our own measurements, a row each."""
    rows = []
    for record in records:
        if record.get("measure") in _OWN and record is find(
            records, measure=record["measure"], target=record.get("target")
        ):
            where = f" ({record['target']})" if record.get("target") else ""
            said = record.get("error") or _OWN[record["measure"]](record)
            rows.append([f"{record['measure']}{where}", said])
    for name in ("ours_local", "ours_spark"):
        rows += _own_of_race(records, name)
    return table(["what", "measured"], rows)


def _own_of_race(records: Sequence[Record], name: str) -> list[list[str]]:
    rows = []
    for record in records:
        if record.get("system") != name or "usage" not in record:
            continue
        where = f"{SYSTEMS[name].title}, {record['lines'] / 1e6:,.1f} million lines"
        used, ticks = record["steady_usage"], record["steady"] + record["warm_up"]
        lines = sum(tick["lines"] for tick in ticks) or math.nan
        no_op = median_seconds(record, "no_op")
        rows += [
            [f"no-op tick ({where})", f"{no_op:.3f} s" if no_op is not None else "-"],
            [
                f"steady ticks ({where})",
                f"{used['cpu_seconds'] / lines * 1e6:,.0f} CPU-seconds a million lines, "
                f"{used['bytes_written'] / lines:,.0f} bytes written a line, "
                f"peak memory since the start {record['usage']['peak_bytes'] / 2**30:.2f} GiB",
            ],
        ]
    return rows


def _lags(record: Record) -> str:
    return (
        f"p50 {record['p50']:.2f} s, p95 {record['p95']:.2f} s, p99 {record['p99']:.2f} s of "
        f"{len(record['repetitions']):,} files over {record['ticks']} ticks"
    )


def _aged(record: Record) -> str:
    return (
        f"{record['ticks']:,} ticks: first {record['first_seconds']:.2f} s, last "
        f"{record['last_seconds']:.2f} s, {record['data_files']:,} data files, "
        f"{record['log_entries']:,} log entries, {record['checkpoints']:,} checkpoints, "
        f"{record['bytes_on_disk'] / 1e6:,.0f} MB on disk, {record['bytes_written'] / 1e6:,.0f} MB "
        f"written for {record['lines']:,} lines; {record['failed_builds']:.0f} builds failed and "
        f"were made again"
    )


def _backfilled(record: Record) -> str:
    marts = median(each["marts_seconds"] for each in record["repetitions"])
    return (
        f"{record['lines_per_second']:,.0f} lines/s, "
        f"{record['cpu_seconds_per_million_lines']:.0f} CPU-seconds a million lines, "
        f"{record['bytes_written'] / 1e6:,.0f} MB written; the marts another {marts:.1f} s"
    )


_OWN: dict[str, Callable[[Record], str]] = {
    "simulate": lambda record: f"{record['seconds']:.1f} s",
    "load": lambda record: f"{record['lines_per_second']:,.0f} lines/s",
    "backfill": _backfilled,
    "freshness": _lags,
    "aging": _aged,
    "memory": lambda record: (
        f"{record['peak_gib']:.2f} GiB, each process's own peak added up; "
        f"{record['most_at_once_gib']:.2f} GiB at one moment"
    ),
}
