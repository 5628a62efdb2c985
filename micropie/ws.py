"""One WebSocket connection, from its handshake to its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .exceptions import ConnectionClosed, HTTPError, InvalidJSON
from .http import error_page
from .middleware import WebSocketMiddleware, short_circuit
from .mounts import find_mount
from .origins import check_host, check_origin
from .requests import WebSocketRequest, current_request
from .routing import Handler, split_path
from .types import ASGIApp, Message, Receive, Scope, Send
from .websockets import WebSocket

if TYPE_CHECKING:
    from .app import App

logger = logging.getLogger("micropie")


async def serve_websocket(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Handle one connection.  No error leaves this function, only a cancellation."""
    connect = await receive()
    if connect["type"] != "websocket.connect":
        return  # the client left before anything could begin
    request = WebSocketRequest(app, scope, receive)
    token = current_request.set(request)
    connection = Connection(app, request, connect, receive, send)
    try:
        await connection.run()
    finally:
        await connection.ws._wire.release()
        app._open_websockets.discard(connection.ws)
        current_request.reset(token)


class Connection:
    """A handshake on its way: origin, session loaded, hooks, handler, hooks, session saved, closed."""

    __slots__ = ("_app", "_connect", "_entered", "_passed_on", "_receive", "_request", "_send", "ws")

    def __init__(
        self, app: App, request: WebSocketRequest, connect: Message, receive: Receive, send: Send
    ) -> None:
        self._app = app
        self._request = request
        self._connect = connect
        self._receive = receive
        self._send = send
        self.ws = WebSocket(request, receive, send)
        # The middlewares whose before hook returned None, and whose after hook is still to run.
        self._entered: list[WebSocketMiddleware] = []
        self._passed_on = False

    async def run(self) -> None:
        """Run the handler, or a mounted app, and end the connection in good order."""
        error: Exception | None = None
        try:
            await self._handle()
        except Exception as raised:
            error = raised
        except BaseException:
            await self._after_hooks()
            await self._save_session()
            raise
        error = await self._after_hooks() or error
        error = await self._save_session() or error
        await self._end(error)

    async def _handle(self) -> None:
        app, request = self._app, self._request
        if app._allowed_hosts:
            check_host(request.scope, app._allowed_hosts)
        check_origin(request.scope, app._allowed_origins)
        await request._load_session()
        if await self._refused_by_hook():
            return
        mounted = find_mount(app._mounts, request)
        if mounted is not None:
            await self._pass_on(*mounted)
            return
        handler, exact = self._find_handler()
        if handler.problem is not None:
            raise TypeError(handler.problem)
        arguments, keywords = handler.plan.bind(request.path_params, request, exact)
        await handler.run(app._pool, [self.ws, *arguments], keywords)
        if not self.ws.accepted and not self.ws.closed:
            logger.warning("%s returned without accept(), so the handshake is refused", handler.name)

    def _find_handler(self) -> tuple[Handler, bool]:
        """The handler, and whether all path segments have to fit its parameters."""
        request, routes = self._request, self._app._routes
        segments = split_path(request.scope)
        request.path_params = request.path_params or segments[1:]
        if request._ws_route_handler is not None:
            return routes.chosen(request._ws_route_handler), False
        handler = routes.websocket(segments[0] if segments else "index")
        if handler is None:
            raise HTTPError(404)
        return handler, True

    # --- hooks and session ----------------------------------------------------------------------------

    async def _refused_by_hook(self) -> bool:
        for middleware in self._app.ws_middlewares:
            hook = middleware.before_websocket
            refusal = short_circuit(await hook(self._request), hook)
            if refusal is not None:
                await self.ws.reject(
                    refusal.get("status_code", 403), refusal.get("body", ""), refusal.get("headers", ())
                )
                return True
            self._entered.append(middleware)
        return False

    async def _after_hooks(self) -> Exception | None:
        """Run the after hooks, each one, and return the last error of one."""
        failure: Exception | None = None
        while self._entered:
            try:
                await self._entered.pop().after_websocket(self._request)
            except Exception as error:
                failure = error
            except BaseException:
                await self._after_hooks()
                raise
        return failure

    async def _save_session(self) -> Exception | None:
        session = self._request._session
        if session.id is None and session.data and not session.shared:
            logger.warning(
                "the session for %s is not stored: its client knows no id for it; write to it before accept()",
                self._request.path,
            )
        try:
            await self._request.save_session()
        except Exception as error:
            return error
        return None

    # --- a mounted app --------------------------------------------------------------------------------

    async def _pass_on(self, child: ASGIApp, scope: Scope) -> None:
        first: list[Message] = [self._connect]
        last_type = ""

        async def receive() -> Message:
            return first.pop() if first else await self._receive()

        async def send(message: Message) -> None:
            nonlocal last_type
            last_type = message["type"]
            await self._send(message)

        try:
            await child(scope, receive, send)
        except Exception:
            logger.exception("the app mounted for %s failed", self._request.path)
            if last_type in ("websocket.accept", "websocket.send"):
                await self._send({"type": "websocket.close", "code": 1011, "reason": ""})
        # A child that has not answered the handshake leaves that to _end().
        self._passed_on = bool(last_type)

    # --- the end --------------------------------------------------------------------------------------

    async def _end(self, error: Exception | None) -> None:
        """Answer the handshake if nobody has, close the socket if nobody has, and log what went wrong."""
        ws = self.ws
        if self._passed_on:
            if error is not None:
                logger.error("error around the app mounted for %s", self._request.path, exc_info=error)
        elif error is None:
            await ws.close()
        elif isinstance(error, HTTPError):
            await self._fail(error, 1008)
        elif isinstance(error, InvalidJSON) and ws.accepted:
            await ws.close(1007)
        elif is_departure(error) and ws.accepted:
            if not ws.closed:
                logger.warning(
                    "a ConnectionClosed that is not this socket's own left the handler for %s",
                    self._request.path,
                )
            await ws.close()
        else:
            logger.error("error in the handler for %s", self._request.path, exc_info=error)
            await self._fail(HTTPError(500), 1011)

    async def _fail(self, error: HTTPError, code: int) -> None:
        if self.ws.accepted or self.ws.closed:
            await self.ws.close(code)
            return
        page = await error_page(self._app, error)
        await self.ws.reject(page.status, page.body, page.headers)


def is_departure(error: BaseException) -> bool:
    """Whether an error says only that a client has left, alone or as a group."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_departure, error.exceptions))
    return isinstance(error, ConnectionClosed)
