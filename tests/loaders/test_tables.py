"""A table's rows are read by Arrow's own file system, whatever its folder is called."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from loaders.tables import StoredTable

ROWS = pa.table({"store": ["a b", "ü%20", "x=y", "a b"], "quantity": [1, 2, 3, 4]})


@pytest.mark.parametrize("name", ["plain", "land ing", "über 100%"])
@pytest.mark.parametrize("partitions", [None, ["store"]])
def test_its_rows_are_what_was_written(
    tmp_path: Path, name: str, partitions: list[str] | None
) -> None:
    path = str(tmp_path / name)
    write_deltalake(path, ROWS, partition_by=partitions)
    table = StoredTable(path)
    assert table.to_pyarrow_table().sort_by("quantity").select(ROWS.column_names) == ROWS
    some = table.to_pyarrow_table(columns=["quantity"], filters=[("store", "=", "ü%20")])
    assert some.to_pydict() == {"quantity": [2]}


def test_no_python_is_called_by_arrow(tmp_path: Path) -> None:
    """That is what aborts a process that ends soon after."""
    write_deltalake(str(tmp_path), ROWS)
    used = StoredTable(str(tmp_path)).to_pyarrow_dataset().filesystem
    assert isinstance(used, SubTreeFileSystem)
    assert isinstance(used.base_fs, LocalFileSystem)
