"""The page: results as tables, targets with their verdicts, losses as plain as wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

from benchmarks import stores_page
from benchmarks.results import Record, find, is_wrong, latest, median_seconds, ratio_of_medians
from benchmarks.systems import SYSTEMS
from benchmarks.tables import table
from benchmarks.targets import FULL, Outcome, judge, shown

KINDS = {
    "steady": "steady tick",
    "late_count": "tick with a count 5 days late",
    "full_count": "tick with a full count of one store",
}

HERE = Path(__file__).parent
OURS = ("ours_local", "ours_spark")
NODE = "node "  # before a dbt node's name among the parts of a tick
PROFILED_NODES = 10
PROFILE = (
    "Nodes run two at a time and their seconds hold what each waited for the other's, so they add "
    "up to more than the build. What was tried against the longest of them: "
    "[DECISIONS](../DECISIONS.md#the-cost-of-a-tick).\n\n"
)


def render(measured: Sequence[Record], chains: Sequence[Record] = ()) -> str:
    """The whole page: of each thing that was measured the last record, and a run of many stores."""
    records = latest(measured)
    parts = [
        (HERE / "head.md").read_text() + "\n",
        _machine(records),
        "## Targets\n\n",
        _targets(judge(FULL, records)),
        "\n## Side by side\n\n",
        *(_race(records, kind, title) for kind, title in KINDS.items()),
        _answers_and_reasons(records),
        _settings(records),
        "\n## This project alone\n\n",
        _own(records),
        _profile(records),
        "\n",
        *(f"{text}\n" for text in [stores_page.section(chains)] if text),
        (HERE / "method.md").read_text(),
    ]
    return "".join(parts)


def _machine(records: Sequence[Record]) -> str:
    if not records:
        return "No results yet.\n\n"
    # Of deltalake there are two: duckrun and the floor run on the one that duckrun asks for.
    versions = {
        (name, version)
        for record in records
        for name, version in record.get("versions", {}).items()
    }
    named = " · ".join(f"{name} {version}" for name, version in sorted(versions))
    runs: dict[str, list[Record]] = {}
    for record in records:
        box = record["machine"]
        text = (
            f"{box['cpu']}, {box['cores']} cores, {box['memory_gib']} GiB, {box['system']}, "
            f"Python {box['python']}. Commit {record['commit']}"
        )
        runs.setdefault(text, []).append(record)
    lines = [
        f"- {text}, {of_it[0]['at'][:10]}: {', '.join(dict.fromkeys(map(_what, of_it)))}\n"
        for text, of_it in runs.items()
    ]
    return f"{''.join(lines)}\n{named}\n\n"


def _what(record: Record) -> str:
    """What a record is of, in words."""
    if record["measure"] != "race":
        where = f" ({record['target']})" if record.get("target") else ""
        return f"{record['measure']}{where}"
    return f"race at {record['lines'] / 1e6:,.1f} million lines"


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
    if record["system"] != "ours_local":
        ours = find(races, system="ours_local", months=record["months"])
        ratio = ratio_of_medians(record, ours, kind)
        text += f", {ratio:.2f} ×" if ratio is not None else ""
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


def _settings(records: Sequence[Record]) -> str:
    """Which of the races were run with other settings than the project's."""
    said = [
        f"- {SYSTEMS[record['system']].title}, {record['lines'] / 1e6:,.1f} million lines: "
        + ", ".join(f"`{name}={value}`" for name, value in record["settings"].items())
        for record in records
        if record.get("settings")
    ]
    return "\n".join(["### Run with other settings of Spark\n", *said, "\n"]) if said else ""


def _own(records: Sequence[Record]) -> str:
    """Our own measurements, a row each."""
    rows = []
    for record in records:
        if record.get("measure") in _OWN:
            said = record.get("error") or _OWN[record["measure"]](record)
            rows.append([_what(record), said])
    for name in OURS:
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


def _profile(records: Sequence[Record]) -> str:
    """Where a steady tick's time goes: median seconds of what dbt ran in it, by system and size."""
    races = [
        record
        for name in OURS
        for record in sorted(records, key=lambda each: each.get("months") or 0)
        if record.get("system") == name and median_seconds(record, "steady") is not None
    ]
    if not races:
        return ""
    spent = [_medians(record["steady"]) for record in races]
    names = sorted(
        {name for each in spent for name in each if name.startswith(NODE)},
        key=lambda name: -max(each.get(name, 0.0) for each in spent),
    )
    header = ["seconds, median"] + [
        f"{SYSTEMS[record['system']].title}, {record['lines'] / 1e6:,.1f} million"
        for record in races
    ]
    rows = [
        [name.removeprefix(NODE), *(f"{each.get(name, 0.0):.2f}" for each in spent)]
        for name in ("tick", "load and wait", "build", *names[:PROFILED_NODES])
    ]
    return f"\n### Where a steady tick's time goes\n\n{PROFILE}{table(header, rows)}"


def _medians(ticks: Sequence[Record]) -> dict[str, float]:
    """Of a whole tick, and of each of its parts; a part that a tick had none of took no time."""
    parts = [{"tick": tick["total"], **tick["parts"]} for tick in ticks]
    names = {name for each in parts for name in each}
    return {name: median(each.get(name, 0.0) for each in parts) for name in names}


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
