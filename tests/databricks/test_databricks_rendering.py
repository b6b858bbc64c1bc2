"""The project as Databricks gets it: no account, no network, the adapter's own macros."""

from __future__ import annotations

import json
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
# are the adapter's; nothing of this project's own may be listed here, nor what is no longer sent.
NOT_IN_THE_DIALECT = {
    r"^DESCRIBE TABLE EXTENDED [\w.`]+ AS JSON$": "AS JSON is of Databricks runtime 16.2",
    r"^show grants on [\w.`]+$": "TABLE before the name may be left out",
}
READERS = "shop floor"
GRANT = re.compile(r"^grant\s", re.IGNORECASE)
SET_TAGS = re.compile(r"^alter table .* set tags", re.IGNORECASE | re.DOTALL)
COMMENT = re.compile(r"^(comment on column|alter table .* comment) ", re.IGNORECASE | re.DOTALL)
CREATE_TABLE = re.compile(r"^create\s+(or\s+replace\s+)?table\s", re.IGNORECASE)
FOR_SPARK = re.compile(r"\blocation\s+'|\bdbt_target\b|\bbinaryFile\b")
MERGE = re.compile(r"^merge\s+into\s", re.IGNORECASE)


@dataclass
class Run:
    """One build: the nodes and what each of them sent."""

    nodes: dict[str, Any]
    statements: list[Statement]
    workdir: Path

    def sent_by(self, node_id: str, pattern: re.Pattern[str]) -> list[str]:
        return [s.sql for s in self.statements if s.sender == node_id and pattern.match(s.sql)]

    def of_type(self, *materializations: str) -> Iterator[tuple[str, Any]]:
        for node_id, node in self.nodes.items():
            if getattr(node.config, "materialized", None) in materializations:  # exposures
                yield node_id, node.config


def builds(
    names: list[str], workdir: Path, *options_of_all: str, materialization_v2: bool
) -> dict[str, Run]:
    """Builds into one warehouse: of nothing, of what is new, of everything anew."""
    warehouse = Warehouse()
    runs: dict[str, Run] = {}
    for name in names:
        warehouse.statements = []
        options = [*options_of_all, *(["--full-refresh"] if name == "refresh" else [])]
        if runs or materialization_v2:  # the data tests are the same in all of them
            options += ["--exclude-resource-type", "test"]
        outcome = build(warehouse, workdir, *options, materialization_v2=materialization_v2)
        assert outcome.success, outcome.exception or [r.message for r in outcome.result]
        nodes = {result.node.unique_id: result.node for result in outcome.result}
        runs[name] = Run(nodes, warehouse.statements, workdir)
    return runs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("target")


@pytest.fixture(scope="module")
def default(workdir: Path) -> dict[str, Run]:
    """With what a job of databricks.yml tells dbt."""
    told = ["--vars", f"{{catalog: pos, gold_readers: {READERS}}}"]
    return builds(["first", "increment", "refresh"], workdir, *told, materialization_v2=False)


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


def test_every_test_and_nothing_else_is_left_to_render(default: dict[str, Run]) -> None:
    """Unit tests ask for types that nothing here knows; they run on the other engines."""
    rendered = {node_id for node_id in default["first"].nodes if node_id.startswith("test.")}
    singular = {
        file.stem
        for folder in ("silver", "gold")
        for file in (ROOT / "tests" / folder).glob("*.sql")
    }
    assert singular <= {node_id.split(".")[2] for node_id in rendered}
    manifest = json.loads((default["first"].workdir / "manifest.json").read_text())
    nodes = {
        node_id
        for node_id, node in manifest["nodes"].items()
        if node["config"]["materialized"] != "ephemeral"
    }
    exposures = {node_id for node_id in default["first"].nodes if node_id.startswith("exposure.")}
    assert nodes == set(default["first"].nodes) - exposures
    senders = {statement.sender for statement in default["first"].statements}
    hooks = {node_id for node_id in nodes if node_id.startswith("operation.")}
    assert nodes - senders == hooks


