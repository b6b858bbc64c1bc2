"""Names of the columns that a statement yields, read from its text as Databricks would parse it.

Apart from the fake warehouse, which needs them to answer what columns a table has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from sqlfluff.core import FluffConfig, Linter
from sqlfluff.core.linter.common import ParsedString
from sqlfluff.core.parser import BaseSegment

Names = dict[str, list[str]]
ColumnsOf = Callable[[str], list[str]]

# What of a `create … as` precedes its query. It is cut off, so that a model's select, which takes a
# second to parse, is parsed once however it is wrapped.
CREATE_AS = re.compile(r"^create\b.*?\bas\s+(?=--|with\b|select\b)", re.DOTALL)
QUERIES = ("with_compound_statement", "set_expression", "select_statement")
LINTER = Linter(
    config=FluffConfig(overrides={"dialect": "databricks", "templater": "raw", "rules": "LT01"})
)


@cache
def parsed(sql: str) -> ParsedString:
    """Parse once what is asked for in several places: a long model takes a second."""
    return LINTER.parse_string(sql)


def syntax_errors(sql: str) -> list[str]:
    """What the dialect does not accept; of a `create … as` both parts are parsed by themselves."""
    parts = [sql]
    if created := CREATE_AS.match(sql):
        parts = [created[0] + "select 1", sql[created.end() :]]
    return [
        f"line {error.line_no} of {part[:60]}: {error.desc()}"
        for part in parts
        for error in parsed(part).violations
    ]


def tree_of(sql: str) -> BaseSegment:
    """The parse tree of a statement that parses."""
    variant = parsed(sql).root_variant()
    assert variant is not None and variant.tree is not None, f"no parse tree of:\n{sql}"
    return variant.tree


def named_outputs(sql: str, columns_of: ColumnsOf) -> Iterator[tuple[str, str]]:
    """Name and expression of each column of the query that the statement is, or creates from."""
    query = tree_of(CREATE_AS.sub("", sql))
    return outputs(next(query.recursive_crawl(*QUERIES)), {}, columns_of)


def outputs(query: BaseSegment, ctes: Names, columns_of: ColumnsOf) -> Iterator[tuple[str, str]]:
    """The same of a part; `columns_of` answers for a table that is not among the CTEs."""
    if query.is_type("with_compound_statement"):
        known = dict(ctes)
        for cte in query.get_children("common_table_expression"):
            inner = next(cte.recursive_crawl(*QUERIES))
            known[cte.raw_segments[0].raw] = [name for name, _ in outputs(inner, known, columns_of)]
        yield from outputs(query.get_children(*QUERIES)[0], known, columns_of)
    elif query.is_type("set_expression"):
        yield from outputs(next(query.recursive_crawl("select_statement")), ctes, columns_of)
    else:
        for element in query.get_children("select_clause")[0].get_children("select_clause_element"):
            if element.get_child("wildcard_expression"):
                for name in starred(element.raw, query, ctes, columns_of):
                    yield name, name
            else:
                yield last_word(element.get_child("alias_expression") or element), element.raw


def starred(star: str, query: BaseSegment, ctes: Names, columns_of: ColumnsOf) -> Iterator[str]:
    """The columns behind `*` or `some_alias.*`."""
    wanted = star.removesuffix("*").removesuffix(".")
    for item in query.recursive_crawl("from_expression_element", recurse_into=False):
        inner = next(item.recursive_crawl(*QUERIES), None)
        reference = next(item.recursive_crawl("table_reference"), item).raw
        alias = item.get_child("alias_expression")
        if wanted not in ("", last_word(alias) if alias else reference):
            continue
        if inner:
            yield from (name for name, _ in outputs(inner, ctes, columns_of))
        else:
            yield from ctes[reference] if reference in ctes else columns_of(reference)


def last_word(segment: BaseSegment) -> str:
    """The name that an alias gives, or that of the column referred to."""
    return [word.raw for word in segment.raw_segments if word.is_code][-1].strip("`")
