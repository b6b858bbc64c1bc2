"""What a user would pick instead: dbt on DuckDB, by dbt-duckdb, or by duckrun on Delta tables.

One resident dbt with a kept manifest, as this project's. The project is three nodes: changes and
counts, which are appended to, and the inventory: worked out in full, or by an increment that is
merged.
"""

from __future__ import annotations

import os
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.systems.duck_sql import FULL, INCREMENT, NEW_CHANGES, NEW_COUNTS
from benchmarks.systems.protocol import Seconds, Unavailable, land

PROJECT = """
name: duck_inventory
version: "1.0"
profile: duck_inventory
model-paths: [models]
flags:
  send_anonymous_usage_stats: false
"""
PROFILES = """
duck_inventory:
  target: {adapter}
  outputs:
    duckdb:
      type: duckdb
      path: '{folder}/inventory.duckdb'
      threads: 2
    duckrun:
      type: duckrun
      path: '{folder}/session.duckdb'
      root_path: '{folder}/lakehouse'
      threads: 2
      config_options:
        extension_directory: '{folder}/extensions'
"""
EPHEMERAL = "{{ config(materialized='ephemeral') }}\n"
APPENDED = """
{{{{ config(materialized='incremental', incremental_strategy='append') }}}}
select * from {{{{ ref('{new}') }}}}
"""
FULL_INVENTORY = FULL.format(changes="{{ ref('changes') }}", counts="{{ ref('counts') }}")
INCREMENTAL_INVENTORY = (
    """
{{ config(
    materialized='incremental',
    incremental_strategy='STRATEGY',
    unique_key=['store_id', 'item_id'],
) }}
-- depends_on: {{ ref('new_changes') }}, {{ ref('new_counts') }}, {{ ref('counts') }}
{% if is_incremental() %}
"""
    + INCREMENT.format(
        new_changes="select * from {{ ref('new_changes') }}",
        new_counts="select * from {{ ref('new_counts') }}",
        changes="{{ ref('changes') }}",
        inventory="{{ this }}",
    )
    + "{% else %}"
    + FULL_INVENTORY
    + "{% endif %}"
)
COUNT_HEADER = "item_id,employee_id,store_id,date_time,quantity\n"


class DbtDuckdb:
    """``gold`` is ``table``, ``merge`` or ``delete+insert``; ``adapter`` duckdb or duckrun."""

    def __init__(self, folder: Path, _port: int, gold: str, adapter: str = "duckdb") -> None:
        self._folder, self._adapter = folder, adapter
        self._inbox = folder / "inbox"
        self._write_project(gold)
        if adapter == "duckrun":
            _unpack_delta_extension(folder / "extensions")
        self._database = folder / "inventory.duckdb"
        self._runner, self._manifest = self._parsed()

    def versions(self) -> dict[str, str]:
        names = ["dbt-core", "dbt-duckdb", "duckdb"]
        if self._adapter == "duckrun":
            names += ["duckrun", "deltalake"]
        return {name: version(name) for name in names}

    def backfill(self, files: dict[str, Path]) -> Seconds:
        return self.tick(files)

    def tick(self, files: dict[str, Path]) -> Seconds:
        land(self._inbox, files)
        started = time.monotonic()
        self._forget_compiled()
        result = self._runner.invoke(["run", *self._options()])
        total = time.monotonic() - started
        nodes = list(getattr(result.result, "results", None) or [])
        if not result.success:
            said = "; ".join(str(node.message) for node in nodes if node.status != "success")
            raise RuntimeError(f"{result.exception or ''} {said}")
        for path in files:
            (self._inbox / path).unlink()
        return Seconds(total, {f"node {node.node.name}": node.execution_time for node in nodes})

    def inventory(self) -> pa.Table:
        columns = "store_id, item_id, on_hand_quantity"
        if self._adapter == "duckrun":
            from deltalake import DeltaTable

            table = DeltaTable(str(self._folder / "lakehouse" / "main" / "inventory"))
            return pa.table(table.to_pyarrow_table(columns=columns.split(", ")))
        with duckdb.connect(str(self._database)) as connection:
            return connection.execute(f"select {columns} from inventory").to_arrow_table()

    def processes(self) -> list[int]:
        return []

    def close(self) -> None:
        pass  # all is in this process

    def _write_project(self, gold: str) -> None:
        project = self._folder / "project"
        inbox = str(self._inbox)
        inventory = INCREMENTAL_INVENTORY.replace("STRATEGY", gold)
        models = {
            "new_changes": EPHEMERAL + NEW_CHANGES.format(changes=f"'{inbox}/*/changes/*.json'"),
            "new_counts": EPHEMERAL + NEW_COUNTS.format(counts=f"'{inbox}/*/counts/*.csv'"),
            "changes": APPENDED.format(new="new_changes"),
            "counts": APPENDED.format(new="new_counts"),
            "inventory": (
                "{{ config(materialized='table') }}\n" + FULL_INVENTORY
                if gold == "table"
                else inventory
            ),
        }
        (project / "models").mkdir(parents=True, exist_ok=True)
        for name, sql in models.items():
            (project / "models" / f"{name}.sql").write_text(sql)
        (project / "dbt_project.yml").write_text(PROJECT)
        profiles = PROFILES.format(adapter=self._adapter, folder=self._folder)
        (project / "profiles.yml").write_text(profiles)
        # What a glob finds must not be nothing: a tick may bring no count.
        for path, text in (("none/changes/none.json", ""), ("none/counts/none.csv", COUNT_HEADER)):
            empty = self._inbox / path
            empty.parent.mkdir(parents=True, exist_ok=True)
            empty.write_text(text)

    def _options(self) -> list[str]:
        project = str(self._folder / "project")
        return [
            *("--project-dir", project, "--profiles-dir", project),
            *("--log-level", "none", "--log-level-file", "warn", "--no-print"),
            "--no-version-check",
        ]

    def _parsed(self) -> tuple[Any, Any]:
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest

        os.environ["DO_NOT_TRACK"] = "1"
        result = dbtRunner().invoke(["parse", *self._options()])
        if not isinstance(result.result, Manifest):
            raise Unavailable(f"the dbt project does not parse: {result.exception}")
        return dbtRunner(manifest=result.result), result.result

    def _forget_compiled(self) -> None:
        """As in loaders/warehouse.py: a kept manifest would not inline ephemerals a second time."""
        for node in self._manifest.nodes.values():
            if hasattr(node, "compiled"):
                node.compiled = False
                node.compiled_code = None
                node.extra_ctes_injected = False
                node.extra_ctes = []


def _unpack_delta_extension(folder: Path) -> None:
    """Put the extension of the wheel where DuckDB's INSTALL finds it."""
    import duckdb_extension_delta

    (extension,) = Path(duckdb_extension_delta.__path__[0]).rglob("*.duckdb_extension")
    (platform,) = duckdb.sql("pragma platform").fetchone() or ("",)
    place = folder / f"v{duckdb.__version__}" / platform
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(extension, place)
