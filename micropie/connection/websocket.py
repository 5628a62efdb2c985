"""One WebSocket connection, from its handshake to its end."""

from __future__ import annotations

import asyncio
import logging
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Literal, TypeAlias

from micropie.concurrency import is_ordinary, uninterrupted
from micropie.exceptions import ConnectionClosed, HTTPError, InvalidJSON, the_one
from micropie.headers import clean_headers, find_header
from micropie.middleware import WebSocketMiddleware, short_circuit
from micropie.request.origins import check_host, check_origin
from micropie.request.request import enter_request, leave_request
from micropie.response.responses import check_status, header_list
from micropie.routing.mounts import find_mount, one_spelling
from micropie.routing.routes import Handler
from micropie.sessions.visit import prepare_session
from micropie.types import ASGIApp, Message, Receive, Scope, Send
from micropie.websocket.rfc6455 import check_code, check_subprotocol, fitting_reason, reason_of
from micropie.websocket.stalled import logs_cancellations
from micropie.websocket.websocket import WebSocket
from micropie.websocket.wire import CLOSED, CONNECTING

from .errors import error_page

if TYPE_CHECKING:
    from micropie.app import App

logger: logging.Logger = logging.getLogger("micropie")

#: Header fields that say whose page asks, and whether there is more to do than to call the handler.
_TELLING = frozenset((b"host", b"origin", b"cookie"))


