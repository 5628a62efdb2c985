"""Streams: how one begins, who else has a turn, and how it ends wherever its client or its server leaves it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import pytest

from micropie import App, HTTPError, HttpMiddleware
from micropie.connection import streams
from tests.driver import LIMIT, Answer, http, make_scope

#: More pieces than any of these streams gets to send; on a server that never learns of the end they all go out.
MANY = 20_000


class Pieces:
    """An async iterator that is no generator."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self.pieces = pieces

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.pieces)
        except StopIteration:
            raise StopAsyncIteration from None


class Film(App):
    """Streams that never wait for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    async def generator(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(MANY):
                yield b"x" * 10_000
        finally:
            self.log.append("closed")

    def sync_generator(self) -> Iterator[bytes]:
        try:
            for _ in range(MANY):
                yield b"x" * 10_000
        finally:
            self.log.append("closed")

    async def delegating(self) -> AsyncIterator[bytes]:
        async for piece in self.generator():
            yield piece

    async def iterator(self) -> Any:
        return Pieces(iter([b"x"] * MANY))

    async def swallowing(self) -> AsyncIterator[bytes]:
        """It catches what ends it, and goes on."""
        for _ in range(MANY):
            try:
                yield b"x" * 10_000
            except asyncio.CancelledError:
                self.log.append("cancelled")


KINDS = ["generator", "sync_generator", "delegating", "iterator", "swallowing"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_leaves(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A stream ends with its client, though neither the generator nor the server's send() ever waits."""
    app, leave = Film(), asyncio.Event()
    answer = await http(app, f"/{kind}", leave=leave, on_send=lambda _: leave.set(), waits=False)
    assert 0 < len(answer.chunks) < 200
    assert app.log == {"swallowing": ["cancelled"], "iterator": []}.get(kind, ["closed"])
    assert caplog.records == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_reads_fast(kind: str) -> None:
    """Others have their turns while a stream is sent that waits for nothing."""
    turns = sent = 0
    leave = asyncio.Event()

    def count(_: object) -> None:
        nonlocal sent
        sent += 1
        if sent == 1_000:
            leave.set()

    async def others() -> None:
        nonlocal turns
        while not leave.is_set():
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await http(Film(), f"/{kind}", leave=leave, on_send=count, waits=False, alone=False)
    leave.set()
    await other
    assert turns >= 1_000 / 50


