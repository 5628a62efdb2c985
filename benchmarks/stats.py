"""The statistics: medians, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb, log
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """How measurements of one thing lie.

    Attributes:
        median: The middle one.
        q1: A quarter of them is below, as `statistics.quantiles` has it.
        q3: A quarter of them is above.
        low: With 95 % confidence the true median is not below; the smallest if they are too few to tell.
        high: And not above.
        count: How many there are.
    """

    median: float
    q1: float
    q3: float
    low: float
    high: float
    count: int

    def rounded(self) -> dict[str, float]:
        """For a file, to five significant digits."""
        return {name: float(f"{value:.5g}") for name, value in asdict(self).items()} | {"count": self.count}


def spread(values: Sequence[float]) -> Spread:
    """How values lie; there is at least one.

    The interval is that of the sign test: it asks nothing of the distribution but that the values are independent.
    """
    ordered = sorted(values)
    q1, _, q3 = quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    rank = interval_rank(len(ordered))
    return Spread(median(ordered), q1, q3, ordered[rank], ordered[-1 - rank], len(ordered))


def interval_rank(count: int, confidence: float = 0.95) -> int:
    """How many values may be left out at either end so that the true median still lies between the others.

    A value is below the true median with probability one half, so how many of them are is binomial.
    """
    allowed = (1 - confidence) / 2 * 2**count
    rank, ways = 0, 1  # The ways in which so many or fewer are below.
    while (ways := ways + comb(count, rank + 1)) <= allowed:
        rank += 1
    return rank


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The steepest growth between neighbours from the middle of the sizes on, as the power of the size: 1.0 is linear.

    Below the middle a fixed cost hides what grows.
    """
    middle = len(sizes) // 2
    return max(
        log(costs[at + 1] / costs[at]) / log(sizes[at + 1] / sizes[at])
        for at in range(middle - 1, len(sizes) - 1)
    )
