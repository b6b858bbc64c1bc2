"""Files of ``export NAME=value``, which a server's user reads into a shell: ``. FILE``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from loaders.files import write_atomically


def write_exports(path: Path, environment: Mapping[str, str]) -> Path:
    """Write the file, whole or not at all; returns ``path``."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    write_atomically(path, "".join(lines).encode())
    return path


def read_exports(path: Path) -> dict[str, str]:
    """What a shell that reads a file of :func:`write_exports` has in its environment then."""
    words = shlex.split(path.read_bytes().decode())
    return dict(word.split("=", 1) for word in words if word != "export")
