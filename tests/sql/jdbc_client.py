"""A client that is none of ours: the Apache Hive JDBC driver, as DBeaver uses it, told what to do.

Reads a list of JSON strings from standard input, statements or names of JDBC's metadata calls, and
writes for each a line: the rows, or the error. Run as a program with a JDBC address.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jpype
import pyspark

METADATA = {
    "schemas": lambda data: data.getSchemas(),
    "tables": lambda data: data.getTables(None, "gold", "%", None),
    "columns": lambda data: data.getColumns(None, "gold", "%", "%"),
}


def rows_of(result: Any) -> dict[str, Any]:
    """All rows of a java.sql.ResultSet as plain values, and the names of its columns."""
    described = result.getMetaData()
    columns = range(1, described.getColumnCount() + 1)
    names = [str(described.getColumnLabel(column)) for column in columns]
    rows = []
    while result.next():
        rows.append([plain(result.getObject(column)) for column in columns])
    return {"names": names, "rows": rows}


def plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jpype.JClass("java.lang.Boolean")):
        return bool(value)
    if isinstance(value, jpype.JClass("java.lang.Double")):
        return float(value)
    if isinstance(value, jpype.JClass("java.lang.Number")) and "." not in str(value):
        return int(str(value))
    return str(value)


def main(address: str) -> None:
    jars = Path(pyspark.__file__).parent / "jars"
    jpype.startJVM("-Dorg.slf4j.simpleLogger.defaultLogLevel=off", classpath=[f"{jars}/*"])
    connection = jpype.java.sql.DriverManager.getConnection(address, "analyst", "")
    statement = connection.createStatement()
    for asked in json.load(sys.stdin):
        try:
            if asked in METADATA:
                answer = rows_of(METADATA[asked](connection.getMetaData()))
            else:
                answer = rows_of(statement.executeQuery(asked))
        except jpype.JException as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
