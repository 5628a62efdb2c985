"""The directive ``lifecycle-servers``: what differs from server to server, from the very table that the tests check."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Any, TypeAlias

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from .tables import list_table, read_toml

TABLE = Path(__file__).parents[2] / "tests" / "servers" / "life.toml"
COLUMNS = ("client", "handler")
LONGEST = 36  # What is longer, such as the reason that is too long, would make a table too wide.
UVICORN = {"uvicorn-sansio", "uvicorn-wsproto", "uvicorn-websockets"}

Row: TypeAlias = dict[str, Any]


class LifecycleServers(SphinxDirective):
    """What servers do by themselves, and each situation in which that is seen."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(TABLE))
        table = read_toml(TABLE)
        evidence = table.pop("evidence")
        rows = [row for kind in table.values() for row in kind.values() if instead(row)]
        text = f"{reasons(evidence)}\n\n.. dropdown:: Every row that differs\n\n{in_full(rows)}"
        return self.parse_text_to_nodes(text)


def reasons(evidence: dict[str, Row]) -> str:
    """What each server does by itself, so that MicroPie can do nothing about it."""
    head = ["Server", "What it does, with any app"]
    return list_table(
        "22 78", head, ([names(why["servers"]), f"{why['title']} {why['text']}"] for why in evidence.values())
    )


def in_full(rows: list[Row]) -> str:
    """What is seen in each situation, as a rule and on the servers that deviate."""
    head = ["Situation", "As a rule", "Instead"]
    return indent(
        list_table("28 27 45", head, ([row["title"], rule(row), instead(row)] for row in rows)), "   "
    )


def rule(row: Row) -> str:
    """What is seen as a rule, as far as it differs anywhere."""
    differing = {column for deviation in row["deviations"].values() for column in deviation}
    return seen({column: row.get(column, []) for column in COLUMNS if column in differing})


def instead(row: Row) -> str:
    """What is seen on the servers that deviate; those that see the same stand together."""
    groups: dict[str, list[str]] = {}
    for name, deviation in row.get("deviations", {}).items():
        groups.setdefault(seen(deviation), []).append(name)
    return "\n\n".join(f"**{names(group)}**: {what}" for what, group in groups.items() if what)


def seen(row: Row) -> str:
    """What client and handler see, as far as it is said."""
    said = ((column, row[column]) for column in COLUMNS if column in row)
    return "; ".join(f"{column} {', '.join(map(literal, lines)) or 'nothing'}" for column, lines in said)


def literal(line: str) -> str:
    return f"``{line if len(line) <= LONGEST else line[:LONGEST] + '…'}``"


def names(configurations: Iterable[str]) -> str:
    """The names of servers; uvicorn's implementations only where they differ."""
    found = set(configurations)
    if found >= UVICORN:
        found = found - UVICORN | {"uvicorn"}
    return ", ".join(sorted(name.replace("uvicorn-", "uvicorn ") for name in found))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("lifecycle-servers", LifecycleServers)
    return {"parallel_read_safe": True}
