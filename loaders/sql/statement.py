"""Which statements ``pos sql`` sends to the engine, and what the engine's errors say in a sentence.

The prompt is for reading: whoever looks something up must not be able to change a table that a
schedule is building, not even by a slip. Tables change by models, which are reviewed and tested.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from sqlparse import lexer, tokens

from loaders.errors import UserError

READS = ("select", "with", "values", "show", "describe", "desc", "explain")
WRITES = frozenset({"insert", "update", "delete", "merge", "replace", "create", "drop", "alter"})
# After these DESCRIBE goes on by itself; anything else is the name of a table, and the engine wants
# the word TABLE before it.
DESCRIBED = frozenset(
    (
        *("function", "catalog", "database", "schema", "namespace", "table"),
        *("extended", "formatted", "query", "select", "with"),
    )
)
REFUSAL = (
    "only reads (select, with, values, show, describe, explain) are done here, not {}; tables are "
    "changed by dbt models, see CONTRIBUTING.md"
)


def one_query(text: str) -> str:
    """The one statement in ``text``, ready for the engine.

    :class:`UserError` where there is none, or more than one, or where it does not only read.
    """
    statements = split(text)
    if not statements:
        raise UserError('there is no statement; for example: pos sql "show tables in gold"')
    if len(statements) > 1:
        raise UserError(f"one statement at a time; these are {len(statements)}")
    return checked(statements[0])


def split(text: str) -> list[str]:
    """The statements in ``text``, cut at each semicolon outside of quotes and comments."""
    statements, current = [], ""
    for kind, value in _tokens(text):
        if kind is tokens.Punctuation and value == ";":
            statements.append(current)
            current = ""
        else:
            current += value
    return [_from_first_word(text) for text in (*statements, current) if _words(text)]


def is_finished(text: str) -> bool:
    """True if the last thing in ``text`` is a semicolon outside of quotes and comments."""
    meant = [value for kind, value in _tokens(text) if _is_meant(kind)]
    return bool(meant) and meant[-1] == ";"


def checked(statement: str) -> str:
    """One of :func:`split` as the engine takes it; :class:`UserError` unless it only reads."""
    words = _words(statement)
    first = words[0].split()[0]  # the lexer takes CREATE OR REPLACE for one
    if first not in READS:
        raise UserError(REFUSAL.format(first.upper()))
    if first in ("with", "explain") and (writes := _writes(statement)):
        raise UserError(REFUSAL.format(writes[0]))
    if first in ("describe", "desc") and len(words) > 1 and words[1] not in DESCRIBED:
        return f"{statement[: len(first)]} table{statement[len(first) :]}"
    return statement


def sentence(message: str, tables: Sequence[str] = ()) -> str:
    """What an engine's error message says to whoever wrote the statement, on one line.

    ``tables``: names of the tables that there are, for one that is nearly right.
    """
    text = " ".join(message.partition("JVM stacktrace")[0].split())
    text = re.sub(r"^(invalid argument|Table not found): ", "", text)
    if found := re.match(r"found (.*) at (\d+):\d+ expected (.*)", text):
        word, start, expected = found.groups()
        where = f"from {word!r} on (character {int(start) + 1})"
        return f"the statement cannot be read {where}: expected {expected}"
    if found := re.search(r"(?:view|table) not found: `?([\w.]+)`?", text, re.IGNORECASE):
        return f"there is no table {found[1]}; {_nearest(found[1], tables)}"
    if found := re.search(r"ObjectName\((.*?)\) is missing from the schema", text):
        name = ".".join(re.findall(r'Identifier\("(.*?)"\)', found[1]))
        return f"there is no column {name} in what is selected from; see: describe <table>"
    return text


def _nearest(name: str, tables: Sequence[str]) -> str:
    last = name.rpartition(".")[2]
    by_name = {table.rpartition(".")[2]: table for table in tables}
    near = difflib.get_close_matches(last, by_name, n=1)
    return f"did you mean {by_name[near[0]]}?" if near else "see: show tables in gold"


def _tokens(text: str) -> list[tuple[object, str]]:
    return list(lexer.tokenize(text))  # type: ignore[no-untyped-call]


def _from_first_word(text: str) -> str:
    """``text`` without the comments before its first word and the white space around it."""
    found = _tokens(text)
    while not _is_meant(found[0][0]):
        del found[0]
    return "".join(value for _, value in found).strip()


def _words(statement: str) -> list[str]:
    """The words of a statement outside of quotes and comments, lower case."""
    return [
        value.lower()
        for kind, value in _tokens(statement)
        if _is_meant(kind) and kind not in tokens.Literal and value.strip(" ;\n")
    ]


def _writes(statement: str) -> list[str]:
    """The keywords of writing in a statement; ``replace(…)``, a function, is none of them."""
    return [
        value.upper()
        for kind, value in _tokens(statement)
        if kind in tokens.Keyword and value.lower() in WRITES
    ]


def _is_meant(kind: object) -> bool:
    return kind not in tokens.Comment and kind not in tokens.Whitespace
