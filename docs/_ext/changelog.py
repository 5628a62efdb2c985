"""The directive ``changelog``: ``CHANGELOG.md`` as part of a page, its Markdown turned into reStructuredText."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"

# Lists, emphasis and paragraphs are written alike in both.
RULES = {
    r"^# .+\n": "",  # The page has its own title.
    r"`([^`]+)`": r"``\1``",
    r"\[([^]]+)\]\(([^)]+)\)": r"`\1 <\2>`__",
    r"\[([^]]+)\]": r"\1",  # Keep a Changelog puts a version in brackets.
}


class Changelog(SphinxDirective):
    """All versions, each a section."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(CHANGELOG))
        text = to_rst(CHANGELOG.read_text(encoding="utf-8"))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def to_rst(markdown: str) -> str:
    """Translate what a changelog uses of Markdown."""
    for pattern, replacement in RULES.items():
        markdown = re.sub(pattern, replacement, markdown, flags=re.MULTILINE)
    return re.sub(r"^(##+) (.+)$", underline, markdown, flags=re.MULTILINE)


def underline(heading: re.Match[str]) -> str:
    """Return a heading in the style of its level."""
    level, text = heading.groups()
    return f"{text}\n{('-' if level == '##' else '~') * len(text)}"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("changelog", Changelog)
    return {"parallel_read_safe": True}
