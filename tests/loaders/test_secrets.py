"""Secrets come from the environment, people's numbers stay in bronze, nothing is sent anywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
MAKEFILE = (PROJECT / "Makefile").read_text()


def scan(*files: Path) -> subprocess.CompletedProcess[str]:
    """The scan of `make lint`, on some files."""
    (options,) = re.findall(r"detect-secrets-hook (.*?)(?: \\)?$", MAKEFILE, re.M)
    command = [
        sys.executable,
        "-c",
        "from detect_secrets.pre_commit_hook import main as m; exit(m())",
    ]
    arguments = [word.strip("'").replace("$$", "$") for word in options.split()]
    return subprocess.run(
        [*command, *arguments, *map(str, files)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "secret",
    [
        'aws = "AKIA' + 'Z7Q4XH2L3M5N6P7R"',
        'token = "dapi' + '3f9c1e7a5b2d4860917efc3a5d1b7e42"',
        'password = "h9' + 'Kq2-Vx7wLm4Tz"',
        "-----BEGIN RSA " + "PRIVATE KEY-----",
    ],
    ids=["aws", "databricks", "password", "private key"],
)
def test_the_scan_of_lint_finds_a_secret(tmp_path: Path, secret: str) -> None:
    planted = tmp_path / "settings.py"
    planted.write_text(f"{secret}\n")
    done = scan(planted)
    assert done.returncode == 1, done
    assert "settings.py:1" in done.stdout
    planted.write_text("nothing = 1\n")
    assert scan(planted).returncode == 0


def test_credentials_come_from_the_environment_by_dbts_secret_names() -> None:
    """dbt keeps what is called DBT_ENV_SECRET_… out of its logs."""
    outputs = yaml.safe_load((PROJECT / "profiles/profiles.yml").read_text())["pos_lakehouse"][
        "outputs"
    ]
    secret = re.compile(r"token|password|secret|client_id|key", re.I)
    found = {
        f"{target}.{name}": str(value)
        for target, output in outputs.items()
        for name, value in output.items()
        if secret.search(name)
    }
    assert set(found) == {"databricks.token"}
    for value in found.values():
        assert "env_var('DBT_ENV_SECRET_" in value
        # What Databricks gives a job's own dbt has its own name; the last default is no secret.
        names = re.findall(r"env_var\('(\w+)'", value)
        assert names == ["DBT_ACCESS_TOKEN", "DBT_ENV_SECRET_DATABRICKS_TOKEN"]
        assert value.endswith("'none')) }}")


def columns_of_gold() -> dict[str, Any]:
    return {
        model["name"]: [column.get("name", "") for column in model.get("columns", [])]
        for path in (PROJECT / "models/gold").glob("*.yml")
        for model in yaml.safe_load(path.read_text()).get("models", [])
    }


def test_no_employee_is_in_gold_or_on_the_page() -> None:
    gold = columns_of_gold()
    assert len(gold) > 8
    columns = [f"{model}.{name}" for model, names in gold.items() for name in names]
    assert len(columns) > 80
    assert [name for name in columns if "employee" in name] == []
    read = [*(PROJECT / "models/gold").glob("*.sql"), *(PROJECT / "loaders/page").rglob("*.*")]
    texts = [path for path in read if path.suffix in (".sql", ".py", ".js", ".html")]
    assert len(texts) > 20
    assert [path.name for path in texts if "employee" in path.read_text().lower()] == []


def test_nobody_is_told_of_anything() -> None:
    project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())
    assert project["flags"]["send_anonymous_usage_stats"] is False
    profiles = yaml.safe_load((PROJECT / "profiles/profiles.yml").read_text())
    databricks = profiles["pos_lakehouse"]["outputs"]["databricks"]
    assert databricks["connection_parameters"]["enable_telemetry"] is False


def test_all_that_is_installed_is_pinned_by_hash_and_names_no_host() -> None:
    from loaders.jars import JARS
    from loaders.sbom import hashes_of

    for lock in ("requirements.lock", "benchmarks/requirements.lock"):
        text = (PROJECT / lock).read_text()
        assert "://" not in text, f"{lock} names a host"
        assert "--index-url" not in text
        blocks = [block for block in re.split(r"\n(?=\S)", text) if block[:1].isalnum()]
        assert len(blocks) > 30
        for block in blocks:
            assert "==" in block.split("\n")[0], block[:80]
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]
    hashes = hashes_of(PROJECT / "requirements.lock")
    assert all(digests for versions in hashes.values() for digests in versions.values())
    assert {"dbt-core", "pyspark", "pysail", "deltalake"} <= set(hashes)
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) for jar in JARS)
    installs = re.findall(r"pip install (.*)", MAKEFILE)
    for line in installs:
        assert "--require-hashes" in line or "--editable ." in line or line.strip() == "--quiet uv"
