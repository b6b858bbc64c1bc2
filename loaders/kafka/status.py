"""``pos kafka status``: whether the broker answers, what it has, how much of that is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from deltalake import DeltaTable

from loaders.config import Settings
from loaders.errors import UserError
from loaders.kafka import broker
from loaders.kafka.source import Extent, Partition, Source, UnavailableError
from loaders.load import open_table


def status_lines(settings: Settings) -> Iterator[str]:
    """The report, line by line; :class:`UserError` where a broker runs and does not answer."""
    server = broker.running(settings)
    if server is None:
        yield "Kafka broker: not running; start it with: pos kafka up"
        return
    address = f"kafka://127.0.0.1:{server.port}"
    source = Source(address)
    try:
        extents = source.extents(source.partitions())
    except UnavailableError as error:
        raise UserError(
            f"{address} (pid {server.pid}) does not answer: {error}; its own words are in "
            f"{broker.folder_of(settings) / 'broker.log'}"
        ) from error
    finally:
        source.close()
    yield f"Kafka broker: {address}, pid {server.pid}"
    for partition, extent in extents.items():
        yield f"  {described(partition, extent, next_offset(settings, partition))}"


def described(partition: Partition, extent: Extent, position: int | None) -> str:
    """One partition in a line: what it has, and what waits. Offsets count marks as well."""
    waiting = extent.high - max(position or 0, extent.low)
    return f"{partition}: offsets {extent.low:,} to {extent.high:,}, {waiting:,} not loaded"


def next_offset(settings: Settings, partition: Partition) -> int | None:
    """The next offset by the Delta log; ``None`` for a partition that was never read."""
    path = settings.table("bronze", partition.feed)
    if not DeltaTable.is_deltatable(str(path)):
        return None
    version = open_table(path).transaction_version(partition.application)
    return None if version is None else int(version)
