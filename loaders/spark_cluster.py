"""``pos cluster``: a Spark standalone cluster on this machine, from pyspark's wheel; loopback only.

A master and two workers, each a process of its own, as they would be on machines of their own. Who
may use it knows a secret that is made at each start: without one, any account of this machine could
have its code run in the name of whoever started it. `pos stream` and dbt's target ``spark`` use it
by their environment, which is written into a file that nobody else can read.
"""

from __future__ import annotations

import json
import os
import secrets
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loaders.config import Settings, port_from
from loaders.errors import UserError
from loaders.exports import write_exports
from loaders.files import write_atomically
from loaders.jars import fetch, jars_folder, pyspark_home
from loaders.java import java_home_or_advice
from loaders.servers import Server, end, is_taken, launch, record, recorded

DEFAULT_PORT = 7_077
WORKERS = 2
MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
# Of a worker's executors; its own process has DAEMON_MEMORY.
WORKER_MEMORY = "1g"
WORKER_CORES = 1
DAEMON_MEMORY = "256m"
START_SECONDS = 300.0  # three cold JVMs on a busy machine
STOP_SECONDS = 20.0
ANSWER_SECONDS = 10.0
PROPERTIES = """\
spark.authenticate true
spark.authenticate.secret {secret}
spark.network.crypto.enabled true
spark.ui.killEnabled false
spark.master.rest.enabled false
spark.master.ui.decommission.allow.mode DENY
spark.worker.cleanup.enabled true
spark.worker.timeout 20
"""


@dataclass(frozen=True)
class Part:
    """One process of the cluster: the master, or a worker by its number."""

    name: str
    program: str
    port: int  # its page has the next one

    @property
    def page(self) -> int:
        """The port of its page, which also answers in JSON."""
        return self.port + 1


def parts_at(port: int) -> list[Part]:
    """The master on ``port``, and the workers behind it, two ports each.

    >>> [(part.name, part.port) for part in parts_at(7077)]
    [('master', 7077), ('worker_1', 7079), ('worker_2', 7081)]
    """
    workers = [Part(f"worker_{n}", WORKER, port + 2 * n) for n in range(1, WORKERS + 1)]
    return [Part("master", MASTER, port), *workers]


def up(settings: Settings, port: int | None = None) -> Path:
    """Start what of the cluster does not run, and return once all workers are known to the master:
    the file with the environment that uses it.

    :class:`UserError` without Java or free ports, and where it does not come up.
    """
    wanted = wanted_port(port)
    parts = parts_at(wanted)
    java_home_or_advice()
    fetch(jars_folder(settings.project))
    living = running(settings)
    if "master" not in living and down(settings):  # workers of a master that is gone
        living = {}
    if "master" in living and living["master"].port != wanted:
        raise UserError(
            f"this lakehouse's cluster already runs on port {living['master'].port}; use "
            f"--cluster-port {living['master'].port}, or stop it with: pos cluster down"
        )
    missing = [part for part in parts if part.name not in living]
    for each in (port for part in missing for port in (part.port, part.page)):
        if is_taken(each):
            raise UserError(
                f"port {each} is taken (a cluster needs {wanted} to {parts[-1].page}); choose "
                f"others with --cluster-port or POS_CLUSTER_PORT"
            )
    if "master" not in living:
        _write_secret(settings, wanted)
    for part in missing:
        _start(settings, part, wanted)
        _wait_for(settings, part, wanted)
    return environment_file(settings)


def down(settings: Settings) -> bool:
    """Stop the lakehouse's cluster, workers first; False when none was running."""
    living = running(settings)
    for name in sorted(living, reverse=True):
        program = MASTER if name == "master" else WORKER
        end(living[name], _state_file(settings, name), program, STOP_SECONDS)
    return bool(living)


def status_lines(settings: Settings) -> Iterator[str]:
    """The report, line by line; :class:`UserError` where a master runs and does not answer."""
    living = running(settings)
    if "master" not in living:
        yield "Spark cluster: not running; start it with: pos cluster up"
    else:
        told = asked(living["master"].port + 1)
        if told is None:
            raise UserError(
                f"the master (pid {living['master'].pid}) does not answer; its own words are in "
                f"{folder_of(settings) / 'master.log'}"
            )
        yield f"Spark cluster: {told['url']}, {told['aliveworkers']} of {WORKERS} workers"
        yield f"  cores: {told['coresused']} of {told['cores']} in use"
        for application in told["activeapps"]:
            yield f"  application: {application['name']}, {application['cores']} cores"
    for name, server in sorted(living.items()):
        yield f"  {name}: 127.0.0.1:{server.port}, pid {server.pid}"


