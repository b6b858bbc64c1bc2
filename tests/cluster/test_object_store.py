"""A lakehouse in an object store: both loaders, both engines, and several writers with nothing but
the store between them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import PyFileSystem

import tests.worlds
from loaders.check import compare_variances_with_truth, compare_with_truth
from loaders.config import Settings
from loaders.errors import UserError
from loaders.java import java_home_or_advice
from loaders.landing import FEEDS, MESSAGES
from loaders.load import Loader
from loaders.maintenance import Maintenance
from loaders.places import Store, place_of
from loaders.playback import Month, play
from loaders.s3 import server
from loaders.simulator import Config, simulate, write_month
from loaders.stream_session import input_of, opened
from tests.cluster.conftest import PROJECT, bronze, count_rows_sent, pos, two_free_ports
from tests.faults.figures import Figures
from tests.spark.test_stream_on_spark import whole_milliseconds
from tests.sql.blocks import blocks, section
from tests.worlds import ALL_FAULTS, ResidentDbt, messages_sent

pytestmark = pytest.mark.cluster

COMMAND = "make test-cluster"
PATIENCE_SECONDS = 1_800.0
END = datetime(2022, 1, 1)
ROUNDS, RACERS = 5, 50
# Requests of nobody are refused; who it is, and the signature, are not looked at.
SOMEBODY = "AWS4-HMAC-SHA256 Credential=pos/20210101/us-east-1/s3/aws4_request, Signature=0"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The store's folder; whatever is started meanwhile finds the store by the environment."""
    folder = tmp_path_factory.mktemp("store")
    port = two_free_ports()
    server.up(folder, port)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment(port).items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        patch.delenv("POS_STATE", raising=False)
        yield folder
    server.down(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Month:
    folder = tmp_path_factory.mktemp("small")
    config = Config(seed=12, days=3, items=40, lines=500, count_every_days=1, faults=ALL_FAULTS)
    write_month(simulate(config), folder)
    return Month(folder)


@pytest.fixture(scope="module")
def landing(small: Month, tmp_path_factory: pytest.TempPathFactory) -> Path:
    landing = tmp_path_factory.mktemp("landed") / "landing"
    play(small, landing, speed=None)
    whole_milliseconds(landing)
    return landing


def lakehouse(name: str, landing: Path, state: Path, **more: Any) -> Settings:
    place = place_of(f"s3://{server.BUCKET}/{name}")
    return Settings(landing, place, state_of_store=state, **more)


def by_sender(landing: Path, folder: Path) -> list[Path]:
    """The store's files in one landing folder, the rest in another, as they landed.

    A sender's own come in order: what is corrected later has to be received later.
    """
    made = [folder / "store", folder / "online"]
    for sender in (path for path in landing.iterdir() if path.is_dir()):
        shutil.copytree(sender, made[sender.name != "store_001"] / sender.name)
    return made


def loading(settings: Settings) -> subprocess.Popen[str]:
    arguments = [str(settings.landing), str(settings.lakehouse), str(settings.state)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.loading_beside", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )


def told(process: subprocess.Popen[str]) -> int:
    """How many commits a load took, once it has ended well."""
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    return int(said.split()[-1])


def unconditional(store: Path, settings: Settings) -> list[str]:
    """The commits to this lakehouse that were put without asking whether they are new."""
    assert isinstance(settings.lakehouse, Store)
    place = f"{server.UNCONDITIONAL}/{settings.lakehouse.below_scheme}/"
    lines = (store / "server.log").read_text().splitlines()
    return [line for line in lines if line.startswith(place)]


def without_receipt(settings: Settings, feed: str) -> list[dict[str, Any]]:
    rows = [{**row, "received_at": None} for row in bronze(settings, feed)]
    return sorted(rows, key=lambda row: (row["ingest_id"], row["ingest_line"]))


def assert_loaded_once(settings: Settings, month: Month) -> None:
    """Each message and row once, and by commit: no reader saw a number without those before."""
    assert Counter(row["body"] for row in bronze(settings, MESSAGES)) == messages_sent(month.folder)
    assert len(bronze(settings, "pos_count_rows")) == count_rows_sent(month)
    for feed in FEEDS:
        path = str(settings.table("bronze", feed))
        seen: set[int] = set()
        for version in range(DeltaTable(path).version() + 1):
            table = DeltaTable(path, version=version).to_pyarrow_table(columns=["ingest_id"])
            numbers = set(table["ingest_id"].to_pylist())
            assert numbers - seen in (set(), {max(seen, default=0) + 1})
            seen |= numbers


def assert_gold_is_the_truth(settings: Settings, month: Month) -> None:
    for compare in (compare_with_truth, compare_variances_with_truth):
        comparison = compare(settings.lakehouse, month.folder, END)
        assert comparison.keys > 50
        assert comparison.differences == 0, comparison.examples


def put_if_new(url: str, body: bytes) -> int:
    """The store's answer to a put of what is not to be there yet."""
    headers = {"If-None-Match": "*", "Authorization": SOMEBODY, "Content-Type": "text/plain"}
    request = urllib.request.Request(url, data=body, method="PUT", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_of_many_that_race_for_one_key_one_wins(store: Path, figures: Figures) -> None:
    """What all the rest hangs on: the store keeps what was put first, and says so to the others."""
    for number in range(ROUNDS):
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{server.BUCKET}/race/{number}"
        with ThreadPoolExecutor(RACERS) as racers:
            bodies = [f"{racer}".encode() for racer in range(RACERS)]
            answers = list(racers.map(put_if_new, repeat(url), bodies))
        assert Counter(answers) == {200: 1, 412: RACERS - 1}
        key = DeltaStorageHandler(f"s3://{server.BUCKET}/race")
        with PyFileSystem(key).open_input_stream(str(number)) as kept:
            assert kept.read() == bodies[answers.index(200)]
    figures.add(f"{RACERS} writers race for one key, {ROUNDS} times: winners", ROUNDS, COMMAND)


def test_bronze_is_that_of_a_disk(store: Path, landing: Path, tmp_path: Path) -> None:
    """Row by row, with the same numbers; only when it was received differs."""
    on_disk = Settings(landing, tmp_path / "lake")
    in_store = lakehouse("rows", landing, tmp_path / "state")
    for settings in (on_disk, in_store):
        with Loader(settings) as loader:
            loader.load(batch_bytes=4_000)
    for feed in FEEDS:
        rows = without_receipt(in_store, feed)
        assert rows == without_receipt(on_disk, feed)
        assert rows
    with Loader(in_store) as loader:
        assert loader.load().is_empty
    assert not unconditional(store, in_store)


def test_loaders_beside_each_other_and_beside_a_build(
    store: Path, small: Month, landing: Path, tmp_path: Path, figures: Figures
) -> None:
    """Two loads and a build, three processes that share nothing but the store."""
    one, other = (
        lakehouse("writers", part, tmp_path / f"state_{part.name}")
        for part in by_sender(landing, tmp_path)
    )
    port = two_free_ports()
    builder = lakehouse("writers", tmp_path / "nothing", tmp_path / "state", port=port)
    environment = {**os.environ, **builder.environment()}
    loads = [loading(settings) for settings in (one, other)]
    for load in loads:
        assert load.stdout is not None and load.stdout.readline() == "loading\n"
    try:
        pos("run", "--once", "--from", "bronze", env=environment)  # beside them
        commits = [told(load) for load in loads]
        pos("run", "--once", "--from", "bronze", env=environment)
        said = pos("status", env=environment)
        assert "gold.inventory_current" in said
        counted = "select count(*) as n from inventory_current"
        assert '"n"' in pos("sql", counted, "--format", "csv", env=environment)
    finally:
        pos("down", env=environment)
        for load in loads:
            load.kill()
    assert_loaded_once(builder, small)
    last = [max(row["ingest_id"] for row in bronze(builder, feed)) for feed in FEEDS]
    assert sum(last) == sum(commits)
    assert min(commits) > 5, "they were hardly at it at the same time"
    assert_gold_is_the_truth(builder, small)
    assert not unconditional(store, builder)
    figures.add("commits of two loads at once beside a build, in S3", sum(commits), COMMAND)
    figures.add("… lines lost or doubled", 0, COMMAND)


def stream_once(settings: Settings) -> dict[str, int]:
    """In the process that has Spark: all there is, as `pos stream --once` takes it in."""
    of = input_of(str(settings.landing), None, None, accept_loss=False)
    with opened(settings, of) as stream:
        return stream.load()


def test_spark_streams_and_builds(store: Path, small: Month, landing: Path, tmp_path: Path) -> None:
    """Structured Streaming's rows are those of the load on a disk, and gold is the truth."""
    try:
        java_home_or_advice()
    except UserError as error:
        pytest.skip(str(error))
    on_disk = Settings(landing, tmp_path / "lake")
    with Loader(on_disk) as loader:
        loader.load()
    settings = lakehouse("spark", landing, tmp_path / "state", target="spark")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        patch.setattr(tests.worlds, "CALL_SECONDS", PATIENCE_SECONDS)
        spark = stack.enter_context(ResidentDbt())
        spark.call(settings, stream_once)
        for feed in FEEDS:
            left, right = (without_receipt(each, feed) for each in (settings, on_disk))
            assert left == right
        # Its tests are those of the other engine's build; here they would be most of the time.
        spark.build(settings, "--exclude", "resource_type:unit_test", "resource_type:test")
    assert_gold_is_the_truth(settings, small)


def test_readme_s_commands(small: Month, landing: Path, tmp_path: Path) -> None:
    """As they stand there, with other ports; gold is the truth before the store is stopped."""
    (block,) = blocks(section(PROJECT / "README.md", "## On object storage"))
    *commands, last = block.commands
    assert last == "pos s3 down"
    port = two_free_ports()
    pos_itself = f'pos() {{ {shlex.quote(sys.executable)} -m loaders "$@"; }}'
    names = ("POS_", "AWS_")  # what a person has not set
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith(names)},
        "POS_S3_PORT": str(port),
        "POS_PORT": str(two_free_ports()),
        "POS_LANDING": str(landing),
        "PYTHONPATH": str(PROJECT),
    }

    def run(*lines: str) -> None:
        script = "\n".join([pos_itself, *lines])
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    used = next(line for line in commands if line.startswith(". "))
    try:
        run(*commands)
        with pytest.MonkeyPatch.context() as patch:
            for name, text in server.environment(port).items():
                patch.setenv(name, text)
            lake = Settings(landing, place_of(server.environment(port)["POS_LAKEHOUSE"]))
            assert_gold_is_the_truth(lake, small)
    finally:
        run(used, "pos down", last)
    assert server.running(tmp_path / "lakehouse_state" / "_emulation") is None


def test_a_store_that_is_not_there_is_a_sentence(
    store: Path, landing: Path, tmp_path: Path
) -> None:
    nowhere = Settings(landing, place_of("s3://no-such-bucket/lake"), state_of_store=tmp_path)
    environment = {**os.environ, **nowhere.environment()}
    assert "is there such a bucket?" in pos("load", "--once", code=1, env=environment)


def test_what_works_on_a_disk_only_says_so(store: Path, tmp_path: Path) -> None:
    settings = lakehouse("refused", tmp_path / "landing", tmp_path / "state")
    environment = {**os.environ, **settings.environment()}
    copy = str(tmp_path / "copy")
    for arguments in (["backup", copy], ["rollback"], ["sql-server"]):
        assert "works on a disk only" in pos(*arguments, code=1, env=environment)


def test_upkeep_merges_what_many_commits_have_left(
    store: Path, landing: Path, tmp_path: Path
) -> None:
    settings = lakehouse("upkeep", landing, tmp_path / "state")
    with Loader(settings) as loader:
        loader.load(batch_bytes=2_000)
    before = {feed: without_receipt(settings, feed) for feed in FEEDS}
    table = DeltaTable(str(settings.table("bronze", MESSAGES)))
    assert len(table.file_uris()) > 16
    done = {upkeep.table: upkeep for upkeep in Maintenance(settings).everything(None)}
    assert set(done) == {f"bronze.{feed}" for feed in FEEDS}
    assert not [upkeep.problem for upkeep in done.values() if upkeep.problem]
    assert done[f"bronze.{MESSAGES}"].files_merged > 16
    assert done[f"bronze.{MESSAGES}"].has_new_checkpoint
    table.update_incremental()
    assert len(table.file_uris()) == 1
    assert {feed: without_receipt(settings, feed) for feed in FEEDS} == before
    # What was replaced an hour ago is removed; nothing has been yet.
    assert not any(upkeep.files_removed for upkeep in done.values())
