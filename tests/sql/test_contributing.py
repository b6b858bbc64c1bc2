"""CONTRIBUTING's walk from a question to a pull request, done step by step in a scratch copy."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sql.blocks import blocks, section
from tests.sql.conftest import PROJECT, Sample

pytestmark = pytest.mark.pages

WALK = blocks(section(PROJECT / "CONTRIBUTING.md", "## One model, from question to pull request"))
MODEL = "stock_by_item"


@dataclass(frozen=True)
class Copy:
    """A scratch copy of the project under git, with the sample at hand."""

    folder: Path
    sample: Sample

    def run(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Commands in one shell that stops at the first that fails."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "NO_COLOR": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "analyst", f"GIT_{role}_EMAIL": "a@example.com"}
        return subprocess.run(
            ["bash", "-e", "-c", "\n".join(commands)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )

    def say(self, command: str) -> str:
        """A command of the page; the sample is the one that all of these tests share."""
        place = f"{shlex.quote(str(self.sample.folder))} --port {self.sample.settings.port}"
        return command.replace("$(pos sample)", f"$(pos sample {place})")


@pytest.fixture(scope="module")
def copy(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("copy") / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).exists():
            shutil.copy2(PROJECT / name, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(sys.prefix)
    copy = Copy(folder, sample)
    begun = copy.run("git init --quiet", "git add --all", "git commit --quiet --message copy")
    assert begun.returncode == 0, begun.stderr
    yield copy


@pytest.fixture(scope="module")
def walked(copy: Copy) -> str:
    """What the page's commands said, each having succeeded, with its files in their places."""
    script = []
    for number, block in enumerate(WALK):
        if block.language == "console":
            script += [copy.say(command) for command in block.commands]
        else:
            assert block.file, f"no file is named before:\n{block.text}"
            text = copy.folder.parent / f"block_{number}"
            text.write_text(block.text)
            script.append(f"cp {shlex.quote(str(text))} {shlex.quote(block.file)}")
    done = copy.run("set -x", *script)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_page_has_every_step() -> None:
    files = [block.file for block in WALK if block.language != "console"]
    assert files == [f"models/gold/{MODEL}.sql", f"models/gold/{MODEL}.yml"]
    commands = "\n".join(command for block in WALK for command in block.commands)
    for step in ("pos sample", "dbt build", "pos sql", "sqlfluff lint", "dbt docs", "git commit"):
        assert step in commands


def test_its_rows_are_those_of_an_independent_computation(sample: Sample, walked: str) -> None:
    known = {row["item_id"]: row for row in silver(sample, "stg_pos__items")}
    expected: dict[int, dict[str, object]] = {}
    for row in sample.table("inventory_current").to_pylist():
        item = known.get(row["item_id"], {"item_name": None, "supplier_id": None})
        names = {name: item[name] for name in ("item_name", "supplier_id")}
        quantities = ("on_hand_quantity", "available_quantity")
        sums = expected.setdefault(
            row["item_id"],
            {"item_id": row["item_id"], "stores": 0, **names, **dict.fromkeys(quantities, 0)},
        )
        sums["stores"] += 1
        for name in quantities:
            sums[name] += row[name]
    rows = sample.table(MODEL).to_pylist()
    assert {row["item_id"]: row for row in rows} == expected
    assert len(rows) == len(expected) > len(known) > 1, "some items are not known"


def test_it_is_in_the_docs_and_committed(copy: Copy, walked: str) -> None:
    assert MODEL in (copy.folder / "target/static_index.html").read_text()
    shown = copy.run("git show --stat --format=%s").stdout
    assert f"models/gold/{MODEL}.sql" in shown
    assert f"models/gold/{MODEL}.yml" in shown
    assert copy.run("git status --porcelain -- models").stdout == ""


def test_its_unit_test_notices_a_mistake(copy: Copy, walked: str) -> None:
    path = copy.folder / f"models/gold/{MODEL}.sql"
    right = path.read_text()
    wrong = right.replace("left join items", "inner join items")
    assert wrong != right
    path.write_text(wrong)
    try:
        command = f"dbt build --select {MODEL} --target local"
        done = copy.run("source .venv/bin/activate", copy.say('eval "$(pos sample)"'), command)
    finally:
        path.write_text(right)
    assert done.returncode == 1, done.stdout
    assert f"FAIL 1 {MODEL}::" in done.stdout, done.stdout


@pytest.mark.skipif(
    not (PROJECT / "dbt-bouncer.yml").exists(), reason="the project has no dbt-bouncer.yml"
)
def test_the_check_of_conventions_wants_the_grain(copy: Copy, walked: str) -> None:
    check = (
        "source .venv/bin/activate",
        "dbt parse --quiet --target local --target-path target/lint --log-path target/lint",
        "COLUMNS=200 dbt-bouncer run --output-only-failures",  # or names are cut
    )
    right = copy.run(*check)
    assert right.returncode == 0, right.stdout + right.stderr
    path = copy.folder / f"models/gold/{MODEL}.yml"
    text = path.read_text()
    path.write_text(text.replace("One row per item.", "All items."))
    try:
        wrong = copy.run(*check)
    finally:
        path.write_text(text)
    assert wrong.returncode != 0
    assert MODEL in wrong.stdout + wrong.stderr


def silver(sample: Sample, name: str) -> list[dict[str, object]]:
    from deltalake import DeltaTable

    return DeltaTable(str(sample.settings.table("silver", name))).to_pyarrow_table().to_pylist()
