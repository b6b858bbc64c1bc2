"""Where a lakehouse lies, and what is refused of one in an object store; no store is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from loaders.bronze import SCHEMAS
from loaders.catalog import plain_cause
from loaders.config import Settings, settings_from
from loaders.errors import UserError
from loaders.landing import ITEMS
from loaders.load import renumbered
from loaders.places import Store, place_of
from loaders.plan import EPOCH, Plan, received
from loaders.s3.spark import jars_for

LANDING = Path("/landing")
IN_STORE = Settings(LANDING, place_of("s3://shop/a/lake"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("s3://shop", Store("s3://shop")),
        ("s3://shop/a/lake/", Store("s3://shop/a/lake")),
        ("/srv/lake", Path("/srv/lake")),
        (Path("lake"), Path("lake").resolve()),
    ],
)
def test_a_place_is_a_folder_or_in_a_bucket(text: str | Path, place: object) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///lake", "gs://shop/lake", "s3://Shop/lake", "s3://shop/la ke"),
        *("s3://shop/a/../b", "s3://shop//lake", "s3://shop/o'clock"),
        "s3://user:key@shop/lake",  # pragma: allowlist secret
    ],
)
def test_another_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no lakehouse"):
        place_of(text)


def test_tables_are_in_the_store_and_what_is_remembered_is_on_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(IN_STORE.table("gold", "x")) == "s3://shop/a/lake/gold/x"
    assert IN_STORE.state == tmp_path / "lakehouse_state/shop/a/lake"
    monkeypatch.setenv("POS_STATE", "elsewhere")
    monkeypatch.setenv("POS_LAKEHOUSE", "s3://shop/a/lake")
    settings = settings_from()
    assert settings.state == tmp_path / "elsewhere"
    assert settings.environment()["POS_STATE"] == str(tmp_path / "elsewhere")
    # On a disk it lies in the lakehouse, whatever another one's environment says.
    on_disk = settings_from(lakehouse=tmp_path / "lake")
    assert on_disk.state == tmp_path / "lake/_pos"
    assert "POS_STATE" not in on_disk.environment()


def test_what_needs_a_disk_says_so_and_a_disk_needs_no_jars(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s3://shop/a/lake is in an object store"):
        _ = IN_STORE.disk
    on_disk = Settings(LANDING, tmp_path)
    assert on_disk.disk == tmp_path
    assert jars_for(on_disk) == []


def test_a_number_that_is_taken_is_replaced_in_plan_and_rows() -> None:
    """And they have landed after what others have loaded meanwhile, in the order that they had."""
    plan = Plan(ITEMS, 3, datetime(2021, 1, 1, tzinfo=UTC), 10)
    columns = {"source_line": [1, 2, 3], "source_file": ["a", "a", "b"]}
    rows = received(plan, columns, 1, [20, 20, 90])
    again, moved = renumbered(plan, rows, 7, 50)
    assert (again.ingest_id, again.floor_us) == (7, 50)
    assert moved["ingest_id"].to_pylist() == [7, 7, 7]
    landed = [(at - EPOCH).microseconds for at in moved["landed_at"].to_pylist()]
    assert landed == [51, 51, 90]
    assert moved.schema == SCHEMAS[ITEMS]
    kept = [name for name in rows.column_names if name not in ("ingest_id", "landed_at")]
    assert moved.select(kept) == rows.select(kept)
    # An empty file is a commit too.
    _, none = renumbered(plan, pa.table(rows.slice(0, 0)), 8, None)
    assert none.schema == SCHEMAS[ITEMS]


def test_a_stores_refusal_is_one_line() -> None:
    said = (
        "Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing GET x\n"
        "    \x1b[31m↳\x1b[0m 404 Not Found\n<Error><Code>NoSuchBucket</Code></Error>\n"
    )
    assert plain_cause(OSError(said)) == (
        "Generic S3 error, Error performing GET x, 404 Not Found, NoSuchBucket"
    )
