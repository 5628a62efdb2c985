"""An event loop whose time is made up: sleeping costs nothing, and whoever waits for ever is caught at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Turns of the loop that no program needs; one that takes more spins.
MOST_TURNS = 20_000


class Stuck(Exception):
    """Nothing will ever happen again, or nothing but spinning."""


class _NoWaiting(selectors.SelectSelector):
    """Asks its loop what to do instead of waiting for sockets, of which there are none."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[Any]:
        self._idle(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs one thing after the other, on one thread, in an order that depends on nothing outside."""

    def __init__(self) -> None:
        self._now = 0.0
        self._turn = 0
        self._at_turn: dict[int, Callable[[], object]] = {}
        super().__init__(_NoWaiting(self._idle))

    def time(self) -> float:
        return self._now

    def run(self, task: asyncio.Future[Any]) -> None:
        """Run until the task is done, however it ends.

        Raises:
            Stuck: If it never will be.
        """
        self._turn = 0
        task.add_done_callback(self._stop)
        try:
            self.run_forever()
        finally:
            task.remove_done_callback(self._stop)
            self._at_turn.clear()

    def at_turn(self, turn: int, action: Callable[[], object]) -> None:
        """Do something between two turns of the next run: at any point where a task can be suspended."""
        self._at_turn[turn] = action

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Threads would make the order depend on the machine: the call is made here, one turn later."""
        future: asyncio.Future[T] = self.create_future()
        self.call_soon(self._call, future, func, args)
        return future

    def _call(self, future: asyncio.Future[T], func: Callable[[*Ts], T], args: tuple[*Ts]) -> None:
        result = func(*args)
        if not future.done():
            self.call_soon(_set, future, result)

    def _stop(self, _: object) -> None:
        self.stop()

    def _idle(self, timeout: float | None) -> None:
        self._turn += 1
        action = self._at_turn.pop(self._turn, None)
        if action is not None:
            action()
        elif timeout is None:
            raise Stuck("it waits for what never comes")
        else:
            self._now += timeout
        if self._turn > MOST_TURNS:
            raise Stuck("it spins")


def _set(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)
