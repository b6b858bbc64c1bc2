"""The one error a person is meant to read.

Kept apart so that every module can raise it without importing the command line.
"""

from __future__ import annotations

import errno
import os


class UserError(Exception):
    """Something the operator can put right: the text says what happened and what to do.

    The command line prints it without a traceback and exits with 1.
    """


def first_line(error: Exception) -> str:
    """What a library's error says, without the backtrace that follows; its type if it says nothing.

    >>> first_line(ValueError("no such column\\n  0: core::panicking")), first_line(KeyError())
    ('no such column', 'KeyError')
    """
    return str(error).partition("\n")[0] or type(error).__name__


# What a disk may refuse, and what to do. Delta's own library hands the number on in a text.
_REFUSALS = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "make room",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable for this user",
    errno.EIO: "look after the disk",
}


def refusal_of_disk(error: BaseException) -> str | None:
    """A sentence where the disk is full, read-only or broken; None where something else is wrong.

    >>> refusal_of_disk(OSError(errno.ENOSPC, "No space left on device", "lakehouse/_pos/plan"))
    'lakehouse/_pos/plan: No space left on device; make room, then start again: nothing is lost'
    >>> refusal_of_disk(Exception("cannot copy: Read-only file system (os error 30)"))
    'Read-only file system; make it writable, then start again: nothing is lost'
    >>> refusal_of_disk(KeyError("x"))
    """
    for number, remedy in _REFUSALS.items():
        is_it = isinstance(error, OSError) and error.errno == number
        if is_it or f"(os error {number})" in str(error):
            place = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            return f"{place}{os.strerror(number)}; {remedy}, then start again: nothing is lost"
    return refusal_of_disk(error.__cause__) if error.__cause__ is not None else None
