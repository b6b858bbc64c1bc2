"""What tills send, as tests write it down: messages and count files in the landing format."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any


def message(
    trans_id: str,
    date_time: str,
    *items: tuple[int, int],
    store_id: int = 1,
    change_type_id: int = 1,
    **more: object,
) -> dict[str, Any]:
    """A message of `items` (item_id, quantity); `date_time` may lack its date, 2021-01-01."""
    return {
        "trans_id": trans_id,
        "store_id": store_id,
        "date_time": date_time if " " in date_time else f"2021-01-01 {date_time}",
        "change_type_id": change_type_id,
        "items": [{"item_id": item_id, "quantity": quantity} for item_id, quantity in items],
        **more,
    }


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
