"""The engine's catalogue: tell a Spark session which Delta tables lie in the lakehouse.

A new Sail session, and a Spark session without a metastore, know no tables. A dbt that believes
there are none would build them anew over their history, so whatever lies on disk is registered
before anybody asks. Works on any Spark session, by SQL alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import FileSelector, PyFileSystem

from loaders.errors import UserError, first_line
from loaders.places import Place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMAS = ("bronze", "silver", "gold")

_TYPES = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}


def tables_on_disk(lakehouse: Path) -> Iterator[tuple[str, str, Path]]:
    """``(schema, name, path)`` of every Delta table in the lakehouse, sorted."""
    for schema in SCHEMAS:
        folder = lakehouse / schema
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if (path / "_delta_log").is_dir():
                yield schema, path.name, path


def tables_in(lakehouse: Place) -> Iterator[tuple[str, str, Place]]:
    """``(schema, name, place)`` of every Delta table in a lakehouse, wherever it is; sorted.

    :class:`UserError` for a store that does not answer, or has no such bucket.
    """
    if isinstance(lakehouse, Path):
        yield from tables_on_disk(lakehouse)
        return
    # delta-rs lists too, by the same environment as it opens tables: one client, one configuration.
    from deltalake.fs import DeltaStorageHandler

    try:
        files = PyFileSystem(DeltaStorageHandler(str(lakehouse)))
        for schema in SCHEMAS:
            found = files.get_file_info(FileSelector(schema, allow_not_found=True))
            for info in sorted(found, key=lambda info: info.base_name):
                log = FileSelector(f"{schema}/{info.base_name}/_delta_log", allow_not_found=True)
                # Not its folder: Spark puts a mark for that there before the first commit.
                if any(entry.extension == "json" for entry in files.get_file_info(log)):
                    yield schema, info.base_name, lakehouse / schema / info.base_name
    except (DeltaError, OSError) as error:
        raise UserError(refusal_of_store(lakehouse, error)) from error


def refusal_of_store(place: Place, error: Exception) -> str:
    """What to say where a store does not let us in, or does not answer."""
    return (
        f"{place} cannot be used: {plain_cause(error)}; is there such a bucket? AWS_REGION, "
        f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say who asks, and for a store that is not "
        f"Amazon's AWS_ENDPOINT_URL where it is (with AWS_ALLOW_HTTP=true if that is http)"
    )


def plain_cause(error: Exception) -> str:
    r"""What a store's client says at last, in one line.

    >>> plain_cause(OSError("Generic S3 error\\n  \x1b[31m↳\x1b[0m Error performing GET x\\n"
    ...     "    \x1b[31m↳\x1b[0m 404 Not Found\\n<Error><Code>NoSuchBucket</Code></Error>"))
    'Generic S3 error, Error performing GET x, 404 Not Found, NoSuchBucket'
    """
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    code = re.search(r"<Code>([^<]*)</Code>", said)
    lines = [line.strip(" ↳") for line in said.splitlines() if not line.lstrip().startswith("<")]
    return ", ".join([line for line in lines if line] + ([code[1]] if code else []))[:400]


def create_table_sql(schema: str, name: str, path: Place) -> str:
    """The statement that registers the Delta table at ``path`` as ``schema.name``.

    The columns are spelt out because Sail takes a table without any for one that has none.
    Raises :class:`UserError` when the table's log cannot be read.
    """
    try:
        table = DeltaTable(str(path))
        fields = json.loads(table.schema().to_json())["fields"]
        partitions = table.metadata().partition_columns
    except (DeltaError, OSError) as error:
        raise UserError(
            f"cannot read the Delta table {schema}.{name} at {path}: {first_line(error)}. "
            f"Restore it from a backup, or move the folder away so that it is built again"
        ) from error
    columns = ", ".join(
        f"`{field['name']}` {sql_type(field['type'])}{'' if field['nullable'] else ' not null'}"
        for field in fields
    )
    partitioned = f" partitioned by ({', '.join(partitions)})" if partitions else ""
    return (
        f"create table if not exists {schema}.{name} ({columns}) using delta{partitioned} "
        f"location '{path}'"
    )


def sql_type(delta_type: str | dict[str, Any]) -> str:
    """The SQL spelling of a type in Delta's schema JSON.

    >>> sql_type("long"), sql_type({"type": "array", "elementType": "integer"})
    ('bigint', 'array<int>')
    """
    if isinstance(delta_type, str):
        return _TYPES.get(delta_type, delta_type)
    kind = delta_type["type"]
    if kind == "array":
        return f"array<{sql_type(delta_type['elementType'])}>"
    if kind == "map":
        return f"map<{sql_type(delta_type['keyType'])}, {sql_type(delta_type['valueType'])}>"
    members = ", ".join(
        f"{field['name']}: {sql_type(field['type'])}" for field in delta_type["fields"]
    )
    return f"struct<{members}>"


def register(session: SparkSession, lakehouse: Place) -> list[str]:
    """Register the lakehouse's tables that the session does not know; returns the names added."""
    # Delta's timestamps are UTC by that name; a session begins with the machine's zone.
    session.conf.set("spark.sql.session.timeZone", "UTC")
    added: list[str] = []
    known: dict[str, set[str]] = {}
    for schema in SCHEMAS:
        session.sql(f"create schema if not exists {schema}").collect()
        rows = session.sql(f"show tables in {schema}").collect()
        known[schema] = {row[1] for row in rows if row[0] == schema}  # its names differ
    for schema, name, path in tables_in(lakehouse):
        if name not in known[schema]:
            session.sql(create_table_sql(schema, name, path)).collect()
            added.append(f"{schema}.{name}")
    return added
