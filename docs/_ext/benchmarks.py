"""The benchmarks' figures, from the very files that ``tox -e bench`` writes.

``.. benchmark:: SECTION`` is a section's drawing, with all its figures below; ``.. benchmark-growth::`` how cost grows;
``.. benchmark-behind::`` every row in which MicroPie is not ahead; ``.. benchmark-machine::`` where and when it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import plots
from .tables import list_table

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

NAMES = {
    "raw": "raw ASGI",
    "micropie": "MicroPie",
    "micropie-0.32": "MicroPie 0.32",
    "blacksheep": "BlackSheep",
    "falcon": "Falcon",
    "fastapi": "FastAPI",
    "litestar": "Litestar",
    "microdot": "Microdot",
    "quart": "Quart",
    "sanic": "Sanic",
    "starlette": "Starlette",
}
SECTIONS = {
    "inproc": "In process",
    "server": "On uvicorn",
    "broadcast": "Broadcast",
    "memory": "Memory",
    "imports": "Import",
}
# What only the tables have.
NOT_DRAWN = {"modules"}


@cache
def results(section: str) -> dict[str, Any]:
    """What was measured in a section."""
    found: dict[str, Any] = json.loads((RESULTS / f"{section}.json").read_text(encoding="utf-8"))
    return found


class Figures(SphinxDirective):
    """What shows figures depends on the files that have them."""

    def read(self, section: str) -> dict[str, Any]:
        self.env.note_dependency(str(RESULTS / f"{section}.json"))
        return results(section)


class Benchmark(Figures):
    """A section: a drawing, and all its figures."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        section = self.arguments[0]
        found = self.read(section)
        drawing = nodes.raw("", "\n".join(drawings(section, found)), format="html")
        return [drawing, *self.parse_text_to_nodes(f"{circumstances(found)}\n\n{in_full(found)}")]


class Growth(Figures):
    """A drawing for each thing that grows, and how steep each line is."""

    def run(self) -> list[nodes.Node]:
        growth = self.read("growth")["growth"]
        shown = [
            plots.curves(f"{grown['title']}: {what_grows(grown)}", grown, NAMES) for grown in growth.values()
        ]
        drawing = nodes.raw("", f'<div class="plots">{"".join(shown)}</div>', format="html")
        return [drawing, *self.parse_text_to_nodes(steepness(growth))]


class Behind(Figures):
    """Every row in which somebody else is ahead."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(behind({section: self.read(section) for section in SECTIONS}))


class Machine(Figures):
    """Where and when each section was measured."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(machine({name: self.read(name) for name in [*SECTIONS, "growth"]}))


def drawings(section: str, found: dict[str, Any]) -> Iterator[str]:
    """The drawings of a section; those of costs have a heading each."""
    rows, titles, units = found["rows"], found["titles"], found["units"]
    relation = relation_of(rows)
    if relation == "ratio":
        told = "; ".join(
            f"{titles[key]}: {row['micropie']['ratio']['median']:.2f}" for key, row in rows.items()
        )
        yield plots.dots(
            f"{SECTIONS[section]}, the ratio of MicroPie to raw ASGI. {told}", rows, titles, NAMES
        )
        return
    for key, row in rows.items():
        if key not in NOT_DRAWN:
            own = plots.number(row["micropie"][relation]["median"])
            yield f'<p class="plot-title">{titles[key]}</p>'
            yield plots.bars(f"{titles[key]}: MicroPie {own} {units[key]}", row, units[key], NAMES)


def relation_of(rows: dict[str, Any]) -> str:
    """Whether a section has ratios, or what is spent over the raw app."""
    return "ratio" if all("ratio" in entry for row in rows.values() for entry in row.values()) else "over"


def circumstances(found: dict[str, Any]) -> str:
    """When a section was measured, and how busy the machine was."""
    before, after = found["load_average"]
    busy = f"The load average of the machine was {before} at the beginning and {after} at the end."
    return f"Measured on {found['date']}. {busy}"


def in_full(found: dict[str, Any]) -> str:
    """Every figure of a section, to be unfolded."""
    rows = found["rows"]
    relation = relation_of(rows)
    tables = []
    for key, row in rows.items():
        unit = found["units"][key]
        head = [
            found["titles"][key],
            unit,
            "95 %",
            "of raw" if relation == "ratio" else "over raw",
            "quartiles",
            "95 %",
        ]
        lines = (
            [
                NAMES[name],
                median(row[name]["cost"]),
                interval(row[name]["cost"]),
                median(row[name][relation]),
                quartiles(row[name][relation]),
                interval(row[name][relation]),
            ]
            for name in ranked(row, relation)
        )
        tables.append(list_table("24 12 18 12 17 17", head, lines))
    return ".. dropdown:: All figures\n\n" + indent("\n".join(tables), "   ")


