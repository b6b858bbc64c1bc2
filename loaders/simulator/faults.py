"""What goes wrong between the till and the landing folder.

Kept apart from the world itself: faults change what is sent and when, never what happened, except
for unknown items, which the rules keep (DESIGN section 5, rule 6). Everything sent a second time is
sent strictly after the first, so the first good delivery of a line is always the original.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from loaders.messages import EncodedMessages, date_time_texts, encode_transactions
from loaders.simulator.config import DAY_S, FIRST_ITEM_ID, RESTOCK, Config
from loaders.simulator.tables import Ints, Ledger, ragged_take

_UNKNOWN_ITEMS = 50  # ids right after the catalogue's
_OUT_OF_ORDER_S = (2, 601)
_LATE_FROM_S = 3600
_AGAIN_S = (60, 3 * DAY_S)
_BROKEN_S = (1, 3600)


@dataclass(frozen=True)
class Transmissions:
    """p messages as sent, of all stores: bodies; store_id, sent_s (seconds since the start), lines
    (items in the message, 0 where it cannot be parsed), all (p,). A message sent again stands after
    the first.
    """

    bodies: list[bytes]
    store_id: Ints
    sent_s: Ints
    lines: Ints


def add_unknown_items(config: Config, ledger: Ledger, rng: np.random.Generator) -> Ledger:
    """Give `faults.unknown_item` of the transactions one more line, of an item outside the
    catalogue.
    """
    chosen = _choose(config.faults.unknown_item, ledger.size, rng)
    where = ledger.first_line[chosen + 1]
    item = config.items + rng.integers(0, _UNKNOWN_ITEMS, len(chosen))
    quantity = np.where(ledger.change_type_id[chosen] == RESTOCK, 1, -1)
    return replace(
        ledger,
        transaction=np.insert(ledger.transaction, where, chosen),
        item=np.insert(ledger.item, where, item),
        quantity=np.insert(ledger.quantity, where, quantity),
    )


def first_sent(config: Config, ledger: Ledger, streams: dict[str, np.random.Generator]) -> Ints:
    """(n,) when each transaction is first sent, seconds since the start: at its event, or later."""
    sent_s = ledger.occurred_s.copy()
    rng = streams["fault_out_of_order"]
    chosen = _choose(config.faults.out_of_order, ledger.size, rng)
    sent_s[chosen] += rng.integers(*_OUT_OF_ORDER_S, len(chosen))
    rng = streams["fault_late"]
    chosen = _choose(config.faults.late, ledger.size, rng)
    upper = config.faults.late_days * DAY_S + 1
    sent_s[chosen] = ledger.occurred_s[chosen] + rng.integers(_LATE_FROM_S, upper, len(chosen))
    return sent_s


def transmit(
    config: Config, ledger: Ledger, sent_s: Ints, streams: dict[str, np.random.Generator]
) -> Transmissions:
    """Encode the transactions, first sent at `sent_s` (n,), and everything that is sent besides."""
    faults = config.faults
    encoded = encode_ledger(config, ledger)
    bodies = list(encoded.bodies)
    owner, sent, lines = [encoded.transaction], [sent_s[encoded.transaction]], [encoded.lines]

    def add(more: EncodedMessages, transaction: Ints, again_s: Ints) -> None:
        bodies.extend(more.bodies)
        owner.append(transaction)
        sent.append(again_s)
        lines.append(more.lines)

    rng = streams["fault_duplicates"]
    chosen = _choose(faults.duplicates, ledger.size, rng)
    again_s = sent_s[chosen] + rng.integers(*_AGAIN_S, len(chosen))
    first_body = np.searchsorted(encoded.transaction, np.arange(ledger.size + 1)).astype(np.int64)
    index, group = ragged_take(first_body, chosen)
    repeated = EncodedMessages(
        [encoded.bodies[body] for body in index.tolist()], group, encoded.lines[index]
    )
    add(repeated, chosen[group], again_s[group])

    rng = streams["fault_conflicting"]
    chosen = _choose(faults.conflicting, ledger.size, rng)
    again_s = sent_s[chosen] + rng.integers(*_AGAIN_S, len(chosen))
    changed = encode_ledger(config, _with_another_quantity(ledger.take(chosen)))
    add(changed, chosen[changed.transaction], again_s[changed.transaction])

    rng = streams["fault_malformed"]
    chosen = _choose(faults.malformed, ledger.size, rng)
    again_s = sent_s[chosen] + rng.integers(*_BROKEN_S, len(chosen))
    broken = [
        _BREAKS[number % len(_BREAKS)](encoded.bodies[body])
        for number, body in enumerate(first_body[chosen].tolist())
    ]
    broken_lines = encoded.lines[first_body[chosen]].copy()
    broken_lines[:: len(_BREAKS)] = 0  # the first of the breaks leaves no items to count
    add(EncodedMessages(broken, chosen, broken_lines), chosen, again_s)

    return Transmissions(
        bodies,
        ledger.store_id[np.concatenate(owner)],
        np.concatenate(sent),
        np.concatenate(lines).astype(np.int64),
    )


def encode_ledger(config: Config, ledger: Ledger) -> EncodedMessages:
    """The JSON lines of a ledger."""
    instants = np.datetime64(config.start, "s") + ledger.occurred_s.astype("timedelta64[s]")
    return encode_transactions(
        ledger.trans_id.astype("U38").tolist(),
        ledger.store_id,
        date_time_texts(instants),
        ledger.change_type_id,
        ledger.first_line,
        ledger.item + FIRST_ITEM_ID,
        ledger.quantity,
        ledger.fulfillment_store_id,
    )


def _with_another_quantity(ledger: Ledger) -> Ledger:
    """One unit more in the first line of each transaction, the other lines as they are."""
    quantity = ledger.quantity.copy()
    first = ledger.first_line[:-1]
    quantity[first] += np.sign(quantity[first])
    return replace(ledger, quantity=quantity)


def _choose(rate: float, count: int, rng: np.random.Generator) -> Ints:
    return np.flatnonzero(rng.random(count) < rate).astype(np.int64)


def _truncated(body: bytes) -> bytes:
    return body[: max(1, len(body) * 2 // 3)]


def _without_trans_id(body: bytes) -> bytes:
    message = json.loads(body)
    del message["trans_id"]
    return json.dumps(message).encode()


def _unknown_type(body: bytes) -> bytes:
    return json.dumps({**json.loads(body), "change_type_id": 99}).encode()


def _quantity_in_words(body: bytes) -> bytes:
    message = json.loads(body)
    message["items"][0]["quantity"] = "two"
    return json.dumps(message).encode()


def _impossible_date(body: bytes) -> bytes:
    return json.dumps({**json.loads(body), "date_time": "2021-02-30 10:00:00"}).encode()


_BREAKS: tuple[Callable[[bytes], bytes], ...] = (
    _truncated,
    _without_trans_id,
    _unknown_type,
    _quantity_in_words,
    _impossible_date,
)
