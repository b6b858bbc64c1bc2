"""The page beside a run: it follows the builds, and whatever happens to it the run goes on."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import pytest

from loaders.config import Settings
from loaders.errors import UserError
from loaders.landing import MESSAGES
from loaders.load import LoadReport
from loaders.page import live, worker
from loaders.page.gold import versions_of
from loaders.page.live import LivePage
from loaders.page.serving import serve_page
from loaders.page.worker import Orders, work
from loaders.schedule import Tick
from loaders.warehouse import BuildReport
from tests.pages.gold_tables import position, write_gold
from tests.pages.reading import now_of, stock_rows
from tests.worlds import free_port

PATIENCE = 60.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path / "landing", tmp_path / "lakehouse")
    build(settings, 5)
    return settings


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page"


def build(settings: Settings, on_hand: int) -> None:
    write_gold(settings.lakehouse, "inventory_current", [position(0, 1, on_hand)])


def tick(*, succeeded: bool = True, built: bool = True) -> Tick:
    report = LoadReport(rows={MESSAGES: 1})
    return Tick(report, BuildReport(0.1, succeeded) if built else None)


def shown(page: Path) -> int | None:
    """What the page has on hand, if there is a page."""
    if not (page / "data" / "now.js").exists():
        return None
    (row,) = stock_rows(page)
    on_hand: int = row["on_hand"]
    return on_hand


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_the_page_follows_the_builds(settings: Settings, page: Path) -> None:
    said: list[str] = []
    with LivePage(settings, page, 0.1, said.append) as beside:
        beside.after(tick(built=False))
        beside.after(tick())
        wait_until(lambda: shown(page) == 5, "the first build is not on the page")
        build(settings, 4)
        beside.after(tick(succeeded=False))
        beside.after(tick())
        wait_until(lambda: shown(page) == 4, "the second build is not on the page")
        assert now_of(page)["is_live"]
        build(settings, 3)
        beside.built()
    assert shown(page) == 3, "the last build is on the page when the run ends"
    assert said == [f"the inventory page: {page}/index.html"]


def test_a_page_that_cannot_be_written_is_said_once_and_the_run_goes_on(
    settings: Settings, page: Path
) -> None:
    page.write_text("a file, where a folder should be")
    said: list[str] = []
    with LivePage(settings, page, 0.1, said.append) as beside:
        beside.after(tick())
        wait_until(lambda: beside.after(tick()) is None and len(said) == 1, "nothing is said")
        assert said[0].startswith(
            f"the inventory page in {page} cannot be written: {page} is not a folder"
        )
        for _ in range(3):
            beside.after(tick())
            time.sleep(0.2)
        assert len(said) == 1
        page.unlink()
        beside.after(tick())
        wait_until(lambda: shown(page) == 5, "what is possible again is not done")
    assert said[1:] == [f"the inventory page: {page}/index.html"]


def test_a_process_that_died_is_said_and_started_again(
    settings: Settings, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with LivePage(settings, page, 0.1, said.append) as beside:
        beside.after(tick())
        wait_until(lambda: shown(page) == 5, "the first build is not on the page")
        assert beside._process is not None
        os.kill(beside._process.pid, signal.SIGKILL)
        beside._process.wait()
        build(settings, 4)
        beside.after(tick())
        assert shown(page) == 5, "not again at once: it may die each time"
        monkeypatch.setattr(beside, "_restart_at", 0.0)
        beside.after(tick(built=False))
        wait_until(lambda: shown(page) == 4, "it is not started again")
    assert any("its process has ended" in text for text in said)


def test_a_process_that_hangs_holds_up_no_build(
    settings: Settings, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "FINISH_SECONDS", 0.2)
    said: list[str] = []
    slowest = 0.0
    with LivePage(settings, page, 0.1, said.append) as beside:
        assert beside._process is not None
        os.kill(beside._process.pid, signal.SIGSTOP)
        for _ in range(2_000):  # more than a pipe holds
            started = time.monotonic()
            beside.after(tick())
            slowest = max(slowest, time.monotonic() - started)
    assert slowest < 2
    assert any("was not finished" in text for text in said)


class Input:
    """What the schedule sends, line by line."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        self.lines = os.fdopen(reader)

    def send(self, line: object) -> None:
        os.write(self._writer, f"{json.dumps(line)}\n".encode())

    def close(self) -> None:
        os.close(self._writer)


def test_no_page_sooner_than_asked_and_the_last_one_at_once(
    settings: Settings, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[float, object]] = []

    class Writer(worker.PageWriter):
        def write(self, versions: object = None) -> None:  # type: ignore[override]
            written.append((time.monotonic(), versions))

    monkeypatch.setattr(worker, "PageWriter", Writer)
    sent = Input()
    thread = threading.Thread(
        target=work, args=(settings.lakehouse, page, 0.5, Orders(sent.lines), lambda _: None)
    )
    thread.start()
    for number in range(40):
        sent.send({"gold.inventory_current": number})
        time.sleep(0.05)
    wait_until(lambda: len(written) >= 2, "it writes nothing")
    sent.send({"gold.inventory_current": 99})
    sent.close()
    thread.join(5)
    assert not thread.is_alive()
    moments = [moment for moment, _ in written]
    gaps = [after - before for before, after in pairwise(moments)]
    # The first begins with a look at the folder, the last is due at once.
    assert all(gap >= 0.49 for gap in gaps[1:-1]), gaps
    assert written[-1][1] == {"gold.inventory_current": 99}
    assert len(written) < 8, "most of the builds in between have no page of their own"