def running(settings: Settings) -> dict[str, Server]:
    """The processes of the cluster that live, by name."""
    found = {
        part.name: recorded(_state_file(settings, part.name), part.program)
        for part in parts_at(DEFAULT_PORT)
    }
    return {name: server for name, server in found.items() if server is not None}


def asked(page: int) -> dict[str, Any] | None:
    """What the master at this page says of the cluster; ``None`` if nothing answers."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{page}/json/", timeout=ANSWER_SECONDS
        ) as answer:
            told: dict[str, Any] = json.load(answer)
    except (OSError, ValueError):
        return None
    return told


def wanted_port(port: int | None) -> int:
    """The port that an option or POS_CLUSTER_PORT says."""
    wanted = port or port_from("POS_CLUSTER_PORT", DEFAULT_PORT)
    if not 0 < wanted < 65_536 - 2 * (WORKERS + 1):
        raise UserError(f"--cluster-port is the first of six ports; not {wanted}")
    return wanted


def folder_of(settings: Settings) -> Path:
    """The cluster's settings, its logs and its workers' folders."""
    return settings.state / "cluster"


def environment_file(settings: Settings) -> Path:
    """What a shell reads to use the cluster."""
    return folder_of(settings) / "environment"


def _state_file(settings: Settings, name: str) -> Path:
    return folder_of(settings) / f"{name}.json"


def _write_secret(settings: Settings, port: int) -> None:
    """A new secret, and the environment of whoever uses the cluster: for this account only."""
    secret = secrets.token_hex(32)
    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_atomically(folder / "spark.properties", PROPERTIES.format(secret=secret).encode())
    environment = {
        "DBT_TARGET": "spark",
        "POS_SPARK_MASTER": f"spark://127.0.0.1:{port}",
        "POS_SPARK_EXECUTOR_MEMORY": "768m",  # with what Java needs besides, a worker's
        # Whole tables that are sent to such a small executor for its joins leave no room for them.
        "POS_SPARK_BROADCAST": "1MB",
        "POS_JARS": str(jars_folder(settings.project)),
        "POS_LAKEHOUSE": str(settings.lakehouse),
        **({} if settings.is_on_disk else {"POS_STATE": str(settings.state)}),
        "DBT_ENV_SECRET_SPARK": secret,
    }
    write_exports(environment_file(settings), environment)


def _start(settings: Settings, part: Part, master: int) -> None:
    home = pyspark_home()
    if home is None:
        raise UserError("pyspark is not installed; run: make setup")
    folder = folder_of(settings)
    command = [str(home / "bin" / "spark-class"), part.program]
    command += ["--host", "127.0.0.1", "--port", str(part.port), "--webui-port", str(part.page)]
    command += ["--properties-file", str(folder / "spark.properties")]
    if part.program == WORKER:
        command += ["--cores", str(WORKER_CORES), "--memory", WORKER_MEMORY]
        command += ["--work-dir", str(folder / "work"), f"spark://127.0.0.1:{master}"]
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",  # its page too
        "SPARK_DAEMON_MEMORY": DAEMON_MEMORY,
        "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC",
    }
    with (folder / f"{part.name}.log").open("ab") as output:
        process = launch(command, output, folder, environment)
    record(_state_file(settings, part.name), Server(process.pid, part.port))


def _wait_for(settings: Settings, part: Part, master: int) -> None:
    """Return once the master answers, and knows the part where that is a worker."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        told = asked(master + 1)
        if told is not None and (part.program == MASTER or part.port in _known(told)):
            return
        alive = recorded(_state_file(settings, part.name), part.program)
        if alive is None or time.monotonic() > deadline:
            log = folder_of(settings) / f"{part.name}.log"
            down(settings)
            raise UserError(f"the cluster's {part.name} did not start; its own words are in {log}")
        time.sleep(0.2)


def _known(told: dict[str, Any]) -> set[int]:
    return {worker["port"] for worker in told["workers"] if worker["state"] == "ALIVE"}
