"""The re-drive: after a fix, what lies in quarantine is put through again.

A quarantined row of bronze is appended to its table once more, as received now, and names the row
that it repeats. The next build judges it like any other: it ends in silver, or back in quarantine
with its reason. Nothing is changed or taken away, and nothing is put through twice: a row that
another one names has had its turn. A message goes through whole; of its lines, silver drops those
that it has already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from loaders.bronze import SCHEMAS
from loaders.config import Settings
from loaders.errors import UserError
from loaders.failpoints import reach
from loaders.landing import FEEDS
from loaders.load import BATCH_BYTES, Loader, open_table, refuse_older_bronze
from loaders.places import Place
from loaders.plan import SCAN, batches, is_at, place_of

# Bounds the plan of a commit, which names its rows one by one.
BATCH_ROWS = 100_000


@dataclass(frozen=True)
class Count:
    """How many quarantined lines of one source have one kind of reason."""

    source: str
    reason: str
    lines: int


@dataclass(frozen=True)
class Report:
    """What a re-drive put through, and what it left."""

    put: tuple[Count, ...]
    left: tuple[Count, ...]
    rows: int  # of bronze that were appended for the lines put through
    gone: int  # rows that bronze holds no more
    finished: int  # rows that an interrupted re-drive had planned, put through before


def redrive(
    settings: Settings,
    source: str | None = None,
    reason: str | None = None,
    *,
    dry_run: bool = False,
    batch_bytes: int = BATCH_BYTES,
) -> Report:
    """Put through again what is in quarantine, of one ``source`` or ``reason`` if given.

    In commits of at most about ``batch_bytes``; safe to be killed and started again at any point.
    """
    if not has_quarantine(settings):
        raise UserError(
            f"there is no quarantine in {settings.lakehouse} yet; load and build first: "
            f"pos run --once"
        )
    if dry_run:
        return _redrive(settings, None, source, reason, batch_bytes)
    with Loader(settings) as loader:
        return _redrive(settings, loader, source, reason, batch_bytes)


def waiting_lines(settings: Settings) -> pa.Table:
    """The quarantined lines not yet put through again: source, kind of reason, place in bronze."""
    refuse_older_bronze(settings)
    table = open_table(_quarantine(settings)).to_pyarrow_dataset()
    read = table.to_table(columns=["source", "reason", "_ingest_id", "_ingest_line"])
    lines = pa.table(
        {
            "source": read["source"],
            "reason": kind_of(read["reason"]),
            "place": place_of(read["_ingest_id"], read["_ingest_line"]),
        }
    )
    bronze = {feed: open_table(settings.table("bronze", feed)) for feed in FEEDS}
    put_through = {feed: _put_through(table) for feed, table in bronze.items()}
    return lines.filter(pc.invert(are_at(lines, put_through)))


def has_quarantine(settings: Settings) -> bool:
    """True once a build has made the table of what was rejected."""
    return DeltaTable.is_deltatable(str(_quarantine(settings)))


# What to put through; of no table on disk.


def kind_of(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    """Reasons without what is said of the single row: ``unreadable_row``, for instance."""
    return pc.replace_substring_regex(reasons, pattern=r"(?s): .*", replacement="")


def are_at(lines: pa.Table, places: Mapping[str, pa.Array]) -> pa.ChunkedArray:
    """For each line, whether it is of one of the rows at ``places``, given by source."""
    found = pa.chunked_array([pa.repeat(pa.scalar(False), lines.num_rows)])
    for feed, of_feed in places.items():
        is_of_feed = pc.equal(lines["source"], feed)
        found = pc.or_(found, pc.and_(is_of_feed, pc.is_in(lines["place"], of_feed)))
    return found


def chosen(lines: pa.Table, source: str | None, reason: str | None) -> dict[str, pa.Array]:
    """By source, the places of the rows that have a line of this source and kind of reason."""
    if reason is not None:
        lines = lines.filter(pc.equal(lines["reason"], reason))
    return {
        feed: pc.unique(lines.filter(pc.equal(lines["source"], feed))["place"])
        for feed in (FEEDS if source is None else (source,))
    }


def counts(lines: pa.Table) -> tuple[Count, ...]:
    """How many lines there are, by source and kind of reason."""
    grouped = lines.group_by(["source", "reason"]).aggregate([([], "count_all")])
    found = [Count(row["source"], row["reason"], row["count_all"]) for row in grouped.to_pylist()]
    return tuple(sorted(found, key=lambda count: (count.source, count.reason)))


# The shell around it.


def _redrive(
    settings: Settings,
    loader: Loader | None,
    source: str | None,
    reason: str | None,
    batch_bytes: int,
) -> Report:
    """As :func:`redrive`; without a loader nothing is written."""
    lines = waiting_lines(settings)
    found: dict[str, pa.Array] = {}
    rows = gone = 0
    for feed, places in chosen(lines, source, reason).items():
        sizes = _sizes(open_table(settings.table("bronze", feed)), feed, places) if places else {}
        for batch in batches(sorted(sizes.items()), batch_bytes, BATCH_ROWS):
            if loader is not None:
                reach("redrive.before_commit")
                loader.load_again(feed, batch)
                reach("redrive.after_commit")
        found[feed] = pa.array(sizes, pa.int64())
        rows += len(sizes)
        gone += len(places) - len(sizes)
    is_put = are_at(lines, found)
    finished = 0 if loader is None else sum(len(plan.places) for plan in loader.finished)
    return Report(
        counts(lines.filter(is_put)), counts(lines.filter(pc.invert(is_put))), rows, gone, finished
    )


def _put_through(table: DeltaTable) -> pa.ChunkedArray:
    """The places that later rows of the table name; files without such rows are passed over."""
    rows = table.to_pyarrow_dataset().to_table(
        columns=["redrive_of_ingest_id", "redrive_of_ingest_line"],
        filter=pc.field("redrive_of_ingest_id").is_valid(),
    )
    return place_of(rows["redrive_of_ingest_id"], rows["redrive_of_ingest_line"])


def _sizes(table: DeltaTable, feed: str, places: pa.Array) -> dict[int, int]:
    """Bytes of text in each of the rows, by place; without those that are not there."""
    size = pc.scalar(0)
    for field in SCHEMAS[feed]:
        if pa.types.is_string(field.type):
            length = pc.binary_length(pc.field(field.name))
            size = pc.add(size, pc.coalesce(length, pc.scalar(0)))
    place = place_of(pc.field("ingest_id"), pc.field("ingest_line"))
    rows = table.to_pyarrow_dataset().to_table(
        columns={"place": place, "size": size}, filter=is_at(places), **SCAN
    )
    return dict(zip(rows["place"].to_pylist(), rows["size"].to_pylist(), strict=True))


def _quarantine(settings: Settings) -> Place:
    return settings.table("silver", "stg_pos__quarantine")
