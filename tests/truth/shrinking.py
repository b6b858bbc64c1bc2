"""From many worlds that differ from the oracle somewhere to a few lines that a person can read.

A plan is what lands before each build. The world that differs is cut out of its pack, the builds
after the first difference are left out, and then lines, as long as what is left still differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.builds.random_worlds import Landing, only, split, worlds_of
from tests.builds.worlds import Station, built

Plan = list[list[Landing]]
Line = tuple[int, int, int]  # build, file, line
Play = Callable[[Plan], "Outcome"]

PRINTED = 10  # differences


@dataclass(frozen=True)
class Outcome:
    """What differed after the first build after which anything did; how many builds it took."""

    said: list[str]
    builds: int


def play(station: Station, plan: Plan) -> Outcome:
    """In a fresh world, up to the first build that differs."""
    world = station.world()
    for number, batch in enumerate(plan, start=1):
        if said := built(world, batch):
            return Outcome(said, number)
    return Outcome([], len(plan))


def story_of(plan: Plan, seed: int, outcome: Outcome, play: Play, builds: int) -> str:
    """As short a world as so many builds can find that differs, with what differs in it."""
    told = [f"seed {seed}: {each}" for each in outcome.said[:PRINTED]]
    plan = plan[: outcome.builds]
    for number in worlds_of(outcome.said):
        alone = without_empty([only(batch, number) for batch in plan])
        found = play(alone)
        builds -= found.builds
        if found.said:
            plan, outcome = shrunk(alone[: found.builds], found, play, builds)
            told.append(f"world {number} of seed {seed} alone, cut to {len(lines_of(plan))} lines:")
            break
    else:
        told.append(f"only together; play it again with POS_TEST_SEEDS={seed}:{seed + 1}")
        return "\n".join(told)
    return "\n".join([*told, written(plan), *outcome.said[:PRINTED]])


def shrunk(plan: Plan, outcome: Outcome, play: Play, builds: int) -> tuple[Plan, Outcome]:
    """Leave out lines, many at once and then fewer, while what is left still differs."""
    kept = lines_of(plan)
    size = len(kept) // 2
    while size and builds > 0:
        start = 0
        while start < len(kept) and builds > 0:
            fewer = kept[:start] + kept[start + size :]
            candidate = with_lines(plan, fewer)
            found = play(candidate)
            builds -= found.builds
            if found.said:
                candidate = candidate[: found.builds]
                plan, outcome = candidate, found
                kept = lines_of(plan)
            else:
                start += size
        size //= 2
    return plan, outcome


def lines_of(plan: Plan) -> list[Line]:
    """All lines, headers aside, in order of landing."""
    return [
        (build, file, line)
        for build, batch in enumerate(plan)
        for file, landing in enumerate(batch)
        for line in range(len(split(landing)[1]))
    ]


def with_lines(plan: Plan, kept: Sequence[Line]) -> Plan:
    """The plan with these of its lines, without the files and the builds that are empty then."""
    chosen = set(kept)
    batches: Plan = []
    for build, batch in enumerate(plan):
        batches.append([])
        for file, landing in enumerate(batch):
            header, lines = split(landing)
            of_file = [line for line in range(len(lines)) if (build, file, line) in chosen]
            if of_file:
                text = "\n".join([*header, *(lines[line] for line in of_file)])
                worlds = tuple(landing.worlds[line] for line in of_file) if landing.worlds else ()
                batches[-1].append(Landing(landing.path, text.encode(), worlds))
    return without_empty(batches)


def without_empty(batches: Iterable[list[Landing]]) -> Plan:
    return [batch for batch in batches if batch]


def written(plan: Plan) -> str:
    """The files before each build, to be read."""
    told = []
    for number, batch in enumerate(plan, start=1):
        told.append(f"=== before build {number}")
        for landing in batch:
            told.append(f"--- {landing.path}")
            told.append(landing.data.decode())
    return "\n".join(told)
