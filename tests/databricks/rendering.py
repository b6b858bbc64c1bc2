"""What dbt-databricks sends to a warehouse, without one.

The seam is DatabricksConnectionManager.open: instead of a session it gets the adapter's own handle
around a fake of the DB-API connection below it. So everything above, which is the adapter, its
macros and its materializations, is what runs on Databricks. The fake keeps the columns of what the
statements create, so that a second build finds the tables of the first.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from databricks.sql.utils import ParamEscaper
from dbt.adapters.databricks import impl
from dbt.adapters.databricks.connections import DatabricksConnectionManager
from dbt.adapters.databricks.handle import DatabricksHandle
from dbt.cli.main import dbtRunner

from tests.databricks.columns import named_outputs, tree_of

ROOT = Path(__file__).parents[2]
Row = tuple[Any, ...]
Answer = tuple[Sequence[str], Sequence[Row]]

ESCAPER: Any = ParamEscaper()
NOTHING: Answer = ([], [])
# Types are all the same: a contract's names are compared by these tests, its types are not.
TYPE = "string"
COMMENTS_BEFORE = re.compile(r"^(/\*.*?\*/\s*)?(--[^\n]*\n\s*)*", re.DOTALL)
CREATED = re.compile(r"^create\s+(or\s+replace\s+)?(temporary\s+)?(table|view)\s+(?P<name>[\w.`]+)")
DESCRIBED = re.compile(r"^describe (table )?(extended )?(?P<name>[\w.`]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """One statement and the dbt node, or the step of dbt, that sent it."""

    sender: str
    sql: str


@dataclass
class Warehouse:
    """Keeps the statements that it is sent, and by name those that created something."""

    tables: dict[str, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    known_columns: dict[str, list[str]] = field(default_factory=dict)

    def receive(self, sender: str, sql: str) -> Answer:
        """Take one statement in, and answer it if it is a question."""
        sql = COMMENTS_BEFORE.sub("", sql).strip()
        self.statements.append(Statement(sender, sql))
        lower = sql.lower()
        if created := CREATED.match(lower):
            self.tables[created["name"]] = sql
        elif described := DESCRIBED.match(lower):
            return self.describe(described["name"], as_json=lower.endswith("as json"))
        elif "`information_schema`.`tables`" in lower:
            return self.list_tables(lower)
        elif lower.startswith(("select", "with")) and "information_schema" not in lower:
            return self.select(sql, number=sum(s.sender == sender for s in self.statements))
        return NOTHING

    def columns(self, name: str) -> list[str]:
        """The columns of what was created, read only when asked for: parsing takes its time."""
        sql = self.tables[name]
        if sql not in self.known_columns:
            self.known_columns[sql] = self.read_columns(sql)
        return self.known_columns[sql]

    def read_columns(self, sql: str) -> list[str]:
        """The columns of a `create`: those of its query, or those that it lists."""
        if re.search(r"\bselect\b", sql):
            return [column for column, _ in named_outputs(sql, self.columns)]
        definitions = tree_of(sql).recursive_crawl("column_definition")
        return [definition.raw_segments[0].raw.strip("`") for definition in definitions]

    def list_tables(self, lower: str) -> Answer:
        """All that lies in the schema that is asked for."""
        schema = lower.split("table_schema = '")[1].partition("'")[0]
        names = "table_name", "table_type", "file_format", "table_owner", "databricks_table_type"
        return names, [
            (name.split("`")[-2], "table", "delta", "nobody", "managed")
            for name in self.tables
            if f".`{schema}`." in name
        ]

    def describe(self, name: str, *, as_json: bool) -> Answer:
        """The columns of a table or view, and that it is Delta."""
        columns = self.columns(name)
        if as_json:
            described = [{"name": column, "type": {"name": TYPE}} for column in columns]
            return ["json_metadata"], [(json.dumps({"columns": described}),)]
        rows = [(column, TYPE, None) for column in columns]
        detail = [("# Detailed Table Information", "", ""), ("Provider", "delta", "")]
        return ["col_name", "data_type", "comment"], rows + detail

    def select(self, sql: str, number: int) -> Answer:
        """One row, in which a cursor is further than in the last answer; none for `limit 0`."""
        outputs = list(named_outputs(sql, self.columns))
        row = tuple(value(name, expression, number) for name, expression in outputs)
        return [name for name, _ in outputs], [] if re.search(r"limit\s+0$", sql) else [row]


def value(name: str, expression: str, number: int) -> Any:
    """A value for an output, by its name or by the form of its expression."""
    if name in ("failures", "should_warn", "should_error"):  # a dbt test that passes
        return 0
    return "2021-01-01" if re.search(r"as string\s*\)", expression) else number


class Cursor:
    """The few calls that the adapter makes of a DB-API cursor."""

    query_id = "none"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: list[tuple[str, str]] = []
        self.rows: list[Row] = []

    def execute(self, sql: str, bindings: Sequence[Any] | None = None) -> Cursor:
        """Bindings are written into the text by the connector's own rules, as dbt has it do."""
        if bindings:
            sql = sql % ESCAPER.escape_args(tuple(bindings))
        names, rows = self.connection.receive(sql)
        self.description = [(name, TYPE) for name in names]
        self.rows = list(rows)
        return self

    def fetchall(self) -> list[Row]:
        return self.rows

    def fetchmany(self, size: int) -> list[Row]:
        return self.rows[:size]

    def fetchone(self) -> Row | None:
        return self.rows[0] if self.rows else None

    def close(self) -> None:
        pass


@dataclass
class Connection:
    """What databricks.sql.connect would return; dbt names its own connection after the node."""

    warehouse: Warehouse
    owner: Any

    def receive(self, sql: str) -> Answer:
        return self.warehouse.receive(self.owner.name, sql)

    def cursor(self) -> Cursor:
        return Cursor(self)

    def get_session_id_hex(self) -> str:
        return "none"

    def close(self) -> None:
        pass


@contextmanager
def connected_to(warehouse: Warehouse, *, materialization_v2: bool = False) -> Iterator[None]:
    """Let every connection of dbt-databricks end at `warehouse`, and none leave the machine."""

    def open_connection(manager: type, connection: Any) -> Any:
        del manager
        fake: Any = Connection(warehouse, owner=connection)
        connection.handle = DatabricksHandle(fake, is_cluster=False)
        connection.state = "open"
        return connection

    def refuse(*address: Any) -> None:
        raise AssertionError(f"a connection was attempted: {address}")

    with (
        mock.patch.object(DatabricksConnectionManager, "open", classmethod(open_connection)),
        mock.patch.dict(impl.USE_MATERIALIZATION_V2, {"default": materialization_v2}),
        mock.patch.object(socket.socket, "connect", refuse),
    ):
        yield


def build(
    warehouse: Warehouse, workdir: Path, *options: str, root: Path = ROOT, **flags: bool
) -> Any:
    """`dbt build` for Databricks into a fake warehouse, and what dbt's runner says of it."""
    arguments = ["build", "--target", "databricks", "--threads", "1", "--quiet"]
    # Unit tests cannot be answered: they ask for the columns of inputs that nothing created.
    arguments += ["--exclude-resource-type", "unit_test"]
    arguments += ["--project-dir", str(root), "--profiles-dir", str(root / "profiles")]
    arguments += ["--target-path", str(workdir), "--log-path", str(workdir), *options]
    with connected_to(warehouse, **flags):
        return dbtRunner().invoke(arguments)
