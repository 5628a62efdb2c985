"""A WebSocket as its handler sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .codec import dump_json, load_json
from .concurrency import leave_when
from .exceptions import ConnectionClosed, InvalidJSON
from .headers import encode_headers
from .jobs import run_jobs
from .protocol import check_code, check_subprotocol, checked_size, fitting_reason, handshake_headers
from .responses import answer, encode_answer
from .types import Headers, Receive, Send
from .visits import save_before_accept
from .wire import State, Wire

if TYPE_CHECKING:
    from .requests import WebSocketRequest

__all__ = ["WebSocket"]


class WebSocket:
    """One WebSocket connection, given to a ``ws_`` handler as its first argument.

    A handler accepts it, then receives and sends until :class:`~micropie.ConnectionClosed` says that it is
    over.  One task may receive while others send.  Any of the methods may be cancelled.
    """

    __slots__ = ("__weakref__", "_request", "_wire", "accepted", "subprotocols")

    def __init__(self, request: WebSocketRequest, receive: Receive, send: Send) -> None:
        self._request = request
        self._wire = Wire(receive, send, request._app.max_message_size)
        #: Whether the handshake was answered with :meth:`accept`; stays true after the end.
        self.accepted: bool = False
        #: What the client offered, in its order of preference.
        self.subprotocols: tuple[str, ...] = tuple(request.scope.get("subprotocols") or ())

    @property
    def closed(self) -> bool:
        """Whether it is over: refused or closed from here, or left by the client."""
        return self._wire.state is State.CLOSED

    @property
    def close_code(self) -> int | None:
        """The close code that ended it, sent or received; 1006 if no close frame passed; None until then."""
        return self._wire.code

    @property
    def session_id(self) -> str | None:
        """The id of the session that belongs to this socket; None if the client knows of none."""
        return self._request._session.id

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
        wire = self._wire
        wire.expect(State.CONNECTING)
        check_subprotocol(subprotocol, self.subprotocols)
        fields = handshake_headers(headers)
        if max_message_size is not None:
            wire.max_message_size = checked_size(max_message_size)
        cookies = await save_before_accept(self._request, session_id)
        wire.expect(State.CONNECTING)  # another task may have been faster
        fields += encode_headers(cookies)
        wire.state = State.OPEN
        self.accepted = True
        self._request._app._open_websockets.add(self)
        try:
            await wire.transmit({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        except asyncio.CancelledError:
            wire.over(1006)  # nobody knows whether it was sent, so nothing more may be
            raise

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
        self._wire.expect(State.CONNECTING)
        fields, content = encode_answer(answer((status, body, headers)))
        if content is None:
            raise TypeError("the answer to a handshake cannot be a stream")
        self._wire.over(1006)
        if "websocket.http.response" in (self._request.scope.get("extensions") or ()):
            await self._wire.finish(
                {"type": "websocket.http.response.start", "status": status, "headers": fields},
                {"type": "websocket.http.response.body", "body": content},
            )
        else:
            await self._wire.finish({"type": "websocket.close", "code": 1000, "reason": ""})

    # --- messages in ----------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message, in kind: ``str`` for a text frame, ``bytes`` for a binary one.

        Raises:
            ConnectionClosed: If the client left or the socket is closed, with code and reason; with 1009 if
                the message was larger than the limit.
            RuntimeError: Before :meth:`accept`, or while another task receives.
        """
        return await self._wire.next_message()

    async def receive_text(self) -> str:
        """The next message as text; a binary one is decoded as UTF-8.

        Raises:
            ConnectionClosed: As :meth:`receive`; with 1007 if it is not UTF-8 (RFC 6455, section 8.1).
            RuntimeError: As :meth:`receive`.
        """
        data = await self._wire.next_message()
        if isinstance(data, str):
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise await self._wire.fail(1007) from None

    async def receive_bytes(self) -> bytes:
        """The next message as bytes; text is encoded as UTF-8.

        Raises:
            ConnectionClosed: As :meth:`receive`.
            RuntimeError: As :meth:`receive`.
        """
        data = await self._wire.next_message()
        return data.encode() if isinstance(data, str) else data

    async def receive_json(self) -> Any:
        """The value of the next message, a JSON text in a frame of either kind.

        Raises:
            ValueError: If it is not JSON.  A handler may catch that and go on; if it does not, the socket is
                closed with 1007.
            ConnectionClosed: As :meth:`receive`.
            RuntimeError: As :meth:`receive`.
        """
        data = await self._wire.next_message()
        try:
            return load_json(data)
        except ValueError as error:
            raise InvalidJSON(str(error)) from None

    def __aiter__(self) -> WebSocket:
        """The messages, in kind, until the client leaves or the socket is closed."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self._wire.next_message()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    # --- messages out ---------------------------------------------------------------------------------

    async def send(self, data: str | bytes) -> None:
        """Send a message in kind: ``str`` in a text frame, ``bytes`` in a binary one.

        Args:
            data: The message.

        Raises:
            ConnectionClosed: If the client left or the socket is closed.  Not every server tells that the
                client left; only receiving tells for sure.
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

    async def send_text(self, data: str) -> None:
        """Send a text message.

        Args:
            data: The text.

        Raises:
            Exception: As :meth:`send`.
        """
        if not isinstance(data, str):
            raise TypeError(f"a text message is a str, not {type(data).__name__}")
        if not data.isascii():
            data.encode()  # a lone surrogate is the caller's mistake, and no lost connection
        await self._wire.transmit({"type": "websocket.send", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message.

        Args:
            data: The bytes; a ``bytearray`` or ``memoryview`` will do.

        Raises:
            Exception: As :meth:`send`.
        """
        if not isinstance(data, bytes):
            if not isinstance(data, (bytearray, memoryview)):
                raise TypeError(f"a binary message is bytes, not {type(data).__name__}")
            data = bytes(data)
        await self._wire.transmit({"type": "websocket.send", "bytes": data})

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text frame.

        Args:
            value: What JSON can hold.

        Raises:
            TypeError: If JSON cannot hold the value.
            ValueError: For NaN and infinities, which JSON does not have.
            ConnectionClosed: As :meth:`send`.
            RuntimeError: As :meth:`send`.
        """
        await self.send_text(dump_json(value))

    # --- the end --------------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the socket; before :meth:`accept`, refuse the handshake (HTTP 403), for good.

        A second call does nothing, nor does one after the client has left.  A :meth:`receive` that waits in
        another task ends with :class:`~micropie.ConnectionClosed`.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, section 7.4).
            reason: For the close frame, at most 123 bytes of UTF-8; a longer one is cut.

        Raises:
            ValueError: If the code must not be sent.
            TypeError: If an argument has the wrong type.
        """
        check_code(code)
        reason = fitting_reason(reason)
        if self._wire.state is State.CONNECTING:
            await self.reject(403)
        else:
            await self._wire.close(code, reason)

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
        if self._wire.state is State.CONNECTING:
            self._wire.expect(State.OPEN)
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
        await run_jobs(self._wire, jobs)
