"""Employees' numbers leave bronze after their days, and nothing that was built of them changes."""

from __future__ import annotations

from typing import Any

import pytest
from deltalake import DeltaTable

import loaders.retention
from loaders.errors import UserError
from loaders.files import only_holder
from loaders.retention import replace_numbers, retain
from tests.builds.worlds import World, business_rows, differences

pytestmark = pytest.mark.faults

HEADER = "item_id,employee_id,store_id,date_time,quantity\n"


@pytest.fixture
def counted(world: World) -> World:
    """Counts that are kept, corrected, rejected, and that fit no columns."""
    world.land_counts(
        (1, 70707, 1, "2021-01-01 08:00:00", 100), (2, "Ann", 1, "2021-01-01 08:00:00", 6)
    )
    world.land_counts(
        (1, 80808, 1, "2021-01-01 08:00:00", 90), ("x", 70707, 1, "2021-01-01 08:00:00", 1)
    )
    world.land(
        "store_001/counts/broken.csv", f"{HEADER}7,70707,1\n8,80808,1,2021-01-01 08:00:00,5,6\n"
    )
    world.land("store_001/counts/header.csv", "item,employee,store\n1,Ann Smith,1\n")
    world.load_and_build()
    world.land_counts((3, 90909, 1, "2021-01-01 09:00:00", 3))
    world.load_and_build()
    return world


def everything(world: World) -> dict[str, Any]:
    """What silver and gold say, who counted and what was rejected with what text included."""
    counts = world.rows("silver", "stg_pos__stock_counts")
    rejected = world.rows("silver", "stg_pos__quarantine")
    return {
        **business_rows(world),
        "who": sorted((row["store_id"], row["item_id"], row["employee_key"]) for row in counts),
        "texts": sorted((row["reason"], row["raw"]) for row in rejected),
    }


def texts_in(world: World, *schemas: str) -> str:
    """All that stands in the tables of these schemas, as one text."""
    return "\n".join(
        str(row)
        for path in sorted(world.settings.lakehouse.iterdir())
        if path.name in schemas
        for table in sorted(path.iterdir())
        for row in world.rows(path.name, table.name)
    )


NUMBERS = ("70707", "80808", "90909", "Ann")


def test_numbers_are_replaced_and_a_rebuild_says_the_same(counted: World) -> None:
    before = everything(counted)
    built = texts_in(counted, "silver", "gold")
    for number in NUMBERS:
        assert number not in built, "silver and gold never had them"
        assert number in texts_in(counted, "bronze")
    messages = len(counted.rows("bronze", "pos_count_rows"))
    report = retain(counted.settings, days=0)
    assert report.rows == 5 + 3
    for number in NUMBERS:
        assert number not in texts_in(counted, "bronze")
    assert len(counted.rows("bronze", "pos_count_rows")) == messages
    bronze = DeltaTable(str(counted.settings.table("bronze", "pos_count_rows")))
    assert bronze.metadata().configuration["delta.appendOnly"] == "true"
    assert retain(counted.settings, days=0).rows == 0, "once"
    rebuilt = counted.build("--full-refresh")
    assert rebuilt.succeeded, rebuilt.failures
    assert everything(counted) == before, "increments equal a rebuild"
    counted.land_counts((1, 70707, 1, "2021-01-01 10:00:00", 70))
    counted.load_and_build()
    assert differences(counted) == [], "and it goes on"
    keys = {
        row["item_id"]: row["employee_key"]
        for row in counted.rows("silver", "stg_pos__stock_counts")
        if row["quantity"] == 70
    }
    assert keys[1] == loaders.retention.key_of("70707", "development")


def test_only_what_is_old_and_built_is_replaced(counted: World) -> None:
    assert replace_numbers(counted.settings, days=1).rows == 0, "received just now"
    counted.land_counts((4, 60606, 1, "2021-01-01 10:00:00", 70))
    counted.load()
    assert retain(counted.settings, days=0).rows == 8
    assert "60606" in texts_in(counted, "bronze"), "no build has had it"
    counted.load_and_build()
    assert retain(counted.settings, days=0).rows == 1
    assert differences(counted) == []


def test_another_key_is_refused(counted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = texts_in(counted, "bronze")
    monkeypatch.setenv("POS_EMPLOYEE_HASH_KEY", "another")
    with pytest.raises(UserError, match="is not the key that the counts in silver were hashed"):
        retain(counted.settings, days=0)
    assert texts_in(counted, "bronze") == before


def test_a_kill_between_its_commits_is_put_right(
    counted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_arguments: object, **_named: object) -> None:
        raise KeyboardInterrupt

    path = str(counted.settings.table("bronze", "pos_count_rows"))
    with monkeypatch.context() as patch:
        patch.setattr(loaders.retention, "write_deltalake", dies)
        with pytest.raises(KeyboardInterrupt):
            retain(counted.settings, days=0)
    DeltaTable(path).alter.set_table_properties({"delta.appendOnly": "false"})  # as a SIGKILL
    assert retain(counted.settings, days=0).rows == 8
    assert DeltaTable(path).metadata().configuration["delta.appendOnly"] == "true"
    lock = counted.settings.state / "loader.lock"
    with only_holder(lock, doing="loading"), pytest.raises(UserError, match="another process"):
        retain(counted.settings, days=0)


def test_a_hash_key_that_would_be_sql_is_refused(
    counted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted.land_counts((1, 70707, 1, "2021-01-01 11:00:00", 70))
    counted.load()
    monkeypatch.setenv("POS_EMPLOYEE_HASH_KEY", "x', employee_id) as employee_key --")
    report = counted.build("--select", "stg_pos__stock_counts")
    assert not report.succeeded
    assert any("letters, digits and" in failure for failure in report.failures)
