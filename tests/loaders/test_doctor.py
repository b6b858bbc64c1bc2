"""The doctor finds what is wrong, and says nothing of what is not. No engine, no dbt."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import loaders.doctor
from loaders import cli, points
from loaders.config import Settings
from loaders.doctor import PROBLEM, examined
from loaders.journal import Journal
from loaders.landing import publish
from loaders.load import Loader
from tests.files import message
from tests.worlds import free_port

BOOKS = pa.schema(
    [
        ("source", pa.string()),
        ("_ingest_id", pa.int64()),
        *((name, pa.int64()) for name in ("lines_received", "lines_kept", "lines_duplicate")),
        ("lines_quarantined", pa.int64()),
    ]
)


def land(settings: Settings, number: int) -> None:
    body = json.dumps(message(f"T{number}", "09:00:00", (1, -1)))
    publish(settings.landing / f"store_001/changes/{number:06d}.json", f"{body}\n".encode())


def book(settings: Settings, commit: int, received: int = 1, kept: int = 1) -> None:
    """What a build enters in the books."""
    row = {
        "source": ["pos_messages"],
        "_ingest_id": [commit],
        "lines_received": [received],
        "lines_kept": [kept],
        "lines_duplicate": [0],
        "lines_quarantined": [0],
    }
    path = settings.table("silver", "int_pos__loads_reconciled")
    write_deltalake(str(path), pa.table(row, schema=BOOKS), mode="append")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lakehouse of fifteen commits, all of them in the books."""
    folder = tmp_path_factory.mktemp("sound")
    settings = Settings(folder / "landing", folder / "lakehouse")
    settings.landing.mkdir()
    with Loader(settings) as loader:
        for number in range(15):
            land(settings, number)
            loader.load()
            book(settings, number + 1)
    return folder


@pytest.fixture
def settings(sound: Path, tmp_path: Path) -> Settings:
    """A copy of it, to be broken."""
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)  # times too: the load goes by them
    return Settings(tmp_path / "landing", tmp_path / "lakehouse", free_port())


def problems(settings: Settings) -> list[str]:
    return [str(finding) for finding in examined(settings) if finding.state == PROBLEM]


def test_a_sound_lakehouse_has_no_problem(settings: Settings) -> None:
    findings = list(examined(settings))
    assert problems(settings) == []
    said = "\n".join(map(str, findings))
    for word in ("python", "packages", "disk", "engine: not running", "tables: 4 tables"):
        assert word in said
    assert "15 lines received, each accounted for" in said
    assert "0 commits of messages not built" in said


def log_of(settings: Settings, number: int) -> Path:
    return settings.table("bronze", "pos_messages") / "_delta_log" / f"{number:020}.json"


def newest_file(settings: Settings) -> Path:
    table = DeltaTable(str(settings.table("bronze", "pos_messages")))
    return Path(table.file_uris()[0].removeprefix("file://"))


def remove_a_file(settings: Settings) -> None:
    newest_file(settings).unlink()


def cut_a_file(settings: Settings) -> None:
    file = newest_file(settings)
    file.write_bytes(file.read_bytes()[:-10])


def remove_a_commit(settings: Settings) -> None:
    log_of(settings, 7).unlink()


def empty_a_log(settings: Settings) -> None:
    shutil.rmtree(log_of(settings, 0).parent)
    log_of(settings, 0).parent.mkdir()


def lose_a_line(settings: Settings) -> None:
    land(settings, 15)
    with Loader(settings) as loader:
        loader.load()
    book(settings, 16, received=3, kept=2)


def leave_a_commit_out(settings: Settings) -> None:
    for number in (15, 16):
        land(settings, number)
        with Loader(settings) as loader:
            loader.load()
    book(settings, 17)


def let_a_file_wait(settings: Settings) -> None:
    land(settings, 15)
    os.utime(settings.landing / "store_001/changes/000015.json", (1_600_000_000, 1_600_000_000))


def leave_a_plan(settings: Settings) -> None:
    path = settings.state / "pos_messages.plan.json"
    path.write_text("{}")
    os.utime(path, (1_600_000_000, 1_600_000_000))


def open_to_all(settings: Settings) -> None:
    settings.lakehouse.chmod(0o777)


def show_the_state(settings: Settings) -> None:
    settings.state.chmod(0o755)


def interrupt_a_rollback(settings: Settings) -> None:
    (settings.state / "rollback.json").write_text('{"to": "20210101T000000Z"}')


def fail_a_build(settings: Settings) -> None:
    journal = Journal(settings)
    journal.write("built", succeeded=False, seconds=1.0, failures=["a_test: 3 rows"])
    journal.close()


