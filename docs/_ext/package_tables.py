"""Tables that are made from the package itself, so that they cannot disagree with it.

``settings-table`` shows each setting of an app with its default and unit, ``exception-tree`` the exceptions with what
each means, and ``module-floors`` the rooms and modules, floor by floor, each with the first line of its docstring.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import micropie
from micropie import exceptions, settings

from .tables import list_table

PACKAGE = Path(micropie.__file__).parent

KIB, MIB = 1024, 1024**2


class FromCode(SphinxDirective):
    """A directive whose result is text that is made from the package."""

    def run(self) -> list[nodes.Node]:
        for file in PACKAGE.rglob("*.py"):
            self.env.note_dependency(str(file))
        return self.parse_text_to_nodes(self.text())

    def text(self) -> str:
        raise NotImplementedError


# Settings

# What a setting counts, where its name does not say it.
UNITS = {
    "body_timeout": "seconds",
    "max_body_size": "bytes",
    "max_json_size": "bytes",
    "max_form_field_size": "bytes",
    "max_form_parts": "fields and files",
    "max_message_size": "bytes",
    "send_timeout": "seconds",
    "close_timeout": "seconds",
    "session_timeout": "seconds",
    "session_store_timeout": "seconds",
    "sync_workers": "threads",
}

# What a check lets pass.
TAKES: dict[Callable[..., Any], str] = {
    settings._seconds: "{unit}, above 0; ``None`` for no limit",
    settings._bounded_seconds: "{unit}, above 0",
    settings._limit: "{unit}, a whole number above 0; ``None`` for no limit",
    settings._count: "{unit}, a whole number above 0",
    settings._flag: "``True`` or ``False``",
    settings._optional_flag: "``True``, ``False``, or ``None`` to decide by the connection",
    settings._cookie: "a name, or a dict of ``name``, ``path``, ``domain``, ``samesite`` and ``partitioned``",
    settings._function: "a function without arguments that returns ``str``",
    settings._optional_function: "a function of the id that returns it, or ``None``; ``None`` for no check",
    settings._origins: "a list of origins or patterns, such as ``https://*.example.com``",
    settings._hosts: "a list of host names, such as ``*.example.com``",
}


class SettingsTable(FromCode):
    """Every setting with its default and what it takes."""

    def text(self) -> str:
        head = ["Setting", "Default", "Takes"]
        return list_table("40 27 33", head, map(setting, settings.CHECKS))


def setting(name: str) -> list[str]:
    """The row of a setting."""
    takes = TAKES[settings.CHECKS[name]].format(unit=UNITS.get(name))
    return [f":attr:`~micropie.App.{name}`", shown(name, getattr(micropie.App, name)), takes]


def shown(name: str, value: Any) -> str:
    """A default as a person writes it."""
    if callable(value):
        return f"``{value.__name__}``"
    unit = UNITS.get(name)
    if unit == "bytes":
        return f"{value // MIB} MiB" if value % MIB == 0 else f"{value // KIB} KiB"
    if unit == "seconds" and value % 3600 == 0:
        return f"{value:,} ({value // 3600} hours)"
    if value == ():
        return "none"
    return f"{value:,g}" if unit else f"``{value!r}``"


# Exceptions


class ExceptionTree(FromCode):
    """The exceptions of the package below those of Python, each with the first sentence of its docstring."""

    def text(self) -> str:
        public = {getattr(exceptions, name) for name in exceptions.__all__}
        return "\n\n".join(tree(Exception, public))


def tree(root: type[BaseException], wanted: set[type[BaseException]], depth: int = 0) -> Iterator[str]:
    """An exception, and below it those of the wanted ones that are derived from it, as a list of lists."""
    if depth:
        sentence = (inspect.getdoc(root) or "").partition("\n")[0]
        yield f"{'  ' * depth}- :exc:`~micropie.{root.__name__}`: {sentence}"
    else:
        yield f"- :exc:`{root.__name__}`"
    for child in sorted(wanted, key=lambda one: one.__name__):
        if child.__base__ is root:
            yield from tree(child, wanted, depth + 1)


# Modules


class ModuleFloors(FromCode):
    """Each line of its content is a floor, the highest first: its name, a colon, and its rooms and modules."""

    has_content = True

    def text(self) -> str:
        parted = (line.partition(":") for line in self.content if line.strip())
        rows = (
            [name.strip(), "\n".join(purpose(file) for part in parts.split() for file in files_of(part))]
            for name, _, parts in parted
        )
        return list_table("24 76", ["Floor", "Its modules"], rows)


def files_of(part: str) -> list[Path]:
    """The modules of a room, the folder itself first; or the one module with that name."""
    folder = PACKAGE / part
    return sorted(folder.glob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


def purpose(file: Path) -> str:
    """A module and what it is for, as one line of a block of lines."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    module = file.relative_to(PACKAGE).as_posix().removesuffix(".py").removesuffix("__init__") or "__init__"
    first = re.sub(r"\s+", " ", docstring.partition("\n\n")[0]).rstrip(".:")
    return f"| ``{module}``: {first}"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("exception-tree", ExceptionTree)
    app.add_directive("module-floors", ModuleFloors)
    return {"parallel_read_safe": True}
