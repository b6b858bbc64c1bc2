"""JSON schemas of asset bundles.

That of the Databricks CLI comes under a licence that ties its use to an account, and no registry
has it; so it is not kept here. Where a CLI is installed it is asked for its schema. Everywhere
there is one made of the types of databricks-sdk (Apache-2.0, dbt-databricks brings it): both are
generated from the same description of the API. Only the frame around the resources is written here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

from databricks.sdk.service import catalog, jobs
from jsonschema import Draft202012Validator

Schema = dict[str, Any]

REFERENCE: Schema = {"type": "string", "pattern": r"^\$\{[\w.-]+\}$"}
TEXT: Schema = {"type": "string"}
PLAIN: dict[Any, Schema] = {
    str: TEXT,
    int: {"anyOf": [{"type": "integer"}, REFERENCE]},
    float: {"anyOf": [{"type": "number"}, REFERENCE]},
    bool: {"anyOf": [{"type": "boolean"}, REFERENCE]},
    Any: {},
}


def closed(required: typing.Sequence[str] = (), **properties: Schema) -> Schema:
    """An object of these fields and no other."""
    fields = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**fields, "required": list(required)}


def listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def named(item: Schema) -> Schema:
    return {"type": "object", "additionalProperties": item}


class Types:
    """Schemas of the SDK's dataclasses; they refer to each other by name."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind in PLAIN:
            return PLAIN[kind]
        if origin in (typing.Union, types.UnionType):
            (inner,) = [argument for argument in arguments if argument is not type(None)]
            return self.of(inner)
        if origin is list:
            return listed(self.of(arguments[0]))
        if origin is dict:
            return named(self.of(arguments[1]))
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"anyOf": [{"enum": [member.value for member in kind]}, REFERENCE]}
        return self.reference_to(kind)

    def reference_to(self, kind: type, **more: Schema) -> Schema:
        """A dataclass, with fields that a bundle has beyond the API's."""
        name = f"{kind.__module__}.{kind.__name__}"
        if name not in self.definitions:
            self.definitions[name] = {}  # it may refer to itself
            hints = typing.get_type_hints(kind)
            missing = dataclasses.MISSING
            required = [
                field.name
                for field in dataclasses.fields(kind)
                if field.default is missing and field.default_factory is missing
            ]
            fields = {name: self.of(hint) for name, hint in hints.items()}
            self.definitions[name] = closed(required, **fields, **more)
        return {"$ref": f"#/$defs/{name}"}


def schema_of_the_sdk() -> Schema:
    """The frame by the CLI's documentation, the resources by the SDK's types."""
    kinds = Types()
    lifecycle = closed(prevent_destroy=PLAIN[bool])
    grants = listed(kinds.of(catalog.PrivilegeAssignment))
    permission = closed(
        ["level"], level=TEXT, user_name=TEXT, group_name=TEXT, service_principal_name=TEXT
    )
    kept = {"comment": TEXT, "grants": grants, "lifecycle": lifecycle}
    job = kinds.reference_to(jobs.JobSettings, permissions=listed(permission), lifecycle=lifecycle)
    resources = closed(
        jobs=named(job),
        schemas=named(
            closed(
                ["catalog_name", "name"],
                catalog_name=TEXT,
                name=TEXT,
                storage_root=TEXT,
                properties=named(TEXT),
                **kept,
            )
        ),
        volumes=named(
            closed(
                ["catalog_name", "schema_name", "name"],
                catalog_name=TEXT,
                schema_name=TEXT,
                name=TEXT,
                storage_location=TEXT,
                volume_type=kinds.of(catalog.VolumeType),
                **kept,
            )
        ),
    )
    target = closed(
        mode={"enum": ["development", "production"]},
        default=PLAIN[bool],
        variables=named({}),
        workspace=closed(host=TEXT, profile=TEXT, root_path=TEXT),
        permissions=listed(permission),
        run_as=closed(user_name=TEXT, service_principal_name=TEXT),
        resources=resources,
    )
    bundle = closed(
        ["bundle"],
        bundle=closed(["name"], name=TEXT, databricks_cli_version=TEXT),
        experimental=closed(skip_name_prefix_for_schema=PLAIN[bool]),
        variables=named(closed(description=TEXT, default={}, type=TEXT)),
        sync=closed(include=listed(TEXT), exclude=listed(TEXT), paths=listed(TEXT)),
        artifacts=named(
            closed(
                ["type"], type={"enum": ["whl"]}, path=TEXT, build=TEXT, dynamic_version=PLAIN[bool]
            )
        ),
        resources=resources,
        targets=named(target),
    )
    return {**bundle, "$defs": kinds.definitions}


def schema_of_the_cli() -> Schema | None:
    """What `databricks bundle schema` prints, or the file that POS_BUNDLE_SCHEMA names."""
    if named_file := os.environ.get("POS_BUNDLE_SCHEMA"):
        text = Path(named_file).read_text()
    elif cli := shutil.which("databricks"):
        command = [cli, "bundle", "schema"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    else:
        return None
    # Its patterns are of Go's kind, which has names for letters and digits that Python lacks.
    text = text.replace(r"[\\p{L}\\p{N}]", r"[^\\W_]").replace(r"\\p{L}", r"[^\\W\\d_]")
    schema: Schema = json.loads(text)
    return schema


def refusals(schema: Schema, bundle: Any) -> list[str]:
    """What of a bundle its schema does not allow, each with its place."""
    return [
        f"{error.json_path}: {error.message[:300]}"
        for error in Draft202012Validator(schema).iter_errors(bundle)
    ]
