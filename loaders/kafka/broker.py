"""``pos kafka``: a Kafka broker for one machine, in KRaft mode, on loopback only.

A process of its own with a JVM of at most 512 MB. Its data lie in the lakehouse's state folder, its
jars beside Spark's; they are pinned by hash in ``jars.lock``.
"""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path
from uuid import uuid4

from loaders.config import Settings, port_from
from loaders.errors import UserError
from loaders.files import write_atomically
from loaders.jars import Jar, fetch, jars_folder
from loaders.java import java_home_or_advice
from loaders.servers import Server, end, is_taken, launch, listens, record, recorded

DEFAULT_PORT = 9_092
PROGRAM = "kafka.Kafka"  # in the command line of its process
FOLDER = "kafka"  # among the jars
LOCK_FILE = Path(__file__).with_name("jars.lock")
HEAP = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC")
START_SECONDS = 300.0  # a cold JVM on a busy machine
STOP_SECONDS = 30.0
ANSWER_SECONDS = 10.0
# Nobody but this machine, topics only as they are made on purpose, and times of its own: when a
# message was appended is what bronze has as landed_at.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=data
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
log.retention.hours=168
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
"""
LOGGING = """\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n
"""


def up(settings: Settings, port: int | None = None) -> Server:
    """Start the lakehouse's broker, or find it running; returns once it answers.

    :class:`UserError` without Java or a free port, and where it does not come up.
    """
    wanted = wanted_port(port)
    if found := running(settings):
        if found.port != wanted:
            raise UserError(
                f"this lakehouse's Kafka broker already runs on port {found.port}; use "
                f"--kafka-port {found.port}, or stop it with: pos kafka down"
            )
        if not is_healthy(found.port):
            raise UserError(
                f"this lakehouse's Kafka broker (pid {found.pid}) does not answer; stop it with: "
                f"pos kafka down"
            )
        return found
    java = java_home_or_advice("Apache Kafka") / "bin" / "java"
    jars = jars_folder(settings.project) / FOLDER
    fetch(jars, pinned_jars(), of="Kafka", again="pos kafka up")
    for each in (wanted, wanted + 1):
        if is_taken(each):
            raise UserError(
                f"port {each} is taken (a broker needs two, {wanted} and {wanted + 1}); choose "
                f"another with --kafka-port or POS_KAFKA_PORT"
            )
    return _start(settings, [str(java), *HEAP, "-cp", f"{jars}/*"], wanted)


def down(settings: Settings) -> bool:
    """Stop the lakehouse's broker; False when none was running."""
    server = running(settings)
    if server is None:
        return False
    end(server, state_file(settings), PROGRAM, STOP_SECONDS)
    return True


def running(settings: Settings) -> Server | None:
    """The lakehouse's broker if its process lives."""
    return recorded(state_file(settings), PROGRAM)


def is_healthy(port: int) -> bool:
    """True if a broker answers on ``port`` and has a controller that knows it."""
    from confluent_kafka import KafkaException

    from loaders.kafka.client import admin_of

    # Not by `describe_cluster`: asked of a broker that is just starting, it has aborted the whole
    # process (librdkafka 2.16.0, an assertion in rdkafka_admin.c).
    admin = admin_of(f"127.0.0.1:{port}")
    try:
        told = admin.list_topics(timeout=ANSWER_SECONDS)
    except KafkaException:
        return False
    return told.controller_id >= 0 and bool(told.brokers)


def wanted_port(port: int | None) -> int:
    """The port that an option or POS_KAFKA_PORT says; the controller takes the next one."""
    wanted = port or port_from("POS_KAFKA_PORT", DEFAULT_PORT)
    if not 0 < wanted < 65_535:
        raise UserError(f"--kafka-port is the number of a port, 1 to 65534; not {wanted}")
    return wanted


def pinned_jars(path: Path = LOCK_FILE) -> list[Jar]:
    """The jars of the broker with their hashes: group, artifact, version, SHA-256 a line."""
    return [Jar(*line.split()) for line in path.read_text().splitlines()]


def state_file(settings: Settings) -> Path:
    """Where it is written down which process it is."""
    return settings.state / "kafka.json"


def folder_of(settings: Settings) -> Path:
    """The broker's settings, its log and its data."""
    return settings.state / "kafka"


def _start(settings: Settings, java: list[str], port: int) -> Server:
    folder = folder_of(settings)
    write_atomically(
        folder / "server.properties", PROPERTIES.format(port=port, controller=port + 1).encode()
    )
    write_atomically(folder / "log4j.properties", LOGGING.encode())
    log = folder / "broker.log"
    java = [*java, "-Dlog4j.configuration=file:log4j.properties"]
    with log.open("ab") as output:
        if not (folder / "data" / "meta.properties").exists():
            _format(folder, java, log)
        # The paths in its settings begin in its folder.
        process = launch([*java, PROGRAM, "server.properties"], output, folder)
    server = Server(process.pid, port)
    record(state_file(settings), server)
    deadline = time.monotonic() + START_SECONDS
    while not (listens(port) and is_healthy(port)):
        if process.poll() is not None or time.monotonic() > deadline:
            if process.poll() is None:
                process.kill()
            raise UserError(f"the Kafka broker did not start; its own words are in {log}")
        time.sleep(0.1)
    return server


def _format(folder: Path, java: list[str], log: Path) -> None:
    """Make the broker's empty storage, once."""
    name = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    command = ["kafka.tools.StorageTool", "format", f"--cluster-id={name}"]
    done = subprocess.run(
        [*java, *command, "--config", "server.properties"],
        capture_output=True,
        cwd=folder,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode:
        log.write_bytes(done.stdout + done.stderr)
        raise UserError(f"the Kafka broker's storage cannot be made; its own words are in {log}")