def ranked(row: dict[str, Any], relation: str) -> list[str]:
    """Who is nearest to the raw app, first."""
    better = -1 if relation == "ratio" else 1
    return sorted(row, key=lambda name: better * row[name][relation]["median"])


def behind(sections: dict[str, dict[str, Any]]) -> str:
    """Every row in which another framework's median is better, and whether that is more than chance."""
    lines = []
    undrawn = []
    count = clear = 0
    for section, found in sections.items():
        relation = relation_of(found["rows"])
        for key, row in found["rows"].items():
            count += 1
            if key in NOT_DRAWN:
                undrawn.append(f"{SECTIONS[section]}: {found['titles'][key]}")
            own = row["micropie"][relation]
            ahead = [
                name
                for name in ranked(row, relation)
                if name not in ("raw", "micropie") and better(row[name][relation], own, "median", relation)
            ]
            surely = [name for name in ahead if is_clear(row[name][relation], own, relation)]
            clear += bool(surely)
            if ahead:
                shown, *figures = plots.told_apart(
                    [row[name][relation]["median"] for name in ["micropie", *ahead]]
                )
                words = [
                    f"{'**' if name in surely else ''}{NAMES[name]}{'**' if name in surely else ''} {figure}"
                    for name, figure in zip(ahead, figures, strict=True)
                ]
                lines.append([f"{SECTIONS[section]}: {found['titles'][key]}", shown, ", ".join(words)])
    told = f"There are {count} rows in the tables above"
    told += f"; {', '.join(undrawn)} has no drawing" if undrawn else ""
    told += f". Another framework is ahead in {len(lines)} of them"
    if not lines:
        return told.replace("ahead in 0 of them", "ahead in none of them.")
    told += f", in {clear} of which by more than chance: their 95 % intervals do not meet. Those names are **bold**."
    return f"{told}\n\n" + list_table("40 15 45", ["Row", "MicroPie", "Ahead of it"], lines)


def better(one: dict[str, float], other: dict[str, float], what: str, relation: str) -> bool:
    return one[what] > other[what] if relation == "ratio" else one[what] < other[what]


def is_clear(one: dict[str, float], other: dict[str, float], relation: str) -> bool:
    """Whether the interval of the better one does not meet that of the other."""
    return one["low"] > other["high"] if relation == "ratio" else one["high"] < other["low"]


def what_grows(grown: dict[str, Any]) -> str:
    """A drawing of growth in words."""
    sizes = list(grown["rows"])
    first, last = (grown["rows"][size]["micropie"]["cost"]["median"] for size in (sizes[0], sizes[-1]))
    told = f"from {plots.short(int(sizes[0]))} to {plots.short(int(sizes[-1]))}"
    return f"{told} the cost of MicroPie goes from {plots.number(first)} to {plots.number(last)} µs"


def steepness(growth: dict[str, Any]) -> str:
    """How steep the steepest part of each line is."""
    who = list(dict.fromkeys(name for grown in growth.values() for name in grown["steepest"]))
    head = ["Steepest growth", *(NAMES[name] for name in who)]
    lines = (
        [
            grown["title"],
            *(f"{grown['steepest'][name]:.2f}" if name in grown["steepest"] else "-" for name in who),
        ]
        for grown in growth.values()
    )
    return list_table("28" + " 18" * len(who), head, lines)


def machine(sections: dict[str, dict[str, Any]]) -> str:
    """Where, when, and with which versions it was measured."""
    any_section = next(iter(sections.values()))
    versions = {name: version for found in sections.values() for name, version in found["versions"].items()}
    facts = [
        ["Machine", any_section["machine"]],
        ["Python", any_section["python"]],
        ["Versions", ", ".join(f"{NAMES.get(name, name)} {version}" for name, version in versions.items())],
    ]
    for name, found in sections.items():
        before, after = found["load_average"]
        title = SECTIONS.get(name, "Growth")
        pairs = max(
            entry["cost"]["count"] for row in rows_of(found) for who, entry in row.items() if who != "raw"
        )
        facts.append(
            [title, f"{found['date']}, {pairs} pairs, {found['seconds']} s, load average {before} to {after}"]
        )
    return list_table("16 84", ["What", "How it was"], facts)


def rows_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of a section."""
    if "rows" in found:
        return list(found["rows"].values())
    return [row for grown in found["growth"].values() for row in grown["rows"].values()]


def median(spread: dict[str, float]) -> str:
    return plots.number(spread["median"])


def quartiles(spread: dict[str, float]) -> str:
    return f"{plots.number(spread['q1'])} to {plots.number(spread['q3'])}"


def interval(spread: dict[str, float]) -> str:
    return f"{plots.number(spread['low'])} to {plots.number(spread['high'])}"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("benchmark", Benchmark)
    app.add_directive("benchmark-growth", Growth)
    app.add_directive("benchmark-behind", Behind)
    app.add_directive("benchmark-machine", Machine)
    return {"parallel_read_safe": True}