def test_hooks_send_nothing_but_what_a_model_asks_for(default: dict[str, Run]) -> None:
    """Tables need no registering and builds no turns; the ledger clears what is no movement."""
    for run in default.values():
        assert not [s for s in run.statements if "dbt_turn" in s.sql or "on-run" in s.sender]
    ledger = "model.pos_lakehouse.inventory_ledger.v1"
    assert default["increment"].sent_by(ledger, re.compile("^delete from", re.IGNORECASE))


def test_tables_are_clustered_and_not_partitioned(runs: dict[str, Run]) -> None:
    for node_id, config in runs["first"].of_type("incremental", "snapshot"):
        (created,) = runs["first"].sent_by(node_id, CREATE_TABLE)
        columns = config.get("liquid_clustered_by")
        assert columns, node_id
        assert f"cluster by ({', '.join(columns)})" in created.lower(), node_id
        assert "partitioned by" not in created.lower(), node_id
        assert set(columns) <= set(runs["first"].nodes[node_id].columns), node_id


def test_tables_say_what_medal_they_are_of(default: dict[str, Run]) -> None:
    for node_id, config in default["first"].of_type("incremental", "table", "snapshot"):
        (tagged,) = default["first"].sent_by(node_id, SET_TAGS)
        assert f"'medal' = '{config.schema}'" in tagged, node_id


def test_catalog_explorer_shows_what_the_docs_say(default: dict[str, Run]) -> None:
    for node_id, _ in default["first"].of_type("incremental", "table", "snapshot"):
        node = default["first"].nodes[node_id]
        (created,) = default["first"].sent_by(node_id, CREATE_TABLE)
        assert f"comment '{escaped(node.description)}'" in created, node_id
        comments = default["first"].sent_by(node_id, COMMENT)
        for name, column in node.columns.items():
            is_of_column = re.compile(rf"[^']* (\S+\.)?`{name}` (is|comment) '", re.IGNORECASE)
            (said,) = [text for text in comments if is_of_column.match(text)]
            assert said.endswith(f"'{escaped(column.description)}'"), (node_id, name)


def test_gold_is_granted_to_its_readers_and_to_nobody_if_none_are_named(
    default: dict[str, Run], v2: dict[str, Run]
) -> None:
    grants = {s.sender: s.sql for s in default["first"].statements if GRANT.match(s.sql)}
    gold = {n for n, node in default["first"].nodes.items() if node.config.get("schema") == "gold"}
    assert set(grants) == {n for n in gold if n.startswith("model.")}
    assert all(f"to `{READERS}`" in sql and "select" in sql for sql in grants.values()), grants
    assert not [s for run in v2.values() for s in run.statements if GRANT.match(s.sql)]


def test_nothing_is_optimized_every_five_minutes(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert not [s for s in run.statements if s.sql.lower().startswith("optimize")]


def test_key_of_the_employees_is_looked_up_by_databricks(runs: dict[str, Run]) -> None:
    counts = "model.pos_lakehouse.stg_pos__stock_counts"
    hashed = "sha2(concat(secret('pos', 'employee_hash_key'), '|', employee_id), 256)"
    assert any(hashed in sql for sql in runs["first"].sent_by(counts, re.compile("create")))
    assert not [s for run in runs.values() for s in run.statements if "'development'" in s.sql]


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
    sent = [s.sql for run in (*default.values(), *v2.values()) for s in run.statements]
    assert all(any(re.match(known, sql) for sql in sent) for known in NOT_IN_THE_DIALECT)


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


def escaped(text: str) -> str:
    return text.replace("'", "\\'")


def macros_in(folder: Path) -> set[str]:
    texts = (file.read_text() for file in folder.glob("**/*.sql"))
    return {name for text in texts for name in re.findall(r"{%-?\s*macro (\w+)", text)}
