"""A block that an event ends, and the threads of sync handlers."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from micropie import App, concurrency
from micropie.concurrency import Pool, leave_when, this_task, threads_exist
from tests.driver import http, lifespan

# --- leave_when -----------------------------------------------------------------------------------------


async def at_once() -> None:
    pass


async def never() -> None:
    await asyncio.Event().wait()


async def failing() -> None:
    raise ZeroDivisionError


async def test_the_block_is_left_when_the_event_is_over() -> None:
    over, log = asyncio.Event(), []

    async def event() -> None:
        await over.wait()

    async with leave_when(event):
        log.append("inside")
        over.set()
        await never()
        log.append("never")
    assert log == ["inside"]
    assert this_task().cancelling() == 0


async def test_a_block_that_ends_first_ends_the_event() -> None:
    log = []

    async def event() -> None:
        try:
            await never()
        finally:
            log.append("ended")

    async with leave_when(event):
        await asyncio.sleep(0)
    assert log == ["ended"]


async def test_a_block_that_never_waits_runs_to_its_end() -> None:
    log = []
    async with leave_when(at_once):
        log.append("inside")
    assert log == ["inside"]
    assert this_task().cancelling() == 0


@pytest.mark.parametrize("turns", range(5))
async def test_a_block_that_ends_together_with_the_event_is_just_over(turns: int) -> None:
    async def event() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    for own in range(turns + 3):
        async with leave_when(event):
            for _ in range(own):
                await asyncio.sleep(0)
        assert this_task().cancelling() == 0
        await asyncio.sleep(0)


async def test_an_error_of_the_block_comes_out() -> None:
    for event in (at_once, never, failing):
        with pytest.raises(KeyError):
            async with leave_when(event):
                raise KeyError


async def test_an_error_of_the_event_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        async with leave_when(failing):
            await never()
    assert this_task().cancelling() == 0


async def test_a_block_that_makes_another_error_of_its_cancellation_leaves_none_behind() -> None:
    async def fails_when_cancelled() -> None:
        async with leave_when(at_once):
            try:
                await never()
            except asyncio.CancelledError:
                raise KeyError from None

    with pytest.raises(KeyError):
        await fails_when_cancelled()
    assert this_task().cancelling() == 0


async def test_a_block_that_swallows_its_cancellation_leaves_none_behind() -> None:
    async with leave_when(at_once):
        with suppress(asyncio.CancelledError):
            await never()
    assert this_task().cancelling() == 0
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(at_once())


@pytest.mark.parametrize("with_event", [False, True])
async def test_a_cancellation_from_outside_passes_through(with_event: bool) -> None:
    over, inside = asyncio.Event(), asyncio.Event()

    async def event() -> None:
        await over.wait()

    async def block() -> None:
        async with leave_when(event):
            inside.set()
            await never()

    for cancel_first in (True, False):
        over.clear()
        inside.clear()
        task = asyncio.create_task(block())
        await inside.wait()
        if with_event:
            over.set()
            await asyncio.sleep(0)
            if not cancel_first:
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_an_event_that_takes_time_to_end_is_waited_for_whatever_happens() -> None:
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def event() -> None:
        try:
            await never()
        finally:
            cleaning.set()
            for _ in range(5):
                await asyncio.sleep(0)
            cleaned.set()

    async def block() -> None:
        async with leave_when(event):
            await asyncio.sleep(0)

    task = asyncio.create_task(block())
    await cleaning.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert cleaned.is_set()


async def test_a_timeout_around_the_block_is_a_timeout() -> None:
    for event in (never, at_once):
        try:
            async with asyncio.timeout(0):
                async with leave_when(event):
                    await never()
                await never()
        except TimeoutError:
            pass
        assert this_task().cancelling() == 0


async def test_of_nested_blocks_whose_events_come_together_the_outer_is_left() -> None:
    log = []
    async with leave_when(at_once):
        async with leave_when(at_once):
            await never()
        log.append("between")
    assert log == []
    assert this_task().cancelling() == 0


def test_this_needs_a_task() -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.call_soon(loop.stop)
        failures: list[BaseException] = []

        def call() -> None:
            try:
                this_task()
            except RuntimeError as error:
                failures.append(error)

        loop.call_soon(call)
        loop.run_forever()
        assert [str(failure) for failure in failures] == ["this needs an asyncio task"]
    finally:
        loop.close()


# --- the pool -------------------------------------------------------------------------------------------

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


@pytest.fixture(params=["threads", "none"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether threads can be started here; without them it is as in WebAssembly."""
    if request.param == "none":
        monkeypatch.setattr(concurrency, "threads_exist", lambda: False)
    return bool(request.param == "threads")


