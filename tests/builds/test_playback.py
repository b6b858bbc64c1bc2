"""The playback stopped between any two steps: each message is published exactly once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import loaders.playback
from loaders.errors import UserError
from loaders.landing import publish, scan
from loaders.playback import Month, Progress, play, progress_of
from loaders.simulator import Config, simulate, write_month
from tests.builds.random_worlds import ALL_FAULTS
from tests.worlds import messages_sent


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    return month_in(tmp_path_factory.mktemp("month"), seed=5)


def month_in(folder: Path, seed: int) -> Month:
    config = Config(seed=seed, days=1, items=20, lines=120, count_every_days=1, faults=ALL_FAULTS)
    write_month(simulate(config), folder)
    return Month(folder)


def sent(month: Month) -> Counter[str]:
    """Every line that the month sends, as often as it does."""
    lines = messages_sent(month.folder)
    for path in [*month.folder.glob("*/counts/*.csv"), month.folder / "reference/items.csv"]:
        lines.update(path.read_text().splitlines())
    return lines


def published(landing: Path) -> Counter[str]:
    found, ignored = scan(landing)
    assert ignored == []
    lines: Counter[str] = Counter()
    for file in itertools.chain.from_iterable(found.values()):
        lines.update((landing / file.path).read_text().splitlines())
    return lines


class Killed(BaseException):
    """Stands for a SIGKILL."""


def kill_at(call: int, when: str, function: Callable[..., Any]) -> Callable[..., Any]:
    numbers = itertools.count(1)

    def killed(*arguments: Any) -> Any:
        if next(numbers) != call:
            return function(*arguments)
        if when == "after":
            function(*arguments)
        raise Killed

    return killed


def test_a_month_played_in_one_go(month: Month, tmp_path: Path) -> None:
    assert play(month, tmp_path, speed=None) == month.ends_at
    assert published(tmp_path) == sent(month)
    before = sorted(tmp_path.rglob("*"))
    assert play(month, tmp_path, speed=None) == month.ends_at
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["save", "publish"])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5, 10])
def test_killed_between_any_two_steps_nothing_is_lost_or_sent_twice(
    month: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str, call: int
) -> None:
    monkeypatch.setattr(loaders.playback, "MAX_SPEED_SLOT", timedelta(hours=12))
    with monkeypatch.context() as patch:
        if step == "save":
            patch.setattr(Progress, "save", kill_at(call, when, Progress.save))
        else:
            patch.setattr(
                loaders.playback, "publish", kill_at(call, when, loaders.playback.publish)
            )
        with pytest.raises(Killed):
            play(month, tmp_path, speed=None)
    play(month, tmp_path, speed=None)
    assert published(tmp_path) == sent(month)


def test_a_file_that_was_loaded_and_is_published_again_stays_one_delivery(
    month: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loaders.playback, "publish", kill_at(3, "after", loaders.playback.publish))
        with pytest.raises(Killed):
            play(month, tmp_path, speed=None)
    first = {file.identity for files in scan(tmp_path)[0].values() for file in files}
    play(month, tmp_path, speed=None)
    second = {file.identity for files in scan(tmp_path)[0].values() for file in files}
    assert first <= second


def test_it_stops_at_a_time_and_goes_on_from_there(month: Month, tmp_path: Path) -> None:
    noon = datetime(2021, 1, 1, 12)
    assert play(month, tmp_path, speed=None, until=noon) == noon
    early = published(tmp_path)
    assert 0 < early.total() < sent(month).total()
    assert progress_of(tmp_path) is not None
    play(month, tmp_path, speed=None)
    assert published(tmp_path) == sent(month)


def test_stopped_by_the_caller_it_goes_on_from_there(month: Month, tmp_path: Path) -> None:
    turns = itertools.count()
    play(month, tmp_path, speed=None, should_stop=lambda: next(turns) >= 5)
    assert published(tmp_path) != sent(month)
    play(month, tmp_path, speed=None)
    assert published(tmp_path) == sent(month)


class Clock:
    """A wall clock that only sleeping moves; each sleep takes a little longer than asked."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + 0.01


@pytest.mark.parametrize("speed", [10.0, 600.0, 43_200.0])
def test_the_event_clock_runs_so_many_times_as_fast_as_the_wall(
    month: Month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    clock, turns = Clock(), itertools.count()
    monkeypatch.setattr(loaders.playback, "time", clock)
    reached = play(month, tmp_path, speed=speed, should_stop=lambda: next(turns) >= 10)
    passed = timedelta(seconds=(clock.now - 1000.0) * speed)
    assert abs((reached - month.starts_at) - passed) < timedelta(seconds=1)


def test_another_month_into_the_same_landing_is_refused(month: Month, tmp_path: Path) -> None:
    play(month, tmp_path / "landing", speed=None, until=datetime(2021, 1, 1, 3))
    before = published(tmp_path / "landing")
    with pytest.raises(UserError, match="holds the playback of another month"):
        play(month_in(tmp_path / "other", seed=6), tmp_path / "landing", speed=None)
    assert published(tmp_path / "landing") == before


def test_a_folder_without_a_month_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no simulated month; make one with: pos simulate"):
        Month(tmp_path)


def test_what_is_settled_is_left_out_until_another_file_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "online" / "changes" / "1.json"
    publish(path, b"{}\n")
    publish(path.with_name("2.json"), b"{}\n")
    one, two = scan(tmp_path)[0]["pos_messages"]
    settled = {one.path: one.inode}
    assert scan(tmp_path, settled)[0]["pos_messages"] == [two]
    publish(path, b"{}\n")
    again = scan(tmp_path, settled)[0]["pos_messages"]
    assert {file.path for file in again} == {one.path, two.path}
    assert one.identity not in {file.identity for file in again}
