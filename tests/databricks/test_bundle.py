"""databricks.yml: valid, and all that it names is in the project. Nothing is sent anywhere."""

from __future__ import annotations

import copy
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pathspec
import pytest
import yaml
from dbt.config.renderer import ProfileRenderer
from dbt_common.context import set_invocation_context

from loaders import schedule
from loaders.cli import pos
from tests.databricks.bundle_schema import (
    Schema,
    refusals,
    schema_of_the_cli,
    schema_of_the_sdk,
)
from tests.databricks.columns import syntax_errors
from tests.databricks.rendering import ROOT

BUNDLE: dict[str, Any] = yaml.safe_load((ROOT / "databricks.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGE = (ROOT / "profiles/DATABRICKS.md").read_text()
JOBS: dict[str, Any] = BUNDLE["resources"]["jobs"]
PROD = BUNDLE["targets"]["prod"]["resources"]
DELETED = object()
# On the page, as Databricks documents it; sqlfluff's dialect knows grants of tables only.
NOT_IN_THE_DIALECT = {"show grants on schema pos.gold"}

# Each by the way to a value, and what it is replaced by.
MISTAKES: list[tuple[str, Any]] = [
    ("resources.jobs.load.continous", {"pause_status": "UNPAUSED"}),
    ("resources.jobs.load.continuous.pause_status", "RUNNING"),
    ("resources.jobs.build.max_concurrent_runs", "one"),
    ("resources.jobs.build.schedule.timezone_id", DELETED),
    ("resources.jobs.build.tasks", {"task_key": "short_schedule"}),
    ("resources.jobs.build.tasks.0.task_key", DELETED),
    ("resources.jobs.build.tasks.0.dbt_task.command", "dbt build"),
    ("resources.jobs.build.tasks.0.dbt_task.commands", "dbt build"),
    ("resources.schemas.gold.catalog_name", DELETED),
    ("resources.schemas.gold.grants", [{"principal": "analysts", "privileges": ["READ"]}]),
    ("resources.tables", {}),
    ("targets.prod.mode", ["production"]),
    ("targets.prod.permissions.0.level", DELETED),
    ("targets.prod.permissions.0.name", "me"),
    ("artifacts.loaders.dynamic_version", "perhaps"),
    ("variables.catalog.description", 1),
]


@pytest.fixture(scope="module")
def of_the_sdk() -> Schema:
    return schema_of_the_sdk()


@pytest.fixture(scope="module")
def of_the_cli() -> Schema:
    schema = schema_of_the_cli()
    if schema is None:
        pytest.skip(
            "the CLI's own schema: no databricks CLI here; install it, or let POS_BUNDLE_SCHEMA "
            "name a file that `databricks bundle schema` has printed"
        )
    return schema


def test_bundle_is_valid_by_the_types_of_the_sdk(of_the_sdk: Schema) -> None:
    assert refusals(of_the_sdk, BUNDLE) == []


@pytest.mark.parametrize(("place", "value"), MISTAKES)
def test_the_types_of_the_sdk_refuse(of_the_sdk: Schema, place: str, value: Any) -> None:
    assert refusals(of_the_sdk, with_mistake(place, value))


@pytest.mark.pages
def test_bundle_is_valid_by_the_schema_of_the_cli(of_the_cli: Schema) -> None:
    assert refusals(of_the_cli, BUNDLE) == []
    accepted = [
        place for place, value in MISTAKES if not refusals(of_the_cli, with_mistake(place, value))
    ]
    assert accepted == []


def test_commands_are_those_of_the_schedule() -> None:
    commands = {task["task_key"]: dbt_commands(task) for _, task in tasks() if "dbt_task" in task}
    assert commands["short_schedule"] == [schedule.SHORT_BUILD]
    assert commands["marts"] == [schedule.MARTS_BUILD]
    assert commands["full_build"] == [schedule.FULL_BUILD]
    assert commands["full_tests"] == [("source", "freshness"), ("test", "--select", "tag:full")]
    selectors = yaml.safe_load((ROOT / "selectors.yml").read_text())["selectors"]
    known = {selector["name"] for selector in selectors}
    used = {
        words[words.index("--selector") + 1]
        for lines in commands.values()
        for words in lines
        if "--selector" in words
    }
    assert used and used <= known


def test_dbt_finds_project_and_profile() -> None:
    for _, task in tasks():
        if "dbt_task" in task:
            project = ROOT / task["dbt_task"]["project_directory"]
            assert (project / "dbt_project.yml").is_file()
            assert (project / task["dbt_task"]["profiles_directory"] / "profiles.yml").is_file()


def test_tasks_follow_tasks_and_have_environments() -> None:
    for job in JOBS.values():
        keys = [task["task_key"] for task in job["tasks"]]
        environments = {environment["environment_key"] for environment in job["environments"]}
        for number, task in enumerate(job["tasks"]):
            earlier = keys[:number]
            assert {other["task_key"] for other in task.get("depends_on", [])} <= set(earlier)
            if "condition_task" not in task:
                assert task["environment_key"] in environments
        assert job["max_concurrent_runs"] == 1


def test_dbt_is_of_the_versions_that_are_tested() -> None:
    pinned = PROJECT["project"]["optional-dependencies"]["engines"]
    for job in (JOBS["build"], JOBS["full_build"]):
        dependencies = job["environments"][0]["spec"]["dependencies"]
        assert set(dependencies) == {line for line in pinned if line.startswith("dbt-")}


def test_wheel_task_is_a_command_that_there_is() -> None:
    task = JOBS["load"]["tasks"][0]["python_wheel_task"]
    assert task["package_name"] == PROJECT["project"]["name"].replace("-", "_")
    assert PROJECT["project"]["scripts"][task["entry_point"]] == "loaders.cli:main"
    name, *parameters = [filled_in(text) for text in task["parameters"]]
    context = pos.commands[name].make_context(name, parameters)
    volumes = BUNDLE["resources"]["volumes"]
    assert context.params["landing"] == f"/Volumes/pos/bronze/{volumes['landing']['name']}"
    assert (
        str(context.params["checkpoints"])
        == f"/Volumes/pos/bronze/{volumes['checkpoints']['name']}"
    )
    assert context.params["schema"] == "pos.bronze"
    assert not context.params["once"]


def test_variables_are_declared_used_and_explained() -> None:
    declared = set(BUNDLE["variables"])
    used = {name for text in texts(BUNDLE) for name in re.findall(r"\$\{var\.(\w+)\}", text)}
    assert used == declared
    given = set(BUNDLE["targets"]["prod"]["variables"])
    asked = {name for name in declared - given if "default" not in BUNDLE["variables"][name]}
    for name in asked:
        assert f"BUNDLE_VAR_{name}=" in PAGE, f"DATABRICKS.md does not say what {name} is to be"


def test_references_to_resources_lead_somewhere() -> None:
    for text in texts(BUNDLE):
        for path in re.findall(r"\$\{(resources\.[\w.]+)\}", text):
            assert isinstance(value_at(BUNDLE, path), str), path


def test_profile_takes_what_a_job_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBT_HOST", "workspace.invalid")
    monkeypatch.setenv("DBT_ACCESS_TOKEN", "of-the-run")
    monkeypatch.setenv("DATABRICKS_HTTP_PATH", "/of/somebody/else")
    set_invocation_context(dict(os.environ))
    profile = yaml.safe_load((ROOT / "profiles/profiles.yml").read_text())
    output = profile["pos_lakehouse"]["outputs"]["databricks"]
    rendered = ProfileRenderer(dbt_vars()).render_data(output)
    assert rendered["host"] == "workspace.invalid"
    assert rendered["token"] == "of-the-run"
    assert rendered["http_path"] == "/sql/1.0/warehouses/abc123"
    assert rendered["catalog"] == "pos"


def test_what_dbt_is_told_is_asked_for_somewhere() -> None:
    read = [ROOT / "profiles/profiles.yml", ROOT / "dbt_project.yml", *ROOT.glob("macros/*.sql")]
    text = "".join(file.read_text() for file in read)
    for name in dbt_vars():
        assert re.search(rf"var\(['\"]{name}['\"]", text), name


def test_all_that_dbt_reads_is_sent() -> None:
    excluded = pathspec.PathSpec.from_lines("gitwildmatch", BUNDLE["sync"]["exclude"])
    folders = ["models", "macros", "seeds", "snapshots", "tests", "profiles"]
    files = [path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()]
    read = [path for path in files if path.suffix in (".sql", ".yml", ".csv", ".md")]
    read += [ROOT / "dbt_project.yml", ROOT / "selectors.yml"]
    assert len(read) > 80
    assert [path for path in read if excluded.match_file(path.relative_to(ROOT))] == []


def test_each_principal_may_do_its_part_and_no_more() -> None:
    may = {
        (name, grant["principal"]): set(grant["privileges"])
        for kind in ("schemas", "volumes")
        for name, resource in PROD[kind].items()
        for grant in resource["grants"]
    }
    loader, builder = "${var.loader_principal}", "${var.builder_principal}"
    writes = {"MODIFY", "CREATE_TABLE", "WRITE_VOLUME"}
    assert {name for (name, who), what in may.items() if who == loader and what & writes} == {
        "bronze",
        "checkpoints",
    }
    assert {name for (name, who), what in may.items() if who == builder and what & writes} == {
        "silver",
        "gold",
    }
    assert {name for name, who in may if who == "${var.readers}"} == {"gold"}
    assert may["gold", "${var.readers}"] == {"USE_SCHEMA"}
    assert not any("ALL_PRIVILEGES" in what or "MANAGE" in what for what in may.values())
    # What the bundle permits of all its resources, CAN_VIEW, would be READ of its secrets.
    assert "secret_scopes" not in BUNDLE["resources"]
    for name, job in PROD["jobs"].items():
        expected = loader if name == "load" else builder
        assert job["run_as"] == {"service_principal_name": expected}
    assert set(PROD["jobs"]) == set(JOBS)


def test_prod_says_the_same_of_its_resources() -> None:
    """The CLI's schema wants names and catalogs again where a target adds to a resource."""
    for kind in ("schemas", "volumes"):
        for key, resource in PROD[kind].items():
            common = BUNDLE["resources"][kind][key]
            shared = set(resource) & set(common)
            assert {name: resource[name] for name in shared} == {n: common[n] for n in shared}


def test_schemas_keep_their_names_in_development() -> None:
    """Or the CLI would put the developer's name before them, and dbt would look elsewhere."""
    names = {schema["name"] for schema in BUNDLE["resources"]["schemas"].values()}
    assert names == {"bronze", "silver", "gold"}
    assert BUNDLE["targets"]["dev"]["mode"] == "development"
    assert BUNDLE["experimental"]["skip_name_prefix_for_schema"] is True
    catalogs = [target["variables"]["catalog"] for target in BUNDLE["targets"].values()]
    assert len(set(catalogs)) == len(catalogs)


def test_no_secret_and_no_person_is_written_down() -> None:
    for key, text in keyed_texts(BUNDLE):
        assert not re.search(r"dapi[0-9a-f]{8}|dkea|[0-9a-f]{8}-[0-9a-f]{4}-", text), text
        assert "@" not in text, text
        if re.search(r"principal|user_name|group_name|host|token|password", key or ""):
            assert re.fullmatch(r"\$\{[\w.]+\}", text), (key, text)


def test_wheel_has_the_loader_and_asks_for_no_engine(tmp_path: Path) -> None:
    """Databricks installs the wheel beside its own Spark, which a pyspark from PyPI would break."""
    for name in ("pyproject.toml", "loaders"):
        subprocess.run(["cp", "-r", ROOT / name, tmp_path], check=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads that as "no isolation": nothing is downloaded
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    command = shlex.split(BUNDLE["artifacts"]["loaders"]["build"])
    built = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob(JOBS["load"]["environments"][0]["spec"]["dependencies"][0])
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    required = [
        line for line in lines if line.startswith("Requires-Dist") and "extra ==" not in line
    ]
    names = {re.split(r"[^\w-]", line.removeprefix("Requires-Dist: "))[0] for line in required}
    assert names == {"pyarrow", "click", "rich"}
    blocked = ["deltalake", "pysail", "dbt", "pandas", "numpy", "orjson", "yaml", "jinja2"]
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(wheel)!r})\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import loaders.cli, loaders.stream, loaders.stream_session\n"
        "print(loaders.stream.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "dist",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(wheel))


def test_page_names_what_there_is() -> None:
    assert set(re.findall(r"bundle run -t prod (\w+)", PAGE)) <= set(JOBS)
    assert set(re.findall(r"BUNDLE_VAR_(\w+)=", PAGE)) <= set(BUNDLE["variables"])
    targets = set(re.findall(r"databricks bundle [a-z ]+-t (\w+)", PAGE))
    assert targets == {"prod"} <= set(BUNDLE["targets"])
    for scope, key in re.findall(r"put-secret (\S+) (\S+)", PAGE):
        assert scope == BUNDLE["targets"]["prod"]["variables"]["secret_scope"]
        project = yaml.safe_load((ROOT / "dbt_project.yml").read_text())
        assert key == project["vars"]["employee_secret_name"]
    for job in JOBS.values():
        assert f"`{job['name']}`" in PAGE


def test_sql_of_the_page_is_databricks_sql() -> None:
    statements = [
        statement.strip()
        for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
        for statement in block.split(";")
        if statement.strip()
    ]
    assert len(statements) >= 10
    refused = {sql: errors for sql in statements if (errors := syntax_errors(sql))}
    assert set(refused) == NOT_IN_THE_DIALECT


def with_mistake(place: str, value: Any) -> Any:
    bundle = copy.deepcopy(BUNDLE)
    way, _, last = place.rpartition(".")
    holder = value_at(bundle, way)
    key = int(last) if isinstance(holder, list) else last
    if value is DELETED:
        del holder[key]
    else:
        holder[key] = value
    return bundle


def value_at(bundle: Any, way: str) -> Any:
    for step in way.split(".") if way else []:
        bundle = bundle[int(step) if isinstance(bundle, list) else step]
    return bundle


def tasks() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in JOBS.items():
        for task in job["tasks"]:
            yield name, task


def dbt_commands(task: dict[str, Any]) -> list[tuple[str, ...]]:
    """What dbt is told to do, without what each command has: target and vars."""
    commands = []
    for command in task["dbt_task"]["commands"]:
        dbt, *words, target, databricks, vars_option, given = shlex.split(command)
        assert (dbt, target, databricks, vars_option) == ("dbt", "--target", "databricks", "--vars")
        assert given == "${var.dbt_vars}"
        commands.append(tuple(words))
    return commands


def dbt_vars() -> dict[str, str]:
    values: dict[str, str] = yaml.safe_load(filled_in(BUNDLE["variables"]["dbt_vars"]["default"]))
    return values


def filled_in(text: str) -> str:
    values = {
        **BUNDLE["targets"]["prod"]["variables"],
        "warehouse_id": "abc123",
        "readers": "shop floor",
    }
    return re.sub(r"\$\{var\.(\w+)\}", lambda name: values[name[1]], text)


def texts(value: Any) -> Iterator[str]:
    yield from (text for _, text in keyed_texts(value))


def keyed_texts(value: Any, key: str | None = None) -> Iterator[tuple[str | None, str]]:
    """Every text of the bundle, with the key that it stands under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from keyed_texts(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from keyed_texts(item, key)
    elif isinstance(value, str):
        yield key, value
