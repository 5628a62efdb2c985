"""Which file was imported in the place of a module of Python's own, when something fails because of it."""

from __future__ import annotations

import os
import sys


def name_the_cure(error: BaseException) -> None:
    """Add a note to an error, if a file of the user's was imported in the place of a module of Python's own."""
    cure = _cure(error)
    if cure:
        error.add_note(cure)


def raise_the_cure(error: BaseException) -> None:
    """Raise it in the place of an error: ``python -m`` shows neither notes nor a traceback.

    Raises:
        ImportError: If a file of the user's was imported in the place of a module of Python's own.
    """
    cure = _cure(error)
    if cure:
        raise ImportError(cure) from error


def _cure(error: BaseException) -> str:
    own = os.path.dirname(os.__file__)  # noqa: PTH120  # pathlib may be what is hidden
    seen: list[tuple[str | None, str | None]] = [
        (name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())
    ]
    step = error.__traceback__
    while step is not None:
        names = step.tb_frame.f_globals
        seen.append((names.get("__name__"), names.get("__file__")))
        step = step.tb_next
    for name, file in seen:
        if name in sys.stdlib_module_names and file and "-packages" not in file and not file.startswith(own):
            return f"{file} takes the place of Python's own module {name}: give it another name"
    return ""