@pytest.mark.parametrize("path", ["yields", "waits"])
async def test_a_length_that_is_not_reached(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that ends early because its client has left need not have the length that it names."""

    class Site(App):
        async def index(self, how: str) -> Any:
            return 200, getattr(self, f"_{how}")(), {"Content-Length": "1000000"}

        async def _yields(self) -> AsyncIterator[str]:
            try:
                while True:
                    yield "x"
            except asyncio.CancelledError:
                pass

        async def _waits(self) -> AsyncIterator[str]:
            yield "x"
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    leave = asyncio.Event()
    await http(Site(), f"/?how={path}", leave=leave, on_send=lambda _: leave.set(), waits=path == "waits")
    assert caplog.records == []


# --- a cancellation that is swallowed --------------------------------------------------------------------


class Stubborn(App):
    """Streams that a single cancellation does not end."""

    def __init__(self, news: asyncio.Event) -> None:
        super().__init__()
        self.news = news
        self.readers = 0

    async def index(self, how: str) -> AsyncIterator[str]:
        self.readers += 1
        try:
            yield "begun"
            async for piece in getattr(self, f"_{how}")():
                yield piece
        finally:
            self.readers -= 1

    async def silent(self, how: str) -> AsyncIterator[str]:
        self.readers += 1
        try:
            async for piece in getattr(self, f"_{how}")():
                yield piece
        finally:
            self.readers -= 1

    async def _wait_for(self) -> AsyncIterator[str]:
        """Python 3.11's wait_for() loses a cancellation that comes in the tick of its result."""
        while True:
            await asyncio.wait_for(self.news.wait(), 1000)
            self.news = asyncio.Event()
            yield "news"

    async def _filters(self) -> AsyncIterator[str]:
        """The same, and nothing comes of the news."""
        while True:
            await asyncio.wait_for(self.news.wait(), 1000)
            self.news = asyncio.Event()
            if self.readers > 1000:
                yield "news"

    async def _once(self) -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()
        yield "never"

    async def _always(self) -> AsyncIterator[str]:
        for _ in range(50):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
        yield "never"

    async def _yields(self) -> AsyncIterator[str]:
        for _ in range(50):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                yield "cancelled"

    async def _whatever(self) -> AsyncIterator[str]:
        for _ in range(50):
            try:
                await asyncio.Event().wait()
            except BaseException:
                continue
        yield "never"


@pytest.mark.parametrize("how", ["wait_for", "filters", "once", "always", "yields"])
@pytest.mark.parametrize("path", ["", "silent/"])
async def test_a_swallowed_cancellation(
    how: str, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream ends with its client even if the generator swallows a cancellation: nobody stays subscribed."""
    monkeypatch.setattr("micropie.concurrency._PATIENCE", 0.01, raising=False)
    monkeypatch.setattr("micropie.connection.streams.FIRST_CHANCE", 0.01, raising=False)
    leave, news = asyncio.Event(), asyncio.Event()
    app = Stubborn(news)

    def leave_with_news(message: Any) -> None:
        if message["type"] == "http.response.body":
            loop = asyncio.get_running_loop()
            loop.call_later(0.05, lambda: (leave.set(), loop.call_soon(loop.call_soon, news.set)))

    async with asyncio.timeout(LIMIT / 3):
        answer = await http(app, f"/{path}?how={how}", leave=leave, on_send=leave_with_news, alone=False)
    assert app.readers == 0
    assert "news" not in answer.text
    assert caplog.records == []
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
async def test_a_generator_that_never_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator that nothing can end is left behind, in the log's words, so that its request ends."""
    monkeypatch.setattr("micropie.concurrency._PATIENCE", 0.01, raising=False)
    app, leave = Stubborn(asyncio.Event()), asyncio.Event()
    async with asyncio.timeout(LIMIT / 3):
        await http(app, "/?how=whatever", leave=leave, on_send=lambda _: leave.set(), alone=False)
    [record] = caplog.records
    assert "error in the stream for /" in record.message
    assert "it goes on after 4 cancellations, and is left behind" in caplog.text
    caplog.clear()  # the record's traceback holds the generator, whose end by the collector is no other test's affair
    del record, app
    gc.collect()


# --- a stream that is silent at first --------------------------------------------------------------------


class Silent(App):
    """Streams whose first piece comes when the client has seen that they have begun."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.begun = asyncio.Event()
        self.begun_for_threads = threading.Event()

    def see(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            assert message["more_body"]
        if message.get("more_body"):
            self.begun.set()
            self.begun_for_threads.set()

    async def generator(self) -> AsyncIterator[str]:
        try:
            await self.begun.wait()
            yield "news"
        finally:
            self.log.append("closed")

    async def busy(self) -> AsyncIterator[str]:
        """It waits for many things, one after the other, and never for long."""
        try:
            while not self.begun.is_set():  # noqa: ASYNC110  # what is on trial
                await asyncio.sleep(0)
            yield "news"
        finally:
            self.log.append("closed")

    def sync_generator(self) -> Iterator[str]:
        try:
            self.begun_for_threads.wait(LIMIT)
            yield "news"
        finally:
            self.log.append("closed")

    async def returned(self) -> Any:
        return 200, self.generator(), {"Content-Type": "text/event-stream"}


SILENT = ["generator", "busy", "sync_generator", "returned"]


class Wraps(HttpMiddleware):
    async def after_request(self, request: Any, status_code: int, body: Any, headers: Any) -> Any:
        return {"body": self.wrapped(body)}

    async def wrapped(self, body: Any) -> AsyncIterator[Any]:
        async for piece in body:
            yield piece


@pytest.mark.parametrize("kind", SILENT)
@pytest.mark.parametrize("wrapped", [False, True])
async def test_it_begins_at_once(kind: str, wrapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The headers of a stream that has nothing to say yet go out, with an empty piece that takes them along."""
    app = Silent()
    app.middlewares += [Wraps()] if wrapped else []
    sent: list[Any] = []

    def see(message: Any) -> None:
        sent.append(message)
        if message.get("more_body"):
            app.see(message)

    answer = await http(app, f"/{kind}", on_send=see)
    assert (answer.status, answer.text, answer.complete) == (200, "news", True)
    assert sent[1] == {"type": "http.response.body", "body": b"", "more_body": True}
    assert app.log == ["closed"]
    assert caplog.records == []


@pytest.mark.parametrize("kind", SILENT)
async def test_head_of_a_silent_stream(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """HEAD does not wait for a first piece."""
    app = Silent()

    def see(message: Any) -> None:
        if message["type"] == "http.response.start":  # a thread cannot be cancelled
            app.begun_for_threads.set()

    answer = await http(app, f"/{kind}", "HEAD", on_send=see)
    assert (answer.status, answer.complete, answer.body) == (200, True, b"")
    assert app.log == ["closed"]
    assert caplog.records == []


class Looks(App):
    """Streams that look something up before they begin."""

    async def sleeps(self) -> AsyncIterator[str]:
        await asyncio.sleep(0.01)
        raise HTTPError(404, "no such film")
        yield

    async def turns(self) -> AsyncIterator[str]:
        for _ in range(20):
            await asyncio.sleep(0)
        raise HTTPError(404, "no such film")
        yield

    async def task(self) -> AsyncIterator[str]:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.01))
        await asyncio.to_thread(time.sleep, 0.01)
        raise HTTPError(404, "no such film")
        yield

    def sync(self) -> Iterator[str]:
        time.sleep(0.01)
        raise HTTPError(404, "no such film")
        yield

    async def found(self) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            yield "quiet"


@pytest.mark.parametrize("kind", ["sleeps", "turns", "task", "sync"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_not_found(kind: str, method: str) -> None:
    """What a generator finds out soon is an answer of its own."""
    answer = await http(Looks(), f"/{kind}", method)
    assert answer.status == 404
    assert answer.text == ("" if method == "HEAD" else "404 Not Found: no such film")


async def test_a_timeout_before_the_first_piece() -> None:
    """A generator's own timeouts work while its first piece is waited for."""
    answer = await http(Looks(), "/found")
    assert (answer.text, answer.complete) == ("quiet", True)


async def test_many_wait_for_one_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams whose first pieces depend on one future do not get in each other's way."""
    monkeypatch.setattr(streams, "FIRST_CHANCE", 0.01)
    news: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    begun = 0

    class Site(App):
        async def index(self) -> AsyncIterator[str]:
            yield await news

    def see(message: Any) -> None:
        nonlocal begun
        begun += message["type"] == "http.response.start"
        if begun == 3 and not news.done():
            news.set_result("news")

    app = Site()
    answers = await asyncio.gather(*(http(app, on_send=see, alone=False) for _ in range(3)))
    assert [answer.text for answer in answers] == ["news"] * 3


class Takes(HttpMiddleware):
    """Needs a lock that the generator may hold."""

    async def after_request(self, request: Any, *arguments: Any) -> None:
        async with request.x_app.lock:
            pass


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_lock_that_the_answer_wants(
    leaves: bool, fails: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A silent generator goes on while its answer begins, so it may hold what a hook or the session waits for."""
    monkeypatch.setattr("micropie.connection.streams.FIRST_CHANCE", 0.01, raising=False)

    class Site(App):
        lock = asyncio.Lock()

        async def index(self) -> AsyncIterator[str]:
            async with self.lock:
                await asyncio.sleep(0.05)
            if fails:
                raise KeyError
            yield "late"

    app, leave = Site(), asyncio.Event()
    app.middlewares.append(Takes())
    if leaves:
        leave.set()
    answer = await http(app, leave=leave)
    assert (answer.status, answer.text) == (200, "" if leaves or fails else "late")
    assert answer.complete is (leaves or not fails)
    assert ["KeyError" in caplog.text, len(caplog.records)] == [fails, fails]


# --- the task and the context of a generator --------------------------------------------------------------

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

Around = Callable[[AsyncExitStack], Awaitable[Any]]


async def _task_group(stack: AsyncExitStack) -> None:
    group = await stack.enter_async_context(asyncio.TaskGroup())
    group.create_task(asyncio.Event().wait())


async def _timeout(stack: AsyncExitStack) -> None:
    await stack.enter_async_context(asyncio.timeout(1000))


async def _anyio_group(stack: AsyncExitStack) -> None:
    group = await stack.enter_async_context(anyio.create_task_group())
    group.start_soon(anyio.sleep_forever)


async def _anyio_scope(stack: AsyncExitStack) -> None:
    stack.enter_context(anyio.move_on_after(1000))


async def _nothing(stack: AsyncExitStack) -> None:
    pass


AROUND: dict[str, Around] = {
    "variable": _nothing,
    "task group": _task_group,
    "timeout": _timeout,
    "anyio group": _anyio_group,
    "anyio scope": _anyio_scope,
}


class Tail(App):
    """A stream with something around its yields that has to be left where it was entered."""

    def __init__(self, around: Around, silent: bool) -> None:
        super().__init__()
        self.around, self.silent = around, silent
        self.log: list[str] = []
        self.stream: Any = None

    async def index(self, status: int = 200) -> Any:
        self.stream = self._sync_tail() if self.around is None else self._tail()
        return status, self.stream

    async def _tail(self) -> AsyncIterator[str]:
        token, task = variable.set(1), asyncio.current_task()
        try:
            async with AsyncExitStack() as stack:
                await self.around(stack)
                if self.silent:
                    await asyncio.Event().wait()
                while True:
                    yield "line"
                    if len(self.log) > 1000:
                        await asyncio.Event().wait()
        finally:
            variable.reset(token)
            self.log.append("closed" if asyncio.current_task() is task else "closed by another task")

    def _sync_tail(self) -> Iterator[str]:
        token = variable.set(1)
        try:
            while True:
                yield "line"
        finally:
            variable.reset(token)
            self.log.append("closed")


class Fails(HttpMiddleware):
    async def after_request(self, *arguments: Any) -> Any:
        raise ValueError("the hook's own")


class Replaces(HttpMiddleware):
    async def after_request(self, *arguments: Any) -> Any:
        return {"body": "short"}


class Stalls(HttpMiddleware):
    """Waits in its after hook until the server stops."""

    async def after_request(self, *arguments: Any) -> Any:
        await asyncio.Event().wait()


async def _leaves(app: Tail, **options: Any) -> Answer:
    leave = asyncio.Event()
    return await http(app, leave=leave, on_send=lambda _: leave.set(), **options)


async def _leaves_early(app: Tail) -> Answer:
    leave = asyncio.Event()
    leave.set()
    return await http(app, leave=leave)


async def _stops(app: Tail, *, at: str = "http.response.body", **options: Any) -> None:
    reached = asyncio.Event()

    def see(message: Any) -> None:
        if message["type"] == at:
            reached.set()

    task = asyncio.create_task(http(app, on_send=see, **options))
    if app.middlewares:
        await asyncio.wait([task], timeout=0.5)
    else:
        await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def _with(hook: Any, way: Any) -> Any:
    def run(app: Tail) -> Any:
        app.middlewares.append(hook)
        return way(app)

    return run


WAYS: dict[str, Callable[[Tail], Awaitable[Any]]] = {
    "HEAD": lambda app: http(app, method="HEAD"),
    "not modified": lambda app: http(app, "/?status=304"),
    "a client that leaves": _leaves,
    "a client that leaves, without a turn": lambda app: _leaves(app, waits=False),
    "a client that leaves early": _leaves_early,
    "a client that leaves a wrapped stream": _with(Wraps(), _leaves),
    "a failing hook": _with(Fails(), http),
    "a hook that replaces": _with(Replaces(), http),
    "a server that stops": _stops,
    "a server that stops at a piece": lambda app: _stops(app, waits=False),
    "a server that stops at the start": lambda app: _stops(app, at="http.response.start"),
    "a server that stops in a hook": _with(Stalls(), _stops),
}


@pytest.mark.parametrize("around", [*AROUND, "sync"])
@pytest.mark.parametrize("silent", [False, True], ids=["at a yield", "silent"])
@pytest.mark.parametrize("way", WAYS)
async def test_closed_where_it_ran(
    around: str, silent: bool, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A generator is closed in the task and the context that ran it, whatever ends it."""
    monkeypatch.setattr("micropie.connection.streams.FIRST_CHANCE", 0.01, raising=False)
    if around == "sync" and silent:
        pytest.skip("a thread cannot be cancelled")
    app = Tail(AROUND.get(around), silent)
    errors: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    await asyncio.create_task(asyncio.wait_for(WAYS[way](app), LIMIT))
    assert app.log == ["closed"]
    assert errors == []
    logged = [record.exc_info[1] for record in caplog.records]
    assert [str(error) for error in logged] == (["the hook's own"] if way == "a failing hook" else [])


class Scopes(App):
    """Streams with a scope of their own that ends while a piece is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    async def timeout(self) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.01):
                while True:
                    yield "."
        except TimeoutError:
            self.log.append("too late")
        yield "over"

    async def move_on(self) -> AsyncIterator[str]:
        with anyio.move_on_after(0.01) as scope:
            while True:
                yield "."
        self.log.append("too late" if scope.cancelled_caught else "?")
        yield "over"

    async def group(self) -> AsyncIterator[str]:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._fail())
                while True:
                    yield "."
        except* KeyError:
            self.log.append("too late")
        yield "over"

    async def _fail(self) -> None:
        await asyncio.sleep(0.01)
        raise KeyError


@pytest.mark.parametrize("kind", ["timeout", "move_on", "group"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_scope_that_ends_while_a_piece_is_sent(
    kind: str, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What a timeout or a group around the yields cancels is the generator, and not the answer."""
    app = Scopes()
    answer = await http(app, f"/{kind}", waits=waits)
    assert (app.log, answer.complete, answer.text.lstrip(".")) == (["too late"], True, "over")
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["generator", "swallowing", "sync_generator"])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_timeout_around_the_app(kind: str, waits: bool) -> None:
    """A cancellation from outside comes out again, whatever the generator makes of it."""
    app = Film()
    task = asyncio.current_task()
    scope = make_scope("http", f"/{kind}", [], method="GET")

    sent = 0

    async def send(message: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == 10:
            timeout.reschedule(0)
        if waits:
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            await app(scope, asyncio.Event().wait, send)
    assert app.log == (["cancelled"] if kind == "swallowing" else ["closed"])
    assert task.cancelling() == 0


# --- what a stream is made of ----------------------------------------------------------------------------


class _Request:
    """What a stream needs of a request."""

    def __init__(self) -> None:
        self.x_core = App()._micropie


def sync_source(log: list[str]) -> Iterator[str]:
    try:
        yield "a"
        yield "b"
    finally:
        log.append("closed")


async def async_source(log: list[str]) -> AsyncIterator[str]:
    for piece in sync_source(log):
        yield piece


@pytest.mark.parametrize("source", [sync_source, async_source])
@pytest.mark.parametrize("begun", [False, True])
async def test_each_piece_once(source: Any, begun: bool) -> None:
    """A hook that reads a stream gets every piece once, whether or not the first one has come."""
    log: list[str] = []
    stream = streams.Stream(source(log), _Request())
    if begun:
        assert stream.begin() is (source is sync_source)
    assert [piece async for piece in stream] == ["a", "b"]
    assert log == ["closed"]
    await stream.aclose()


async def test_what_cannot_be_closed() -> None:
    """An iterator that is no generator is left alone."""
    for source in (Pieces(iter("abc")), iter("abc")):
        stream = streams.Stream(source, _Request())
        assert await anext(stream) == "a"
        await stream.aclose()


async def test_what_never_began() -> None:
    """A generator that was never started is closed without a step."""
    for source in (sync_source, async_source):
        log: list[str] = []
        await streams.Stream(source(log), _Request()).aclose()
        assert log == []
