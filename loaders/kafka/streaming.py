"""Kafka as a source of Structured Streaming (`loaders/stream.py`): Spark reads, we make the rows.

Needs no client library, only Spark's own connector: four jars, pinned by hash, beside Delta's.
Offsets are in Spark's checkpoint; which micro-batches are in bronze, Delta knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from loaders.jars import JARS, Jar, fetch, jars_folder
from loaders.kafka.address import bootstrap_of, pattern_of
from loaders.kafka.rows import Message, rows_of_messages
from loaders.landing import COUNTS, ITEMS, MESSAGES
from loaders.plan import Plan

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# For pyspark 4.2: Spark's connector and what it needs that is not in the wheel.
CONNECTOR_JARS = (
    Jar(
        "org.apache.spark",
        "spark-sql-kafka-0-10_2.13",
        "4.2.0",
        # pragma: allowlist nextline secret
        "64539c45e5d39f7ddb747312c239f38f5208d08c1a0ddf7d70beb2fbd9373705",
    ),
    Jar(
        "org.apache.spark",
        "spark-token-provider-kafka-0-10_2.13",
        "4.2.0",
        # pragma: allowlist nextline secret
        "641c7947afc8aa1189e433b7c2d305293993c8691bc1c2062d6d4f513b12518c",
    ),
    Jar(
        "org.apache.kafka",
        "kafka-clients",
        "3.9.2",
        # pragma: allowlist nextline secret
        "014b4ef36884478a932641818b080c36a8f8e2e92dc771e800c9d2694f4f83d8",
    ),
    Jar(
        "org.apache.commons",
        "commons-pool2",
        "2.13.1",
        # pragma: allowlist nextline secret
        "f77a5060d6936a9144023584232f9de3f2248f1abfe156e9d31795f18770674f",
    ),
)
FOLDER = "spark-kafka"  # among the jars; the broker has another kafka-clients
# How many offsets a micro-batch has at most, which bounds what one process holds: a message of a
# till is 300 bytes as a rule and 256 KB at most, a count or a list up to 32 MB.
BATCH_OFFSETS = {MESSAGES: 50_000, COUNTS: 4, ITEMS: 4}
# What a broker that is down is waited for, in ms: Kafka's own times are a minute and more.
REQUEST_MILLISECONDS = 20_000
LOG_APPEND_TIME = 1  # a timestampType


@dataclass(frozen=True)
class KafkaTopics:
    """The feeds of one cluster, as an input of a stream.

    ``accept_loss`` goes on where messages are gone unread. ``batch_offsets`` is the back-pressure:
    what is more waits for the next micro-batch.
    """

    address: str
    accept_loss: bool = False
    batch_offsets: Mapping[str, int] | None = None

    def read(self, spark: SparkSession, feed: str) -> DataFrame:
        """A stream of one feed's messages, committed transactions only."""
        limits = {**BATCH_OFFSETS, **(self.batch_offsets or {})}
        return (
            spark.readStream.format("kafka")
            .option("kafka.bootstrap.servers", bootstrap_of(self.address))
            .option("subscribePattern", pattern_of(feed))
            .option("startingOffsets", "earliest")
            .option("failOnDataLoss", str(not self.accept_loss).lower())
            .option("maxOffsetsPerTrigger", limits[feed])
            .option("kafka.isolation.level", "read_committed")
            .option("kafka.request.timeout.ms", REQUEST_MILLISECONDS)
            .option("kafka.default.api.timeout.ms", REQUEST_MILLISECONDS)
            .load()
        )

    def rows(self, plan: Plan, batch: DataFrame) -> pa.Table:
        """The bronze rows of a micro-batch, made by the code of `pos load --from kafka://…`."""
        return rows_of_messages(plan, messages_of(batch))


def messages_of(batch: DataFrame) -> list[Message]:
    """The messages of a micro-batch of Spark's, with their times in microseconds since 1970."""
    columns = ["topic", "partition", "offset", "unix_micros(timestamp) as at", "timestampType"]
    read = batch.selectExpr(*columns, "value").toArrow().to_pydict()
    names = ("topic", "partition", "offset", "at", "timestampType", "value")
    return [
        Message(topic, partition, offset, at if kind == LOG_APPEND_TIME else None, value)
        for topic, partition, offset, at, kind, value in zip(
            *(read[name] for name in names), strict=True
        )
    ]


def class_path(project: Path) -> dict[str, str]:
    """Settings of a session that can read Kafka; fetches the jars where they are missing.

    :class:`loaders.errors.UserError` where they cannot be fetched.
    """
    folder = jars_folder(project)
    fetch(folder, JARS)
    fetch(folder / FOLDER, CONNECTOR_JARS, of="Spark", again="pos stream")
    path = f"{folder}/*:{folder / FOLDER}/*"
    return {"spark.driver.extraClassPath": path, "spark.executor.extraClassPath": path}
