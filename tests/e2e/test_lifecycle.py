"""The page about a WebSocket's life: its drawing by day and by night, on a phone too, and its tables of servers."""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import ROOT
from tests.serving import serve

Visit = Callable[..., Visitor]
LIFE = ROOT / "tests" / "servers" / "life.toml"

# How far the texts of the drawing reach out of it, in pixels, and the least contrast of one with the page (WCAG 2.2).
LOOK = """(drawing) => {
  const luminance = (colour) => {
    const [red, green, blue] = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const edge = drawing.getBoundingClientRect();
  const texts = [...drawing.querySelectorAll("text")];
  return {
    beyond: Math.max(...texts.map((text) => text.getBoundingClientRect().right - edge.right)),
    contrast: Math.min(...texts.map((text) => {
      const [dark, light] = [page, luminance(getComputedStyle(text).fill)].sort((one, other) => one - other);
      return (light + 0.05) / (dark + 0.05);
    })),
    scrolls: document.documentElement.scrollWidth > innerWidth,
  };
}"""


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_drawing_can_be_read(built_docs: Path, visit: Visit, scheme: str, width: int) -> None:
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        url = f"{server.url}explanation/connection-lifecycle.html"
        page = visit(url, color_scheme=scheme, viewport={"width": width, "height": 800}).page
        drawing = page.get_by_role("img", name="The states of a WebSocket")
        expect(drawing).to_be_visible()
        look = drawing.evaluate(LOOK)
    assert look["beyond"] <= 0
    assert look["contrast"] >= 4.5
    assert not look["scrolls"]


def words(text: str) -> str:
    """A text without its markup, be it HTML or reStructuredText."""
    return " ".join(re.findall(r"\w+", html.unescape(re.sub(r"<[^>]+>", "", text))))


def test_every_reason_and_every_deviation_is_on_the_page(built_docs: Path) -> None:
    table = tomllib.loads(LIFE.read_text(encoding="utf-8"))
    page = words((built_docs / "explanation" / "connection-lifecycle.html").read_text(encoding="utf-8"))
    reasons = [row["title"] for row in table.pop("evidence").values()]
    situations = [
        row["title"]
        for kind in table.values()
        for row in kind.values()
        if any({"client", "handler"} & seen.keys() for seen in row.get("deviations", {}).values())
    ]
    assert reasons
    assert situations
    assert [title for title in [*reasons, *situations] if words(title) not in page] == []
