"""The house: who may know whom, what modules use of each other's private names, and how full a folder is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

PACKAGE = ROOT / "micropie"

#: The rooms and the modules beside them, from the top. Who stands on a floor knows its own floor and those below.
FLOORS = [
    "__init__ __main__ cli testing pytest_plugin",
    "app",
    "connection",
    "core settings",
    "websocket",
    "sessions",
    "routing middleware",
    "request",
    "response",
    "concurrency exceptions headers strict_json types",
]

#: Who knows somebody above or, in a circle, beside them. It only gets shorter.
UPWARD = {
    ("connection.http", "app"),
    ("connection.websocket", "app"),
    ("core", "app"),
    ("request.request", "app"),
    ("request.request", "connection.streams"),
    ("request.request", "core"),
    ("request.request", "sessions.view"),
    ("routing.mounts", "sessions.view"),
    ("sessions.view", "app"),
    ("sessions.visit", "app"),
    ("websocket.wire", "app"),
}

#: How often a module uses what another one keeps private. It only gets smaller.
BORROWED = 25

#: As many modules, and as many folders, a folder may have.
DOZEN = 12

#: Folders that have more. It only gets shorter, and none of them grows.
CROWDED = {"tests": 21, "tests/docs": 22, "tests/e2e": 28}


# What is measured


def modules(package: Path) -> dict[str, Path]:
    """Each module's file; a folder stands for its ``__init__``, but for the package itself."""
    found = {}
    for file in package.rglob("*.py"):
        name = ".".join(file.relative_to(package).with_suffix("").parts)
        found[name if name == "__init__" else name.removesuffix(".__init__")] = file
    return found


def arrows(package: Path) -> set[tuple[str, str]]:
    """Each module with each that it imports, for types alone or when it runs."""
    files = modules(package)
    return {
        (importer, imported)
        for importer, file in files.items()
        for imported in imports(package, file, files)
        if imported != importer
    }


def imports(package: Path, file: Path, files: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that one of its files imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.partition(".")[0] == package.name]
            yield from (name.partition(".")[2] or "__init__" for name in names)
        elif isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").partition(".")[0] == package.name
        ):
            room = [package.name, *file.relative_to(package).parts][: -node.level] if node.level else []
            module = ".".join([*room, *filter(None, [node.module])]).partition(".")[2]
            for alias in node.names:
                name = f"{module}.{alias.name}".strip(".")
                yield name if name in files else module or "__init__"


def upward(found: Iterable[tuple[str, str]], floors: list[str]) -> set[tuple[str, str]]:
    """The arrows that lead from a floor to one above it."""
    depth = {name: number for number, floor in enumerate(floors) for name in floor.split()}
    return {
        (importer, imported)
        for importer, imported in found
        if depth[imported.partition(".")[0]] < depth[importer.partition(".")[0]]
    }


