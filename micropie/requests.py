"""The request: what a client asked, read from the scope when somebody looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload
from urllib.parse import quote

from .bodies import (
    Body,
    Limits,
    begin,
    check_length,
    has_body,
    is_json,
    is_small,
    media_type,
    parse_form,
    parse_json,
    parse_pairs,
)
from .exceptions import HTTPError
from .headers import SameSite, cookie_header, decode_headers, format_cookie, parse_cookies
from .origins import is_local
from .sessions import SessionView
from .types import ASGIApp, Message, Receive, Scope, Send
from .uploads import MultipartForm

if TYPE_CHECKING:
    from .app import App
    from .responses import Stream

__all__ = ["Request", "WebSocketRequest", "current_request"]

T = TypeVar("T")

#: Where a scope holds the session of an outer MicroPie app, beside the plain dict that any app can use.
SESSION_KEY = "micropie.session"

#: What stands for a body that is no JSON: JSON has a None of its own.
_NOTHING = object()

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
        value = self._compute(instance)
        setattr(instance, self._name, value)
        return value


class Request:
    """One HTTP request.  What nobody looks at is not computed."""

    # What every request is asked for; what only some have goes into a dict, which most do without.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_app",
        "_arrived",
        "_entered",
        "_fields",
        "_files",
        "_form",
        "_has_cookies",
        "_json",
        "_opened",
        "_query",
        "_receive",
        "_route_handler",
        "_sealed",
        "_segments",
        "_send",
        "_started",
        "_stream",
        "_view",
        "_ws_route_handler",
        "scope",
    )

    # A middleware may choose a whole other app.
    _subapp: ASGIApp | None = None
    _subapp_path: str = "/"
    _subapp_mount_path: str = ""

    # Whether the client has left while a stream was sent.
    _gone = False

    def __init__(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        self._app = app
        self._receive = receive
        self._send = send
        #: The ASGI scope, as the server gave it.
        self.scope: Scope = scope
        self._segments: list[str] | None = None
        # A middleware may choose the handler, by name.
        self._route_handler: str | None = None
        self._ws_route_handler: str | None = None
        # What was sent: None, or nothing, until somebody looks or the body has brought it.
        self._query: dict[str, list[str]] | None = None
        self._fields: dict[str, list[str]] | None = None
        self._files: dict[str, dict[str, Any]] | None = None
        self._form: MultipartForm | None = None
        # The first message of the body, or what to await for it; and the body, once somebody asks for it.
        self._arrived: dict[str, Any] | Awaitable[Message] | None = None
        self._opened: Body | None = None
        self._json: Any = _NOTHING
        # None until there is a session cookie, or somebody looks at the session.
        self._view: SessionView | None = None
        # Whether the answer may have to carry a cookie, and whether it is too late to tell the client of a session.
        self._has_cookies = self._sealed = False
        # How far the answer is: the middlewares whose before hook returned None, and whose after hook is still
        # to run; the stream that it is; whether it has begun.
        self._entered: list[Any] | None = None
        self._stream: Stream | None = None
        self._started = False

    @property
    def path_params(self) -> list[str]:
        """The path segments after the one that named the handler."""
        if self._segments is None:
            self._segments = []
        return self._segments

    @path_params.setter
    def path_params(self, segments: list[str]) -> None:
        self._segments = segments

    @lazy
    def method(self) -> str:
        """The HTTP method, in upper case; empty for a WebSocket."""
        method: str = self.scope.get("method", "")
        return method

    @lazy
    def path(self) -> str:
        """The path, decoded, with the root path."""
        path: str = self.scope["path"]
        return path

    @property
    def _shown_path(self) -> str:
        """The path for the log, encoded: with a line break as it is, a client could write lines of its own there."""
        return quote(self.path, errors="replace")

    @property
    def body_params(self) -> dict[str, list[str]]:
        """The fields of a form: every value of each name."""
        if self._fields is None:
            self._fields = {}
        return self._fields

    @body_params.setter
    def body_params(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    @property
    def get_json(self) -> Any:
        """The value of a JSON body; an empty dict if there is none."""
        if self._json is _NOTHING:
            self._json = {}
        return self._json

    @get_json.setter
    def get_json(self, value: Any) -> None:
        self._json = value

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """The uploaded files by field name, the first of each.

        Each is a dict with ``filename``, ``content_type`` and ``content``, a bounded :class:`asyncio.Queue`
        of ``bytes`` that ends with None.
        """
        if self._files is None:
            self._files = {}
        return self._files

    @files.setter
    def files(self, files: dict[str, dict[str, Any]]) -> None:
        self._files = files

    @lazy
    def headers(self) -> dict[str, str]:
        """The header fields, names in lower case; repeated ones are joined by commas."""
        return decode_headers(self.scope)

    @property
    def query_params(self) -> dict[str, list[str]]:
        """The query string: every value of each name, blank ones too.

        Raises:
            HTTPError: 400 for more than 1,000 parameters.
        """
        if self._query is None:
            raw = self.scope.get("query_string")
            self._query = parse_query(raw) if raw else {}
        return self._query

    @query_params.setter
    def query_params(self, values: dict[str, list[str]]) -> None:
        self._query = values

    @lazy
    def cookies(self) -> dict[str, str]:
        """The cookies by name."""
        return parse_cookies(cookie_header(self.scope))

    @property
    def _body(self) -> Body:
        if self._opened is None:
            fields = dict(self.scope["headers"])
            length, expected = fields.get(b"content-length"), has_body(self.method, fields)
            self._opened = Body(
                self._receive, self._app._limits, length, first=self._arrived, expected=expected
            )
        return self._opened

    @lazy
    def _new_cookies(self) -> list[str]:
        return []

    @property
    def _session(self) -> SessionView:
        if self._view is None:
            self._has_cookies = True
            self._view = SessionView(self._app, self.scope)
            self._view.sealed = self._sealed
        return self._view

    @property
    def session(self) -> dict[str, Any]:
        """The session, empty if the client has none.

        Change it in place; what has changed is stored when the handler is done.  Setting it to ``{}``
        logs out: the stored session is deleted.
        """
        return self._session.look()

    @session.setter
    def session(self, data: dict[str, Any]) -> None:
        if not isinstance(data, dict):
            raise TypeError(f"the session is a dict, and {{}} logs out; not {data!r}")
        self._session.replace(data)

    def regenerate_session(self) -> None:
        """Give the session a fresh id with the answer; do it after a login, against session fixation.

        Raises:
            RuntimeError: For a WebSocket or a stream that has begun, whose client learns no new id, and for the
                session of an outer app that is no MicroPie app.
        """
        if self._session.shared:
            raise RuntimeError("the session belongs to an outer app: only that can give it a new id")
        if self.scope["type"] != "http" or self._sealed:
            raise RuntimeError("a session gets a new id only with an HTTP answer, before that begins")
        self._session.regenerate = True

    async def save_session(self) -> None:
        """Store what has changed in the session so far, for example before a long wait.

        A session that is new is stored with the answer, since only that can tell the client its id.
        """
        if self._view is not None:
            await self._view.save()

    def _seal(self) -> None:
        self._sealed = True
        if self._view is not None:
            self._view.sealed = True

    def query(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter.

        Args:
            name: The parameter.
            default: What to return if there is none.
        """
        values = self.query_params.get(name)
        return values[0] if values else default

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
        """The body as it came, whatever its media type; a second call gives the same bytes.

        Raises:
            HTTPError: 413 if it is too large, 408 if it comes too slowly, 400 if the client cuts it short.
            RuntimeError: If it is a multipart form, which is not kept.
        """
        return await self._body.read()

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
    ) -> None:
        """Set a cookie (RFC 6265) with the answer; for a WebSocket, before :meth:`~micropie.WebSocket.accept`.

        Args:
            name: Its name.
            value: Its value; what a cookie cannot hold has to be encoded first, with ``quote()`` for example.
            max_age: Seconds that it lives; until the browser ends if neither this nor ``expires`` is given.
            expires: The moment at which it ends, with a time zone of UTC.
            path: The path below which it is sent.
            domain: The domain to whose hosts it is sent; this host alone if None.
            secure: Whether it is sent over HTTPS only; if None, it is but for development on one machine.
            httponly: Whether it is hidden from JavaScript.
            samesite: ``"lax"``, ``"strict"`` or ``"none"``: whether requests from other sites carry it.

        Raises:
            ValueError: If a part has characters that a cookie cannot hold.
        """
        secure = not is_local(self.scope) if secure is None else secure
        self._has_cookies = True
        self._new_cookies.append(
            format_cookie(
                name,
                value,
                max_age=max_age,
                expires=expires,
                path=path,
                domain=domain,
                secure=secure,
                httponly=httponly,
                samesite=samesite,
            )
        )

    def delete_cookie(self, name: str, *, path: str = "/", domain: str | None = None) -> None:
        """Have the browser forget a cookie.

        Args:
            name: Its name.
            path: The path with which it was set.
            domain: The domain with which it was set; None if there was none.
        """
        self.set_cookie(name, "", max_age=0, path=path, domain=domain)

    # --- the body -------------------------------------------------------------------------------------

    async def _read_body(self, fields: Mapping[bytes, bytes]) -> None:
        """Read a body that the media type says how to read; a multipart form is read while it comes in.

        Args:
            fields: The header fields.
        """
        if self.scope["method"] in ("GET", "HEAD") and not has_body(self.method, fields):
            return
        limits = self._app._limits
        # What is longer is no media type, and would fill the cache.
        kind, parameters = media_type(fields.get(b"content-type", b"")[:1024])
        if kind == "application/x-www-form-urlencoded":
            data = self._at_once(fields.get(b"content-length"), limits)
            if data is None:
                data = await self._body.read()
            self._fields = (
                parse_pairs(data.decode()) if is_small(data, limits) else await parse_form(data, limits)
            )
        elif is_json(kind):
            data = self._at_once(fields.get(b"content-length"), limits)
            self._json = parse_json(await self._body.read() if data is None else data, limits)
        elif kind == "multipart/form-data":
            self._form = MultipartForm(self._body, parameters, limits)
            self._fields, self._files = self._form.fields, self._form.files

    def _at_once(self, length: bytes | None, limits: Limits) -> bytes | None:
        """The whole body if it is there already, in one message, as most are; a :class:`Body` reads the others.

        Args:
            length: Its ``Content-Length``.
            limits: What it may cost.

        Raises:
            HTTPError: As :func:`check_length`.
        """
        if self._opened is not None:  # a hook has asked for it
            return None
        check_length(length, limits.body)
        self._arrived = first = begin(self._receive)
        if isinstance(first, dict) and first["type"] == "http.request" and not first.get("more_body"):
            data: bytes = first.get("body", b"")
            if limits.body is None or len(data) <= limits.body:
                return data
        return None

    def _sent(self, name: str) -> list[Any] | None:
        """Every value that was sent under a name: in the query string, else in the body."""
        query = self._query
        if query is None:
            query = self.query_params
        values: list[Any] | None = query.get(name)
        if not values and self._fields is not None:
            values = self._fields.get(name)
        if values:
            return values
        if isinstance(self._json, dict) and name in self._json:
            return [self._json[name]]
        uploads = None if self._form is None else self._form.all_files.get(name)
        return uploads or (None if self._files is None or name not in self._files else [self._files[name]])

    def _sent_names(self) -> list[str]:
        keys = self._json if isinstance(self._json, dict) else ()
        return [*self.query_params, *(self._fields or ()), *keys, *(self._files or ())]


class WebSocketRequest(Request):
    """The request that opened a WebSocket: its handshake."""

    __slots__ = ()


MAX_QUERY_PARAMETERS = 1000


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """A query string as a dict of lists.

    Raises:
        HTTPError: 400 for more than 1,000 parameters.
    """
    if len(raw) > MAX_QUERY_PARAMETERS and raw.count(b"&") >= MAX_QUERY_PARAMETERS:
        raise HTTPError(400, f"more than {MAX_QUERY_PARAMETERS} query parameters")
    return parse_pairs(raw.decode(errors="replace"))
