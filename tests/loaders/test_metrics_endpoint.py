"""Metrics are on loopback and count what was done; each alarm has its metric and its section."""

from __future__ import annotations

import re
import socket
import urllib.request
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from loaders.config import Settings
from loaders.errors import UserError
from loaders.load import LoadReport
from loaders.maintenance import Upkeep
from loaders.metrics import Metrics, measured
from loaders.schedule import Tick
from loaders.warehouse import BuildReport

PROFILES = Path(__file__).resolve().parents[2] / "profiles"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    settings.table("gold", "inventory_current").joinpath("_delta_log").mkdir(parents=True)
    return settings


def tick(succeeded: bool = True) -> Tick:
    return Tick(
        LoadReport(rows={"pos_messages": 3}, warnings=["broken"]),
        BuildReport(2.5, succeeded),
        lags=[1.5, 40.0],
        upkeep=[Upkeep("journal", problem="full")],
        waiting=4,
    )


def samples(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_they_are_served_on_loopback_only_and_written_to_a_file(
    settings: Settings, tmp_path: Path
) -> None:
    said: list[str] = []
    file = tmp_path / "pos.prom"
    with measured(settings, 0, file, said.append) as measure:
        measure(tick())
        measure(tick(succeeded=False))
        (address,) = re.findall(r"http://\S+/metrics", said[0])
        with urllib.request.urlopen(address, timeout=10) as answer:
            served = samples(answer.read().decode())
        port = int(address.split(":")[2].split("/")[0])
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
        for other in others - {"127.0.0.1", "::1"}:
            with socket.socket() as probe:
                probe.settimeout(1)
                assert probe.connect_ex((other, port)) != 0, other
    assert address.startswith("http://127.0.0.1:")
    assert served["pos_builds_total[succeeded]"] == served["pos_builds_total[failed]"] == 1
    assert served["pos_rows_loaded_total[pos_messages]"] == 6
    assert served["pos_landing_to_gold_seconds_count"] == 4
    assert served["pos_landing_to_gold_seconds_bucket[30.0]"] == 2
    assert served["pos_upkeep_problems_total[journal]"] == 2
    assert served["pos_files_not_built"] == 4
    assert served["pos_table_files[gold.inventory_current]"] == 0
    assert samples(file.read_text())["pos_builds_total[succeeded]"] == 1, "the first look's"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=10)


def test_a_port_that_is_taken_and_a_file_that_cannot_be(settings: Settings, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UserError, match=f"port {port} cannot be listened on"),
            measured(settings, port, None, print),
        ):
            pass
    said: list[str] = []
    with measured(settings, None, tmp_path / "nowhere" / "pos.prom", said.append) as measure:
        measure(tick())
    assert len(said) == 1
    assert "cannot be written" in said[0]


def test_nothing_is_counted_where_nobody_reads_it(settings: Settings) -> None:
    with measured(settings, None, None, print) as measure:
        measure(tick())


def test_each_alarm_is_of_a_metric_that_there_is_and_has_a_section(settings: Settings) -> None:
    known = set()
    for family in Metrics(settings).registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        known |= {family.name + suffix for suffix in suffixes.get(family.type, [""])}
    (group,) = yaml.safe_load((PROFILES / "alerts.yml").read_text())["groups"]
    sections = set(re.findall(r"^## (Pos\w+)$", (PROFILES / "RUNBOOK.md").read_text(), re.M))
    alarms = [rule["alert"] for rule in group["rules"]]
    assert len(alarms) == len(set(alarms)) > 8
    assert set(alarms) == sections
    used = set()
    for rule in group["rules"]:
        names = set(re.findall(r"\bpos_[a-z_]+\b", rule["expr"].replace("pos_messages", "")))
        assert names, rule["alert"]
        assert names <= known, rule["alert"]
        used |= names
        section = rule["annotations"]["runbook"]
        assert section == f"profiles/RUNBOOK.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")
    assert len(used) >= 10


def test_the_commands_that_the_runbook_names_are_there() -> None:
    from loaders import cli

    text = (PROFILES / "RUNBOOK.md").read_text()
    named = set(re.findall(r"(?:`|\$ )pos ([a-z-]+)", text))
    assert {"doctor", "backup", "restore", "rollback", "retain", "trace"} <= named
    assert named <= set(cli.pos.commands)
    for command, option in re.findall(r"pos ([a-z-]+)[^`\n]* (--[a-z-]+)", text):
        options = {name for each in cli.pos.commands[command].params for name in each.opts}
        assert option in options, (command, option)
