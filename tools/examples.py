"""The examples of the gallery: their folders, and the files that they share.

Each example is one folder that runs alone, so each has its own copy of the shared files, whose masters stand in
``docs/examples/_shared``. Edit a master, then run ``python -m tools.examples``: it rewrites every copy that differs. An
example has the copies that its app serves, and the setting of its tests. A test holds them equal.
"""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
SHARED = EXAMPLES / "_shared"


def examples() -> dict[str, Path]:
    """Return the folder of each example by its name, sorted."""
    return {path.parent.name: path.parent for path in sorted(EXAMPLES.glob("*/app.py"))}


def stale() -> list[tuple[Path, Path]]:
    """Return each copy of a shared file that differs from its master, with the master."""
    return [
        (folder / master.name, master)
        for folder in examples().values()
        for master in sorted(SHARED.iterdir())
        if (folder / master.name).exists() and (folder / master.name).read_bytes() != master.read_bytes()
    ]


def main() -> int:
    """Rewrite the copies, and name them; the result is the exit status."""
    for copy, master in stale():
        copy.write_bytes(master.read_bytes())
        print(copy.relative_to(EXAMPLES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
