"""The systems that are measured side by side, by name.

Each is a class with the methods of :class:`benchmarks.systems.protocol.System`, and runs in a
process of its own: some need another environment, and one process has one engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """Where a system's class is, how it is called in tables, and what it needs."""

    place: str  # module:class
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    own_environment: bool = True  # of the project; else the benchmarks'


SYSTEMS: dict[str, Entry] = {
    "ours_local": Entry("ours:Ours", "this project, Sail", {"target": "local"}),
    "ours_spark": Entry("ours:Ours", "this project, Spark", {"target": "spark"}),
    "vendor_sail": Entry("vendor:Vendor", "vendor's way, Sail", {"target": "local"}),
    "vendor_spark": Entry("vendor:Vendor", "vendor's way, Spark", {"target": "spark"}),
    "vendor_pipelines": Entry("pipelines:Pipelines", "vendor's way, Declarative Pipelines"),
    "dbt_duckdb_full": Entry(
        "dbt_duckdb:DbtDuckdb", "dbt-duckdb, full", {"gold": "table"}, own_environment=False
    ),
    "dbt_duckdb_merge": Entry(
        "dbt_duckdb:DbtDuckdb", "dbt-duckdb, merge", {"gold": "merge"}, own_environment=False
    ),
    "dbt_duckdb_delete_insert": Entry(
        "dbt_duckdb:DbtDuckdb",
        "dbt-duckdb, delete+insert",
        {"gold": "delete+insert"},
        own_environment=False,
    ),
    "duckrun": Entry(
        "dbt_duckdb:DbtDuckdb",
        "duckrun, merge",
        {"gold": "merge", "adapter": "duckrun"},
        own_environment=False,
    ),
    "floor": Entry("floor:Floor", "floor: DuckDB + delta-rs", own_environment=False),
    "pathway": Entry("pathway:Pathway", "Pathway", own_environment=False),
}
