"""The project's manifest, as dbt parses it: no engine, no network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.manifest import ROOT, Manifest


@pytest.fixture(scope="session")
def manifest_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifest")
    command = [sys.executable, "-m", "dbt.cli.main", "parse", "--target", "local"]
    command += ["--target-path", str(folder), "--log-path", str(folder), "--no-use-colors"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def manifest(manifest_folder: Path) -> Manifest:
    loaded: Manifest = json.loads((manifest_folder / "manifest.json").read_text())
    return loaded
