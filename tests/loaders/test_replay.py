"""The replay on a small file with the real one's columns; on the real one where it is named."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loaders.errors import UserError
from loaders.messages import MAX_MESSAGE_BYTES
from loaders.replay import replay_messages, write_replay

EARLY, LATE = datetime(2017, 1, 1, 11, 53, 26, 900_000), datetime(2017, 1, 1, 12, 10, 28)
# basket, store, product, quantity, time
ROWS: list[tuple[int, int, int, int, datetime]] = [
    (32, 330, 500, 1, LATE),
    (32, 330, 501, 2, LATE),
    (32, 330, 500, 3, LATE),
    (31, 4, 502, 0, EARLY),
    (31, 4, 500, 7, EARLY),
]


def _table(rows: list[tuple[int, int, int, int, datetime]]) -> pa.Table:
    basket, store, product, quantity, at = zip(*rows, strict=True)
    return pa.table(
        {
            "household_id": [1] * len(rows),
            "store_id": store,
            "basket_id": basket,
            "product_id": product,
            "quantity": quantity,
            "sales_value": [0.5] * len(rows),
            "week": [1] * len(rows),
            "transaction_timestamp": pa.array(at, pa.timestamp("ns")),
        }
    )


def _products() -> pa.Table:
    return pa.table(
        {
            "product_id": [500, 501, 9],
            "manufacturer_id": [2, 3, 4],
            "department": ["GROCERY", "PASTRY", "X"],
            "brand": ["National", "Private", "X"],
            "product_category": ["FRZN ICE", None, "X"],
            "product_type": ["ICE, CRUSHED", None, "X"],
            "package_size": ["22 LB", None, None],
        }
    )


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    file = tmp_path / "source" / "transactions.parquet"
    file.parent.mkdir()
    pq.write_table(_table(ROWS), file)
    return file


def _lines(landing: Path) -> list[dict[str, Any]]:
    files = sorted(landing.glob("*/changes/*.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_basket_is_a_message_with_negated_quantities_in_order_of_time() -> None:
    messages = replay_messages(_table(ROWS))
    assert [json.loads(body) for body in messages["store_001"]] == [
        {
            "trans_id": "31",
            "store_id": 1,
            "date_time": "2017-01-01 11:53:26",
            "change_type_id": 1,
            "items": [{"item_id": 502, "quantity": 0}, {"item_id": 500, "quantity": -7}],
        },
        {
            "trans_id": "32",
            "store_id": 1,
            "date_time": "2017-01-01 12:10:28",
            "change_type_id": 1,
            "items": [
                {"item_id": 500, "quantity": -1},
                {"item_id": 501, "quantity": -2},
                {"item_id": 500, "quantity": -3},
            ],
        },
    ]


def test_stores_are_kept_when_not_folded() -> None:
    messages = replay_messages(_table(ROWS), fold=False)
    assert {
        pos: [json.loads(body)["store_id"] for body in bodies] for pos, bodies in messages.items()
    } == {"store_004": [4], "store_330": [330]}


def test_a_basket_that_is_too_large_is_split() -> None:
    rows = [(1, 1, 10**15 + number, 1, LATE) for number in range(9_000)]
    bodies = replay_messages(_table(rows))["store_001"]
    assert len(bodies) == 2
    assert all(len(body) <= MAX_MESSAGE_BYTES for body in bodies)
    assert sum(len(json.loads(body)["items"]) for body in bodies) == 9_000


def test_published_files_and_items(parquet: Path, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    summary = write_replay(parquet, landing, messages_per_file=1)
    assert (summary.change_files, summary.messages, summary.lines) == (2, 2, 5)
    assert (summary.quantity, summary.items) == (-13, 3)
    assert [message["trans_id"] for message in _lines(landing)] == ["31", "32"]
    (items,) = (landing / "reference").glob("items_*.csv")
    assert items.read_text() == (
        "item_id,name,supplier_id,safety_stock_quantity\n"
        "500,product 500,0,0\n501,product 501,0,0\n502,product 502,0,0\n"
    )
    before = sorted(landing.rglob("*"))
    write_replay(parquet, landing, messages_per_file=1)
    assert sorted(landing.rglob("*")) == before


def test_limit_takes_the_first_rows(parquet: Path, tmp_path: Path) -> None:
    summary = write_replay(parquet, tmp_path / "landing", limit=2)
    assert (summary.messages, summary.lines, summary.quantity) == (1, 2, -3)
    assert write_replay(parquet, tmp_path / "none", limit=0).messages == 0
    with pytest.raises(UserError, match="limit"):
        write_replay(parquet, tmp_path / "none", limit=-1)


def test_the_wheel_is_read_without_unpacking_and_its_products_name_the_items(
    parquet: Path, tmp_path: Path
) -> None:
    pq.write_table(_products(), tmp_path / "products.parquet")
    wheel = tmp_path / "some-0.1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.write(parquet, "some/data/transactions.parquet")
        archive.write(tmp_path / "products.parquet", "some/data/products.parquet")
    landing = tmp_path / "landing"
    assert write_replay(wheel, landing).quantity == -13
    (items,) = (landing / "reference").glob("items_*.csv")
    with items.open(newline="") as text:
        names = {row["item_id"]: (row["name"], row["supplier_id"]) for row in csv.DictReader(text)}
    assert names == {
        "500": ("ICE, CRUSHED 22 LB National", "2"),
        "501": ("PASTRY Private", "3"),
        "502": ("product 502", "0"),
    }


def test_errors_say_what_is_wrong(parquet: Path, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    with pytest.raises(UserError, match="does not exist"):
        write_replay(tmp_path / "absent.parquet", landing)
    text = tmp_path / "text.parquet"
    text.write_text("hello")
    with pytest.raises(UserError, match="not a readable parquet"):
        write_replay(text, landing)
    wheel = tmp_path / "broken.whl"
    wheel.write_text("hello")
    with pytest.raises(UserError, match="not a wheel"):
        write_replay(wheel, landing)
    with ZipFile(wheel, "w") as archive:
        archive.writestr("other/file", "")
    with pytest.raises(UserError, match="holds no"):
        write_replay(wheel, landing)
    pq.write_table(_table(ROWS).drop_columns(["basket_id", "quantity"]), text)
    with pytest.raises(UserError, match=r"lacks the column.*basket_id, quantity"):
        write_replay(text, landing)
    holed = _table(ROWS).set_column(4, "quantity", pa.array([1, None, 1, 1, 1]))
    pq.write_table(holed, text)
    with pytest.raises(UserError, match="1 empty values in quantity"):
        write_replay(text, landing)
    assert not landing.exists()
