"""A load in a process of its own, to be killed: ``python -m tests.cluster.loading``.

Not by a fork of this process: delta-rs has threads, and hangs in a child that was forked.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loaders.config import Settings
from loaders.kafka.load import KafkaLoader

SMALL_BATCH = 4_000  # bytes: some fifty commits in the month


def main(landing: str, lakehouse: str, address: str) -> None:
    """Load all there is in small commits; says when it begins."""
    with KafkaLoader(Settings(Path(landing), Path(lakehouse)), address) as loader:
        print("loading", flush=True)
        loader.load(batch_bytes=SMALL_BATCH)


if __name__ == "__main__":
    main(*sys.argv[1:])
