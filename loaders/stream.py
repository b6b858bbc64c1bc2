"""The load by Structured Streaming: the same bronze rows, read and written by Spark.

For Databricks, whose Unity Catalog lets nobody but its own engines write its tables, and for a
Spark cluster. It reads landing files (by Auto Loader on Databricks, by Spark's own file source
elsewhere) or Kafka (`loaders/kafka/streaming.py`). A micro-batch comes as it is, its rows are made
by the same code as those of `pos load`, and it is one commit.

Exactly once: Spark's checkpoint says which files or offsets a micro-batch has, also after a kill,
and the commit carries the micro-batch's number, so that Delta leaves out what is in the table.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import pyarrow as pa

from loaders.bronze import CONFIGURATION, SCHEMAS
from loaders.errors import UserError, first_line
from loaders.failpoints import reach
from loaders.landing import COUNTS, FEEDS, ITEMS, MESSAGES, LandedFile, feed_of
from loaders.plan import Plan, rows_of_contents

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery
    from pyspark.sql.streaming.readwriter import DataStreamReader

FILES_OF = {MESSAGES: "*/changes/*.json", COUNTS: "*/counts/*.csv", ITEMS: "reference/items*.csv"}
# A micro-batch is put together in one process. As many bytes as one commit of `pos load`.
BATCH_FILES = 1_000
BATCH_BYTES = "64m"
# On serverless compute a stream takes in what is there and ends; after this it is started again.
PAUSE_SECONDS = 2.0
# By which names Spark and its connector report messages that are gone.
LOSS = ("KAFKA_DATA_LOSS", "may have been lost", "Partitions have been deleted")
LOOK_SECONDS = 0.2  # between two looks whether a continuous stream still runs

SQL_TYPES = {pa.int64(): "bigint", pa.int32(): "int", pa.string(): "string"}


class Input(Protocol):
    """Where a stream reads from. It is sent to where micro-batches are put together."""

    def read(self, spark: SparkSession, feed: str) -> DataFrame:
        """A stream of what arrives for one bronze table, at most so much in one micro-batch."""

    def rows(self, plan: Plan, batch: DataFrame) -> pa.Table:
        """The bronze rows of one micro-batch, in order of arrival, under the plan's number."""


@dataclass(frozen=True)
class LandingFolder:
    """Files that land in a folder, as an input."""

    folder: str
    batch_files: int = BATCH_FILES

    def read(self, spark: SparkSession, feed: str) -> DataFrame:
        """A stream of whole files."""
        options = source(spark.readStream, self.batch_files)
        return options.load(f"{self.folder}/{FILES_OF[feed]}")

    def rows(self, plan: Plan, batch: DataFrame) -> pa.Table:
        """The rows of a micro-batch of files."""
        columns = "path", "unix_micros(modificationTime) as modified_us", "content"
        landed = []
        for row in batch.selectExpr(*columns).collect():
            path = relative_path(row.path, self.folder)
            if feed_of(path) == plan.feed:  # a pattern lets in what lies in hidden folders
                file = LandedFile(row.modified_us * 1_000, path, len(row.content))
                landed.append((file, bytes(row.content)))
        landed.sort(key=lambda file_and_data: file_and_data[0])
        return rows_of_contents(plan, landed)


@dataclass(frozen=True)
class Places:
    """Where Spark keeps its checkpoints, and the schema of the bronze tables.

    A set of checkpoints belongs to one input: another one is to have others.
    """

    checkpoints: Path
    schema: str

    def table(self, feed: str) -> str:
        """Name of a bronze table."""
        return f"{self.schema}.{feed}"


