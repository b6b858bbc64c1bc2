"""The load from Kafka: what the broker has becomes bronze rows, each message exactly once.

The next offsets are application transactions of the very commit that holds the rows, and nothing
else remembers them: a kill leaves both or neither, so no plan is written ahead as for files, and
the next start reads them from the Delta log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from deltalake import DeltaTable, Transaction

from loaders.config import Settings
from loaders.errors import UserError
from loaders.kafka.rows import refuse_loss, rows_of_messages, start_of
from loaders.kafka.source import Batch, Partition, Source, UnavailableError
from loaders.kafka.status import next_offset
from loaders.landing import FEEDS
from loaders.load import BATCH_BYTES, Arrival, Loader, LoadReport, enter
from loaders.plan import Plan


class KafkaLoader(Loader):
    """Loads the topics of one cluster into one lakehouse. A context manager, as the other is.

    ``accept_loss`` goes on where messages are gone from the broker unread, with a warning.
    ``is_resident`` waits for a broker that is down, with a warning, where else it is an error.
    """

    def __init__(
        self,
        settings: Settings,
        address: str,
        *,
        accept_loss: bool = False,
        is_resident: bool = False,
    ) -> None:
        super().__init__(settings)
        self._address = address
        self._source = Source(address)
        self._accept_loss = accept_loss
        self._is_resident = is_resident
        self._positions: dict[Partition, int] = {}
        self._is_down = False

    def __exit__(self, *exception: object) -> None:
        self._source.close()
        super().__exit__(*exception)

    def load(self, *, batch_bytes: int = BATCH_BYTES, batches: int | None = None) -> LoadReport:
        """Load what the broker has now, in commits of at most about ``batch_bytes``.

        ``batches`` bounds the number of commits per feed. :class:`UserError` for messages that are
        lost, before anything is loaded, and for a broker that does not answer.
        """
        report = LoadReport()
        try:
            self._load(report, batch_bytes, batches)
            self._is_down = False
        except UnavailableError as error:
            said = f"the Kafka broker at {self._address} does not answer: {error}"
            if not self._is_resident:
                raise UserError(f"{said}; start one with: pos kafka up") from error
            if not self._is_down:
                report.warnings.append(f"{said}; waiting for it")
            self._is_down = True
        return report

    def _load(self, report: LoadReport, batch_bytes: int, batches: int | None) -> None:
        extents = self._source.extents(self._source.partitions())
        starts: dict[Partition, int] = {}
        lost: list[str] = []
        missed: list[str] = []
        for partition, extent in extents.items():
            position = self._position(partition)
            start = start_of(str(partition), position, extent.low, extent.high)
            starts[partition] = start.offset
            lost += [start.lost] if start.lost else []
            missed += [start.missed] if start.missed else []
        refuse_loss(lost, accept=self._accept_loss)
        said = [f"messages are lost: {text}" for text in lost] + missed
        report.warnings += [text for text in said if text not in self._warned]
        self._warned.update(said)
        ends = {partition: extent.high for partition, extent in extents.items()}
        floor_us = self._latest_us
        for feed in FEEDS:
            number = 0
            while left := {
                partition: starts[partition]
                for partition in starts
                if partition.feed == feed and starts[partition] < ends[partition]
            }:
                if number == batches:
                    report.is_partial = True
                    break
                batch = self._source.read(left, ends, batch_bytes)
                if batch.messages:
                    self._commit_batch(feed, floor_us, batch, report)
                    number += 1
                starts |= batch.positions
                self._positions |= batch.positions

    def _commit_batch(
        self, feed: str, floor_us: int | None, batch: Batch, report: LoadReport
    ) -> None:
        number = self.commits[feed] + 1
        plan = Plan(feed, number, datetime.now(UTC), floor_us)
        table = rows_of_messages(plan, batch.messages)
        positions = batch.positions.items()
        plan, table = self._append(
            plan, table, [Transaction(each.application, position) for each, position in positions]
        )
        received_us = int(plan.received_at.timestamp() * 1_000_000)
        # One for each moment, as so many messages come in one.
        appended = {
            received_us if each.appended_us is None else each.appended_us: each.place
            for each in batch.messages
        }
        arrivals = [Arrival(feed, at * 1_000, place) for at, place in sorted(appended.items())]
        enter(report, plan, table, arrivals)

    def _refuse_moved(self, opened: DeltaTable, positions: Sequence[Transaction]) -> None:
        """:class:`UserError` where another loader has loaded from these partitions meanwhile."""
        known = {each.application: position for each, position in self._positions.items()}
        for position in positions:
            there = opened.transaction_version(position.app_id)
            if there is not None and there != known.get(position.app_id):
                raise UserError(
                    f"another process loads the same topics into {self._settings.lakehouse}; let "
                    f"one do it. Nothing is lost or doubled: started again, this one goes on from "
                    f"where that one is"
                )

    def _position(self, partition: Partition) -> int | None:
        """The next offset of a partition: what this process has read to, or what the log says."""
        if partition not in self._positions:
            position = next_offset(self._settings, partition)
            if position is None:
                return None
            self._positions[partition] = position
        return self._positions[partition]
