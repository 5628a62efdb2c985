"""The directives of the page that compares frameworks: its tables, from the very file against which they are asked.

``peers-seen:: GROUP`` shows a group of questions and what each framework did, ``peers-parts`` what each has of its own,
and ``peers-versions`` which versions were asked, and when.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .tables import list_table, read_toml

FOLDER = Path(__file__).parents[2] / "tests" / "comparison"
ROWS, SEEN = FOLDER / "rows.toml", FOLDER / "seen.json"

NAMES = {
    "micropie": "MicroPie",
    "starlette": "Starlette",
    "fastapi": "FastAPI",
    "litestar": "Litestar",
    "quart": "Quart",
    "falcon": "Falcon",
    "channels": "Channels",
    "aiohttp": "aiohttp",
}


class Table(SphinxDirective):
    """A table of both files; one row is a question or a framework."""

    head: tuple[str, ...]
    widths: str

    def run(self) -> list[nodes.Node]:
        for file in (ROWS, SEEN):
            self.env.note_dependency(str(file))
        self.questions = read_toml(ROWS)
        self.table = json.loads(SEEN.read_text(encoding="utf-8"))
        self.peers: dict[str, dict[str, Any]] = self.table["peers"]
        return self.parse_text_to_nodes(self.before() + list_table(self.widths, list(self.head), self.rows()))

    def before(self) -> str:
        return ""

    def rows(self) -> Iterable[list[str]]:
        raise NotImplementedError


class Seen(Table):
    """Each question of a group, and those who did the same side by side."""

    required_arguments = 1
    head = ("Situation", "What was seen")
    widths = "55 45"

    def rows(self) -> Iterable[list[str]]:
        for name, row in self.questions[self.arguments[0]].items():
            title = row["title"].replace("`", "")  # There is no code within bold text.
            yield [f"**{title}**\n\n{row['why']}", self.groups(name)]

    def groups(self, question: str) -> str:
        found: dict[str, list[str]] = {}
        for peer, name in NAMES.items():
            found.setdefault(self.peers[peer]["seen"][question], []).append(name)
        silent = found.pop("-", None)  # It cannot be asked.
        lines = [f"``{what}``: {', '.join(names)}" for what, names in found.items()]
        return "\n\n".join([*lines, *([f"(not {', '.join(silent)})"] if silent else [])])


class Parts(Table):
    """What each framework has of its own."""

    head = ("Part", "Comes with")
    widths = "55 45"

    def rows(self) -> Iterable[list[str]]:
        for row in self.questions["parts"].values():
            yield [row["title"], ", ".join(name for peer, name in NAMES.items() if peer in row)]


class Versions(Table):
    """Which versions were asked."""

    head = ("Framework", "Versions")
    widths = "30 70"

    def before(self) -> str:
        return f"Asked on {self.table['date']}, with Python {self.table['python']}:\n\n"

    def rows(self) -> Iterable[list[str]]:
        for peer, name in NAMES.items():
            found = self.peers[peer]
            told = ", ".join(f"{project} {number}" for project, number in found["versions"].items())
            count = found["dependencies"]
            brings = f"{count or 'no'} other {'package' if count == 1 else 'packages'}"
            yield [name, f"{told}; brings {brings}"]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("peers-seen", Seen)
    app.add_directive("peers-parts", Parts)
    app.add_directive("peers-versions", Versions)
    return {"parallel_read_safe": True}
