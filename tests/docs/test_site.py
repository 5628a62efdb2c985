"""The built site: every link leads somewhere, the search knows every name, and each page says what it is."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urljoin
from xml.etree import ElementTree as ET

import pytest
from bs4 import BeautifulSoup, Tag

import micropie
import micropie.testing
import micropie.testing.browser
import micropie.testing.server
from tests.docs.conftest import BASE
from tests.helpers import ROOT
from tools.blocks import DOCS, pages

PAGES = [page.relative_to(DOCS).with_suffix(".html").as_posix() for page in pages()]
FOUND = [page for page in PAGES if page != "404.html"]  # What a reader can look for.
MADE = ["genindex.html", "search.html"]  # Sphinx makes these by itself.

# Where an element's address stands.
ADDRESSES = {"a": "href", "link": "href", "script": "src", "img": "src", "form": "action"}

# How a drawing says what it shows, or that it is an ornament.
LABELS = {"aria-label", "aria-labelledby", "aria-hidden"}


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[str, BeautifulSoup]:
    """Every page of the site."""
    paths = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    return {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in paths
    }


def test_the_site_has_every_page(parsed: dict[str, BeautifulSoup]) -> None:
    assert parsed.keys() == {*PAGES, *MADE}


# Links


def links(page: str, parsed: Tag) -> set[str]:
    """The addresses on a page that stay on the site, each as from the site's root, with its anchor."""
    found = set()
    for element in parsed.find_all(list(ADDRESSES)):
        address = urljoin(BASE + page, str(element.get(ADDRESSES[element.name], "")))
        if address.startswith(BASE):
            found.add(address.removeprefix(BASE).partition("?")[0])
    return found


def anchors(parsed: BeautifulSoup) -> set[str]:
    return {"", *(str(element["id"]) for element in parsed.find_all(id=True))}


def test_every_link_of_the_site_leads_somewhere(site: Path, parsed: dict[str, BeautifulSoup]) -> None:
    targets = {page: anchors(soup) for page, soup in parsed.items()}
    broken = []
    for page, soup in parsed.items():
        for link in links(page, soup):
            path, _, anchor = unquote(link).partition("#")
            there = anchor in targets[path] if path in targets else not anchor and (site / path).is_file()
            if not there:
                broken.append(f"{page}: {link}")
    assert broken == []


def test_links_are_found_and_told_apart() -> None:
    """The test above sees what it should."""
    soup = BeautifulSoup(
        '<a href="../b.html#c">b</a> <img src="d.svg?v=1"> <a href="#top">a</a> <a href="https://e.example/">e</a>',
        "html.parser",
    )
    assert links("x/a.html", soup) == {"b.html#c", "x/d.svg", "x/a.html#top"}


def test_an_id_stands_on_a_page_once(parsed: dict[str, BeautifulSoup]) -> None:
    twice = {}
    for page, soup in parsed.items():
        times = Counter(one["id"] for one in soup.find_all(id=True))
        if found := [name for name, count in times.items() if count > 1]:
            twice[page] = found
    assert twice == {}


def test_no_page_is_an_island(parsed: dict[str, BeautifulSoup]) -> None:
    """From the first page, without the sidebar, a reader who follows links comes to every other."""
    seen, ahead = set(), {"index.html"}
    while ahead:
        page = ahead.pop()
        seen.add(page)
        article = parsed[page].find("div", class_="content")
        assert isinstance(article, Tag)
        ahead |= {link.partition("#")[0] for link in links(page, article)} & set(FOUND) - seen
    assert seen == set(FOUND)


# What a page says of itself


def meta(soup: BeautifulSoup, name: str) -> str:
    found = soup.find("meta", attrs={"name": name}) or soup.find("meta", attrs={"property": name})
    return str(found["content"]) if isinstance(found, Tag) else ""


def test_every_page_has_one_heading_of_the_first_level(parsed: dict[str, BeautifulSoup]) -> None:
    assert {page: found for page, soup in parsed.items() if len(found := soup.find_all("h1")) != 1} == {}


def test_every_page_has_a_title_and_a_description_of_its_own(parsed: dict[str, BeautifulSoup]) -> None:
    descriptions = {page: meta(soup, "description") for page, soup in parsed.items()}
    assert {page: text for page, text in descriptions.items() if not 20 <= len(text) <= 160} == {}
    assert len(set(descriptions.values())) == len(descriptions)
    titles = {page: soup.title.get_text(strip=True) for page, soup in parsed.items() if soup.title}
    assert titles.keys() == parsed.keys()


def test_every_page_has_what_a_link_preview_shows(site: Path, parsed: dict[str, BeautifulSoup]) -> None:
    for page in FOUND:
        soup = parsed[page]
        assert meta(soup, "og:url") == BASE + page
        assert meta(soup, "og:title")
        assert meta(soup, "og:description") == meta(soup, "description")
        assert meta(soup, "og:image") == f"{BASE}_static/social.png"
        canonical = soup.find("link", rel="canonical")
        assert isinstance(canonical, Tag)
        assert canonical["href"] == BASE + page
    image = (site / "_static" / "social.png").read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(image[16:20]), int.from_bytes(image[20:24])
    assert (meta(parsed["index.html"], "og:image:width"), meta(parsed["index.html"], "og:image:height")) == (
        str(width),
        str(height),
    )


def test_every_picture_is_described_or_hidden(parsed: dict[str, BeautifulSoup]) -> None:
    """As an image by its alternative text, as a drawing by its label; furo's icons stand in buttons with labels."""
    for page, soup in parsed.items():
        # An empty text hides an ornament. Without one, docutils writes the file's name.
        undescribed = [image for image in soup.find_all("img") if image.get("alt") in (None, image["src"])]
        assert undescribed == [], page
        drawings = [one for one in soup.select("article svg") if not one.find("use")]
        silent = [one for one in drawings if not LABELS & one.attrs.keys()]
        assert silent == [], page


