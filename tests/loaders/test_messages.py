"""The wire format: keys, order, signs, and the split of what is too large."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.messages import (
    MAX_MESSAGE_BYTES,
    NO_STORE,
    date_time_texts,
    encode_transaction,
    encode_transactions,
)

GUID = "{0A1B2C3D-0000-1111-2222-0123456789AB}"
WHEN = "2021-01-01 10:00:00"


def test_the_line_is_byte_for_byte_that_of_the_design() -> None:
    expected = (
        b'{"trans_id": "{0A1B2C3D-0000-1111-2222-0123456789AB}", "store_id": 1, '
        b'"date_time": "2021-01-01 10:00:00", "change_type_id": 1, '
        b'"items": [{"item_id": 100001, "quantity": -2}, {"item_id": 100002, "quantity": 1}]}'
    )
    assert encode_transaction(GUID, 1, WHEN, 1, [(100001, -2), (100002, 1)]) == [expected]


def test_fulfillment_store_is_the_last_key_and_only_there_when_given() -> None:
    (with_store,) = encode_transaction(GUID, 0, WHEN, 4, [(1, -1)], 0)
    assert list(json.loads(with_store))[-2:] == ["items", "fulfillment_store_id"]
    (without,) = encode_transaction(GUID, 0, WHEN, 4, [(1, -1)])
    assert "fulfillment_store_id" not in json.loads(without)


def test_any_string_may_be_a_trans_id() -> None:
    (body,) = encode_transaction('a "quoted"\n né', 1, WHEN, 1, [])
    assert json.loads(body) == {
        "trans_id": 'a "quoted"\n né',
        "store_id": 1,
        "date_time": WHEN,
        "change_type_id": 1,
        "items": [],
    }
    assert b"\n" not in body


ITEMS = st.lists(st.tuples(st.integers(100_001, 100_012), st.integers(-12, 12)), max_size=60)


@settings(max_examples=80, deadline=None)
@given(items=ITEMS, max_bytes=st.integers(220, 900))
def test_split_keeps_every_unit_and_every_item_whole(
    items: list[tuple[int, int]], max_bytes: int
) -> None:
    parts = encode_transaction(GUID, 1, WHEN, 1, items, max_bytes=max_bytes)
    seen: set[int] = set()
    sums: Counter[int] = Counter()
    for part in parts:
        assert len(part) <= max_bytes
        lines = json.loads(part)["items"]
        here = {line["item_id"] for line in lines}
        assert not here & seen
        seen |= here
        for line in lines:
            sums[line["item_id"]] += line["quantity"]
    wanted: Counter[int] = Counter()
    for item_id, quantity in items:
        wanted[item_id] += quantity
    assert sums == wanted
    assert seen == set(wanted)


def test_a_part_is_filled_to_the_last_byte_and_no_further() -> None:
    items = [(100_001, -1), (100_002, -1), (100_003, -1)]
    (two,) = encode_transaction(GUID, 1, WHEN, 1, items[:2])
    exact = encode_transaction(GUID, 1, WHEN, 1, items, max_bytes=len(two))
    assert [len(json.loads(part)["items"]) for part in exact] == [2, 1]
    tight = encode_transaction(GUID, 1, WHEN, 1, items, max_bytes=len(two) - 1)
    assert [len(json.loads(part)["items"]) for part in tight] == [1, 1, 1]


def test_an_item_that_cannot_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_transaction(GUID, 1, WHEN, 1, [(1, -1), (2, -1)], max_bytes=150)


def test_bulk_writes_what_the_single_encoder_writes_also_when_it_splits() -> None:
    sizes = [3, 0, 9_000, 1]
    first_line = np.cumsum([0, *sizes])
    item_ids = 100_001 + np.arange(first_line[-1])
    item_ids[first_line[3] - 1] = item_ids[first_line[2]]  # first and last line: the same item
    quantities = -1 - np.arange(first_line[-1]) % 5
    stores, kinds = np.array([0, 1, 1, 0]), np.array([1, 2, 3, 4])
    targets = np.array([NO_STORE, NO_STORE, NO_STORE, 1])
    ids = [f"{{{number}}}" for number in range(4)]
    encoded = encode_transactions(
        ids, stores, [WHEN] * 4, kinds, first_line, item_ids, quantities, targets
    )
    expected = []
    for row in range(4):
        span = slice(first_line[row], first_line[row + 1])
        pairs = list(zip(item_ids[span].tolist(), quantities[span].tolist(), strict=True))
        target = None if targets[row] == NO_STORE else int(targets[row])
        expected += encode_transaction(
            ids[row], int(stores[row]), WHEN, int(kinds[row]), pairs, target
        )
    assert encoded.bodies == expected
    assert encoded.transaction.tolist() == [0, 1, 2, 2, 3]
    assert all(len(body) <= MAX_MESSAGE_BYTES for body in encoded.bodies)
    assert encoded.lines.tolist() == [len(json.loads(body)["items"]) for body in expected]


def test_times_are_written_in_whole_seconds() -> None:
    instants = np.array(["2021-01-31T23:59:59.999999"], "datetime64[us]")
    assert date_time_texts(instants) == ["2021-01-31 23:59:59"]
