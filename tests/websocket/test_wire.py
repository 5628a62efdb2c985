"""The two funnels below a WebSocket: state, the one reader, and how an end reaches everybody who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from micropie import App, ConnectionClosed, WebSocket
from micropie.websocket import stalled
from tests.driver import LIMIT, Client, Illegal, Later, WebSocketJudge, make_scope, websocket

Job = Callable[[WebSocket], Coroutine[Any, Any, Any]]


class Site(App):
    """Runs the test's own function as the handler, after ``accept()``."""

    def __init__(self, job: Job, **settings: Any) -> None:
        super().__init__(**settings)
        self.job = job

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await self.job(ws)


async def receiving(ws: WebSocket, log: list[Any], method: str = "receive") -> None:
    """Receive once, and note what came of it."""
    try:
        log.append(await getattr(ws, method)())
    except (ConnectionClosed, RuntimeError) as error:
        log.append(error)
    except asyncio.CancelledError:
        log.append("cancelled")
        raise


def codes(log: list[Any]) -> list[Any]:
    return [entry.code if isinstance(entry, ConnectionClosed) else entry for entry in log]


async def turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


# --- one reader -----------------------------------------------------------------------------------------


async def test_only_one_task_can_receive() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(receiving(ws, log))
            await turns()
            with pytest.raises(RuntimeError, match="another task is receiving from this WebSocket"):
                await ws.receive()
            with pytest.raises(RuntimeError, match="another task is receiving"):
                async for _ in ws:
                    pass
            await ws.send("ready")

    async with websocket(Site(job)) as client:
        await client.next()
        assert await client.text() == "ready"
        client.send("for the first")
    assert log == ["for the first"]


async def test_a_receive_that_was_cancelled_loses_nothing() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        task = asyncio.create_task(receiving(ws, log))
        await turns()
        task.cancel()
        await asyncio.wait([task])
        await ws.send("ready")
        await receiving(ws, log)

    async with websocket(Site(job)) as client:
        await client.next()
        await client.next()
        client.send("still there")
    assert log == ["cancelled", "still there"]


# --- close() and a receive() that waits -----------------------------------------------------------------


async def test_close_ends_a_receive_in_another_task() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        task = asyncio.create_task(receiving(ws, log))
        await turns()
        await ws.close(4000, "enough")
        await task
        assert task.cancelling() == 0

    async with websocket(Site(job), leave=False) as client:
        pass
    assert codes(log) == [4000]
    assert log[0].reason == "enough"
    assert client.close == (4000, "enough")


@pytest.mark.parametrize("first", ["cancel", "close"])
async def test_a_cancellation_that_comes_with_close_passes_through(first: str) -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        task = asyncio.create_task(receiving(ws, log))
        await turns()
        if first == "cancel":
            task.cancel()
            await ws.close(4000)
        else:
            closing = asyncio.create_task(ws.close(4000))
            closing.add_done_callback(lambda _: task.cancel())
            asyncio.get_running_loop().call_soon(task.cancel)
            await closing
        await asyncio.wait([task])
        assert task.cancelled()

    async with websocket(Site(job), leave=False) as client:
        pass
    assert log == ["cancelled"]
    assert client.close == (4000, "")


async def test_a_message_that_came_before_close_is_dropped_after_it() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        task = asyncio.create_task(receiving(ws, log))
        await turns()
        client.send("too late")
        await ws.close(4000)
        await task

    async with websocket(Site(job), leave=False) as client:
        pass
    assert codes(log) == [4000]


async def closes_in_until_closed(ws: WebSocket) -> None:
    async with ws.until_closed():
        await turns()
        await ws.close(4000)
        await asyncio.Event().wait()


async def closes_in_run(ws: WebSocket) -> None:
    async def writer() -> None:
        await turns()
        await ws.close(4000)

    await ws.run(receiving(ws, []), writer())


@pytest.mark.parametrize("job", [closes_in_until_closed, closes_in_run])
async def test_the_close_frame_is_sent_before_anybody_is_woken(job: Job) -> None:
    """What close() wakes may cancel its task: a frame that waits for a slow client must not be lost."""
    async with websocket(Site(job), leave=False) as client:
        client.slow = 10
    assert client.close == (4000, "")


