"""The runner's side of a system in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.history import File
from benchmarks.processes import Usage
from benchmarks.systems import SYSTEMS
from benchmarks.systems.protocol import Seconds, Unavailable

PROJECT = Path(__file__).resolve().parents[2]
CLOSE_SECONDS = 60


class Remote:
    """A system in a worker process. A context manager; :class:`Unavailable` where it cannot run."""

    def __init__(self, name: str, folder: Path, port: int, environment: Path | None) -> None:
        """``environment`` is the benchmarks' own virtual environment, if there is one."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        python = sys.executable
        if not SYSTEMS[name].own_environment:
            if environment is None:
                raise Unavailable("the benchmarks' environment is not made: make .venv-bench")
            python = str(environment.absolute() / "bin" / "python")
        with (folder / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.systems.worker", name, str(folder), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=PROJECT,
                env={**os.environ, "PYTHONPATH": str(PROJECT)},
                text=True,
            )
        try:
            self.versions: dict[str, str] = self._answer()["versions"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def backfill(self, files: dict[str, Path]) -> Seconds:
        """Take in a month that lies on disk."""
        return self._timed("backfill", files)

    def tick(self, files: list[File]) -> Seconds:
        """Take in what is new; putting the files down is not part of the time."""
        return self._timed("tick", put_down(files, self._folder / "arriving"))

    def inventory(self) -> pa.Table:
        """On hand by store and item."""
        path = self._folder / "inventory.parquet"
        self._ask({"do": "inventory", "to": str(path)})
        return pq.read_table(path)

    def usage(self) -> Usage:
        """What the system's processes have used since they began."""
        return Usage(**self._ask({"do": "usage"}))

    def close(self) -> None:
        """Let the worker stop what it started, and end."""
        if self._process.poll() is None:
            _pipe(self._process.stdin).close()
            try:
                self._process.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _timed(self, what: str, files: dict[str, Path]) -> Seconds:
        listed = {path: str(place) for path, place in files.items()}
        return Seconds(**self._ask({"do": what, "files": listed}))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        pipe = _pipe(self._process.stdin)
        pipe.write(json.dumps(request) + "\n")
        pipe.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            end = (self._folder / "worker.log").read_text(errors="replace")[-1500:]
            raise RuntimeError(f"the worker ended: {' '.join(end.split())}")
        answer: dict[str, Any] = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def put_down(files: list[File], folder: Path) -> dict[str, Path]:
    """Write files below ``folder``; landing path → where it lies."""
    places = {}
    for path, data in files:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        places[path] = place
    return places


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
