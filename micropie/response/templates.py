"""Jinja2 templates; the one module that needs the extra ``templates``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def make_environment(app_class: type) -> Environment:
    """An environment that escapes HTML and renders asynchronously.

    Templates are looked for in ``templates`` beside the module that defines the app's class, then in
    ``templates`` in the working directory.

    Raises:
        RuntimeError: If Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, select_autoescape
    except ImportError:
        raise RuntimeError("templates need Jinja2: install micropie with the extra 'templates'") from None
    # A module that was typed into a shell or a notebook has no file.
    file = getattr(sys.modules.get(app_class.__module__), "__file__", None)
    beside = [Path(file).parent] if file else []
    return Environment(
        loader=FileSystemLoader([folder / "templates" for folder in [*beside, Path()]]),
        autoescape=select_autoescape(["html", "htm", "xml"], default=True),
        enable_async=True,
    )