# --- sends that fail ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError(), RuntimeError("closed already")])
async def test_a_send_that_fails_gives_the_clients_code(error: Exception) -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        await ws.receive()
        try:
            await ws.send("x")
        except ConnectionClosed as closed:
            log.append((closed.code, closed.reason))
        with pytest.raises(ConnectionClosed):
            await ws.send("x")
        with pytest.raises(ConnectionClosed):
            await ws.receive()

    async with websocket(Site(job)) as client:
        await client.next()
        client.fail_sends = error
        client.send("go")
        client.send("read over")
        client.leave(4001, "bye")
    assert log == [(4001, "bye")]
    assert client.close is None


async def test_a_send_that_fails_while_another_task_receives() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        reader = asyncio.create_task(receiving(ws, log))
        await turns()
        try:
            await ws.send("x")
        except ConnectionClosed as closed:
            log.append(closed)
        await reader

    async with websocket(Site(job)) as client:
        await client.next()
        client.fail_sends = OSError()
        await client.next()
        client.leave(4001)
    assert codes(log) == [4001, 4001]


async def test_a_receive_that_begins_after_a_failed_send() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        async def writer() -> None:
            try:
                await ws.send("x")
            except ConnectionClosed as closed:
                log.append(closed)

        writing = asyncio.create_task(writer())
        await turns()
        await receiving(ws, log)
        await writing

    async with websocket(Site(job)) as client:
        await client.next()
        client.fail_sends = OSError()
        await client.next()
        await turns(10)
        client.leave(4001)
    assert codes(log) == [4001, 4001]


async def test_a_failed_send_that_is_cancelled_leaves_nobody_waiting() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        sending = asyncio.create_task(ws.send("x"))
        await turns()
        sending.cancel()
        await asyncio.wait([sending])
        await asyncio.gather(receiving(ws, log), receiving(ws, log))

    async with websocket(Site(job), leave=False) as client:
        await client.next()
        client.fail_sends = OSError()
    assert codes(log) == [1006, 1006]


async def test_two_sends_that_fail_at_once() -> None:
    async def job(ws: WebSocket) -> None:
        results = await asyncio.gather(*(ws.send(text) for text in "ab"), return_exceptions=True)
        assert codes(results) == [4001, 4001]

    async with websocket(Site(job)) as client:
        await client.next()
        client.fail_sends = OSError()
        await client.next()
        await turns()
        client.leave(4001)
    assert client.close is None


@pytest.mark.parametrize("reads", [False, True])
async def test_a_client_that_says_nothing_more_is_not_waited_for(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalled, "LEAVE_GRACE", 0)
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        await ws.receive()
        reader = asyncio.create_task(receiving(ws, []))
        if not reads:
            reader.cancel()
        await turns()
        try:
            await ws.send("x")
        except ConnectionClosed as closed:
            log.append(closed)
        reader.cancel()
        await asyncio.wait([reader])

    async with websocket(Site(job), leave=False) as client:
        await client.next()
        client.fail_sends = OSError()
        client.send("go")
    assert codes(log) == [1006]


async def test_a_client_that_left_before_accept() -> None:
    async with websocket(Site(lambda ws: ws.receive())) as client:
        client.fail_sends = OSError()
    assert client.close is None


async def test_an_error_that_is_no_departure_is_the_handlers() -> None:
    async def job(ws: WebSocket) -> None:
        with pytest.raises(ZeroDivisionError):
            await ws.send("x")
        await receiving(ws, [])

    async with websocket(Site(job)) as client:
        await client.next()
        client.fail_sends = ZeroDivisionError()
        await client.next()
        client.fail_sends = None


async def test_a_server_that_refuses_a_close_code_gets_another(caplog: pytest.LogCaptureFixture) -> None:
    refused: list[Any] = []

    async def job(ws: WebSocket) -> None:
        await ws.close(1012, "back soon")

    async with websocket(Site(job), leave=False) as client:
        judge = client._judge.send

        def refuse(message: dict[str, Any]) -> None:
            if message.get("code") == 1012:
                refused.append(message)
                raise Exception("invalid close code 1012")  # just what Daphne raises
            judge(message)

        client._judge.send = refuse
    assert len(refused) == 1
    assert client.close == (1000, "back soon")
    assert "this server does not send the close code 1012; it sends 1000" in caplog.text