def test_what_could_not_be_written_is_owed(
    settings: Settings, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nothing is built for a long time: and then it is of the newest versions."""
    asked: list[object] = []

    class Failing(worker.PageWriter):
        def write(self, versions: object = None) -> None:  # type: ignore[override]
            asked.append(versions)
            if len(asked) < 3:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "PageWriter", Failing)
    sent, said = Input(), []
    thread = threading.Thread(
        target=work, args=(settings.lakehouse, page, 0.1, Orders(sent.lines), said.append)
    )
    thread.start()
    sent.send({"gold.inventory_current": 7})
    wait_until(lambda: len(said) == 2, "it is not tried again")
    sent.close()
    thread.join(5)
    assert asked == [{"gold.inventory_current": 7}, {}, {}]
    assert said == [
        f"the inventory page in {page} cannot be written: [Errno 28] No space left on device",
        f"the inventory page: {page}/index.html",
    ]


def test_an_error_of_ours_ends_the_process_and_is_not_hidden(
    settings: Settings, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(worker.PageWriter):
        def write(self, versions: object = None) -> None:  # type: ignore[override]
            raise ZeroDivisionError

    monkeypatch.setattr(worker, "PageWriter", Broken)
    orders = Orders(io.StringIO('{"gold.inventory_current": 0}\n'))
    with pytest.raises(ZeroDivisionError):
        work(settings.lakehouse, page, 0.1, orders, lambda _: None)


# ---------------------------------------------------------------- pos page --serve


@pytest.fixture
def served(settings: Settings, page: Path) -> Iterator[tuple[str, list[str]]]:
    said: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(
        target=serve_page, args=(settings, page, free_port(), 0.1, said.append, stop)
    )
    thread.start()
    wait_until(lambda: any(text.startswith("http") for text in said), "it does not serve")
    yield said[-1].partition(" ")[0], said
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_serves_the_page_and_nothing_else(served: tuple[str, list[str]], page: Path) -> None:
    url, _ = served
    with urllib.request.urlopen(url) as answer:
        assert b"<h1>" in answer.read()
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    data = next((page / "data" / "stock").iterdir())
    with urllib.request.urlopen(f"{url}data/stock/{data.name}") as answer:
        assert "immutable" in answer.headers["Cache-Control"]
    (page / "data" / ".secret").write_text("")
    for path in ("data/", "data", "assets/", "data/.secret", "data/.lock", "none", "../lakehouse"):
        assert status(url + path) == 404, path
    assert status(url, Host="evil.example:80") == 421
    port = int(url.rstrip("/").rpartition(":")[2])
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/../../../../etc/passwd")
    assert connection.getresponse().status == 404
    connection.close()
    with socket.socket() as probe:  # loopback only: no other address of this machine answers
        probe.settimeout(1)
        assert probe.connect_ex(("127.0.0.2", port)) != 0


def test_the_served_page_follows_gold(
    served: tuple[str, list[str]], settings: Settings, page: Path
) -> None:
    build(settings, 4)
    wait_until(lambda: shown(page) == 4, "the change is not on the page")
    for path in (page / "data" / "stock").iterdir():
        path.unlink()
    (page / "data" / "stock").rmdir()
    (page / "data" / "stock").write_text("in the way")
    build(settings, 3)
    wait_until(lambda: "cannot be written" in served[1][-1], "it does not say so")
    (page / "data" / "stock").unlink()
    wait_until(lambda: now_of(page)["tables"][0][1] == 2, "it does not go on")
    assert shown(page) == 3


def test_beside_a_run_that_writes_it_only_serves(
    served: tuple[str, list[str]], settings: Settings, page: Path
) -> None:
    said: list[str] = []
    stop = threading.Event()
    stop.set()
    serve_page(settings, page, free_port(), 0.1, said.append, stop)
    assert said[0].startswith("served as it is: another process")
    with pytest.raises(UserError, match="name another: pos page --serve PORT"):
        port = int(served[0].rstrip("/").rpartition(":")[2])
        serve_page(settings, page, port, 0.1, said.append, stop)


def test_versions_are_those_of_the_log(settings: Settings) -> None:
    assert versions_of(settings.lakehouse) == {"gold.inventory_current": 0}
    build(settings, 4)
    log = settings.lakehouse / "gold/inventory_current/_delta_log"
    (log / "00000000000000000001.crc").write_text("{}")
    (log / ".00000000000000000009.json.tmp").write_text("")
    (log / "_last_checkpoint").write_text("{}")
    assert versions_of(settings.lakehouse) == {"gold.inventory_current": 1}
