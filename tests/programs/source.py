"""Where random programs come from: one generator, fed by Hypothesis or by a plain seeded generator."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Source(ABC):
    """A source of choices.  What is simplest stands first everywhere: Hypothesis shrinks towards it."""

    @abstractmethod
    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""

    def choose(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent

    def several(self, make: Callable[[], T], most: int, percent: int = 75) -> tuple[T, ...]:
        """Up to so many things, each next one with the given chance."""
        made: list[T] = []
        while len(made) < most and self.chance(percent):
            made.append(make())
        return tuple(made)


class Seeded(Source):
    """Fast, and the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))


class Drawn(Source):
    """Hypothesis decides, and shrinks what it finds."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(_integers(low, high))


@cache
def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def drawn(generate: Callable[[Source], T]) -> st.SearchStrategy[T]:
    """A Hypothesis strategy for what a generator makes."""
    return st.composite(lambda draw: generate(Drawn(draw)))()
