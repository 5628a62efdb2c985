"""Run a command once over programs that are alone in their folders: ``python -m tools.together DIR... -- COMMAND``.

Each folder below the given ones that holds Python files becomes a package, ``docs/examples/chat`` is
``docs_examples_chat``, whose files import each other as neighbours: ``from app import app`` becomes
``from .app import app``.  So a type checker can tell all the modules ``app`` apart, and loads what they share once.
Every line stays where it was.  The command runs in the folder of these packages, and its status is the result.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def folders(roots: list[Path]) -> list[Path]:
    """Return the folders at and below ``roots`` that hold Python files, sorted."""
    return sorted({path.parent for root in roots for path in root.rglob("*.py")})


def as_neighbours(source: str, neighbours: set[str]) -> str:
    """Return the source with every import of one of these modules as that of a neighbour in a package.

    Raises:
        ValueError: If there is one that cannot be written so: ``import app.part``, or several modules in one import.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        if not {name.partition(".")[0] for name in names} & neighbours:
            continue
        if isinstance(node, ast.ImportFrom):
            old, new = f"from {names[0]} ", f"from .{names[0]} "
        elif len(names) == 1 and "." not in names[0]:
            old, new = "import ", "from . import "
        else:
            raise ValueError(f"line {node.lineno}: {ast.unparse(node)}")
        # ast counts the column in bytes of UTF-8.
        line = lines[node.lineno - 1].encode()
        before, statement = line[: node.col_offset].decode(), line[node.col_offset :].decode()
        if not statement.startswith(old):
            raise ValueError(f"line {node.lineno}: {statement}")
        lines[node.lineno - 1] = before + new + statement.removeprefix(old)
    return "".join(lines)


def gather(roots: list[Path], target: Path) -> None:
    """Write every folder at and below ``roots`` that holds Python files as a package into ``target``."""
    for root in roots:
        for folder in folders([root]):
            package = target / re.sub(r"\W", "_", f"{root.name}_{folder.relative_to(root)}")
            package.mkdir()
            (package / "__init__.py").touch()
            neighbours = {path.stem for path in folder.glob("*.py")}
            for path in folder.glob("*.py"):
                source = as_neighbours(path.read_text("utf-8"), neighbours)
                (package / path.name).write_text(source, "utf-8")


def main(arguments: list[str]) -> int:
    """Run the command line; the result is the exit status."""
    if "--" not in arguments:
        sys.exit("usage: python -m tools.together DIR... -- COMMAND...")
    split = arguments.index("--")
    roots, command = [Path(root) for root in arguments[:split]], arguments[split + 1 :]
    missing = [root for root in roots if not root.is_dir()]
    if missing or not command:
        sys.exit(
            f"tools.together: no such folder: {missing[0]}"
            if missing
            else "tools.together: no command after '--'"
        )
    with tempfile.TemporaryDirectory() as target:
        gather(roots, Path(target))
        return subprocess.run(command, cwd=target, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
