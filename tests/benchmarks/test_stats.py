"""The statistics, on numbers of which one knows what comes out."""

from __future__ import annotations

import random
from statistics import median

import pytest

from benchmarks.stats import exponent, interval_rank, spread


def test_the_spread_of_numbers() -> None:
    found = spread([5, 1, 4, 2, 3])
    assert (found.median, found.q1, found.q3, found.count) == (3, 2, 4, 5)
    assert (found.low, found.high) == (1, 5), "five are too few to leave one out"


def test_one_number_is_all_there_is() -> None:
    assert set(spread([7.5]).rounded().values()) == {7.5, 1}


def test_figures_are_rounded_for_the_file() -> None:
    assert spread([1.23456789]).rounded()["median"] == 1.2346


# From tables of the sign test: how many at either end may be left out, of so many.
@pytest.mark.parametrize(
    ("count", "rank"), [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5), (31, 9)]
)
def test_how_sure_a_median_is(count: int, rank: int) -> None:
    assert interval_rank(count) == rank


def test_the_interval_holds_the_true_median_nineteen_times_in_twenty() -> None:
    made_up = random.Random(6)
    samples = [[made_up.lognormvariate(0, 0.3) for _ in range(31)] for _ in range(2000)]
    held = sum(found.low <= 1 <= found.high for found in map(spread, samples))
    assert 0.94 <= held / len(samples) <= 0.985


def test_an_outlier_does_not_matter() -> None:
    values = [1.0 + number / 100 for number in range(31)]
    assert spread([*values[:-1], 1e9]).low == spread(values).low
    assert spread([*values[:-1], 1e9]).high == spread(values).high
    assert spread(values).median == median(values)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_how_cost_grows(power: float) -> None:
    sizes = [1, 10, 100, 1000, 10000]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_what_grows_late_is_found() -> None:
    sizes = [1, 10, 100, 1000, 10000]
    assert exponent(sizes, [100, 100, 100, 100, 10000]) == pytest.approx(2)
    assert exponent(sizes, [1000 + size for size in sizes]) < 1
