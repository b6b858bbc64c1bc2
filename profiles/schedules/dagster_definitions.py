"""The project in Dagster, on the machine that has it at /opt/pos; apart from our own environment.

Each table is an asset with its lineage, so that Dagster shows what was built when. Beforehand, in
/opt/pos: `pos up` (the engine stays) and `dbt parse`, which writes the manifest that this reads.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetSpec,
    Definitions,
    MaterializeResult,
    ScheduleDefinition,
    define_asset_job,
    multi_asset,
)
from dagster_dbt import DbtCliResource, dbt_assets

PROJECT = Path("/opt/pos")
BRONZE = [["bronze", name] for name in ("pos_messages", "pos_count_rows", "pos_items")]

os.environ["POS_LANDING"] = "/var/lib/pos/landing"
os.environ["POS_LAKEHOUSE"] = "/var/lib/pos/lakehouse"


@multi_asset(specs=[AssetSpec(key) for key in BRONZE])
def bronze() -> Iterator[MaterializeResult]:
    """What has landed, taken in."""
    subprocess.run([PROJECT / ".venv/bin/pos", "load", "--once"], check=True)
    for key in BRONZE:
        yield MaterializeResult(asset_key=key)


@dbt_assets(manifest=PROJECT / "target/manifest.json", exclude="resource_type:unit_test tag:full")
def tables(context: AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """All tables of silver and gold, with their tests."""
    yield from dbt.cli(["build"], context=context).stream()


# One after the other: `pos load` and dbt refuse a second one beside them.
build = define_asset_job("pos_build", tags={"dagster/concurrency_key": "pos"})

defs = Definitions(
    assets=[bronze, tables],
    schedules=[ScheduleDefinition(job=build, cron_schedule="*/5 * * * *")],
    resources={
        "dbt": DbtCliResource(
            project_dir=str(PROJECT),
            profiles_dir=str(PROJECT / "profiles"),
            dbt_executable=str(PROJECT / ".venv/bin/dbt"),
        )
    },
)
