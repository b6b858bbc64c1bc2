"""A sample lakehouse as `pos sample` makes it, one for all of these tests; its engine is up.

POS_TEST_SAMPLE names one to use and to leave standing, for whoever works on these tests.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from loaders import engine
from loaders.catalog import tables_on_disk
from loaders.config import Settings
from tests.worlds import free_port

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Sample:
    """Where the sample is, and the environment that `pos sample` says to use it by."""

    folder: Path
    settings: Settings
    exports: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.exports, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1"}

    @property
    def gold(self) -> list[str]:
        places = tables_on_disk(self.settings.lakehouse)
        return [name for schema, name, _ in places if schema == "gold"]

    def table(self, name: str) -> pa.Table:
        """A gold table as delta-rs reads it."""
        path = self.settings.table("gold", name)
        return pa.table(DeltaTable(str(path)).to_pyarrow_table())

    def pos(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "loaders", *arguments],
            cwd=PROJECT,
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    kept = os.environ.get("POS_TEST_SAMPLE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("sample") / "sample"
    port = free_port()
    settings = Settings(folder / "landing", folder / "lakehouse", port)
    command = [sys.executable, "-m", "loaders", "sample", str(folder), "--port", str(port)]
    try:
        done = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [shlex.split(line) for line in done.stdout.splitlines()]
        assert {words[0] for words in lines} == {"export"}, "only what a shell can take"
        exports = dict(words[1].split("=", 1) for words in lines)
        yield Sample(folder, settings, exports)
    finally:
        engine.down(settings)
