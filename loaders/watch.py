"""A schedule's view of a bronze that another process loads, as `pos stream` does.

Nothing is loaded: what has come into bronze since the last look is reported as a load would.
"""

from __future__ import annotations

from datetime import timedelta

import pyarrow.compute as pc

from loaders.landing import FEEDS
from loaders.load import (
    BATCH_BYTES,
    Arrival,
    Loader,
    LoadReport,
    create_bronze,
    last_number,
    open_table,
    refuse_older_bronze,
)
from loaders.plan import EPOCH, SCAN

BRONZE = "bronze"  # as in `pos run --from bronze`


class BronzeWatch(Loader):
    """Reports what others load into one lakehouse. A context manager, as a loader is; it takes no
    lock of the loader's, because it writes nothing."""

    def __enter__(self) -> BronzeWatch:
        create_bronze(self._settings)
        refuse_older_bronze(self._settings)
        self.commits = {feed: last_number(self._settings, feed) for feed in FEEDS}
        return self

    def __exit__(self, *_exception: object) -> None:
        """There is nothing to let go of."""

    def load(self, *, batch_bytes: int = BATCH_BYTES, batches: int | None = None) -> LoadReport:
        """What has come since the last call. What is in bronze is in it: no bound applies."""
        del batch_bytes, batches
        report = LoadReport()
        for feed in FEEDS:
            known = self.commits[feed]
            if (last := last_number(self._settings, feed)) <= known:
                continue
            new = pc.field("ingest_id") > known
            dataset = open_table(self._settings.table("bronze", feed)).to_pyarrow_dataset()
            columns = ["ingest_id", "landed_at", "source_file"]
            rows = dataset.to_table(columns=columns, filter=new, **SCAN)
            report.rows[feed] = rows.num_rows
            report.commits[feed] = sorted(pc.unique(rows["ingest_id"]).to_pylist()) or [last]
            landed = dict(
                zip(rows["landed_at"].to_pylist(), rows["source_file"].to_pylist(), strict=True)
            )
            report.arrivals += [
                Arrival(feed, (at - EPOCH) // timedelta(microseconds=1) * 1_000, name)
                for at, name in sorted(landed.items())
            ]
            self.commits[feed] = last
        return report
