"""The request: what a client asked, read from the scope when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from urllib.parse import parse_qs, quote

from .exceptions import HTTPError
from .headers import decode_headers, find_header, format_cookie, parse_cookies
from .origins import is_loopback
from .sessions import SessionView
from .types import ASGIApp, Scope

if TYPE_CHECKING:
    from .app import App

__all__ = ["Request", "WebSocketRequest", "current_request"]

T = TypeVar("T")

#: The request that this task, or this thread of a sync handler, works on.
current_request: ContextVar[Request] = ContextVar("current_request")


class lazy(Generic[T]):  # noqa: N801  # It reads as @property does.
    """An attribute that is computed when it is first looked at, and that can be set."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> lazy[T] | T:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


class Request:
    """One HTTP request.  What nobody looks at is not computed."""

    #: The ASGI scope, as the server gave it.
    scope: Scope
    #: The HTTP method, in upper case; empty for a WebSocket.
    method: str
    #: The path, decoded, with the root path.
    path: str
    #: The path segments after the one that named the handler.
    path_params: list[str]

    # A middleware may choose the handler, by name, or a whole other app.
    _route_handler: str | None = None
    _ws_route_handler: str | None = None
    _subapp: ASGIApp | None = None
    _subapp_path: str = "/"
    _subapp_mount_path: str = ""

    def __init__(self, app: App, scope: Scope) -> None:
        self._app = app
        self._session = SessionView(app.session_backend, app.session_timeout)
        self.scope = scope
        self.method = scope.get("method", "")
        self.path = scope["path"]
        self.path_params = []

    @lazy
    def headers(self) -> dict[str, str]:
        """The header fields, names in lower case; repeated ones are joined by commas."""
        return decode_headers(self.scope)

    @lazy
    def query_params(self) -> dict[str, list[str]]:
        """The query string: every value of each name, blank ones too.

        Raises:
            HTTPError: 400 for more than 1,000 parameters.
        """
        return parse_query(self.scope.get("query_string", b""))

    @lazy
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        return parse_cookies(self.headers.get("cookie", ""))

    @property
    def session(self) -> dict[str, Any]:
        """The session, empty if the client has none.

        Change it in place; what has changed is stored when the handler is done.  Setting it to ``{}``
        logs out: the stored session is deleted.
        """
        return self._session.look()

    @session.setter
    def session(self, data: dict[str, Any]) -> None:
        self._session.replace(data)

    def regenerate_session(self) -> None:
        """Give the session a fresh id with the answer; do it after a login, against session fixation.

        Raises:
            RuntimeError: For a WebSocket, whose client learns no new id.
        """
        if self.scope["type"] != "http":
            raise RuntimeError("a session gets a new id only with an HTTP answer")
        self._session.regenerate = True

    async def save_session(self) -> None:
        """Store what has changed in the session so far, for example before a long wait.

        A session that is new is stored with the answer, since only that can tell the client its id.
        """
        await self._session.save(None)

    def query(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter.

        Args:
            name: The parameter.
            default: What to return if there is none.
        """
        values = self.query_params.get(name)
        return values[0] if values else default

    def _body_values(self, name: str) -> list[Any] | None:
        return None

    def _body_names(self) -> list[str]:
        return []

    # --- the session and its cookie -----------------------------------------------------------------

    async def _load_session(self) -> None:
        """Load the session if the client sent its cookie."""
        name = self._app._session_cookie.name
        for key, value in self.scope["headers"]:
            if key == b"cookie" and name.encode() in value:
                session_id = self._app._checked_session_id(self.cookies.get(name))
                if session_id is not None:
                    await self._session.load(session_id)
                return

    async def _save_session(self) -> str | None:
        """Save before the answer goes out; the ``Set-Cookie`` value that it has to carry, if any."""
        session = self._session
        if session.id is None and not session.data:
            return None
        new_id = self._app._new_session_id() if session.id is None or session.regenerate else None
        await session.save(new_id)
        return self._format_session_cookie(session.id, self._app.session_timeout)

    def _format_session_cookie(self, session_id: str | None, max_age: int) -> str:
        """The session's ``Set-Cookie`` value; without an id, one that makes the browser forget it."""
        settings = self._app._session_cookie
        return format_cookie(
            settings.name,
            session_id or "",
            max_age=max_age if session_id else 0,
            path=settings.path or quote(self.scope.get("root_path") or "/"),
            domain=settings.domain,
            secure=self._cookie_is_secure() or settings.samesite == "none",
            samesite=settings.samesite,
        )

    def _cookie_is_secure(self) -> bool:
        encrypted = self.scope.get("scheme") in ("https", "wss")
        local = not encrypted and self._is_local()
        if not encrypted and not local and self.headers.get("x-forwarded-proto") != "https":
            self._app._warn_of_plain_http(self.headers.get("host", ""))
        forced = self._app.session_cookie_secure
        return not local if forced is None else forced

    def _is_local(self) -> bool:
        """Whether browser and server are one machine with nothing in between, as in development."""
        client = self.scope.get("client")
        host = (find_header(self.scope, b"host") or b"").decode("latin-1").lower()
        host = host if host.endswith("]") else host.rpartition(":")[0] or host
        if client is None or not is_loopback(client[0]) or not is_loopback(host):
            return False
        proxied = (b"forwarded", b"via", b"x-forwarded-")
        return not any(name.startswith(proxied) for name, _ in self.scope["headers"])


class WebSocketRequest(Request):
    """The request that opened a WebSocket: its handshake."""

    async def _save_before_accept(self, chosen_id: str | None) -> str | None:
        """Save before the handshake is answered, under an id of the app's choice if there is one."""
        if chosen_id is None:
            return await self._save_session()
        session_id = self._app._checked_session_id(chosen_id)
        if session_id is None:
            raise ValueError("session_id is not one that session_id_validator lets pass")
        await self._session.adopt(session_id)
        await self._session.save(None)
        return self._format_session_cookie(session_id, self._app.session_timeout)


MAX_QUERY_PARAMETERS = 1000


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """A query string or urlencoded body as a dict of lists.

    Raises:
        HTTPError: 400 for more than 1,000 parameters.
    """
    if not raw:
        return {}
    try:
        return parse_qs(
            raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=MAX_QUERY_PARAMETERS
        )
    except ValueError:
        raise HTTPError(400, f"more than {MAX_QUERY_PARAMETERS} query parameters") from None
