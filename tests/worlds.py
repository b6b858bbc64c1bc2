"""A small month for whole lakehouses: published in parts, built by a resident dbt, compared.

For tests that set engines or lakehouses side by side. dbt runs in a child process
(:class:`ResidentDbt`), because a process has one engine and one dbt at a time; the child stays,
because starting Spark costs more than most builds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from loaders import engine
from loaders.catalog import SCHEMAS, tables_on_disk
from loaders.config import Settings
from loaders.landing import FEEDS, publish
from loaders.load import Loader, LoadReport
from loaders.simulator import Config, Faults, simulate, write_month
from loaders.simulator.config import POS_NAMES
from loaders.warehouse import BuildReport, Warehouse

P = ParamSpec("P")
T = TypeVar("T")

ALL_FAULTS = Faults(
    duplicates=0.05,
    late=0.05,
    out_of_order=0.05,
    malformed=0.03,
    unknown_item=0.02,
    conflicting=0.03,
    late_counts=0.3,
    corrected_counts=0.05,
    late_days=2,
)

BEGINNING = datetime(1970, 1, 1)
OF_THE_RUN = (
    "received_at",
    "landed_at",
    "first_landed_at",
    "published_at",
    "publication",
    "restated_at",
)
CALL_SECONDS = 300.0


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def small_month(
    folder: Path,
    *,
    seed: int = 7,
    days: int = 3,
    items: int = 200,
    lines: int = 2_000,
    faults: Faults = ALL_FAULTS,
) -> Path:
    """Simulate a short month with everything in it that can go wrong, into ``folder``."""
    config = Config(
        seed=seed,
        start=date(2021, 1, 1),
        days=days,
        items=items,
        lines=lines,
        count_every_days=2,
        faults=faults,
    )
    write_month(simulate(config), folder)
    return folder


def part_ends(month: Path, parts: int) -> list[datetime]:
    """The moments that cut what ``month`` sent into ``parts`` of about the same size.

    The last one is that of the last thing sent, so that the parts leave nothing out.
    """
    sent = sorted(
        moment
        for pos in POS_NAMES.values()
        for moment in pq.read_table(month / pos / "changes.parquet")["sent_at"].to_pylist()
    )
    counts = [datetime.fromisoformat(file["sent_at"]) for file in _count_files(month)]
    inner = [sent[len(sent) * number // parts] for number in range(1, parts)]
    return [*inner, max(sent[-1], *counts)]


def publish_part(month: Path, landing: Path, after: datetime, through: datetime) -> None:
    """Publish what ``month`` sent after ``after`` and up to ``through``, as its tills would.

    One file of messages for each system, the counts as they were sent, and with the first part
    (``after`` = :data:`BEGINNING`) the items.
    """
    if after == BEGINNING:
        publish(landing / "reference/items.csv", (month / "reference/items.csv").read_bytes())
    for pos in POS_NAMES.values():
        rows = pq.read_table(month / pos / "changes.parquet").to_pylist()
        bodies = [row["body"] for row in rows if after < row["sent_at"] <= through]
        if bodies:
            path = landing / pos / "changes" / f"{through:%Y%m%dT%H%M%S}.json"
            publish(path, ("\n".join(bodies) + "\n").encode())
    for file in _count_files(month):
        if after < datetime.fromisoformat(file["sent_at"]) <= through:
            publish(landing / file["path"], (month / file["path"]).read_bytes())


def load(settings: Settings) -> LoadReport:
    """Load whatever has landed into bronze."""
    with Loader(settings) as loader:
        return loader.load()


def rows_in(settings: Settings) -> Counter[str]:
    """Rows of bronze by feed; asserts that no line is there twice, and no commit's number left out.

    None of them may be a re-drive, which has its line's place.
    """
    found: Counter[str] = Counter()
    for feed in FEEDS:
        table = open_table(settings, f"bronze.{feed}").to_pyarrow_table()
        found[feed] = table.num_rows
        numbers = sorted(set(table["ingest_id"].to_pylist()))
        assert numbers == list(range(1, len(numbers) + 1)), "a gap in the numbers of the commits"
        places = zip(
            table["source_file"].to_pylist(), table["source_line"].to_pylist(), strict=True
        )
        assert max(Counter(places).values(), default=1) == 1, "a line or message twice"
    return found


def messages_sent(month: Path) -> Counter[str]:
    """Every message that a month sends, as often as it does."""
    lines: Counter[str] = Counter()
    for path in month.glob("*/changes.parquet"):
        lines.update(pq.read_table(path)["body"].to_pylist())
    return lines


def copy_lakehouse(source: Settings, target: Settings) -> None:
    """Copy a lakehouse with its loader's memory, but not its engine's or its dbt's."""
    unwanted = shutil.ignore_patterns("engine.*", "*.lock", "target", "logs", "spark-warehouse")
    shutil.copytree(source.lakehouse, target.lakehouse, ignore=unwanted)


