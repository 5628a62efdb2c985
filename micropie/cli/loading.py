"""From what a user names, such as ``app.py`` or ``shop.web:site``, to the app; for the command line and for tests."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from micropie.app import App


class AppNotFound(LookupError):
    """There is no such app; the text tells the user why."""


_INIT = "__init__.py"

#: What functions that make an app are mostly called.
_FACTORIES = ("create_app", "make_app", "build_app", "get_app", "factory")


@dataclass(frozen=True)
class Target:
    """Where an app is.

    Attributes:
        place: A file's path, or the dotted name of a module.
        name: The app's name in it; empty if it has to be found.
    """

    place: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``PLACE`` or ``PLACE:NAME``; a drive's colon, as in ``C:/shop/app.py``, does not count."""
        place, colon, name = text.rpartition(":")
        if colon and all(part.isidentifier() for part in name.split(".")):
            return cls(place, name)
        return cls(text)

    @property
    def is_file(self) -> bool:
        """Whether a file is meant, and no module."""
        return not all(part.isidentifier() for part in self.place.split(".")) or self.place.endswith(".py")

    def __str__(self) -> str:
        return f"{self.place}:{self.name}" if self.name else self.place

    def file(self, *folders: Path) -> Path:
        """The file, looked for in these folders unless its path is absolute; of a package, its ``__init__.py``.

        Raises:
            AppNotFound: If there is none.
        """
        places = [folder / self.place for folder in folders]
        found = next((path for place in places for path in (place, place / _INIT) if path.is_file()), None)
        if found is None:
            if any(place.is_dir() for place in places):
                raise AppNotFound(f"{Path(self.place)} is a folder: name a file in it, such as app.py")
            where = " or ".join(dict.fromkeys(str(place.parent) for place in places))
            raise AppNotFound(f"there is no file {Path(self.place).name} in {where}")
        return found.resolve()


