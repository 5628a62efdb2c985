"""A WebSocket as its handler sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .codec import dump_json, load_json
from .concurrency import leave_when
from .exceptions import ConnectionClosed, InvalidJSON
from .headers import encode_headers
from .responses import answer, encode_answer
from .types import Headers, RawHeaders, Receive, Send
from .wire import State, Wire

if TYPE_CHECKING:
    from .requests import WebSocketRequest

__all__ = ["WebSocket"]

logger = logging.getLogger("micropie")

#: Close codes that may travel in a close frame (RFC 6455, section 7.4, and the IANA registry).
_SENDABLE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
_MAX_REASON = 123  # bytes of UTF-8 (RFC 6455, section 5.5)


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
        self._check_subprotocol(subprotocol)
        fields = _handshake_headers(headers)
        if max_message_size is not None:
            wire.max_message_size = _checked_size(max_message_size)
        cookies = await self._request._save_before_accept(session_id)
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

    def _check_subprotocol(self, subprotocol: str | None) -> None:
        if subprotocol is None:
            return
        if not isinstance(subprotocol, str):
            raise TypeError(f"a subprotocol is a str, not {type(subprotocol).__name__}")
        if subprotocol not in self.subprotocols:
            offered = ", ".join(self.subprotocols) or "none"
            raise ValueError(
                f"the client did not offer the subprotocol {subprotocol!r}; it offered {offered}"
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
        _check_code(code)
        reason = _fitting_reason(reason)
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
        self._check_jobs(jobs)
        tasks = [asyncio.create_task(job) for job in jobs]
        everything = [*tasks, asyncio.create_task(self._wire.departure())]
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in everything:
                task.cancel()
            await asyncio.wait(everything)
        ended = [task for task in everything if not task.cancelled()]
        errors = [error for task in ended if (error := task.exception()) is not None]
        for error in errors:
            if not isinstance(error, ConnectionClosed):
                raise error
        if not any(task in tasks and task.exception() is None for task in ended):
            self._wire.expect(State.OPEN)
            for error in errors:  # another WebSocket's, to which a job has sent
                raise error

    def _check_jobs(self, jobs: tuple[Coroutine[Any, Any, Any], ...]) -> None:
        wrong = [job for job in jobs if not asyncio.iscoroutine(job)]
        if jobs and not wrong and self._wire.state is not State.CONNECTING:
            return
        for job in jobs:
            if asyncio.iscoroutine(job):
                job.close()  # else Python warns that it was never awaited
        if wrong:
            raise TypeError(f"run() takes coroutines, such as reader(), not {wrong[0]!r}")
        if not jobs:
            raise ValueError("run() needs at least one coroutine")
        self._wire.expect(State.OPEN)


def _checked_size(size: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"max_message_size is a number of bytes, not {size!r}")
    if size < 1:
        raise ValueError(f"max_message_size is a positive number of bytes, not {size}")
    return size


def _handshake_headers(headers: Headers | Mapping[str, str]) -> RawHeaders:
    fields = encode_headers(headers)
    for name, _ in fields:
        if name.startswith(b"sec-websocket-") or name in (b"upgrade", b"connection"):
            raise ValueError(
                f"the server sends {name.decode()} itself; a subprotocol is an argument of accept()"
            )
    return fields


def _check_code(code: int) -> None:
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"a close code is an int, not {code!r}")
    if code not in _SENDABLE_CODES and not 3000 <= code <= 4999:
        raise ValueError(
            f"{code} must not be sent; use 1000 to 1003, 1007 to 1014, or 3000 to 4999 for your own"
        )


def _fitting_reason(reason: str | None) -> str:
    if reason is None:
        return ""
    if not isinstance(reason, str):
        raise TypeError(f"a reason is a str, not {reason!r}")
    encoded = reason.encode()
    if len(encoded) <= _MAX_REASON:
        return reason
    logger.warning("a close frame holds %d bytes; the reason %r is cut", _MAX_REASON, reason)
    return encoded[:_MAX_REASON].decode(errors="ignore")
