"""What a shell has after reading a file of exports is what was written and what is read back."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.exports import read_exports, write_exports

NAMES = st.from_regex(r"POS_[A-Z]{1,8}", fullmatch=True)
# A shell's variable holds no NUL.
VALUES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), max_size=30
)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shell_reads_what_was_written(tmp_path: Path, environment: dict[str, str]) -> None:
    file = write_exports(tmp_path / "environment", environment)
    shown = subprocess.run(
        ["/bin/sh", "-c", '. "$0" && env -0', str(file)],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    ).stdout.decode()
    in_the_shell = dict(each.split("=", 1) for each in shown.split("\0") if each)
    assert {name: in_the_shell[name] for name in environment} == environment
    assert read_exports(file) == environment


def test_a_value_that_is_the_word_export_is_kept(tmp_path: Path) -> None:
    file = write_exports(tmp_path / "environment", {"POS_A": "export", "POS_B": "a b'c\"$HOME"})
    assert read_exports(file) == {"POS_A": "export", "POS_B": "a b'c\"$HOME"}
