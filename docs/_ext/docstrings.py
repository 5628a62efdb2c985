"""How docstrings become the reference: their sections, the names and types that are shown, and what is left out."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Unpack, get_origin

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import isgenericalias, safe_getattr

import micropie
from micropie.request.request import lazy
from micropie.settings import CHECKS
from micropie.types import ASGIApp

# Sections of a docstring and the fields that they become.
SECTIONS = {"Args:": "param", "Attributes:": "attribute", "Raises:": "raises", "Returns:": "returns"}

# What MicroPie makes and a handler only gets: how to construct it is nobody's business.
GIVEN = {
    "micropie.Request",
    "micropie.Upload",
    "micropie.WebSocket",
    "micropie.WebSocketRequest",
    "micropie.testing.TestWebSocket",
    "micropie.testing.browser.AsyncRecordedWebSocket",
    "micropie.testing.browser.AsyncWebSocketRecorder",
    "micropie.testing.browser.Frame",
    "micropie.testing.browser.RecordedWebSocket",
    "micropie.testing.browser.WebSocketRecorder",
    "micropie.testing.server.LiveServerFactory",
}

# What only tests need is documented where it is imported from.
TESTING = {"micropie.pytest_plugin", "micropie.testing.browser", "micropie.testing.server"}


def typehints_fixup_module_name(name: str) -> str:
    """Public names are documented under the package, wherever they are defined."""
    if name.startswith(("micropie.testing", "micropie.pytest_plugin")):
        return name if name in TESTING else "micropie.testing"
    if name.startswith("httpx."):
        return "httpx"
    if name.startswith("concurrent.futures."):
        return "concurrent.futures"
    return "micropie" if name.startswith("micropie.") else name


def typehints_formatter(annotation: Any, _config: Any) -> str | None:
    """Say in words what long types mean; all others are shown as they are."""
    if str(getattr(annotation, "__module__", "")).startswith("playwright"):
        return "a page of Playwright"
    if get_origin(annotation) is Unpack:
        return "keyword arguments"
    if get_origin(annotation) is Callable and annotation.__parameters__:  # from any function to the same
        return "a decorator"
    return "an ASGI application" if annotation == ASGIApp else None


def class_attribute(owner: type, name: str, *default: Any) -> Any:
    """Show a lazy attribute as the property that it is for a reader, and a setting that is a function as a setting."""
    value = safe_getattr(owner, name, *default)
    if name in CHECKS and callable(value):
        return SettingValue(value)
    return property(value._compute) if isinstance(value, lazy) else value


class SettingValue:
    """The default of a setting, shown by its name."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return str(self._value.__name__)


def module_attribute(module: ModuleType, name: str, *default: Any) -> Any:
    """Keep the inside of a type alias out of the page; its comment says what it means."""
    value = safe_getattr(module, name, *default)
    return object() if isgenericalias(value) else value


def hide_constructor(_app: Sphinx, what: str, name: str, *_details: Any) -> tuple[str, str] | None:
    """Leave out the arguments of a class that only MicroPie itself calls."""
    return ("", "") if (what == "class" and name in GIVEN) or is_fixture(name) else None


def is_fixture(name: str) -> bool:
    """Whether it is one of pytest's, which is asked for by its name alone."""
    return name.startswith("micropie.pytest_plugin.")


def arrange_fields(_app: Sphinx, what: str, name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Leave out the types of those too, and put parameters before results before errors, whoever wrote them there."""
    if name in GIVEN:
        lines[:] = [line for line in lines if not line.startswith((":param ", ":type "))]
    if is_fixture(name):
        lines[:] = [line for line in lines if not line.startswith((":param ", ":type ", ":rtype:"))]
    start = next((number for number, line in enumerate(lines) if line.startswith(":")), None)
    if what not in ("function", "method") or start is None:
        return
    fields: list[list[str]] = []
    for line in lines[start:]:
        if line.startswith(":"):
            fields.append([])
        fields[-1].append(line)
    fields.sort(
        key=lambda field: 2 if field[0].startswith(":raises") else field[0].startswith((":return", ":rtype"))
    )
    lines[start:] = [line for field in fields for line in field]


def read_docstring(_app: Sphinx, what: str, name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """Find a constant's comment, wherever it is defined, and read the sections of a docstring."""
    if what == "data":
        lines[:] = comment_on(name.rpartition(".")[2])
    lines[:] = read_sections(lines, obj)


def read_sections(lines: list[str], obj: Any) -> list[str]:
    """Turn the sections of a docstring into fields.

    Types come from annotations. Napoleon would look for them in the text, and takes the start of a sentence with a
    colon in it for one.
    """
    found: list[str] = []
    section = None
    for line in lines:
        name, _, text = line.strip().partition(": ")
        if line in SECTIONS:
            section = SECTIONS[line]
            found.append("")
        elif section is None or not line.startswith("    "):
            section = section if not line else None
            found.append(line)
        elif section == "returns":
            found.append(f":returns: {line.strip()}" if not found[-1] else line)
        elif line.startswith("     "):
            found.append(line[4:])
        elif section == "attribute":
            # A property has a place and a docstring of its own.
            shown = not isinstance(getattr(obj, name, None), property)
            found += ["", f".. attribute:: {name}", "", f"    {text}"] if shown else ["", "..", ""]
        else:
            found.append(f":{section} {name.replace('*', chr(92) + '*')}: {text}")
    return found


def comment_on(constant: str) -> list[str]:
    """The ``#:`` comment on a name of the package, in whichever module it stands."""
    return everything().find_attr_docs().get(("", constant), [])


@cache
def everything() -> ModuleAnalyzer:
    """What autodoc reads of ``micropie``, from where public names say that they are: all of its modules."""
    whole = ModuleAnalyzer.for_module("micropie")
    whole.analyze()
    for module in pkgutil.walk_packages(micropie.__path__, "micropie."):
        if not module.name.startswith(
            ("micropie.cli", "micropie.testing", "micropie.pytest_plugin", "micropie.__main__")
        ):
            part = ModuleAnalyzer.for_module(module.name)
            part.analyze()
            whole.attr_docs.update(part.attr_docs)
            whole.overloads.update(part.overloads)
            whole.finals += part.finals
            last = max(whole.tagorder.values(), default=0)
            whole.tagorder.update({name: last + place for name, place in part.tagorder.items()})
            names = vars(import_module(module.name))
            for (owner, name), annotation in part.annotations.items():
                with suppress(NameError):  # of what is imported for type checkers alone
                    if owner:
                        whole.annotations[owner, name] = eval(annotation, names)
    return whole


def is_own(app: Sphinx, what: str, name: str, *others: object) -> bool | None:
    """Whether a member of a request is MicroPie's own, as its name says, so that no page shows it."""
    return True if name.startswith("x_") else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what follows to autodoc; priorities stand around that of sphinx-autodoc-typehints, which is 500."""
    app.setup_extension("sphinx.ext.autodoc")
    everything()
    app.add_autodoc_attrgetter(type, class_attribute)
    app.add_autodoc_attrgetter(ModuleType, module_attribute)
    app.connect("autodoc-skip-member", is_own)
    app.connect("autodoc-process-signature", hide_constructor, priority=400)
    app.connect("autodoc-process-docstring", read_docstring, priority=400)
    app.connect("autodoc-process-docstring", arrange_fields, priority=600)
    return {"parallel_read_safe": True}
