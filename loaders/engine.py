"""The embedded engine (Sail): start it, find it, stop it.

A server of its own rather than a thread, so that dbt, the loaders and an analyst's notebook share
one session, and a crash of one of them leaves the others their tables.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from loaders import writers
from loaders.catalog import register
from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.failpoints import reach
from loaders.files import only_holder
from loaders.load import create_bronze
from loaders.servers import Server, end, is_taken, listens, recorded
from loaders.unfinished import refuse_unfinished

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START_SECONDS = 30.0
STOP_SECONDS = 10.0
PORT_SECONDS = 5.0
DEFAULT_MEMORY = 1_500_000_000
# Sail ends idle sessions, and with the session its tables are forgotten: not in our lifetime.
SESSION_SECONDS = 10 * 365 * 24 * 3600
SAIL = "sail"  # in the command line of its process
# The engine writes itself down before it is one: a starter that is killed leaves no engine behind
# that nobody knows of. What follows the port and the state file is the engine's own command.
RECORD_AND_RUN = """
printf '{"pid": %d, "port": %d}' "$$" "$1" > "$2.$$.tmp" && mv "$2.$$.tmp" "$2" || exit 1
shift 2
exec "$@" < /dev/null
"""


def up(settings: Settings) -> tuple[Server, list[str]]:
    """Make sure that the engine runs and knows every table; returns it and the tables added.

    :class:`UserError` where it cannot start, or where Apache Spark writes in the lakehouse.
    """
    refuse_unfinished(settings)
    settings.state.mkdir(parents=True, exist_ok=True)
    create_bronze(settings)
    # Two that find none would start two, and the one that is not written down nobody would end.
    with only_holder(
        settings.state / "engine.lock", doing="starting the engine", patience=START_SECONDS
    ) as lock:
        engine = running(settings) or _starting(settings) or _start(settings, lock)
    reach("engine.before_register")
    with answering(settings):
        return engine, register(connect(settings), settings.lakehouse)


def down(settings: Settings) -> bool:
    """Stop this lakehouse's engine; False when none was running."""
    engine = _recorded(settings)
    if engine is None:
        return False
    forget_client()
    end(engine, _state_file(settings), SAIL, STOP_SECONDS)
    return True


def running(settings: Settings) -> Server | None:
    """This lakehouse's engine if its process lives and listens on the settings' port."""
    engine = _recorded(settings)
    if engine is None or not listens(engine.port):
        return None
    if engine.port != settings.port:
        raise UserError(
            f"this lakehouse's engine already runs on port {engine.port} (pid {engine.pid}), not "
            f"on {settings.port}; use --port {engine.port}, or stop it with: pos down"
        )
    return engine


def _recorded(settings: Settings) -> Server | None:
    """The engine that this lakehouse's state file names, if its process lives."""
    return recorded(_state_file(settings), SAIL)


def resident_bytes(settings: Settings) -> int:
    """Memory that this lakehouse's engine holds; 0 when none runs."""
    engine = _recorded(settings)
    if engine is None:
        return 0
    listed = subprocess.run(
        ["ps", "-p", str(engine.pid), "-o", "rss="], capture_output=True, text=True, check=False
    ).stdout.strip()
    return int(listed or 0) * 1024


def connect(settings: Settings) -> SparkSession:
    """A Spark Connect session on the running engine, shared by all clients of this lakehouse."""
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client.retries import DefaultPolicy

    if not listens(settings.port):
        raise UserError(
            f"no engine listens on port {settings.port}; start it with: pos up"
            f" --lakehouse {settings.lakehouse} --port {settings.port}"
        )
    with answering(settings):
        # pyspark hands out the session it has, whatever the address asked for.
        forget_client()
        session: SparkSession = SparkSession.builder.remote(settings.remote).getOrCreate()
        # The client's own policy tries a dead engine for ten minutes.
        session.client.set_retry_policies([DefaultPolicy(max_retries=4)])
        # Over loopback there is no connection to be lost in mid-statement, and being able to take a
        # statement up again costs two more calls for each.
        session.client.disable_reattachable_execute()
        # Not the machine's zone, whatever its name: Delta's timestamps are UTC by that name.
        session.conf.set("spark.sql.session.timeZone", "UTC")
    return session


