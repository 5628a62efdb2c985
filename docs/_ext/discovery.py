"""What search engines, link previews and language models read of the site.

It all comes from the description of each page, which is the beginning of its first paragraph, or what the field
``:description:`` at its top says: the page's ``<meta>`` tags, ``llms.txt``, and ``sitemap.xml`` where the address is
known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from textwrap import shorten
from typing import Any
from xml.sax.saxutils import escape

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

# Characters of a description: search engines cut off what is longer, and a shorter one says too little.
LONGEST, SHORTEST = 160, 40

# The pages that Sphinx makes by itself.
DESCRIPTIONS = {
    "genindex": "Every name of the reference, from A to Z.",
    "search": "Search the documentation of MicroPie.",
}


def add_description(app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the template the page's description."""
    context["description"] = DESCRIPTIONS[page] if doctree is None else describe(app.env, page, doctree)


def describe(env: BuildEnvironment, page: str, doctree: nodes.document) -> str:
    """Return what the page says of itself."""
    text = env.metadata[page].get("description") or first_paragraph(doctree)
    sentences = re.match(rf".{{1,{LONGEST - 1}}}[.?!](?= |$)", text)
    found = sentences[0] if sentences else ""
    return found if len(found) >= SHORTEST or found == text else shorten(text, LONGEST, placeholder=" …")


def first_paragraph(doctree: nodes.document) -> str:
    """Return the first text below a heading, on one line."""
    paragraphs = doctree.findall(nodes.paragraph)
    found = (each.astext() for each in paragraphs if isinstance(each.parent, nodes.section))
    return " ".join(next(found, "").split())


def write_files(app: Sphinx, error: Exception | None) -> None:
    """Write both files beside the pages."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    (folder / "llms.txt").write_text(llms(app), encoding="utf-8")
    if app.config.html_baseurl:
        (folder / "sitemap.xml").write_text(sitemap(app), encoding="utf-8")


def llms(app: Sphinx) -> str:
    """Return the list of all pages as llmstxt.org proposes it, in the order and under the headings of the sidebar."""
    lines = [f"# {app.config.project}", "", f"> {described(app, app.config.root_doc)}"]
    for heading, pages in outline(app.env):
        lines += ["", f"## {heading}", ""]
        for page in pages:
            lines.append(f"- [{app.env.titles[page].astext()}]({address(app, page)}): {described(app, page)}")
    return "\n".join(lines) + "\n"


def described(app: Sphinx, page: str) -> str:
    """Return the description that the built page has; in a second build it may be one of the first."""
    html = Path(app.outdir, app.builder.get_target_uri(page)).read_text(encoding="utf-8")
    found = re.search(r'<meta name="description" content="(.*?)">', html)
    assert found, f"{page} has no description"
    return unescape(found[1])


def sitemap(app: Sphinx) -> str:
    """Return the addresses of all pages as sitemaps.org defines it."""
    pages = [app.config.root_doc, *(page for _, pages in outline(app.env) for page in pages)]
    addresses = "".join(f"<url><loc>{escape(address(app, page))}</loc></url>\n" for page in pages)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{addresses}</urlset>\n'
    )


def address(app: Sphinx, page: str) -> str:
    return f"{app.config.html_baseurl}{app.builder.get_target_uri(page)}"


def outline(env: BuildEnvironment) -> Iterator[tuple[str, list[str]]]:
    """Yield each heading of the sidebar with the pages below it."""
    for toctree in env.get_doctree(env.config.root_doc).findall(addnodes.toctree):
        yield toctree["caption"], [page for entry in toctree["includefiles"] for page in branch(env, entry)]


def branch(env: BuildEnvironment, page: str) -> Iterator[str]:
    """Yield a page and all pages below it, in reading order."""
    yield page
    for child in env.toctree_includes.get(page, ()):
        yield from branch(env, child)


def start_at_the_root(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Make the links in the text of the page 404 absolute, as sphinx-notfound-page does with all around it."""
    if page == app.config.notfound_pagename:
        for link in doctree.findall(nodes.reference):
            if link.get("internal"):
                link["refuri"] = app.config.notfound_urls_prefix + link["refuri"]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", add_description)
    app.connect("doctree-resolved", start_at_the_root)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