def in_circles(found: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows of which circles are made: those whose target leads back to where they begin."""
    found = set(found)
    reached = {one: {one} for pair in found for one in pair}
    grown = True
    while grown:
        grown = False
        for one, other in found:
            if not reached[other] <= reached[one]:
                reached[one] |= reached[other]
                grown = True
    return {(one, other) for one, other in found if one in reached[other]}


def borrowed(package: Path) -> list[str]:
    """Each place where a module uses a name with an underscore that another one gives, and it does not."""
    trees = {
        name: ast.parse(file.read_text(encoding="utf-8")) for name, file in sorted(modules(package).items())
    }
    given = {name: {one for one in names_given(tree) if is_private(one)} for name, tree in trees.items()}
    everybody = set[str]().union(*given.values())
    return [
        f"{name}:{line} {what}"
        for name, tree in trees.items()
        for line, what in private_uses(tree, everybody - given[name])
    ]


def private_uses(tree: ast.Module, foreign: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in foreign)
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in foreign
            and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
        ):
            yield node.lineno, ast.unparse(node)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_given(tree: ast.AST) -> Iterator[str]:
    """The names that a module gives: of its functions, in its classes, to what ``self`` has, in ``__slots__``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
            continue  # it says what another module gives
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                yield node.attr
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            yield from ast.literal_eval(node.value)
        yield from names_given(node)


def crowded(root: Path, *names: str) -> dict[str, int]:
    """The folders below some that have more than a dozen modules, or a dozen folders with modules; and how many."""
    found = {}
    for top in names:
        code = [file for file in (root / top).rglob("*.py") if not hidden(file.relative_to(root))]
        folders = {parent for file in code for parent in file.parents if parent.is_relative_to(root / top)}
        for folder in folders:
            inside = sum(file.parent == folder and not file.stem.startswith("__") for file in code)
            most = max(inside, sum(each.parent == folder for each in folders))
            if most > DOZEN:
                found[folder.relative_to(root).as_posix()] = most
    return found


def hidden(path: Path) -> bool:
    return any(
        part.startswith(".") or part in {"__pycache__", "_build", "node_modules"} for part in path.parts
    )


def defined_by_faces(package: Path) -> list[str]:
    """What the ``__init__`` of a folder makes itself: functions, classes, and names but for ``__all__`` and such."""
    found = []
    for file in package.rglob("__init__.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = [ast.unparse(target) for target in targets]
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names = [node.name]
            place = file.parent.relative_to(package.parent).as_posix()
            found += [f"{place}: {name}" for name in names if not name.startswith("__")]
    return found


# The house


def test_arrows_go_down() -> None:
    """No module knows one of a higher floor, not even for its types, but for those in a list that only gets shorter."""
    assert upward(arrows(PACKAGE), FLOORS) == {pair for pair in UPWARD if pair in upward([pair], FLOORS)}


def test_no_circles() -> None:
    """No module knows, by way of others, one that knows it; again but for those in the list that still do."""
    found = arrows(PACKAGE)
    assert in_circles(found - UPWARD) == set()
    beside = UPWARD - upward(UPWARD, FLOORS)
    assert [pair for pair in beside if not in_circles(found - UPWARD | {pair})] == []


def test_every_module_has_its_floor() -> None:
    """A room or module that is new is put on a floor, and one that is gone leaves none behind."""
    standing = {name.partition(".")[0] for name in modules(PACKAGE)}
    assert sorted(" ".join(FLOORS).split()) == sorted(standing)


def test_private_names_stay_at_home() -> None:
    """What a module keeps private is used by others so often and no more; who lowers it lowers the number."""
    found = borrowed(PACKAGE)
    assert len(found) <= BORROWED, "\n".join(found)


def test_folders_are_not_crowded() -> None:
    """A folder has a dozen modules and a dozen folders at most, but for those in a list that only gets shorter."""
    found = crowded(ROOT, "micropie", "tests", "docs", "tools", "benchmarks")
    assert found.keys() == CROWDED.keys()
    assert all(CROWDED[folder] >= most for folder, most in found.items())


def test_faces_define_nothing() -> None:
    """The ``__init__`` of a folder hands on what others make."""
    assert defined_by_faces(PACKAGE) == []


# Whether that can be seen


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A package of two rooms with every fault."""
    package = tmp_path / "package"
    for file, text in {
        "__init__.py": "from .up.app import App\n__all__ = ['App']\n",
        "up/__init__.py": "def helper(): ...\nshared = 1\n",
        "up/app.py": (
            "from package.down import request, ground\n"
            "class Known(Protocol):\n    _taken: int\n"
            "class App:\n"
            "    __slots__ = ('_kept',)\n"
            "    def _own(self): return self._kept\n"
            "def use(app, it): return app._own(), app._kept, it._taken, it._asdict(), request._hidden\n"
        ),
        "down/__init__.py": "",
        "down/request.py": (
            "from typing import TYPE_CHECKING\n"
            "from . import ground\n"
            "if TYPE_CHECKING:\n    from ..up.app import App\n"
            "_hidden = 1\n"
            "class Request:\n    _taken = 1\n"
        ),
        "down/ground.py": "import package.down.request\nfrom .request import _hidden\n",
    }.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text(text, encoding="utf-8")
    return package


HOUSE = ["__init__", "up", "down"]


def test_an_arrow_up_is_seen(house: Path) -> None:
    """One for types alone, too; those that go down or stay in their room are none."""
    assert upward(arrows(house), HOUSE) == {("down.request", "up.app")}


def test_a_circle_is_seen(house: Path) -> None:
    """Each arrow of it, and none that only leads to it."""
    found = arrows(house)
    assert ("__init__", "up.app") in found
    circle = {("down.request", "down.ground"), ("down.ground", "down.request")}
    assert in_circles(found - {("down.request", "up.app")}) == circle
    assert in_circles(found) > circle


def test_a_borrowed_name_is_seen(house: Path) -> None:
    """A name of another module or of a class in it, also if a protocol states it; none of one's own, or of Python's."""
    assert sorted(place.partition(" ")[2] for place in borrowed(house)) == [
        "_hidden",
        "it._taken",
        "request._hidden",
    ]


def test_a_crowd_is_seen(tmp_path: Path) -> None:
    """Of modules, or of folders with modules in them; what is hidden or a face does not count."""
    for number in range(DOZEN):
        for file in (f"code/m{number}.py", f"code/f{number}/m.py"):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
    for file in ("code/__init__.py", "code/.venv/m.py", "code/__pycache__/m.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert crowded(tmp_path, "code") == {}
    (tmp_path / "code/one_more.py").touch()
    assert crowded(tmp_path, "code") == {"code": DOZEN + 1}


def test_what_a_face_defines_is_seen(house: Path) -> None:
    """A function and a name; not what it hands on."""
    assert defined_by_faces(house) == ["package/up: helper", "package/up: shared"]
