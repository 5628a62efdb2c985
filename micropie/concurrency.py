"""What asyncio does not have ready: blocks that an event ends, jobs that are never cut, a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import types
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

#: A result and an error, of which one is None; :func:`reveal` empties it.
Outcome: TypeAlias = list[T | BaseException | None]


def this_task() -> asyncio.Task[Any]:
    """The task that runs now."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("this needs an asyncio task")
    return task


def task_that_awaits(awaited: object) -> asyncio.Task[Any] | None:
    """The task that waits in a coroutine, wherever in its chain of awaits; None if it cannot be told.

    It looks at all tasks of the loop, so it is for what happens rarely.
    """
    for task in asyncio.all_tasks():
        step: object = task.get_coro()
        while step is not None and step is not awaited:
            step = getattr(step, "cr_await", None)
        if step is awaited:
            return task
    return None


@types.coroutine
def resumed(coroutine: Coroutine[Any, Any, T], future: Any) -> Generator[Any, Any, T]:
    """Go on with a coroutine that was begun, by ``send(None)``, and waits for a future."""
    try:
        while True:
            try:
                value = yield future
            except BaseException as error:
                future = coroutine.throw(error)
            else:
                future = coroutine.send(value)
    except StopIteration as end:
        result: T = end.value
        return result


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
        await uninterrupted(all_done([watcher]))
        error = None if watcher.cancelled() else watcher.exception()
    if error is not None:
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


async def uninterrupted(job: Coroutine[Any, Any, None]) -> None:
    """Run a job to its end, even if the caller is cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.create_task(job)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


async def all_done(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait until all tasks have ended, however; asyncio need not tell of their errors any more."""
    done, _ = await asyncio.wait(tasks)
    for task in done:
        if not task.cancelled():
            task.exception()


def is_ordinary(error: BaseException) -> bool:
    """Whether an error is the handler's own, and not a cancellation from outside or the end of the process."""
    if isinstance(error, asyncio.CancelledError):
        return not this_task().cancelling()  # a future that somebody else cancelled
    return isinstance(error, Exception)


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
        return reveal(await self.outcome(function, *arguments))

    async def outcome(
        self, function: Callable[..., T], *arguments: Any, context: contextvars.Context | None = None
    ) -> Outcome[T]:
        """The same, with the error as a value: a task dies of SystemExit, a future of StopIteration.

        Several calls can share a context of their own, as the steps of a generator do.
        """
        if not threads_exist():
            return _call(function, arguments)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="micropie")
        context = contextvars.copy_context() if context is None else context
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, context.run, _call, function, arguments)

    def resize(self, workers: int) -> None:
        """Let another number of calls run at once; those that are running finish and no longer count."""
        self._workers = workers
        self.close()

    def close(self) -> None:
        """Let the threads end; calls that are running finish."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None


def _call(function: Callable[..., T], arguments: tuple[Any, ...]) -> Outcome[T]:
    try:
        return [function(*arguments), None]
    except BaseException as error:
        return [None, error]


def reveal(outcome: Outcome[T]) -> T:
    """The result of a call in a thread.

    Raises:
        Exception: What it raised; as the cause of a RuntimeError if that would end more than the call.
    """
    error: Any
    result, error = outcome
    outcome.clear()  # the frames that hold it are in the error's traceback, and so is this one
    try:
        if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
            raise error
        if error is not None:
            raise RuntimeError(f"a sync handler raised {error!r}") from error
    finally:
        del error
    return result  # type: ignore[return-value]  # one of the two is set


@cache
def threads_exist() -> bool:
    """Whether this Python can start threads."""
    try:
        threading.Thread(target=lambda: None).start()
    except RuntimeError:
        return False
    return True
