"""Who looks after the open sockets of an app: wakes who waits in vain, and drops clients that take nothing more.

Nothing here is asked by a message that passes, nor does one note that it waits.  Who waits is found by a look at what
the tasks of the loop await: seldom, and for all sockets in one go.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Collection, Iterator
from contextvars import Context
from typing import Any, Protocol

from micropie.concurrency import awaited_by_tasks, this_task
from micropie.types import Message

#: How long to wait for the server's word about a client that has gone, in seconds.
LEAVE_GRACE = 1.0
#: A send that is found waiting so many times in a row waits too long.
_SIGHTINGS = 5
#: How often to look where there is no limit, since one can be set at any time; in seconds.
_IDLE = 6.0
#: For how long sends that never wait may keep the event loop from everything else, in seconds.
_LONGEST_TURN = 0.01


class Limited(Protocol):
    """What an app is here: who says how long a send may wait."""

    send_timeout: float | None


class Socket(Protocol):
    """What a WebSocket is here."""

    x_pending: Awaitable[Message] | None

    async def x_failed_send(self, error: BaseException) -> BaseException:
        """What a sender has to raise."""

    def x_drop(self) -> None:
        """Count the client as gone."""

    def x_interrupt(self, task: asyncio.Task[Any]) -> None:
        """Have a task that waits for the server see that it is over."""


class Watch:
    """The watch over the open sockets of one app.

    Args:
        app: The app.
        sockets: Its open sockets.
    """

    def __init__(self, app: Limited, sockets: Collection[Socket]) -> None:
        self._app = app
        self._sockets = sockets
        #: The loop on which it is held; None while nothing is open.
        self.loop: asyncio.AbstractEventLoop | None = None
        # The sends that were found waiting at the last look, and how often each was; the codes of what sends.
        self._waiting: dict[object, int] = {}
        self._sends: frozenset[int] = frozenset()
        # Whose readers and senders are to be woken: at once, and when their time has come.
        self._due: list[Socket] = []
        self._later: list[tuple[float, Socket]] = []
        self._last_turn = 0.0
        #: Whether the server has said that it stops.
        self.stopping = False
        self._stops: bool | None = None

    # --- sends that wait too long ----------------------------------------------------------------------

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hold watch, as long as sockets are open."""
        self.loop = loop
        sends = {
            getattr(type(ws), name) for ws in self._sockets for name in ("accept", "send_text", "send_bytes")
        }
        self._sends = frozenset(id(send.__code__) for send in sends)
        self._due, self._later, self._waiting = [], [], {}
        # A context of its own, here and below: the caller's holds the socket that it works on.
        loop.call_later(self._interval, self._look, loop, context=Context())

    @property
    def _interval(self) -> float:
        return (self._app.send_timeout or _IDLE * _SIGHTINGS) / _SIGHTINGS

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.loop is not loop:
            return  # the app is served by another one by now
        before, self._waiting = self._waiting, {}
        if self._app.send_timeout is not None:
            for task, sending, ws in self._waiting_sends():
                times = self._waiting[sending] = before.get(sending, 0) + 1
                if times == _SIGHTINGS:
                    ws.x_drop()
                    ws.x_interrupt(task)
        if self._sockets:
            loop.call_later(self._interval, self._look, loop, context=Context())
        else:
            self.loop = None

    def _waiting_sends(self) -> Iterator[tuple[asyncio.Task[Any], object, Socket]]:
        """The tasks that wait in a send, the send, and its socket."""
        for task, step in awaited_by_tasks():
            if id(getattr(step, "cr_code", None)) in self._sends and step.cr_frame is not None:
                ws = step.cr_frame.f_locals["self"]
                # One that has failed waits for the client's last word.
                if getattr(step.cr_await, "cr_code", None) is not ws.x_failed_send.__code__:
                    yield task, step, ws

    async def give_turn(self) -> bool:
        """Let others run, if that was long ago: a send need not wait, however many there are.  Whether it was."""
        loop = asyncio.get_running_loop()
        if 0 <= loop.time() - self._last_turn < _LONGEST_TURN:
            return False
        await asyncio.sleep(0)
        self._last_turn = loop.time()
        return True

    # --- waking ----------------------------------------------------------------------------------------

    def wake(self, ws: Socket) -> None:
        """Have whoever waits in a receive or a send of a socket see that it is over."""
        self._due.append(ws)
        if len(self._due) == 1:
            asyncio.get_running_loop().call_soon(self._wake_due)

    def wake_later(self, ws: Socket) -> None:
        """The same if the server does not: it has a moment for that."""
        loop = asyncio.get_running_loop()
        self._later.append((loop.time() + LEAVE_GRACE, ws))
        if len(self._later) == 1:
            loop.call_later(LEAVE_GRACE, self._wake_later, loop, context=Context())

    def _wake_later(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        due = [ws for when, ws in self._later if when <= now]
        self._later = [(when, ws) for when, ws in self._later if when > now]
        for ws in due:
            if ws.x_pending is not None:
                self.wake(ws)
        if self._later:  # for many of them at a time: each look goes through all tasks
            loop.call_at(max(self._later[0][0], now + LEAVE_GRACE / 10), self._wake_later, loop)

    def _wake_due(self) -> None:
        due, self._due = set(self._due), []
        readers = {id(ws.x_pending): ws for ws in due if ws.x_pending is not None}
        for task, step in awaited_by_tasks():
            if id(step) in readers:
                readers[id(step)].x_interrupt(task)
        for task, _, ws in self._waiting_sends():
            if ws in due:
                ws.x_interrupt(task)

    # --- the end of the server -------------------------------------------------------------------------

    def server_stops(self) -> bool:
        """Whether a handler that is cancelled is so because the server stops: one that does cancels its own tasks too.

        That is hypercorn.  uvicorn closes the sockets itself, and others cancel nothing.
        """
        if self.stopping:
            return True
        if self._stops is None:
            ours = this_task().get_coro()
            server = _package(ours)
            others = [task.get_coro() for task in asyncio.all_tasks() if task.cancelling()]
            self._stops = server is not None and any(
                _package(one) == server and getattr(one, "cr_code", 0) is not getattr(ours, "cr_code", 1)
                for one in others
            )
            asyncio.get_running_loop().call_soon(self._forget)  # it is asked for many handlers at a time
        return self._stops

    def _forget(self) -> None:
        self._stops = None


def logs_cancellations() -> bool:
    """Whether this task's server logs a cancelled app as one that failed, with a traceback.

    SERVER(uvicorn, granian): there a cancellation ends where the connection ends.  Nobody but the server waits for it.
    """
    return _package(this_task().get_coro()) in ("uvicorn", "granian")


def _package(coroutine: Any) -> str | None:
    """The package whose code a coroutine runs; None if it cannot be told, or is ours or Python's."""
    frame = getattr(coroutine, "cr_frame", None)
    if frame is None:
        return None
    package: str = frame.f_globals.get("__name__", "").partition(".")[0]
    return None if package in sys.stdlib_module_names or package == __name__.partition(".")[0] else package