def is_databricks() -> bool:
    """Whether this process runs on Databricks, serverless compute included."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


class Stream:
    """Loads one input into one schema; one process at a time for a set of checkpoints."""

    def __init__(self, spark: SparkSession, places: Places, of: Input) -> None:
        """Create the bronze tables that do not exist yet."""
        self._spark = spark
        self._places = places
        self._input = of
        self._latest_us: int | None = None  # the latest landing in bronze
        self._looked_through = dict.fromkeys(FEEDS, 0)  # ingest_id up to which that is known
        self._turn = threading.Lock()
        for feed in FEEDS:
            spark.sql(create_table_sql(places.table(feed), SCHEMAS[feed]))

    def load(self) -> dict[str, int]:
        """Take in all that is there; the number of files or messages by feed.

        :class:`UserError` for what Spark cannot read or write, in its words.
        """
        self._look_at_landings()
        taken = {}
        for feed in FEEDS:
            append = partial(
                append_batch,
                feed=feed,
                table=self._places.table(feed),
                of=self._input,
                floor_us=self._latest_us,
                application=application_of(self._checkpoint(feed), feed),
            )
            query = self._start(feed, append, availableNow=True)
            with _sentences():
                query.awaitTermination()
            taken[feed] = sum(progress["numInputRows"] for progress in query.recentProgress)
        return taken

    def run(
        self,
        seconds: float,
        should_stop: Callable[[], bool],
        on_progress: Callable[[str, int], None] = lambda _feed, _number: None,
    ) -> None:
        """Take in what comes, a micro-batch of a feed every so many ``seconds``, until told to
        stop. ``on_progress`` gets how many files or messages of a feed a micro-batch has taken in.

        :class:`UserError` as soon as one of the feeds cannot go on; the others end with it.
        """
        queries = {
            feed: self._start(feed, self._one_by_one(feed), processingTime=f"{seconds} seconds")
            for feed in FEEDS
        }
        told = dict.fromkeys(FEEDS, -1)
        try:
            while not should_stop():
                time.sleep(LOOK_SECONDS)
                for feed, query in queries.items():
                    if not query.isActive:
                        with _sentences():
                            query.awaitTermination()
                        raise UserError(f"the stream of {feed} was stopped by somebody else")
                    for progress in query.recentProgress:
                        if progress["batchId"] > told[feed] and progress["numInputRows"]:
                            told[feed] = progress["batchId"]
                            on_progress(feed, progress["numInputRows"])
        finally:
            for query in queries.values():
                query.stop()

    def _checkpoint(self, feed: str) -> Path:
        return self._places.checkpoints / feed

    def _start(
        self, feed: str, append: Callable[[DataFrame, int], None], **trigger: object
    ) -> StreamingQuery:
        stream = self._input.read(self._spark, feed).writeStream.foreachBatch(append)
        stream = stream.option("checkpointLocation", str(self._checkpoint(feed))).queryName(feed)
        with _sentences():
            return stream.trigger(**trigger).start()  # type: ignore[call-overload, no-any-return]

    def _one_by_one(self, feed: str) -> Callable[[DataFrame, int], None]:
        """What appends a micro-batch of feeds that run side by side: after all that is there."""
        application = application_of(self._checkpoint(feed), feed)

        def append(batch: DataFrame, batch_id: int) -> None:
            with self._turn:
                self._look_at_landings()
                append_batch(
                    batch,
                    batch_id,
                    feed=feed,
                    table=self._places.table(feed),
                    of=self._input,
                    floor_us=self._latest_us,
                    application=application,
                )

        return append

    def _look_at_landings(self) -> None:
        """Feeds are compared by landings: what comes now has landed after all that is there."""
        for feed in FEEDS:
            latest_us, last = self._spark.sql(
                "select unix_micros(max(landed_at)), max(ingest_id) "
                f"from {self._places.table(feed)} where ingest_id > {self._looked_through[feed]}"
            ).collect()[0]
            if last is not None:
                self._looked_through[feed] = last
                self._latest_us = max(latest_us, self._latest_us or 0)


@contextmanager
def _sentences() -> Iterator[None]:
    """Spark's refusals as a sentence each; what is lost is said with what to do about it."""
    from pyspark.errors import StreamingQueryException

    try:
        yield
    except StreamingQueryException as error:
        raise UserError(refusal_of(str(error))) from error


