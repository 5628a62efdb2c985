"""Below a WebSocket: its state, and the two funnels through which everything passes.

::

    CONNECTING ──accept──> OPEN ──close, the client leaves, a bad message──> CLOSED
         └──────────────────the handshake is refused──────────────────────────^

No message goes to the server but through :meth:`Wire.transmit` or :meth:`Wire.finish`, and none comes
in but through :meth:`Wire.next_message`.  So whatever a handler does, the server gets legal ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import Any

from .concurrency import this_task
from .exceptions import ConnectionClosed
from .types import Message, Receive, Send

logger = logging.getLogger("micropie")

#: How long to wait for the close code of a client to which a send has failed, in seconds.
_LEAVE_GRACE = 1.0


class State(Enum):
    """Where a connection stands; the value says it to somebody who expected another state."""

    CONNECTING = "the handshake is not answered yet: await ws.accept() first"
    OPEN = "the WebSocket is already accepted"
    CLOSED = "the handshake was refused or the WebSocket is closed already"


class Wire:
    """One connection to one client.

    Args:
        receive: The server's ``receive``, from which ``websocket.connect`` has been taken.
        send: The server's ``send``.
        max_message_size: The largest message in bytes; None for no limit.
    """

    __slots__ = (
        "_ahead",
        "_cancelling",
        "_ended",
        "_reader",
        "_receive",
        "_send",
        "_taken",
        "code",
        "max_message_size",
        "reason",
        "state",
    )

    def __init__(self, receive: Receive, send: Send, max_message_size: int | None) -> None:
        self._receive = receive
        self._send = send
        self.max_message_size = max_message_size
        self.state = State.CONNECTING
        self.code: int | None = None
        self.reason = ""
        # The task that waits in next_message(), and how often it was cancelled before close() interrupted it.
        self._reader: asyncio.Task[Any] | None = None
        self._cancelling: int | None = None
        # Set at the end, for a sender that found out about it before the reader did.
        self._ended: asyncio.Event | None = None
        # A message that was asked for before anybody wanted it, and the word that somebody has taken it.
        self._ahead: asyncio.Task[Message] | None = None
        self._taken: asyncio.Event | None = None

    def expect(self, state: State) -> None:
        """Raise what is due in any other state: ConnectionClosed at the end, RuntimeError for misuse."""
        if self.state is not state:
            if self.state is State.CLOSED and state is State.OPEN:
                raise ConnectionClosed(self.code or 1006, self.reason)
            raise RuntimeError(self.state.value)

    async def next_message(self) -> str | bytes:
        """The one way in: the next message, in kind."""
        self.expect(State.OPEN)
        if self._reader is not None:
            raise RuntimeError("another task is receiving from this WebSocket, and only one can")
        self._reader = asyncio.current_task()
        try:
            message = await (self._receive() if self._ahead is None else self._take_ahead(self._ahead))
        except asyncio.CancelledError:
            if self._interrupted():
                self.expect(State.OPEN)
            raise
        finally:
            self._reader = None
            if self._taken is not None:
                self._taken.set()
        if message["type"] == "websocket.disconnect":
            self.over(message.get("code") or 1005, message.get("reason") or "")
            self.expect(State.OPEN)
        self.expect(State.OPEN)  # what came in before close() but was not yet read is dropped
        data: str | bytes | None = message.get("text")
        if data is None:
            data = message.get("bytes") or b""
        if self.max_message_size is not None and _is_larger(data, self.max_message_size):
            raise await self.fail(1009)
        return data

    async def departure(self) -> None:
        """Wait until the connection is over, reading one message ahead of whoever receives, not more."""
        self._taken = asyncio.Event()
        try:
            while self.state is State.OPEN:
                if self._reader is None:
                    await self._look_ahead()
                await self._taken.wait()
                self._taken.clear()
        finally:
            self._taken = None

    async def _look_ahead(self) -> None:
        if self._ahead is None:
            self._ahead = asyncio.create_task(self._receive_one())
        await asyncio.wait([self._ahead])
        # The reader may have been faster, and a message waits for it.
        message = None if self._ahead is None else self._ahead.result()
        if message is not None and message["type"] == "websocket.disconnect":
            self.over(message.get("code") or 1005, message.get("reason") or "")

    async def _receive_one(self) -> Message:
        return await self._receive()

    async def _take_ahead(self, ahead: asyncio.Task[Message]) -> Message:
        message = await asyncio.shield(ahead)
        self._ahead = None
        return message

    async def release(self) -> None:
        """Stop reading ahead."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])

    async def transmit(self, message: Message) -> None:
        """The one way out while the connection is open."""
        self.expect(State.OPEN)
        try:
            await self._send(message)
        except (OSError, RuntimeError):
            # All that is sent here is legal, so this is the server's word for "the client left".
            await self._await_end()
            self.expect(State.OPEN)

    async def close(self, code: int, reason: str = "") -> None:
        """Close an open connection; one that is over is left alone."""
        if self.state is State.OPEN:
            self.over(code, reason)
            if self._reader is not None:
                self._cancelling = self._reader.cancelling()
                self._reader.cancel()
            await self._send_close(code, reason)

    async def _send_close(self, code: int, reason: str) -> None:
        try:
            await self.finish({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:
            # Daphne refuses what its own library keeps for itself, 1001 to 1014: better 1000 than no end.
            logger.warning("this server does not send the close code %d; it sends 1000", code)
            await self.finish({"type": "websocket.close", "code": 1000, "reason": reason})

    async def fail(self, code: int) -> ConnectionClosed:
        """Close because of what the client sent, and return what to raise for it."""
        await self.close(code)
        return ConnectionClosed(code)

    async def finish(self, *messages: Message) -> None:
        """Send the last messages of a connection; a client that was faster with leaving does not matter."""
        try:
            for message in messages:
                await self._send(message)
        except (OSError, RuntimeError):
            pass

    def over(self, code: int, reason: str = "") -> None:
        """Note how it ended; the first note counts."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.code, self.reason = code, reason
            for event in (self._ended, self._taken):
                if event is not None:
                    event.set()

    def _interrupted(self) -> bool:
        # close() in another task ends a receive() that waits as asyncio.timeout does: cancel, then uncancel.
        before, self._cancelling = self._cancelling, None
        return before is not None and this_task().uncancel() <= before

    async def _await_end(self) -> None:
        """A send failed, so the client's last word is on its way: wait for its close code, but not long."""
        try:
            async with asyncio.timeout(_LEAVE_GRACE):
                if self._reader is not None:
                    self._ended = self._ended or asyncio.Event()
                    await self._ended.wait()
                while self.state is State.OPEN:
                    await self.next_message()
        except (ConnectionClosed, TimeoutError):
            pass
        self.over(1006)


def _is_larger(data: str | bytes, limit: int) -> bool:
    # UTF-8 has one to four bytes per character: encode only where that decides.
    size = len(data)
    if size > limit or isinstance(data, bytes):
        return size > limit
    return size * 4 > limit and not data.isascii() and len(data.encode()) > limit
