"""Random worlds, many in one lakehouse: after each build every table equals the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builds.random_worlds import batches, packed
from tests.builds.worlds import SparkStation, Station
from tests.scale import SCALE
from tests.truth.figures import Proof
from tests.truth.shrinking import play, story_of
from tests.worlds import ResidentDbt

# How many builds may be spent on making a failure short.
SHRINKING = 150
SHRINKING_ON_SPARK = 24


@pytest.mark.parametrize("seed", SCALE.seeds)
def test_worlds_on_the_embedded_engine(station: Station, seed: int, proof: Proof) -> None:
    prove(station, seed, SCALE.worlds, SCALE.builds, proof, "worlds on local", SHRINKING)


@pytest.mark.spark
@pytest.mark.skipif(not SCALE.spark_seeds, reason="worlds on Spark: make test-truth")
@pytest.mark.parametrize("seed", SCALE.spark_seeds or [0])
def test_worlds_on_spark(spark_dbt: ResidentDbt, seed: int, proof: Proof, tmp_path: Path) -> None:
    station = SparkStation(tmp_path, spark_dbt)
    worlds, builds = SCALE.spark_worlds, SCALE.spark_builds
    prove(station, seed, worlds, builds, proof, "worlds on spark", SHRINKING_ON_SPARK)


def prove(
    station: Station, seed: int, worlds: int, builds: int, proof: Proof, what: str, shrinking: int
) -> None:
    plan = batches(packed(seed, worlds), builds)
    outcome = play(station, plan)
    equal = 0 if outcome.said else worlds
    proof(what, worlds, equal, "equal to the oracle", f"seed {seed}, {builds} builds")
    if outcome.said:
        told = story_of(plan, seed, outcome, lambda each: play(station, each), shrinking)
        pytest.fail(told, pytrace=False)
