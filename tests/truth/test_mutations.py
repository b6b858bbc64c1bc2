"""Each mistake in the SQL is noticed: the compact world comes out otherwise than the oracle says.

A mistake that only breaks the build does not count: that would be noticed without any test of ours.
The models' unit tests have no part in it. They take one model at a time, so they can notice some of
these (what stands of repetitions, the lines of a message, reasons, a count's instant), but not what
goes wrong between models and between builds.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.builds.worlds import Station
from tests.scale import SCALE
from tests.truth.compact import Compact, files
from tests.truth.figures import Proof
from tests.truth.mutations import MUTATIONS, Mutation, edited, mutated

SEED = int(os.environ.get("POS_TEST_SEED", "0")) or random.randrange(1, 10**6)
# Others in each run, where there is no time for all; POS_TEST_SEED repeats a choice.
CHOSEN = (
    MUTATIONS if SCALE.mutations is None else random.Random(SEED).sample(MUTATIONS, SCALE.mutations)
)


OUT_OF_STEP = "stock_count_variances have not read the same"


def test_every_mistake_can_still_be_made(project_copy: Path) -> None:
    names = [mutation.name for mutation in MUTATIONS]
    assert len(set(names)) == len(names)
    for mutation in MUTATIONS:
        edited((project_copy / mutation.file).read_text(), mutation)


def test_an_edit_whose_text_is_gone_is_refused(project_copy: Path) -> None:
    gone = Mutation("gone", "dbt_project.yml", "no such text", "")
    twice = Mutation("twice", "dbt_project.yml", "file_format", "")
    for mutation in (gone, twice):
        with pytest.raises(AssertionError, match=mutation.name), mutated(project_copy, mutation):
            pass


def test_without_a_mistake_nothing_differs(compact_world: Compact) -> None:
    assert compact_world.said == []
    assert compact_world.builds == len(files())


@pytest.mark.parametrize("mutation", CHOSEN, ids=[mutation.name for mutation in CHOSEN])
def test_a_mistake_is_noticed(
    station: Station, project_copy: Path, mutation: Mutation, proof: Proof
) -> None:
    with mutated(project_copy, mutation), station.project(project_copy):
        played = Compact.played(station.world())
    # The ledger's own stop is a way of noticing; anything else that fails is SQL that does not run.
    is_broken = any(
        said.startswith("build failed") and OUT_OF_STEP not in said for said in played.said
    )
    is_caught = bool(played.said) and not is_broken
    proof("mutations", 1, int(is_caught), "caught", note=f"chosen by POS_TEST_SEED={SEED}")
    assert not is_broken, played.said
    assert is_caught, "the tables equal the oracle all the same"
