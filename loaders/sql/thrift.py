"""The process of ``pos sql-server``: Spark's Thrift server, the tables of the lakehouse as views.

Views and not tables: a BI tool sees them as it sees tables, each query reads the newest rows, and
what writes into one is refused. Run as a program: ``python -m loaders.sql.thrift PORT``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from loaders.catalog import SCHEMAS, tables_on_disk
from loaders.config import Settings, settings_from
from loaders.servers import Server, record
from loaders.sql.server import state_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOOK_SECONDS = 15.0  # for new tables, other columns, and views that somebody dropped


class Views:
    """The views of one Spark session on the tables of one lakehouse."""

    def __init__(self, session: SparkSession, settings: Settings) -> None:
        self._session = session
        self._lakehouse = settings.disk
        self._schemas: dict[str, str] = {}  # columns that each view was made for
        for schema in SCHEMAS:
            session.sql(f"create schema if not exists {schema}")

    def refresh(self) -> None:
        """Make the views that are missing, and those anew whose table has other columns now."""
        from pyspark.errors import PySparkException

        there = {
            f"{schema}.{row['tableName']}"
            for schema in SCHEMAS
            for row in self._session.sql(f"show tables in {schema}").collect()
        }
        for schema, name, path in tables_on_disk(self._lakehouse):
            view = f"{schema}.{name}"
            try:
                columns = DeltaTable(str(path)).schema().to_json()
                if view not in there or self._schemas.get(view) != columns:
                    self._make(view, path)
                    self._schemas[view] = columns
            except (DeltaError, OSError, PySparkException) as error:  # the others are served
                sys.stderr.write(f"{view} is not served: {error}\n")

    def _make(self, view: str, path: Path) -> None:
        place = str(path).replace("`", "``")
        self._session.sql(f"create or replace view {view} as select * from delta.`{place}`")


def serve(settings: Settings, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    from loaders import spark

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    scratch = settings.state / "sql_server"
    session = spark.session(
        settings,
        {
            "spark.hadoop.hive.server2.thrift.bind.host": "127.0.0.1",
            "spark.hadoop.hive.server2.thrift.port": str(port),
            "spark.hadoop.hive.server2.logging.operation.enabled": "false",
            "spark.hadoop.hive.exec.local.scratchdir": str(scratch / "scratch"),
            "spark.hadoop.hive.downloaded.resources.dir": str(scratch / "resources"),
            "spark.local.dir": str(scratch / "local"),
            # The profile is for many small statements; a report reads much at once.
            "spark.sql.codegen.wholeStage": "true",
            "spark.sql.adaptive.enabled": "true",
        },
    )
    views = Views(session, settings)
    views.refresh()
    java = session._jvm
    assert java is not None, "a classic session has a JVM"
    thrift = java.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
    thrift.startWithSparkSession(session._jsparkSession, False)
    record(state_file(settings), Server(os.getpid(), port))
    while not stop.wait(LOOK_SECONDS):
        views.refresh()
    session.stop()


if __name__ == "__main__":
    serve(settings_from(), int(sys.argv[1]))
