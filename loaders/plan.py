"""One commit to a bronze table, and the rows that it is to hold.

A plan is written down before its commit is made, and says all that the rows depend on, so that
whoever finishes it after a kill writes the same rows. It names landed files, or rows of bronze that
are to be put through again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from loaders.bronze import SCHEMAS, rows_of
from loaders.errors import UserError
from loaders.landing import LandedFile, printable
from loaders.parts import BEGINNING, Part

if TYPE_CHECKING:
    from deltalake import DeltaTable

Thing = TypeVar("Thing")
Numbers: TypeAlias = pa.ChunkedArray | pc.Expression

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Of a scan that keeps few of the rows it reads: what is in memory is bounded by these rows.
SCAN = {"batch_size": 1_024, "batch_readahead": 1, "fragment_readahead": 1}

# A commit holds fewer rows than this, so that commit and row fit into one number.
ROWS_PER_COMMIT = 2**31


@dataclass(frozen=True)
class Plan:
    """One commit to one bronze table, written down before it is made."""

    feed: str
    ingest_id: int
    received_at: datetime
    floor_us: int | None  # the latest landing that earlier calls of the load have loaded
    files: tuple[LandedFile, ...] = ()
    part: Part | None = None  # of the one file, where it is too large for one commit
    places: tuple[int, ...] = ()  # of the bronze rows that are put through again, see `place_of`

    def landed_us(self, modified_us: int) -> int:
        """When something of that time landed: after all that earlier calls have loaded."""
        return modified_us if self.floor_us is None else max(modified_us, self.floor_us + 1)

    def to_json(self) -> bytes:
        """The plan as its file's bytes."""
        document = {
            "feed": self.feed,
            "ingest_id": self.ingest_id,
            "received_at": self.received_at.isoformat(),
            "floor_us": self.floor_us,
            "files": [asdict(file) for file in self.files],
            "part": None if self.part is None else asdict(self.part),
            "places": self.places,
        }
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """The plan that :meth:`to_json` wrote."""
        document = json.loads(data)
        return cls(
            document["feed"],
            document["ingest_id"],
            datetime.fromisoformat(document["received_at"]),
            document["floor_us"],
            tuple(LandedFile(**file) for file in document["files"]),
            None if document.get("part") is None else Part(**document["part"]),
            tuple(document["places"]),
        )


def batches(
    sized: Iterable[tuple[Thing, int]], most_bytes: int, most: int
) -> Iterator[list[Thing]]:
    """Things with their sizes, in order, in batches of at most so many and, but for a single
    thing, so many bytes."""
    batch: list[Thing] = []
    total = 0
    for thing, size in sized:
        if batch and (total + size > most_bytes or len(batch) == most):
            yield batch
            batch, total = [], 0
        batch.append(thing)
        total += size
    if batch:
        yield batch


def place_of(ingest_id: Numbers, ingest_line: Numbers) -> Numbers:
    """Commit and row as one number, which orders as the two do; of columns or of expressions."""
    return pc.add(pc.multiply(ingest_id, pa.scalar(ROWS_PER_COMMIT)), ingest_line)


def is_at(places: Iterable[int]) -> pc.Expression:
    """True for the bronze rows at these places; by the commits whole files are passed over."""
    listed = pa.array(places, pa.int64())
    commits = pc.unique(pc.divide(listed, pa.scalar(ROWS_PER_COMMIT)))
    place = place_of(pc.field("ingest_id"), pc.field("ingest_line"))
    return pc.field("ingest_id").isin(commits) & place.isin(listed)


class ReplacedError(Exception):
    """A file of which a part was planned is another one now, and what it was cannot be read."""


def rows_of_files(plan: Plan, landing: Path) -> tuple[pa.Table, list[LandedFile]]:
    """The rows of the planned files, and the files as they were when they were read.

    :class:`ReplacedError` where a part was planned of a file that is no longer there as it was.
    """
    if plan.part is not None:
        (file,) = plan.files
        data, _ = read_part(landing, file, plan.part.start, plan.part.end - plan.part.start)
        return rows_of_contents(plan, [(file, data)]), [file]
    read: list[LandedFile] = []
    return rows_of_contents(plan, _contents(plan, landing, read)), read


def read_part(landing: Path, file: LandedFile, start: int, size: int) -> tuple[bytes, bool]:
    """At most so many bytes of a file, and whether it ends there; :class:`ReplacedError`."""
    with _opened(landing / file.path) as handle:
        if _as_it_is(handle, file.path).identity != file.identity:
            raise ReplacedError(file.path)
        handle.seek(start)
        data = handle.read(size)
        return data, start + len(data) >= file.size


def _contents(
    plan: Plan, landing: Path, read: list[LandedFile]
) -> Iterator[tuple[LandedFile, bytes]]:
    for file in plan.files:
        with _opened(landing / file.path) as handle:
            read.append(_as_it_is(handle, file.path))
            data = handle.read()
        yield file, data


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as handle:
            yield handle
    except OSError as error:
        raise UserError(
            f"{printable(str(path))} landed but cannot be read ({error.strerror}); put it "
            f"back or make it readable, then start again: its batch waits"
        ) from error


def _as_it_is(handle: BinaryIO, path: str) -> LandedFile:
    status = os.fstat(handle.fileno())
    return LandedFile(status.st_mtime_ns, path, status.st_size)


def rows_of_contents(plan: Plan, contents: Iterable[tuple[LandedFile, bytes]]) -> pa.Table:
    """The rows of files that come with their bytes, in order of arrival."""
    tables = []
    first_line = 1
    for file, data in contents:
        columns = rows_of(plan.feed, data, plan.part or BEGINNING)
        columns["source_file"] = [printable(file.path)] * len(columns["source_line"])
        landed_us = plan.landed_us(file.modified_ns // 1_000)
        landed = [landed_us] * len(columns["source_line"])
        tables.append(received(plan, columns, first_line, landed))
        first_line += tables[-1].num_rows
    return pa.concat_tables(tables) if tables else SCHEMAS[plan.feed].empty_table()


def rows_again(plan: Plan, table: DeltaTable) -> pa.Table:
    """The rows at the planned places, in their order, as received once more when planned."""
    dataset = table.to_pyarrow_dataset()
    rows = dataset.to_table(filter=is_at(plan.places), **SCAN).sort_by(
        [("ingest_id", "ascending"), ("ingest_line", "ascending")]
    )
    columns = {name: rows[name] for name in rows.column_names}
    columns["redrive_of_ingest_id"] = rows["ingest_id"]
    columns["redrive_of_ingest_line"] = rows["ingest_line"]
    received_us = (plan.received_at - EPOCH) // timedelta(microseconds=1)
    return received(plan, columns, 1, [plan.landed_us(received_us)] * rows.num_rows)


def received(
    plan: Plan, columns: Mapping[str, Any], first_line: int, landed_us: Sequence[int]
) -> pa.Table:
    """``columns`` as rows of the plan's commit; of the others, all are null but its receipt.

    ``landed_us`` has when each row landed, in microseconds since 1970.
    """
    schema = SCHEMAS[plan.feed]
    count = len(columns["source_line"])
    receipt = {
        "ingest_id": pa.repeat(plan.ingest_id, count),
        # The order of arrival within the commit: who came first must not hang on file names.
        "ingest_line": list(range(first_line, first_line + count)),
        "received_at": pa.repeat(
            pa.scalar(plan.received_at, schema.field("received_at").type), count
        ),
        "landed_at": landed_us,
    }
    known = {**dict.fromkeys(schema.names, [None] * count), **columns, **receipt}
    return pa.table({name: known[name] for name in schema.names}, schema=schema)
