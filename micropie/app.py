"""The application: an ASGI app whose methods are its routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack
from urllib.parse import quote

from .concurrency import running_loop
from .connection.http import serve_http
from .core import Core
from .headers import field_list
from .middleware import HttpMiddleware, WebSocketMiddleware
from .request.cookies import parse_cookies
from .request.request import Request, current_request, lazy
from .response.templates import make_environment
from .routing.mounts import Mount, parse_prefix
from .routing.urls import url_for
from .sessions.backends import (
    SESSION_TIMEOUT,
    InMemorySessionBackend,
    SessionBackend,
    new_session_id,
    valid_session_id,
)
from .settings import CHECKS, MIB, Settings, checked
from .types import ASGIApp, Headers
from .websocket.rfc6455 import check_code, fitting_reason
from .websocket.websocket import WebSocket

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["App"]

T = TypeVar("T")


class App:
    """An ASGI application.  Subclass it: each method is a route.

    ``async def greet(self, name)`` answers ``/greet/Alice``, ``async def index(self)`` answers ``/``, and
    ``async def ws_chat(self, ws)`` handles WebSockets at ``/chat``.  Methods that begin with ``_`` are
    private.

    Args:
        session_backend: Where sessions are stored; in this process's memory if None.
        **settings: Any of the settings below.  A subclass can state one as a class attribute too.  One that is
            assigned to an app later is checked as well, and counts from the next request on.

    Raises:
        TypeError: For a setting that does not exist or has the wrong type, or a handler with an
            annotation that cannot be resolved.
        ValueError: For a setting that is out of bounds.
    """

    #: Seconds that may pass between two pieces of a body, or None.  The whole body may take 60 seconds and one
    #: more for each 16 KiB that have come in; the time in which a handler does not read does not count.
    #: A slower client gets 408.
    body_timeout: float | None = 5.0
    #: The largest body in bytes, or None.  A larger one gets 413.
    max_body_size: int | None = 16 * MIB
    #: The largest JSON body in bytes, or None.  Parsing it holds up every other request meanwhile.
    max_json_size: int | None = MIB
    #: The largest form field in bytes, or None.  A larger one gets 413.
    max_form_field_size: int | None = MIB
    #: How many fields and files a form may have, or None.  One with more gets 413.
    max_form_parts: int | None = 1000
    #: The largest WebSocket message in bytes, or None.  A larger one closes the socket with 1009.  It has
    #: come in whole by then: the server's own limit (``uvicorn --ws-max-size``) is what protects memory.
    max_message_size: int | None = MIB
    #: Seconds that a send may wait while the client of a WebSocket reads nothing, or None.  After that the client
    #: counts as gone, and every call that sends or receives raises ConnectionClosed with code 1006.
    send_timeout: float | None = 30.0
    #: Seconds that closing a WebSocket may wait for a client that reads nothing.  After that the client counts as gone.
    close_timeout: float = 3.0
    #: Seconds that a session lives after its last use.
    session_timeout: int = SESSION_TIMEOUT
    #: Seconds that the session store may take to load or to save a session, or None.  If loading takes longer, or
    #: fails, a handler that looks at the session gets a 503.  Other requests are not affected.
    session_store_timeout: float | None = 5.0
    #: The name of the session's cookie, or a dict with any of ``name``, ``path`` (the root path unless
    #: set), ``domain`` (this host alone), ``samesite`` (``"lax"``, ``"strict"`` or ``"none"``) and
    #: ``partitioned`` (False).
    session_cookie: str | Mapping[str, str | bool] = "session_id"
    #: Whether that cookie is ``Secure``.  If None it is, but for plain HTTP between a browser and a server
    #: on one machine, as in development.  It rules no other cookie: ``set_cookie()`` has ``secure`` for those.
    session_cookie_secure: bool | None = None
    #: Makes a new session id; from ``secrets`` unless set.
    session_id_factory: Callable[[], str] = staticmethod(new_session_id)
    #: Returns the id if it may be looked up, else None; None lets all pass.
    session_id_validator: Callable[[str], str | None] | None = staticmethod(valid_session_id)
    #: Origins that may open WebSockets besides the app's own, such as ``["https://example.com"]``, or patterns for
    #: them, such as ``"https://*.example.com"`` or ``"chrome-extension://*"``; ``["*"]`` for all.  Another one gets
    #: 403.
    allowed_origins: Collection[str] = ()
    #: Host names under which the app answers, such as ``["example.com", "*.example.com"]``; all if empty.
    #: Another one gets 400.
    allowed_hosts: Collection[str] = ()
    #: How many sync handlers may run at once, each in a thread; further ones wait.
    sync_workers: int = 40
    #: Whether the browser gets the traceback of an error.  Never in production.
    debug: bool = False

    #: Where sessions are stored.
    session_backend: SessionBackend
    #: HTTP middlewares; the first is the outermost.
    middlewares: list[HttpMiddleware]
    #: WebSocket middlewares; the first is the outermost.
    ws_middlewares: list[WebSocketMiddleware]
    #: Functions without arguments, sync or async, that run before the first request.
    startup_handlers: list[Callable[[], Awaitable[None] | None]]
    #: The same for the end.  On uvicorn, open WebSockets are closed before they run.
    shutdown_handlers: list[Callable[[], Awaitable[None] | None]]
    _micropie: Core

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Make an app with the settings of its class, so that one whose ``__init__`` forgets this class's works."""
        make = super().__new__
        app: Self = make(cls) if make is object.__new__ else make(cls, *args, **settings)
        app.middlewares, app.ws_middlewares = [], []
        app.startup_handlers, app.shutdown_handlers = [], []
        app._micropie = Core(app, App)
        app.session_backend = InMemorySessionBackend()
        with suppress(
            Exception
        ):  # __init__() may still set what a setting needs; else it is said when that is needed
            app._micropie.configure({})
        return app

    def __init__(self, session_backend: SessionBackend | None = None, **settings: Unpack[Settings]) -> None:
        self._micropie.configure(dict(settings))
        if session_backend is not None and not hasattr(session_backend, "save"):
            raise TypeError(f"session_backend is a SessionBackend, not {session_backend!r}")
        self.session_backend = InMemorySessionBackend() if session_backend is None else session_backend

    if not TYPE_CHECKING:  # A type checker that sees it would let a setting be misspelled.

        def __setattr__(self, name: str, value: Any) -> None:
            """Assign; a setting is checked as when the app is made, and counts from the next request on."""
            if name not in CHECKS:
                super().__setattr__(name, value)
                return
            super().__setattr__(name, checked(name, value))
            self._micropie.put_into_effect(name)

    def __repr__(self) -> str:
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        kept = getattr(self, "_micropie", None)
        if kept is None:  # it is being made
            return f"<{name}>"
        mounts = f", {len(kept.mounts)} mounted" if kept.mounts else ""
        return (
            f"<{name}: {len(kept.http_routes.by_name) + len(kept.websocket_routes.by_name)} routes{mounts}>"
        )

    # What every request passes is one coroutine, not two: serve_http() hands on what is not HTTP.
    __call__ = serve_http

    @property
    def request(self) -> Request:
        """The request that this handler works on.

        Raises:
            LookupError: Outside a request.
        """
        return current_request.get()

    @property
    def websockets(self) -> frozenset[WebSocket]:
        """The WebSockets that are accepted and not closed, as a copy that you can loop over in any thread."""
        # The copy of a set is made in one go, so that a thread can ask for it while sockets come and go.
        return frozenset([ws for ws in self._micropie.open_websockets.copy() if not ws.closed])

    async def close_websockets(
        self, code: int = 1000, reason: str | None = None, where: Callable[[WebSocket], object] | None = None
    ) -> int:
        """Close the WebSockets that are open now, or some of them, all at once.

        It takes no longer than closing one: it waits up to ``close_timeout`` for clients that read nothing, and it
        never waits for a client's answer.  Save what matters before you call it: a logout empties and saves the
        session first.

        Args:
            code: The close code, as in :meth:`WebSocket.close <micropie.WebSocket.close>`.
            reason: The reason, as there.
            where: A function that gets each WebSocket and returns whether to close it.  If None, all are closed.

        Returns:
            How many WebSockets it closed.

        Raises:
            ValueError: If the code must not be sent.
            TypeError: If an argument has the wrong type.
        """
        check_code(code)
        reason = fitting_reason(reason)
        chosen = [ws for ws in self.websockets if where is None or where(ws)]
        closing = [
            handing_over for ws in chosen if (handing_over := ws.x_begin_close(code, reason)) is not None
        ]
        if closing:
            await asyncio.wait(closing)
        return len(closing)

    def from_thread(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine in the app's event loop, from any other thread.

        A WebSocket belongs to the loop that serves it.  So a sync handler, or a thread of your own, sends with
        ``self.from_thread(ws.send_text("done")).result()``.

        Args:
            coroutine: Such as ``ws.send_text("done")``.

        Returns:
            A :class:`concurrent.futures.Future`.  Its ``result(timeout)`` waits, and returns or raises what the
            coroutine does.  If you don't call it, you don't wait, and you don't see an error.

        Raises:
            RuntimeError: If you call it in the loop's own thread, where you can ``await`` the coroutine, or if no
                server runs the app.
            TypeError: If it is not a coroutine.
        """
        if not asyncio.iscoroutine(coroutine):
            raise TypeError(f"from_thread() takes a coroutine, such as ws.send_text(text), not {coroutine!r}")
        loop, problem = self._micropie.pool.loop, None
        if loop is None or loop.is_closed():
            problem = "no event loop serves this app: from_thread() works once the app is started"
        elif running_loop() is loop:
            problem = "this is the thread of the app's event loop: await the coroutine instead"
        if loop is None or problem is not None:
            coroutine.close()  # else Python warns that it was never awaited
            raise RuntimeError(problem)
        return asyncio.run_coroutine_threadsafe(coroutine, loop)

    def mount(self, prefix: str, app: ASGIApp, *, session: bool = True) -> None:
        """Let another ASGI app answer all HTTP requests and WebSockets below a prefix.

        This app's before hooks and its origin check run first.  The other app gets the full path, with
        the prefix in ``root_path``.  Its startup and shutdown run with this app's, and only its own requests
        see the state that its lifespan sets.

        Args:
            prefix: Such as ``"/admin"``, not percent-encoded.  If several fit a path, the longest one counts.
            app: The other app.
            session: Whether it shares this app's session: a MicroPie app as its ``request.session``, any other one as
                ``scope["session"]``.  With False, no session is loaded for its requests, and this app's hooks
                find an empty one there, which is never stored.  Use that for files, and for an app that has
                sessions of its own.

        Raises:
            ValueError: If the prefix does not begin with a slash, if no path can begin with it (``"/"``, ``"/a//b"``,
                ``"/.."``, ``"/a?"``, or ``"/my%20files"``, which is written ``"/my files"``), or if it belongs to a
                route or another app already.
            TypeError: If the other app cannot be called.
        """
        if not callable(app) or isinstance(app, type):
            raise TypeError(f"mount() takes an ASGI app, such as an instance of App, not {app!r}")
        core, prefix = self._micropie, parse_prefix(prefix)
        mounts = core.mounts
        if any(mount.prefix == prefix for mount in mounts):
            raise ValueError(f"another app is mounted at {prefix} already")
        for routes in (core.http_routes, core.websocket_routes):
            if prefix in routes.by_path:
                hidden = f"{type(self).__name__}.{routes.by_path[prefix].name}"
                raise ValueError(f"an app at {prefix} would hide {hidden}: give one of them another name")
        state = next((mount.state for mount in mounts if mount.app is app), {})
        mounts.append(Mount(prefix, app, state, session))
        mounts.sort(key=lambda mount: len(mount.prefix), reverse=True)
        core.settle()

    def url_for(self, handler: str | Callable[..., Any], /, *segments: Any, **values: Any) -> str:
        """The path of a handler, as this request's client has to write it: with the root path and the mount's prefix.

        ::

            self.url_for("pie", name="apple & plum", size=3)  # "/shop/pie/apple%20%26%20plum?size=3"

        Values for the handler's first parameters become path segments; the others go into the query string.
        For a link in a mail, make it absolute: ``urllib.parse.urljoin(self.request.url, self.url_for(...))``.

        Args:
            handler: A method's name, such as ``"greet"``, ``"index"`` or ``"ws_chat"``, or the method itself.  The
                method may belong to an app that is mounted here, or to the app around this one.
            *segments: Values for the first parameters, and for ``*args``.
            **values: Values by the name of the parameter: a list for a repeated one, None to leave it out.

        Raises:
            LookupError: If there is no such route, or if it is called outside a request.
            TypeError: If the handler has no such parameter, or takes it from the session.
            ValueError: If the handler would refuse a value.
        """
        return url_for(self, handler, segments, values)

    @lazy
    def env(self) -> Environment:
        """The Jinja2 environment; needs the extra ``templates``.

        Raises:
            RuntimeError: If Jinja2 is not installed.
        """
        return make_environment(type(self))

    async def _render_template(self, name: str, /, **context: Any) -> str:
        """Render a template with Jinja2; HTML in values is escaped.

        Args:
            name: The template's path below ``templates``, beside the app's module or in the working
                directory.
            **context: What the template can use.

        Raises:
            RuntimeError: If Jinja2 is not installed.
            jinja2.TemplateError: If the template is missing or wrong.
        """
        return await self.env.get_template(name).render_async(context)

    def _parse_cookies(self, cookie_header: str) -> dict[str, str]:
        # No part of the public interface, but apps that were written for 0.32 call it.
        return parse_cookies(cookie_header)

    def _redirect(
        self, location: str, extra_headers: Headers | Mapping[str, str] | None = None, status: int = 302
    ) -> tuple[int, str, list[tuple[str, str]]]:
        """An answer that sends the browser elsewhere.

        Args:
            location: A URL or path.  Characters that a header cannot hold are percent-encoded, none of them twice.
            extra_headers: More header fields.
            status: 301, 302, 303, 307 or 308.

        Returns:
            Status, body and header fields, for the handler to return.

        Raises:
            ValueError: For another status.
        """
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"{status} isn't a redirect; use 301, 302, 303, 307 or 308")
        target = quote(location, safe="/:?#[]@!$&'()*+,;=~%")
        return status, "", [("Location", target), *field_list(extra_headers or ())]

    async def _error_page(self, status: int, detail: str) -> Any:
        """The page for an error; override it to make your own.

        Args:
            status: The HTTP status code.
            detail: The sentence of the :class:`~micropie.HTTPError`, perhaps empty.

        Returns:
            What a handler returns; without a status of its own it is sent with ``status``.  None for the
            plain page.
        """
        return None
