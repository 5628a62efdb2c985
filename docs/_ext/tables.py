"""What the extensions that make tables share."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Any


def list_table(widths: str, head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in reStructuredText; each cell is text in it, and ``widths`` are percentages."""
    cells = "\n".join(
        "   * - " + "\n     - ".join(indent(cell, " " * 7).strip() for cell in row) for row in [head, *rows]
    )
    return f".. list-table::\n   :header-rows: 1\n   :widths: {widths}\n\n{cells}\n"


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file whose texts mark code with single backticks, as Markdown does, with those of reStructuredText."""
    return tomllib.loads(file.read_text(encoding="utf-8").replace("`", "``"))
