"""Below a WebSocket: its state, and the funnels through which every message passes.

::

    CONNECTING ──accept──> OPEN ──close, the client leaves, a bad message──> CLOSED
         └──────────────────the handshake is refused──────────────────────────^

``_receive_now`` and ``_send_now`` are the server's functions only while they may be called: in any other state ones
that fail stand in their place.  Messages come in through the three ``receive`` methods, which differ only in the kind
that they return at once; they go out through the two ``send`` methods or, the last ones, through ``x_finish()``.
So whatever a handler does, the server gets legal ASGI.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from enum import Enum
from itertools import cycle
from types import CoroutineType, MappingProxyType
from typing import TYPE_CHECKING, Any

from micropie.concurrency import all_done, handed_over, running_loop, this_task, uninterrupted
from micropie.exceptions import ConnectionClosed
from micropie.request.request import WebSocketRequest
from micropie.types import Message, Receive, Scope, Send

from . import stalled

if TYPE_CHECKING:
    from micropie.app import App

logger: logging.Logger = logging.getLogger("micropie")

#: Whether it is time to look if others have had their turn: every 128th send, of whatever socket.
#: PERF: a ``for`` that is left at once is the cheapest way to count; the budget of ws_message holds it.
_TURNS: Iterator[bool] = cycle([False] * 127 + [True])


class State(Enum):
    """Where a connection stands; the value says it to somebody who expected another state."""

    CONNECTING = "the handshake is not answered yet: await ws.accept() first"
    OPEN = "the WebSocket is already accepted"
    CLOSED = "the handshake was refused or the WebSocket is closed already"


# Looking a member up in its Enum costs more than all else that a message does here.
CONNECTING, OPEN, CLOSED = State.CONNECTING, State.OPEN, State.CLOSED


_is_ascii = str.isascii  # for what is no str a TypeError, which saves each message a look at its type


class _NotNow(Exception):
    """Stands for what the state of the connection says."""


async def _not_now(message: Message | None = None) -> Any:
    raise _NotNow


class Wire(WebSocketRequest):
    """One connection to one client: the request that opened it, and what comes after it.

    They are one object, since there is never one without the other.
    """

    # What every connection is asked for; the rest is for a few, and costs the others neither time nor memory.
    __slots__ = (
        "_ended",
        "_limit",
        "_loop",
        "_receive_now",
        "_received",
        "_send_now",
        "_short",
        "_taken",
        "accepted",
        "close_code",
        "close_reason",
        "x_ahead",
        "x_closing",
        "x_pending",
        "x_state",
    )

    # The readers whose tasks are known, for granian; and those whom x_interrupt() has told that it is over.
    _readers: Collection[asyncio.Task[Any]] = ()
    _interrupted: Mapping[asyncio.Task[Any], int] = MappingProxyType({})

    def __init__(self, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        WebSocketRequest.__init__(self, app, scope, receive, send)  # PERF: super() is a call of its own
        self._limit = app.max_message_size
        #: Whether the handshake was answered with :meth:`accept`; stays true after the end.
        self.accepted: bool = False
        self.x_state: State = CONNECTING
        #: The close code that ended it, sent or received; 1006 if no close frame passed; None until then.
        self.close_code: int | None = None
        #: The reason in that close frame; empty if there was none.
        self.close_reason: str = ""
        self._receive_now: Receive = _not_now
        self._send_now: Send = _not_now
        # A text of so many characters is never too large; none is wanted before and after the socket is open.
        self._short = -1
        # Whether it has given a message since the last one was sent: then the sender has waited, or soon will.
        self._received = False
        # The event loop that serves it, once it is accepted.
        self._loop: asyncio.AbstractEventLoop | None = None
        # Who waits for whom: a reader for x_pending, which the server gives, unless x_interrupt() tells it otherwise; a
        # sender whose send failed for _ended, which tells how; run() for _taken, which says that a reader has been
        # served, or that it is over.
        self.x_pending: Awaitable[Message] | None = None
        self._ended: asyncio.Event | None = None
        self._taken: asyncio.Event | None = None
        # A message that was asked for before anybody wanted it.
        self.x_ahead: asyncio.Task[Message] | None = None
        # The task that sends the last messages; while there is one, not all know yet that it is over.
        self.x_closing: asyncio.Task[None] | None = None

    def x_expect(self, state: State) -> None:
        """Raise what is due in any other state: ConnectionClosed at the end, RuntimeError for misuse."""
        if self.x_state is not state:
            if self.x_state is CLOSED and state is OPEN:
                raise ConnectionClosed(self.close_code or 1006, self.close_reason)
            raise RuntimeError(self.x_state.value)

    def _mistake(self) -> Exception | None:
        """What to raise in a call that needs an open connection, without a trace of _NotNow; None if it is open."""
        try:
            self.x_expect(OPEN)
        except (ConnectionClosed, RuntimeError) as error:
            return error
        return None

    def x_over(self, code: int, reason: str = "") -> None:
        """Note how it ended, the first note counts, and let everybody know who waits for it."""
        if self.x_state is not CLOSED:
            self._note(code, reason)
        self._announce()

    def _note(self, code: int, reason: str) -> None:
        self.x_state = CLOSED
        self._receive_now = self._send_now = _not_now
        self._short = -1
        self.close_code = code
        self.close_reason = reason

    def _announce(self) -> None:
        if self._ended is not None:
            self._ended.set()
        if self._taken is not None:
            self._taken.set()

    # --- in -------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message, in kind: ``str`` for a text frame, ``bytes`` for a binary one.

        Raises:
            ConnectionClosed: If the client left or the socket is closed, with code and reason; with 1009 if
                the message was larger than the limit.
            RuntimeError: Before :meth:`accept`, or while another task receives.
        """
        if self.x_pending is not None:
            await self._turn()
        receive = self._receive_now
        self.x_pending = pending = receive()
        try:
            message = await pending
        except BaseException as error:
            raise self._gave_up(error) from None
        self.x_pending, self._received = None, True
        text: str | None = message["text"] if "text" in message else None  # noqa: SIM401  # PERF: get() is a call
        if text is None or len(text) > self._short:
            if message["type"] == "websocket.disconnect":
                raise self._left(message)
            return await self._examine(message)
        return text

    async def receive_text(self) -> str:
        """The next message as text; a binary one is decoded as UTF-8.

        Raises:
            ConnectionClosed: As :meth:`receive`; with 1007 if it is not UTF-8 (RFC 6455, section 8.1).
            RuntimeError: As :meth:`receive`.
        """
        if self.x_pending is not None:
            await self._turn()
        receive = self._receive_now
        self.x_pending = pending = receive()
        try:
            message = await pending
        except BaseException as error:
            raise self._gave_up(error) from None
        self.x_pending, self._received = None, True
        text: str | None = message["text"] if "text" in message else None  # noqa: SIM401  # PERF: get() is a call
        if text is None or len(text) > self._short:
            if message["type"] == "websocket.disconnect":
                raise self._left(message)
            return await self._as_text(message)
        return text

    async def receive_bytes(self) -> bytes:
        """The next message as bytes; text is encoded as UTF-8.

        Raises:
            ConnectionClosed: As :meth:`receive`.
            RuntimeError: As :meth:`receive`.
        """
        if self.x_pending is not None:
            await self._turn()
        receive = self._receive_now
        self.x_pending = pending = receive()
        try:
            message = await pending
        except BaseException as error:
            raise self._gave_up(error) from None
        self.x_pending, self._received = None, True
        data: bytes | None = message["bytes"] if "bytes" in message else None  # noqa: SIM401  # PERF: get() is a call
        if data is None or len(data) > self._short:
            if message["type"] == "websocket.disconnect":
                raise self._left(message)
            return await self._as_bytes(message)
        return data

    async def _turn(self) -> None:
        """Raise what is due to somebody who may not receive now."""
        self.x_expect(OPEN)
        if self._ended is not None:
            await self._ended.wait()  # a send has failed: the end is near, and this is no misuse
            self.x_expect(OPEN)
        raise RuntimeError("another task is receiving from this WebSocket, and only one can")

    async def _examine(self, message: Message) -> str | bytes:
        """A message that is not short: one of the other kind, a long one, or one that comes too late."""
        self.x_expect(OPEN)  # what came in before close(), but was not read by then, is dropped
        data: str | bytes | None = message.get("text")
        if data is None:
            data = message.get("bytes") or b""
        if self._limit is not None and _is_larger(data, self._limit):
            raise await self._fail(1009)
        return data

    async def _as_text(self, message: Message) -> str:
        data = await self._examine(message)
        if isinstance(data, str):
            return data
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise await self._fail(1007) from None

    async def _as_bytes(self, message: Message) -> bytes:
        data = await self._examine(message)
        return data if isinstance(data, bytes) else data.encode()

    def _left(self, message: Message) -> ConnectionClosed:
        """Note that the client has left, if we did not close before, and return what to raise for it."""
        code, reason = self.close_code or 1006, self.close_reason
        if self.x_state is not CLOSED:
            code, reason = message.get("code") or 1005, message.get("reason") or ""
            if type(code) is not int:  # uvicorn hands on its library's own kind of int
                code = int(code)
            self._note(code, reason)
        if self._ended is not None or self._taken is not None:
            self._announce()
        return ConnectionClosed(code, reason)

    def _gave_up(self, error: BaseException) -> BaseException:
        """What a reader has to raise that gets an error where it waited for a message."""
        self.x_pending = None
        if isinstance(error, _NotNow) and (mistake := self._mistake()) is not None:
            return mistake
        if self._was_interrupted(error):
            return ConnectionClosed(self.close_code or 1006, self.close_reason)
        return self._foreign(error) or error

    # --- waking who waits in vain -----------------------------------------------------------------------

    def x_interrupt(self, task: asyncio.Task[Any]) -> None:
        """Have a task that waits for the server see that it is over."""
        # The count tells nothing by itself: Python 3.11's TaskGroup leaves it above 0.
        waits_for = getattr(task, "_fut_waiter", None)
        if not task.cancelling() or (
            waits_for is not None and not waits_for.done()
        ):  # else it is on its way already
            self._interrupted = {**self._interrupted, task: task.cancelling()}
            task.cancel()

    def _was_interrupted(self, error: BaseException) -> bool:
        """Whether a cancellation is only our way to tell a task that it is over."""
        if not self._interrupted:
            return False
        interrupted = dict(self._interrupted)
        before = interrupted.pop(this_task(), None)
        self._interrupted = interrupted
        # As asyncio.timeout does: we cancelled once, and what is more came from outside.
        return (
            before is not None
            and isinstance(error, asyncio.CancelledError)
            and this_task().uncancel() <= before
        )

    def x_register_readers(self) -> None:
        """Know at any time which task receives: for granian, which sends nothing while a ``receive()`` waits."""
        receive, readers = self.x_receive, set[asyncio.Task[Any]]()

        async def registered() -> Message:  # it does not hold the WebSocket, which holds it
            task = this_task()
            readers.add(task)
            try:
                return await receive()
            finally:
                readers.discard(task)

        self.x_receive: Receive = registered
        self._readers = readers

    def _wake(self) -> None:
        """Have all who wait for the server see that it is over."""
        for task in self._readers:
            self.x_interrupt(task)
        self.x_core.watch.wake(self)

    def _release_reader(self) -> None:
        """Wake a reader before a last message is sent: at once if the task is known, else if the server does not."""
        if self._readers:
            for task in self._readers:
                self.x_interrupt(task)
        elif self.x_pending is not None:
            self.x_core.watch.wake_later(self)

    def x_drop(self) -> None:
        """The client takes nothing more, so it counts as gone: nobody waits for it any longer."""
        self.x_over(1006)
        self._wake()

    def _foreign(self, error: BaseException) -> RuntimeError | None:
        """What to say to somebody who uses it in another event loop than its own, if that is what went wrong."""
        if isinstance(error, RuntimeError) and self._loop is not None and running_loop() is not self._loop:
            return _foreign_loop()
        return None

    # --- out ------------------------------------------------------------------------------------------

    async def send_text(self, data: str) -> None:
        """Send a text message.

        Args:
            data: The text.

        Raises:
            Exception: As :meth:`send`.
        """
        try:
            if not _is_ascii(data):
                data.encode()  # a lone surrogate is the caller's mistake, and no lost connection
        except TypeError:
            raise TypeError(f"a text message is a str, not {type(data).__name__}") from None
        if self._received:
            self._received = False
        else:
            for due in _TURNS:
                if due:
                    await self._give_turn()
                break
        send = self._send_now
        try:
            await send({"type": "websocket.send", "text": data})
        except BaseException as error:
            raise await self.x_failed_send(error) from None

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message.

        Args:
            data: The bytes; a ``bytearray`` or ``memoryview`` will do.

        Raises:
            Exception: As :meth:`send`.
        """
        if type(data) is not bytes:
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError(f"a binary message is bytes, not {type(data).__name__}")
            data = bytes(data)
        if self._received:
            self._received = False
        else:
            for due in _TURNS:
                if due:
                    await self._give_turn()
                break
        send = self._send_now
        try:
            await send({"type": "websocket.send", "bytes": data})
        except BaseException as error:
            raise await self.x_failed_send(error) from None

    async def _give_turn(self) -> None:
        """Let others run after many sends, which need not wait: not even for a client that has left."""
        if self._loop is not None and running_loop() is not self._loop:
            raise _foreign_loop()
        if await self.x_core.watch.give_turn():
            self._listen()

    async def x_failed_send(self, error: BaseException) -> BaseException:
        """What a sender has to raise: what is sent here is legal, so an error says that the client has left."""
        if isinstance(error, _NotNow) and (mistake := self._mistake()) is not None:
            return mistake
        if not isinstance(error, Exception) and not self._was_interrupted(error):
            return error
        foreign = self._foreign(error)
        if foreign is not None:
            return foreign
        if self.x_state is OPEN:
            logger.debug("a send failed", exc_info=error)
            await self._await_end()
        return ConnectionClosed(self.close_code or 1006, self.close_reason)

    async def _await_end(self) -> None:
        """The client's last word is on its way: wait for its close code, but not long."""
        try:
            async with asyncio.timeout(stalled.LEAVE_GRACE):
                self._ended = self._ended or asyncio.Event()
                if self.x_pending is not None:
                    await self._ended.wait()
                while self.x_state is OPEN:
                    await self.receive()
        except (ConnectionClosed, TimeoutError):
            pass
        finally:  # for a sender that is cancelled too: others wait for this word
            self.x_drop()

    async def _close(self, code: int, reason: str = "") -> None:
        """Close an open connection; one that is over is left alone."""
        handing_over = self.x_begin_close(code, reason)
        if handing_over is not None:
            await handing_over

    def x_begin_close(self, code: int, reason: str) -> asyncio.Future[None] | None:
        """The same, without waiting: what is returned is done when there is nothing to wait for; None if it is over."""
        if self.x_state is not OPEN:
            return None
        if running_loop() is not self._loop:
            raise _foreign_loop()
        self._note(code, reason)
        self._release_reader()
        return self._begin_last({"type": "websocket.close", "code": code, "reason": reason})

    async def _end(self, code: int, reason: str = "") -> None:
        """The same when the handler has ended: nobody but the server can cancel that."""
        if self.x_state is OPEN:
            self.x_over(code, reason)
            self._release_reader()
            await self._send_last(({"type": "websocket.close", "code": code, "reason": reason},))

    async def _fail(self, code: int) -> ConnectionClosed:
        """Close because of what the client sent, and return what to raise for it."""
        await self._close(code)
        return ConnectionClosed(code)

    async def x_finish(self, *messages: Message) -> None:
        """Send the last messages: all of them, also if the caller is cancelled, which takes effect at once."""
        await self._begin_last(*messages)

    def _begin_last(self, *messages: Message) -> asyncio.Future[None]:
        """Have the last messages sent by a task of their own; what is returned is done when they are on their way."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def on_their_way(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        def ended(_: object) -> None:  # however: also if it was cancelled before it began
            self.x_closing = None
            on_their_way()
            self._announce()

        self.x_closing = closing = loop.create_task(self._send_last(messages, on_their_way))
        closing.add_done_callback(ended)
        return over

    async def _send_last(
        self, messages: tuple[Message, ...], answered: Callable[[], object] = lambda: None
    ) -> None:
        """Send the last messages, if the client takes them in ``close_timeout``; else it counts as gone."""
        if self.x_ahead is not None:
            await self.x_release()
        limit: asyncio.Timeout | None = None
        until: float | None = None
        try:
            for message in messages:
                sending = self.x_send(message)
                if type(sending) is CoroutineType:
                    try:
                        waits_for = sending.send(None)
                    except StopIteration:
                        continue
                    sending = handed_over(sending, waits_for, answered)
                until = until or asyncio.get_running_loop().time() + self.x_app.close_timeout
                async with asyncio.timeout_at(until) as limit:
                    await sending
        except Exception as error:
            # That the client was faster does not matter.  But Daphne refuses, by a bare Exception, the
            # codes 1001 to 1014, which its library keeps for itself: better 1000 than no end.
            if type(error) is Exception and messages[0].get("code", 1000) != 1000:
                logger.warning(
                    "this server does not send the close code %d; it sends 1000", messages[0]["code"]
                )
                await self._send_last(({**messages[0], "code": 1000},), answered)
            elif limit is not None and limit.expired():
                logger.debug("a client took no close frame, and counts as gone")
                self.x_drop()
            else:
                logger.debug("a last send failed", exc_info=True)
                self.x_drop()  # uvicorn --ws websockets fails here while another send waits, which would wait on

    async def x_linger(self) -> None:
        """Wait for the last messages: the server takes no more once the app has returned."""
        closing = self.x_closing
        if closing is not None:
            try:
                await asyncio.wait([closing])
            except asyncio.CancelledError:
                closing.cancel()  # which ends it, see handed_over()
                await uninterrupted(all_done([closing]))
                raise

    # --- reading ahead, for run() and for who only sends ------------------------------------------------

    async def x_departure(self) -> None:
        """Wait until the connection is over, reading one message ahead of whoever receives, not more."""
        if self._taken is not None:
            raise RuntimeError("run() is running on this WebSocket already")
        self._taken = asyncio.Event()
        if self.x_state is OPEN:
            self._receive_now = self._receive_beside_run
        try:
            while self.x_state is not CLOSED or self.x_closing:
                if self.x_pending is None and self.x_state is OPEN:
                    await self._look_ahead()
                await self._taken.wait()
                self._taken.clear()
        finally:
            self._taken = None

    async def _look_ahead(self) -> None:
        if self.x_ahead is None:
            self.x_ahead = asyncio.create_task(self._receive_one())
        await asyncio.wait([self.x_ahead])
        if self.x_ahead is not None and not self.x_ahead.cancelled():  # else a reader was faster, or close()
            message = self.x_ahead.result()
            if message["type"] == "websocket.disconnect":
                self._left(message)

    def _listen(self) -> None:
        """Read one message ahead while nobody receives: not every server's ``send`` tells that the client has left."""
        if self.x_state is OPEN and self.x_pending is None and self.x_ahead is None:
            self._receive_now = self._receive_beside_run
            self.x_ahead = asyncio.create_task(self._receive_one())
            self.x_ahead.add_done_callback(self._heard)

    def _heard(self, ahead: asyncio.Task[Message]) -> None:
        if not ahead.cancelled() and ahead.exception() is None:
            message = ahead.result()
            if message["type"] == "websocket.disconnect":
                self._left(message)

    async def _receive_one(self) -> Message:
        return await self.x_receive()

    async def _receive_beside_run(self) -> Message:
        """The server's ``receive`` while something may have been read ahead."""
        try:
            return await (self.x_receive() if self.x_ahead is None else self._take(self.x_ahead))
        finally:
            if self._taken is not None:
                self._taken.set()

    async def _take(self, ahead: asyncio.Task[Message]) -> Message:
        message = await asyncio.shield(ahead)
        self.x_ahead = None
        if (
            self._taken is None and self.x_state is OPEN
        ):  # PERF: run() runs no more, so messages go the short way again
            self._receive_now = self.x_receive
        return message

    async def x_release(self) -> None:
        """Read ahead no more: granian sends nothing while a ``receive()`` waits."""
        if self.x_ahead is not None:
            self.x_ahead.cancel()
            await asyncio.wait([self.x_ahead])


def _foreign_loop() -> RuntimeError:
    return RuntimeError(
        "a WebSocket belongs to the event loop that serves it: from a thread, use app.from_thread(ws.send_text(...))"
    )


def _is_larger(data: str | bytes, limit: int) -> bool:
    if isinstance(data, bytes) or data.isascii() or len(data) > limit:
        return len(data) > limit
    return len(data.encode()) > limit
