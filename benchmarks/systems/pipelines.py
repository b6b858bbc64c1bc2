"""The vendor's way on open-source Spark Declarative Pipelines, which its demo's notebooks resemble.

Streaming tables of changes and counts and a materialized view of the inventory, all Delta. The
command line starts a Spark for each refresh; here its steps are called on a Spark that stays, as
every other system does. With ``format="delta"`` only a first refresh works (a second one fails with
DELTA_CANNOT_CHANGE_PROVIDER), so Delta is made Spark's default format instead.
"""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.systems.protocol import Seconds, Unavailable, land
from loaders.config import Settings
from loaders.errors import UserError
from loaders.jars import fetch, jars_folder
from loaders.java import java_home_or_advice
from loaders.spark import parameters

SPEC = """
name: inventory
storage: file://{folder}/storage
database: default
libraries:
  - glob:
      include: pipeline.py
"""

PIPELINE = '''
from pyspark import pipelines as dp
from pyspark.sql import SparkSession

spark = SparkSession.active()
STAMP = "yyyy-MM-dd HH:mm:ss"


@dp.table
def changes():
    schema = (
        "store_id int, date_time timestamp, change_type_id int, "
        "items array<struct<item_id: bigint, quantity: bigint>>"
    )
    messages = spark.readStream.schema(schema).option("timestampFormat", STAMP)
    return (
        messages.json("{inbox}/*/changes")
        .where("not (store_id = 0 and change_type_id = 4)")
        .selectExpr("store_id", "explode(items) as item", "date_time as occurred_at")
        .selectExpr("store_id", "item.item_id", "item.quantity", "occurred_at")
    )


@dp.table
def counts():
    schema = (
        "item_id bigint, employee_id string, store_id int, date_time timestamp, quantity bigint"
    )
    rows = spark.readStream.schema(schema).option("header", True).option("timestampFormat", STAMP)
    return rows.csv("{inbox}/*/counts").selectExpr(
        "store_id", "item_id", "quantity", "date_time as counted_at"
    )


@dp.materialized_view
def inventory():
    return spark.sql("""
        select
            coalesce(latest.store_id, moved.store_id) as store_id,
            coalesce(latest.item_id, moved.item_id) as item_id,
            coalesce(latest.quantity, 0) + coalesce(moved.quantity, 0) as on_hand_quantity
        from (
            select store_id, item_id, max_by(quantity, counted_at) as quantity
            from counts
            group by store_id, item_id
        ) as latest
        full outer join (
            select changes.store_id, changes.item_id, sum(changes.quantity) as quantity
            from changes
            left join (
                select store_id, item_id, max(counted_at) as counted_at
                from counts
                group by store_id, item_id
            ) as counted
                on changes.store_id = counted.store_id and changes.item_id = counted.item_id
            where counted.counted_at is null or changes.occurred_at > counted.counted_at
            group by changes.store_id, changes.item_id
        ) as moved
            on latest.store_id = moved.store_id and latest.item_id = moved.item_id
    """)
'''


class Pipelines:
    """A pipeline, and a Spark with Spark Connect on the port, in this process."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._inbox = folder, folder / "inbox"
        for pos in ("none/changes", "none/counts"):
            (self._inbox / pos).mkdir(parents=True)
        (folder / "spec.yml").write_text(SPEC.format(folder=folder))
        # Not by format(): the pipeline has braces of its own.
        (folder / "pipeline.py").write_text(PIPELINE.replace("{inbox}", str(self._inbox)))
        settings = Settings(folder / "landing", folder / "lakehouse", port, "spark")
        try:
            java_home_or_advice()
            fetch(jars_folder(settings.project))
        except UserError as error:
            raise Unavailable(str(error)) from error
        from pyspark.sql.connect.session import SparkSession

        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        os.environ["SPARK_LOCAL_REMOTE"] = "1"
        options = parameters(settings) | {
            "spark.sql.sources.default": "delta",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.connect.grpc.binding.port": str(port),
        }
        options.pop("spark.master")
        SparkSession._start_connect_server("local[2]", options)
        os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
        # The pipelines' own signatures name the other of pyspark's two session classes.
        self._session: Any = SparkSession.builder.remote(f"sc://localhost:{port}").getOrCreate()

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("pyspark", "delta-spark")}

    def backfill(self, files: dict[str, Path]) -> Seconds:
        return self.tick(files)

    def tick(self, files: dict[str, Path]) -> Seconds:
        land(self._inbox, files)
        started = time.monotonic()
        self._refresh()
        total = time.monotonic() - started
        for path in files:
            (self._inbox / path).unlink()
        return Seconds(total)

    def _refresh(self) -> None:
        """What ``spark-pipelines run`` does, on the session that is there."""
        from pyspark.pipelines.cli import load_pipeline_spec, register_definitions
        from pyspark.pipelines.spark_connect_graph_element_registry import (
            SparkConnectGraphElementRegistry,
        )
        from pyspark.pipelines.spark_connect_pipeline import (
            create_dataflow_graph,
            handle_pipeline_events,
            start_run,
        )

        path = self._folder / "spec.yml"
        spec = load_pipeline_spec(path)
        graph = create_dataflow_graph(
            self._session,
            default_catalog=spec.catalog,
            default_database=spec.database,
            sql_conf=spec.configuration,
        )
        registry = SparkConnectGraphElementRegistry(self._session, graph)
        register_definitions(path, registry, spec, self._session, graph)
        events = start_run(
            self._session,
            graph,
            full_refresh=[],
            full_refresh_all=False,
            refresh=[],
            dry=False,
            storage=spec.storage,
        )
        handle_pipeline_events(events)

    def inventory(self) -> pa.Table:
        table = DeltaTable(str(self._folder / "warehouse" / "inventory"))
        return pa.table(table.to_pyarrow_table())

    def processes(self) -> list[int]:
        return []  # the JVM is a child of this process

    def close(self) -> None:
        self._session.stop()
