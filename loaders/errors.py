"""The one error a person is meant to read.

Kept apart so that every module can raise it without importing the command line.
"""

from __future__ import annotations


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
