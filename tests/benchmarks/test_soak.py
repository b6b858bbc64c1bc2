"""The soak sees what grows, and draws what it saw."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.soak import GROWTH, TITLES, Sample, chart, grown


def samples(growth: float) -> list[Sample]:
    return [
        Sample(number / 10, 2.0 * factor, 900 * factor, 400, 100, 60)
        for number in range(90)
        for factor in [1 + growth * number / 90]
    ]


def test_growth_is_told_from_a_level() -> None:
    assert all(value == 1.0 for value in grown(samples(0)).values())
    growing = grown(samples(6))
    assert growing["seconds"] > GROWTH["seconds"]
    assert growing["engine_mb"] > GROWTH["engine_mb"]
    assert growing["files"] == 1.0
    assert grown(samples(0)[:2]) == {}, "too few to say"


def test_the_chart_has_a_line_for_each_measure() -> None:
    root = ElementTree.fromstring(chart(samples(1)))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == len(TITLES) == len(GROWTH)
    assert all(len(line.attrib["points"].split()) == 90 for line in lines)
