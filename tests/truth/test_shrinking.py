"""The shrinker finds what matters among the lines, whatever "differs" means; no lakehouse here."""

from __future__ import annotations

from tests.builds.random_worlds import ITEMS_OF_A_WORLD, batches, packed
from tests.truth.shrinking import Outcome, Plan, lines_of, shrunk, story_of

PLAN = batches(packed(3, worlds=6, steps=6), 6)
WORLD = 4


def text_of(plan: Plan) -> str:
    return "\n".join(landing.data.decode() for batch in plan for landing in batch)


class Play:
    """Differs once a world has been told of a count and, in a later build, of an order."""

    def __init__(self) -> None:
        self.builds = 0

    def __call__(self, plan: Plan) -> Outcome:
        item = str(WORLD * ITEMS_OF_A_WORLD)[:1] + "0000"
        was_counted = False
        for number, batch in enumerate(plan, start=1):
            self.builds += 1
            if was_counted and any(f'"{{{WORLD}-B' in each.data.decode() for each in batch):
                return Outcome([f"orders ('x', {item}1): …"], number)
            was_counted |= any(
                f"\n{item}" in each.data.decode() and "/counts/" in each.path for each in batch
            )
        return Outcome([], len(plan))


def test_only_what_it_takes_is_left() -> None:
    play = Play()
    found = play(PLAN)
    assert found.said
    plan, outcome = shrunk(PLAN[: found.builds], found, play, builds=10_000)
    assert outcome.said == found.said
    assert len(lines_of(plan)) == 2
    assert [[each.path.split("/")[1] for each in batch] for batch in plan] == [
        ["counts"],
        ["changes"],
    ]


def test_it_ends_in_time() -> None:
    play = Play()
    found = play(PLAN)
    play.builds = 0
    plan, outcome = shrunk(PLAN[: found.builds], found, play, builds=12)
    assert outcome.said
    assert play(plan).said
    assert play.builds < 12 + 2 * len(PLAN)


def test_the_story_names_the_world_and_its_seed() -> None:
    play = Play()
    told = story_of(PLAN, 3, play(PLAN), play, builds=10_000)
    assert f"world {WORLD} of seed 3 alone, cut to 2 lines" in told
    assert "=== before build 2" in told
    assert "{4-B" in told
    assert "{5-" not in told


def test_what_differs_only_together_says_so() -> None:
    def play(plan: Plan) -> Outcome:
        is_whole = len(lines_of(plan)) == len(lines_of(PLAN))
        return Outcome(["orders ('x', 400001): …"] if is_whole else [], len(plan))

    assert "POS_TEST_SEEDS=3:4" in story_of(PLAN, 3, play(PLAN), play, builds=100)
