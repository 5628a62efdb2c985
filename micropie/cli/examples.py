"""The examples of the documentation, as the command line hands them out."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import shutil
import sys
from pathlib import Path

_HERE = Path(__file__).parents[1]

#: What belongs to the documentation's page, and to no copy.
_OF_THE_PAGE = {".rst", ".webp", ".pyc"}

#: Which of our extras brings a module; others are named as they are.
EXTRAS = {
    "httpx": "testing",
    "jinja2": "templates",
    "multipart": "forms",
    "orjson": "json",
    "pytest": "testing",
    "pytest_asyncio": "testing",
    "redis": "redis",
    "socketio": "socketio",
    "uvicorn": "server",
}

#: What each of them is run and tested with, whether or not it says so.
_ALWAYS = {"httpx", "multipart", "pytest", "pytest_asyncio", "uvicorn"}


class ExampleError(Exception):
    """What is wrong with what was asked for, in words."""


def examples() -> dict[str, Path]:
    """The folders of the examples by their names, sorted: the wheel's or, in a checkout, those of the documentation.

    Raises:
        ExampleError: If this installation has none.
    """
    for root in (_HERE / "_examples", _HERE.parent / "docs" / "examples"):
        found = {path.parent.name: path.parent for path in sorted(root.glob("*/app.py"))}
        if found:
            return found
    raise ExampleError("this installation came without the examples")


def sentence(folder: Path) -> str:
    """What an example is about, from the docstring of its app."""
    text = ast.get_docstring(_parsed(folder / "app.py")) or ""
    first = text.partition("\n")[0]
    about = first.partition(": ")[2] or first
    return about[:1].upper() + about[1:]


def files(folder: Path) -> list[Path]:
    """The files that make an example run, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in _OF_THE_PAGE)


def copy(name: str, target: Path) -> list[str]:
    """Copy an example into a new or empty folder, and return the names of its files.

    Raises:
        ExampleError: If there is no such example, the folder holds something, or it cannot be written.
    """
    found = examples()
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(found)}"
        raise ExampleError(f"there is no example {name!r}{hint}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExampleError(f"{target} is there already: name a folder that is new or empty")
    names = []
    try:
        for path in files(found[name]):
            part = path.relative_to(found[name])
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / part)
            names.append(part.as_posix())
    except OSError as error:
        raise ExampleError(f"{target} cannot be written: {error.strerror}") from None
    return names


def missing(folder: Path) -> list[str]:
    """What an example needs and this Python lacks, each once: extras of MicroPie, then packages."""
    own = {path.stem for path in folder.glob("*.py")}
    used = {name for path in folder.rglob("*.py") for name in _imports(path)} - own - sys.stdlib_module_names
    lacking = {name for name in used | _ALWAYS if importlib.util.find_spec(name) is None}
    extras = sorted({EXTRAS[name] for name in lacking & EXTRAS.keys()})
    named = [f"micropie[{','.join(extras)}]"] if extras else []
    return named + sorted(lacking - EXTRAS.keys())


def _imports(path: Path) -> set[str]:
    """The packages that a file imports, at whatever place in it."""
    found = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