# --- what the server sends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "received"),
    [
        ({"text": "a"}, "a"),
        ({"bytes": b"a"}, b"a"),
        ({"text": "a", "bytes": None}, "a"),
        ({"text": None, "bytes": b"a"}, b"a"),
        ({"text": "", "bytes": None}, ""),
        ({"text": None, "bytes": b""}, b""),
    ],
)
async def test_servers_name_one_key_or_both(message: dict[str, Any], received: Any) -> None:
    log: list[Any] = []
    async with websocket(Site(lambda ws: receiving(ws, log))) as client:
        client.put({"type": "websocket.receive", **message})
    assert log == [received]


async def test_a_second_disconnect_does_not_matter() -> None:
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        await receiving(ws, log)
        await receiving(ws, log)

    async with websocket(Site(job)) as client:
        client.leave(4001)
        client.leave(4002)
    assert codes(log) == [4001, 4001]


async def test_the_judge_of_these_tests_cannot_be_silenced() -> None:
    async def job(ws: WebSocket) -> None:
        try:
            await ws.x_send({"type": "websocket.accept"})
        except Exception:
            pytest.fail("an app must not be able to catch it")

    with pytest.raises(Illegal):
        async with websocket(Site(job)):
            pass


# --- a close from another task --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["receive", "receive_text", "receive_bytes"])
@pytest.mark.parametrize("how", ["close", "failed send", "end"])
@pytest.mark.parametrize(
    ("kind", "silent"), [("coroutine", False), ("coroutine", True), ("awaitable", False), ("awaitable", True)]
)
async def test_a_reader_is_told_that_it_is_over(
    method: str, how: str, kind: str, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a server that never says it, and before the close frame where a receive holds it up."""
    monkeypatch.setattr(stalled, "LEAVE_GRACE", 0)
    log: list[Any] = []
    readers: list[Any] = []

    async def reading(ws: WebSocket) -> None:
        async with asyncio.timeout(60):  # the search for the reader goes through what it awaits
            await receiving(ws, log, method)
        log.append(asyncio.current_task().cancelling())

    async def job(ws: WebSocket) -> None:
        readers.append(asyncio.create_task(reading(ws)))
        await turns()
        if how == "close":
            await ws.close(4000)
        elif how == "failed send":
            client.fail_sends = OSError()
            with pytest.raises(ConnectionClosed):
                await ws.send("x")
        if how != "end":
            await asyncio.wait(readers)

    app = Site(job)
    judge = WebSocketJudge(extension=True)
    client = Client(judge, kind)
    client.silent = silent
    client.put({"type": "websocket.connect"})
    await app(make_scope("websocket", "/", ()), client._receive, client._send)
    await asyncio.wait(readers)
    assert codes(log) == [{"close": 4000, "failed send": 1006, "end": 1000}[how], 0]


async def test_where_sends_wait_for_receives_the_reader_goes_first() -> None:
    """As on granian: its send() does nothing while a receive() waits."""
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        reader = asyncio.create_task(receiving(ws, log))
        await turns()
        await ws.close(4000)
        await reader

    async def next_message() -> dict[str, Any]:
        async with receiving_now:
            return connects.pop() if connects else await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        async with asyncio.timeout(LIMIT), receiving_now:
            sent.append(message["type"])

    receiving_now = asyncio.Lock()

    connects, sent = [{"type": "websocket.connect"}], []
    await Site(job)(make_scope("websocket", "/", ()), lambda: Later(next_message()), send)
    assert (sent, codes(log)) == (["websocket.accept", "websocket.close"], [4000])


async def test_a_cancellation_that_is_on_its_way_is_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stalled, "LEAVE_GRACE", 0)
    log: list[Any] = []

    async def job(ws: WebSocket) -> None:
        reader = asyncio.create_task(receiving(ws, log))
        await turns()
        reader.cancel()
        ws._wake()
        await asyncio.wait([reader])
        assert reader.cancelled()
        await ws.send("done")

    async with websocket(Site(job)) as client:
        await client.next()
        assert await client.text() == "done"
    assert log == ["cancelled"]