def lift_append_only(settings: Settings) -> None:
    table = DeltaTable(str(settings.table("bronze", "pos_count_rows")))
    table.alter.set_table_properties({"delta.appendOnly": "false"})


@pytest.mark.parametrize(
    ("break_it", "said", "advice"),
    [
        (remove_a_file, "bronze.pos_messages: the data file", "pos restore"),
        (cut_a_file, "bytes, not", "pos restore"),
        (remove_a_commit, "bronze.pos_messages: ", "pos restore"),
        (empty_a_log, "bronze.pos_messages: does not open", "pos restore"),
        (lose_a_line, "commit 16 of pos_messages: 3 lines received, 2 kept", "RUNBOOK.md"),
        (leave_a_commit_out, "commit 16 of pos_messages and 0 more are not in", "RUNBOOK.md"),
        (let_a_file_wait, "1 files of pos_messages wait", "pos run"),
        (leave_a_plan, "a commit to pos_messages was begun and not finished", "pos run"),
        (open_to_all, "everybody on this machine may write", "chmod o-w"),
        (show_the_state, "may look into", "chmod o-rwx"),
        (interrupt_a_rollback, "a rollback was interrupted", "--to 20210101T000000Z"),
        (fail_a_build, "1 of the last 1 failed: a_test: 3 rows", "RUNBOOK.md"),
        (lift_append_only, "bronze.pos_count_rows is not append-only", "pos retain"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_is_found_and_what_to_do_is_said(
    settings: Settings, break_it: Callable[[Settings], None], said: str, advice: str
) -> None:
    break_it(settings)
    found = [problem for problem in problems(settings) if said in problem]
    assert found, problems(settings)
    assert any(advice in problem for problem in found), found


def test_a_log_is_whole_from_its_last_checkpoint_on(settings: Settings) -> None:
    DeltaTable(str(settings.table("bronze", "pos_messages"))).create_checkpoint()
    remove_a_commit(settings)
    assert problems(settings) == []


@pytest.fixture
def listening() -> Iterator[Callable[[str], int]]:
    sockets = []

    def listen(address: str) -> int:
        sockets.append(socket.create_server((address, 0)))
        return int(sockets[-1].getsockname()[1])

    yield listen
    for each in sockets:
        each.close()


def test_a_port_of_another_program_is_a_problem(
    settings: Settings, listening: Callable[[str], int]
) -> None:
    taken = replace(settings, port=listening("127.0.0.1"))
    assert any("is another program's; choose another" in each for each in problems(taken))


def test_an_engine_that_others_can_reach_is_a_problem(
    settings: Settings, listening: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, expected in (("127.0.0.1", 0), ("0.0.0.0", 1)):
        port = listening(address)
        running = loaders.doctor.engine.Server(os.getpid(), port)
        monkeypatch.setattr(loaders.doctor.engine, "running", lambda _settings, it=running: it)
        found = [each for each in problems(settings) if "reached from other machines" in each]
        assert len(found) == expected, address


def test_a_full_disk_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders.doctor, "LEAST_FREE", 10**18)
    assert any("make room" in each for each in problems(settings))


def test_an_examination_that_fails_does_not_end_the_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_settings: Settings) -> None:
        raise OSError("no such thing\nand more")

    monkeypatch.setattr(loaders.doctor, "points_of", failing)
    said = problems(settings)
    assert said == ["PROBLEM points: could not be examined (no such thing)"]


def test_the_command_exits_with_one_if_something_is_wrong(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--landing", str(settings.landing), "--lakehouse", str(settings.lakehouse)]
    arguments = ["doctor", *where, "--port", str(settings.port), "--target", "local"]
    cli.pos.main(arguments, standalone_mode=False)
    assert "no problem found" in capsys.readouterr().out
    remove_a_file(settings)
    with pytest.raises(SystemExit) as leaving:
        cli.pos.main(arguments, standalone_mode=False)
    assert leaving.value.code == 1
    assert "2 problems\n" in capsys.readouterr().err


def test_what_pos_makes_is_its_own(settings: Settings) -> None:
    """State: nobody else looks into it. Tables: nobody else writes them, whatever the umask was."""
    assert settings.state.stat().st_mode & 0o777 == 0o700
    elsewhere = settings.lakehouse.with_name("elsewhere")
    before = os.umask(0)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["pos", "load", "--once", "--lakehouse", str(elsewhere)])
            patch.setattr("sys.argv", [*__import__("sys").argv, "--landing", str(settings.landing)])
            cli.main()
        mask = os.umask(0)
    finally:
        os.umask(before)
    assert mask & 0o002
    found = [path for path in elsewhere.rglob("*") if not path.is_symlink()]
    assert len(found) > 10
    assert [path for path in found if path.stat().st_mode & 0o002] == []
    assert points.points_folder(settings).parent == settings.state
