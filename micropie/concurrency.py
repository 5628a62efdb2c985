"""The two things that asyncio does not have ready: a block that an event ends, and a thread pool per app."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def this_task() -> asyncio.Task[Any]:
    """The task that runs now."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("this needs an asyncio task")
    return task


@asynccontextmanager
async def leave_when(event: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Leave the block the moment ``event()`` is over, as :func:`asyncio.timeout` does at its deadline.

    Whatever the block awaits is cancelled.  A cancellation from outside passes through, also one that
    comes together with the event.  An error of the event is raised here; it never outlives the block.
    """
    task = this_task()
    cancelling = task.cancelling()
    inside, fired = True, False

    def fire(watcher: asyncio.Task[None]) -> None:
        nonlocal fired
        if inside:
            fired = True
            task.cancel()

    watcher = asyncio.create_task(event())
    watcher.add_done_callback(fire)
    try:
        yield
    except asyncio.CancelledError:
        if not fired or task.cancelling() > cancelling + 1:
            raise
    finally:
        inside = False
        if fired:  # whatever the block made of the cancellation
            task.uncancel()
        watcher.cancel()
        await asyncio.wait([watcher])
        error = None if watcher.cancelled() else watcher.exception()
    if error is not None:
        raise error


class Pool:
    """Threads in which sync handlers run; started when the first one is needed.

    Args:
        workers: How many calls may run at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in a thread, in the caller's context.

        It may raise anything.  Where threads cannot be started (WebAssembly) it runs here.
        """
        if not threads_exist():
            return function(*arguments)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="micropie")
        call = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        result, error = await loop.run_in_executor(self._executor, call, _outcome, function, arguments)
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # one of the two is set

    def close(self) -> None:
        """Let the threads end; calls that are running finish."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None


def _outcome(function: Callable[..., T], arguments: tuple[Any, ...]) -> tuple[T | None, BaseException | None]:
    # The error as a value: a future refuses to carry StopIteration.
    try:
        return function(*arguments), None
    except BaseException as error:
        return None, error


@cache
def threads_exist() -> bool:
    """Whether this Python can start threads."""
    try:
        threading.Thread(target=lambda: None).start()
    except RuntimeError:
        return False
    return True
