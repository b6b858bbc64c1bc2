"""Jars from a Maven repository, pinned by hash: those that Delta needs on Apache Spark.

Apart from the session, because they are fetched at installation and not when a build starts.
Spark's own way (`spark.jars.packages`) resolves 34 jars at every start of a session; what we use of
them is in these two and in the wheel. Run as a program: ``python -m loaders.jars``. Kafka's broker
is fetched the same way (`loaders/kafka/broker.py`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loaders.errors import UserError
from loaders.java import java_home_or_advice

DEFAULT_FOLDER = "jars"
FETCH_SECONDS = 300
AGAIN = "python -m loaders.jars"


@dataclass(frozen=True)
class Jar:
    """One file of a Maven repository and the SHA-256 of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name on disk."""
        return f"{self.artifact}-{self.version}.jar"


# For pyspark 4.2 (Scala 2.13): they move with the version of delta-spark in pyproject.toml.
JARS = (
    Jar(
        "io.delta",
        "delta-spark_4.2_2.13",
        "4.4.0",
        # pragma: allowlist nextline secret
        "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead",
    ),
    Jar(
        "io.delta",
        "delta-storage",
        "4.4.0",
        # pragma: allowlist nextline secret
        "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
    ),
)


def jars_folder(project: Path) -> Path:
    """Where the jars lie: POS_JARS, or ``jars`` in the project."""
    return Path(os.environ.get("POS_JARS") or project / DEFAULT_FOLDER).absolute()


def pyspark_home() -> Path | None:
    """The folder of pyspark's wheel, which is a Spark's home; ``None`` where it is not installed.

    Found without importing it.
    """
    found = importlib.util.find_spec("pyspark")
    return Path(found.origin).parent if found and found.origin else None


def fetch(
    folder: Path, jars: Sequence[Jar] = JARS, *, of: str = "Spark", again: str = AGAIN
) -> list[Path]:
    """Make sure that every jar lies in ``folder`` with the right bytes; returns their paths.

    Without network when all are there. :class:`UserError` for a jar that cannot be fetched or is
    not the one expected, and for another version beside it: whose they are (``of``) would load
    both. ``again`` is the command that fetches them.
    """
    _refuse_other_versions(folder, jars, of)
    missing = [jar for jar in jars if not (folder / jar.file_name).exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that a jar appears by rename: whole, or not at all.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            _retrieve(missing, Path(scratch), of)
            for jar in missing:
                fetched = Path(scratch) / jar.file_name
                _verify(jar, fetched, "whatever answered is no honest Maven repository")
                fetched.replace(folder / jar.file_name)
    for jar in jars:
        advice = f"remove it from {folder}; then fetch it again: {again}"
        _verify(jar, folder / jar.file_name, advice)
    return [folder / jar.file_name for jar in jars]


def _refuse_other_versions(folder: Path, jars: Sequence[Jar], of: str) -> None:
    expected = {jar.file_name for jar in jars}
    for jar in jars:
        prefix = jar.artifact.split("_")[0]
        for path in folder.glob(f"{prefix}[-_]*.jar"):
            if path.name not in expected:
                raise UserError(
                    f"{path} is another version of {jar.file_name}; {of} would load both. "
                    f"Remove it, or name another folder in POS_JARS"
                )


def _verify(jar: Jar, path: Path, advice: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise UserError(
            f"{path.name} is not the file that was pinned (its SHA-256 is {found}, expected is "
            f"{jar.sha256}); {advice}"
        )


def _retrieve(jars: Sequence[Jar], folder: Path, of: str) -> None:
    """Download ``jars`` into ``folder`` with the Ivy that is part of pyspark.

    Ivy knows the usual repository, and Java the machine's proxy and certificates (JAVA_TOOL_OPTIONS
    for what it does not). Its cache is a new one: one that knows a jar only by name makes it fail.
    """
    module = folder / "ivy.xml"
    module.write_text(_ivy_module(jars))
    command = [
        *(str(java_home_or_advice(f"Apache {of}") / "bin" / "java"), "-cp", str(_ivy())),
        *("org.apache.ivy.Main", "-ivy", str(module), "-cache", str(folder / "cache")),
        *("-retrieve", f"{folder}/[artifact]-[revision].[ext]", "-types", "jar", "bundle"),
        "-warn",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
        said = (done.stdout + done.stderr).strip()
    except subprocess.TimeoutExpired:
        said = f"no answer within {FETCH_SECONDS} seconds"
    shutil.rmtree(folder / "cache", ignore_errors=True)
    for jar in jars:
        if not (folder / jar.file_name).exists():
            raise UserError(
                f"{jar.file_name} cannot be fetched; check the network and Java's proxy settings "
                f"(JAVA_TOOL_OPTIONS=-Dhttps.proxyHost=… -Dhttps.proxyPort=…), or put the file "
                f"({jar.group}:{jar.artifact}:{jar.version} in any Maven repository) into "
                f"{folder.parent} yourself. Ivy's last words: {said[-400:]}"
            )


def _ivy_module(jars: Sequence[Jar]) -> str:
    dependencies = "".join(
        f'<dependency org="{jar.group}" name="{jar.artifact}" rev="{jar.version}"'
        f' transitive="false" conf="default->master"/>'
        for jar in jars
    )
    return (
        '<ivy-module version="2.0"><info organisation="pos" module="jars"/>'
        '<configurations><conf name="default"/></configurations>'
        f"<dependencies>{dependencies}</dependencies></ivy-module>\n"
    )


def _ivy() -> Path:
    if home := pyspark_home():
        for path in (home / "jars").glob("ivy-*.jar"):
            return path
    raise UserError("pyspark is not installed whole (its Ivy is missing); run: make setup")


if __name__ == "__main__":
    import click

    try:
        for path in fetch(jars_folder(Path(__file__).resolve().parent.parent)):
            click.echo(path)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
