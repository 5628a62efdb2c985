"""Receiving and sending at once with ``ws.run()``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from micropie import App, ConnectionClosed, WebSocket
from tests.driver import handshake, websocket


class Jobs(App):
    """Runs the jobs that a test gives it and notes how that ended."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        self.log: list[Any] = []
        self.go = asyncio.Event()

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        try:
            await ws.run(*(getattr(self, name)(ws) for name in self.names))
        except Exception as error:
            self.log.append(error)
            raise
        else:
            self.log.append("returned")
        if not ws.closed:
            await ws.send(f"rest: {await ws.receive()}")

    async def _reader(self, ws: WebSocket) -> None:
        while (message := await ws.receive()) != "stop":
            self.log.append(message)

    async def _busy_reader(self, ws: WebSocket) -> None:
        self.log.append(await ws.receive())
        await asyncio.Event().wait()

    async def _sleeper(self, ws: WebSocket) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.log.append("sleeper stopped")

    async def _writer(self, ws: WebSocket) -> None:
        while True:
            await self.go.wait()
            self.go.clear()
            await ws.send("written")

    async def _fails(self, ws: WebSocket) -> None:
        raise LookupError("a job's own")

    async def _closes(self, ws: WebSocket) -> None:
        await ws.close(4000)

    async def _other_socket(self, ws: WebSocket) -> None:
        raise ConnectionClosed(1001)


async def test_the_client_is_read_and_written_at_once() -> None:
    app = Jobs("_reader", "_writer")
    async with websocket(app) as client:
        assert [(await client.next())["type"], await client.text()] == ["websocket.accept", "ready"]
        app.go.set()
        assert await client.text() == "written"
        client.send("in")
        app.go.set()
        assert await client.text() == "written"
        client.send("stop")
        client.send("kept for later")
        assert await client.text() == "rest: kept for later"
    assert app.log == ["in", "returned"]


@pytest.mark.parametrize(
    ("names", "messages", "noted"),
    [
        (["_reader", "_sleeper"], [], ["sleeper stopped"]),
        (["_sleeper"], [], ["sleeper stopped"]),
        (["_sleeper", "_writer"], [], ["sleeper stopped"]),
        (["_busy_reader", "_sleeper"], ["one"], ["one", "sleeper stopped"]),
    ],
)
async def test_all_jobs_end_when_the_client_goes(
    names: list[str], messages: list[str], noted: list[str]
) -> None:
    app = Jobs(*names)
    async with websocket(app, leave=False) as client:
        for message in messages:
            client.send(message)
        for _ in range(10):  # until every job waits
            await asyncio.sleep(0)
        client.leave(4001, "bye")
    *before, error = app.log
    assert before == noted
    assert isinstance(error, ConnectionClosed)
    assert (error.code, error.reason) == (4001, "bye")


@pytest.mark.parametrize(
    ("names", "error", "close"),
    [
        (["_fails", "_reader"], LookupError, (1011, "")),
        (["_closes", "_sleeper"], None, (4000, "")),
        (["_other_socket", "_reader"], ConnectionClosed, (1000, "")),
        ([], ValueError, (1011, "")),
    ],
)
async def test_how_one_job_ends_them_all(names: list[str], error: Any, close: Any) -> None:
    app = Jobs(*names)
    client = await handshake(app)
    assert app.log[-1] == "returned" if error is None else isinstance(app.log[-1], error)
    assert client.close == close


async def test_before_accept_it_is_misuse() -> None:
    class Early(App):
        async def ws_index(self, ws: WebSocket) -> None:
            with pytest.raises(RuntimeError, match="accept"):
                await ws.run(asyncio.sleep(0))
            await ws.reject(418)

    assert (await handshake(Early())).refusal == 418


async def test_a_message_that_was_read_ahead_is_not_lost() -> None:
    class Ahead(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.run(received.wait())
            await ws.send(await ws.receive())
            await ws.send(await ws.receive())

    received = asyncio.Event()
    async with websocket(Ahead()) as client:
        await client.next()
        client.send("first")
        client.send("second")
        for _ in range(10):
            await asyncio.sleep(0)
        received.set()
        assert [await client.text(), await client.text()] == ["first", "second"]


async def test_run_within_run_is_misuse() -> None:
    class Nested(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            with pytest.raises(RuntimeError, match="already"):
                await ws.run(self._inner(ws))
            await ws.send("well")

        async def _inner(self, ws: WebSocket) -> None:
            await ws.run(asyncio.Event().wait())

    assert (await handshake(Nested())).messages == ["well"]


async def test_no_job_outlives_the_call_even_if_that_is_cancelled() -> None:
    class Slow(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            task = asyncio.create_task(ws.run(self._slow(), asyncio.sleep(0)))
            await cleaning.wait()
            task.cancel()
            await asyncio.sleep(0)
            may_end.set()
            await asyncio.wait([task])
            log.append(task.cancelled())

        async def _slow(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await may_end.wait()
                log.append("cleaned")

    cleaning, may_end = asyncio.Event(), asyncio.Event()
    log: list[Any] = []
    await handshake(Slow())
    assert log == ["cleaned", True]


@pytest.mark.parametrize("closes", [True, False])
async def test_nothing_waits_for_a_message_while_the_close_frame_goes_out(closes: bool) -> None:
    """On granian a send is held up by a receive that waits."""

    class After(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.run(asyncio.sleep(0))
            if closes:
                await ws.close(4005)

    waiting = 0
    connect = [{"type": "websocket.connect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        nonlocal waiting
        if connect:
            return connect.pop()
        waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            waiting -= 1

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            assert waiting == 0
        sent.append(message)

    await After()({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent[-1]["code"] == (4005 if closes else 1000)


async def test_a_task_that_still_receives_when_the_handler_ends_is_told() -> None:
    class Leaves(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            self.task = asyncio.create_task(ws.receive())
            await asyncio.sleep(0)

    app = Leaves()
    client = await handshake(app)
    assert client.close == (1000, "")
    with pytest.raises(ConnectionClosed):
        await app.task
