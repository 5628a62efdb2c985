"""Tables for a terminal, from the results of a section."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import geometric_mean
from typing import Any

from benchmarks.sections.pairs import Row


def show(results: dict[str, Any]) -> str:
    """All tables of a section: each row in full, and for ratios all rows beside each other."""
    if "growth" in results:
        return "\n".join(growing(name, grown) for name, grown in results["growth"].items())
    rows: dict[str, Row] = results["rows"]
    parts = [in_full(name, row, results["units"][name]) for name, row in rows.items()]
    if {relation_of(row) for row in rows.values()} == {"ratio"} and len(rows) > 1:
        parts.append(beside(rows))
    return "\n".join(parts)


def in_full(title: str, row: Row, unit: str) -> str:
    """One row: what each framework costs, and how sure that is."""
    relation = relation_of(row)
    head = [title, unit, "quartiles", f"{relation} raw", "quartiles", "95 %"]
    lines = [
        [name, *middle(row[name]["cost"]), *middle(row[name][relation]), interval(row[name][relation])]
        for name in best_first(row, relation)
    ]
    return table([head, *lines])


def best_first(row: Row, relation: str) -> list[str]:
    """The names in the order of what is more certain, which is not the cost but how it compares with the raw app's."""
    better = -1 if relation == "ratio" else 1
    return sorted(row, key=lambda name: better * row[name][relation]["median"])


def in_a_line(row: Row) -> str:
    """A row while the next is being measured."""
    relation = relation_of(row)
    return ", ".join(f"{name} {number(row[name][relation]['median'])}" for name in best_first(row, relation))


def relation_of(row: Row) -> str:
    """What was compared: a ratio, or what a framework costs over the raw app."""
    return "ratio" if all("ratio" in entry for entry in row.values()) else "over"


def beside(rows: dict[str, Row]) -> str:
    """The ratios of all rows, with the best framework first."""
    names = {name for row in rows.values() for name in row}
    means = {
        name: geometric_mean(row[name]["ratio"]["median"] for row in rows.values() if name in row)
        for name in names
    }
    head = ["ratio to raw", *rows, "mean"]
    lines = [
        [
            name,
            *(number(row[name]["ratio"]["median"]) if name in row else "-" for row in rows.values()),
            number(means[name]),
        ]
        for name in sorted(names, key=lambda name: -means[name])
    ]
    return table([head, *lines])


def growing(name: str, grown: dict[str, Any]) -> str:
    """What an operation of each size costs, and the steepest growth: 1.0 is as fast as the size."""
    rows: dict[str, Row] = grown["rows"]
    head = [f"{name}: µs", *(f"{int(size):,}" for size in rows), "steepest"]
    lines = [
        [who, *(number(row[who]["cost"]["median"]) for row in rows.values()), f"{steepest:.2f}"]
        for who, steepest in grown["steepest"].items()
    ]
    return table([head, *lines])


def middle(spread: dict[str, float]) -> tuple[str, str]:
    return number(spread["median"]), f"{number(spread['q1'])} .. {number(spread['q3'])}"


def interval(spread: dict[str, float]) -> str:
    return f"{number(spread['low'])} .. {number(spread['high'])}"


def number(value: float) -> str:
    """As many digits as say something."""
    if abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def table(lines: Iterable[list[str]]) -> str:
    """Columns as wide as they need, the first to the left and all others to the right."""
    cells = list(lines)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return (
        "\n".join(
            "  ".join(
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        )
        + "\n"
    )
