"""A WebSocket as its handler sees it."""

from __future__ import annotations

import asyncio
import logging
import sys
from asyncio import get_running_loop  # a name of its own costs each handshake less
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from .codec import dump_json, load_json
from .concurrency import leave_when
from .exceptions import ConnectionClosed, HTTPError, InvalidJSON
from .headers import encode_headers
from .jobs import run_jobs
from .protocol import check_code, check_subprotocol, checked_size, fitting_reason, handshake_headers
from .responses import answer, encode_answer
from .types import Headers
from .visits import save_before_accept
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
        state = f"closed {self.close_code}" if self._state is CLOSED else self._state.name.lower()
        return f"<WebSocket {self._shown_path} {state}>"

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offered, in its order of preference."""
        return tuple(self.scope.get("subprotocols") or ())

    @property
    def closed(self) -> bool:
        """Whether it is over: refused or closed from here, or left by the client."""
        return self._state is CLOSED

    @property
    def session_id(self) -> str | None:
        """The id of the session that belongs to this socket; None if the client knows of none, or the store fails."""
        view = self._session
        if not view.looked:
            self._marked = True
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
        """Answer the handshake: the socket is open.

        What was written to the session before is stored now, and the answer carries its cookie.

        Args:
            subprotocol: One of :attr:`subprotocols`, or None for none.
            session_id: An id of the app's own choice for this socket's session; its cookie is always sent.
            headers: Header fields for the answer.  Granian and Daphne do not pass them on, cookies included.
            max_message_size: The largest message in bytes that may come in; None for the app's setting.

        Raises:
            RuntimeError: If the handshake was answered before.
            ValueError: If the subprotocol was not offered, or a header, the limit or the id is not valid.
            TypeError: If an argument has the wrong type.
            ConnectionClosed: If the client left during the handshake.
        """
        if self._state is not CONNECTING:
            self._expect(CONNECTING)
        if subprotocol is not None:
            check_subprotocol(subprotocol, self.subprotocols)
        elif self.scope.get("subprotocols"):
            self._warn_of_no_subprotocol()
        fields = handshake_headers(headers) if headers else []
        limit = self._limit if max_message_size is None else checked_size(max_message_size)
        if self._marked or session_id is not None:
            cookies = await save_before_accept(self, session_id)
            self._expect(CONNECTING)  # another task may have been faster
            fields += encode_headers(cookies)
        self._sealed = True
        if self._view is not None:
            self._view.sealed = True
        self._state = OPEN
        self.accepted = True
        self._receive_now, self._send_now = self._receive, self._send
        self._limit = limit
        # UTF-8 has one to four bytes per character.
        self._short = sys.maxsize if limit is None else limit // 4
        core = self._app._micropie
        core.open_websockets.add(self)
        self._loop = loop = get_running_loop()
        if core.watch.loop is not loop:
            core.pool.loop = loop
            core.watch.begin(loop)
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                self._over(1006)  # nobody knows whether it was sent, so nothing more may be
            raise await self._failed_send(error) from None

    def _warn_of_no_subprotocol(self) -> None:
        """Warn, once for each route."""
        route = self._shown_path.rstrip("/")
        for _ in self.path_params:
            route = route.rpartition("/")[0]
        if self._app._micropie.is_first(("subprotocol", self._ws_route_handler or route)):
            logger.warning(
                "the client of %s offered the subprotocols %s, and accept() names none of them: browsers close such a "
                "socket at once; use accept(subprotocol=...)",
                self._shown_path,
                ", ".join(map(repr, self.subprotocols)),
            )

    async def reject(
        self, status: int = 403, body: Any = "", headers: Headers | Mapping[str, str] = ()
    ) -> None:
        """Answer the handshake with an HTTP answer: there will be no WebSocket.

        Where the server lacks the ASGI extension ``websocket.http.response``, the client gets a bare 403.

        Args:
            status: The HTTP status code, 200 to 599.
            body: As from an HTTP handler: ``str``, ``bytes``, ``dict`` or ``list``.
            headers: Header fields for the answer.

        Raises:
            RuntimeError: If the handshake was answered before.
            ValueError: If the status or a header cannot be sent.
            TypeError: If the body is nothing that can be sent.
        """
        self._expect(CONNECTING)
        fields, content = encode_answer(answer((status, body, headers)))
        if content is None:
            raise TypeError("the answer to a handshake cannot be a stream")
        self._over(1006)
        if "websocket.http.response" in (self.scope.get("extensions") or ()):
            await self._finish(
                {"type": "websocket.http.response.start", "status": status, "headers": fields},
                {"type": "websocket.http.response.body", "body": content},
            )
        else:
            await self._finish({"type": "websocket.close", "code": 1000, "reason": ""})

    # --- messages --------------------------------------------------------------------------------------

    async def receive_json(self) -> Any:
        """The value of the next message, a JSON text in a frame of either kind.

        Raises:
            ValueError: If it is not JSON.  A handler may catch that and go on; if it does not, the socket is
                closed with 1007.
            ConnectionClosed: As :meth:`receive`.
            RuntimeError: As :meth:`receive`.
        """
        data = await self.receive()
        try:
            return load_json(data)
        except ValueError as error:
            raise InvalidJSON(str(error)) from None

    def __aiter__(self) -> WebSocket:
        """The messages, in kind, until the client leaves or the socket is closed."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def send(self, data: str | bytes) -> None:
        """Send a message in kind: ``str`` in a text frame, ``bytes`` in a binary one.

        Args:
            data: The message.

        Raises:
            ConnectionClosed: If the client left or the socket is closed, or if the client has taken nothing for
                ``send_timeout`` seconds.  Not every server tells that the client left; only receiving tells for sure.
            RuntimeError: Before :meth:`accept`.
            TypeError: If it is neither text nor bytes.
            ValueError: If a text is not Unicode that can be encoded (a lone surrogate).
        """
        if isinstance(data, str):
            await self.send_text(data)
        elif isinstance(data, (bytes, bytearray, memoryview)):
            await self.send_bytes(data)
        else:
            raise TypeError(f"send() takes str or bytes; for {type(data).__name__} there is send_json()")

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text frame.

        Args:
            value: What JSON can hold; NaN and infinities become null.

        Raises:
            TypeError: If JSON cannot hold the value.
            ValueError: For half a surrogate pair, or what contains itself.
            ConnectionClosed: As :meth:`send`.
            RuntimeError: As :meth:`send`.
        """
        await self.send_text(dump_json(value).decode())

    # --- the end --------------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the socket; before :meth:`accept`, refuse the handshake (HTTP 403), for good.

        A second call does nothing, nor does one after the client has left.  A :meth:`receive` that waits in
        another task ends with :class:`~micropie.ConnectionClosed`.

        It does not wait for the client's answer, and for room to send no longer than the setting ``close_timeout``;
        then the socket counts as gone.  A call that is cancelled ends at once, and the close frame is sent all the
        same.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, section 7.4).
            reason: For the close frame, at most 123 bytes of UTF-8; a longer one is cut.

        Raises:
            ValueError: If the code must not be sent.
            TypeError: If an argument has the wrong type.
        """
        check_code(code)
        reason = fitting_reason(reason)
        if self._state is CONNECTING:
            await self.reject(403)
        else:
            await self._close(code, reason)

    # --- receive and send at once ---------------------------------------------------------------------

    @asynccontextmanager
    async def until_closed(self) -> AsyncIterator[None]:
        """A block for handlers that only send: it is left the moment the client goes.

        As with :func:`asyncio.timeout`, whatever the block awaits is cancelled, and a cancellation from
        outside passes through.  Messages that come in meanwhile are dropped.  A send in the block that finds
        the client gone leaves the block in the same way.

        Raises:
            RuntimeError: Before :meth:`accept`, or while another task receives.
        """
        if self._state is CONNECTING:
            self._expect(OPEN)
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
        """Run coroutines at once, usually one that receives and one that sends.

        When one of them ends, or the client goes, the others are cancelled.  None outlives the call.  That
        the client has gone is noticed also while no job receives, unless more than one message waits.

        Args:
            jobs: At least one coroutine.

        Raises:
            ConnectionClosed: If the client left or the socket was closed, and no job ended by itself.
            Exception: The first other error of a job.
            ValueError: Without a job.
            TypeError: For a job that is no coroutine, such as a function that was not called.
            RuntimeError: Before :meth:`accept`.
        """
        await run_jobs(self, jobs)
