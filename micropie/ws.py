"""One WebSocket connection, from its handshake to its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .concurrency import is_ordinary, uninterrupted
from .exceptions import ConnectionClosed, HTTPError, InvalidJSON, the_one
from .http import error_page
from .middleware import WebSocketMiddleware, short_circuit
from .mounts import find_mount
from .origins import check_host, check_origin
from .requests import WebSocketRequest, current_request
from .responses import header_list
from .routing import Handler, split_path
from .types import ASGIApp, Message, Receive, Scope, Send
from .visits import load_session
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
        if connection.ws._wire.reads_ahead:
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
        errors: list[BaseException] = []
        try:
            await self._handle()
        except BaseException as error:
            if not is_ordinary(error):
                await uninterrupted(self._wind_up(errors))
                self._log(errors)
                raise
            errors.append(error)
        # The first error says how it ends, and none is lost.
        if self._entered or self._request._session.data or self._request._session.id:
            await uninterrupted(self._wind_up(errors))
        self._log(errors[1:])
        await self._end(errors[0] if errors else None)

    async def _wind_up(self, errors: list[BaseException]) -> None:
        """Run the after hooks and save the session, both of them, and collect what goes wrong."""
        errors += await self._after_hooks()
        errors += await self._save_session()

    async def _handle(self) -> None:
        app, request = self._app, self._request
        if app._allowed_hosts:
            check_host(request.scope, app._allowed_hosts)
        check_origin(request.scope, app._allowed_origins)
        await load_session(request)
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
            return routes.chosen(request._ws_route_handler, websocket=True), False
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

    async def _after_hooks(self) -> list[BaseException]:
        """Run the after hooks, each one, and return their errors."""
        errors: list[BaseException] = []
        while self._entered:
            try:
                await self._entered.pop().after_websocket(self._request)
            except BaseException as error:
                errors.append(error)
        return errors

    def _log(self, errors: list[BaseException]) -> None:
        for error in errors:
            logger.error("error after the handler for %s", self._request.path, exc_info=error)

    async def _save_session(self) -> list[BaseException]:
        session = self._request._session
        if session.unstorable:
            logger.warning(
                "the session for %s is not stored: one can begin only before accept(), with its cookie",
                self._request.path,
            )
        try:
            await self._request.save_session()
        except Exception as error:
            return [error]
        return []

    # --- a mounted app --------------------------------------------------------------------------------

    async def _pass_on(self, child: ASGIApp, scope: Scope) -> None:
        first: list[Message] = [self._connect]
        last_type = ""

        async def receive() -> Message:
            nonlocal last_type
            message = first.pop() if first else await self._receive()
            if message["type"] == "websocket.disconnect":
                last_type = message["type"]
            return message

        async def send(message: Message) -> None:
            nonlocal last_type
            last_type = message["type"]
            await self._send(message)

        wire, code = self.ws._wire, 1000
        try:
            await child(scope, receive, send)
        except OSError:
            logger.debug("the client of the app mounted for %s has left", self._request.path, exc_info=True)
            last_type = "websocket.disconnect"
        except Exception:
            if not last_type:
                raise
            logger.exception("the app mounted for %s failed", self._request.path)
            code = 1011
        if last_type in ("websocket.accept", "websocket.send"):  # left open by the child
            await wire.finish({"type": "websocket.close", "code": code, "reason": ""})
        if last_type == "websocket.http.response.start":  # a refusal that has no end yet
            await wire.finish({"type": "websocket.http.response.body", "body": b""})
        # A child that has not answered the handshake leaves that to _end().
        self._passed_on = bool(last_type)

    # --- the end --------------------------------------------------------------------------------------

    async def _end(self, error: BaseException | None) -> None:
        """Answer the handshake if nobody has, close the socket if nobody has, and log what went wrong."""
        ws = self.ws
        error = None if error is None else the_one(error)
        if self._passed_on:
            if error is not None:
                logger.error("error around the app mounted for %s", self._request.path, exc_info=error)
        elif error is None:
            await self._close(1000)
        elif isinstance(error, HTTPError):
            await self._fail(error, 1008)
        elif isinstance(error, InvalidJSON) and ws.accepted:
            await self._close(1007)
        elif isinstance(error, ConnectionClosed) and (ws.accepted or ws.closed):
            if not ws.closed:
                logger.warning(
                    "a ConnectionClosed that is not this socket's own left the handler for %s",
                    self._request.path,
                )
            await ws.close()
        else:
            logger.error("error in the handler for %s", self._request.path, exc_info=error)
            await self._fail(HTTPError(500), 1011)

    async def _close(self, code: int) -> None:
        if self.ws.accepted:
            await self.ws._wire.end(code)
        else:
            await self.ws.close()

    async def _fail(self, error: HTTPError, code: int) -> None:
        if self.ws.accepted or self.ws.closed:
            await self._close(code)
            return
        page = await error_page(self._app, error)
        body = (
            page.body if isinstance(page.body, (str, bytes)) else ""
        )  # no handshake is refused with a stream
        await self.ws.reject(page.status, body, header_list(page))
