"""Run a command in every folder that holds Python files: ``python -m tools.each DIR... -- COMMAND``.

The exit status is 1 if the command failed anywhere. Each folder's name comes before what the command says.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def folders(roots: list[Path]) -> list[Path]:
    """Return the folders at and below ``roots`` that hold Python files, sorted."""
    return sorted({path.parent for root in roots for path in root.rglob("*.py")})


def main(arguments: list[str]) -> int:
    """Run the command line; the result is the exit status."""
    if "--" not in arguments:
        sys.exit("usage: python -m tools.each DIR... -- COMMAND...")
    split = arguments.index("--")
    roots, command = [Path(root) for root in arguments[:split]], arguments[split + 1 :]
    missing = [root for root in roots if not root.is_dir()]
    if missing or not command:
        sys.exit(
            f"tools.each: no such folder: {missing[0]}" if missing else "tools.each: no command after '--'"
        )
    failed = False
    for folder in folders(roots):
        print(f"{folder}:", flush=True)
        failed |= subprocess.run(command, cwd=folder, check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
