"""One page from one moment of gold: read, put the data files there, name them, sweep."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loaders.config import Settings
from loaders.errors import UserError
from loaders.files import only_holder
from loaders.page import lists
from loaders.page.encode import exact
from loaders.page.folder import PageFolder
from loaders.page.gold import CURRENT, LEDGER, Gold, Versions, quiet_versions
from loaders.page.ledger import (
    BLOCK_ITEMS,
    KINDS,
    LEDGER_DAYS,
    MOST_ENTRIES,
    Ledger,
    first_day,
    ledger_blocks,
    ledger_of,
)
from loaders.page.stock import (
    COLUMNS,
    Stock,
    blocks_of,
    changed,
    changed_rows,
    details_block,
    names_blocks,
    rows_by_store,
    stock_block,
    stock_of,
)
from loaders.places import Place

FORMAT = 1
# What an open page waits between two looks for a newer one, where nobody writes it all the time.
IDLE_POLL_SECONDS = 30.0


@dataclass(frozen=True)
class PageReport:
    """What was written."""

    path: Path
    keys: int
    files: int
    files_written: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.keys:,} keys, {self.bytes / 1e6:.1f} MB in {self.files:,} files, "
            f"{self.files_written:,} of them new, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class _LedgerPart:
    """The ledger's part of the last page: good for as long as nothing of it has changed."""

    made_of: tuple[Any, ...]
    manifest: dict[str, Any]
    last: Ledger  # the last entry of each key


class PageWriter:
    """Writes the page of one lakehouse into one folder, again and again if asked.

    A context manager: it holds the folder's lock.
    """

    def __init__(self, lakehouse: Place, out: Path, every: float | None = None) -> None:
        self._lakehouse = lakehouse
        self._out = out
        self._poll = every or IDLE_POLL_SECONDS
        self._is_live = every is not None
        self._ledger: _LedgerPart | None = None

    @contextmanager
    def alone(self) -> Iterator[PageWriter]:
        """Hold the folder; :class:`UserError` while another process writes there."""
        folder = PageFolder(self._out)
        folder.prepare()
        with only_holder(self._out / "data" / ".lock", doing="writing this page"):
            yield self

    def write(self, versions: Versions | None = None) -> PageReport:
        """Write the page of these versions; :class:`UserError` if there is no inventory yet."""
        started = time.monotonic()
        gold = Gold(self._lakehouse, versions or quiet_versions(self._lakehouse))
        current = gold.read(CURRENT, COLUMNS)
        if current is None:
            raise UserError(
                f"there is no inventory in {self._lakehouse} yet; build it first: pos run --once"
            )
        stock = stock_of(current)
        del current
        folder = PageFolder(self._out)
        folder.prepare()
        manifest = {
            "format": FORMAT,
            "written_at": int(time.time()),
            "is_live": self._is_live,
            "poll_seconds": self._poll,
            "clock": stock.clock,
            "tables": [
                [table.name, table.version, table.committed_at, table.rows]
                for table in gold.written()
            ],
            "stores": stock.stores,
            "totals": stock.totals,
            "kinds": KINDS,
            "stock": self._stock(folder, stock),
            "names": self._names(folder, stock),
            "ledger": self._ledger_part(folder, gold, stock),
            "changed": self._changed(stock),
            "freshness": lists.freshness(gold, stock),
            **{
                name: _list(folder, name, make(gold, stock))
                for name, make in (
                    ("alerts", lists.alerts),
                    ("orders", lists.orders),
                    ("sessions", lists.sessions),
                    ("variances", lists.variances),
                    ("restatements", lists.restatements),
                )
            },
        }
        folder.publish(manifest)
        folder.sweep()
        return PageReport(
            self._out,
            stock.rows.num_rows,
            folder.files,
            folder.files_written,
            folder.bytes,
            time.monotonic() - started,
        )

    @staticmethod
    def _stock(folder: PageFolder, stock: Stock) -> dict[str, Any]:
        blocks = blocks_of(stock)
        item_ids = stock.rows["item_id"].to_numpy().astype(np.int64)
        return {
            "keys": stock.rows.num_rows,
            "items": len(stock.items),
            "first": exact(item_ids[[start for start, _ in blocks]]),
            "rows": [rows_by_store(stock, block) for block in blocks],
            "files": [
                folder.put("stock", number, stock_block(stock, block))
                for number, block in enumerate(blocks)
            ],
            "details": [
                folder.put("details", number, details_block(stock, block))
                for number, block in enumerate(blocks)
            ],
        }

    @staticmethod
    def _names(folder: PageFolder, stock: Stock) -> dict[str, Any]:
        blocks = list(names_blocks(stock))
        return {
            "first": [_plain(block["item"][0]) for block in blocks],
            "files": [folder.put("names", number, block) for number, block in enumerate(blocks)],
        }

    def _ledger_part(self, folder: PageFolder, gold: Gold, stock: Stock) -> dict[str, Any] | None:
        """The ledger is built once a minute: between two of its builds its files stand."""
        since = first_day(stock.clock)
        made_of = (
            gold.versions.get(LEDGER),
            since,
            stock.items.tobytes(),
            tuple(store["id"] for store in stock.stores),
        )
        if self._ledger is not None and self._ledger.made_of == made_of:
            try:
                for number, digest in enumerate(self._ledger.manifest["files"]):
                    folder.reuse("ledger", number, digest)
            except FileNotFoundError:  # somebody has removed it
                self._ledger = None
            else:
                return self._ledger.manifest
        self._ledger = None
        ledger = ledger_of(gold, stock, since)
        if ledger is None:
            return None
        firsts = stock.items[::BLOCK_ITEMS]
        manifest = {
            "since": since and since.isoformat(),
            "days": LEDGER_DAYS,
            "most": MOST_ENTRIES,
            "first": exact(firsts),
            "files": [
                folder.put("ledger", number, block)
                for number, block in enumerate(ledger_blocks(ledger, stock))
            ],
        }
        self._ledger = _LedgerPart(made_of, manifest, ledger.last())
        return manifest

    def _changed(self, stock: Stock) -> dict[str, Any]:
        """The keys that changed last, and their last movement, if the ledger has it already."""
        places = changed_rows(stock)
        shown = changed(stock, places)
        rows = stock.rows.select(["store_id", "item_id"]).take(places)
        keys = stock.keys_of(
            rows["store_id"].to_numpy().astype(np.int64), rows["item_id"].to_numpy()
        )
        movements = self._ledger.last.last_movements(keys) if self._ledger else [None] * len(keys)
        is_it = [
            movement is not None and movement[0] == at
            for movement, at in zip(movements, shown["changed_at"], strict=True)
        ]
        for place, name in ((1, "kind"), (2, "quantity")):
            shown[name] = [
                movement[place] if movement is not None and there else None
                for movement, there in zip(movements, is_it, strict=True)
            ]
        return shown


def write_page(settings: Settings, out: Path) -> PageReport:
    """Write the page once."""
    with PageWriter(settings.lakehouse, out).alone() as writer:
        return writer.write()


def _list(folder: PageFolder, name: str, listed: lists.Listed | None) -> dict[str, Any] | None:
    if listed is None:
        return None
    return {
        "rows": listed.rows,
        "total": listed.total,
        "part_rows": lists.PART_ROWS,
        **listed.facts,
        "files": [folder.put(name, number, part) for number, part in enumerate(listed.parts())],
    }


def _plain(value: np.int64 | str) -> int | str:
    return value if isinstance(value, str) else int(value)
