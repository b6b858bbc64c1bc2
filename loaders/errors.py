"""The one error a person is meant to read.

Kept apart so that every module can raise it without importing the command line.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the operator can put right: the text says what happened and what to do.

    The command line prints it without a traceback and exits with 1.
    """
