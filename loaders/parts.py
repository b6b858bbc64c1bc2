"""Parts of a file that is too large for one commit: where each begins and ends.

A file is read from its beginning to its end, a part a commit. A part ends where a row does, so
that all parts together have the rows that the file has. What a part holds is bounded twice: by its
bytes, and by how many lines they can be taken apart into, because a line of two bytes costs a build
as much as one of two hundred.
"""

from __future__ import annotations

from dataclasses import dataclass

from loaders.csv_rows import csv_rows, lines_of, text_of
from loaders.landing import MESSAGES

# So much of a header is kept for the parts that follow the first; ours have 50 characters.
HEADER_BYTES = 64 * 1024


@dataclass(frozen=True)
class Part:
    """Bytes ``start`` up to ``end`` of a file, of which the first is in line ``first_line``."""

    start: int = 0
    end: int = 0
    first_line: int = 1
    next_line: int = 1  # that of the part that follows
    header: str = ""  # of a CSV file, as Latin-1: byte by byte
    is_last: bool = False


BEGINNING = Part()


def lines_at_most(feed: str, data: bytes) -> int:
    """About how many lines silver can make of ``data``, at most: rows, or items of messages.

    An item is an object or stands behind a comma. The commas within an object are one less than its
    colons, so what is left of them are those between items.
    """
    line_ends = data.count(b"\n") + 1
    if feed != MESSAGES:
        return line_ends + data.count(b"\r")
    objects = data.count(b"{")
    return line_ends + max(objects, data.count(b",") - data.count(b":") + objects)


def part_after(
    feed: str, before: Part, data: bytes, most_lines: int, *, width: int | None, is_end: bool
) -> Part:
    """The part of a file that follows ``before``, and of the first one what begins it.

    data: what the file holds from ``before.end`` on, as much of it as may be in memory at once
    most_lines: how many lines the part may have, by :func:`lines_at_most`
    width: how many fields a row of the CSV file is to have; ``None`` if its header is wrong
    is_end: whether the file ends where ``data`` does

    A row that is longer than ``data``, or of more than twice so many lines, is cut: its pieces are
    no rows, and each of them is quarantined as such.
    """
    window = data
    while lines_at_most(feed, window) > 2 * most_lines and len(window) > 1:
        window = window[: len(window) // 2]  # before it is taken apart, line by line
    ends_here = is_end and len(window) == len(data)
    size = _size(feed, window, most_lines, width, is_end=ends_here)
    if size == 0:
        size = len(window) if ends_here else _whole_characters(window)
    taken = data[:size]
    line_ends = taken.count(b"\n")
    if feed != MESSAGES:
        line_ends += taken.count(b"\r") - taken.count(b"\r\n")
    return Part(
        start=before.end,
        end=before.end + size,
        first_line=before.next_line,
        next_line=before.next_line + line_ends,
        header=before.header,
        is_last=is_end and size == len(data),
    )


def _size(feed: str, data: bytes, most_lines: int, width: int | None, *, is_end: bool) -> int:
    """How many bytes of ``data`` are whole rows of at most so many lines; 0 if not one is."""
    if lines_at_most(feed, data) <= most_lines and is_end:
        return len(data)
    if feed == MESSAGES:
        rows = [line + b"\n" for line in data.split(b"\n")]
        rows[-1] = rows[-1][:-1]
        if not is_end:
            rows.pop()
    else:
        lines = lines_of(data)
        texts = [text_of(line) for line in lines]
        rows = []
        for row in csv_rows(texts, width):
            if row.is_open and not is_end:
                break
            rows.append(b"".join(lines[row.at : row.at + row.lines]))
    size, lines_so_far = 0, 0
    for row_bytes in rows:
        lines_so_far += lines_at_most(feed, row_bytes) - 1
        if size and lines_so_far > most_lines:
            break
        size += len(row_bytes)
    return size


def _whole_characters(data: bytes) -> int:
    """How many bytes of ``data`` end with a whole UTF-8 character, as far as that can be told."""
    for back in range(1, min(5, len(data))):
        if data[-back] & 0xC0 != 0x80:  # the first byte of a character
            return len(data) - (back if data[-back] >= 0xC0 else 0)
    return len(data)
