"""From what a user names, such as ``app.py`` or ``shop.web:site``, to the app; for the command line and for tests."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .app import App


class AppNotFound(LookupError):
    """There is no such app; the text says why, to the one who named it."""


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

    def file(self, *folders: Path) -> Path:
        """The file, looked for in these folders unless its path is absolute.

        Raises:
            AppNotFound: If there is none.
        """
        found = next((path for folder in folders if (path := folder / self.place).is_file()), None)
        if found is None:
            if any((folder / self.place).is_dir() for folder in folders):
                raise AppNotFound(f"{Path(self.place)} is a folder: name a file in it, such as app.py")
            places = " or ".join(dict.fromkeys(str((folder / self.place).parent) for folder in folders))
            raise AppNotFound(f"there is no file {Path(self.place).name} in {places}")
        return found.resolve()


def load(text: str) -> Any:
    """The app that a user names on the command line, as a server would import it from the working directory.

    Raises:
        AppNotFound: If there is no such file, module or app.
        Exception: What the file raises.
    """
    target = Target.parse(text)
    if target.is_file:
        path = target.file(Path.cwd())
        sys.path.insert(0, str(path.parent))
        return find_app(execute(path, path.stem), target.name)
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(target.place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{target.place}.".startswith(f"{error.name}."):
            raise
        raise AppNotFound(
            f"there is no module {error.name!r} here; a file is written {error.name}.py"
        ) from None
    return find_app(module, target.name)


def execute(path: Path, name: str) -> ModuleType:
    """Run a file as a module with that name.

    Raises:
        Exception: What the file raises.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AppNotFound(f"{path.name} is no Python file")
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
    folder = str(path.parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        yield execute(path, name)
    finally:
        for new in set(sys.modules) - before:
            if _found_in(folder, sys.modules[new]):
                del sys.modules[new]
        with suppress(ValueError):
            sys.path.remove(folder)


def _found_in(folder: str, module: ModuleType) -> bool:
    """Whether a module was found in this folder of ``sys.path``, and not in an environment that lies below it."""
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_relative_to(folder):
        return False
    return not any(len(other) > len(folder) and Path(file).is_relative_to(other) for other in sys.path)


def find_app(module: ModuleType, name: str = "") -> Any:
    """The app in a module: the one with that name, else ``app``, else the only `App` there is.

    Raises:
        AppNotFound: If there is none, there are several, or it is none.
    """
    where = Path(module.__file__).name if module.__file__ else module.__name__
    found = _named(module, name, where) if name else getattr(module, "app", None)
    if found is None:
        found = _only(module, where)
    if isinstance(found, type):
        name = name or "app"
        raise AppNotFound(f"{name} in {where} is a class: make an app of it, {name} = {found.__name__}()")
    if not callable(found):
        raise AppNotFound(f"{name or 'app'} in {where} is no app, but {found!r}")
    return found


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
    hint = f"app = {classes[-1]}()" if classes else "class Site(App): ... and app = Site()"
    raise AppNotFound(f"{where} has no app: it needs a line such as {hint}")


def _apps(module: ModuleType) -> dict[str, App]:
    return {name: value for name, value in vars(module).items() if isinstance(value, App)}