async def test_a_call_runs_in_a_thread_where_there_are_threads(threads: bool) -> None:
    pool = Pool(1)
    assert (await pool.run(threading.current_thread) is threading.current_thread()) is not threads
    pool.close()


async def test_a_call_sees_the_context_of_its_caller(threads: bool) -> None:
    pool = Pool(1)
    VARIABLE.set("set")
    assert await pool.run(VARIABLE.get) == "set"
    assert await pool.run(max, 1, 2) == 2
    pool.close()


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), asyncio.CancelledError(), GeneratorExit(), SystemExit(3)]
)
async def test_a_call_may_raise_anything(error: BaseException, threads: bool) -> None:
    def fail() -> None:
        raise error

    pool = Pool(1)
    with pytest.raises(Exception, match=r"x|a sync handler raised") as raised:
        await pool.run(fail)
    # What would end a task, or the process, arrives as the cause of an error that does not.
    assert error in (raised.value, raised.value.__cause__)
    pool.close()


async def test_stop_iteration_is_an_error_like_another(threads: bool) -> None:
    pool = Pool(1)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(next, iter(()))
    pool.close()


async def test_no_more_calls_run_at_once_than_there_are_workers() -> None:
    class Site(App):
        def __init__(self) -> None:
            super().__init__(sync_workers=2)
            self.barrier = threading.Barrier(2)
            self.threads: set[threading.Thread] = set()

        def index(self) -> str:
            self.threads.add(threading.current_thread())
            self.barrier.wait(10)
            return ""

    app = Site()
    async with lifespan(app):
        answers = await asyncio.gather(*(http(app, "/") for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert len(app.threads) == 2
    for thread in app.threads:  # they end with the app
        thread.join(10)
        assert not thread.is_alive()


async def test_the_number_of_threads_can_be_assigned_later() -> None:
    class Site(App):
        def __init__(self) -> None:
            super().__init__(sync_workers=1)
            self.barrier = threading.Barrier(2)
            self.threads: set[threading.Thread] = set()

        def index(self) -> str:
            self.threads.add(threading.current_thread())
            return ""

        def together(self) -> str:
            self.barrier.wait(10)
            return self.index()

    app = Site()
    async with lifespan(app):
        await http(app, "/")
        app.sync_workers = 2
        answers = await asyncio.gather(*(http(app, "/together", alone=False) for _ in range(2)))
    assert [answer.status for answer in answers] == [200] * 2
    assert len(app.threads) == 3
    for thread in app.threads:
        thread.join(10)
        assert not thread.is_alive()


async def test_a_closed_pool_starts_again_when_it_is_needed() -> None:
    pool = Pool(1)
    pool.close()
    assert await pool.run(str, 1) == "1"
    pool.close()
    assert await pool.run(str, 2) == "2"
    pool.close()


@pytest.mark.parametrize("possible", [True, False])
def test_whether_threads_exist_is_found_by_trying(possible: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Thread:
        def __init__(self, target: Callable[[], Any]) -> None:
            target()

        def start(self) -> None:
            started.append(self)
            if not possible:
                raise RuntimeError("can't start new thread")

    threads_exist.cache_clear()
    monkeypatch.setattr(concurrency.threading, "Thread", Thread)
    try:
        assert [threads_exist(), threads_exist()] == [possible, possible]
    finally:
        threads_exist.cache_clear()
    assert len(started) == 1
