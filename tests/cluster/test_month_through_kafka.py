"""A month through Kafka at full speed: gold is the truth, and all as if it had come in files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loaders import engine
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.config import Settings
from loaders.journal import entries
from loaders.kafka import broker
from loaders.kafka.load import KafkaLoader
from loaders.kafka.sink import KafkaSink
from loaders.landing import FEEDS
from loaders.playback import Month, play
from loaders.simulator import Config, simulate, write_month
from tests.builds.worlds import Station, World, business_rows, free_port
from tests.cluster.conftest import (
    PATIENCE_SECONDS,
    PROJECT,
    Cluster,
    assert_all_once,
    bronze,
    command,
    pos,
    two_free_ports,
)
from tests.faults.figures import Figures
from tests.sql.blocks import blocks, section
from tests.worlds import ALL_FAULTS, messages_sent

pytestmark = pytest.mark.cluster

FROM_KAFKA = blocks(section(PROJECT / "README.md", "## From Kafka"))
COMMAND = "make test-cluster"
PLAYED = timedelta(seconds=60)  # of the wall's clock, at ten times the pace
RECEIPT = {"ingest_id", "ingest_line", "source_file", "source_line", "received_at", "landed_at"}


def take_in_files(world: World, month: Month) -> None:
    play(month, world.settings.landing, speed=None)
    world.load_and_build()


def business(world: World, feed: str) -> Counter[tuple[object, ...]]:
    """A bronze table without what says how and when a row came."""
    return Counter(
        tuple(value for name, value in sorted(row.items()) if name not in RECEIPT)
        for row in bronze(world.settings, feed)
    )


def test_a_month_at_full_speed_is_the_truth_and_as_by_files(
    cluster: Cluster, station: Station, month: Month, figures: Figures
) -> None:
    by_files = station.world()
    take_in_files(by_files, month)

    world = station.world()
    started = time.monotonic()
    play(month, KafkaSink(cluster.address), speed=None)
    played = time.monotonic()
    with KafkaLoader(world.settings, cluster.address) as loader:
        report = loader.load()
    loaded = time.monotonic()
    messages = sum(messages_sent(month.folder).values())
    rows = sum(report.rows.values())
    figures.add(
        "a month into Kafka, `--speed max`", f"{messages:,} in {played - started:.1f} s", COMMAND
    )
    figures.add("from Kafka into bronze", f"{rows:,} rows in {loaded - played:.1f} s", COMMAND)
    assert_all_once(world.settings, month)
    assert world.build().succeeded
    for compare in (compare_with_truth, compare_variances_with_truth):
        found = compare(world.settings.lakehouse, month.folder, month.ends_at)
        assert found.differences == 0, found.examples
        assert found.keys >= 200
    for feed in FEEDS:
        assert business(world, feed) == business(by_files, feed)
    by_kafka, files = business_rows(world), business_rows(by_files)
    places = by_kafka.pop("quarantine")
    landed = files.pop("quarantine")
    assert by_kafka == files
    assert reasons(places) == reasons(landed)
    assert all(is_a_place(*place[:3]) for place in places)
    assert world.check() == []


def test_at_ten_times_the_pace_gold_is_the_truth_and_follows(
    cluster: Cluster, tmp_path: Path, figures: Figures
) -> None:
    """A day of the real month's rate at its busiest hour, through Kafka, built as it comes."""
    config = Config(seed=5, days=1, items=2_000, lines=48_000, faults=ALL_FAULTS)
    write_month(simulate(config), tmp_path / "month")
    month = Month(tmp_path / "month")
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    busiest = month.starts_at + timedelta(hours=17)
    end = busiest + 10 * PLAYED
    play(month, KafkaSink(cluster.address), speed=None, until=busiest)
    running = subprocess.Popen(
        command("run", "--from", cluster.address),
        env={**os.environ, **settings.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
    )
    try:
        _wait_until(lambda: bool(built(settings)), running)
        started = datetime.now(UTC)
        play(month, KafkaSink(cluster.address), speed=10, until=end)
        _wait_until(
            lambda: compare_with_truth(settings.lakehouse, month.folder, end).differences == 0,
            running,
        )
    finally:
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=PATIENCE_SECONDS)[1]
        engine.down(settings)
    assert running.returncode == 0, said
    found = compare_variances_with_truth(settings.lakehouse, month.folder, end)
    assert found.differences == 0, found.examples
    lags = sorted(each["lag_seconds"][1] for each in built(settings, since=started))
    assert len(lags) >= 3
    pace = f"{len(lags)} builds, oldest line {lags[len(lags) // 2]:.1f} s (median), {lags[-1]:.1f}"
    figures.add("10x at the busiest hour: broker to gold", f"{pace} s (most)", COMMAND)


