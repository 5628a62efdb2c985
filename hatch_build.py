"""Puts the examples of the documentation into the wheel, for ``python -m micropie examples``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OF_THE_PAGE = {".rst", ".webp"}  # What belongs to an example's page, as in micropie/cli/examples.py.


class Examples(BuildHookInterface):
    """Adds them as ``micropie/_examples``; an editable installation finds them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name each file and its place."""
        if version == "editable":
            return
        root = Path(self.root, "docs", "examples")
        for path in sorted(root.glob("*/app.py")):
            for file in sorted(path.parent.rglob("*")):
                if file.is_file() and file.suffix not in OF_THE_PAGE and file.parent.name != "__pycache__":
                    place = f"micropie/_examples/{file.relative_to(root).as_posix()}"
                    build_data["force_include"][str(file)] = place
