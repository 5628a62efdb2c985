"""Measurements in pairs: each framework's beside the raw app's, so that what disturbs one disturbs the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import TypeAlias

from benchmarks.frameworks import RAW
from benchmarks.stats import Spread, spread

#: What one framework costs, and how that compares with the raw app: its ``cost``, and ``ratio`` or ``over``.
Entry: TypeAlias = dict[str, dict[str, float]]

#: One row of a table: what each framework costs.
Row: TypeAlias = dict[str, Entry]


def ratio(raw: float, own: float) -> float:
    """How near it comes to the raw app: 1.0 is as fast."""
    return raw / own


def over(raw: float, own: float) -> float:
    """What it costs beside what the raw app costs."""
    return own - raw


def compare(
    names: Iterable[str],
    measure: Callable[[str], float],
    rounds: int,
    relation: Callable[[float, float], float] = ratio,
) -> Row:
    """Measure each in so many pairs, in a random order.

    The raw app is measured right before or right after, in turns.
    """
    others = [name for name in names if name != RAW.name]
    costs: dict[str, list[float]] = {name: [] for name in [RAW.name, *others]}
    related: dict[str, list[float]] = {name: [] for name in others}
    for number in range(rounds):
        for name in random.sample(others, len(others)):
            pair = (RAW.name, name) if number % 2 else (name, RAW.name)
            seen = {one: measure(one) for one in pair}
            for one, cost in seen.items():
                costs[one].append(cost)
            related[name].append(relation(seen[RAW.name], seen[name]))
    return {
        name: entry(spread(costs[name]), relation, spread(related.get(name) or [relation(1.0, 1.0)]))
        for name in costs
        if costs[name]
    }


def entry(cost: Spread, relation: Callable[[float, float], float], related: Spread) -> Entry:
    return {"cost": cost.rounded(), relation.__name__: related.rounded()}
