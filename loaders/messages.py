"""The landing wire format of a point-of-sale message (DESIGN section 3).

One transaction becomes one JSON line, or several where it would pass the transport's 256 KB. Kept
apart because the simulator, the replay and the tests must all write exactly the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_MESSAGE_BYTES = 256 * 1024
NO_STORE = -1  # stands for an absent fulfillment_store_id in the arrays of encode_transactions


class EncodedMessages(NamedTuple):
    """JSON lines of many transactions, in the order of the transactions.

    bodies: m byte strings without line end; transaction: (m,) index of the transaction that each
    belongs to; lines: (m,) number of entries in each one's `items`.
    """

    bodies: list[bytes]
    transaction: NDArray[np.int64]
    lines: NDArray[np.int32]


def encode_transaction(
    trans_id: str,
    store_id: int,
    date_time: str,
    change_type_id: int,
    items: Sequence[tuple[int, int]],
    fulfillment_store_id: int | None = None,
    max_bytes: int = MAX_MESSAGE_BYTES,
) -> list[bytes]:
    """Encode one transaction as JSON lines (no line end), each at most `max_bytes` long.

    `date_time` is 'YYYY-MM-DD HH:MM:SS' in UTC; `items` are (item_id, quantity) with the quantity
    signed as transmitted. `fulfillment_store_id`, if given, is the last key. A transaction that is
    too large is split into parts; all lines of one item stay in one part, because the reader sums
    the lines of an item per message and takes a second message of the same key for a duplicate.
    Should one item's lines alone not fit, they are summed into one line, which the reader would do
    anyway.

    Raises ValueError where not even one item fits.
    """
    head, tail = _frame(
        json.dumps(trans_id), store_id, date_time, change_type_id, fulfillment_store_id
    )
    whole = _join(head, [_line(item, quantity) for item, quantity in items], tail)
    if len(whole) <= max_bytes:
        return [whole]
    room = max_bytes - len(head) - len(tail)
    parts: list[list[str]] = [[]]
    used = 0
    for group in _lines_by_item(items, room):
        size = sum(len(line) + 2 for line in group)  # 2: the ", " between lines
        if size - 2 > room:
            raise ValueError(f"one item of {trans_id} does not fit in {max_bytes} bytes")
        if parts[-1] and used + size - 2 > room:
            parts.append([])
            used = 0
        parts[-1].extend(group)
        used += size
    return [_join(head, part, tail) for part in parts]


def encode_transactions(
    trans_ids: Sequence[str],
    store_ids: NDArray[np.integer],
    date_times: Sequence[str],
    change_type_ids: NDArray[np.integer],
    first_line: NDArray[np.integer],
    item_ids: NDArray[np.integer],
    quantities: NDArray[np.integer],
    fulfillment_store_ids: NDArray[np.integer],
) -> EncodedMessages:
    """Encode n transactions with m lines at once; the same bytes as `encode_transaction` for each.

    `trans_ids`, `store_ids`, `date_times`, `change_type_ids`, `fulfillment_store_ids` (NO_STORE =
    absent) have n entries; `first_line` has n + 1, transaction k owning lines first_line[k] up to
    first_line[k + 1] of `item_ids` and `quantities` (m entries each).
    """
    lines = [_line(*pair) for pair in zip(item_ids.tolist(), quantities.tolist(), strict=True)]
    bounds = first_line.tolist()
    bodies: list[bytes] = []
    owners: list[int] = []
    counts: list[int] = []
    rows = zip(
        trans_ids,
        store_ids.tolist(),
        date_times,
        change_type_ids.tolist(),
        fulfillment_store_ids.tolist(),
        strict=True,
    )
    for index, (trans_id, store_id, date_time, change_type_id, fulfillment) in enumerate(rows):
        start, end = bounds[index], bounds[index + 1]
        target = None if fulfillment == NO_STORE else fulfillment
        head, tail = _frame(json.dumps(trans_id), store_id, date_time, change_type_id, target)
        body = _join(head, lines[start:end], tail)
        if len(body) <= MAX_MESSAGE_BYTES:
            bodies.append(body)
            owners.append(index)
            counts.append(end - start)
            continue
        pairs = list(zip(item_ids[start:end].tolist(), quantities[start:end].tolist(), strict=True))
        for part in encode_transaction(
            trans_id, store_id, date_time, change_type_id, pairs, target
        ):
            bodies.append(part)
            owners.append(index)
            counts.append(part.count(b'{"item_id": '))
    return EncodedMessages(bodies, np.array(owners, np.int64), np.array(counts, np.int32))


def date_time_texts(instants: NDArray[np.datetime64]) -> list[str]:
    """Format n instants (UTC) as 'YYYY-MM-DD HH:MM:SS', cutting off fractions of a second."""
    texts: list[str] = np.datetime_as_string(instants.astype("datetime64[s]"), unit="s").tolist()
    return [text.replace("T", " ") for text in texts]


def _frame(
    trans_id_json: str,
    store_id: int,
    date_time: str,
    change_type_id: int,
    fulfillment_store_id: int | None,
) -> tuple[str, str]:
    """What stands before and after the items."""
    head = (
        f'{{"trans_id": {trans_id_json}, "store_id": {store_id}, "date_time": "{date_time}", '
        f'"change_type_id": {change_type_id}, "items": ['
    )
    if fulfillment_store_id is None:
        return head, "]}"
    return head, f'], "fulfillment_store_id": {fulfillment_store_id}}}'


def _line(item_id: int, quantity: int) -> str:
    return f'{{"item_id": {item_id}, "quantity": {quantity}}}'


def _join(head: str, lines: Sequence[str], tail: str) -> bytes:
    # All of it is ASCII (json.dumps escapes the rest), so characters and bytes are the same number.
    return (head + ", ".join(lines) + tail).encode("ascii")


def _lines_by_item(items: Sequence[tuple[int, int]], room: int) -> list[list[str]]:
    """The lines of each item together, items in the order of their first line."""
    quantities: dict[int, list[int]] = {}
    for item_id, quantity in items:
        quantities.setdefault(item_id, []).append(quantity)
    groups = []
    for item_id, wanted in quantities.items():
        group = [_line(item_id, quantity) for quantity in wanted]
        if sum(len(line) + 2 for line in group) - 2 > room:
            group = [_line(item_id, sum(wanted))]
        groups.append(group)
    return groups
