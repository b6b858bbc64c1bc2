"""The table of figures, without anything being broken: part of `make test`."""

from tests.faults.figures import Figures


def test_a_figure_is_a_row_of_the_table_that_readme_shows() -> None:
    figures = Figures()
    assert not figures
    figures.add("kills", 1200, "make test-faults")
    figures.add("engine", "comes back", "pytest -m faults")
    assert figures.lines()[2:] == [
        "| kills | 1,200 | `make test-faults` |",
        "| engine | comes back | `pytest -m faults` |",
    ]
