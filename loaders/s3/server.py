"""``pos s3``: an S3-compatible store to try a lakehouse in one with; loopback only, in memory.

An emulation and no place to keep anything: what is in it goes with its process. It answers whoever
on this machine asks, whatever the key.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from loaders.config import DEFAULT_STATES, port_from
from loaders.errors import UserError
from loaders.exports import write_exports
from loaders.servers import Server, end, is_taken, launch, record, recorded

DEFAULT_PORT = 9_000
PROGRAM = "loaders.s3.emulation"  # in the command line of its process
BUCKET = "pos"
REGION = "us-east-1"
# In its log: a commit of a Delta log that was put without asking that it be new.
UNCONDITIONAL = "unconditional commit: "
START_SECONDS = 120.0
STOP_SECONDS = 10.0
ANSWER_SECONDS = 10.0


def up(folder: Path, port: int | None = None) -> Path:
    """Start the store, or find it running; returns, once it answers, the file with the environment
    that uses it. ``folder``: where that and its log are.

    :class:`UserError` where its port is taken, or moto is not installed.
    """
    wanted = port or port_from("POS_S3_PORT", DEFAULT_PORT)
    if found := running(folder):
        if found.port != wanted:
            raise UserError(
                f"the store already runs on port {found.port}; use --s3-port {found.port}, or "
                f"stop it with: pos s3 down"
            )
        return folder / "environment"
    if is_taken(wanted):
        raise UserError(f"port {wanted} is taken; choose another with --s3-port or POS_S3_PORT")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("wb") as output:
        process = launch([sys.executable, "-m", PROGRAM, str(wanted), BUCKET], output, folder)
    record(state_file(folder), Server(process.pid, wanted))
    deadline = time.monotonic() + START_SECONDS
    while not is_healthy(wanted):
        if process.poll() is not None or time.monotonic() > deadline:
            if process.poll() is None:
                process.kill()
            raise UserError(f"the store did not start; its own words are in {log}")
        time.sleep(0.1)
    return write_exports(folder / "environment", environment(wanted))


def down(folder: Path) -> bool:
    """Stop the store; False when none was running. What was in it is gone."""
    server = running(folder)
    if server is None:
        return False
    end(server, state_file(folder), PROGRAM, STOP_SECONDS)
    return True


def running(folder: Path) -> Server | None:
    """The store if its process lives."""
    return recorded(state_file(folder), PROGRAM)


def is_healthy(port: int) -> bool:
    """True if a store answers on ``port`` and has the bucket."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/{BUCKET}?list-type=2", timeout=ANSWER_SECONDS
        ) as answer:
            return b"ListBucketResult" in answer.read()
    except (urllib.error.URLError, OSError):
        return False


def environment(port: int) -> dict[str, str]:
    """What delta-rs, the embedded engine and Spark find the store by, and `pos` a lakehouse in it.

    Any key is taken; the clients want one.
    """
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "pos",
        "AWS_SECRET_ACCESS_KEY": "any",  # pragma: allowlist secret
        "POS_LAKEHOUSE": f"s3://{BUCKET}/lakehouse",
    }


def default_folder() -> Path:
    """Where its log and its environment are, if nothing else is said."""
    return (Path(DEFAULT_STATES) / "_emulation").resolve()


def state_file(folder: Path) -> Path:
    """Where it is written down which process it is."""
    return folder / "s3.json"
