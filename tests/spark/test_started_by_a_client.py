"""Apache Spark in a process whose parent talks to the embedded engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loaders.spark import CONNECT_MODE

pytestmark = pytest.mark.spark

STARTS_SPARK = """
import sys
from pathlib import Path
from loaders import spark
from loaders.config import Settings

folder = Path(sys.argv[1])
settings = Settings(folder / "landing", folder / "lakehouse", target="spark")
print(spark.session(settings).range(3).count())
"""


def test_spark_starts_though_pyspark_has_marked_the_parent_a_connect_client(
    spark_jars: Path, tmp_path: Path
) -> None:
    """An orchestrator or a notebook that has a session of the engine starts `pos run`."""
    done = subprocess.run(
        [sys.executable, "-c", STARTS_SPARK, str(tmp_path)],
        env={**os.environ, CONNECT_MODE: "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3"]
