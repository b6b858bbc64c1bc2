"""A session for reading: an engine of its own in this process, with the lakehouse's tables.

The running engine is left alone. Its session is shared, so a view or a setting made there is made
for all and a ``stop()`` ends it for all; and a large query would take its memory from a build's.
One's own starts in a second, reads the same files, is there when no other runs, and ends with us.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from loaders.catalog import register, tables_in
from loaders.config import Settings
from loaders.errors import UserError
from loaders.sql.statement import sentence

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MEMORY = 1_000_000_000  # beside an engine's 1.5 GB; SAIL_RUNTIME__MEMORY_POOL__… for more


class Reader:
    """Runs queries; each sees the newest rows of every table, also of one made since."""

    def __init__(self, settings: Settings, session: SparkSession) -> None:
        self._settings = settings
        self._session = session
        self._refresh()
        self._session.sql("create schema if not exists gold").collect()
        self._session.sql("use schema gold").collect()

    @property
    def tables(self) -> list[str]:
        """The tables that there are, as ``schema.name``."""
        return [f"{schema}.{name}" for schema, name, _ in tables_in(self._settings.lakehouse)]

    def query(self, statement: str, limit: int | None = None) -> pa.Table:
        """The rows of a statement, at most ``limit``; :class:`UserError` says what is wrong."""
        from pyspark.errors import PySparkException

        self._refresh()
        try:
            found = self._session.sql(statement)
            return pa.table((found if limit is None else found.limit(limit)).toArrow())
        except PySparkException as error:
            raise UserError(sentence(str(error), self.tables)) from error

    def _refresh(self) -> None:
        register(self._session, self._settings.lakehouse)


@contextmanager
def reader(settings: Settings) -> Iterator[Reader]:
    """A :class:`Reader` for the lakehouse; its engine ends with the block.

    :class:`UserError` where there is no lakehouse.
    """
    from loaders import engine

    if not any(tables_in(settings.lakehouse)):
        raise UserError(
            f"there are no tables in {settings.lakehouse}; name another lakehouse with --lakehouse "
            f"or POS_LAKEHOUSE, or make a small one with: pos sample"
        )
    os.environ.setdefault("RUST_LOG", "off")  # its log would go to the terminal
    os.environ.setdefault("SAIL_RUNTIME__MEMORY_POOL__TYPE", "greedy")
    os.environ.setdefault("SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE", str(MEMORY))
    os.environ.setdefault("SAIL_SPARK__SESSION_TIMEOUT_SECS", str(engine.SESSION_SECONDS))
    from pysail.spark import SparkConnectServer  # type: ignore[import-untyped]

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    try:
        _, port = server.listening_address
        yield Reader(settings, engine.connect(replace(settings, port=port)))
    finally:
        engine.forget_client()
        server.stop()
