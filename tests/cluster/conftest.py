"""A real Kafka broker for these tests, started by the first and killed and started by some."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from deltalake import DeltaTable

from loaders.config import Settings
from loaders.errors import UserError
from loaders.kafka import broker
from loaders.kafka.client import admin_of
from loaders.landing import FEEDS, MESSAGES
from loaders.playback import Month
from loaders.servers import is_live
from loaders.simulator import Config, simulate, write_month
from tests.worlds import ALL_FAULTS, messages_sent

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 300.0
# Of a JVM that lives for seconds.
QUICK_JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}


@dataclass
class Cluster:
    """One broker, its data in a lakehouse of its own."""

    settings: Settings
    port: int

    @property
    def address(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    @cached_property
    def admin(self) -> AdminClient:
        return admin_of(f"127.0.0.1:{self.port}")

    def up(self) -> None:
        broker.up(self.settings, self.port)

    def kill(self) -> None:
        """As a power cut: SIGKILL, and gone before this returns."""
        server = broker.running(self.settings)
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        while is_live(server.pid, broker.PROGRAM):
            time.sleep(0.05)

    def forget(self) -> None:
        """Delete every topic of ours, and wait until they are gone."""
        names = self.topics()
        if names:
            for answer in self.admin.delete_topics(names).values():
                answer.result()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.topics():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def topics(self) -> list[str]:
        return [name for name in self.admin.list_topics(timeout=60).topics if name[:4] == "pos."]

    def places(self, lakehouse: Path) -> Settings:
        """Of a lakehouse that loads from this cluster."""
        return Settings(lakehouse.parent / "landing", lakehouse)


def two_free_ports() -> int:
    """The first of two ports in a row that nobody has, below those that clients are given."""
    for port in random.sample(range(20_000, 30_000, 2), 100):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two free ports in a row")


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kafka")
    cluster = Cluster(Settings(folder / "landing", folder / "lakehouse"), two_free_ports())
    try:
        cluster.up()
    except UserError as error:
        if "needs Java" in str(error):
            pytest.skip(str(error))
        raise
    yield cluster
    broker.down(cluster.settings)


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """The broker, up and without any topic of ours."""
    _cluster.up()
    _cluster.forget()
    return _cluster


@pytest.fixture(scope="session")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    """Three days with all faults on."""
    folder = tmp_path_factory.mktemp("month")
    config = Config(seed=11, days=3, items=200, lines=2_500, count_every_days=1, faults=ALL_FAULTS)
    write_month(simulate(config), folder)
    return Month(folder)


def count_rows_sent(month: Month) -> int:
    paths = month.folder.glob("*/counts/*.csv")
    return sum(len(path.read_text().splitlines()) - 1 for path in paths)


def bronze(settings: Settings, feed: str) -> list[dict[str, Any]]:
    table = DeltaTable(str(settings.table("bronze", feed)))
    return list(table.to_pyarrow_table().to_pylist())


def assert_all_once(settings: Settings, month: Month) -> None:
    """Bronze has each message and row that was sent, each once, in commits without a gap."""
    messages = bronze(settings, MESSAGES)
    assert Counter(row["body"] for row in messages) == messages_sent(month.folder)
    assert len(bronze(settings, "pos_count_rows")) == count_rows_sent(month)
    for feed in FEEDS:
        rows = bronze(settings, feed)
        places = Counter((row["source_file"], row["source_line"]) for row in rows)
        assert set(places.values()) == {1}
        numbers = sorted({row["ingest_id"] for row in rows})
        assert numbers == list(range(1, len(numbers) + 1))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "loaders", *arguments]


def pos(*arguments: str, code: int = 0, **options: Any) -> str:
    """What a command says that must end with ``code``."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        cwd=PROJECT,
        **options,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr
