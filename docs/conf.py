"""Sphinx configuration. Build with ``tox -e docs``; it needs no network."""

from __future__ import annotations

import os
import pkgutil
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version as installed_version
from pathlib import Path
from types import ModuleType
from typing import Any, Unpack, get_origin
from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.deprecation import RemovedInSphinx10Warning
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.inspect import isgenericalias, safe_getattr

import micropie
from micropie.requests import lazy
from micropie.settings import CHECKS
from micropie.types import ASGIApp

# sphinx-autodoc-typehints 3.6 calls a method that Sphinx 10 will drop; pyproject.toml keeps Sphinx below 10.
warnings.filterwarnings("ignore", category=RemovedInSphinx10Warning)

project = "MicroPie"
author = "The MicroPie authors"
copyright = author
release = installed_version("micropie")
version = ".".join(release.split(".")[:2])

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # For our own extensions, which stand beside this file.
extensions = [
    "changelog",
    "discovery",
    "fromcode",
    "lifecycle",
    "notfound.extension",
    "performance",
    "comparison",
    "showcase",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_design",
]

# _install.rst is included by other pages: the one place that names the install commands.
exclude_patterns = ["_build", "_install.rst", "**/templates"]
default_role = "any"
nitpicky = True
highlight_language = "none"

# -- Reference ---------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
always_document_param_types = True
always_use_bars_union = True
typehints_document_rtype_none = False
typehints_use_rtype = False
autodoc_mock_imports = ["playwright"]  # Of which the reference only names the pages.
suppress_warnings = ["config.cache"]  # The functions below cannot be cached, and need not be.


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


# The inventories are committed, so that a build without a network has the same links.
intersphinx_mapping = {
    "httpx": ("https://www.python-httpx.org", "_inventories/httpx.inv"),
    "jinja": ("https://jinja.palletsprojects.com/en/stable", "_inventories/jinja.inv"),
    "python": ("https://docs.python.org/3", "_inventories/python.inv"),
}

# -- Look --------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "MicroPie"
html_favicon = "favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
templates_path = ["_templates"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_domain_indices = False

# Read the Docs says where the pages will be. Only then can they name their own address, as a sitemap must.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
notfound_urls_prefix = urlsplit(html_baseurl).path or "/"  # The page 404 is shown at any depth.
html_context = {
    "base_url": html_baseurl,
    "mark": (HERE / "favicon.svg").read_text(encoding="utf-8"),
}

pygments_style = "github-light-high-contrast"
pygments_dark_style = "github-dark-high-contrast"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#9b2743",
        "color-brand-content": "#9b2743",
        "color-brand-visited": "#7a3b6e",
        "color-foreground-primary": "#211a1c",
        "color-foreground-secondary": "#5b5053",
        "color-foreground-muted": "#6d6165",
        "color-background-secondary": "#faf7f5",
        "color-background-hover": "#f3ece9",
        "color-background-hover--transparent": "#f3ece900",
        "color-background-border": "#e8dfdc",
        "color-code-background": "#faf7f5",
        "color-api-background": "#faf7f5",
        "color-api-name": "#9b2743",
        "color-api-pre-name": "#6d6165",
        "color-highlight-on-target": "#fdf0d5",
        "color-highlighted-background": "#fbe3b5",
    },
    "dark_css_variables": {
        "color-brand-primary": "#f497ab",
        "color-brand-content": "#f497ab",
        "color-brand-visited": "#d8a4d0",
        "color-foreground-primary": "#dcd5d6",
        "color-foreground-secondary": "#aca3a5",
        "color-foreground-muted": "#968c8f",
        "color-background-primary": "#151214",
        "color-background-secondary": "#1c181a",
        "color-background-hover": "#262023",
        "color-background-hover--transparent": "#26202300",
        "color-background-border": "#3a3236",
        "color-code-background": "#1c181a",
        "color-api-background": "#1c181a",
        "color-api-name": "#f497ab",
        "color-api-pre-name": "#968c8f",
        "color-highlight-on-target": "#3a2c14",
        "color-highlighted-background": "#5a4213",
    },
}

# Copy what a reader types: the command without its prompt, and never its output.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# -- Docstrings --------------------------------------------------------------------------------

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


def setup(app: Sphinx) -> None:
    """Connect what follows to autodoc; priorities stand around that of sphinx-autodoc-typehints, which is 500."""
    app.add_autodoc_attrgetter(type, class_attribute)
    app.add_autodoc_attrgetter(ModuleType, module_attribute)
    app.connect("autodoc-process-signature", hide_constructor, priority=400)
    app.connect("autodoc-process-docstring", read_docstring, priority=400)
    app.connect("autodoc-process-docstring", arrange_fields, priority=600)


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
    for name in [
        "micropie",
        *(module.name for module in pkgutil.iter_modules(micropie.__path__, "micropie.")),
    ]:
        try:
            comments = ModuleAnalyzer.for_module(name).find_attr_docs()
        except PycodeError:  # no source, such as a compiled module
            continue
        if ("", constant) in comments:
            return comments["", constant]
    return []
