"""Other ASGI apps below a prefix: which one a path belongs to, and the scope that it gets."""

from __future__ import annotations

from typing import NamedTuple

from .requests import SESSION_KEY, Request
from .routing import is_below
from .types import ASGIApp, Scope


class Mount(NamedTuple):
    """An app and the prefix below which it answers; no slash at the end."""

    prefix: str
    app: ASGIApp


def parse_prefix(prefix: str) -> str:
    """The prefix of a mount, without a slash at the end.

    Raises:
        ValueError: If it does not begin with a slash, or names no segment.
    """
    if not isinstance(prefix, str) or not prefix.startswith("/") or not prefix.strip("/"):
        raise ValueError(f"a prefix looks like '/admin', not {prefix!r}")
    return prefix.rstrip("/")


def find_mount(mounts: list[Mount], request: Request) -> tuple[ASGIApp, Scope] | None:
    """The app to which a request is passed on, and its scope; None if this app answers itself.

    The child gets the full path, and a root path that ends with its prefix (ASGI specification,
    "HTTP connection scope").
    """
    if request._subapp is not None:
        return request._subapp, _chosen_scope(request)
    if not mounts:
        return None
    scope = request.scope
    root = (scope.get("root_path") or "").rstrip("/")
    path = scope["path"]
    if not is_below(path, root):  # a server that leaves the root path out
        path = root + path
    for mount in mounts:
        if is_below(path, root + mount.prefix):
            return mount.app, {**scope, "path": path, "root_path": root + mount.prefix}
    return None


def _chosen_scope(request: Request) -> Scope:
    scope = request.scope
    root = (scope.get("root_path") or "").rstrip("/") + "/" + request._subapp_mount_path.strip("/")
    root = root.rstrip("/")
    path = root + "/" + request._subapp_path.lstrip("/")
    inherited = {"session": request.session, SESSION_KEY: request._session}
    return {**scope, "path": path, "raw_path": None, "root_path": root, **inherited}
