"""What the docs say, read from the manifest: what is not described, and what is described twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, nodes

ROOT = Path(__file__).parents[2]
PROJECT = "pos_lakehouse"
TABLES = ("model", "seed", "snapshot", "source")
# The generic tests on a column say themselves what they hold; each of them is described once, here
# or in dbt.
SINGULAR = "test"

Manifest = dict[str, Any]
Node = dict[str, Any]


def tables(manifest: Manifest) -> Iterator[tuple[str, Node]]:
    """Models, seeds, snapshots and sources."""
    for node_id, node in {**manifest["nodes"], **manifest["sources"]}.items():
        if node["resource_type"] in TABLES:
            yield node_id, node


def own_macros(manifest: Manifest) -> Iterator[tuple[str, Node]]:
    """The project's macros, generic tests and materializations."""
    for macro_id, macro in manifest["macros"].items():
        if macro["package_name"] == PROJECT:
            yield macro_id, macro


def others(manifest: Manifest) -> Iterator[tuple[str, Node]]:
    """All else that has a description: singular tests, unit tests, exposures, groups, metrics, …"""
    for node_id, node in manifest["nodes"].items():
        if node["resource_type"] == SINGULAR and not node.get("test_metadata"):
            yield node_id, node
    for kind in ("unit_tests", "exposures", "groups", "metrics", "semantic_models"):
        yield from manifest.get(kind, {}).items()


def undescribed(manifest: Manifest) -> list[str]:
    """Everything without a description, as ``id`` or ``id.column`` or ``id(argument)``."""
    missing = [node_id for node_id, node in tables(manifest) if not _says(node)]
    missing += [node_id for node_id, node in others(manifest) if not _says(node)]
    for source_id, source in manifest["sources"].items():
        if not source.get("source_description", "").strip():
            missing.append(f"{source_id}: its source")
    for node_id, node in tables(manifest):
        missing += [
            f"{node_id}.{name}" for name, column in node["columns"].items() if not _says(column)
        ]
    for macro_id, macro in own_macros(manifest):
        if not _says(macro):
            missing.append(macro_id)
        described = {
            argument["name"]: argument for argument in macro["arguments"] if _says(argument)
        }
        taken = arguments_of(macro)
        missing += [f"{macro_id}({name})" for name in taken if name not in described]
        missing += [f"{macro_id}({name}): not taken" for name in described if name not in taken]
    return missing


def arguments_of(macro: Node) -> list[str]:
    """The names of a macro's arguments, as its Jinja says; a materialization has none."""
    sql = re.sub(r"({%-?\s*)test(\s+\w+\s*\()", r"\1macro\2", macro["macro_sql"])
    sql = re.sub(r"(endtest)(\s*-?%})", r"endmacro\2", sql)
    if re.search(r"{%-?\s*materialization\s", sql):
        return []
    tree = Environment(extensions=["jinja2.ext.do"]).parse(sql)
    (found,) = tree.find_all(nodes.Macro)
    return [argument.name for argument in found.args]


def described_twice(manifest: Manifest) -> list[str]:
    """Columns of one name that say the same word for word, without a doc block."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node_id, node in tables(manifest):
        for name, column in node["columns"].items():
            if not column["doc_blocks"]:
                said = " ".join(column["description"].split())
                found[name, said].append(node_id)
    return [f"{name}: {', '.join(ids)}" for (name, _), ids in found.items() if len(ids) > 1]


def not_as_the_table(manifest: Manifest, columns: dict[str, set[str]]) -> list[str]:
    """Tables whose described columns are not those in ``columns``, which are those on disk."""
    wrong = []
    for node_id, node in tables(manifest):
        if node_id not in columns:
            wrong.append(f"{node_id}: no such table")
            continue
        described = {name.lower() for name in node["columns"]}
        wrong += [f"{node_id}.{name}: not described" for name in columns[node_id] - described]
        wrong += [f"{node_id}.{name}: no such column" for name in described - columns[node_id]]
    return wrong


def _says(thing: Node) -> bool:
    return bool((thing.get("description") or "").strip())