def refusal_of(said: str) -> str:
    """What to tell of a stream that Spark has ended, by what Spark says.

    >>> refusal_of("[STREAM_FAILED] Query [id = 1] terminated with exception: No disk SQLSTATE: X")
    'the stream ended: No disk SQLSTATE: X'
    """
    text = first_line(Exception(said.partition("terminated with exception: ")[2] or said))
    if any(sign in said for sign in LOSS):
        return (
            f"messages are lost: {text[:300]}. Put them back, or go on without them with: "
            f"--accept-loss"
        )
    return f"the stream ended: {text[:400]}"


def source(reader: DataStreamReader, batch_files: int = BATCH_FILES) -> DataStreamReader:
    """A stream of whole files: Auto Loader on Databricks, Spark's own file source elsewhere."""
    if is_databricks():
        return (
            reader.format("cloudFiles")
            .option("cloudFiles.format", "binaryFile")
            .option("cloudFiles.maxFilesPerTrigger", batch_files)
            .option("cloudFiles.maxBytesPerTrigger", BATCH_BYTES)
            # A file that is put down again is another delivery, as it is for `pos load`.
            .option("cloudFiles.allowOverwrites", "true")
        )
    return (
        reader.format("binaryFile")
        .schema("path string, modificationTime timestamp, length long, content binary")
        # Spark's own takes one of the two bounds. By bytes, 100,000 small files would be one batch.
        .option("maxFilesPerTrigger", batch_files)
        # Or what is a week older than the newest file is never read.
        .option("maxFileAge", "36500d")
    )


def append_batch(
    batch: DataFrame,
    batch_id: int,
    *,
    feed: str,
    table: str,
    of: Input,
    floor_us: int | None,
    application: str,
) -> None:
    """Append the rows of a micro-batch to ``table``, under the next commit's number."""
    spark = batch.sparkSession
    last = spark.sql(f"select max(ingest_id) from {table}").collect()[0][0]
    plan = Plan(feed, (last or 0) + 1, datetime.now(UTC), floor_us)
    rows = of.rows(plan, batch)
    if not rows.num_rows:  # offsets of transactions' marks only, or hidden files
        return
    reach("stream.before_commit")
    (
        spark.createDataFrame(rows)
        .write.format("delta")
        .mode("append")
        .option("txnAppId", application)
        .option("txnVersion", batch_id)
        .saveAsTable(table)
    )
    reach("stream.after_commit")


def relative_path(path: str, landing: str) -> str:
    """A file's path below the landing folder, from Spark's name of it.

    >>> relative_path("dbfs:/Volumes/pos/landing/a/changes/1.json", "/Volumes/pos/landing")
    'a/changes/1.json'
    """
    _, found, below = path.partition(f"{landing.rstrip('/')}/")
    if not found:
        raise UserError(f"{path} does not lie in the landing folder {landing}")
    return below


def application_of(checkpoint: Path, feed: str) -> str:
    """The name under which Delta remembers the micro-batches of one checkpoint.

    A new checkpoint counts its micro-batches from 0. Under the old one's name Delta would leave
    them out as known, and lose what is in them; so the name lies in the checkpoint and goes with
    it.
    """
    path = checkpoint / "application"
    if not path.exists():
        checkpoint.mkdir(parents=True, exist_ok=True)
        path.write_text(f"pos-stream/{feed}/{uuid4()}")
    return path.read_text()


def create_table_sql(table: str, schema: pa.Schema) -> str:
    """The statement that creates a bronze table where there is none.

    >>> create_table_sql("bronze.t", pa.schema([pa.field("a", pa.int64(), nullable=False)]))[:61]
    'create table if not exists bronze.t (a bigint not null) using'
    """
    columns = ", ".join(
        f"{field.name} {SQL_TYPES.get(field.type, 'timestamp')}"
        f"{'' if field.nullable else ' not null'}"
        for field in schema
    )
    properties = ", ".join(f"'{name}' = '{value}'" for name, value in CONFIGURATION.items())
    return (
        f"create table if not exists {table} ({columns}) using delta "
        f"cluster by (ingest_id) tblproperties ({properties})"
    )
