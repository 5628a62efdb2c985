"""The page about a WebSocket's life: what it says of the order and of the log, and the patterns that it shows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from micropie import App, FromSession, HTTPError, InMemorySessionBackend, WebSocket, WebSocketMiddleware
from tests.driver import Client, handshake, websocket
from tests.serving import serve
from tools.blocks import DOCS, find_run

PAGE = DOCS / "explanation" / "connection-lifecycle.rst"


class Steps(WebSocketMiddleware, InMemorySessionBackend):
    """Notes each step around a handler, with the message that was sent last."""

    def __init__(self) -> None:
        super().__init__()
        self.client: Client | None = None
        self.taken: list[tuple[str, str]] = []

    def note(self, what: str) -> None:
        if self.client is not None:
            self.taken.append((what, self.client.sent[-1]["type"]))

    async def before_websocket(self, request: Any) -> None:
        pass

    async def after_websocket(self, request: Any) -> None:
        self.note("after hook")
        request.session["last"] = "the hook"

    async def update(self, *arguments: Any) -> bool:
        self.note("session saved")
        return await super().update(*arguments)


class Ends(App):
    """Handlers that end when the client says so."""

    async def ws_end(self, ws: WebSocket, how: str) -> None:
        self.request.session["user"] = "Ann"
        await ws.accept()
        await ws.receive()
        if how == "close":
            await ws.close()
        if how == "error":
            raise ValueError("after all")


@pytest.mark.parametrize(
    ("how", "before", "close"),
    [
        ("return", "websocket.accept", (1000, "")),
        ("error", "websocket.accept", (1011, "")),
        ("close", "websocket.close", (1000, "")),
    ],
)
async def test_hooks_then_session_then_close_frame(how: str, before: str, close: tuple[int, str]) -> None:
    steps = Steps()
    app = Ends(session_backend=steps)
    app.ws_middlewares.append(steps)
    async with websocket(app, f"/end/{how}", leave=False) as client:
        await client.next()
        steps.client = client
        client.send("now")
    assert steps.taken == [("after hook", before), ("session saved", before)]
    assert client.close == close
    [stored] = [await steps.load(session_id) for session_id in steps._sessions]
    assert stored == {"user": "Ann", "last": "the hook"}


class Door(App):
    """A handler for each way to refuse that is nobody's mistake."""

    async def ws_number(self, ws: WebSocket, number: int) -> None:
        await ws.accept()

    async def ws_member(self, ws: WebSocket, user: FromSession[str]) -> None:
        await ws.accept()

    async def ws_error(self, ws: WebSocket) -> None:
        raise HTTPError(402)

    async def ws_reject(self, ws: WebSocket) -> None:
        await ws.reject(429)

    async def ws_close(self, ws: WebSocket) -> None:
        await ws.close(4000)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/nowhere", 404),
        ("/number/x", 404),
        ("/number/1/2", 404),
        ("/number", 400),
        ("/member", 401),
        ("/error", 402),
        ("/reject", 429),
        ("/close", 403),
    ],
)
async def test_a_refusal_that_is_meant_is_not_logged(
    target: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await handshake(Door(), target)).refusal == status
    assert caplog.records == []


async def test_a_host_that_is_not_allowed(caplog: pytest.LogCaptureFixture) -> None:
    assert (await handshake(Door(allowed_hosts=["pies.example"]), "/close")).refusal == 400
    assert caplog.records == []


async def test_a_handler_that_is_cancelled_is_told_to_its_client() -> None:
    begun = asyncio.get_running_loop().create_future()

    async def visit() -> None:
        async with websocket(Ends(), "/end/return", leave=False) as client:
            await client.next()
            begun.set_result(client)
            await asyncio.Event().wait()

    task = asyncio.create_task(visit())
    client = await begun
    task.cancel()
    await asyncio.wait([task])
    assert (client.accepted, client.close) == (True, (1011, ""))


def test_the_patterns(tmp_path: Path) -> None:
    run = find_run(PAGE, "lifecycle-patterns")
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        with connect(f"{server.ws_url}echo") as ws:
            ws.send(b"pie")
            assert ws.recv() == b"pie"
            ws.close(4001)
        server.wait_for_log("The echo ended with 4001.")
        with connect(f"{server.ws_url}clock") as ws:
            assert len(ws.recv()) == len("12:00:00")
            ws.close(4002)
        server.wait_for_log("The clock ended with 4002.")
        with connect(f"{server.ws_url}lamp") as ws:
            ws.send("red")
            assert ws.recv() == '{"lamp":"red"}'
            ws.close(4003)
        server.wait_for_log("The lamp ended with 4003.")
