"""The page's data files as any reader would take them: back into rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

Row = dict[str, Any]

LINE = re.compile(r'receive\("([a-z0-9/.]+)",(.*)\);\n', re.DOTALL)


def payload(path: Path) -> Any:
    """What a file hands over; its key must be its place."""
    found = LINE.fullmatch(path.read_text())
    assert found, f"{path} is no call of receive()"
    assert path.as_posix().endswith(f"data/{found[1]}.js")
    return json.loads(found[2])


def now_of(page: Path) -> Any:
    return payload(page / "data" / "now.js")


def blocks(page: Path, kind: str, digests: list[str]) -> list[Any]:
    return [
        payload(page / "data" / kind / f"{number:04d}.{digest}.js")
        for number, digest in enumerate(digests)
    ]


def list_rows(page: Path, name: str) -> list[Row]:
    """The rows of a list, in its order."""
    parts = blocks(page, name, now_of(page)[name]["files"])
    return [row for part in parts for row in _rows(part)]


def stock_rows(page: Path) -> list[Row]:
    """All keys with what the page shows of them, times in seconds, in the page's order."""
    now = now_of(page)
    names = {
        item: name
        for block in blocks(page, "names", now["names"]["files"])
        for item, name in zip(block["item"], block["name"], strict=True)
    }
    found = []
    for stock, details in zip(
        blocks(page, "stock", now["stock"]["files"]),
        blocks(page, "details", now["stock"]["details"]),
        strict=True,
    ):
        bases = stock.pop("base"), details.pop("base")
        for row, more in zip(_rows(stock), _rows(details), strict=True):
            found.append(
                {
                    **row,
                    **more,
                    "store": now["stores"][row["store"]]["id"],
                    "name": names[row["item"]],
                    "changed_at": _moved(row["changed_at"], bases[0]),
                    "counted_at": _moved(more["counted_at"], bases[1]),
                }
            )
    return found


def ledger_rows(page: Path) -> dict[tuple[int, int], list[tuple[int, str, int, int]]]:
    """Time, kind, quantity and balance of each entry, oldest first, by store and item."""
    now = now_of(page)
    found = {}
    for block in blocks(page, "ledger", now["ledger"]["files"]):
        entries = list(
            zip(
                [each + block["base"] for each in block["at"]],
                [now["kinds"][kind] for kind in block["kind"]],
                block["quantity"],
                block["balance"],
                strict=True,
            )
        )
        start = 0
        for item, store, end in zip(block["item"], block["store"], block["end"], strict=True):
            found[now["stores"][store]["id"], item] = entries[start:end]
            start = end
    return found


def _rows(columns: dict[str, list[Any]]) -> list[Row]:
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _moved(value: int | None, base: int) -> int | None:
    return None if value is None else value + base