@contextmanager
def answering(settings: Settings) -> Iterator[None]:
    """What is asked of the engine in here is a :class:`UserError` where it refuses, or where none
    answers: it has died, which is tried again, or another program has its port."""
    from grpc import RpcError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, RpcError) as error:
        found = re.search(r'details = "(.*)"', str(error))
        said = found[1] if found else first_line(error)
        log = settings.state / "engine.log"
        if running(settings) is not None:
            raise UserError(f"the engine refuses ({said}); its own words are in {log}") from error
        if not listens(settings.port):
            raise UserError(f"the engine has died ({said}); its own words are in {log}") from error
        raise UserError(
            f"the program on port {settings.port} does not answer as the engine: {said}; "
            f"choose another port with --port or POS_PORT"
        ) from error


def _starting(settings: Settings) -> Server | None:
    """The engine that a start which was killed has left, once it listens; None if there is none."""
    deadline = time.monotonic() + START_SECONDS
    while (engine := _recorded(settings)) is not None:
        if (listening := running(settings)) is not None:
            return listening
        if time.monotonic() > deadline:
            end(engine, _state_file(settings), SAIL, STOP_SECONDS)
        time.sleep(0.05)
    return None


def _start(settings: Settings, lock: TextIO) -> Server:
    # An engine that was killed is gone a moment before its port is.
    deadline = time.monotonic() + (PORT_SECONDS if _state_file(settings).exists() else 0.0)
    while is_taken(settings.port) and time.monotonic() < deadline:
        time.sleep(0.05)
    if is_taken(settings.port):
        raise UserError(
            f"port {settings.port} is taken by another program, by a connection of one (for a "
            f"minute), or by another lakehouse's engine; choose a free one with --port or POS_PORT"
        )
    log = settings.state / "engine.log"
    environment = {
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "greedy",
        "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE": str(DEFAULT_MEMORY),
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(SESSION_SECONDS),
        "TZ": "UTC",
        **os.environ,
    }
    command = [
        *("/bin/sh", "-c", RECORD_AND_RUN, "sh", str(settings.port), str(_state_file(settings))),
        *(_sail(), "spark", "server", "--ip", "127.0.0.1", "--port", str(settings.port)),
    ]
    reach("engine.before_start")
    with log.open("ab") as output, writers.beside_others(settings) as writing:
        process = subprocess.Popen(
            command,
            stdin=lock,  # held until the engine is written down, also if this process is killed
            stdout=output,
            stderr=output,
            env=environment,
            cwd=settings.state,
            pass_fds=[writing.fileno()],  # a writer for as long as it runs
            start_new_session=True,  # Ctrl-C in the terminal must not end everybody's engine
        )
    reach("engine.after_start")
    engine = Server(process.pid, settings.port)
    deadline = time.monotonic() + START_SECONDS
    while not listens(settings.port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise UserError(f"the engine did not start; its own words are in {log}")
        time.sleep(0.05)
    return engine


def forget_client() -> None:
    """Drop this process's client, if it has one: its engine may be gone, or another lakehouse's.

    Closed, not stopped: a stop ends the session for all clients, and a client left open asks an
    engine that is gone for its farewell when the process exits.
    """
    if "pyspark.sql.connect.session" not in sys.modules:
        return
    from pyspark.sql.connect.session import SparkSession

    if SparkSession._default_session is not None:
        SparkSession._default_session.client.close()
    SparkSession._default_session = None
    SparkSession._active_session = threading.local()


def _sail() -> str:
    beside = Path(sys.executable).with_name("sail")
    found = str(beside) if beside.exists() else shutil.which("sail")
    if found is None:
        raise UserError("the sail command is not installed; run: make setup")
    return found


def _state_file(settings: Settings) -> Path:
    return settings.state / "engine.json"
