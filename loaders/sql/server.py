"""``pos sql-server``: start, find and stop the server that BI tools connect to.

A process of its own with a JVM (``loaders.sql.thrift``), so that no report takes a build's memory.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from loaders.catalog import tables_on_disk
from loaders.config import Settings, port_from
from loaders.errors import UserError
from loaders.jars import fetch, jars_folder
from loaders.java import java_home_or_advice
from loaders.servers import Server, end, is_taken, launch, listens, recorded
from loaders.spark import CONNECT_MODE

DEFAULT_PORT = 10_000  # what BI tools propose for HiveServer2
PROGRAM = "loaders.sql.thrift"
# What pyspark leaves in the environment of a process that has talked to the embedded engine, or a
# person in a shell; with it Spark would not start one of its own.
CONNECT = ("SPARK_REMOTE", "SPARK_LOCAL_REMOTE", CONNECT_MODE, "SPARK_API_MODE")
START_SECONDS = 300.0  # a cold JVM on a busy machine
STOP_SECONDS = 20.0


def start(settings: Settings, port: int | None = None) -> Server:
    """Start the lakehouse's SQL server, or find it running; returns once it takes connections.

    :class:`UserError` without Java, tables or a free port, and where it does not come up.
    """
    wanted = port or port_from("POS_SQL_PORT", DEFAULT_PORT)
    if found := running(settings):
        if found.port != wanted:
            raise UserError(
                f"this lakehouse's SQL server already runs on port {found.port}; stop it with: "
                f"pos sql-server --stop"
            )
        return found
    if not any(tables_on_disk(settings.disk)):
        raise UserError(f"there are no tables in {settings.lakehouse}; build them first: pos run")
    java_home_or_advice()
    fetch(jars_folder(settings.project))
    if is_taken(wanted):
        raise UserError(f"port {wanted} is taken; choose another with --sql-port or POS_SQL_PORT")
    return _start(settings, wanted)


def running(settings: Settings) -> Server | None:
    """The lakehouse's SQL server if it lives."""
    return recorded(state_file(settings), PROGRAM)


def stop(settings: Settings) -> bool:
    """Stop the lakehouse's SQL server; False when none was running."""
    server = running(settings)
    if server is None:
        return False
    end(server, state_file(settings), PROGRAM, STOP_SECONDS)  # its JVM ends with it
    return True


def _start(settings: Settings, port: int) -> Server:
    folder = settings.state / "sql_server"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    environment = {**os.environ, **settings.environment(), "SPARK_LOCAL_IP": "127.0.0.1"}
    for name in CONNECT:
        environment.pop(name, None)
    # Found wherever the project lies, and no litter of the JVM's in the caller's folder.
    paths = [str(settings.project), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    with log.open("wb") as output:
        command = [sys.executable, "-m", PROGRAM, str(port)]
        process = launch(command, output, folder, environment)
    deadline = time.monotonic() + START_SECONDS
    while running(settings) is None or not listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            if process.poll() is None:
                process.kill()
            raise UserError(f"the SQL server did not start; its own words are in {log}")
        time.sleep(0.2)
    return Server(process.pid, port)


def state_file(settings: Settings) -> Path:
    """Where the server writes down that it runs."""
    return settings.state / "sql_server.json"
