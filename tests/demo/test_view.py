"""The line that is printed off a terminal says what is known, and nothing of what is not."""

from __future__ import annotations

from loaders.view import Figures, line


def test_a_run_that_brought_nothing_has_no_lag() -> None:
    figures = Figures(builds=1, last_build_seconds=6.7)
    assert line(figures) == "0 lines in, build 6.7 s, 0 below safety stock"


def test_the_lag_is_that_of_the_files() -> None:
    figures = Figures(lines=3, builds=1, last_build_seconds=2.0, lags=[1.0, 2.0, 30.0])
    said = "3 lines in, build 2.0 s, lag p50 2.0 s, p95 30.0 s, 0 below safety stock"
    assert line(figures) == said
