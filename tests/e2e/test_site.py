"""The built site as a reader sees it: on a desktop and a phone, light and dark, with a mouse or a keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import micropie
import micropie.testing
from tests.e2e.browsing import Visitor
from tests.e2e.conftest import ROOT, missing
from tests.e2e.looking import DESKTOP, PHONE, THEMES, WIDE, Theme, violations
from tests.serving import serve
from tools.blocks import DOCS, pages

Visit = Callable[..., Visitor]

PAGES = [page.relative_to(DOCS).with_suffix(".html").as_posix() for page in pages()]
PAGES += ["genindex.html", "search.html?q=websocket"]
NOWHERE = "tutorial/of/nothing.html"  # What is found there is the page 404.

# One page of each kind.
KINDS = {
    "landing": "index.html",
    "tutorial": "tutorial/chat.html",
    "howto": "howto/security.html",
    "reference": "reference/websocket.html",
    "explanation": "explanation/connection-lifecycle.html",
    "drawing": "explanation/architecture.html",
    "comparison": "explanation/comparison.html",
    "performance": "explanation/performance.html",
    "settings": "reference/app.html",
    "example": "examples/echo/index.html",
    "changelog": "changelog.html",
    "search": "search.html?q=websocket",
    "404": NOWHERE,
}


@pytest.fixture(scope="module")
def site(built_docs: Path) -> Iterator[str]:
    """The address of the site."""
    with serve(ROOT, f"python tools/gallery.py --built {built_docs}") as server:
        yield server.url


def test_no_page_scrolls_sideways_on_a_phone(site: str, visit: Visit) -> None:
    page = visit(site, viewport=PHONE).page
    wide = {}
    for path in PAGES:
        page.goto(site + path)
        if found := page.evaluate(WIDE):
            wide[path] = found
    assert wide == {}


def test_a_page_that_scrolls_sideways_would_be_seen(visit: Visit, site: str) -> None:
    page = visit(site, viewport=PHONE).page
    page.evaluate("document.querySelector('article h1').style.width = '400px'")
    assert page.evaluate(WIDE) != []


LOOKS = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE},
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_no_violation(kind: str, look: str, site: str, npm_packages: Path, visit: Visit) -> None:
    visitor = visit(site + KINDS[kind], **LOOKS[look])
    if kind == "404":
        visitor.expect_error("404")
    assert violations(visitor.page, npm_packages) == []


def test_the_page_404_has_its_look_at_any_depth(site: str, visit: Visit) -> None:
    visitor = visit(site + NOWHERE)
    visitor.expect_error("404")  # All else that it loads is there, or there were more errors.
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nothing is at this address")
    page.locator("article").get_by_role("link", name="quick start").click()
    expect(page).to_have_url(f"{site}tutorial/quickstart.html")


def test_the_search_finds_every_name(site: str, visit: Visit) -> None:
    """Its place in the reference is among the results."""
    page = visit(site).page
    names = [f"micropie.{name}" for name in micropie.__all__]
    names += [f"micropie.testing.{name}" for name in micropie.testing.__all__]
    for name in names:
        page.goto(f"{site}search.html?q={name.rpartition('.')[2]}")
        # The general index may have it too, below all pages that use the word.
        expect(page.locator(f"#search-results .kind-object a[href$='#{name}']")).to_be_visible()


# Where the keyboard is must be seen: on the element itself, or on the label or card that stands for it.
OUTLINED = """() => {
  const it = document.activeElement;
  const shown = [it, it.closest(".sd-card"), it.matches("input") && it.nextElementSibling];
  return shown.some((box) => box && getComputedStyle(box).outlineStyle !== "none");
}"""


def test_the_keyboard_goes_everywhere_and_is_seen(site: str, visit: Visit) -> None:
    page = visit(site, viewport=DESKTOP).page
    unseen, places = [], 0
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement !== document.body"):
        places += 1
        if not page.evaluate(OUTLINED):
            unseen.append(page.evaluate("document.activeElement.outerHTML"))
        page.keyboard.press("Tab")
    assert unseen == []
    assert places > 20


def test_the_skip_link_leads_to_the_text(site: str, visit: Visit) -> None:
    page = visit(site, viewport=DESKTOP).page
    skip = page.get_by_role("link", name="Skip to content")
    skip.focus()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site}#furo-main-content")


def test_wide_code_can_be_scrolled_with_the_keyboard(site: str, visit: Visit) -> None:
    page = visit(site, viewport=PHONE).page
    expect(page.locator("pre[tabindex='0']").first).to_be_attached()
    code = page.locator("pre[tabindex='0']").first
    code.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
    page.set_viewport_size(DESKTOP)
    expect(page.locator("pre[tabindex='0']")).to_have_count(0)


@pytest.mark.parametrize("theme", THEMES)
def test_the_reader_chooses_the_theme(theme: str, site: str, visit: Visit) -> None:
    """The mark goes with it, whatever the system prefers."""
    page = visit(site, color_scheme="dark" if theme == "light" else "light").page
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    page.reload()
    colours = {"light": "rgb(155, 39, 67)", "dark": "rgb(207, 74, 104)"}
    expect(page.locator(".sidebar-brand .mark path").first).to_have_css("fill", colours[theme])


# The contact sheet


@pytest.fixture
def contact_sheet(request: pytest.FixtureRequest) -> Path:
    folder: Path | None = request.config.getoption("--contact-sheet", default=None)
    if folder is None:
        missing("There is no --contact-sheet DIR; tox gives one.")
    return folder


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_contact_sheet(device: str, site: str, browser: Browser, contact_sheet: Path) -> None:
    """Pictures of every page's beginning, and of each theme one of them all, for a person to look at."""
    width = {"desktop": DESKTOP, "phone": PHONE}[device]["width"]
    page = browser.new_page(viewport={"width": width, "height": 1600})
    folders = {theme: contact_sheet / f"{device}-{theme}" for theme in THEMES}
    names = [pictures(page, site, path, folders) for path in PAGES]
    for folder in folders.values():
        sheet = folder / "index.html"
        figures = "".join(
            f'<figure><img src="{name}.jpg" alt="" width="320"><figcaption>{name}</figcaption></figure>'
            for name in names
        )
        sheet.write_text(f"<!doctype html><style>{SHEET}</style>{figures}", encoding="utf-8")
        page.set_viewport_size({"width": 8 * 336 if device == "desktop" else 10 * 336, "height": 800})
        page.goto(sheet.as_uri())
        page.screenshot(path=f"{folder}.png", full_page=True)
    page.context.close()


SHEET = """
  body { display: flex; flex-wrap: wrap; gap: 16px; margin: 8px; background: #777; font: 16px sans-serif }
  figure { margin: 0; width: 320px } img { display: block } figcaption { background: #ffd; padding: 4px }
"""


def pictures(page: Page, site: str, path: str, folders: dict[Theme, Path]) -> str:
    """Take a picture of one page in each theme, and return its name."""
    page.goto(site + path)
    name = path.partition(".")[0].replace("/", "-")
    for theme, folder in folders.items():
        page.emulate_media(color_scheme=theme)
        page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=80, animations="disabled")
    return name
