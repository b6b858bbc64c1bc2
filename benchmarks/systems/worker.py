"""One system in a process of its own: a JSON object a line in, one out.

``python -m benchmarks.systems.worker NAME FOLDER PORT``. What libraries print goes to standard
error, so that standard output is the runner's alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from benchmarks.processes import Meter
from benchmarks.systems import SYSTEMS
from benchmarks.systems.protocol import System, Unavailable


def main() -> None:
    """Answer requests until the runner closes the pipe."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, folder, port = sys.argv[1:4]
    try:
        system = make(name, Path(folder), int(port))
    except Exception as problem:
        _say(answers, _problem(problem))
        return
    _say(answers, {"versions": system.versions()})
    meter = Meter()
    try:
        for line in sys.stdin:
            try:
                answer = serve(system, json.loads(line), meter)
            except Exception as problem:
                answer = _problem(problem)
            _say(answers, answer)
    finally:
        system.close()


def make(name: str, folder: Path, port: int) -> System:
    """The system of that name, ready."""
    entry = SYSTEMS[name]
    module, _, attribute = entry.place.partition(":")
    found = getattr(importlib.import_module(f"benchmarks.systems.{module}"), attribute)
    system: System = found(folder, port, **entry.options)
    return system


def serve(system: System, request: dict[str, Any], meter: Meter) -> dict[str, Any]:
    """Do what is asked; the answer as a JSON object."""
    roots = [os.getpid(), *system.processes()]
    match request["do"]:
        case "backfill" | "tick" as what:
            files = {path: Path(place) for path, place in request["files"].items()}
            seconds = getattr(system, what)(files)
            meter.read(roots)  # an engine that this request started is seen at the next one
            return asdict(seconds)
        case "inventory":
            import pyarrow.parquet as pq

            pq.write_table(system.inventory(), request["to"])
            return {}
        case "usage":
            return asdict(meter.read(roots))
    raise ValueError(f"no such request: {request['do']}")


def _problem(problem: Exception) -> dict[str, Any]:
    text = " ".join(str(problem).split())[:2000]
    if isinstance(problem, Unavailable | ImportError):
        return {"unavailable": text}
    return {"error": f"{type(problem).__name__}: {text}"}


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