def load(text: str) -> Any:
    """The app that a user names on the command line, as a server would import it from the working directory.

    Raises:
        AppNotFound: If there is no such file, module or app.
        Exception: What the file raises.
    """
    target = Target.parse(text)
    if target.is_file:
        return find_app(execute(target.file(Path.cwd())), target.name)
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(target.place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{target.place}.".startswith(f"{error.name}."):
            raise
        raise AppNotFound(
            f"there is no module {error.name!r} here; a file is written {error.name}.py, and a module is named from "
            "the folder that holds it"
        ) from None
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        raise AppNotFound(f"{target.place} is a folder: name a file in it, such as {target.place}/app.py")
    if target.place in sys.stdlib_module_names:
        raise AppNotFound(f"{target.place} is a module of Python's own; a file is written {target.place}.py")
    return find_app(module, target.name)


def package_of(path: Path) -> tuple[Path, str]:
    """Where a file belongs: the folder from which it is imported, and its dotted name there.

    A folder with an ``__init__.py`` is a package; one without is taken for one if the file imports relative to it.
    """
    names = [] if path.name == _INIT else [path.stem]
    folder = path.parent
    above = 0 if path.name == _INIT else _relative_depth(path)
    while folder.name and ((folder / _INIT).is_file() or above > 0):
        names.insert(0, folder.name)
        folder = folder.parent
        above -= 1
    return folder, ".".join(names)


def _relative_depth(path: Path) -> int:
    """How many folders up a file reaches with relative imports: 1 for ``from .models import Pie``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return 0  # it is said when the file is run
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def execute(path: Path, alias: str = "") -> ModuleType:
    """Run a file as a module, which can import its neighbours, also relative to its package.

    Args:
        path: The file.
        alias: The name of the module or, in a package, of the topmost package; its own if empty, or one like it
            if that is taken, as by a module of Python's own.

    Raises:
        AppNotFound: If it isn't a Python file.
        Exception: What the file raises.
    """
    root, name = package_of(path)
    sys.path[:0] = _searched(path)
    top, _, rest = name.partition(".") if root != path.parent else (name, "", "")
    if not rest:
        return _run(path, alias or _free(top, path))
    alias = alias or _free(top, root / top / _INIT)
    before = set(sys.modules)
    try:
        _make_package(root / top, alias)
        return importlib.import_module(f"{alias}.{rest}")
    except BaseException:
        for new in set(sys.modules) - before:
            if _is_of(alias, new):
                del sys.modules[new]
        raise


def _searched(path: Path) -> list[str]:
    """Where the modules are that a file can import: the folder of its package comes first, then its own."""
    return [str(folder) for folder in dict.fromkeys((package_of(path)[0], path.parent))]


def _free(name: str, path: Path) -> str:
    """A name for a module that hides no other one: neither one of Python's own nor one that is loaded."""
    while name in sys.stdlib_module_names or not _may_replace(name, path):
        name += "_"
    return name


def _may_replace(name: str, path: Path) -> bool:
    loaded = sys.modules.get(name)
    if loaded is None:
        return True
    if path.exists():
        return getattr(loaded, "__file__", None) == str(path)
    return str(path.parent) in getattr(
        loaded, "__path__", ()
    )  # a folder that is no package is one from before


def _make_package(folder: Path, name: str) -> None:
    if (folder / _INIT).is_file():
        _run(folder / _INIT, name)
        return
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def _run(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AppNotFound(f"{path.name} isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # an app finds its templates by the module that defines it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def executed(path: Path, name: str) -> Iterator[ModuleType]:
    """Run a file as a module that can import its neighbours, and forget it and them at the end of the block."""
    folders = _searched(path)
    before = set(sys.modules)
    try:
        yield execute(path, name)
    finally:
        for new in set(sys.modules) - before:
            if _is_of(name, new) or _found_in(folders, sys.modules[new]):
                del sys.modules[new]
        for folder in folders:
            with suppress(ValueError):
                sys.path.remove(folder)


def _is_of(package: str, name: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _found_in(folders: list[str], module: ModuleType) -> bool:
    """Whether a module was found in these folders of ``sys.path``, and not in an environment that lies below them."""
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_relative_to(folders[0]):
        return False
    below = [other for other in sys.path if other not in folders and len(other) > len(folders[0])]
    return not any(Path(file).is_relative_to(other) for other in below)


def find_app(module: ModuleType, name: str = "") -> Any:
    """The app in a module: the one with that name, else ``app``, else the only `App` there is.

    A function that can be called without arguments, as ``create_app`` often can, is called, and the app is what it
    returns.

    Raises:
        AppNotFound: If there is none, there are several, or it isn't an app.
        Exception: What that function raises.
    """
    file = Path(getattr(module, "__file__", None) or module.__name__)
    where = f"{file.parent.name}/{file.name}" if file.name == _INIT else file.name
    found = _named(module, name, where) if name else getattr(module, "app", None)
    if found is None:
        found = _only(module, where)
    name = name or "app"
    if isinstance(found, type):
        raise AppNotFound(f"{name} in {where} is a class: make an app of it, {name} = {found.__name__}()")
    if not callable(found):
        raise AppNotFound(f"{name} in {where} is {found!r}, not an app")
    return found if isinstance(found, App) else _made(found, name, where)


def _made(found: Callable[..., Any], name: str, where: str) -> Any:
    """The app, or what a function that makes one returns."""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return found  # nothing is known of it
    star = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values())
    if star or not _takes(signature, 0):
        if _takes(signature, 3):
            return found
        raise AppNotFound(
            f"{name}{signature} in {where} is neither an app nor a function that makes one without arguments"
        )
    app = found()
    if inspect.iscoroutine(app):
        app.close()
        raise AppNotFound(f"{name} in {where} is async: make the app in a function that is not")
    if isinstance(app, type) or not callable(app):
        raise AppNotFound(f"{name}() in {where} returned {app!r}, not an app")
    return app


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _named(module: ModuleType, name: str, where: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        apps = ", ".join(_apps(module)) or "none"
        raise AppNotFound(f"{where} has no {name}; apps in it: {apps}")
    return found


def _only(module: ModuleType, where: str) -> App:
    apps = _apps(module)
    distinct = {id(app): app for app in apps.values()}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if distinct:
        names = list(apps)
        raise AppNotFound(f"{where} has several apps, {', '.join(names)}: name one, as in {where}:{names[0]}")
    classes = [
        value.__name__
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, App) and value.__module__ == module.__name__
    ]
    factory = next((name for name in _FACTORIES if callable(getattr(module, name, None))), None)
    if factory is not None:
        raise AppNotFound(f"{where} has no app: name the function that makes it, as in {where}:{factory}")
    hint = f"app = {classes[-1]}()" if classes else "class Site(App): ... and app = Site()"
    if where.endswith(f"/{_INIT}"):
        hint = "from .web import app, for the app of its module web"
    raise AppNotFound(f"{where} has no app: it needs a line such as {hint}")


def _apps(module: ModuleType) -> dict[str, App]:
    return {name: value for name, value in vars(module).items() if isinstance(value, App)}
