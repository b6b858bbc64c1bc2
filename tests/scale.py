"""How much is proved: what CI has time for, or, where POS_TRUTH=all, what the project claims."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

IS_ALL = os.environ.get("POS_TRUTH") == "all"


@dataclass(frozen=True)
class Month:
    """A simulated month with all faults on, and how many hours of it a build takes in."""

    days: int
    items: int
    lines: int
    hours: int


@dataclass(frozen=True)
class Scale:
    """How many worlds, examples, mutations, batches; `mutations` None: all of them."""

    seeds: range  # each a pack of worlds in one lakehouse, on the embedded engine
    worlds: int  # in a pack
    builds: int
    spark_seeds: range
    spark_worlds: int
    spark_builds: int
    examples: int  # of the state machine
    mutations: int | None
    batchings: tuple[int, ...]  # in how many batches the same is taken in
    files: int  # at least that many, to be batched
    month: Month


CI = Scale(
    seeds=range(1, 2),
    worlds=25,
    builds=8,
    spark_seeds=range(0),  # CI has the acceptance cases on Spark, against the same oracle
    spark_worlds=0,
    spark_builds=0,
    examples=3,
    mutations=4,
    batchings=(1, 7),
    files=40,
    month=Month(days=9, items=1_000, lines=20_000, hours=96),
)
ALL = Scale(
    seeds=range(1, 21),
    worlds=25,
    builds=8,
    spark_seeds=range(101, 102),
    spark_worlds=20,
    spark_builds=8,
    examples=60,
    mutations=None,
    batchings=(1, 7, 200),
    files=220,
    month=Month(days=31, items=100_000, lines=1_500_000, hours=12),
)


def _scale() -> Scale:
    """The scale, with what whoever changes a model asks for by POS_TEST_…"""
    scale, environment = ALL if IS_ALL else CI, os.environ
    if seeds := environment.get("POS_TEST_SEEDS"):
        first, _, end = seeds.partition(":")
        scale = replace(scale, seeds=range(int(first), int(end)))
    if worlds := environment.get("POS_TEST_WORLDS"):
        scale = replace(scale, worlds=int(worlds))
    if examples := environment.get("POS_TEST_EXAMPLES"):
        scale = replace(scale, examples=int(examples))
    return scale


SCALE = _scale()