def table_names(settings: Settings, *schemas: str) -> list[str]:
    """``schema.name`` of each table on disk in ``schemas``."""
    found = tables_on_disk(settings.lakehouse)
    return [f"{schema}.{name}" for schema, name, _path in found if schema in schemas]


def open_table(settings: Settings, table: str) -> DeltaTable:
    """``schema.name``, opened by neither engine but by delta-rs."""
    schema, name = table.split(".")
    return DeltaTable(str(settings.table(schema, name)))


def business_columns(table: DeltaTable) -> dict[str, str]:
    """Names and types of the columns that must not depend on batching, time of day or engine.

    Not those are cursors and origins (``_…``), dbt's own (``dbt_…``), times of receipt and landing.
    """
    return {
        field.name: str(field.type)
        for field in table.schema().fields
        if not field.name.startswith(("_", "dbt_")) and field.name not in OF_THE_RUN
    }


def business_rows(table: DeltaTable) -> list[str]:
    """The rows of ``table`` in its business columns as sorted text, ready to be compared."""
    names = sorted(business_columns(table))
    rows: pa.Table = table.to_pyarrow_table(columns=names)
    return sorted(json.dumps(_plain(row), default=str) for row in rows.to_pylist())


def _plain(value: Any) -> Any:
    """``value`` with its lists sorted: collected rows have no order."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return sorted((_plain(member) for member in value), key=str)
    return value


def _count_files(month: Path) -> list[dict[str, str]]:
    files: list[dict[str, str]] = json.loads((month / "counts.json").read_text())
    return files


class ResidentDbt:
    """dbt in a child process that stays: manifests, engine clients and Spark's JVM are kept.

    Serves one lakehouse at a time. Called with another, it lets go of the first: stops its Sail, or
    makes Spark forget its tables (never their files). A context manager.
    """

    def __enter__(self) -> ResidentDbt:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join(30)
        if self._process.is_alive():
            self._process.kill()

    def build(self, settings: Settings, *arguments: str) -> BuildReport:
        """``dbt build`` on a lakehouse, with its engine up; raises if anything failed."""
        report = self.call(settings, invoke, "build", *arguments)
        assert report.succeeded, "\n".join(report.failures)
        return report

    def call(
        self,
        settings: Settings,
        function: Callable[Concatenate[Settings, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Call a module's ``function(settings, …)`` in the child, with the engine up."""
        self._pipe.send((settings, function, arguments, named))
        if not self._pipe.poll(CALL_SECONDS):
            self._process.kill()
            raise TimeoutError(f"{function.__name__} took more than {CALL_SECONDS:.0f} s")
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process of dbt died in {function.__name__}") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]


_warehouses: dict[Settings, Warehouse] = {}


def invoke(settings: Settings, *arguments: str) -> BuildReport:
    """Run one dbt command in this process; a failed node is in the report, no exception."""
    if settings not in _warehouses:
        _warehouses[settings] = Warehouse(settings)
    return _warehouses[settings].invoke(*arguments)


def forget_tables(settings: Settings) -> None:
    """Empty the catalogue of this process's Spark; the files stay."""
    from loaders import spark

    session = spark.session(settings)
    for schema in SCHEMAS:
        session.sql(f"drop schema if exists {schema} cascade")


def _serve(pipe: Connection) -> None:
    """The child: answer calls until told to stop."""
    attached: Settings | None = None
    while (call := pipe.recv()) is not None:
        settings, function, arguments, named = call
        try:
            if attached != settings:
                if attached is not None:
                    _detach(attached)
                os.environ.update(settings.environment())
                attached = settings
                if settings.target == "local":
                    engine.up(settings)
            pipe.send(function(settings, *arguments, **named))
        except BaseException as error:
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
    if attached is not None and attached.target == "local":
        engine.down(attached)


def _detach(settings: Settings) -> None:
    if settings.target == "local":
        engine.down(settings)
    else:
        forget_tables(settings)
