"""Below a WebSocket: its state, and the funnels through which everything passes.

::

    CONNECTING ──accept──> OPEN ──close, the client leaves, a bad message──> CLOSED
         └──────────────────the handshake is refused──────────────────────────^

Every message comes in through :meth:`Wire.next_message`; every one goes out through :meth:`Wire.transmit`
or, the last ones, through :meth:`Wire.finish`.  So whatever a handler does, the server gets legal ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import Any

from .concurrency import this_task, uninterrupted
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


# Looking a member up in its Enum costs more than all else that a message does here.
_OPEN = State.OPEN


class Wire:
    """One connection to one client.

    Args:
        receive: The server's ``receive``, from which ``websocket.connect`` has been taken.
        send: The server's ``send``.
        max_message_size: The largest message in bytes; None for no limit.
    """

    __slots__ = (
        "_ahead",
        "_announced",
        "_ended",
        "_interrupted",
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
        # Who waits for whom: a reader for the server, unless close() or a failed send interrupts it; a sender
        # whose send failed for _ended, which tells how; departure(), in run(), for _taken, which says that the
        # reader has been served, or that it is over.
        # The task that waits in next_message(), and whether it was cancelled only to wake it.
        self._reader: asyncio.Task[Any] | None = None
        self._interrupted = False
        # Whether the end is known to all; a close() of our own is, once its frame is sent.
        self._announced = False
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

    def over(self, code: int, reason: str = "") -> None:
        """Note how it ended, the first note counts, and let everybody know who waits for it."""
        self._note(code, reason)
        self._announced = True
        for event in (self._ended, self._taken):
            if event is not None:
                event.set()

    def _note(self, code: int, reason: str) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.code, self.reason = code, reason

    # --- in -------------------------------------------------------------------------------------------

    async def next_message(self) -> str | bytes:
        """The one way in: the next message, in kind."""
        if self.state is not _OPEN or self._reader is not None:
            await self._wait_for_turn()
        task = self._reader = this_task()
        cancelling = task.cancelling()
        try:
            message = await (self._receive() if self._ahead is None else self._take(self._ahead))
        except asyncio.CancelledError:
            # As asyncio.timeout does: we cancelled once, and what is more came from outside.
            interrupted, self._interrupted = self._interrupted, False
            if interrupted and task.uncancel() <= cancelling:
                self.expect(_OPEN)
            raise
        finally:
            self._reader = None
            if self._taken is not None:
                self._taken.set()
        if message["type"] == "websocket.disconnect":
            self._heed(message)
        if self.state is not _OPEN:  # what came in before close(), but was not read by then, is dropped
            self.expect(_OPEN)
        data: str | bytes | None = message.get("text")
        if data is None:
            data = message.get("bytes") or b""
        # UTF-8 has one to four bytes per character: a short text is not too large in bytes either.
        limit = self.max_message_size
        if limit is not None and len(data) * 4 > limit and _is_larger(data, limit):
            raise await self.fail(1009)
        return data

    async def _wait_for_turn(self) -> None:
        self.expect(_OPEN)
        if self._ended is None:
            raise RuntimeError("another task is receiving from this WebSocket, and only one can")
        await self._ended.wait()  # a send has failed: the end is near, and this is no misuse
        self.expect(_OPEN)

    def _heed(self, message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            self.over(message.get("code") or 1005, message.get("reason") or "")

    def _wake_reader(self) -> None:
        if self._reader is not None:
            self._interrupted = True
            self._reader.cancel()

    # --- out ------------------------------------------------------------------------------------------

    async def transmit(self, message: Message) -> None:
        """The one way out while the connection is open."""
        if self.state is not _OPEN:
            self.expect(_OPEN)
        try:
            await self._send(message)
        except Exception:
            # All that is sent here is legal, so this is the server's word for "the client left".
            logger.debug("a send failed", exc_info=True)
            await self._await_end()
            self.expect(_OPEN)

    async def _await_end(self) -> None:
        """A send failed, so the client's last word is on its way: wait for its close code, but not long."""
        try:
            async with asyncio.timeout(_LEAVE_GRACE):
                self._ended = self._ended or asyncio.Event()
                if self._reader is not None:
                    await self._ended.wait()
                while self.state is _OPEN:
                    await self.next_message()
        except (ConnectionClosed, TimeoutError):
            pass
        self.over(1006)
        self._wake_reader()

    async def close(self, code: int, reason: str = "") -> None:
        """Close an open connection; one that is over is left alone."""
        if self.state is _OPEN:
            self._note(code, reason)
            self._wake_reader()  # first: granian sends nothing while a receive() waits
            try:
                await self.finish({"type": "websocket.close", "code": code, "reason": reason})
            finally:
                self.over(code, reason)

    async def end(self, code: int) -> None:
        """The same when the handler has ended: nobody but the server can cancel that."""
        if self.state is _OPEN:
            self.over(code)
            self._wake_reader()
            await self._send_last(({"type": "websocket.close", "code": code, "reason": ""},))

    async def fail(self, code: int) -> ConnectionClosed:
        """Close because of what the client sent, and return what to raise for it."""
        await self.close(code)
        return ConnectionClosed(code)

    async def finish(self, *messages: Message) -> None:
        """Send the last messages, all of them, even if the caller is cancelled meanwhile."""
        await uninterrupted(self._send_last(messages))

    async def _send_last(self, messages: tuple[Message, ...]) -> None:
        if self._ahead is not None:
            await self.release()
        try:
            for message in messages:
                await self._send(message)
        except Exception as error:
            # That the client was faster does not matter.  But Daphne refuses, by a bare Exception, the
            # codes 1001 to 1014, which its library keeps for itself: better 1000 than no end.
            if type(error) is Exception and messages[0].get("code", 1000) != 1000:
                logger.warning(
                    "this server does not send the close code %d; it sends 1000", messages[0]["code"]
                )
                await self._send_last(({**messages[0], "code": 1000},))
            else:
                logger.debug("a last send failed", exc_info=True)

    # --- reading ahead, for run() ---------------------------------------------------------------------

    async def departure(self) -> None:
        """Wait until the connection is over, reading one message ahead of whoever receives, not more."""
        if self._taken is not None:
            raise RuntimeError("run() is running on this WebSocket already")
        self._taken = asyncio.Event()
        try:
            while not self._announced:
                if self._reader is None and self.state is _OPEN:
                    await self._look_ahead()
                await self._taken.wait()
                self._taken.clear()
        finally:
            self._taken = None

    async def _look_ahead(self) -> None:
        if self._ahead is None:
            self._ahead = asyncio.create_task(self._receive_one())
        await asyncio.wait([self._ahead])
        if self._ahead is not None and not self._ahead.cancelled():  # else a reader was faster, or close()
            self._heed(self._ahead.result())

    async def _receive_one(self) -> Message:
        return await self._receive()

    async def _take(self, ahead: asyncio.Task[Message]) -> Message:
        message = await asyncio.shield(ahead)
        self._ahead = None
        return message

    @property
    def reads_ahead(self) -> bool:
        """Whether a message was asked for that nobody has taken yet."""
        return self._ahead is not None

    async def release(self) -> None:
        """Read ahead no more: granian sends nothing while a receive() waits."""
        if self._ahead is not None:
            self._ahead.cancel()
            await asyncio.wait([self._ahead])


def _is_larger(data: str | bytes, limit: int) -> bool:
    if isinstance(data, bytes) or data.isascii() or len(data) > limit:
        return len(data) > limit
    return len(data.encode()) > limit
