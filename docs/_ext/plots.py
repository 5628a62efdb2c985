"""Drawings of the benchmarks' figures, which take their colours from the page that they stand in, light or dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from math import ceil, floor, log10
from typing import Any

#: What is measured has a colour of its own, and what it is measured by; everything else stands behind them.
KIND = {"micropie": "own", "raw": "raw"}
WIDTH = 480  # Of a drawing, in its own units: at most pixels.
STEP = 46  # From one row of dots to the next.
BAR = 24  # From one bar to the next.
NAME_WIDTH = 112  # For the names beside bars.
VALUE_WIDTH = 78  # For the figures behind bars.

Named = dict[str, str]


def dots(label: str, rows: dict[str, Any], titles: Named, names: Named) -> str:
    """Each row a line from 0 to the raw app, with a dot for each framework, and the interval of ours."""
    longest: float = max(
        [1.0, *(entry["ratio"]["median"] for row in rows.values() for entry in row.values())]
    )

    def place(ratio: float) -> float:
        return 6 + (WIDTH - 12) * ratio / longest

    parts = []
    for at, (key, row) in enumerate(rows.items()):
        y = at * STEP
        best = best_other(row, "ratio")
        figures = told_apart([row[name]["ratio"]["median"] for name in ("micropie", best) if name])
        note = f'<tspan class="own">{figures[0]}</tspan>'
        if best:
            note += f" · {names[best]} {figures[1]}"
        parts.append(text(0, y + 14, titles[key]))
        parts.append(text(WIDTH, y + 14, note, "value", is_markup=True))
        parts.append(line(place(0), y + 28, place(1), y + 28, "axis"))
        parts.append(line(place(1), y + 22, place(1), y + 34, "raw"))
        own = row["micropie"]["ratio"]
        for name, entry in row.items():
            if name not in KIND:
                parts.append(dot(place(entry["ratio"]["median"]), y + 28, 4, "other", names[name], entry))
        parts.append(
            line(place(own["low"]), y + 28, place(min(own["high"], longest)), y + 28, "own interval")
        )
        parts.append(dot(place(own["median"]), y + 28, 6, "own", names["micropie"], row["micropie"]))
    bottom = len(rows) * STEP
    parts.append(text(place(0) - 6, bottom + 10, "0", "scale"))
    parts.append(text(place(1), bottom + 10, "raw ASGI", "scale middle" if longest > 1.2 else "scale value"))
    return svg(label, WIDTH, bottom + 14, parts)


def bars(label: str, row: dict[str, Any], unit: str, names: Named) -> str:
    """What each framework costs over the raw app, the least first."""
    entries = {name: entry["over"]["median"] for name, entry in row.items() if name != "raw"}
    longest = max(entries.values())
    parts = []
    for at, (name, cost) in enumerate(sorted(entries.items(), key=lambda item: item[1])):
        y = at * BAR
        width = (WIDTH - NAME_WIDTH - VALUE_WIDTH) * max(cost, 0) / longest
        kind = KIND.get(name, "other")
        parts.append(text(0, y + 16, names[name], kind))
        parts.append(
            f'<rect class="{kind}" x="{NAME_WIDTH}" y="{y + 5}" width="{width:.1f}" height="14" rx="2"/>'
        )
        parts.append(text(NAME_WIDTH + width + 6, y + 16, f"{number(cost)} {unit}", kind))
    return svg(label, WIDTH, len(entries) * BAR, parts)


CURVE_WIDTH, CURVE_HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 42, 262, 26, 216


def curves(label: str, grown: dict[str, Any], names: Named) -> str:
    """What an operation costs at each size, both as powers of ten."""
    sizes = [int(size) for size in grown["rows"]]
    lines = {
        name: [row[name]["cost"]["median"] for row in grown["rows"].values()] for name in grown["steepest"]
    }
    costs = [cost for line in lines.values() for cost in line]
    lowest, highest = floor(log10(min(costs))), ceil(log10(max(costs)))

    def x(size: float) -> float:
        return LEFT + (RIGHT - LEFT) * log10(size / sizes[0]) / log10(sizes[-1] / sizes[0])

    def y(cost: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (log10(cost) - lowest) / max(highest - lowest, 1)

    parts = [text(0, 12, f"{grown['title']} → µs")]
    for power in range(lowest, highest + 1):
        height = y(10.0**power)
        parts += [
            line(LEFT, height, RIGHT, height, "axis"),
            text(LEFT - 5, height + 4, tick(power), "scale value"),
        ]
    for at, size in enumerate(sizes):
        if at % 2 == 0 or len(sizes) <= 6:
            parts += [
                line(x(size), BOTTOM, x(size), BOTTOM + 4, "axis"),
                text(x(size), BOTTOM + 18, short(size), "scale middle"),
            ]
    for name, costs_of in lines.items():
        points = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in zip(sizes, costs_of, strict=True))
        parts.append(f'<polyline class="{KIND.get(name, "other")}" points="{points}"/>')
    ends = apart([(y(costs_of[-1]), name) for name, costs_of in lines.items()])
    parts += [text(RIGHT + 6, height + 4, names[name], KIND.get(name, "other")) for height, name in ends]
    return svg(label, CURVE_WIDTH, CURVE_HEIGHT, parts)


def apart(wanted: list[tuple[float, str]], least: float = 14) -> list[tuple[float, str]]:
    """Heights for labels as near to the wanted ones as fits, none on another, from the bottom up."""
    placed: list[tuple[float, str]] = []
    for height, name in sorted(wanted, reverse=True):
        placed.append((min([height, *(above - least for above, _ in placed[-1:])]), name))
    return placed


def best_other(row: dict[str, Any], relation: str) -> str | None:
    """Who of the others comes nearest to the raw app."""
    others = [name for name in row if name not in KIND]
    better = max if relation == "ratio" else min
    return better(others, key=lambda name: row[name][relation]["median"]) if others else None


def number(value: float, more: int = 0) -> str:
    """At most three digits say something, but for thousands; ``more`` do where two figures are to be told apart."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals + more}f}"


def told_apart(values: list[float]) -> list[str]:
    """Figures with as many digits as it takes to see that the first is none of the others."""
    shown: list[str] = []
    for more in range(4):
        shown = [number(value, more) for value in values]
        if shown[0] not in shown[1:]:
            break
    return shown


def tick(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def short(size: int) -> str:
    """A number of few characters; sizes in bytes are powers of two."""
    for unit, letter in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if size % unit == 0:
            return f"{size // unit} {letter}"
    return f"{size:,}"


def dot(x: float, y: float, radius: int, kind: str, name: str, entry: dict[str, Any]) -> str:
    told = escape(f"{name}: {entry['ratio']['median']:.3f}")
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="{radius}"><title>{told}</title></circle>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, words: str, kind: str = "", *, is_markup: bool = False) -> str:
    shown = words if is_markup else escape(words)
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{shown}</text>'


def svg(label: str, width: float, height: float, parts: Iterable[str]) -> str:
    """A drawing that says what it shows to those who do not see it."""
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}">\n{inside}\n</svg>'
    )
