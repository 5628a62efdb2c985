"""The test client, as a user of the framework meets it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    HttpMiddleware,
    Request,
    WebSocket,
    WebSocketMiddleware,
)
from micropie.testing import TestClient


class Site(App):
    def __init__(self) -> None:
        super().__init__()
        self.life: list[str] = []
        self.startup_handlers.append(lambda: self.life.append("up"))
        self.shutdown_handlers.append(lambda: self.life.append("down"))

    async def index(self, *, name: str = "you") -> str:
        return f"Hello {name}"

    async def visits(self) -> str:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return str(self.request.session["n"])

    async def upload(self, title: str, file: Any) -> dict[str, Any]:
        content = b""
        while (piece := await file["content"].get()) is not None:
            content += piece
        return {"title": title, "content": content.decode()}

    async def ticks(self) -> Any:
        try:
            for number in range(1_000_000):
                yield f"{number}\n"
        finally:
            self.life.append("stopped")

    async def truncated(self) -> Any:
        yield "one"
        raise ValueError("mid-stream")

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept(
            subprotocol="chat" if "chat" in ws.subprotocols else None, headers=[("X-Hello", "you")]
        )
        async for message in ws:
            await ws.send(message)
        self.life.append(f"left with {ws.close_code}")

    async def ws_count(self, ws: WebSocket) -> None:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        await ws.accept()
        await ws.send_json({"n": self.request.session["n"]})
        await ws.close(4000, "enough")

    async def ws_refused(self, ws: WebSocket) -> None:
        raise HTTPError(401, "log in", [("WWW-Authenticate", "Bearer")])

    async def ws_hangs(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await asyncio.Event().wait()
        finally:
            self.life.append("cancelled")


async def test_requests_are_those_of_httpx() -> None:
    async with TestClient(Site()) as client:
        assert (await client.get("/", params={"name": "Bob"})).text == "Hello Bob"
        assert (await client.head("/")).headers["content-length"] == "9"
        assert (await client.get("/nothing")).status_code == 404
        answer = await client.post("/upload", data={"title": "t"}, files={"file": ("f.txt", b"content")})
        assert answer.json() == {"title": "t", "content": "content"}


async def test_cookies_are_kept_between_requests_and_sockets() -> None:
    async with TestClient(Site()) as client:
        assert [(await client.get("/visits")).text for _ in range(2)] == ["1", "2"]
        async with client.websocket("/count") as ws:
            assert await ws.receive_json() == {"n": 3}
        assert (await client.get("/visits")).text == "4"


async def test_a_session_that_begins_with_a_socket() -> None:
    async with TestClient(Site()) as client:
        async with client.websocket("/count") as ws:
            assert "set-cookie" in ws.response.headers
        assert (await client.get("/visits")).text == "2"


async def test_lifespan_runs() -> None:
    site = Site()
    async with TestClient(site):
        assert site.life == ["up"]
    assert site.life == ["up", "down"]


async def test_a_startup_or_shutdown_that_fails_is_an_error() -> None:
    site = Site()
    site.shutdown_handlers.append(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="shutdown"):
        async with TestClient(site):
            pass
    site.startup_handlers.append(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="startup"):
        async with TestClient(site):
            pass


async def test_streams_are_streamed_and_stop_when_the_client_leaves() -> None:
    site = Site()
    async with TestClient(site) as client:
        async with client.stream("GET", "/ticks") as answer:
            lines = answer.aiter_lines()
            assert [await anext(lines), await anext(lines)] == ["0", "1"]
        assert "stopped" in site.life


async def test_a_stream_without_an_end_is_no_answer() -> None:
    async with TestClient(Site()) as client:
        with pytest.raises(Exception, match="before the body was complete"):
            await client.get("/truncated")


async def test_a_websocket_is_plain_data() -> None:
    site = Site()
    async with TestClient(site) as client:
        async with client.websocket("/echo", subprotocols=["other", "chat"]) as ws:
            assert ws.accepted
            assert (ws.subprotocol, ws.response.headers["x-hello"]) == ("chat", "you")
            for message in ("text", b"bytes"):
                await ws.send(message)
                assert await ws.receive() == message
            await ws.send_json([1])
            assert await ws.receive_json() == [1]
            await ws.close(4001, "bye")
        assert "left with 4001" in site.life
        async with client.websocket("/echo"):
            pass
        assert "left with 1000" in site.life


async def test_the_end_that_the_app_made() -> None:
    async with TestClient(Site()) as client:
        async with client.websocket("/count") as ws:
            assert [message async for message in ws] == ['{"n":1}']
            assert (ws.close_code, ws.close_reason) == (4000, "enough")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.receive()
            assert (closed.value.code, closed.value.reason) == (4000, "enough")
        async with client.websocket("/count") as ws:
            pass
        assert ws.close_code == 4000


@pytest.mark.parametrize(
    ("url", "headers", "status", "text"),
    [
        ("/refused", {}, 401, "log in"),
        ("/nothing", {}, 404, "Not Found"),
        ("/echo", {"Origin": "https://evil.example"}, 403, "origin"),
    ],
)
async def test_a_refusal_is_an_answer(url: str, headers: Any, status: int, text: str) -> None:
    async with TestClient(Site()) as client, client.websocket(url, headers=headers) as ws:
        assert not ws.accepted
        assert ws.response.status_code == status
        assert text in ws.response.text
        for use in (ws.receive(), ws.send("x")):
            with pytest.raises(RuntimeError, match=str(status)):
                await use


async def test_a_hanging_handler_is_named_and_stopped() -> None:
    site = Site()
    async with TestClient(site, patience=0.05) as client:
        with pytest.raises(TimeoutError, match="hangs"):  # noqa: PT012  # leaving the block is what hangs
            async with client.websocket("/hangs") as ws:
                with pytest.raises(TimeoutError, match="sent nothing"):
                    await ws.receive()
        assert "cancelled" in site.life


async def test_a_handler_that_sends_for_ever_ends_with_its_client() -> None:
    class Ticker(App):
        async def ws_ticks(self, ws: WebSocket) -> None:
            await ws.accept()
            while True:
                await ws.send("tick")

    async with TestClient(Ticker()) as client, client.websocket("/ticks") as ws:
        assert await ws.receive() == "tick"


async def test_an_error_of_the_test_is_not_hidden_by_one_on_the_way_out() -> None:
    site = Site()
    site.shutdown_handlers.append(lambda: 1 / 0)
    with pytest.raises(AssertionError, match="the test's own") as failed:
        async with TestClient(site, patience=0.05) as client, client.websocket("/hangs"):
            raise AssertionError("the test's own")
    assert ["Timeout" in note or "shutdown" in note for note in failed.value.__notes__] == [True, True]


async def test_a_startup_that_hangs_is_named() -> None:
    class Hangs(App):
        async def _forever(self) -> None:
            await asyncio.Event().wait()

    app = Hangs()
    app.startup_handlers.append(app._forever)
    with pytest.raises(TimeoutError, match="hangs"):
        async with TestClient(app, patience=0.05):
            pass


async def test_any_asgi_app_and_what_it_raises() -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/close":
            await receive()
            await send({"type": "websocket.close"})
            return
        if scope["path"] == "/silent":
            return
        raise LookupError(scope["type"])

    async with TestClient(bare) as client:
        with pytest.raises(LookupError, match="http"):
            await client.get("/")
        with pytest.raises(LookupError, match="websocket"):
            async with client.websocket("/"):
                pass
        for use in (client.get("/silent"), client.websocket("/silent").__aenter__()):
            with pytest.raises(RuntimeError, match="answer"):
                await use
        async with client.websocket("/close") as ws:
            assert ws.response.status_code == 403


def test_without_httpx_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("micropie.testing", "micropie.testing.client"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ImportError, match="extra 'testing'"):
        import micropie.testing  # noqa: F401  # The import is the test.


# --- an app that a middleware chose -----------------------------------------------------------------------


async def test_a_chosen_app_works_on_the_session_of_the_app_that_chose_it() -> None:
    class Child(App):
        async def login(self) -> str:
            self.request.session["user"] = "alice"
            self.request.regenerate_session()
            return "in"

        async def boom(self) -> str:
            self.request.session["lost"] = 1
            raise ValueError

        async def stream(self) -> Any:
            yield "first"
            self.request.session["late"] = 1
            yield "second"

        async def logout(self) -> str:
            self.request.session = {}
            return "out"

        async def ws_count(self, ws: WebSocket) -> None:
            self.request.session["socket"] = 1
            await ws.accept()

    class Chooser(HttpMiddleware, WebSocketMiddleware):
        async def before_request(self, request: Request) -> None:
            request._subapp, request._subapp_path, request._subapp_mount_path = child, request.path, "/sub"

        before_websocket = before_request

    child, app = Child(), App()
    app.middlewares.append(Chooser())
    app.ws_middlewares.append(Chooser())
    stored: Any = app.session_backend
    async with TestClient(app) as client:
        async with client.websocket("/count") as ws:
            assert "Path=/;" in ws.response.headers["set-cookie"]
        first = client.cookies["session_id"]
        await client.get("/login")
        assert client.cookies["session_id"] != first
        assert (await client.get("/boom")).status_code == 500
        await client.get("/stream")
        [(_, data)] = stored._sessions.values()
        assert data == {"socket": 1, "user": "alice", "late": 1}
        await client.get("/logout")
        assert stored._sessions == {}
        assert "session_id" not in client.cookies


async def test_the_session_of_an_outer_app_that_is_no_micropie_app_gets_no_other_id() -> None:
    class Inner(App):
        async def index(self) -> str:
            with pytest.raises(RuntimeError, match="outer app"):
                self.request.regenerate_session()
            return "x"

        async def ws_index(self, ws: WebSocket) -> None:
            with pytest.raises(RuntimeError, match="outer app"):
                await ws.accept(session_id="an-id-of-the-inner-app")
            await ws.reject(418)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await Inner()({**scope, "session": {"user": "outer"}}, receive, send)

    async with TestClient(outer) as client:
        assert (await client.get("/")).text == "x"
        async with client.websocket("/") as ws:
            assert ws.response.status_code == 418
