"""`pos sql-server` and a JDBC client: it sees gold as delta-rs does, and changes nothing."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from loaders.landing import publish
from loaders.sql import server
from tests.files import message
from tests.sql.conftest import PROJECT, Sample
from tests.worlds import free_port

pytestmark = pytest.mark.pages


@pytest.fixture(scope="module")
def address(sample: Sample, spark_jars: Path) -> Iterator[str]:
    port = free_port()
    started = sample.pos("sql-server", "--sql-port", str(port))
    try:
        assert started.returncode == 0, started.stderr
        address = started.stdout.split()[0]
        assert address == f"jdbc:hive2://127.0.0.1:{port}/gold"
        yield address
        status = sample.pos("status")
        assert f"SQL server: 127.0.0.1:{port}, pid " in status.stdout
        assert "SQL server stopped" in sample.pos("sql-server", "--stop").stdout
        assert listening_at(port) == set()
        assert "no SQL server was running" in sample.pos("sql-server", "--stop").stdout
    finally:
        server.stop(sample.settings)


def ask(address: str, *asked: str) -> list[dict[str, Any]]:
    """What the foreign client was answered, statement by statement."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("jdbc_client.py")), address],
        input=json.dumps(asked),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_each_gold_table_is_what_delta_rs_reads(sample: Sample, address: str) -> None:
    answers = ask(address, *(f"select * from {name}" for name in sample.gold))
    for name, answer in zip(sample.gold, answers, strict=True):
        assert "error" not in answer, (name, answer)
        names = [text.rpartition(".")[2] for text in answer["names"]]
        table = sample.table(name)
        assert sorted(names) == sorted(table.column_names)
        expected = Counter(tuple(plain(row[key]) for key in names) for row in table.to_pylist())
        found = Counter(tuple(comparable(value) for value in row) for row in answer["rows"])
        assert found == expected, name
        assert found, f"an empty {name} proves nothing"


def test_a_tool_finds_schemas_tables_and_columns(sample: Sample, address: str) -> None:
    schemas, tables, columns = ask(address, "schemas", "tables", "columns")
    assert {"bronze", "silver", "gold"} <= {row[0] for row in schemas["rows"]}
    assert sorted(row[2] for row in tables["rows"]) == sample.gold
    found = {(row[2], row[3]) for row in columns["rows"]}
    assert found == {(name, key) for name in sample.gold for key in sample.table(name).column_names}


def test_what_writes_is_refused(sample: Sample, address: str) -> None:
    before = sample.table("inventory_current")
    answers = ask(
        address,
        "insert into gold.inventory_current select * from gold.inventory_current",
        "delete from gold.inventory_current",
        "update gold.inventory_current set on_hand_quantity = 0",
        "merge into gold.inventory_current as t using gold.bopis_orders as s "
        "on t.item_id = s.item_id when matched then delete",
        "truncate table gold.inventory_current",
        "select count(*) from nothing",
    )
    assert all("error" in answer for answer in answers), answers
    assert sample.table("inventory_current") == before


def test_a_query_after_a_build_sees_the_new_rows(sample: Sample, address: str) -> None:
    table = sample.table("inventory_current")
    item = table.filter(pc.equal(table["store_id"], 1))["item_id"][0]
    question = (
        f"select on_hand_quantity from inventory_current where item_id = {item} and store_id = 1"
    )
    ((before,),) = ask(address, question)[0]["rows"]
    sale = message(f"sold-{before}", "2021-01-11 09:00:00", (item.as_py(), -3))
    file = sample.settings.landing / f"store_001/changes/sold_{before}.json"
    publish(file, f"{json.dumps(sale)}\n".encode())
    built = sample.pos("run", "--once")
    assert built.returncode == 0, built.stdout + built.stderr
    ((after,),) = ask(address, question)[0]["rows"]
    assert after == before - 3


def test_only_this_machine_reaches_it(address: str) -> None:
    addresses = listening_at(int(address.rpartition(":")[2].partition("/")[0]))
    assert addresses
    assert all(place.is_loopback for place in addresses)


def test_a_taken_port_and_a_second_call(sample: Sample, address: str) -> None:
    port = address.rpartition(":")[2].partition("/")[0]
    again = sample.pos("sql-server", "--sql-port", port)
    assert again.stdout.startswith(address)
    other = sample.pos("sql-server", "--sql-port", "1")
    assert other.returncode == 1
    assert f"already runs on port {port}" in other.stderr


def listening_at(port: int) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of this machine that something listens at on a port."""
    found: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            place, number = local.split(":")
            if state != "0A" or int(number, 16) != port:
                continue
            words = [bytes.fromhex(place[at : at + 8])[::-1] for at in range(0, len(place), 8)]
            ip = ipaddress.ip_address(b"".join(words))
            found.add(getattr(ip, "ipv4_mapped", None) or ip)
    return found


def plain(value: Any) -> Any:
    """A value of delta-rs as the driver's getObject() gives it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").ljust(21, "0")
    return comparable(str(value) if isinstance(value, date) else value)


def comparable(value: Any) -> Any:
    return float(f"{value:.12g}") if isinstance(value, float) else value
