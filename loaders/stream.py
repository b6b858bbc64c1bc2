"""The load by Structured Streaming: the same bronze rows, written by Spark.

For Databricks, whose Unity Catalog lets nobody but its own engines write its tables. Auto Loader
finds what has landed there, Spark's own file source elsewhere (the tests). A file comes as it is,
its rows are made by the same code as those of `pos load`, and a micro-batch is one commit.

Exactly once: Spark's checkpoint says which files a micro-batch has, also after a kill, and the
commit carries the micro-batch's number, so that Delta leaves out what is in the table already.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa

from loaders.bronze import CONFIGURATION, SCHEMAS
from loaders.errors import UserError
from loaders.landing import COUNTS, FEEDS, ITEMS, MESSAGES, LandedFile, feed_of
from loaders.plan import Plan, rows_of_contents

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.readwriter import DataStreamReader

FILES_OF = {MESSAGES: "*/changes/*.json", COUNTS: "*/counts/*.csv", ITEMS: "reference/items*.csv"}
# A micro-batch is put together in one process. As many bytes as one commit of `pos load`.
BATCH_FILES = 1_000
BATCH_BYTES = "64m"
# On serverless compute a stream takes in what is there and ends; after this it is started again.
PAUSE_SECONDS = 2.0

SQL_TYPES = {pa.int64(): "bigint", pa.int32(): "int", pa.string(): "string"}


@dataclass(frozen=True)
class Places:
    """Where files land, where Spark keeps its checkpoints, and the schema of the bronze tables."""

    landing: str
    checkpoints: Path
    schema: str

    def table(self, feed: str) -> str:
        """Name of a bronze table."""
        return f"{self.schema}.{feed}"


def is_databricks() -> bool:
    """Whether this process runs on Databricks, serverless compute included."""
    return "DATABRICKS_RUNTIME_VERSION" in os.environ


class Stream:
    """Loads one landing folder into one schema; one process at a time for a set of checkpoints."""

    def __init__(self, spark: SparkSession, places: Places) -> None:
        """Create the bronze tables that do not exist yet."""
        self._spark = spark
        self._places = places
        self._latest_us: int | None = None  # the latest landing in bronze
        self._looked_through = dict.fromkeys(FEEDS, 0)  # ingest_id up to which that is known
        for feed in FEEDS:
            spark.sql(create_table_sql(places.table(feed), SCHEMAS[feed]))

    def load(self) -> dict[str, int]:
        """Take in all that has landed; the number of files by feed."""
        self._look_at_landings()
        return {feed: self._load(feed) for feed in FEEDS}

    def _load(self, feed: str) -> int:
        checkpoint = self._places.checkpoints / feed
        append = partial(
            append_files,
            feed=feed,
            table=self._places.table(feed),
            landing=self._places.landing,
            floor_us=self._latest_us,
            application=application_of(checkpoint, feed),
        )
        files = source(self._spark.readStream).load(f"{self._places.landing}/{FILES_OF[feed]}")
        query = (
            files.writeStream.foreachBatch(append)
            .option("checkpointLocation", str(checkpoint))
            .queryName(feed)
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return sum(progress["numInputRows"] for progress in query.recentProgress)

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


def source(reader: DataStreamReader) -> DataStreamReader:
    """A stream of whole files: Auto Loader on Databricks, Spark's own file source elsewhere."""
    if is_databricks():
        return (
            reader.format("cloudFiles")
            .option("cloudFiles.format", "binaryFile")
            .option("cloudFiles.maxFilesPerTrigger", BATCH_FILES)
            .option("cloudFiles.maxBytesPerTrigger", BATCH_BYTES)
            # A file that is put down again is another delivery, as it is for `pos load`.
            .option("cloudFiles.allowOverwrites", "true")
        )
    return (
        reader.format("binaryFile")
        .schema("path string, modificationTime timestamp, length long, content binary")
        .option("maxFilesPerTrigger", BATCH_FILES)
        # Or what is a week older than the newest file is never read.
        .option("maxFileAge", "36500d")
    )


def append_files(
    batch: DataFrame,
    batch_id: int,
    *,
    feed: str,
    table: str,
    landing: str,
    floor_us: int | None,
    application: str,
) -> None:
    """Append the rows of a micro-batch of files to ``table``, under the next commit's number."""
    spark = batch.sparkSession
    columns = "path", "unix_micros(modificationTime) as modified_us", "content"
    landed = []
    for row in batch.selectExpr(*columns).collect():
        path = relative_path(row.path, landing)
        if feed_of(path) == feed:  # a pattern lets in what lies in hidden folders
            file = LandedFile(row.modified_us * 1_000, path, len(row.content))
            landed.append((file, bytes(row.content)))
    landed.sort(key=lambda file_and_data: file_and_data[0])
    last = spark.sql(f"select max(ingest_id) from {table}").collect()[0][0]
    plan = Plan(feed, (last or 0) + 1, datetime.now(UTC), floor_us)
    rows = rows_of_contents(plan, landed)
    (
        spark.createDataFrame(rows)
        .write.format("delta")
        .mode("append")
        .option("txnAppId", application)
        .option("txnVersion", batch_id)
        .saveAsTable(table)
    )


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
