"""What must not hang: clients that stop reading or never answer, cancelled handlers, crowds, threads.

Where seconds count the loop's time is made up, so that they cost nothing and are exact.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from micropie import App, ConnectionClosed, WebSocket
from micropie.concurrency import this_task
from tests.driver import LIMIT, Client, http, lifespan, make_scope, websocket
from tests.programs.virtual import VirtualLoop

SECONDS = 0.25  # what a turn of the loop, or a timer that comes late, may add


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on made-up time, in which waiting for ever is an error."""
    loop = VirtualLoop()
    task = loop.create_task(main())
    try:
        loop.run(task)
        task.result()
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


class Crowd(App):
    """Runs a test's own function as the handler of each socket, and else receives."""

    def __init__(self, job: Callable[[WebSocket], Coroutine[Any, Any, Any]] | None = None, **settings: Any):
        super().__init__(**settings)
        self.job = job
        self.ended: list[ConnectionClosed] = []

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await (self.job or self._receive)(ws)
        except ConnectionClosed as closed:
            self.ended.append(closed)
            raise

    async def _receive(self, ws: WebSocket) -> None:
        while True:
            await ws.receive()

    async def count(self) -> str:
        return str(len(self.websockets))


async def opened(stack: AsyncExitStack, app: App, number: int) -> list[Client]:
    clients = []
    for _ in range(number):
        client = await stack.enter_async_context(websocket(app, leave=False, alone=False))
        await client.next()
        clients.append(client)
    return clients


# --- close() on a client that takes nothing --------------------------------------------------------------


@pytest.mark.parametrize("where", ["handler", "another task"])
def test_close_can_be_given_up(where: str) -> None:
    """asyncio.timeout() around close() works on a client that has stopped reading."""

    async def kick(ws: WebSocket) -> None:
        clients[0].reads.clear()
        before = now()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await ws.close(1013)
        assert now() - before == pytest.approx(2)
        assert ws.closed

    async def main() -> None:
        app = Crowd(kick if where == "handler" else None)
        async with AsyncExitStack() as stack:
            clients.extend(await opened(stack, app, 1))
            if where != "handler":
                await kick(*app.websockets)
        assert clients[0].close is None
        assert [closed.code for closed in app.ended] == ([] if where == "handler" else [1013])

    clients: list[Client] = []
    run(main)


@pytest.mark.parametrize("seconds", [None, 0.5])
def test_close_is_bounded(seconds: float | None) -> None:
    """close() waits for room no longer than close_timeout, 3 seconds unless set; then the socket counts as gone."""

    async def main() -> None:
        app = Crowd() if seconds is None else Crowd(close_timeout=seconds)
        async with AsyncExitStack() as stack:
            (client,) = await opened(stack, app, 1)
            (ws,) = app.websockets
            client.reads.clear()
            sending = [asyncio.create_task(ws.send_text(f"{number}")) for number in range(3)]
            await asyncio.sleep(0)
            before = now()
            await ws.close(4000, "enough")
            assert now() - before == pytest.approx(seconds or 3, abs=SECONDS)
            sent = await asyncio.gather(*sending, return_exceptions=True)
            assert [getattr(error, "code", error) for error in sent] == [4000] * 3
            assert now() - before == pytest.approx(seconds or 3, abs=SECONDS)
        assert client.close is None
        assert [closed.code for closed in app.ended] == [4000]

    run(main)


def test_a_close_that_fails_ends_a_send_that_waits() -> None:
    """A server may refuse a close frame while another send waits, as uvicorn's websockets implementation does."""
    accepted = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "websocket.send":
            accepted.set()
            await asyncio.Event().wait()
        assert message["type"] != "websocket.close"

    async def flood(ws: WebSocket) -> None:
        await ws.send_bytes(b"x")

    async def main() -> None:
        app = Crowd(flood, send_timeout=None)
        receive, _ = silent_server(asyncio.Event(), [])
        serving = asyncio.create_task(app(make_scope("websocket", "/", ()), receive, send))
        await accepted.wait()
        (ws,) = app.websockets
        before = now()
        await ws.close(1013)
        await serving
        assert now() - before < SECONDS
        assert [closed.code for closed in app.ended] == [1013]

    run(main)


