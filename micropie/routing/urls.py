"""The addresses of an app's own handlers, as :meth:`~micropie.App.url_for` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from enum import Enum
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from micropie.exceptions import HTTPError
from micropie.request.request import OUTER_KEY, Request, current_request

from .arguments import Parameter, Plan
from .mounts import Mount
from .routes import Handler, Routes


class Addresses(Protocol):
    """What an app keeps that says where its handlers are."""

    http_routes: Routes
    websocket_routes: Routes
    mounts: list[Mount]


class Addressed(Protocol):
    """What an app is here."""

    @property
    def _micropie(self) -> Addresses: ...


def url_for(
    app: Addressed, handler: str | Callable[..., Any], segments: tuple[Any, ...], values: Mapping[str, Any]
) -> str:
    """The path that leads to a handler, as :meth:`~micropie.App.url_for` says it."""
    if not isinstance(handler, str):
        app, handler = getattr(handler, "__self__", app), getattr(handler, "__name__", repr(handler))
    websocket = handler.startswith("ws_")
    core = app._micropie
    routes = core.websocket_routes if websocket else core.http_routes
    name = handler.removeprefix("ws_")
    route = routes.by_name.get(name)
    if route is None or route.problem is not None:
        raise LookupError(f"{type(app).__name__} has no route {handler!r}")
    parts, query = _placed(route, segments, dict(values))
    if name != "index" or (
        parts and (websocket or parts[0] in routes.by_name or parts[0].startswith(("_", "ws_")))
    ):
        parts.insert(0, name)
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return quote(_root_of(app)) + path + ("?" + urlencode(query, quote_via=quote) if query else "")


def _placed(
    route: Handler, segments: tuple[Any, ...], values: dict[str, Any]
) -> tuple[list[str], list[tuple[str, str]]]:
    """The values of a handler's parameters as path segments, and those that no segment can be as a query."""
    plan = route.plan
    fitting = [parameter for parameter in plan.positional if parameter.in_path]
    parts: list[str] = []
    for number, segment in enumerate(segments):
        parameter = fitting[number] if number < len(fitting) else plan.rest
        if parameter is None:
            raise TypeError(f"{route.name} takes {len(fitting)} path segments, not {len(segments)}")
        if parameter.name in values:
            raise TypeError(f"{route.name} got two values for {parameter.name!r}")
        parts.append(_segment(route, parameter, segment))
    for parameter in fitting[len(segments) :]:
        value = values.get(parameter.name)
        if value is None or not _can_be_segment(value):
            break  # what comes after it cannot be one either
        parts.append(_segment(route, parameter, values.pop(parameter.name)))
    query: list[tuple[str, str]] = []
    for name, value in values.items():
        parameter = _named(plan, name)
        if parameter is None:
            raise TypeError(f"{route.name} has no parameter {name!r}")
        if parameter.session_only:
            raise TypeError(f"the parameter {name!r} of {route.name} comes from the session, and from no URL")
        texts = [] if value is None else [_text(one) for one in (value if _is_many(value) else [value])]
        if texts:
            _check(route, parameter, parameter._converted, texts)
        query += [(name, text) for text in texts]
    return parts, query


def _named(plan: Plan, name: str) -> Parameter | None:
    for parameter in (*plan.positional, *plan.keyword):
        if parameter.name == name:
            return parameter
    return None if name in plan.names else plan.extra


def _segment(route: Handler, parameter: Parameter, value: Any) -> str:
    if not _can_be_segment(value):
        raise ValueError(f"{value!r} cannot be a path segment; give it by name: {parameter.name}=...")
    text = _text(value)
    _check(route, parameter, parameter.from_path, text)
    return text


def _check(route: Handler, parameter: Parameter, convert: Callable[[Any], Any], sent: Any) -> None:
    try:
        convert(sent)
    except HTTPError:
        raise ValueError(
            f"the parameter {parameter.name!r} of {route.name} must be {parameter.kind}"
        ) from None


def _can_be_segment(value: Any) -> bool:
    # A browser resolves the dots before it sends them, and an empty segment at the end is none.
    return not _is_many(value) and _text(value) not in ("", ".", "..")


def _is_many(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))


def _text(value: Any) -> str:
    """A value as the converters read it."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    if value is None or isinstance(value, (bytes, Mapping)):
        raise TypeError(f"a URL holds text, not {value!r}")
    return str(value)


def _root_of(app: Addressed) -> str:
    """The root path below which this request's client finds an app: this one, an outer one, or one mounted there."""
    request: Request | None = current_request.get(None)
    if request is None:
        raise LookupError("url_for() needs a request: it tells below which root path the app is served")
    while request is not None:
        prefix = _prefix_of(app, request.x_app)
        if prefix is not None:
            return (request.scope.get("root_path") or "") + prefix
        request = request.scope.get(OUTER_KEY)
    raise LookupError(
        f"{type(app).__name__} is neither the app of this request, nor around it, nor mounted there"
    )


def _prefix_of(app: Addressed, outer: Addressed) -> str | None:
    """The prefix below which an app is mounted in another one; empty for the same."""
    if app is outer:
        return ""
    for mount in outer._micropie.mounts:
        inner = getattr(mount.app, "_micropie", None)
        prefix = None if inner is None else _prefix_of(app, mount.app)  # type: ignore[arg-type]  # a mount of an App
        if prefix is not None:
            return mount.prefix + prefix
    return None
