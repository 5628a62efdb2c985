"""A visitor's session during one connection: ready before the hooks, saved before the answer, with its cookie."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from micropie.headers import encode_headers, find_header
from micropie.request.cookies import format_cookie, only_secure, only_whole_host
from micropie.request.origins import is_encrypted, is_local
from micropie.request.request import Request, WebSocketRequest
from micropie.routing.mounts import mount_of
from micropie.types import RawHeaders, Scope

from .backends import load_waits
from .view import OuterSession, SessionView

if TYPE_CHECKING:
    from micropie.app import App


async def prepare_session(request: Request, *, cookie: bool) -> None:
    """Bring the session to where looking at it takes no wait.

    An outer app's session is shared.  A store that may wait is asked now, any other one when somebody looks.

    Args:
        request: The request or handshake.
        cookie: Whether the client has sent any cookie.
    """
    app, around = request._app, request.scope.get("session")
    mount = mount_of(app._micropie.mounts, request.scope)
    if mount is not None and not mount.session:
        request._session.refuse()
    elif isinstance(around, OuterSession):
        request._view = around.view
    elif around is not None:
        request._session.share(around)
    elif cookie:
        view = request._session
        if load_waits(app.session_backend):
            await view.load()
        else:
            view.loop = asyncio.get_running_loop()


async def save_before_answer(request: Request, fields: RawHeaders) -> RawHeaders:
    """Save the session; no later answer could tell the client of it.

    Args:
        request: The request.
        fields: The header fields of the answer, names in lower case.

    Returns:
        The fields with the cookies, and with what caches have to know.
    """
    told, view = None, request._view
    if (
        view is None or view.scope is request.scope
    ):  # else the outer app saves it when it passes the answer on
        if view is not None:
            told = await view.save(begins=True)
            if view.unstorable:
                request._warn_of_lost_session()
        request._seal()
    cookies = _set_cookies(request, view, told)
    if told is not None:
        fields = _private(fields)
    return vary(request, fields) + encode_headers(cookies)


def vary(request: Request, fields: RawHeaders) -> RawHeaders:
    """The fields of an answer, of which caches have to know that it depends on the session if it does."""
    if request._view is None or not request._view.looked:
        return fields
    return _listed(fields, b"vary", b"Cookie", unless=(b"cookie", b"*"))


def _private(fields: RawHeaders) -> RawHeaders:
    """The fields of an answer with a session's cookie, which no shared cache may give to somebody else."""
    kept = [
        (name, b", ".join(rule for rule in _rules(value) if not _is_public(rule)))
        if name == b"cache-control"
        else (name, value)
        for name, value in fields
        if not _is_for_caches(name)
    ]
    kept = [(name, value) for name, value in kept if value or name != b"cache-control"]
    return _listed(kept, b"cache-control", b"private", unless=(b"private", b"no-store"))


def _is_for_caches(name: bytes) -> bool:
    """Whether it is for some shared caches, which obey it alone (RFC 9213), such as ``CDN-Cache-Control``."""
    return name.endswith(b"-cache-control") or name == b"surrogate-control"


def _is_public(rule: bytes) -> bool:
    return rule.lower() == b"public" or rule.lower().startswith(b"s-maxage")


def _rules(value: bytes) -> list[bytes]:
    return [rule.strip() for rule in value.split(b",")]


def _listed(fields: RawHeaders, name: bytes, item: bytes, *, unless: tuple[bytes, ...]) -> RawHeaders:
    """The fields with an item in one that is a list, unless that says so already."""
    values = [value for key, value in fields if key == name]
    if any(found.lower() in unless for value in values for found in _rules(value)):
        return fields
    if not values:
        return [*fields, (name, item)]
    last = max(at for at, (key, _) in enumerate(fields) if key == name)
    return [*fields[:last], (name, fields[last][1] + b", " + item), *fields[last + 1 :]]


async def save_before_accept(request: WebSocketRequest, chosen_id: str | None) -> list[tuple[str, str]]:
    """The same for a handshake that is accepted; afterwards the client can be told no id any more.

    Args:
        request: The handshake.
        chosen_id: An id that the app chose for the session; its cookie is always sent.

    Raises:
        ValueError: If the chosen id is not a valid one.
    """
    try:
        if chosen_id is None:  # for an outer app too, which sees no handshake pass
            view = request._view
            return _set_cookies(request, view, None if view is None else await view.save(begins=True))
        session_id = request._app._micropie.checked_session_id(chosen_id)
        if session_id is None:
            raise ValueError("session_id is not one that session_id_validator lets pass")
        session = request._session
        await session.adopt(session_id)
        await session.save()
        return _set_cookies(request, session, session_id)
    finally:
        request._seal()


def _set_cookies(request: Request, view: SessionView | None, told: str | None) -> list[tuple[str, str]]:
    cookies = request._new_cookies
    if view is not None and told is not None:
        cookies = [*request._new_cookies, _cookie(view, told)]
    return [("set-cookie", cookie) for cookie in cookies]


def _cookie(session: SessionView, session_id: str) -> str:
    """The session's ``Set-Cookie`` value; for an empty id, one that makes the browser forget it."""
    app, settings = session.app, session.app._micropie.session_cookie
    root = "/" if only_whole_host(settings.name) else quote(session.scope.get("root_path") or "/")
    return format_cookie(
        settings.name,
        session_id,
        max_age=app.session_timeout if session_id else 0,
        path=settings.path or root,
        domain=settings.domain,
        secure=_is_secure(app, session.scope)
        or only_secure(settings.name, settings.samesite, partitioned=settings.partitioned),
        samesite=settings.samesite,
        partitioned=settings.partitioned,
    )


def _is_secure(app: App, scope: Scope) -> bool:
    local = is_local(scope)
    if not local and not is_encrypted(scope) and find_header(scope, b"x-forwarded-proto") != b"https":
        app._micropie.warn_of_plain_http((find_header(scope, b"host") or b"").decode("latin-1"))
    return not local if app.session_cookie_secure is None else app.session_cookie_secure
