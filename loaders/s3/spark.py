"""Apache Spark on an S3-compatible store: Hadoop's S3A and the parts of Amazon's SDK that it needs.

The SDK's own bundle has all of Amazon's services, hundreds of MB; S3A needs these, 13 MB. Endpoint,
region and key come from the environment, by the names that Amazon's tools, delta-rs and Sail know
too.
"""

from __future__ import annotations

from pathlib import Path

from loaders.config import Settings
from loaders.jars import Jar, fetch, jars_folder

FOLDER = "spark-s3"  # among the jars: only who needs them loads them
LOCK_FILE = Path(__file__).with_name("jars.lock")
AGAIN = "python -m loaders.s3.spark"


def pinned_jars(path: Path = LOCK_FILE) -> list[Jar]:
    """The jars with their hashes: group, artifact, version, SHA-256 a line."""
    return [Jar(*line.split()) for line in path.read_text().splitlines()]


def jars_for(settings: Settings) -> list[Path]:
    """The folders of jars that a Spark on this lakehouse loads besides Delta's, fetched if missing.

    :class:`loaders.errors.UserError` where they cannot be fetched.
    """
    if settings.is_on_disk:
        return []
    folder = jars_folder(settings.project) / FOLDER
    fetch(folder, pinned_jars(), of="Spark", again=AGAIN)
    return [folder]


if __name__ == "__main__":
    import click

    from loaders.errors import UserError

    try:
        project = Path(__file__).resolve().parent.parent.parent
        for jar in fetch(jars_folder(project) / FOLDER, pinned_jars(), of="Spark", again=AGAIN):
            click.echo(jar)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
