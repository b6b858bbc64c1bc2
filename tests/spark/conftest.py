"""Spark's tests need a Java; without one they are skipped, saying how to install it."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders.config import Settings
from loaders.errors import UserError
from loaders.jars import fetch, jars_folder
from loaders.java import java_home_or_advice


@pytest.fixture(scope="session")
def spark_jars() -> Path:
    try:
        java_home_or_advice()
    except UserError as error:
        pytest.skip(str(error))
    folder = jars_folder(Settings(Path(), Path()).project)
    fetch(folder)
    return folder