def built(settings: Settings, since: datetime | None = None) -> list[dict[str, Any]]:
    """The builds that succeeded with something new in them, by the journal."""
    return [
        entry
        for entry in entries(settings)
        if entry["event"] == "built"
        and entry["succeeded"]
        and entry["lag_seconds"]
        and (since is None or datetime.fromisoformat(entry["at"]) > since)
    ]


def _wait_until(is_so: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert running.poll() is None, running.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(1.0)


def reasons(quarantine: Counter[tuple[str, str, int, str]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for (source, _, _, reason), count in quarantine.items():
        found[source, reason] += count
    return found


def is_a_place(source: str, name: str, line: int) -> bool:
    """Topic, partition and offset; of a count's row the line in it too."""
    kind, more = {"pos_messages": ("changes", ""), "pos_count_rows": ("counts", r"/\d+")}[source]
    return re.fullmatch(rf"kafka://pos\.\w+\.{kind}/\d+{more}", name) is not None and line >= 0


def test_what_is_malformed_is_in_quarantine_with_topic_partition_and_offset(
    cluster: Cluster, station: Station
) -> None:
    from confluent_kafka import Producer

    KafkaSink(cluster.address)._make_topic("pos.online.changes")
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{cluster.port}", "acks": "all"})
    good = b'{"trans_id": "A", "store_id": 0, "date_time": "2021-01-01 10:00:00", '
    good += b'"change_type_id": 1, "items": [{"item_id": 100001, "quantity": -2}]}'
    for value in (b"not json", good, None, b"", b"\xff\xfe", good.replace(b"-2", b'"two"')):
        producer.produce("pos.online.changes", value, partition=2)
    assert producer.flush(60) == 0
    world = station.world()
    with KafkaLoader(world.settings, cluster.address) as loader:
        assert loader.load().rows == {"pos_messages": 6}
    assert world.build().succeeded
    name = "kafka://pos.online.changes/2"
    found = {(source, file, line) for source, file, line, _ in world.quarantine()}
    assert found == {("pos_messages", name, offset) for offset in (0, 2, 3, 4, 5)}
    assert world.on_hand(0, 100001) == -2


def test_the_broker_listens_on_loopback_only(cluster: Cluster) -> None:
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, _, port = local.rpartition(":")
            if state == "0A" and int(port, 16) in (cluster.port, cluster.port + 1):
                listening.append(address)
    mapped = "0000000000000000FFFF00000100007F"
    assert len(listening) == 2
    assert set(listening) <= {"0100007F", mapped}


def test_readme_says_what_there_is(tmp_path: Path) -> None:
    """The commands under "From Kafka", in order, with a small month and other ports."""
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    kafka_port = str(two_free_ports())
    environment = {**os.environ, **settings.environment(), "POS_KAFKA_PORT": kafka_port}
    small = ["--days", "1", "--items", "50", "--lines", "200"]
    commands = [line for block in FROM_KAFKA for line in block.commands]
    assert [line for line in commands if "pos run" in line]
    try:
        for line in commands:
            words = line.replace("9092", kafka_port).split()
            assert words[0] == "pos", line
            words = [str(tmp_path / word) if word == "month" else word for word in words[1:]]
            said = pos(*words, *(small if words[0] == "simulate" else []), env=environment)
            if words == ["kafka", "status"]:
                assert ", 0 not loaded" in said
    finally:
        engine.down(settings)
        broker.down(settings)
    month = Month(tmp_path / "month")
    found = compare_with_truth(settings.lakehouse, month.folder, month.ends_at)
    assert found.differences == 0, found.examples
    assert found.keys >= 50
