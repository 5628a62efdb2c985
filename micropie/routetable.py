"""What an app answers to, as a table to read."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from inspect import Parameter
from typing import Any

from .app import App
from .arguments import _is_session_only, signature_of
from .routing import Handler

_STARS: dict[Any, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}
_HEAD = ("METHOD", "PATH", "ARGUMENTS", "")


def route_table(app: App) -> str:
    """The routes of an app and of those that are mounted on it, one line for each."""
    rows = [_HEAD, *_rows(app, "")]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _rows(app: App, prefix: str) -> Iterator[tuple[str, ...]]:
    for routes, websocket in ((app._http_routes, False), (app._websocket_routes, True)):
        for name, handler in sorted(routes._by_name.items(), key=lambda item: (item[0] != "index", item[0])):
            path = f"{prefix}/{'' if name == 'index' else name}"
            yield _method(handler, websocket), path, _arguments(handler, websocket), _about(handler)
    for mount in sorted(app._mounts, key=lambda mount: mount.prefix):
        if isinstance(mount.app, App):
            yield from _rows(mount.app, prefix + mount.prefix)
        else:
            yield "any", f"{prefix}{mount.prefix}/...", "", f"(mounted: {type(mount.app).__name__})"


def _method(handler: Handler, websocket: bool) -> str:
    if websocket:
        return "WebSocket"
    return "any" if handler.allowed is None else ", ".join(sorted(handler.allowed))


def _about(handler: Handler) -> str:
    if handler.problem is not None:
        return f"(refuses: {handler.problem})"
    return (inspect.getdoc(handler.call) or "").partition("\n")[0]


def _arguments(handler: Handler, websocket: bool) -> str:
    """The parameters as they stand in the code, without the WebSocket; none of one that is never called."""
    if handler.problem is not None:
        return ""
    shown: list[str] = []
    star = False
    for parameter in list(signature_of(handler.call).parameters.values())[int(websocket) :]:
        if parameter.kind is Parameter.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.KEYWORD_ONLY)
        shown.append(_argument(parameter))
    return ", ".join(shown)


def _argument(parameter: Parameter) -> str:
    stars = _STARS.get(parameter.kind, "")
    typed = parameter.annotation is not Parameter.empty
    text = f"{stars}{parameter.name}" + (f": {_annotation(parameter.annotation)}" if typed else "")
    if parameter.default is Parameter.empty:
        return text
    return f"{text} = {parameter.default!r}" if typed else f"{text}={parameter.default!r}"


def _annotation(annotation: Any) -> str:
    """An annotation as it was written, as far as it still can be told."""
    if isinstance(annotation, str):
        return annotation
    if typing.get_origin(annotation) is typing.Annotated and _is_session_only(annotation):
        return f"FromSession[{_annotation(typing.get_args(annotation)[0])}]"
    return inspect.formatannotation(annotation)
