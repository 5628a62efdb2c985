"""The request: what a client asked, read from the scope when somebody looks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar, Token
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from urllib.parse import quote

from micropie.exceptions import HTTPError
from micropie.headers import COMMON_NAMES, decode_headers
from micropie.sessions.view import SessionView
from micropie.types import ASGIApp, Receive, Scope, Send

from .body import NOTHING, parse_pairs
from .cookies import SameSite, cookie_header, format_cookie, only_secure, parse_cookies
from .origins import full_url, is_encrypted, is_local
from .parsed_body import Contents

if TYPE_CHECKING:
    from micropie.app import App
    from micropie.connection.streams import Stream
    from micropie.core import Core

    from .uploads import MultipartForm

__all__ = ["Request", "WebSocketRequest", "current_request"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("micropie")

#: Where a scope holds the request of an outer MicroPie app, which knows where this app is mounted.
OUTER_KEY = "micropie.outer"

#: The request that this task, or this thread of a sync handler, works on.
current_request: ContextVar[Request] = ContextVar("current_request")

# A method of an imported name costs every caller the making of a bound method; these are made.
enter_request: Callable[[Request], Token[Request]] = current_request.set
leave_request: Callable[[Token[Request]], None] = current_request.reset


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


class fresh(lazy[T]):  # noqa: N801  # as lazy is
    """An attribute that is computed each time that it is looked at, until it is set."""

    @overload
    def __get__(self, instance: None, owner: type) -> fresh[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> fresh[T] | T:
        return self if instance is None else self._compute(instance)


MAX_QUERY_PARAMETERS = 1000


class Request:
    """One HTTP request.  Its attributes are computed when you first look at them."""

    # What MicroPie keeps for itself of a request and its answer.  All names but those with ``x_`` belong to hooks and
    # handlers, which may put onto a request what they like.  PERF: a companion of its own, as an App has one, would
    # cost each request and each WebSocket a twentieth more.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "scope",
        "x_app",
        "x_contents",
        "x_cookies",
        "x_core",
        "x_entered",
        "x_form",
        "x_query",
        "x_receive",
        "x_sealed",
        "x_segments",
        "x_send",
        "x_started",
        "x_stream",
        "x_view",
    )

    # A middleware may choose the handler, by name, or a whole other app.
    _route_handler: str | None = None
    _ws_route_handler: str | None = None
    _subapp: ASGIApp | None = None
    _subapp_path: str = "/"
    _subapp_mount_path: str = ""

    def __init__(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        #: The ASGI scope, as the server gave it.
        self.scope: Scope = scope
        # The app that answers, and what it keeps for itself; the server's functions.
        self.x_app: App = app
        self.x_core: Core = app._micropie
        self.x_receive: Receive = receive
        self.x_send: Send = send
        # The path segments after the one that named the handler; the query string's values; what the body brings, and
        # a form in it that is still coming in; the session's view.  Each is None as long as nobody has looked.
        self.x_segments: list[str] | None = None
        self.x_query: dict[str, list[str]] | None = None
        self.x_contents: Contents | None = None
        self.x_form: MultipartForm | None = None
        self.x_view: SessionView | None = None
        # For the answer: its ``Set-Cookie`` values, the middlewares whose after hook is still to run, and its pieces.
        self.x_cookies: list[str] | None = None
        self.x_entered: list[Any] | None = None
        self.x_stream: Stream | None = None
        # Whether it is too late to tell the client of a session; whether the answer has begun, or for a handshake,
        # whether a mounted app has answered it.
        self.x_sealed: bool = False
        self.x_started: bool = False

    @property
    def path_params(self) -> list[str]:
        """The path segments after the one that named the handler."""
        if self.x_segments is None:
            self.x_segments = []
        return self.x_segments

    @path_params.setter
    def path_params(self, segments: list[str]) -> None:
        self.x_segments = segments

    @lazy
    def method(self) -> str:
        """The HTTP method, in upper case; empty for a WebSocket."""
        method: str = self.scope.get("method", "")
        return method

    @lazy
    def path(self) -> str:
        """The path, decoded.  It begins with the root path, even on servers that leave that out."""
        path: str = self.scope["path"]
        return path

    @lazy
    def url(self) -> str:
        """The absolute URL, percent-encoded, such as ``"https://example.com/pie?size=3"``; a WebSocket has ``wss:``.

        The scheme comes from the server and the host from the header ``Host``.  Behind a proxy, tell the server to
        trust the proxy's headers.  A client can send any ``Host`` unless you set ``allowed_hosts``, so set that before
        you send such a URL to somebody else.
        """
        return full_url(self.scope)

    @lazy
    def client(self) -> str | None:
        """The client's address as the server knows it, such as ``"192.0.2.1"``; None over a Unix socket."""
        client = self.scope.get("client")
        return str(client[0]) if client and client[0] else None

    @fresh
    def route(self) -> str | None:
        """The name of the method that is going to answer, or the prefix of a mounted app; None for a 404.

        One page can have several paths, such as ``/admin`` and ``/admin/``, but it has only one route.  So a hook that
        guards some handlers should compare the route, not the path.
        """
        return self.x_core.route_of(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.x_shown_path}>"

    @property
    def body_params(self) -> dict[str, list[str]]:
        """The fields of a form: every value of each name."""
        contents = self.x_brought()
        if contents.fields is None:
            contents.check()
            contents.fields = {}
        return contents.fields

    @body_params.setter
    def body_params(self, fields: dict[str, list[str]]) -> None:
        self.x_brought().fields = fields

    @property
    def get_json(self) -> Any:
        """The value of a JSON body; an empty dict if there is none."""
        contents = self.x_brought()
        if contents.json is NOTHING:
            contents.check()
            contents.json = {}
        return contents.json

    @get_json.setter
    def get_json(self, value: Any) -> None:
        self.x_brought().json = value

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The uploaded files by field name, the first of each.

        Each is a dict with ``filename``, ``content_type`` and ``content``, a bounded :class:`asyncio.Queue`
        of ``bytes`` that ends with None.
        """
        contents = self.x_brought()
        if contents.files is None:
            contents.check()
            contents.files = {}
        return contents.files

    @files.setter
    def files(self, files: dict[str, dict[str, Any]]) -> None:
        self.x_brought().files = files

    @lazy
    def headers(self) -> dict[str, str]:
        """The header fields, names in lower case; repeated ones are joined by commas."""
        scope = self.scope
        decoded: dict[str, str] = {}
        try:  # PERF: in one go, if each is a common one in UTF-8; the budget of http_hook holds it
            for name, value in scope["headers"]:
                decoded[COMMON_NAMES[name]] = value.decode()
        except (KeyError, UnicodeDecodeError):
            return decode_headers(scope)
        return decoded if len(decoded) == len(scope["headers"]) else decode_headers(scope)

    @property
    def query_params(self) -> dict[str, list[str]]:
        """The query string: every value of each name, blank ones too.

        Raises:
            HTTPError: 400 for more than 1,000 parameters, or what is not UTF-8.
        """
        query = self.x_query
        return self.x_read_query() if query is None else query

    @query_params.setter
    def query_params(self, values: dict[str, list[str]]) -> None:
        self.x_query = values

    @lazy
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        return parse_cookies(cookie_header(self.scope))

    @property
    def session(self) -> dict[str, Any]:
        """The session, empty if the client has none.

        Change it in place.  MicroPie stores the changes when the handler has ended.  Setting it to ``{}`` logs out: it
        deletes the stored session.  Looking at the session puts ``Vary: Cookie`` into the answer; if you don't look,
        the answer carries no session cookie.

        Raises:
            HTTPError: 503 if the store fails, or takes longer than ``session_store_timeout``.
        """
        view = self.x_view or self.x_session()
        return view.look()

    @session.setter
    def session(self, data: dict[str, Any]) -> None:
        if not isinstance(data, dict):
            raise TypeError(f"the session is a dict, and {{}} logs out; not {data!r}")
        self.x_session().replace(data)

    def regenerate_session(self) -> None:
        """Give the session a new id with the answer; do it after a login, against session fixation.

        Raises:
            RuntimeError: In a WebSocket, and in a stream that has begun, because the client can no longer be told the
                new id.  Also if the session belongs to an outer app of another framework.
            HTTPError: As :attr:`session`.
        """
        view = self.x_session()
        if view.shared:
            raise RuntimeError("the session belongs to an outer app: only that can give it a new id")
        if self.scope["type"] != "http" or self.x_sealed:
            raise RuntimeError("a session gets a new id only with an HTTP answer, before that begins")
        view.look()
        view.regenerate = True

    async def save_session(self) -> None:
        """Store what has changed in the session so far, for example before a long wait.

        A new session is stored with the answer, since only the answer can tell the client its id.  A session that you
        have not changed is renewed, unless that happened recently.

        Raises:
            HTTPError: As :attr:`session`.
            Exception: Whatever the store raises, or TimeoutError if it takes longer than ``session_store_timeout``.
        """
        view = self.x_session()
        view.look()
        await view.save()

    @overload
    def query(self, name: str, default: str) -> str: ...
    @overload
    def query(self, name: str, default: str | None = None) -> str | None: ...
    def query(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter.

        Args:
            name: The parameter.
            default: What to return if there is none.
        """
        values = self.query_params.get(name)
        return values[0] if values else default

    @overload
    def form(self, name: str, default: str) -> str: ...
    @overload
    def form(self, name: str, default: str | None = None) -> str | None: ...
    def form(self, name: str, default: str | None = None) -> str | None:
        """The first value of a form field.

        Args:
            name: The field.
            default: What to return if there is none.
        """
        values = self.body_params.get(name)
        return values[0] if values else default

    def json(self, name: str | None = None, default: Any = None) -> Any:
        """The JSON body, or the value of one of its top-level keys.

        Args:
            name: The key; None for all of it.
            default: What to return if there is no such key.
        """
        if name is None:
            return self.get_json
        return self.get_json.get(name, default) if isinstance(self.get_json, dict) else default

    async def body(self) -> bytes:
        """The body's bytes, whatever its media type.  You can call it again and get the same bytes.

        Raises:
            HTTPError: 413 if it is too large, 408 if it comes too slowly, 400 if the client cuts it short.
            RuntimeError: If it is a multipart form, which is not kept; if :meth:`stream` has taken it; or in a
                WebSocket, which has no body.
        """
        return await self.x_brought().body.read()

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they come in: ``async for piece in request.stream()``.

        Forms and JSON are read before the handler runs, so they come in one piece.  Pieces are not kept, so you can
        take them only once.  The limits on size and time apply, but the time that your handler takes between two
        pieces does not count.

        Raises:
            HTTPError: 413 if it is too large, 408 if it comes too slowly, 400 if the client cuts it short.
            RuntimeError: If it is a multipart form, or its pieces have been taken before.
        """
        async for piece in self.x_brought().body.pieces():
            yield piece

    async def read_form(self, *names: str) -> dict[str, list[str]]:
        """Read a form until these fields have come in, and return all fields so far.

        Use it in a hook to look at a field of a multipart form, which MicroPie reads only once it has found the
        handler.  The handler, or a mounted app, still gets the whole form: files that come before the field are put
        aside for it, in memory while they are small and in a temporary file otherwise.

        Args:
            names: The fields or files to wait for.  Without names it reads the whole form.

        Returns:
            :attr:`body_params`: a list of values for each name.  It is empty if the body isn't a form.

        Raises:
            HTTPError: 400 if the form is malformed, 408 if it comes too slowly, 413 if it is too large.
        """
        form = self.x_form = await self.x_brought().read()
        if form is not None:
            await form.read_until(names)
        return self.body_params

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        expires: datetime | None = None,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: SameSite = "lax",
        partitioned: bool = False,
    ) -> None:
        """Set a cookie (RFC 6265) with the answer; for a WebSocket, before :meth:`~micropie.WebSocket.accept`.

        Args:
            name: Its name.
            value: Its value.  Encode characters that a cookie cannot hold, for example with ``quote()``.
            max_age: How many seconds it lives.  Without this and ``expires`` it lives until the browser is closed.
            expires: When it ends: a datetime in UTC.
            path: The path below which browsers send it.
            domain: The domain to whose hosts browsers send it; None for this host alone.
            secure: Whether browsers send it over HTTPS only.  None means yes, except for plain HTTP between a browser
                and a server on one machine, as in development.  Even there it is yes if browsers insist on it: with
                ``samesite="none"``, with ``partitioned``, and for a name that begins with ``__Host-`` or
                ``__Secure-``.  The setting ``session_cookie_secure`` is for the session's cookie alone.
            httponly: Whether it is hidden from JavaScript.
            samesite: ``"lax"``, ``"strict"`` or ``"none"``: whether requests from other sites carry it.
            partitioned: Whether a page that other sites embed has a separate cookie in each of them (CHIPS).  That
                needs ``samesite="none"`` too.

        Raises:
            ValueError: If a part has characters that a cookie cannot hold, or if browsers would drop the cookie or a
                part of it.  They take up to 4,096 bytes of name and value, and a path that begins with a slash.  They
                insist on ``secure`` for a partitioned cookie, for ``samesite="none"`` and for names that begin with
                ``__Secure-`` or ``__Host-``; ``__Host-`` also needs the path ``/`` and no domain.
            RuntimeError: If the answer has begun.
        """
        if self.x_sealed:
            raise RuntimeError("it is too late for a cookie: the answer has begun")
        if secure is None:
            secure = only_secure(name, samesite, partitioned=partitioned) or not is_local(self.scope)
        cookie = format_cookie(
            name,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )
        if self.x_cookies is None:
            self.x_cookies = []
        self.x_cookies.append(cookie)

    def delete_cookie(
        self,
        name: str,
        *,
        path: str = "/",
        domain: str | None = None,
        secure: bool | None = None,
        httponly: bool = True,
        samesite: SameSite = "lax",
        partitioned: bool = False,
    ) -> None:
        """Tell the browser to forget a cookie.

        Pass the same path, domain and ``partitioned`` as you passed to :meth:`set_cookie`: they are part of a cookie's
        identity.  In a page that another site embeds, pass ``samesite="none"`` too, or the browser ignores this.

        Args:
            name: Its name.
            path: The path with which it was set.
            domain: The domain with which it was set; None if there was none.
            secure: Whether the deletion is marked ``Secure``.  None means yes over HTTPS, and where browsers insist
                on it.  Over plain HTTP they would ignore such a deletion.
            httponly: As it was set; browsers ignore it here.
            samesite: As it was set.
            partitioned: As it was set.

        Raises:
            ValueError: As :meth:`set_cookie`.
            RuntimeError: As :meth:`set_cookie`.
        """
        if secure is None:
            secure = only_secure(name, samesite, partitioned=partitioned) or is_encrypted(self.scope)
        self.set_cookie(
            name,
            "",
            max_age=0,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )

    # --- MicroPie's own ---------------------------------------------------------------------------------

    @property
    def x_shown_path(self) -> str:
        """The path for the log, encoded: with a line break as it is, a client could write lines of its own there."""
        return quote(self.scope["path"], errors="replace")

    # --- what came with it ----------------------------------------------------------------------------

    def x_read_query(self) -> dict[str, list[str]]:
        """Take the query string apart.

        Raises:
            HTTPError: As :attr:`Request.query_params`.
        """
        raw = self.scope.get("query_string") or b""
        if len(raw) > MAX_QUERY_PARAMETERS and raw.count(b"&") >= MAX_QUERY_PARAMETERS:
            raise HTTPError(400, f"more than {MAX_QUERY_PARAMETERS} query parameters")
        query: dict[str, list[str]] = {}
        if raw:
            text = raw.decode("latin-1")
            if "&" in text or "%" in text or "+" in text or not text.isascii():
                query = parse_pairs(raw, "query string")
            else:  # PERF: one plain pair, as many have
                name, _, value = text.partition("=")
                query[name] = [value]
        self.x_query = query
        return query

    def x_brought(self) -> Contents:
        """What the body brings, as far as it has been read.

        Raises:
            RuntimeError: For a WebSocket.
        """
        if self.x_contents is None:
            if self.scope["type"] == "websocket":
                raise RuntimeError("a WebSocket has no body: its messages come by receive()")
            fields = dict(self.scope["headers"])
            # A hook may have set another method; what comes in is what was sent.
            sent = self.scope.get("method", "")
            self.x_contents = Contents(sent, fields, self.x_receive, self.x_core.limits)
        return self.x_contents

    # --- the session ----------------------------------------------------------------------------------

    def x_session(self) -> SessionView:
        """The view of the session, at which nobody need have looked."""
        if self.x_view is None:
            self.x_view = SessionView(self.x_app, self.scope)
            self.x_view.sealed = self.x_sealed
        return self.x_view

    def x_seal(self) -> None:
        """From now on the client can be told of no session."""
        self.x_sealed = True
        if self.x_view is not None:
            self.x_view.sealed = True


class WebSocketRequest(Request):
    """The request that opened a WebSocket: its handshake.

    It is the :class:`~micropie.WebSocket` itself.  A handler has it as ``ws`` and as ``self.request``, and the hooks of
    a :class:`~micropie.WebSocketMiddleware` get it as ``request``.  It has the attributes of a :class:`Request`, but no
    body, so asking for a form, JSON or files raises RuntimeError.
    """

    __slots__ = ()
