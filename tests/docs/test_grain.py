"""A grain is one thing: unique_key, tested key, description and the first line of the SQL."""

from __future__ import annotations

import copy
import re

import pytest

from tests.docs.manifest import ROOT, Manifest, Node, tables

# How the key's columns are called in a sentence. A new column of a key wants its words here.
WORDS: dict[str, set[str]] = {
    "store": {"store_id"},
    "item": {"item_id"},
    "transaction": {"trans_id"},
    "change type": {"change_type_id"},
    "type of inventory change": {"change_type_id"},
    "on the date of the event": {"occurred_on"},
    "time of the count": {"counted_at"},
    "version of its figures": {"figure_version"},
    "alert": {"alert"},
    "day": {"day_on"},
    "entry": {"change_type", "trans_id", "occurred_at", "occurred_on"},
    "source": {"source"},
    "loader commit": {"_ingest_id"},
    "commit": {"_ingest_id"},
    "line of the commit": {"_ingest_line"},
    "line of the message": {"line_number"},
    "message as received": {"ingest_id", "ingest_line"},
    "count row as received": {"ingest_id", "ingest_line"},
    "item row as received": {"ingest_id", "ingest_line"},
    # dbt's own key of a snapshot's version.
    "stock count and version": {"dbt_scd_id"},
}
# Where the key ends and the sentence goes on.
END = re.compile(r"[.:]| that | with |, the last | of a ")


def documented_key(sentence: str) -> set[str]:
    """The columns that `One row per …` names."""
    assert sentence.lower().startswith("one row per "), sentence
    named = END.split(sentence[len("one row per ") :])[0].strip()
    if named in WORDS:
        return WORDS[named]
    key: set[str] = set()
    for name in re.split(r", and |, | and ", named):
        assert name in WORDS, f"{name!r} is no column of a key that tests/docs/test_grain.py knows"
        key |= WORDS[name]
    return key


def first_line(node: Node) -> str:
    """`one row per …` of a model's SQL."""
    (line,) = re.findall(r"\A-- grain: (.*)\n", (ROOT / node["original_file_path"]).read_text())
    return str(line)


def unique_keys(manifest: Manifest, node_id: str) -> list[set[str]]:
    """The columns of each uniqueness test on the whole of a table."""
    return [
        set(test["test_metadata"]["kwargs"]["columns"])
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test"
        and (test.get("test_metadata") or {}).get("name") == "unique_combination"
        and node_id in test["depends_on"]["nodes"]
    ]


def never_null(manifest: Manifest, node_id: str) -> set[str]:
    return {
        test["column_name"]
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test"
        and (test.get("test_metadata") or {}).get("name") == "not_null"
        and node_id in test["depends_on"]["nodes"]
    }


def disagreements(manifest: Manifest) -> list[str]:
    """What says another grain than the test does, by table."""
    wrong = []
    for node_id, node in tables(manifest):
        if node["config"].get("materialized") == "ephemeral":
            continue  # no table and no test; its two sentences are compared below
        (tested,) = unique_keys(manifest, node_id) or [set()]
        if documented_key(node["description"]) != tested:
            wrong.append(f"{node_id}: description")
        if tested - never_null(manifest, node_id):
            wrong.append(f"{node_id}: a column of the key may be null")
        if node["resource_type"] == "model":
            if documented_key(first_line(node)) != tested:
                wrong.append(f"{node_id}: first line")
            is_incremental = node["config"]["materialized"] == "incremental"
            if is_incremental and set(node["config"]["unique_key"]) != tested:
                wrong.append(f"{node_id}: unique_key")
    return wrong


def test_key_test_description_and_first_line_are_one(manifest: Manifest) -> None:
    assert disagreements(manifest) == []


def test_description_and_first_line_say_the_same(manifest: Manifest) -> None:
    for node_id, node in tables(manifest):
        if node["resource_type"] == "model":
            says, wants = (
                re.split(r"[.:,] |[.:]$| that ", sentence.lower() + " ")[0].strip()
                for sentence in (node["description"], first_line(node))
            )
            assert says == wants, node_id


@pytest.mark.parametrize("said", ["unique_key", "description", "a column of the key may be null"])
def test_another_grain_is_noticed(manifest: Manifest, said: str) -> None:
    node_id = "model.pos_lakehouse.inventory_current.v1"
    broken = copy.deepcopy(manifest)
    node = broken["nodes"][node_id]
    if said == "unique_key":
        node["config"]["unique_key"] = ["item_id"]
    elif said == "description":
        node["description"] = "One row per item. What is in stock."
    else:
        broken["nodes"] = {
            test_id: test
            for test_id, test in broken["nodes"].items()
            if not (test_id.startswith("test.") and "not_null_inventory_current_v1_item" in test_id)
        }
    assert disagreements(broken) == [f"{node_id}: {said}"]
