"""In process: what a framework itself costs, without a server.

An app is called as a server calls it, in a process of its own, all of which share one processor. What counts is the
CPU time of the thread.
"""

from __future__ import annotations

from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.processes.children import Child, Failed, holding
from benchmarks.report import in_a_line
from benchmarks.scenarios import SCENARIOS
from benchmarks.sections.pairs import Row, compare

CALIBRATIONS = 3  # The first operations are slow: how many fill a round is known after a few tries.


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """Each scenario with each framework."""
    rows: dict[str, Row] = {}
    with holding(frameworks, options.processor) as children:
        for name in options.scenarios or SCENARIOS:
            rows[name] = row(children, options, name)
            options.tell(f"{name}: {in_a_line(rows[name])}")
    titles = {name: SCENARIOS[name].title for name in rows}
    return {"titles": titles, "units": dict.fromkeys(rows, "µs"), "rows": rows}


def row(children: dict[str, Child], options: Options, scenario: str, size: int | None = None) -> Row:
    """The CPU time of one operation in microseconds, with each framework that answers right."""
    counts: dict[str, int] = {}

    def measure(name: str) -> float:
        spent: float = children[name].ask("measure", scenario=scenario, size=size, count=counts[name])
        return spent / 1000

    for name, child in children.items():
        try:
            child.ask("verify", scenario=scenario, size=size)
        except Failed as why:
            options.tell(f"left out of {scenario}: {why}")
        else:
            counts[name] = 1
            for _ in range(CALIBRATIONS):
                counts[name] = max(1, round(options.round_ms * 1000 / measure(name)))
    return compare(counts, measure, options.rounds)