def test_close_waits_for_no_answer() -> None:
    """Where the server waits for the client's answer inside of send(), close() does not."""

    async def main() -> None:
        app = Crowd()
        async with AsyncExitStack() as stack:
            (client,) = await opened(stack, app, 1)
            (ws,) = app.websockets
            client.mute = True
            before = now()
            await ws.close(4000)
            assert now() == before
            assert client.close == (4000, "")
        assert now() - before == pytest.approx(3, abs=SECONDS)  # when the server gets its connection back

    run(main)


@pytest.mark.parametrize("mute", [False, True])
def test_a_handler_that_returns_is_bounded_too(mute: bool) -> None:
    """What the framework sends at the end takes no longer than close_timeout either."""

    async def leave(ws: WebSocket) -> None:
        client.reads.clear()
        client.mute = mute
        if mute:
            client.reads.set()

    async def main() -> None:
        nonlocal client
        async with AsyncExitStack() as stack:
            before = now()
            (client,) = await opened(stack, Crowd(leave), 1)
        assert now() - before == pytest.approx(3, abs=SECONDS)
        assert client.close == ((1000, "") if mute else None)

    client: Any = None
    run(main)


def test_a_close_frame_is_not_lost_with_its_caller() -> None:
    """close() that is cancelled ends at once, and the frame is sent when there is room."""

    async def kick(ws: WebSocket) -> None:
        clients[0].reads.clear()
        closing = asyncio.create_task(ws.close(4001, "late"))
        await asyncio.sleep(0.1)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        asyncio.get_running_loop().call_later(1, clients[0].reads.set)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            clients.extend(await opened(stack, Crowd(kick), 1))
        assert clients[0].close == (4001, "late")

    clients: list[Client] = []
    run(main)


@pytest.mark.parametrize("extension", [True, False])
def test_a_refusal_can_be_given_up(extension: bool) -> None:
    """reject() is cancelled at once, and bounded."""

    class Refuses(App):
        async def ws_index(self, ws: WebSocket) -> None:
            client.reads.clear()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await ws.reject(402, "pay")

    async def main() -> None:
        nonlocal client
        before = now()
        async with websocket(Refuses(), leave=False, extension=extension) as client:
            pass
        assert now() - before == pytest.approx(3, abs=SECONDS)
        assert client.sent == []

    client: Any = None
    run(main)


# --- many -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stopped", "mute", "listening"])
def test_many_are_closed_at_once(how: str) -> None:
    """close_websockets() closes those that are meant, takes as long as one of them, and says how many."""

    async def main() -> None:
        app = Crowd()
        async with AsyncExitStack() as stack:
            clients = await opened(stack, app, 5)
            kept = next(iter(app.websockets))
            for client in clients:
                client.mute = how == "mute"
                if how == "stopped":
                    client.reads.clear()
            before = now()
            assert (
                await app.close_websockets(4001, "You are logged out.", where=lambda ws: ws is not kept) == 4
            )
            assert now() - before == pytest.approx(3 if how == "stopped" else 0, abs=SECONDS)
            assert app.websockets == {kept}
            for client in clients:
                client.reads.set()
            assert await app.close_websockets() == 1
            assert await app.close_websockets() == 0
        sent = sorted(client.close for client in clients if client.close)
        assert sent == [(1000, "")] + [(4001, "You are logged out.")] * (0 if how == "stopped" else 4)

    run(main)


def test_a_wrong_call_closes_nobody() -> None:
    """close_websockets() looks at its arguments, and asks about all sockets, before it closes one."""

    def fails(ws: WebSocket) -> bool:
        raise KeyError(ws)

    async def main() -> None:
        app = Crowd()
        async with AsyncExitStack() as stack:
            await opened(stack, app, 2)
            for arguments, error in [
                ((1006,), ValueError),
                ((1000, 5), TypeError),
                ((1000, None, fails), KeyError),
            ]:
                with pytest.raises(error):
                    await app.close_websockets(*arguments)
            assert len(app.websockets) == 2
            await app.close_websockets()

    run(main)


