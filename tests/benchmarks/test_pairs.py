"""The pairs, with an app that takes the time it is told to."""

from __future__ import annotations

from itertools import count

from benchmarks.sections.pairs import compare, over, ratio


def test_a_pair_is_measured_together_and_takes_turns() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return 1.0

    compare(["raw", "own"], measure, 4)
    assert order == ["own", "raw", "raw", "own", "own", "raw", "raw", "own"]


def test_what_slows_both_down_does_not_show() -> None:
    slowness = count(100)

    def measure(name: str) -> float:
        # The machine becomes slower all the time, by a third in the end.
        return next(slowness) * {"raw": 1.0, "own": 4.0}[name]

    row = compare(["raw", "own"], measure, 31)
    assert row["own"]["cost"]["high"] > 1.1 * row["own"]["cost"]["low"]
    assert 0.247 < row["own"]["ratio"]["low"] <= row["own"]["ratio"]["high"] < 0.253
    assert row["raw"]["ratio"]["median"] == 1


def test_a_difference_instead_of_a_ratio() -> None:
    row = compare(["raw", "own"], {"raw": 10.0, "own": 12.5}.__getitem__, 3, over)
    assert row["own"]["over"]["median"] == 2.5
    assert row["raw"]["over"]["median"] == 0


def test_each_is_measured_as_often_as_there_are_rounds() -> None:
    row = compare(["one", "raw", "two"], lambda _: 2.0, 5, ratio)
    assert row["one"]["cost"]["count"] == row["two"]["ratio"]["count"] == 5
    assert row["raw"]["cost"]["count"] == 10
