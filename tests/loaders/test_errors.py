"""What the disk refuses is told in a sentence, whoever has met it."""

from __future__ import annotations

import errno

import pytest

from loaders import cli
from loaders.errors import refusal_of_disk


def of_delta() -> Exception:
    """As delta-rs hands it on: in a text, with a cause."""
    error = RuntimeError("the commit failed")
    error.__cause__ = Exception("Generic LocalFileSystem error: (os error 28)\nbacktrace")
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/plan"), "a/plan: No space left"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system; make it writable"),
        (of_delta(), "No space left on device; make room"),
    ],
)
def test_a_disk_that_refuses_is_a_sentence(
    error: Exception,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_options: object) -> None:
        raise error

    monkeypatch.setattr(cli.pos, "main", fail)
    with pytest.raises(SystemExit) as leaving:
        cli.main()
    assert leaving.value.code == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_any_other_error_stays_what_it_is() -> None:
    assert refusal_of_disk(KeyError("x")) is None
    assert refusal_of_disk(OSError(errno.ENOENT, "No such file or directory")) is None
