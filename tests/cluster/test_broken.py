"""Broker, playback, load and stream killed at any moment: each message is in bronze once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from deltalake import DeltaTable

import loaders.playback
from loaders.config import Settings
from loaders.errors import UserError
from loaders.kafka import broker
from loaders.kafka.load import KafkaLoader
from loaders.kafka.sink import KafkaSink
from loaders.landing import MESSAGES
from loaders.playback import Month, Progress, play
from tests.cluster.conftest import (
    PATIENCE_SECONDS,
    PROJECT,
    QUICK_JAVA,
    Cluster,
    assert_all_once,
    bronze,
    command,
    pos,
)
from tests.cluster.loading import SMALL_BATCH
from tests.faults.figures import Figures
from tests.worlds import messages_sent

pytestmark = pytest.mark.cluster

COMMAND = "make test-cluster"
SEED = int(os.environ.get("POS_TEST_SEED", "8"))
KILLS = int(os.environ.get("POS_TEST_KILLS", "50"))
STREAM_KILLS = 4  # each with a JVM to start


def messages_in(settings: Settings) -> int:
    path = str(settings.table("bronze", MESSAGES))
    return len(bronze(settings, MESSAGES)) if DeltaTable.is_deltatable(path) else 0


@pytest.fixture
def played(cluster: Cluster, month: Month) -> Month:
    """The month, all of it in the broker."""
    play(month, KafkaSink(cluster.address), speed=None)
    return month


def test_the_loader_killed_at_random_moments(
    cluster: Cluster, played: Month, tmp_path: Path, figures: Figures
) -> None:
    """Each time all is loaded, another lakehouse begins, so that kills fall into a load."""
    chance = random.Random(SEED)
    settings = cluster.places(tmp_path / "1" / "lakehouse")
    killed = ended = 0
    longest = 6.0  # until it is known how long a whole load takes here
    while killed < KILLS:
        places = [str(settings.landing), str(settings.lakehouse), cluster.address]
        with subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.loading", *places],
            stdout=subprocess.PIPE,
            cwd=PROJECT,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"loading\n"
            started = time.monotonic()
            try:
                child.wait(chance.uniform(0, longest))
            except subprocess.TimeoutExpired:
                child.kill()
        if child.returncode != 0:
            assert child.returncode == -signal.SIGKILL
            killed += 1
            continue
        assert_all_once(settings, played)
        ended += 1
        longest = max(time.monotonic() - started, 0.1)
        settings = cluster.places(tmp_path / str(ended + 1) / "lakehouse")
    with KafkaLoader(settings, cluster.address) as loader:
        loader.load(batch_bytes=SMALL_BATCH)
    assert_all_once(settings, played)
    commits = max(row["ingest_id"] for row in bronze(settings, MESSAGES))
    figures.add("`pos load` from Kafka killed at random moments", killed, COMMAND)
    figures.add("of its messages and rows lost, doubled", "0, 0", COMMAND)
    assert commits > 20


def test_the_stream_killed_at_random_moments(
    cluster: Cluster, played: Month, tmp_path: Path, figures: Figures
) -> None:
    """Each of its lives gets some micro-batches done first, so that kills fall into its work."""
    chance = random.Random(SEED)
    settings = cluster.places(tmp_path / "lakehouse")
    environment = {**os.environ, **settings.environment(), **QUICK_JAVA}
    streaming = ["stream", "--from", cluster.address, "--batch", "15", "--every", "0.1"]
    loaded = [0]
    for _ in range(STREAM_KILLS):
        child = subprocess.Popen(
            command(*streaming), env=environment, cwd=PROJECT, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while messages_in(settings) == loaded[-1]:
            assert child.poll() is None, child.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 2))
        child.kill()
        child.communicate()
        loaded.append(messages_in(settings))
    assert loaded[-1] < messages_sent(played.folder).total(), "it was over before the last kill"
    pos("stream", "--once", "--from", cluster.address, env=environment)
    assert_all_once(settings, played)
    figures.add("`pos stream` from Kafka killed at random moments", STREAM_KILLS, COMMAND)


def test_the_broker_killed_and_started_again_in_mid_stream(
    cluster: Cluster,
    month: Month,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """While the playback sends and a resident load reads."""
    monkeypatch.setattr(loaders.playback, "MAX_SPEED_SLOT", timedelta(hours=6))
    settings = cluster.places(tmp_path / "lakehouse")
    stop, failed, warnings = threading.Event(), [], []
    slots = 0

    def on_slot(_clock: object) -> None:
        nonlocal slots
        slots += 1
        if slots in (2, 7):
            cluster.kill()
            threading.Timer(3.0, cluster.up).start()

    def keep_loading() -> None:
        try:
            with KafkaLoader(settings, cluster.address, is_resident=True) as loader:
                while not stop.is_set():
                    warnings.extend(loader.load(batch_bytes=SMALL_BATCH).warnings)
                    time.sleep(0.05)
                deadline = time.monotonic() + PATIENCE_SECONDS
                while len(bronze(settings, MESSAGES)) < messages_sent(month.folder).total():
                    warnings.extend(loader.load(batch_bytes=SMALL_BATCH).warnings)
                    assert time.monotonic() < deadline
                loader.load()
        except BaseException as error:
            failed.append(error)

    loading = threading.Thread(target=keep_loading)
    loading.start()
    try:
        play(month, KafkaSink(cluster.address, PATIENCE_SECONDS), speed=None, on_slot=on_slot)
    finally:
        stop.set()
        loading.join()
    assert slots > 7
    assert failed == []
    assert_all_once(settings, month)
    figures.add("the broker killed in mid-stream and started again", f"2 of {slots} slots", COMMAND)
    assert all("does not answer" in text for text in warnings)


def test_the_playback_killed_at_random_moments_sends_nothing_twice(
    cluster: Cluster, month: Month, tmp_path: Path
) -> None:
    settings = cluster.places(tmp_path / "lakehouse")
    chance = random.Random(SEED)
    playing = ["play", str(month.folder), "--speed", "20000", "--to", cluster.address]
    kills = 0
    while kills < 8:
        child = subprocess.Popen(command(*playing), cwd=PROJECT, stderr=subprocess.PIPE)
        try:
            said = child.communicate(timeout=chance.uniform(2, 12))[1]
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            kills += 1
        else:
            assert child.returncode == 0, said
            break
    said = pos("play", str(month.folder), "--speed", "max", "--to", cluster.address)
    assert f"played through {month.ends_at}" in said
    with KafkaLoader(settings, cluster.address) as loader:
        loader.load()
    assert_all_once(settings, month)
    assert kills >= 2


def test_of_two_playbacks_one_goes_on(cluster: Cluster, month: Month, tmp_path: Path) -> None:
    one, two = KafkaSink(cluster.address), KafkaSink(cluster.address)
    noon = month.starts_at + timedelta(hours=12)
    play(month, one, speed=None, until=noon)
    assert play(month, two, speed=None, until=noon + timedelta(hours=2)) > noon
    slot = Progress(month.identity, noon, noon + timedelta(hours=1))
    with pytest.raises(UserError, match="another playback has taken over"):
        one.publish(month, slot)
    play(month, two, speed=None)
    settings = cluster.places(tmp_path / "lakehouse")
    with KafkaLoader(settings, cluster.address) as loader:
        loader.load()
    assert_all_once(settings, month)


def test_another_month_is_refused(cluster: Cluster, played: Month, tmp_path: Path) -> None:
    pos("simulate", "--out", str(tmp_path / "other"), "--days", "1", "--items", "20")
    said = pos("play", str(tmp_path / "other"), "--to", cluster.address, code=1)
    assert "holds the playback of another month; choose another broker, or delete" in said


def test_deleted_messages_are_named_and_only_given_up_when_told(
    cluster: Cluster, played: Month, tmp_path: Path
) -> None:
    settings = cluster.places(tmp_path / "lakehouse")
    with KafkaLoader(settings, cluster.address) as loader:
        (partition,) = [
            each for each in loader._source.partitions() if str(each) == "pos.store_001.changes/0"
        ]
        has = loader._source.extents([partition])[partition].high
        # As far as the first messages of each, no further; then retention overtakes it.
        loader.load(batch_bytes=2_000, batches=1)
    gone = TopicPartition(partition.topic, partition.number, has - 2)
    for answer in cluster.admin.delete_records([gone]).values():
        answer.result()
    loads = ["load", "--once", "--from", cluster.address, "--lakehouse", str(settings.lakehouse)]
    before = len(bronze(settings, MESSAGES))
    said = pos(*loads, code=1)
    assert f"to {has - 3} were deleted unread" in said
    assert "--accept-loss" in said
    assert len(bronze(settings, MESSAGES)) == before
    said = pos(*loads, "--accept-loss")
    assert f"messages are lost: {partition}: offsets" in said
    loaded = {row["body"] for row in bronze(settings, MESSAGES)}
    assert loaded < set(messages_sent(played.folder))
    assert "nothing new in" in pos(*loads)


def test_a_topic_made_anew_is_loaded_from_its_beginning(
    cluster: Cluster, played: Month, tmp_path: Path
) -> None:
    settings = cluster.places(tmp_path / "lakehouse")
    with KafkaLoader(settings, cluster.address) as loader:
        loader.load()
        cluster.forget()
        assert loader.load().is_empty
        play(played, KafkaSink(cluster.address), speed=None)
        loader.load()
    assert len(bronze(settings, MESSAGES)) == 2 * messages_sent(played.folder).total()


def test_a_broker_that_is_down_is_a_sentence(cluster: Cluster, tmp_path: Path) -> None:
    broker.down(cluster.settings)
    lakehouse = str(tmp_path / "lakehouse")
    said = pos("load", "--once", "--from", cluster.address, "--lakehouse", lakehouse, code=1)
    assert "does not answer" in said
    assert "start one with: pos kafka up" in said
    with pytest.raises(UserError, match="does not answer"):
        KafkaSink(cluster.address).progress()
