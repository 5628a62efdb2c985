"""How cost grows: with the size of messages and bodies, with the number of connections, routes, parameters, headers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.processes.children import holding
from benchmarks.report import in_a_line
from benchmarks.scenarios import GROWTH
from benchmarks.sections import inproc
from benchmarks.stats import exponent

#: Whose apps have what is needed. The others would only crowd the plots.
WHO = ("raw", "micropie", "blacksheep", "starlette")


def run(frameworks: list[Framework], options: Options) -> dict[str, Any]:
    """The CPU time in process of an operation of each size, and the steepest growth of each framework."""
    shorter = replace(options, rounds=options.fewer_rounds)
    chosen = [framework for framework in frameworks if framework.module in WHO and framework.path is None]
    growth: dict[str, Any] = {}
    with holding(chosen, options.processor) as children:
        for name, (title, _, sizes) in GROWTH.items():
            steps = sizes[::2] if options.quick else sizes
            rows = {}
            for size in steps:
                rows[str(size)] = inproc.row(children, shorter, name, size)
                options.tell(f"{title}, {size}: {in_a_line(rows[str(size)])}")
            medians = {
                who: [row[who]["cost"]["median"] for row in rows.values()]
                for who in children
                if all(who in row for row in rows.values())
            }
            steepest = {who: round(exponent(steps, costs), 2) + 0.0 for who, costs in medians.items()}
            growth[name] = {"title": title, "steepest": steepest, "rows": rows}
    return {"unit": "µs", "growth": growth}
