"""A load of files beside others, in a process of its own, in small commits:
``python -m tests.cluster.loading_beside LANDING LAKEHOUSE STATE``."""

from __future__ import annotations

import sys
from pathlib import Path

from loaders.config import Settings
from loaders.load import Loader
from loaders.places import place_of

SMALL_BATCH = 2_000  # bytes: some dozens of commits in half of a small month


def main(landing: str, lakehouse: str, state: str) -> None:
    """Load all that has landed; says how many commits that took."""
    settings = Settings(Path(landing), place_of(lakehouse), state_of_store=Path(state))
    with Loader(settings) as loader:
        print("loading", flush=True)
        commits = loader.load(batch_bytes=SMALL_BATCH).commits
        print(sum(len(numbers) for numbers in commits.values()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
