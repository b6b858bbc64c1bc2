"""A Spark cluster of a master and two workers: Kafka to gold on it, a worker killed in between."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from loaders import spark_cluster, writers
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.config import Settings
from loaders.exports import read_exports
from loaders.kafka.sink import KafkaSink
from loaders.landing import MESSAGES
from loaders.load import create_bronze
from loaders.playback import Month, play
from loaders.spark import CONNECT_MODE
from tests.cluster.conftest import PROJECT, Cluster, assert_all_once, bronze, command
from tests.faults.figures import Figures
from tests.sql.blocks import blocks, section
from tests.worlds import messages_sent

pytestmark = pytest.mark.cluster

COMMAND = "make test-cluster"
ON_A_CLUSTER = [
    line
    for block in blocks(section(PROJECT / "README.md", "## On a Spark cluster"))
    for line in block.commands
]
PATIENCE = 1_500.0  # of a build by cold JVMs on a busy machine
# Of a build, the first that is made of many tables before it.
IN_MID_BUILD = ("silver", "stg_pos__inventory_changes")


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody has, below those that clients are given."""
    for first in random.sample(range(20_000, 30_000, count), 100):
        probes = [socket.socket() for _ in range(count)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError(f"no {count} free ports in a row")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Settings]:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", target="spark")
    yield settings
    spark_cluster.down(settings)


def executors_of(worker_port: int) -> list[int]:
    """The processes that a worker has started, by their command lines."""
    wanted = f"spark://Worker@127.0.0.1:{worker_port}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"CoarseGrainedExecutorBackend" in line and wanted in line:
                found.append(int(folder.name))
    return found


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=PROJECT,
    )


def ended(running: subprocess.Popen[bytes], code: int = 0) -> str:
    """What a command has said that must end with ``code``."""
    said = running.communicate(timeout=PATIENCE)[0].decode()
    assert running.returncode == code, said[-3_000:]
    return said


def kill_a_worker_in(building: subprocess.Popen[bytes], settings: Settings, port: int) -> None:
    """The first worker with what runs on it, once the build has tables behind it."""
    victim = spark_cluster.parts_at(port)[1]
    path = str(settings.table(*IN_MID_BUILD))
    deadline = time.monotonic() + PATIENCE
    while not (DeltaTable.is_deltatable(path) and executors_of(victim.port)):
        assert building.poll() is None, building.communicate()[0].decode()[-3_000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    worker = spark_cluster.running(settings)[victim.name]
    for pid in (worker.pid, *executors_of(victim.port)):
        os.kill(pid, signal.SIGKILL)
    assert building.poll() is None, "the build was over before its worker was killed"


def test_readme_s_commands_with_a_worker_killed_in_mid_build_and_gold_is_the_truth(
    cluster: Cluster, month: Month, places: Settings, figures: Figures
) -> None:
    play(month, KafkaSink(cluster.address), speed=None)
    port = free_ports(6)
    environment = {**places.environment(), "POS_CLUSTER_PORT": str(port)}
    seen = []
    for line in ON_A_CLUSTER:
        words = line.replace("127.0.0.1:9092", f"127.0.0.1:{cluster.port}").split()
        if words[0] == ".":
            assert words[1] == "lakehouse/_pos/cluster/environment"
            environment |= read_exports(spark_cluster.environment_file(places))
            continue
        assert words[0] == "pos", line
        started = time.monotonic()
        running = start(environment, *words[1:])
        if words[1] == "run":
            kill_a_worker_in(running, places, port)
        said = ended(running)
        seconds = f"{time.monotonic() - started:.0f} s"
        seen.append(words[1:3])
        if words[1] == "stream":
            assert_all_once(places, month)
            rate = f"{messages_sent(month.folder).total():,} messages in {seconds}"
            figures.add("Kafka to bronze on the Spark cluster, cold", rate, COMMAND)
        elif words[1] == "run":
            figures.add("first build on it, a worker killed in it", seconds, COMMAND)
            assert_true(places, month)
            assert set(spark_cluster.running(places)) == {"master", "worker_2"}
            spark_cluster.up(places, port)  # only what is missing, so with the same secret
            environment |= read_exports(spark_cluster.environment_file(places))
        elif words[2] == "status":
            assert f"spark://127.0.0.1:{port}, 2 of 2 workers" in said
    assert seen == [
        *(["cluster", "up"], ["stream", "--once"], ["run", "--once"]),
        *(["cluster", "status"], ["cluster", "down"]),
    ]
    assert spark_cluster.running(places) == {}


def assert_true(settings: Settings, month: Month) -> None:
    for compare in (compare_with_truth, compare_variances_with_truth):
        found = compare(settings.lakehouse, month.folder, month.ends_at)
        assert found.differences == 0, found.examples
        assert found.keys >= 200
    assert len(bronze(settings, MESSAGES)) == messages_sent(month.folder).total()


def test_it_listens_on_loopback_only_and_wants_its_secret(places: Settings) -> None:
    port = free_ports(6)
    spark_cluster.up(places, port)
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, _, number = local.rpartition(":")
            if state == "0A" and port <= int(number, 16) < port + 6:
                listening.append(address)
    assert len(listening) == 6
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    stranger = {"POS_SPARK_MASTER": f"spark://127.0.0.1:{port}", "DBT_TARGET": "spark"}
    stranger |= {"POS_LAKEHOUSE": str(places.lakehouse), "POS_LANDING": str(places.landing)}
    ended(start(stranger, "stream", "--once"), code=1)
    told = spark_cluster.asked(port + 1)
    assert told is not None
    assert told["activeapps"] == told["completedapps"] == []
    assert spark_cluster.down(places)
    assert spark_cluster.running(places) == {}


def test_a_dbt_by_hand_on_it_writes_alone(places: Settings, tmp_path: Path) -> None:
    create_bronze(places)
    spark_cluster.up(places, free_ports(6))
    known = {**os.environ, **read_exports(spark_cluster.environment_file(places))}
    known.pop(CONNECT_MODE, None)  # of this process: nothing of ours starts Spark for dbt by hand
    seed = [sys.executable, "-m", "dbt.cli.main", "seed", "--select", "stores", "--profiles-dir"]
    seed += [str(PROJECT / "profiles"), "--target-path", str(tmp_path / "target")]

    def seeded(code: int) -> str:
        return ended(
            subprocess.Popen(
                seed, env=known, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            ),
            code,
        )

    with writers.beside_others(places):
        assert "beside Apache Spark only one may" in seeded(2)
    assert "Another process is writing" not in seeded(0)
    assert DeltaTable.is_deltatable(str(places.table("silver", "stores")))
    # What it has held is let go.
    with writers.alone(places):
        pass
