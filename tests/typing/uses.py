"""What a type checker sees of an app: never run, but checked by mypy and pyright in the environment ``typing``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any, assert_type

import httpx
from playwright.async_api import Page as AsyncPage
from playwright.sync_api import Page

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    SessionBackend,
    WebSocket,
    WebSocketMiddleware,
    WebSocketRequest,
    current_request,
    methods,
)
from micropie.testing import TestClient, TestWebSocket
from micropie.testing.browser import (
    AsyncWebSocketRecorder,
    Frame,
    RecordedWebSocket,
    WebSocketRecorder,
    record_websockets,
)
from micropie.testing.server import LiveServer, LiveServerFactory


class Shop(App):
    max_body_size = 1024

    def __init__(self, greeting: str) -> None:
        super().__init__(InMemorySessionBackend(), session_timeout=60, allowed_hosts=["shop.example"])
        self.greeting = greeting

    async def index(self, page: int = 1) -> str:
        assert_type(self.request, Request)
        assert_type(self.websockets, frozenset[WebSocket])
        return await self._render_template("index.html", page=page)

    @methods("POST")
    async def order(self, pie: str, user: FromSession[str]) -> tuple[int, dict[str, Any]]:
        assert_type(user, str)
        return 201, {"pie": pie}

    async def ticks(self) -> AsyncIterator[str]:
        yield "tick"

    async def ws_talk(self, ws: WebSocket, room: str = "lobby") -> None:
        assert_type(ws.subprotocols, tuple[str, ...])
        assert_type(ws.accepted, bool)
        assert_type(ws.close_code, int | None)
        assert_type(ws.query("room"), str | None)
        assert_type(ws.query("room", room), str)
        await ws.accept()
        async for message in ws:
            assert_type(message, str | bytes)
        assert_type(await ws.receive(), str | bytes)
        assert_type(await ws.receive_text(), str)
        assert_type(await ws.receive_bytes(), bytes)


async def request(request: Request, optional: str | None) -> None:
    assert_type(request.method, str)
    assert_type(request.path, str)
    assert_type(request.headers, dict[str, str])
    assert_type(request.cookies, dict[str, str])
    assert_type(request.query_params, dict[str, list[str]])
    assert_type(request.session, dict[str, Any])
    assert_type(await request.body(), bytes)
    assert_type(request.query("p"), str | None)
    assert_type(request.query("p", None), str | None)
    assert_type(request.query("p", "1"), str)
    assert_type(request.query("p", default="1"), str)
    assert_type(request.query("p", optional), str | None)
    assert_type(request.form("p"), str | None)
    assert_type(request.form("p", "x"), str)
    assert_type(request.form("p", default=optional), str | None)
    assert_type(request.json(), Any)
    assert_type(request.json("p"), Any)
    assert_type(request.json("p", 1), Any)
    assert_type(int(request.query("p", "1")), int)


class Guard(HttpMiddleware, WebSocketMiddleware):
    async def before_request(self, request: Request) -> dict[str, Any] | None:
        return None if request.query("key", "") else {"status_code": 403}

    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None:
        return None


class Store(SessionBackend):
    async def load(self, session_id: str) -> dict[str, Any]:
        return {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None: ...


def errors(closed: ConnectionClosed, refused: HTTPError) -> None:
    assert_type(closed.code, int)
    assert_type(closed.reason, str)
    assert_type(refused.status, int)
    assert_type(refused.detail, str)
    assert_type(refused.headers, list[tuple[str, str]])
    assert_type(current_request, ContextVar[Request])


def app(app: Shop) -> None:
    app.middlewares.append(Guard())
    app.ws_middlewares.append(Guard())
    app.startup_handlers.append(lambda: None)
    app.mount("/inner", App(Store()))
    app.max_body_size = 2048
    assert_type(app.session_timeout, int)
    assert_type(app._redirect("/"), tuple[int, str, list[tuple[str, str]]])


async def client() -> None:
    async with TestClient(Shop("hi"), patience=1) as client:
        assert_type(client, TestClient)
        assert_type(await client.get("/"), httpx.Response)
        async with client.websocket("/talk", subprotocols=["chat"]) as ws:
            assert_type(ws, TestWebSocket)
            assert_type(ws.response, httpx.Response)
            assert_type(ws.accepted, bool)
            assert_type(ws.subprotocol, str | None)
            assert_type(ws.close_code, int | None)
            assert_type(ws.close_reason, str)
            assert_type(await ws.receive(), str | bytes)
            assert_type(await ws.receive_json(), Any)


def live(live_server: LiveServerFactory) -> None:
    server = live_server(Shop("hi"), allow_errors=True, ws="wsproto")
    assert_type(server, LiveServer)
    assert_type(server.url, str)
    assert_type(server.ws_url, str)
    assert_type(server.port, int)


def browser(page: Page) -> None:
    sockets = record_websockets(page)
    assert_type(sockets, WebSocketRecorder)
    socket = sockets.expect_socket("/talk")
    assert_type(socket, RecordedWebSocket)
    assert_type(socket.frames, list[Frame])
    assert_type(socket.close_code, int | None)
    assert_type(sockets.transcript, str)
    socket.expect_sent("hi", {"a": 1}, b"")


async def async_browser(page: AsyncPage) -> None:
    sockets = await record_websockets(page)
    assert_type(sockets, AsyncWebSocketRecorder)
    await (await sockets.expect_socket()).expect_closed(1000)
