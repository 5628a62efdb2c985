"""A visitor's session during one connection: ready before the hooks, saved before the answer, with its cookie."""

from __future__ import annotations

import logging
from asyncio import get_running_loop  # PERF: a name of its own
from typing import TYPE_CHECKING
from urllib.parse import quote

from micropie.headers import encode_headers, find_header
from micropie.request.cookies import format_cookie, only_secure, only_whole_host
from micropie.request.origins import is_encrypted, is_local
from micropie.request.request import Request
from micropie.routing.mounts import mount_of
from micropie.types import RawHeaders, Scope

from .backends import load_waits
from .view import OuterSession, SessionView

if TYPE_CHECKING:
    from micropie.app import App


logger: logging.Logger = logging.getLogger("micropie")


def prepare_session(request: Request, *, cookie: bool) -> None:
    """Bring the session to where looking at it takes no wait.

    An outer app's session is shared.  A store that may wait is to be asked now, which the view's ``waits`` says; any
    other one is asked when somebody looks.

    Args:
        request: The request or handshake.
        cookie: Whether the client has sent any cookie.
    """
    core, scope = request.x_core, request.scope
    if core.mounts:
        mount = mount_of(core.mounts, scope)
        if mount is not None and not mount.session:
            request.x_session().refuse()
            return
    around = scope.get("session")
    if isinstance(around, OuterSession):
        request.x_view = around.view
    elif around is not None:
        request.x_session().share(around)
    elif cookie:
        view = request.x_session()
        if load_waits(request.x_app.session_backend):
            view.waits = True
        else:
            view.loop = get_running_loop()


async def save_before_answer(request: Request, fields: RawHeaders) -> RawHeaders:
    """Save the session; no later answer could tell the client of it.

    Args:
        request: The request.
        fields: The header fields of the answer, names in lower case.

    Returns:
        The fields with the cookies, and with what caches have to know.
    """
    told, view = None, request.x_view
    if (
        view is None or view.scope is request.scope
    ):  # else the outer app saves it when it passes the answer on
        if view is not None and not view.is_settled():
            told = await view.save(begins=True)
            if view.unstorable:
                logger.warning(
                    "what was written to the session for %s is lost: its mount has session=False",
                    request.x_shown_path,
                )
        request.x_seal()
    if told is not None:
        fields = _private(fields)
    fields = vary(request, fields)
    if request.x_cookies is None and told is None:  # PERF: as for most answers
        return fields
    return fields + encode_headers(_set_cookies(request, view, told))


def vary(request: Request, fields: RawHeaders) -> RawHeaders:
    """The fields of an answer, of which caches have to know that it depends on the session if it does."""
    if request.x_view is None or not request.x_view.looked:
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
    if name not in dict(fields):
        return [*fields, (name, item)]
    values = [value for key, value in fields if key == name]
    if any(found.lower() in unless for value in values for found in _rules(value)):
        return fields
    last = max(at for at, (key, _) in enumerate(fields) if key == name)
    return [*fields[:last], (name, fields[last][1] + b", " + item), *fields[last + 1 :]]


async def save_before_accept(request: Request, chosen_id: str | None) -> list[tuple[str, str]]:
    """The same for a handshake that is accepted; afterwards the client can be told no id any more.

    Args:
        request: The handshake.
        chosen_id: An id that the app chose for the session; its cookie is always sent.

    Raises:
        ValueError: If the chosen id is not a valid one.
    """
    try:
        if chosen_id is None:  # for an outer app too, which sees no handshake pass
            view = request.x_view
            return _set_cookies(request, view, None if view is None else await view.save(begins=True))
        session_id = request.x_core.checked_session_id(chosen_id)
        if session_id is None:
            raise ValueError("session_id is not one that session_id_validator lets pass")
        session = request.x_session()
        await session.adopt(session_id)
        await session.save()
        return _set_cookies(request, session, session_id)
    finally:
        request.x_seal()


def _set_cookies(request: Request, view: SessionView | None, told: str | None) -> list[tuple[str, str]]:
    cookies = request.x_cookies or []
    if view is not None and told is not None:
        cookies = [*cookies, _cookie(view, told)]
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