async def serve_websocket(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Handle one connection.  Only a cancellation leaves this function, once the client has been told.

    Its way: origin, session loaded, hooks, handler, hooks, session saved, closed.
    """
    ws = WebSocket(app, scope, receive, send)
    connecting = receive()
    if (await connecting)["type"] != "websocket.connect":
        return  # the client left before anything could begin
    if type(connecting) is not CoroutineType:
        ws.x_register_readers()
    del connecting  # else it would be kept as long as the socket is open
    core = ws.x_core
    token = enter_request(ws)
    try:
        # PERF: what most handshakes lack is looked for here, without a call; the budget of ws_session holds it.
        more = (
            not core.plain
            or ("root_path" in scope and scope["root_path"])  # PERF: get() is a call
            or "session" in scope
        )
        host = origin = None
        for name, value in scope["headers"]:
            if name in _TELLING:
                if name == b"host" and host is None:
                    host = value
                elif name == b"origin" and origin is None:
                    origin = value
                else:  # a cookie, or a field that comes twice
                    more = True
        if (
            more
            or not host
            or (origin is not None and origin != b"http://" + host and origin != b"https://" + host)
        ):
            more = True
            await _prepare(ws)
        if more or app.ws_middlewares:
            handler = await _dispatch(ws)
        else:
            routes = core.websocket_routes
            handler = routes.by_path.get(scope["path"]) or routes.by_segments(ws)
        if handler is not None:
            simple = handler.simple and not ws.x_segments
            result = handler.call(ws) if simple else handler.plan.apply(handler.call, ws, [ws])
            if handler.awaits or isawaitable(result):  # a decorator may have decided without the handler
                await result
            if ws.x_state is CONNECTING:
                logger.warning("%s returned without accept(), so the handshake is refused", handler.name)
    except BaseException as error:
        # Most handlers end with a ConnectionClosed, and leave nothing to do.
        if (
            not isinstance(error, ConnectionClosed)
            or ws.x_state is not CLOSED
            or ws.x_closing
            or ws.x_entered
            or ws.x_view is not None
        ):
            await _conclude(ws, error)
    else:
        if ws.x_state is not CLOSED or ws.x_closing or ws.x_entered or ws.x_view is not None:
            await _conclude(ws, None)
    finally:
        if ws.x_state is not CLOSED:
            ws.x_over(1006)  # for a task that still holds it
        core.open_websockets.discard(ws)
        leave_request(token)
        if ws.x_ahead is not None:
            await ws.x_release()


async def _conclude(ws: WebSocket, error: BaseException | None) -> None:
    """Run the after hooks, save the session and close; the first error says how, and none is lost.

    The hooks run here, in the task and the context of the hooks before the handler: what one of those has entered,
    a context variable or a task group, its other half can leave.
    """
    errors = [] if error is None else [error]
    entered = ws.x_entered
    while entered:
        try:
            await entered.pop().after_websocket(ws)
        except BaseException as late:
            errors.append(late)
    if ws.x_view is not None and ws.x_view.looked:
        try:
            await uninterrupted(_save_session(ws, errors))
        except asyncio.CancelledError as late:
            errors.append(late)
    elif (
        ws.x_state is CLOSED
        and not ws.x_closing
        and not ws.x_started
        and (not errors or (len(errors) == 1 and isinstance(errors[0], ConnectionClosed)))
    ):  # PERF: it has ended as most do
        del error, errors  # their tracebacks hold this frame
        return
    fatal = next((one for one in errors if not is_ordinary(one)), None)
    if fatal is not None:
        errors.remove(fatal)
    _log(ws, errors if fatal is not None else errors[1:])
    try:
        try:
            if fatal is None:
                await _end(ws, errors[0] if errors else None)
            elif isinstance(fatal, asyncio.CancelledError):
                await _end_cancelled(ws)
        finally:
            await ws.x_linger()
        if fatal is not None:
            raise fatal
    except asyncio.CancelledError:
        if not logs_cancellations():
            raise
    finally:
        del error, errors, fatal  # their tracebacks hold this frame


async def _prepare(ws: WebSocket) -> None:
    """Do what comes before the hooks: host, origin, session."""
    core, scope = ws.x_core, ws.scope
    if not core.begun:
        core.begin()
    if "root_path" in scope and scope["root_path"]:  # noqa: RUF019  # PERF: get() is a call
        scope = ws.scope = one_spelling(scope)
    if core.allowed_hosts:
        check_host(scope, core.allowed_hosts)
    check_origin(scope, core.allowed_origins)
    prepare_session(ws, cookie=find_header(scope, b"cookie") is not None)
    if ws.x_view is not None and ws.x_view.waits:
        await ws.x_view.load()


async def _dispatch(ws: WebSocket) -> Handler | None:
    """Run the hooks, and find who answers.

    Returns:
        A handler of ours; None if a hook has refused, or a mounted app has had its turn.
    """
    entered: list[WebSocketMiddleware] = []
    ws.x_entered = entered
    for middleware in ws.x_app.ws_middlewares:
        refusal = await middleware.before_websocket(ws)
        if refusal is not None and short_circuit(refusal, middleware.before_websocket) is not None:
            await ws.reject(
                refusal.get("status_code", 403), refusal.get("body", ""), refusal.get("headers", ())
            )
            return None
        entered.append(middleware)
        if ws.x_state is CLOSED:  # its request is the WebSocket, which it may have refused itself
            return None
    core = ws.x_core
    if core.mounts or ws._subapp is not None:
        mounted = find_mount(core.mounts, ws)
        if mounted is not None:
            await _pass_on(ws, *mounted)
            return None
    return core.websocket_routes.find(ws, ws._ws_route_handler)


# --- hooks and session -----------------------------------------------------------------------------------


def _log(ws: WebSocket, errors: list[BaseException]) -> None:
    for error in errors:
        logger.error("error after the handler for %s", ws.x_shown_path, exc_info=error)


async def _save_session(ws: WebSocket, errors: list[BaseException]) -> None:
    session = ws.x_view
    if session is None or session.scope is not ws.scope:
        return  # the app that chose this one saves it
    if session.unstorable:
        logger.warning(
            "the session for %s is not stored: one can begin only before accept(), with its cookie",
            ws.x_shown_path,
        )
    try:
        await session.save()
    except Exception as error:
        errors.append(error)


# --- a mounted app ---------------------------------------------------------------------------------------


#: Where a mounted app has left the connection; empty before its answer to the handshake.
_Stands: TypeAlias = Literal["", "open", "refusing", "over"]

#: What it may send where, and where that leads.
_STEPS: dict[tuple[str, str], _Stands] = {
    ("", "websocket.accept"): "open",
    ("", "websocket.close"): "over",
    ("", "websocket.http.response.start"): "refusing",
    ("refusing", "websocket.http.response.body"): "over",
    ("open", "websocket.send"): "open",
    ("open", "websocket.close"): "over",
}


_PLACES: dict[_Stands, str] = {
    "": "as its answer to a handshake",
    "refusing": "where the body of its refusal is due",
    "open": "after it had accepted",
}


async def _pass_on(ws: WebSocket, child: ASGIApp, scope: Scope) -> None:
    ws.x_expect(CONNECTING)  # a hook may have accepted
    passage = Passage(ws)
    failed = False
    try:
        await child(scope, passage.receive, passage.send)
    except OSError:
        logger.debug("the client of the app mounted for %s has left", ws.x_shown_path, exc_info=True)
        passage.stands = "over"
    except asyncio.CancelledError:
        if passage.stands:
            await passage.complete(1001 if ws.x_core.watch.server_stops() else 1011)
            ws.x_started = True
        raise
    except Exception:
        if not passage.stands:
            raise
        failed = True
        logger.exception("the app mounted for %s failed", ws.x_shown_path)
    if passage.illegal is not None and not failed:  # the child has kept it to itself
        if not passage.stands:
            raise passage.illegal
        failed = True
        logger.error("the app mounted for %s failed", ws.x_shown_path, exc_info=passage.illegal)
    await passage.complete(1011 if failed else 1000)
    # A child that has not answered the handshake leaves that to _end().
    ws.x_started = bool(passage.stands)


class Passage:
    """The way of a mounted app's messages: nothing illegal reaches the server, and what was not sent does not count.

    Attributes:
        stands: Where the child has left the connection.
        illegal: What it has sent against the rules, or against the server's; None for nothing.
    """

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws
        self._first: list[Message] = [{"type": "websocket.connect"}]
        self.stands: _Stands = ""
        self.illegal: Exception | None = None

    async def receive(self) -> Message:
        """The child's ``receive``."""
        message = self._first.pop() if self._first else await self._ws.x_receive()
        if message["type"] == "websocket.disconnect":
            self.stands = "over"
        return message

    async def send(self, message: Message) -> None:
        """The child's ``send``."""
        if message.get("headers"):
            accepting = message["type"] == "websocket.accept"
            message = {**message, "headers": clean_headers(message["headers"], accepting=accepting)}
        before = self.stands
        if before == "over":  # it comes too late, which is the server's to judge
            await self._ws.x_send(message)
            return
        if not before:
            self._ws.x_expect(CONNECTING)
        reached = _STEPS.get((before, message["type"]))
        if reached is None:
            self.illegal = RuntimeError(f"a mounted app sent {message['type']!r} {_PLACES[before]}")
            raise self.illegal
        try:
            message = self._sound(message)
        except (TypeError, ValueError) as error:
            self.illegal = error
            raise
        if message.get("more_body"):
            reached = "refusing"
        # Noted at once, since sends may overlap, and taken back if the message has no effect.
        self.stands = reached
        try:
            await self._ws.x_send(message)
        except (OSError, RuntimeError, asyncio.CancelledError) as error:
            # The client has left, as servers say; or nobody knows whether it was sent.
            if reached != before or not isinstance(error, asyncio.CancelledError):
                self.stands = "over"
            raise
        except Exception as error:
            self.illegal = error
            if self.stands == reached:
                self.stands = before
            raise
        finally:
            if not before and self.stands:
                self._ws.x_over(1006)  # for hooks, since it is the child's from now on

    def _sound(self, message: Message) -> Message:
        """A message of which each server makes the same, or none.

        Raises:
            TypeError: If a part of it has the wrong type.
            ValueError: If it is an answer or a close frame that cannot be sent.
        """
        kind = message["type"]
        if kind == "websocket.accept":
            check_subprotocol(message.get("subprotocol"), self._ws.scope.get("subprotocols") or ())
        elif kind == "websocket.http.response.start":
            check_status(message.get("status"))
        elif kind == "websocket.close" and self.stands == "open":  # else there is no close frame
            check_code(message.get("code", 1000))
            return {**message, "reason": fitting_reason(message.get("reason"))}
        return message

    async def complete(self, code: int) -> None:
        """End what the child has begun and left."""
        if self.stands == "open":
            await self._ws.x_finish({"type": "websocket.close", "code": code, "reason": ""})
        if self.stands == "refusing":
            await self._ws.x_finish({"type": "websocket.http.response.body", "body": b""})


# --- the end ---------------------------------------------------------------------------------------------


async def _end(ws: WebSocket, error: BaseException | None) -> None:
    """Answer the handshake if nobody has, close the socket if nobody has, and log what went wrong."""
    error = None if error is None else the_one(error)
    if ws.x_started:
        if error is not None:
            logger.error("error around the app mounted for %s", ws.x_shown_path, exc_info=error)
    elif error is None:
        await _close(ws, 1000)
    elif isinstance(error, HTTPError):
        await _fail(ws, error, 1008, reason_of(error.detail) if ws.accepted else "")
    elif isinstance(error, InvalidJSON) and ws.accepted:
        await _close(ws, 1007)
    elif isinstance(error, ConnectionClosed) and (ws.accepted or ws.closed):
        if not ws.closed:
            logger.warning(
                "a ConnectionClosed that is not this socket's own left the handler for %s",
                ws.x_shown_path,
            )
        await ws.close()
    else:
        logger.error("error in the handler for %s", ws.x_shown_path, exc_info=error)
        await _fail(ws, HTTPError(500), 1011)


async def _end_cancelled(ws: WebSocket) -> None:
    """Close the socket of a handler that was cancelled, by the app or because the server stops, and say so."""
    stops = ws.x_core.watch.server_stops()
    say = logger.info if stops else logger.warning
    if ws.x_started or ws.x_state is CLOSED:
        say("the handler for %s was cancelled", ws.x_shown_path)
    elif ws.x_state is CONNECTING:
        say("the handler for %s was cancelled, so the handshake is refused", ws.x_shown_path)
        await _fail(ws, HTTPError(503 if stops else 500), 1011)
    else:
        code = 1001 if stops else 1011
        say("the handler for %s was cancelled, so the socket is closed with %d", ws.x_shown_path, code)
        await ws._end(code)


async def _close(ws: WebSocket, code: int, reason: str = "") -> None:
    if ws.accepted or ws.closed:
        await ws._end(code, reason)
    else:
        await ws.close()


async def _fail(ws: WebSocket, error: HTTPError, code: int, reason: str = "") -> None:
    if ws.accepted or ws.closed:
        await _close(ws, code, reason)
        return
    page = await error_page(ws.x_app, error)
    body = page.body if isinstance(page.body, (str, bytes)) else ""  # no handshake is refused with a stream
    await ws.reject(page.status, body, header_list(page))
