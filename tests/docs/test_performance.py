"""The page of the benchmarks: its figures are those of the files, and it hides none of them."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.frameworks import PEERS
from docs._ext import benchmarks, plots
from tools.blocks import DOCS

PAGE = (DOCS / "explanation" / "performance.rst").read_text(encoding="utf-8")
SECTIONS = ("inproc", "server", "broadcast", "memory", "imports", "growth")
#: Who has no sessions, and so no row for them.
UNABLE = {peer.name for peer in PEERS if peer.lacks == "members"}
SVG = "{http://www.w3.org/2000/svg}"


def spread(median: float) -> dict[str, float]:
    return {
        "median": median,
        "q1": median * 0.98,
        "q3": median * 1.02,
        "low": median * 0.97,
        "high": median * 1.03,
        "count": 31,
    }


def row(**ratios: float) -> dict[str, Any]:
    return {name: {"cost": spread(1 / ratio), "ratio": spread(ratio)} for name, ratio in ratios.items()}


@pytest.fixture
def made_up() -> dict[str, Any]:
    """Ahead of all, behind one within the noise, and behind one by far."""
    rows = {
        "first": row(raw=1.0, micropie=0.731, starlette=0.412),
        "second": row(raw=1.0, micropie=0.523, blacksheep=0.534),
        "third": row(raw=1.0, micropie=0.281, falcon=0.397, quart=0.111),
    }
    titles = {"first": "The first", "second": "The second", "third": "The third"}
    return {
        "date": "2026-01-02",
        "machine": "an abacus",
        "python": "3.99.1",
        "versions": {"falcon": "7.7.7"},
        "load_average": [0.25, 0.5],
        "seconds": 61,
        "titles": titles,
        "units": dict.fromkeys(rows, "µs"),
        "rows": rows,
    }


def test_no_figure_is_typed_by_hand() -> None:
    prose = re.sub(r"MicroPie 0\.32|0\.5 means|1\.0 is|5 ms", "", PAGE)
    assert re.findall(r"\d\.\d|\d+ ?(?:µs|ms|KiB|MiB|bytes)\b|\d ?times", prose) == []


def test_every_section_is_shown_once() -> None:
    shown = [*re.findall(r"^\.\. benchmark:: (\w+)$", PAGE, re.MULTILINE), "growth"]
    assert sorted(shown) == sorted(SECTIONS)
    for rest in ("growth", "behind", "machine"):
        assert len(re.findall(rf"^\.\. benchmark-{rest}::$", PAGE, re.MULTILINE)) == 1


@pytest.mark.parametrize("section", SECTIONS)
def test_the_committed_files_are_whole(section: str) -> None:
    found = benchmarks.results(section)
    expected = {"raw", "micropie"} if section == "growth" else set(benchmarks.NAMES)
    for each in benchmarks.rows_of(found):
        lacking = expected - each.keys()
        cannot = UNABLE if each is found.get("rows", {}).get("http_session") else set()
        assert lacking == cannot, f"{section} lacks {lacking}"
    assert found["section"] == section
    assert found["versions"]["micropie"]


def test_a_table_has_the_figures_of_the_file(made_up: dict[str, Any]) -> None:
    table = benchmarks.in_full(made_up)
    for name, figure in (("Falcon", "0.40"), ("MicroPie", "0.73"), ("Quart", "0.11")):
        assert re.search(rf"\* - {name}\n(?: +- .*\n)*? +- {figure}\n", table)
    assert table.index("Falcon") < table.index("Quart"), "the best is first"


def test_the_rows_in_which_others_are_ahead_are_listed(made_up: dict[str, Any]) -> None:
    told = benchmarks.behind({"inproc": made_up})
    assert "There are 3 rows" in told
    assert "ahead in 2 of them" in told
    assert "in 1 of which by more than chance" in told
    assert re.search(r"\* - In process: The second\n +- 0\.52\n +- BlackSheep 0\.53\n", told)
    assert re.search(r"\* - In process: The third\n +- 0\.28\n +- \*\*Falcon\*\* 0\.40\n", told)
    assert "The first" not in told


def test_a_figure_that_is_ahead_differs_in_what_is_shown(made_up: dict[str, Any]) -> None:
    made_up["rows"] = {"first": row(raw=1.0, micropie=0.811, falcon=0.812, quart=0.9)}
    [drawing] = benchmarks.drawings("broadcast", made_up)
    assert '<tspan class="own">0.81</tspan> · Quart 0.90<' in drawing
    told = benchmarks.behind({"broadcast": made_up})
    assert re.search(
        r"\* - Broadcast: The first\n +- 0\.811\n +- \*\*Quart\*\* 0\.900, Falcon 0\.812\n",
        told,
    )


def test_the_best_of_the_others_differs_from_ours_in_the_drawing(made_up: dict[str, Any]) -> None:
    made_up["rows"] = {"first": row(raw=1.0, micropie=0.811, falcon=0.812)}
    [drawing] = benchmarks.drawings("broadcast", made_up)
    assert '<tspan class="own">0.811</tspan> · Falcon 0.812<' in drawing


def test_a_row_without_a_drawing_is_named(made_up: dict[str, Any]) -> None:
    """Whoever counts rows in the drawings shall find as many as the text says."""
    found = {section: benchmarks.results(section) for section in benchmarks.SECTIONS}
    drawn = "".join("".join(benchmarks.drawings(section, rows)) for section, rows in found.items())
    missing = [
        f"{benchmarks.SECTIONS[section]}: {title}"
        for section, rows in found.items()
        for title in rows["titles"].values()
        if title not in drawn
    ]
    assert f"rows in the tables above; {', '.join(missing)} has no drawing." in benchmarks.behind(found)
    assert "no drawing" not in benchmarks.behind({"inproc": made_up})


def test_each_section_says_how_busy_the_machine_was(made_up: dict[str, Any]) -> None:
    assert benchmarks.circumstances(made_up) == (
        "Measured on 2026-01-02. The load average of the machine was 0.25 at the beginning and 0.5 at the end."
    )


def test_nobody_ahead_is_said_too(made_up: dict[str, Any]) -> None:
    made_up["rows"] = {"first": made_up["rows"]["first"]}
    assert benchmarks.behind({"server": made_up}).endswith("ahead in none of them.")


def test_less_is_better_where_costs_are_compared(made_up: dict[str, Any]) -> None:
    costs = {"raw": 0.0, "micropie": 90.0, "microdot": 60.0, "starlette": 120.0}
    made_up["rows"] = {
        "first": {name: {"cost": spread(cost + 10), "over": spread(cost)} for name, cost in costs.items()}
    }
    assert re.search(
        r"\* - Import: The first\n +- 90\.0\n +- \*\*Microdot\*\* 60\.0\n",
        benchmarks.behind({"imports": made_up}),
    )


def test_the_page_says_where_and_when(made_up: dict[str, Any]) -> None:
    told = benchmarks.machine({"inproc": made_up})
    for fact in ("an abacus", "3.99.1", "Falcon 7.7.7", "2026-01-02", "31 pairs", "61 s", "0.25 to 0.5"):
        assert fact in told


def test_a_dot_stands_where_its_ratio_is(made_up: dict[str, Any]) -> None:
    [drawing] = benchmarks.drawings("inproc", made_up)
    dots = {dot[0].text: float(dot.attrib["cx"]) for dot in ET.fromstring(drawing).iter(f"{SVG}circle")}
    raw = {
        float(line.attrib["x1"])
        for line in ET.fromstring(drawing).iter(f"{SVG}line")
        if line.attrib["class"] == "raw"
    }
    [one] = raw
    assert dots.keys() >= {"MicroPie: 0.731", "Starlette: 0.412", "Quart: 0.111"}
    for label, x in dots.items():
        ratio = float(str(label).partition(": ")[2])
        assert x == pytest.approx(6 + (one - 6) * ratio, abs=0.1)


def test_a_bar_is_as_long_as_its_cost(made_up: dict[str, Any]) -> None:
    costs = {"raw": 0.0, "micropie": 50.0, "quart": 200.0}
    made_up["rows"] = {
        "first": {name: {"cost": spread(1), "over": spread(cost)} for name, cost in costs.items()}
    }
    drawing = ET.fromstring(list(benchmarks.drawings("memory", made_up))[1])
    own, other = (float(bar.attrib["width"]) for bar in drawing.iter(f"{SVG}rect"))
    assert other == pytest.approx(4 * own, abs=0.1)


def test_lines_of_growth_rise_as_costs_do() -> None:
    rows = {
        str(size): row(raw=1.0, micropie=1 / size) | {"starlette": {"cost": spread(size**2)}}
        for size in (1, 10, 100)
    }
    grown = {"title": "Things", "rows": rows, "steepest": {"raw": 0.0, "micropie": 1.0, "starlette": 2.0}}
    drawing = ET.fromstring(plots.curves("Things", grown, benchmarks.NAMES))
    rise = []
    for line in drawing.iter(f"{SVG}polyline"):
        first, *_, last = (float(point.partition(",")[2]) for point in line.attrib["points"].split())
        rise.append(first - last)
    assert rise == pytest.approx([0, rise[1], 2 * rise[1]], abs=0.3)
    assert rise[1] > 50
    assert "| 2.00" in benchmarks.steepness({"things": grown}).replace("     - ", "| ")


def test_a_label_is_never_on_another() -> None:
    placed = plots.apart([(100, "a"), (99, "b"), (50, "c"), (98, "d")])
    heights = [height for height, _ in placed]
    assert all(below - above >= 14 for below, above in itertools.pairwise(heights))
    assert {name: height for height, name in placed}["c"] == 50


def test_the_files_are_small() -> None:
    results = Path(DOCS).parent / "benchmarks" / "results"
    sizes = {
        path.name: len(json.dumps(json.loads(path.read_text("utf-8")))) for path in results.glob("*.json")
    }
    assert sum(sizes.values()) < 200_000
