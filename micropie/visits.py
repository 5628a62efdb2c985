"""A visitor's session and its cookie: loaded before the hooks, saved before the answer."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from .headers import cookie_values, format_cookie
from .origins import is_encrypted, is_local
from .requests import Request, WebSocketRequest

#: How many cookies with the session's name are looked up: one for each app along the path, and no more.
_TRIES = 5


async def load_session(request: Request) -> None:
    """Load the session if the client sent its cookie; an outer app's session is shared."""
    scope, session = request.scope, request._session
    if not request._owns_session:
        return
    session.format_cookie = partial(_cookie, request)
    if "session" in scope:
        session.share(scope["session"])
        return
    name = request._app._session_cookie.name
    if not any(key == b"cookie" and name.encode() in value for key, value in scope["headers"]):
        return
    # A mounted app may have a cookie of the same name for its own path, which comes first then.
    for value in cookie_values(request.headers["cookie"], name)[:_TRIES]:
        session_id = request._app._checked_session_id(value)
        if session_id is not None and session.id is None:
            await session.load(session_id)


async def save_before_answer(request: Request) -> list[tuple[str, str]]:
    """Save the session, and return the cookies that the answer has to carry; no later one can."""
    # An outer app saves the session of both when it passes the answer on.
    cookie = await _save(request) if request._owns_session else None
    request._session.sealed = request._owns_session
    cookies = request._new_cookies if cookie is None else [*request._new_cookies, cookie]
    return [("set-cookie", cookie) for cookie in cookies]


async def save_before_accept(request: WebSocketRequest, chosen_id: str | None) -> list[tuple[str, str]]:
    """The same for a handshake that is accepted; afterwards the client can be told no id any more.

    Args:
        request: The handshake.
        chosen_id: An id that the app chose for the session; its cookie is always sent.

    Raises:
        ValueError: If the chosen id is not a valid one.
    """
    session = request._session
    try:
        if chosen_id is None:
            cookie = await _save(request)  # for an outer app too, which sees no handshake pass
            cookies = request._new_cookies if cookie is None else [*request._new_cookies, cookie]
            return [("set-cookie", cookie) for cookie in cookies]
        session_id = request._app._checked_session_id(chosen_id)
        if session_id is None:
            raise ValueError("session_id is not one that session_id_validator lets pass")
        await session.adopt(session_id)
        await session.save(None)
        cookies = [*request._new_cookies, session.format_cookie(session_id)]
        return [("set-cookie", cookie) for cookie in cookies]
    finally:
        session.sealed = True


async def _save(request: Request) -> str | None:
    session, app = request._session, request._app
    if session.shared or (session.id is None and not session.data):
        return None
    new_id = app._new_session_id() if session.id is None or session.regenerate else None
    told = await session.save(new_id)
    return None if told is None else session.format_cookie(told)


def _cookie(request: Request, session_id: str) -> str:
    """The session's ``Set-Cookie`` value; for an empty id, one that makes the browser forget it."""
    app, settings = request._app, request._app._session_cookie
    return format_cookie(
        settings.name,
        session_id,
        max_age=app.session_timeout if session_id else 0,
        path=settings.path or quote(request.scope.get("root_path") or "/"),
        domain=settings.domain,
        secure=_is_secure(request) or settings.samesite == "none",
        samesite=settings.samesite,
    )


def _is_secure(request: Request) -> bool:
    scope, app = request.scope, request._app
    local = is_local(scope)
    if not local and not is_encrypted(scope) and request.headers.get("x-forwarded-proto") != "https":
        app._warn_of_plain_http(request.headers.get("host", ""))
    return not local if app.session_cookie_secure is None else app.session_cookie_secure
