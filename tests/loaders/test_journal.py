"""The journal: JSON lines that join a commit of the load to the build that took it in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import loaders.journal
from loaders.config import Settings
from loaders.journal import Journal, build_of, entries, journal_path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "landing", tmp_path / "lakehouse")


def test_lines_are_read_newest_first_across_files(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaders.journal, "FILE_BYTES", 1_000)
    journal = Journal(settings)
    for number in range(60):
        assert journal.write("loaded", number=number, text='a "quote"\nand a line') is None
    journal.close()
    files = sorted(path.name for path in journal_path(settings).parent.iterdir())
    assert files == ["pos.jsonl", *(f"pos.jsonl.{number}" for number in range(1, 5))]
    numbers = [entry["number"] for entry in entries(settings)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == 59
    assert 20 < len(numbers) < 60, "the oldest are gone"
    for line in journal_path(settings).read_text().splitlines():
        entry = json.loads(line)
        assert entry["event"] == "loaded"
        assert entry["text"] == 'a "quote"\nand a line'


def test_half_a_line_hides_no_other(settings: Settings) -> None:
    journal = Journal(settings)
    journal.write("built", number=1)
    journal.close()
    with journal_path(settings).open("a") as file:
        file.write('{"at": "2021-')
    assert [entry["number"] for entry in entries(settings)] == [1]


def test_what_cannot_be_written_is_said(settings: Settings) -> None:
    journal = Journal(settings)
    journal_path(settings).mkdir(parents=True)
    assert "Is a directory" in str(journal.write("built"))
    journal_path(settings).rmdir()
    assert journal.write("built") is None
    journal.close()


def test_a_commit_is_of_the_first_good_build_through_it() -> None:
    def built(build_id: str, through: int, succeeded: bool = True) -> dict[str, object]:
        return {
            "event": "built",
            "build_id": build_id,
            "succeeded": succeeded,
            "through": {"pos_messages": through},
        }

    said = [built("d", 9), {"event": "loaded"}, built("c", 7), built("b", 7, False), built("a", 4)]
    found = {n: (build_of(said, "pos_messages", n) or {}).get("build_id") for n in (4, 5, 7, 8, 10)}
    assert found == {4: "a", 5: "c", 7: "c", 8: "d", 10: None}
    assert build_of([], "pos_messages", 1) is None
