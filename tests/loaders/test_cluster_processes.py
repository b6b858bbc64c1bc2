"""What of `pos cluster` needs no Java; tests/cluster/test_spark_cluster.py has the rest."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from loaders import spark, spark_cluster
from loaders.cli import pos
from loaders.config import Settings
from loaders.errors import UserError
from loaders.exports import read_exports


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "landing", tmp_path / "lake", target="spark")


def test_nothing_runs_and_nothing_is_stopped(settings: Settings) -> None:
    (line,) = spark_cluster.status_lines(settings)
    assert line == "Spark cluster: not running; start it with: pos cluster up"
    assert not spark_cluster.down(settings)


@pytest.mark.parametrize("port", [-1, 65_530, 65_535])
def test_a_port_without_room_behind_it_is_a_sentence(settings: Settings, port: int) -> None:
    options = ["--cluster-port", str(port), "--lakehouse", str(settings.lakehouse)]
    outcome = CliRunner().invoke(pos, ["cluster", "up", *options])
    assert isinstance(outcome.exception, UserError)
    assert "--cluster-port is the first of six ports" in str(outcome.exception)


def test_a_port_that_is_taken_is_named_and_nothing_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_cluster, "java_home_or_advice", lambda: Path("/java"))
    monkeypatch.setattr(spark_cluster, "fetch", lambda _folder: [])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        page = int(taken.getsockname()[1])
        with pytest.raises(UserError, match=f"port {page} is taken"):
            spark_cluster.up(settings, page - 1)
    assert not spark_cluster.folder_of(settings).exists()


def test_the_secret_is_for_this_account_only_and_reaches_the_session(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spark_cluster._write_secret(settings, 7077)
    folder = spark_cluster.folder_of(settings)
    assert folder.stat().st_mode & 0o077 == 0
    for name, value in read_exports(spark_cluster.environment_file(settings)).items():
        monkeypatch.setenv(name, value)
    given = spark.parameters(settings)
    assert given["spark.master"] == "spark://127.0.0.1:7077"
    assert given["spark.authenticate"] == "true"
    secret = given["spark.authenticate.secret"]
    assert len(secret) == 64
    assert f"spark.authenticate.secret {secret}" in (folder / "spark.properties").read_text()
    assert Path(given["spark.executor.extraClassPath"]).is_absolute()


def test_without_a_cluster_a_session_needs_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DBT_ENV_SECRET_SPARK", "POS_SPARK_MASTER"):
        monkeypatch.delenv(name, raising=False)
    given = spark.parameters(settings)
    assert given["spark.master"] == "local[2]"
    assert given["spark.authenticate"] == "false"
