"""Columns as the page's data files have them: a script each, since ``file://`` cannot fetch.

What is in a table may be anything, so nothing here is put together as text but by the JSON encoder,
and what HTML or old JavaScript would take for its own is escaped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

# Of a longer text only the beginning is shown and searched: one name may have 128 KB.
LONGEST_TEXT = 200
# JavaScript counts exactly up to here; what is beyond goes as text and is a BigInt there.
LARGEST_NUMBER = 2**53 - 1
MICROSECONDS = 1_000_000

Integers = npt.NDArray[np.int64]
Column = Integers | list[Any]


def script(key: str, payload: dict[str, Any]) -> bytes:
    """The JavaScript file that hands ``payload`` to the page under ``key``.

    >>> script("a/b", {"name": "</script>"})
    b'receive("a/b",{"name":"\\\\u003c/script>"});\\n'
    """
    return wrapped(key, body(payload))


def body(payload: dict[str, Any]) -> bytes:
    """``payload`` as JSON that no reader of HTML or JavaScript takes for anything else."""
    data = orjson.dumps(payload, option=orjson.OPT_SERIALIZE_NUMPY)
    # All three can only be inside of a string; the latter two ended a line in JavaScript once.
    for raw, escaped in (
        (b"<", b"\\u003c"),
        ("\u2028".encode(), b"\\u2028"),
        ("\u2029".encode(), b"\\u2029"),
    ):
        data = data.replace(raw, escaped)
    return data


def wrapped(key: str, data: bytes) -> bytes:
    """The call that hands it over."""
    return b'receive("' + key.encode("ascii") + b'",' + data + b");\n"


def numbers(values: pa.Array | pa.ChunkedArray) -> Column:
    """Whole numbers and nulls; a plain array where there is neither null nor too large a number.

    >>> numbers(pa.array([1, None, 2**53]))
    [1, None, '9007199254740992']
    """
    values = values.cast(pa.int64())
    if values.null_count == 0:
        return exact(values.to_numpy())
    listed: list[Any] = values.to_pylist()
    return [value if value is None else exact_number(value) for value in listed]


def exact(values: Integers) -> Column:
    """The same, where there are no nulls."""
    if not values.size or max(-int(values.min()), int(values.max())) <= LARGEST_NUMBER:
        return np.ascontiguousarray(values)
    return [exact_number(value) for value in values.tolist()]


def texts(values: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Texts and nulls, cut to :data:`LONGEST_TEXT` characters."""
    return list(clipped(values).to_pylist())


def clipped(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The texts; of those that are too long the beginning and an ellipsis.

    >>> clipped(pa.array(["abc", "x" * 300]))[1].as_py()[-2:]
    'x…'
    """
    values = values.cast(pa.string())
    is_long = pc.greater(pc.utf8_length(values), LONGEST_TEXT)
    if not pc.any(is_long).as_py():
        return values
    beginning = pc.utf8_slice_codeunits(values, 0, LONGEST_TEXT - 1)
    return pc.if_else(is_long, pc.binary_join_element_wise(beginning, "…", ""), values)


def seconds(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Timestamps as whole seconds since 1970, rounded down."""
    if not pa.types.is_timestamp(values.type):
        raise TypeError(f"not a timestamp: {values.type}")
    micros = values.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64())
    # Integer division of Arrow goes towards zero: before 1970 that would be up.
    whole = pc.divide(micros, MICROSECONDS)
    is_above = pc.greater(pc.multiply(whole, MICROSECONDS), micros)
    return pc.subtract(whole, is_above.cast(pa.int64()))


def times(values: pa.Array | pa.ChunkedArray) -> Column:
    """Timestamps as a column of seconds since 1970."""
    return numbers(seconds(values))


def flags(values: pa.Array | pa.ChunkedArray) -> list[int]:
    """Booleans as 0 and 1; null is 0."""
    listed: list[int] = pc.fill_null(values, False).cast(pa.int8()).to_pylist()
    return listed


def second(value: pa.Scalar) -> int | None:
    """One timestamp scalar of Arrow as seconds since 1970.

    >>> second(pa.scalar(1_500_000, pa.timestamp("us", "UTC")))
    1
    """
    if not value.is_valid:
        return None
    whole: int = value.cast(pa.timestamp("us", tz=value.type.tz)).cast(pa.int64()).as_py()
    return whole // MICROSECONDS


def exact_number(value: int) -> int | str:
    """One number; as text where JavaScript would not hold it."""
    return value if abs(value) <= LARGEST_NUMBER else str(value)