def test_readers_are_found_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing many sockets whose readers the server does not wake looks at each task a few times, not once a socket."""
    looked_at = 0
    all_tasks = asyncio.all_tasks

    def counted(*loop: Any) -> Any:
        nonlocal looked_at
        tasks = all_tasks(*loop)
        looked_at += len(tasks)
        return tasks

    async def main() -> None:
        app = Crowd()
        async with AsyncExitStack() as stack:
            for client in await opened(stack, app, number):
                client.silent = True
            monkeypatch.setattr(asyncio, "all_tasks", counted)
            await asyncio.gather(*(ws.close(4000) for ws in app.websockets))
        monkeypatch.setattr(asyncio, "all_tasks", all_tasks)
        assert [closed.code for closed in app.ended] == [4000] * number
        assert looked_at < 20 * number

    number = 200
    run(main)


# --- sends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["coroutine", "awaitable"])
@pytest.mark.parametrize("seconds", [None, 2.0])
def test_a_send_is_bounded(seconds: float | None, kind: str) -> None:
    """A client that takes nothing for send_timeout counts as gone, for all who send to it or receive from it."""

    async def broadcast(app: App) -> list[Any]:
        return await asyncio.gather(*(send(ws) for ws in app.websockets for _ in range(2)))

    async def send(ws: WebSocket) -> Any:
        before = now()
        try:
            await ws.send_bytes(b"news")
        except ConnectionClosed as closed:
            return closed.code, now() - before
        return "sent", now() - before

    async def main() -> None:
        app = Crowd() if seconds is None else Crowd(send_timeout=seconds)
        async with AsyncExitStack() as stack:
            clients = []
            for _ in range(3):
                client = await stack.enter_async_context(websocket(app, leave=False, alone=False, kind=kind))
                await client.next()
                clients.append(client)
            clients[1].reads.clear()
            results = await broadcast(app)
            assert sorted(result for result, _ in results if result != "sent") == [1006, 1006]
            bound = seconds or 30
            for result, waited in results:
                if result == "sent":
                    assert waited < SECONDS
                else:
                    assert 0.79 * bound <= waited <= bound + SECONDS
            await asyncio.sleep(SECONDS)
            assert [closed.code for closed in app.ended] == [1006]
            assert len(app.websockets) == 2
            await app.close_websockets()

    run(main)


def test_a_slow_client_is_no_dead_one() -> None:
    """A send that takes long counts by itself: those before it do not count."""

    async def film(ws: WebSocket) -> None:
        await ws.receive()
        for number in range(5):
            client.reads.clear()
            asyncio.get_running_loop().call_later(1.5, client.reads.set)
            await ws.send_text(f"{number}")

    async def main() -> None:
        nonlocal client
        async with AsyncExitStack() as stack:
            (client,) = await opened(stack, Crowd(film, send_timeout=2), 1)
            client.send("go")
        assert len(client.messages) == 5
        assert client.close == (1000, "")

    client: Any = None
    run(main)


def silent_server(left: asyncio.Event, sent: list[Any]) -> tuple[Any, Any]:
    """One whose send() never waits and never tells that the client has left, as hypercorn's."""
    connect = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        if connect:
            return connect.pop()
        await left.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        sent.append(message)

    return receive, send


async def test_a_handler_that_only_sends_is_left() -> None:
    """until_closed() ends a loop of sends that never wait, the moment the client goes."""

    class Floods(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            async with ws.until_closed():
                while True:
                    await ws.send_bytes(b"x")
            ended.append(ws.close_code)

    left, ended = asyncio.Event(), list[Any]()
    receive, send = silent_server(left, [])
    asyncio.get_running_loop().call_later(0.01, left.set)
    async with asyncio.timeout(LIMIT):
        await Floods()(make_scope("websocket", "/", ()), receive, send)
    assert ended == [1006]


@pytest.mark.parametrize("listens", [False, True])
async def test_a_sender_learns_that_its_client_left(listens: bool) -> None:
    """A loop of sends ends with ConnectionClosed also where send() does not tell, and what came before is not lost."""

    class Floods(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            if listens:
                heard.append(await ws.receive())
            while True:
                try:
                    await ws.send_bytes(b"x")
                except ConnectionClosed as closed:
                    ended.append(closed.code)
                    raise

    async def receive() -> Any:
        message = messages.pop(0)
        if message["type"] == "websocket.disconnect":
            await left.wait()
        return message

    left, ended, heard = asyncio.Event(), list[int](), list[Any]()
    messages = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 4321}]
    if listens:
        messages.insert(1, {"type": "websocket.receive", "text": "first"})
    asyncio.get_running_loop().call_later(0.01, left.set)
    async with asyncio.timeout(LIMIT):
        await Floods()(make_scope("websocket", "/", ()), receive, silent_server(left, [])[1])
    assert (ended, heard) == ([4321], ["first"] * listens)


