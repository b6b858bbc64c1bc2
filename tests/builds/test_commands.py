"""The `pos` command as a person types it: help, exit codes, a sentence for what they got wrong."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from loaders import cli, engine
from loaders.config import Settings
from loaders.doctor import LOOPBACK, listening
from loaders.errors import UserError
from loaders.landing import publish
from tests.builds.worlds import Station, free_port
from tests.files import message

COMMANDS = (
    *("simulate", "play", "replay", "load", "redrive", "kafka"),
    *("up", "down", "status", "maintain", "run", "demo", "sample", "sql", "sql-server"),
    *("doctor", "trace", "backup", "restore", "rollback", "retain"),
)
PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("POS_LANDING", "POS_LAKEHOUSE", "POS_PORT", "DBT_TARGET"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())
    settings.landing.mkdir()
    monkeypatch.chdir(tmp_path)
    return settings


def options(settings: Settings, *names: str) -> list[str]:
    return [text for name in names for text in (f"--{name}", str(getattr(settings, name)))]


def pos(capsys: pytest.CaptureFixture[str], *arguments: str) -> Said:
    """Run the command in this process, as its entry point does."""
    handlers = [(number, cli.signal.getsignal(number)) for number in (2, 15)]
    before, sys.argv = sys.argv, ["pos", *arguments]
    try:
        cli.main()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    finally:
        sys.argv = before
        for number, handler in handlers:
            cli.signal.signal(number, handler)
    captured = capsys.readouterr()
    return Said(code, captured.out, captured.err)


def pos_apart(*arguments: str) -> Said:
    """Run the command in a process of its own: this one keeps its client of the tests' engine."""
    done = subprocess.run(
        [sys.executable, "-m", "loaders", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def assert_one_sentence(said: Said, *words: str) -> None:
    assert said.code == 1, said
    # Before it, a run without a key of its own is told so.
    (sentence,) = [line for line in said.err.splitlines() if not line.startswith("WARNING: POS_")]
    assert sentence.startswith("pos: "), said
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err, said


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=str)
def test_help(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    said = pos(capsys, *command, "--help")
    assert said.code == 0
    assert said.out.startswith("Usage:")
    if not command:
        assert all(f"  {name} " in said.out for name in COMMANDS)


def test_wrong_usage_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert pos(capsys, "simulate").code == 2
    assert pos(capsys, "nonsense").code == 2
    assert pos(capsys, "up", "--port", "x").code == 2


def test_simulate_play_load_and_status_from_a_clean_folder(
    places: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--days", "1", "--items", "20", "--lines", "100")
    assert pos(capsys, "simulate", "--out", "month", *small).code == 0
    played = pos(capsys, "play", "month", "--speed", "max", *options(places, "landing"))
    assert (played.code, "played through 2021-01-0" in played.out) == (0, True)
    both = options(places, "landing", "lakehouse")
    loaded = pos(capsys, "load", "--once", *both)
    assert loaded.code == 0
    assert "pos_messages: " in loaded.out
    again = pos(capsys, "load", "--once", *both)
    assert (again.code, f"nothing new in {places.landing}" in again.out) == (0, True)
    status = pos(capsys, "status", *both, *options(places, "port"))
    assert status.code == 0
    assert "engine: not running; start it with: pos up" in status.out
    assert "0 waiting" in status.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("play", "nowhere"), ["holds no simulated month", "pos simulate"]),
        (("play", "nowhere", "--speed", "fast"), []),
        (("simulate", "--out", "month", "--days", "0"), ["days must be at least 1"]),
        (("simulate", "--out", "month", "--late", "2"), ["late must lie between 0 and 1"]),
        (("replay", "nowhere.parquet"), ["nowhere.parquet"]),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence(
    places: Settings,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: list[str],
) -> None:
    assert_one_sentence(pos(capsys, *arguments), *words)


def test_a_speed_that_is_none(places: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--days", "1", "--items", "5", "--lines", "20")
    pos(capsys, "simulate", "--out", "month", *small)
    for speed in ("fast", "0", "-1", "inf", "nan"):
        said = pos(capsys, "play", "month", "--speed", speed)
        assert_one_sentence(said, "--speed is a number above 0, or max")


def test_a_port_in_the_environment_that_is_none(
    places: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POS_PORT", "engine")
    assert pos(capsys, "status").code in (1, 2)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def test_a_port_taken_by_another_program(
    places: Settings, capsys: pytest.CaptureFixture[str], taken: int
) -> None:
    said = pos(capsys, "up", *options(places, "lakehouse"), "--port", str(taken))
    assert_one_sentence(said, f"port {taken} is taken by another program", "--port or POS_PORT")
    said = pos(
        capsys, "run", "--once", *options(places, "landing", "lakehouse"), "--port", str(taken)
    )
    assert_one_sentence(said, f"port {taken} is taken by another program")


def test_a_port_that_a_connection_was_given(
    places: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens on it, and no server can have it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        port = int(client.getsockname()[1])
        said = pos(capsys, "up", *options(places, "lakehouse"), "--port", str(port))
    assert_one_sentence(said, f"port {port} is taken by another program, by a connection of one")


def test_an_engine_that_is_not_up(places: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no engine listens on port \d+; start it with: pos up"):
        engine.connect(places)
    said = pos(capsys, "down", *options(places, "lakehouse", "port"))
    assert (said.code, said.out) == (0, "no engine was running\n")


def test_the_engine_listens_on_loopback_only(station: Station) -> None:
    """It asks nobody for a password, so nobody else may reach it."""
    addresses = listening(station.settings.port)
    assert addresses
    assert set(addresses) <= set(LOOPBACK)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backup", "backups"), ["there is no table in", "nothing to back up"]),
        (("restore", "backups"), ["there is no backup in backups", "pos backup makes one"]),
        (("rollback", "--to", "2021-01-01"), ["there is no restore point from 2021-01-01"]),
        (("rollback", "--to", "yesterday"), ["'yesterday' is no moment"]),
        (("retain", "--employee-days", "90"), ["is not a readable Delta table"]),
        (("trace", "T1"), ["nothing was received of T1"]),
    ],
    ids=str,
)
def test_a_mistake_in_operating_is_one_sentence(
    places: Settings,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: list[str],
) -> None:
    said = pos(capsys, *arguments, *options(places, "lakehouse"))
    assert_one_sentence(said, *words)


def truncate_log(table: Path) -> None:
    log = sorted((table / "_delta_log").glob("*.json"))[-1]
    log.write_bytes(log.read_bytes()[:40])


def test_a_table_whose_log_is_truncated(
    places: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    both = options(places, "landing", "lakehouse")
    pos(capsys, "load", "--once", *both)
    truncate_log(places.table("bronze", "pos_messages"))
    publish(places.landing / "online/changes/1.json", b"{}\n")
    said = pos(capsys, "load", "--once", *both)
    assert_one_sentence(said, "pos_messages is not a readable Delta table", "from a backup")
    said = pos_apart("up", *options(places, "lakehouse", "port"))
    engine.down(places)
    assert_one_sentence(said, "cannot read the Delta table bronze.pos_messages")
    status = pos(capsys, "status", *both, *options(places, "port"))
    assert status.code == 1
    assert "bronze.pos_messages: " in status.err
    assert "bronze.pos_items: 0 rows" in status.out, "the other tables are still reported"


def test_run_once_exits_with_zero_then_with_one_when_a_build_fails(places: Settings) -> None:
    everything = options(places, "landing", "lakehouse", "port")
    changes = places.landing / "store_001/changes"
    changes.mkdir(parents=True)
    (changes / "1.json").write_text(json.dumps(message("A", "09:00:00", (1, -1))) + "\n")
    try:
        done = pos_apart("run", "--once", *everything)
        assert done.code == 0, done
        gold = DeltaTable(str(places.table("gold", "inventory_current"))).to_pyarrow_table()
        assert gold["on_hand_quantity"].to_pylist() == [-1]

        # A conservation test that cannot hold: a line of the books is changed behind dbt's back.
        books = places.table("silver", "int_pos__loads_reconciled")
        table = DeltaTable(str(books))
        rows = table.to_pyarrow_table()
        position = rows.schema.get_field_index("lines_kept")
        wrong = rows.set_column(position, rows.schema.field(position), [[7] * rows.num_rows])
        write_deltalake(table, wrong, mode="overwrite")
        failed = pos_apart("run", "--once", *everything)
        assert failed.code == 1, failed
        assert "build failed: " in failed.out
        assert "pos: the last build failed; the lines above say where" in failed.err
        assert "Traceback" not in failed.out + failed.err
    finally:
        engine.down(places)