# Files for machines


def test_the_sitemap_has_every_page(site: Path) -> None:
    tree = ET.parse(site / "sitemap.xml")
    found = [loc.text for loc in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert sorted(map(str, found)) == sorted(BASE + page for page in FOUND)


def test_llms_txt_names_every_page_with_its_description(site: Path, parsed: dict[str, BeautifulSoup]) -> None:
    title, text = (site / "llms.txt").read_text(encoding="utf-8").split("\n", 1)
    assert title == "# MicroPie"
    entries = re.findall(rf"^- \[(.+)\]\({BASE}(.+)\): (.+)$", text, re.MULTILINE)
    assert sorted(page for _, page, _ in entries) == sorted({*FOUND} - {"index.html"})
    for name, page, description in entries:
        assert description == meta(parsed[page], "description")
        assert name == meta(parsed[page], "og:title")
    assert f"> {meta(parsed['index.html'], 'description')}\n" in text


def test_the_page_404_works_at_any_depth(parsed: dict[str, BeautifulSoup]) -> None:
    """Read the Docs shows it for whatever address was asked for, so it can have no relative link."""
    soup = parsed["404.html"]
    addresses = [str(one.get(ADDRESSES[one.name], "")) for one in soup.find_all(list(ADDRESSES))]
    assert [one for one in addresses if not re.match(r"#|https://|/en/latest/|$", one)] == []
    assert "/en/latest/tutorial/quickstart.html" in addresses
    assert meta(soup, "robots") == "noindex"


# The search


def public_names() -> list[str]:
    """Every public name, and the public members that MicroPie's own classes add."""
    names = ["micropie.__version__"]
    for module in (micropie, micropie.testing, micropie.testing.browser, micropie.testing.server):
        for name in module.__all__:
            names.append(f"{module.__name__}.{name}")
            if inspect.isclass(value := getattr(module, name)):
                # The data of an exception stands there as its arguments.
                own = [member for member, what in vars(value).items() if not inspect.ismemberdescriptor(what)]
                members = {*own, *inspect.get_annotations(value)}
                names += [
                    f"{module.__name__}.{name}.{member}"
                    for member in members
                    if not member.startswith(("_", "x_"))
                ]
    return names


def test_the_full_text_search_finds_every_public_name(site: Path) -> None:
    source = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(source.removeprefix("Search.setIndex(").removesuffix(")"))
    # Each object is stored as [file, type, priority, anchor, name] below what stands before its last dot.
    found = {f"{prefix}.{entry[4]}" for prefix, entries in index["objects"].items() for entry in entries}
    assert {"micropie.WebSocket.receive_json", "micropie.testing.TestClient"} <= set(public_names())
    assert [name for name in public_names() if name not in found] == []
    assert {
        f"{page}.html" for page, title in zip(index["docnames"], index["titles"], strict=True) if title
    } == set(FOUND)


def test_every_parameter_and_error_of_the_reference_is_described(parsed: dict[str, BeautifulSoup]) -> None:
    """But where the text begins with "As", and leads to another name that has the same ones."""
    fields = [
        (str(name["id"]), entry.get_text(" ", strip=True))
        for page, soup in parsed.items()
        if page.startswith("reference/")
        for what in soup.select("dl.field-list > dt")
        if what.get_text(strip=True).rstrip(":") in ("Parameters", "Raises")
        for name in [what.find_previous("dt", class_="sig")]
        if not name.find_next_sibling("dd").get_text(strip=True).startswith("As")
        for entry in what.find_next_sibling("dd").find_all("li") or [what.find_next_sibling("dd")]
    ]
    assert len(fields) > 100
    assert [field for field in fields if "\N{EN DASH}" not in field[1]] == []


# Pages that repeat what a file says


def test_the_changelog_is_that_of_the_repository(parsed: dict[str, BeautifulSoup]) -> None:
    article = parsed["changelog.html"].find("article")
    assert isinstance(article, Tag)
    markdown = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    shown = [heading.get_text().removesuffix("¶") for heading in article.find_all(["h2", "h3"])]
    assert shown == [
        re.sub(r"[\[\]]", "", text) for text in re.findall(r"^##+ (.+)$", markdown, re.MULTILINE)
    ]
    assert len(article.find_all("li")) == len(re.findall(r"^- ", markdown, re.MULTILINE))
    assert "`" not in article.get_text()


def test_the_versions_page_names_what_is_tested(parsed: dict[str, BeautifulSoup]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    soup = parsed["versioning.html"]
    classifiers = "\n".join(project["project"]["classifiers"])
    *pythons, newest = re.findall(r"Python :: (3\.\d+)$", classifiers, re.MULTILINE)
    assert f"CPython {', '.join(pythons)} and {newest}, each tested" in soup.get_text()
    [servers] = soup.select("table")
    needed = [one for one in project["dependency-groups"]["servers"] if isinstance(one, str)]
    needed += project["project"]["optional-dependencies"]["server"]
    lowest = dict(re.findall(r"^(\w+)(?:\[\w+\])?>=([\d.]+)$", "\n".join(needed), re.MULTILINE))
    del lowest["wsproto"]  # One of uvicorn's WebSocket implementations.
    shown = (text.partition(",")[0] for text in column(servers, 1))
    assert dict(zip(column(servers, 0), shown, strict=True)) == lowest


def column(table: Tag, number: int) -> list[str]:
    return [row.find_all("td")[number].get_text(strip=True) for row in table.select("tbody tr")]