@pytest.mark.parametrize("method", ["send_text", "send_bytes", "send", "send_json"])
async def test_others_are_served_beside_a_flood(method: str) -> None:
    """A loop of sends that never wait gives everybody else their turn."""

    class Floods(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            began.set()
            for _ in range(10**7):
                await getattr(ws, method)(b"x" if method == "send_bytes" else "x")
                if done:
                    return
            raise AssertionError("nobody else had a turn")

        async def index(self) -> str:
            done.append(True)
            return "served"

    app, done, began = Floods(), list[bool](), asyncio.Event()
    receive, send = silent_server(asyncio.Event(), [])
    flood = asyncio.create_task(app(make_scope("websocket", "/", ()), receive, send))
    async with asyncio.timeout(LIMIT):
        await began.wait()
        assert (await http(app, alone=False)).text == "served"
        await flood


# --- cancellation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("where", ["before accept", "waiting", "sending", "in a finally", "after the end"])
async def test_a_cancelled_handler_is_told_to_its_client(
    where: str, stops: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An admin's task.cancel() closes with 1011, or 1001 if the server stops; one line in the log, no traceback."""
    caplog.set_level(logging.INFO, "micropie")

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            tasks.append(this_task())
            if where != "before accept":
                await ws.accept()
            if where == "after the end":
                await ws.close(4000)
            if where == "sending":
                clients[0].reads.clear()
            reached.set()
            if where == "sending":
                await ws.send("never taken")
            try:
                await asyncio.Event().wait()
            finally:
                if where == "in a finally":
                    await asyncio.sleep(0)
                clients[0].reads.set()

    tasks: list[asyncio.Task[Any]] = []
    clients: list[Client] = []
    reached = asyncio.Event()
    app = Site(close_timeout=0.05)
    async with AsyncExitStack() as stack:
        if stops:
            messages = asyncio.Queue[Any]()
            stopping = asyncio.create_task(
                app({"type": "lifespan"}, messages.get, lambda message: asyncio.sleep(0))
            )
            app.shutdown_handlers.append(reached.wait)
            messages.put_nowait({"type": "lifespan.startup"})
            messages.put_nowait({"type": "lifespan.shutdown"})
        clients.append(await stack.enter_async_context(websocket(app, leave=False, alone=False)))
        await reached.wait()
        await asyncio.sleep(0)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        stack.pop_all()  # else it would wait for the task, and be cancelled with it
    if stops:
        await stopping
    assert tasks[0].cancelled()
    (client,) = clients
    expected = 1001 if stops else 1011
    if where == "before accept":
        assert client.refusal == (503 if stops else 500)
    elif where == "sending":
        assert client.close is None
    else:
        assert client.close == (4000 if where == "after the end" else expected, "")
    (record,) = caplog.records
    assert record.getMessage().startswith("the handler for / was cancelled")
    assert record.exc_info is None
    assert record.levelno == (logging.INFO if stops else logging.WARNING)


async def test_a_mounted_app_is_cancelled_with_its_socket(caplog: pytest.LogCaptureFixture) -> None:
    """A handler of another framework that is cancelled has its socket closed too."""

    async def child(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(this_task())
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    app = App()
    app.mount("/child", child)
    tasks: list[asyncio.Task[Any]] = []
    with suppress(asyncio.CancelledError):
        async with websocket(app, "/child", leave=False) as client:
            await client.next()
            await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.wait(tasks)
            assert client.close == (1011, "")
    assert [record.getMessage() for record in caplog.records] == ["the handler for /child was cancelled"]


async def test_accept_is_cancelled_at_once() -> None:
    """Nobody knows whether a cancelled accept() was sent, so nothing more is."""

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            clients[0].reads.clear()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await ws.accept()
            with pytest.raises(ConnectionClosed):
                await ws.send("x")

    clients: list[Client] = []
    async with websocket(Site(), leave=False) as client:
        clients.append(client)
    assert client.sent == []


# --- threads ----------------------------------------------------------------------------------------------


class Threads(App):
    """Sends from sync handlers, which run in threads, in the way that a test asks for."""

    send: Any

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    def tell(self) -> str:
        return str([self.send(ws) for ws in self.websockets])


async def test_a_sync_handler_sends() -> None:
    """from_thread() runs a coroutine in the app's loop, and gives back what comes of it."""
    app = Threads()
    app.send = lambda ws: app.from_thread(ws.send_text("from a thread")).result(LIMIT)
    async with websocket(app, alone=False) as client:
        await client.next()
        assert (await http(app, "/tell", alone=False)).text == "[None]"
        assert await client.text() == "from a thread"


async def test_a_thread_of_the_apps_own_sends() -> None:
    """A thread that a startup handler has begun can send; to a socket that is over, it gets ConnectionClosed."""

    def work() -> None:
        told.wait(LIMIT)
        (ws,) = app.websockets
        app.from_thread(ws.send_text("done")).result(LIMIT)
        app.from_thread(ws.close(4000)).result(LIMIT)
        with pytest.raises(ConnectionClosed):
            app.from_thread(ws.send_text("too late")).result(LIMIT)
        results.append("worked")

    app, told, results = Threads(), threading.Event(), list[str]()
    thread = threading.Thread(target=work)
    async with lifespan(app):
        thread.start()
        async with websocket(app, alone=False, leave=False) as client:
            await client.next()
            told.set()
            assert await client.text() == "done"
        await asyncio.to_thread(thread.join, LIMIT)
    assert client.close == (4000, "")
    assert results == ["worked"]


async def test_where_from_thread_does_not_work() -> None:
    """In the loop's own thread it would wait for itself, and without a loop for ever."""
    app = Threads()
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="once the app is started"):
        app.from_thread(coroutine)
    with pytest.raises(TypeError, match="takes a coroutine"):
        app.from_thread(asyncio.sleep)  # type: ignore[arg-type]  # a mistake that is made
    async with lifespan(app):
        with pytest.raises(RuntimeError, match="await the coroutine instead"):
            app.from_thread(asyncio.sleep(0))


@pytest.mark.parametrize("misuse", ["close", "many sends"])
async def test_a_foreign_loop_is_noticed(misuse: str) -> None:
    """A socket that is used in another event loop says so, and goes on in its own."""

    async def use(ws: WebSocket) -> None:
        async with asyncio.timeout(LIMIT):
            if misuse == "close":
                await ws.close()
            else:
                for _ in range(300):
                    await ws.send("x")

    def misused(ws: WebSocket) -> str:
        with pytest.raises(RuntimeError) as raised:
            asyncio.run(use(ws))
        return str(raised.value)

    class Idle(Threads):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await release.wait()
            await ws.send("still here")

    app, release = Idle(), asyncio.Event()
    app.send = misused
    async with websocket(app, alone=False, leave=False) as client:
        await client.next()
        answer = (await http(app, "/tell", alone=False)).text
        release.set()
    assert "use app.from_thread(" in answer
    assert "still here" in client.messages
    assert client.close == (1000, "")


def test_its_settings() -> None:
    """close_timeout has always a bound; send_timeout may have none."""
    assert (App().close_timeout, App().send_timeout) == (3.0, 30.0)
    assert App(send_timeout=None).send_timeout is None
    for wrong in (
        {"close_timeout": None},
        {"close_timeout": float("inf")},
        {"close_timeout": "3"},
        {"close_timeout": 0},
        {"send_timeout": -1},
    ):
        with pytest.raises((TypeError, ValueError), match="_timeout"):
            App(**wrong)  # type: ignore[arg-type]  # what is wrong
