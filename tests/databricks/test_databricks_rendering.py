"""The project as Databricks gets it: no account, no network, the adapter's own macros."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dbt.include import databricks

from tests.databricks.columns import syntax_errors
from tests.databricks.rendering import ROOT, Statement, Warehouse, build

# Statements that Databricks takes and sqlfluff's dialect does not know, and what is in them. They
# are the adapter's; nothing of this project's own may be listed here.
NOT_IN_THE_DIALECT = {
    r"^DESCRIBE TABLE EXTENDED [\w.`]+ AS JSON$": "AS JSON is of Databricks runtime 16.2",
}
CREATE_TABLE = re.compile(r"^create\s+(or\s+replace\s+)?table\s", re.IGNORECASE)
FOR_SPARK = re.compile(r"\blocation\s+'|\bdbt_target\b|\bbinaryFile\b")
MERGE = re.compile(r"^merge\s+into\s", re.IGNORECASE)


@dataclass
class Run:
    """One build: the nodes and what each of them sent."""

    nodes: dict[str, Any]
    statements: list[Statement]

    def sent_by(self, node_id: str, pattern: re.Pattern[str]) -> list[str]:
        return [s.sql for s in self.statements if s.sender == node_id and pattern.match(s.sql)]

    def of_type(self, *materializations: str) -> Iterator[tuple[str, Any]]:
        for node_id, node in self.nodes.items():
            if getattr(node.config, "materialized", None) in materializations:  # exposures
                yield node_id, node.config


def builds(names: list[str], workdir: Path, *, materialization_v2: bool) -> dict[str, Run]:
    """Builds into one warehouse: of nothing, of what is new, of everything anew."""
    warehouse = Warehouse()
    runs: dict[str, Run] = {}
    for name in names:
        warehouse.statements = []
        options = ["--full-refresh"] if name == "refresh" else []
        if runs or materialization_v2:  # the data tests are the same in all of them
            options += ["--exclude-resource-type", "test"]
        outcome = build(warehouse, workdir, *options, materialization_v2=materialization_v2)
        assert outcome.success, outcome.exception or [r.message for r in outcome.result]
        nodes = {result.node.unique_id: result.node for result in outcome.result}
        runs[name] = Run(nodes, warehouse.statements)
    return runs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("target")


@pytest.fixture(scope="module")
def default(workdir: Path) -> dict[str, Run]:
    return builds(["first", "increment", "refresh"], workdir, materialization_v2=False)


@pytest.fixture(scope="module")
def v2(workdir: Path) -> dict[str, Run]:
    """The adapter's other way to create a table; it merges by the same macros."""
    return builds(["first", "refresh"], workdir, materialization_v2=True)


@pytest.fixture(params=["default", "v2"])
def runs(request: pytest.FixtureRequest) -> dict[str, Run]:
    built: dict[str, Run] = request.getfixturevalue(request.param)
    return built


def test_every_model_seed_and_snapshot_is_rendered(runs: dict[str, Run]) -> None:
    files = [*ROOT.glob("models/**/*.sql"), *ROOT.glob("seeds/*.csv")]
    for run in runs.values():
        rendered = {node.name for node in run.nodes.values()}
        ephemeral = {file.stem for file in files if "materialized='ephemeral'" in file.read_text()}
        assert {file.stem for file in files} - ephemeral <= rendered


def test_first_run_creates_and_never_replaces(runs: dict[str, Run]) -> None:
    for node_id, _ in runs["first"].of_type("incremental", "snapshot"):
        (created,) = runs["first"].sent_by(node_id, CREATE_TABLE)
        assert re.match(r"create\s+table\s", created), node_id


def test_increment_merges_into_what_exists(default: dict[str, Run]) -> None:
    for node_id, _ in default["increment"].of_type("incremental", "snapshot"):
        assert default["increment"].sent_by(node_id, CREATE_TABLE) == [], node_id
        assert len(default["increment"].sent_by(node_id, MERGE)) == 1, node_id


def test_merge_is_on_the_whole_key(default: dict[str, Run]) -> None:
    for node_id, config in default["increment"].of_type("incremental"):
        (merge,) = default["increment"].sent_by(node_id, MERGE)
        condition = re.split(r"\bon\b|\bwhen\b", merge)[1]
        keys = [config.unique_key] if isinstance(config.unique_key, str) else config.unique_key
        assert keys, node_id
        for key in keys:
            assert re.search(rf"\.`{key}` <=> \w+\.`{key}`", condition), (node_id, key)


def test_merge_only_inserts_where_the_first_row_stands(default: dict[str, Run]) -> None:
    for node_id, config in default["increment"].of_type("incremental"):
        (merge,) = default["increment"].sent_by(node_id, MERGE)
        updates = re.search(r"when\s+matched\s+then\s+update", merge) is not None
        assert updates != bool(config.get("skip_matched_step")), node_id
        assert re.search(r"when\s+not\s+matched\s+then\s+insert", merge), node_id


def test_full_refresh_replaces_models_but_no_log_and_no_snapshot(runs: dict[str, Run]) -> None:
    logs = set()
    for node_id, config in runs["refresh"].of_type("incremental"):
        if config.full_refresh is False:
            logs.add(runs["refresh"].nodes[node_id].name)
            assert runs["refresh"].sent_by(node_id, CREATE_TABLE) == [], node_id
            continue
        (created,) = runs["refresh"].sent_by(node_id, CREATE_TABLE)
        assert re.match(r"create\s+or\s+replace\s+table\s", created), node_id
    assert logs == {"stock_count_figures", "inventory_restatements", "inventory_alerts"}
    for node_id, _ in runs["refresh"].of_type("snapshot"):
        assert runs["refresh"].sent_by(node_id, CREATE_TABLE) == [], node_id


def test_nothing_meant_for_spark_is_rendered(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for statement in run.statements:
            assert not FOR_SPARK.search(statement.sql), statement


def test_no_macro_hides_one_of_the_adapter() -> None:
    """dbt takes a `spark__` macro of the project before a `databricks__` macro of the adapter."""
    own, adapter = macros_in(ROOT / "macros"), macros_in(Path(databricks.__path__[0]) / "macros")
    for name in own:
        hidden = name.replace("spark__", "databricks__")
        assert hidden not in adapter or hidden in own, f"{name} hides {hidden}"


def test_every_statement_is_databricks_sql(default: dict[str, Run], v2: dict[str, Run]) -> None:
    statements = {
        s.sql
        for run in (default["first"], default["increment"], *v2.values())
        for s in run.statements
        if not any(re.match(pattern, s.sql) for pattern in NOT_IN_THE_DIALECT)
    }
    refused = {sql: errors for sql in statements if (errors := syntax_errors(sql))}
    assert refused == {}


def test_parses_with_no_account_and_no_environment(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("dbt")), "parse", "--target", "databricks"]
    command += ["--no-partial-parse", "--no-use-colors", "--show-all-deprecations"]
    command += ["--target-path", str(tmp_path), "--log-path", str(tmp_path)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "eprecat" not in done.stdout, done.stdout


def macros_in(folder: Path) -> set[str]:
    texts = (file.read_text() for file in folder.glob("**/*.sql"))
    return {name for text in texts for name in re.findall(r"{%-?\s*macro (\w+)", text)}
