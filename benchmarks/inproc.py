"""In process: what a framework itself costs, without a server.

An app is called as a server calls it, in a process of its own, all of which share one processor. What counts is the
CPU time of the thread.
"""

from __future__ import annotations

from typing import Any

from benchmarks.children import Child, Failed, holding
from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.pairs import Row, compare
from benchmarks.scenarios import SCENARIOS

FIRST = 300  # Operations that tell how many fill a round; those before them warm up.


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """Each scenario with each framework."""
    rows: dict[str, Row] = {}
    with holding(frameworks, options.processor) as children:
        for name in options.scenarios or SCENARIOS:
            rows[name] = row(children, options, name)
            options.tell(f"{name}: {best_first(rows[name])}")
    return {"unit": "µs", "rows": rows}


def row(
    children: dict[str, Child], options: Options, scenario: str, size: int | None = None, first: int = FIRST
) -> Row:
    """The CPU time of one operation in microseconds, with each framework that answers right."""
    counts: dict[str, int] = {}
    for name, child in children.items():
        try:
            child.ask("verify", scenario=scenario, size=size)
            child.ask("measure", scenario=scenario, size=size, count=first)
            spent = child.ask("measure", scenario=scenario, size=size, count=first)
        except Failed as why:
            options.tell(f"left out of {scenario}: {why}")
        else:
            counts[name] = max(1, round(options.round_ms * 1e6 * first / spent))

    def measure(name: str) -> float:
        spent: int = children[name].ask("measure", scenario=scenario, size=size, count=counts[name])
        return spent / counts[name] / 1000

    return compare(counts, measure, options.rounds)


def best_first(row: Row) -> str:
    """A row in one line."""
    names = sorted(row, key=lambda name: -row[name]["ratio"]["median"])
    return ", ".join(f"{name} {row[name]['ratio']['median']:.3f}" for name in names)
