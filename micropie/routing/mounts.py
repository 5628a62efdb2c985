"""Other ASGI apps below a prefix: which one a path belongs to, and the scope that it gets."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import quote

from micropie.request.request import OUTER_KEY, Request
from micropie.sessions.view import OuterSession
from micropie.types import ASGIApp, Scope

from .routes import is_below


class Mount(NamedTuple):
    """An app and the prefix below which it answers; no slash at the end.

    Attributes:
        prefix: The prefix.
        app: The app.
        state: What the app's lifespan has put into its state, for its requests alone; one dict for each app.
    """

    prefix: str
    app: ASGIApp
    state: dict[str, Any]
    #: Whether it shares the session of the app in which it is mounted.
    session: bool = True


#: What a decoded path never has, or no browser sends: the end of the path, an escape, an empty segment, dots.
_UNREACHABLE = re.compile(r"[?#\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}|/\.{0,2}(?:/|$)").search


def parse_prefix(prefix: str) -> str:
    """The prefix of a mount, without a slash at the end.

    Raises:
        ValueError: If it does not begin with a slash, or no path is ever below it.
    """
    if not isinstance(prefix, str) or not prefix.startswith("/") or _UNREACHABLE(prefix.rstrip("/") or "/"):
        raise ValueError(f"a prefix looks like '/admin', not {prefix!r}; it is not percent-encoded")
    return prefix.rstrip("/")


def one_spelling(scope: Scope) -> Scope:
    """A scope with a root path, in the one form that hooks, mounts and routes see.

    The root path begins with a slash and ends with none, and the path begins with the root path, as ASGI says.
    uvicorn does so.  # SERVER(hypercorn, granian, daphne): they leave the path as it was sent, so one address has two
    spellings there, with the root path and without.
    """
    given, path, raw = scope["root_path"], scope["path"], scope.get("raw_path")
    root = "/" + given.strip("/") if given.strip("/") else ""
    if path.startswith("/") and not is_below(path, root):
        path, raw = root + path, quote(root).encode() + raw if raw else raw
    elif root == given:
        return scope
    return {**scope, "root_path": root, "path": path, "raw_path": raw}


def find_mount(mounts: list[Mount], request: Request) -> tuple[ASGIApp, Scope] | None:
    """The app to which a request is passed on, and its scope; None if this app answers itself.

    The child gets the full path, and a root path that ends with its prefix (ASGI specification,
    "HTTP connection scope").
    """
    chosen = request._subapp
    if chosen is not None:
        return chosen, _chosen_scope(request)
    mount = mount_of(mounts, request.scope)
    if mount is None:
        return None
    scope = {
        **request.scope,
        "root_path": (request.scope.get("root_path") or "") + mount.prefix,
        OUTER_KEY: request,
        "session": OuterSession(request.x_session()),
    }
    if not mount.session:
        del scope["session"]
    if mount.state:
        scope["state"] = {**(scope.get("state") or {}), **mount.state}
    return mount.app, scope


def mount_of(mounts: list[Mount], scope: Scope) -> Mount | None:
    """The mount to which a path belongs, the one with the longest prefix."""
    root = scope.get("root_path") or ""
    for mount in mounts:
        if is_below(scope["path"], root + mount.prefix):
            return mount
    return None


def _chosen_scope(request: Request) -> Scope:
    scope = request.scope
    root = (scope.get("root_path") or "") + "/" + request._subapp_mount_path.strip("/")
    root = root.rstrip("/")
    path = root + "/" + request._subapp_path.lstrip("/")
    inherited = {OUTER_KEY: request, "session": OuterSession(request.x_session())}
    return {**scope, "path": path, "raw_path": None, "root_path": root, **inherited}
