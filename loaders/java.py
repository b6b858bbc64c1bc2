"""Is there a Java that Spark or Kafka can run on? Apart, because fetching jars asks it as well."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from loaders.errors import UserError

OLDEST_JAVA = 17
ADVICE = (
    "install one with: apt-get install openjdk-17-jre-headless (Debian, Ubuntu), or: brew install "
    'openjdk@17 && export JAVA_HOME="$(brew --prefix openjdk@17)" (macOS)'
)


def java_home_or_advice(needed_by: str = "Apache Spark") -> Path:
    """The folder whose ``bin/java`` will be used; :class:`UserError` says how to install one.

    Looks where Spark looks: JAVA_HOME, then the PATH.
    """
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if program is None:
        raise UserError(
            f"{needed_by} needs Java {OLDEST_JAVA} or newer, and there is none; {ADVICE}"
        )
    version = _version_of(program)
    if version < OLDEST_JAVA:
        found = f"is version {version}" if version else "does not run"
        raise UserError(
            f"{needed_by} needs Java {OLDEST_JAVA} or newer, but {program} {found}; {ADVICE}"
        )
    return Path(program).resolve().parent.parent


def _version_of(program: str) -> int:
    """The major version of a Java, 0 where it cannot be told.

    macOS has a ``java`` that only says that none is installed.
    """
    try:
        said = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=60, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else 0
