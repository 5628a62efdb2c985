"""A WebSocket as its handler sees it."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio import get_running_loop  # a name of its own costs each handshake less
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from micropie.concurrency import leave_when
from micropie.exceptions import ConnectionClosed, HTTPError, InvalidJSON
from micropie.headers import encode_headers
from micropie.response.responses import answer, encode_answer
from micropie.sessions.visit import save_before_accept
from micropie.strict_json import dump_json, load_json
from micropie.types import Headers

from .rfc6455 import check_code, check_subprotocol, checked_size, fitting_reason, handshake_headers
from .run import run_jobs
from .wire import CLOSED, CONNECTING, OPEN, Wire

__all__ = ["WebSocket"]

logger: logging.Logger = logging.getLogger("micropie")


class WebSocket(Wire):
    """One WebSocket connection, given to a ``ws_`` handler as its first argument.

    A handler accepts it, then receives and sends until :class:`~micropie.ConnectionClosed` says that it is
    over.  One task may receive while others send.  Any of the methods may be cancelled.

    It is the :class:`WebSocketRequest` that opened it, too, with all that a request tells: ``ws.query_params``,
    ``ws.headers``, ``ws.session``.  So ``self.request`` in its handler is this very object.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        state = f"closed {self.close_code}" if self.x_state is CLOSED else self.x_state.name.lower()
        return f"<WebSocket {self.x_shown_path} {state}>"

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offered, in its order of preference."""
        return tuple(self.scope.get("subprotocols") or ())

    @property
    def closed(self) -> bool:
        """Whether it is over: refused or closed from here, or left by the client."""
        return self.x_state is CLOSED

    @property
    def session_id(self) -> str | None:
        """The id of the session that belongs to this socket; None if the client knows of none, or the store fails."""
        view = self.x_session()
        if not view.looked:
            with suppress(HTTPError):
                view.look()
        return view.id

    # --- the handshake --------------------------------------------------------------------------------

    async def accept(
        self,
        subprotocol: str | None = None,
        session_id: str | None = None,
        headers: Headers | Mapping[str, str] = (),
        max_message_size: int | None = None,
    ) -> None:
        """Accept the handshake, which opens the socket.

        Changes to the session are stored first, and the answer carries the session's cookie.

        Args:
            subprotocol: One of :attr:`subprotocols`, or None.
            session_id: An id of your own for this socket's session.  Its cookie is always sent.
            headers: Header fields for the answer.  Granian and Daphne do not pass them on, cookies included.
            max_message_size: The largest message in bytes that may come in; None for the app's setting.

        Raises:
            RuntimeError: If the handshake was answered before.
            ValueError: If the subprotocol was not offered, or a header, the limit or the id is not valid.
            TypeError: If an argument has the wrong type.
            ConnectionClosed: If the client left during the handshake.
        """
        if self.x_state is not CONNECTING:
            self.x_expect(CONNECTING)
        if subprotocol is not None:
            check_subprotocol(subprotocol, self.subprotocols)
        elif "subprotocols" in self.scope and self.scope["subprotocols"]:  # noqa: RUF019  # PERF: get() is a call
            self._warn_of_no_subprotocol()
        fields = handshake_headers(headers) if headers else []
        limit = self._limit if max_message_size is None else checked_size(max_message_size)
        if self.x_view is not None or self.x_cookies is not None or session_id is not None:
            cookies = await save_before_accept(self, session_id)
            self.x_expect(CONNECTING)  # another task may have been faster
            fields += encode_headers(cookies)
        self.x_sealed = True
        self.x_state = OPEN
        self.accepted = True
        self._receive_now, self._send_now = self.x_receive, self.x_send
        self._limit = limit
        # UTF-8 has one to four bytes per character.
        self._short = sys.maxsize if limit is None else limit // 4
        core = self.x_core
        core.open_websockets.add(self)
        self._loop = loop = get_running_loop()
        if core.watch.loop is not loop:
            core.pool.loop = loop
            core.watch.begin(loop)
        try:
            await self.x_send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self.x_over(1006)  # nobody knows whether it was sent, so nothing more may be
            raise await self.x_failed_send(error) from None

    def _warn_of_no_subprotocol(self) -> None:
        """Warn, once for each route."""
        route = self.x_shown_path.rstrip("/")
        for _ in self.path_params:
            route = route.rpartition("/")[0]
        if self.x_core.is_first(("subprotocol", self._ws_route_handler or route)):
            logger.warning(
                "the client of %s offered the subprotocols %s, and accept() names none of them: browsers close such a "
                "socket at once; use accept(subprotocol=...)",
                self.x_shown_path,
                ", ".join(map(repr, self.subprotocols)),
            )

    async def reject(
        self, status: int = 403, body: Any = "", headers: Headers | Mapping[str, str] = ()
    ) -> None:
        """Answer the handshake with an HTTP answer: there will be no WebSocket.

        On a server without the ASGI extension ``websocket.http.response``, the client gets a 403 without a body.

        Args:
            status: The HTTP status code, 200 to 599.
            body: As from an HTTP handler: ``str``, ``bytes``, ``dict`` or ``list``.
            headers: Header fields for the answer.

        Raises:
            RuntimeError: If the handshake was answered before.
            ValueError: If the status or a header cannot be sent.
            TypeError: If the body cannot be sent.
        """
        self.x_expect(CONNECTING)
        fields, content = encode_answer(answer((status, body, headers)))
        if content is None:
            raise TypeError("the answer to a handshake cannot be a stream")
        self.x_over(1006)
        if "websocket.http.response" in (self.scope.get("extensions") or ()):
            await self.x_finish(
                {"type": "websocket.http.response.start", "status": status, "headers": fields},
                {"type": "websocket.http.response.body", "body": content},
            )
        else:
            await self.x_finish({"type": "websocket.close", "code": 1000, "reason": ""})

    # --- messages --------------------------------------------------------------------------------------

    async def receive_json(self) -> Any:
        """Wait for the next message, text or binary, and parse it as JSON.

        Raises:
            ValueError: If it is not JSON.  Catch it to go on; if you don't, the socket is closed with 1007.
            ConnectionClosed: As :meth:`receive`.
            RuntimeError: As :meth:`receive`.
        """
        data = await self.receive()
        try:
            return load_json(data)
        except ValueError as error:
            raise InvalidJSON(str(error)) from None

    def __aiter__(self) -> WebSocket:
        """The messages, each a ``str`` or ``bytes``, until the client leaves or the socket is closed."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, data: str | bytes) -> None:
        """Send a message: a ``str`` as text, ``bytes`` as binary.

        Args:
            data: The message.

        Raises:
            ConnectionClosed: If the client left, the socket is closed, or the client has read nothing for
                ``send_timeout`` seconds.  On some servers a send doesn't notice that the client left; receiving
                always does.
            RuntimeError: Before :meth:`accept`.
            TypeError: If it is neither text nor bytes.
            ValueError: If the text cannot be encoded, because it has half a surrogate pair in it.
        """
        if isinstance(data, str):
            await self.send_text(data)
        elif isinstance(data, (bytes, bytearray, memoryview)):
            await self.send_bytes(data)
        else:
            raise TypeError(f"send() takes str or bytes; for {type(data).__name__} there is send_json()")

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text message.

        Args:
            value: Anything that JSON can hold; NaN and infinities become null.

        Raises:
            TypeError: If JSON cannot hold the value.
            ValueError: If the value contains itself, or has half a surrogate pair in it.
            ConnectionClosed: As :meth:`send`.
            RuntimeError: As :meth:`send`.
        """
        await self.send_text(dump_json(value).decode())

    # --- the end --------------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the socket, or before :meth:`accept` refuse the handshake with HTTP 403.

        A second call does nothing, nor does a call after the client has left.  A :meth:`receive` that waits in
        another task raises :class:`~micropie.ConnectionClosed`.

        It never waits for the client's answer.  If the client reads nothing, it waits up to ``close_timeout`` for
        room to send, and then the client counts as gone.  If you cancel the call, it ends at once, and the close
        frame is still sent.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, section 7.4).
            reason: The reason, at most 123 bytes of UTF-8.  A longer one is cut.

        Raises:
            ValueError: If the code must not be sent.
            TypeError: If an argument has the wrong type.
        """
        check_code(code)
        reason = fitting_reason(reason)
        if self.x_state is CONNECTING:
            await self.reject(403)
        else:
            await self._close(code, reason)

    # --- receive and send at once ---------------------------------------------------------------------

    @asynccontextmanager
    async def until_closed(self) -> AsyncIterator[None]:
        """A block for handlers that only send: it ends as soon as the client has left.

        It works like :func:`asyncio.timeout`: it cancels whatever the block awaits, and lets a cancellation from
        outside through.  Messages that come in meanwhile are dropped.  If a send in the block finds that the client
        has left, the block ends in the same way.

        Raises:
            RuntimeError: Before :meth:`accept`, or while another task receives.
        """
        if self.x_state is CONNECTING:
            self.x_expect(OPEN)
        try:
            async with leave_when(self._drain):
                yield
        except ConnectionClosed:
            if not self.closed:  # another WebSocket's
                raise

    async def _drain(self) -> None:
        async for _ in self:
            pass

    async def run(self, *jobs: Coroutine[Any, Any, Any]) -> None:
        """Run coroutines side by side, usually one that receives and one that sends.

        When one of them ends, or the client leaves, the others are cancelled.  None outlives the call.  It notices
        that the client has left even if no job receives, unless more than one message is waiting.

        Args:
            jobs: At least one coroutine.

        Raises:
            ConnectionClosed: If the client left or the socket was closed, and no job ended by itself.
            Exception: The first other error of a job.
            ValueError: Without a job.
            TypeError: If a job is not a coroutine, such as a function that was not called.
            RuntimeError: Before :meth:`accept`.
        """
        await run_jobs(self, jobs)
