"""``pos status``: what runs, what is in the lakehouse, what waits in the landing folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from loaders import engine
from loaders.catalog import tables_in
from loaders.config import Settings
from loaders.errors import UserError
from loaders.freshness import freshness_of
from loaders.kafka import broker as kafka
from loaders.landing import FEEDS, printable, scan
from loaders.load import begun_of, ledger_of, open_table
from loaders.redrive import has_quarantine, waiting_lines
from loaders.sql import server


@dataclass(frozen=True)
class Line:
    """One line of the report; a problem makes the command exit with 1."""

    text: str
    is_problem: bool = False


def status_lines(settings: Settings) -> Iterator[Line]:
    """The report, line by line; an unreadable table is a line, not the end of it."""
    try:
        running = engine.running(settings)
    except UserError as error:
        yield Line(f"engine: {error}", is_problem=True)
    else:
        yield Line(
            f"engine: 127.0.0.1:{running.port}, pid {running.pid}"
            if running
            else "engine: not running; start it with: pos up"
        )
    if serving := server.running(settings):
        yield Line(f"SQL server: 127.0.0.1:{serving.port}, pid {serving.pid}")
    if broker := kafka.running(settings):
        yield Line(f"Kafka broker: 127.0.0.1:{broker.port}, pid {broker.pid}; see pos kafka status")
    yield Line(f"lakehouse: {settings.lakehouse}")
    for schema, name, path in tables_in(settings.lakehouse):
        try:
            table = open_table(path)
            written = datetime.fromtimestamp(table.history(1)[0]["timestamp"] / 1000, UTC)
        except UserError as error:
            yield Line(f"  {schema}.{name}: {error}", is_problem=True)
            continue
        rows = sum(table.get_add_actions(flatten=True)["num_records"].to_pylist())
        yield Line(
            f"  {schema}.{name}: {rows:,} rows, version {table.version()}, "
            f"written {written:%Y-%m-%d %H:%M:%S} UTC"
        )
    if has_quarantine(settings):
        try:
            waiting = waiting_lines(settings).num_rows
        except UserError as error:
            yield Line(f"quarantine: {error}", is_problem=True)
        else:
            yield Line(f"quarantine: {waiting:,} lines not put through again; see pos redrive")
    yield Line("sources:")
    try:
        yield from (Line(f"  {source}") for source in freshness_of(settings))
    except UserError as error:
        yield Line(f"  freshness: {error}", is_problem=True)
    found, ignored = scan(settings.landing)
    yield Line(f"landing: {settings.landing}")
    for feed in FEEDS:
        done = ledger_of(settings, feed)
        unread = [file for file in found[feed] if file.identity not in done]
        loaded = len(found[feed]) - len(unread)
        begun = begun_of(settings, feed)
        size = sum(file.size for file in unread) - (begun[1].end if begun else 0)
        behind = f" ({size / 1e6:,.1f} MB)" if unread else ""
        yield Line(f"  {feed}: {loaded:,} files loaded, {len(unread):,} waiting{behind}")
    for ignored_path in ignored:
        yield Line(f"  {printable(ignored_path)}: not read")
