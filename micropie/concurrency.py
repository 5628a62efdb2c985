"""What asyncio does not have ready: blocks that an event ends, jobs that are never cut, a pool of threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

#: A result and an error, of which one is None; :func:`reveal` empties it.
Outcome: TypeAlias = list[T | BaseException | None]

#: What the names of the threads of sync handlers begin with.
POOL_NAME = "micropie"


def this_task() -> asyncio.Task[Any]:
    """The task that runs now."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("this needs an asyncio task")
    return task


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread; None if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def awaited_by_tasks() -> Iterator[tuple[asyncio.Task[Any], Any]]:
    """Each task of the loop with each coroutine in its chain of awaits, outermost first.

    It looks at all tasks, so it is for what happens rarely, and then for many at a time.
    """
    for task in asyncio.all_tasks():
        step: Any = task.get_coro()
        while step is not None:
            yield task, step
            step = getattr(step, "cr_await", None)


def in_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run_at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing from its beginning to its end.

    Raises:
        RuntimeError: If it does wait.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} waits where nothing can be waited for")


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


def put_aside(waits_for: Any) -> Any:
    """What a coroutine that was begun waits for, if others may wait for the same until it goes on."""
    if waits_for is not None:
        waits_for._asyncio_future_blocking = False
    return waits_for


def go_on(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Awaitable[T]:
    """The same as :func:`resumed` for one that was put aside."""
    if waits_for is not None:
        waits_for._asyncio_future_blocking = True  # as at the moment at which a Task gets it
    return resumed(coroutine, waits_for)


#: How long a coroutine may take to end once it was cancelled, in seconds, and how often it is cancelled then.
_PATIENCE = 1.0
_TRIES = 3


class Watch:
    """Cancels coroutines of this task when an event is over: again and again, should they go on all the same.

    A cancellation can get lost: Python 3.11's ``asyncio.wait_for`` swallows one, and so does many an ``except``.
    One that comes from outside passes through.

    Args:
        event: What is waited for in a task of its own.

    Attributes:
        event: That task.
        over: Whether it is over.
        interrupted: Whether something was cancelled, by anybody; a caller that has handled it may reset that.
    """

    def __init__(self, event: Coroutine[Any, Any, None]) -> None:
        self._task = this_task()
        self._cancelling = self._task.cancelling()
        self._cancels = 0
        self._runs = False
        self._next: asyncio.Handle | None = None
        self.over: bool = False
        self.interrupted: bool = False
        self.event: asyncio.Task[None] = asyncio.create_task(event)
        self.event.add_done_callback(self._is_over)

    async def run(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        """Go on with a coroutine that was begun and waits, until it ends or the event is over.

        Raises:
            CancelledError: If somebody else has cancelled the task, whatever the coroutine made of that.
            LeftBehind: If it ends on no account.
            Exception: What the coroutine raises, or the event.
        """
        self._runs = True
        if self.over:
            self._next = asyncio.get_running_loop().call_soon(self._cancel)
        try:
            await self._drive(coroutine, waits_for)
        except asyncio.CancelledError:
            if not self._cancels or self.is_cancelled():
                raise
        finally:
            self._runs = False
            if self._next is not None:
                self._next.cancel()
                self._next = None
            for _ in range(self._cancels):
                self._task.uncancel()
            self._cancels = 0
        if self.interrupted and self.is_cancelled():
            raise asyncio.CancelledError
        if self.event.done() and not self.event.cancelled():
            self.event.result()

    async def end(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        """Cancel a coroutine that was begun and waits."""
        self.over = True
        await self.run(coroutine, waits_for)

    async def close(self) -> None:
        """Watch no longer."""
        self.event.cancel()
        await all_done([self.event])

    def is_cancelled(self, *, by_anybody: bool = False) -> bool:
        """Whether somebody else wants the task to end, or this watch itself."""
        ours = 0 if by_anybody else self._cancels
        return self._task.cancelling() > self._cancelling + ours

    def _is_over(self, _: object) -> None:
        self.over = True
        if self._runs and not self._cancels:
            self._cancel()

    def _cancel(self) -> None:
        self._cancels += 1
        self._next = asyncio.get_running_loop().call_later(_PATIENCE, self._cancel)
        self._task.cancel()

    @types.coroutine
    def _drive(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
        if waits_for is not None:
            waits_for._asyncio_future_blocking = True
        try:
            while True:
                try:
                    value = yield waits_for
                except BaseException as error:
                    self.interrupted = True
                    if self._cancels <= _TRIES:
                        waits_for = coroutine.throw(error)
                    else:
                        coroutine.throw(_LastWord())
                        raise LeftBehind(
                            f"it goes on after {self._cancels} cancellations, and is left behind"
                        ) from None
                else:
                    waits_for = coroutine.send(value)
        except (StopIteration, StopAsyncIteration, _LastWord):
            pass


class LeftBehind(RuntimeError):
    """A coroutine that no cancellation could end."""


class _LastWord(BaseException):
    """Ends a coroutine that catches CancelledError and goes on."""


@types.coroutine
def handed_over(
    sending: Coroutine[Any, Any, None], waits_for: Any, answered: Callable[[], object]
) -> Generator[Any, Any, None]:
    """Go on with a server's ``send`` that was begun, as :func:`resumed` does; a first cancellation ends it for sure.

    It waits for room in a future.  Where it waits for a whole task, the message is on its way, and what is waited for
    is the client's answer (uvicorn with ``--ws websockets``): then ``answered()`` is called.
    """
    try:
        while True:
            if isinstance(waits_for, asyncio.Task):
                answered()
            try:
                value = yield waits_for
            except BaseException as error:
                waits_for = sending.throw(error)
                with suppress(RuntimeError):
                    sending.close()  # it has swallowed that, and would wait on
                raise
            else:
                waits_for = sending.send(value)
    except StopIteration:
        return


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
        #: The event loop that the app was last seen on.
        self.loop: asyncio.AbstractEventLoop | None = None

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
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix=POOL_NAME)
        context = contextvars.copy_context() if context is None else context
        self.loop = loop = asyncio.get_running_loop()
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
