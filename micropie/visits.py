"""A visitor's session and its cookie: loaded before the hooks, saved before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from .headers import cookie_header, cookie_values, find_header, format_cookie, only_secure, only_whole_host
from .origins import is_encrypted, is_local
from .requests import SESSION_KEY, Request, WebSocketRequest
from .sessions import SessionView
from .types import Scope

if TYPE_CHECKING:
    from .app import App

#: How many cookies with the session's name are looked up: one for each app along the path, and no more.
_TRIES = 5


async def load_session(request: Request) -> None:
    """Load the session if the client sent its cookie; an outer app's session is shared."""
    scope = request.scope
    if SESSION_KEY in scope:
        request._view, request._marked = scope[SESSION_KEY], True
    elif "session" in scope:
        request._session.share(scope["session"])
    else:
        await _load(request, request._app._micropie.session_cookie.name)


async def _load(request: Request, name: str) -> None:
    # A mounted app may have a cookie of the same name for its own path, which comes first then.
    for value in cookie_values(cookie_header(request.scope), name)[:_TRIES]:
        session_id = request._app._micropie.checked_session_id(value)
        if session_id is not None and request._session.id is None:
            await request._session.load(session_id)


async def save_before_answer(request: Request) -> list[tuple[str, str]]:
    """Save the session, and return the cookies that the answer has to carry; no later one can."""
    cookie, view = None, request._view
    if view is None or view.scope is request.scope:
        cookie = await _save(request)
        request._seal()
    # An outer app saves the session of both when it passes the answer on.
    return _set_cookies(request, cookie)


async def save_before_accept(request: WebSocketRequest, chosen_id: str | None) -> list[tuple[str, str]]:
    """The same for a handshake that is accepted; afterwards the client can be told no id any more.

    Args:
        request: The handshake.
        chosen_id: An id that the app chose for the session; its cookie is always sent.

    Raises:
        ValueError: If the chosen id is not a valid one.
    """
    try:
        if chosen_id is None:
            return _set_cookies(
                request, await _save(request)
            )  # for an outer app too, which sees no handshake pass
        session_id = request._app._micropie.checked_session_id(chosen_id)
        if session_id is None:
            raise ValueError("session_id is not one that session_id_validator lets pass")
        session = request._session
        await session.adopt(session_id)
        await session.save()
        return _set_cookies(request, _cookie(session, session_id))
    finally:
        request._seal()


def _set_cookies(request: Request, cookie: str | None) -> list[tuple[str, str]]:
    cookies = request._new_cookies if cookie is None else [*request._new_cookies, cookie]
    return [("set-cookie", cookie) for cookie in cookies]


async def _save(request: Request) -> str | None:
    session = request._view
    if session is None:
        return None
    told = await session.save(begins=True)
    return None if told is None else _cookie(session, told)


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
