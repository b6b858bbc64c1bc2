"""``pos stream``: a stream of `loaders/stream.py` on this machine's Spark, or on Databricks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loaders import writers
from loaders.config import Settings
from loaders.kafka.address import bootstrap_of
from loaders.kafka.streaming import KafkaTopics, class_path
from loaders.landing import MESSAGES
from loaders.stream import BATCH_FILES, PAUSE_SECONDS, Input, LandingFolder, Places, Stream

UPKEEP_PATIENCE = 60.0  # seconds: the upkeep of a bronze table is waited for


def input_of(landing: str, kafka: str | None, batch: int | None, *, accept_loss: bool) -> Input:
    """What is read: the topics of a cluster, or a landing folder; at most ``batch`` at a time.

    :class:`loaders.errors.UserError` for an address that is none.
    """
    if kafka is None:
        return LandingFolder(landing, batch or BATCH_FILES)
    bootstrap_of(kafka)
    return KafkaTopics(kafka, accept_loss, {MESSAGES: batch} if batch else None)


def checkpoints_of(settings: Settings, of: Input) -> Path:
    """Where the checkpoints of one input lie, if nothing else is said. Offsets of one cluster mean
    nothing to another, so each has its own."""
    name = "landing"
    if isinstance(of, KafkaTopics):
        name = "kafka-" + re.sub(r"[^A-Za-z0-9.-]", "_", bootstrap_of(of.address))
    return settings.state / "stream" / name


@contextmanager
def opened(settings: Settings, of: Input, checkpoints: Path | None = None) -> Iterator[Stream]:
    """A stream into the lakehouse's bronze, on the Spark of the profile's target ``spark``.

    It holds the loader's lock, as whoever writes bronze does: one numbers the commits.
    :class:`loaders.errors.UserError` where another process has it, and without Java.
    """
    from loaders import catalog, spark
    from loaders.load import Loader

    more = class_path(settings.project) if isinstance(of, KafkaTopics) else {}
    with Loader(settings), writers.streaming(settings, UPKEEP_PATIENCE):
        session = spark.session(settings, more)
        catalog.register(session, settings.lakehouse)
        places = Places(checkpoints or checkpoints_of(settings, of), "bronze")
        yield Stream(session, places, of)


def on_databricks(
    of: Input, checkpoints: Path, schema: str, *, once: bool, say: Callable[[str], None]
) -> None:
    """Take in what is there, again and again: until the job is cancelled, which kills it. Nothing
    is lost or doubled by that."""
    from pyspark.sql import SparkSession

    loading = Stream(SparkSession.builder.getOrCreate(), Places(checkpoints, schema), of)
    while True:
        for feed, number in loading.load().items():
            if number:
                say(f"{feed}: {number:,} files or messages")
        if once:
            return
        time.sleep(PAUSE_SECONDS)
