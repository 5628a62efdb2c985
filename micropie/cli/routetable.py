"""What an app answers to, as a table to read."""

from __future__ import annotations

import ast
import functools
import inspect
import typing
from collections.abc import Iterator
from inspect import Parameter
from pathlib import Path
from typing import Any

from micropie.app import App
from micropie.routing.arguments import is_session_only, signature_of
from micropie.routing.routes import USUAL, Handler

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
    core = app._micropie
    for routes, websocket in ((core.http_routes, False), (core.websocket_routes, True)):
        for name, handler in sorted(routes.by_name.items(), key=lambda item: (item[0] != "index", item[0])):
            path = f"{prefix}/{'' if name == 'index' else name}"
            yield _method(handler, websocket), path, _arguments(handler, websocket), _about(handler)
    for mount in sorted(core.mounts, key=lambda mount: mount.prefix):
        if isinstance(mount.app, App):
            yield from _rows(mount.app, prefix + mount.prefix)
        else:
            yield "any", f"{prefix}{mount.prefix}/...", "", f"(mounted: {type(mount.app).__name__})"


def _method(handler: Handler, websocket: bool) -> str:
    if websocket:
        return "WebSocket"
    return "any" if handler.allowed is USUAL else ", ".join(sorted(handler.allowed))


def _about(handler: Handler) -> str:
    if handler.problem is not None:
        return f"(refuses: {handler.problem})"
    return (inspect.getdoc(handler.call) or "").partition("\n")[0]


def _arguments(handler: Handler, websocket: bool) -> str:
    """The parameters as they stand in the code, without the WebSocket; none of one that is never called."""
    if handler.problem is not None:
        return ""
    annotations, defaults = _written(handler.call)
    shown: list[str] = []
    star = False
    for parameter in list(signature_of(handler.call).parameters.values())[int(websocket) :]:
        name, typed = parameter.name, parameter.annotation is not Parameter.empty
        if parameter.kind is Parameter.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.KEYWORD_ONLY)
        text = _STARS.get(parameter.kind, "") + name
        if typed:
            text += f": {_annotation(parameter.annotation, annotations.get(name))}"
        if parameter.default is not Parameter.empty:
            text += (" = " if typed else "=") + defaults.get(name, repr(parameter.default))
        shown.append(text)
    return ", ".join(shown)


def _annotation(annotation: Any, written: str | None) -> str:
    """An annotation as it was written, or where its source is not at hand, what it says of itself."""
    if isinstance(annotation, str):
        return annotation
    if written is not None:
        return written
    if typing.get_origin(annotation) is typing.Annotated and is_session_only(annotation):
        return f"FromSession[{_annotation(typing.get_args(annotation)[0], None)}]"
    return inspect.formatannotation(annotation)


def _written(call: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The annotations and the defaults in the source of a function, by parameter; empty where it is not at hand."""
    layer = inspect.unwrap(call, stop=lambda layer: hasattr(layer, "__signature__"))
    code = getattr(layer, "__code__", None)
    if code is None or hasattr(layer, "__signature__"):
        return {}, {}
    found = _functions(code.co_filename).get((code.co_name, code.co_firstlineno))
    if found is None:
        return {}, {}
    positional = [*found.posonlyargs, *found.args]
    every = [*positional, *found.kwonlyargs, *filter(None, (found.vararg, found.kwarg))]
    pairs = [
        *zip(reversed(positional), reversed(found.defaults), strict=False),
        *zip(found.kwonlyargs, found.kw_defaults, strict=True),
    ]
    return (
        {one.arg: ast.unparse(one.annotation) for one in every if one.annotation is not None},
        {one.arg: ast.unparse(default) for one, default in pairs if default is not None},
    )


@functools.cache
def _functions(file: str) -> dict[tuple[str, int], ast.arguments]:
    """The parameters of each function in a file, by its name and the line on which it or its first decorator stands."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {
        (node.name, min(part.lineno for part in (node, *node.decorator_list))): node.args
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
