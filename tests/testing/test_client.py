"""The test client, as a user of the framework meets it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
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


async def test_a_client_sends_what_a_real_one_could_send() -> None:
    """The test client refuses messages, close frames and header fields that never leave a real client."""
    site = Site()
    async with TestClient(site) as client:
        async with client.websocket("/echo") as ws:
            for message in (5, None, ["text"], bytearray(b"bytes")):
                with pytest.raises(TypeError, match="a message is str or bytes, not"):
                    await ws.send(message)  # type: ignore[arg-type]  # what is wrong
            with pytest.raises(UnicodeEncodeError):
                await ws.send("\ud800")
            for code, reason in ((999, ""), (1015, ""), (5000, ""), ("1000", ""), (1000, "x" * 124)):
                with pytest.raises(ValueError, match=r"close frame|a reason has"):
                    await ws.close(code, reason)  # type: ignore[arg-type]  # what is wrong
            await ws.send("still open")
            assert await ws.receive() == "still open"
            await ws.close(1006)
        assert "left with 1006" in site.life
        for value in (" edges ", "line\nbreak"):
            with pytest.raises(httpx.LocalProtocolError, match="not a legal value"):
                await client.get("/", headers={"X-Odd": value})


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


# --- as a real connection ---------------------------------------------------------------------------------


async def test_a_client_buffers_what_it_has_not_read_yet() -> None:
    """Two requests that each send to an open socket do not wait for its client to read."""

    class Shop(App):
        async def ws_news(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.receive()

        async def order(self) -> str:
            for ws in self.websockets:
                await ws.send(f"order {self.request.query('n')}")
            return "sent"

    async with TestClient(Shop(), patience=1) as client, client.websocket("/news") as ws:
        for n in range(100):
            assert (await client.post(f"/order?n={n}")).text == "sent"
        assert [await ws.receive() for _ in range(100)] == [f"order {n}" for n in range(100)]


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_buffer_has_an_end(kind: str) -> None:
    """An app that sends without an end is held up until its client reads, as by the buffers of a socket."""
    sent = 0

    async def endless(scope: Any, _receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send(
            {"type": "http.response.start", "status": 200} if kind == "http" else {"type": "websocket.accept"}
        )
        body = {"type": "http.response.body", "body": b"x" * 1000, "more_body": True}
        while sent < 100_000:
            await send(body if kind == "http" else {"type": "websocket.send", "bytes": b"x" * 1000})
            sent += 1

    async with TestClient(endless, patience=0.05) as client:
        with suppress(OSError, TimeoutError):  # how this app takes the end of its client
            async with client.stream("GET", "/") if kind == "http" else client.websocket("/"):
                for _ in range(100):
                    await asyncio.sleep(0)
                before = sent
    assert 500 < before < 2000


async def test_an_app_that_does_not_receive_holds_its_client_up() -> None:
    async with TestClient(Site(), patience=0.05) as client:
        with pytest.raises(TimeoutError, match="the app has read nothing"):  # noqa: PT012  # leaving the block is part of it
            async with client.websocket("/hangs") as ws:
                for _ in range(2000):
                    await ws.send("x" * 1000)


async def test_a_body_is_sent_until_the_app_has_answered() -> None:
    """A client writes to a server no more than the server reads."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent.append(True)
            yield b"x" * 100_000

    sent: list[bool] = []
    async with TestClient(Site()) as client:
        for headers, status in (({}, 200), ({"Content-Type": "application/json"}, 413)):
            assert (await client.post("/", content=pieces(), headers=headers)).status_code == status
            assert len(sent) < 500


async def test_nothing_is_sent_to_an_app_that_has_closed() -> None:
    async with TestClient(Site()) as client:
        async with client.websocket("/count") as ws:
            assert [message async for message in ws]
            with pytest.raises(ConnectionClosed) as closed:
                await ws.send("x")
            assert closed.value.code == 4000
        async with client.websocket("/echo") as ws:
            await ws.close()
            with pytest.raises(ConnectionClosed):
                await ws.send("x")


def answer(*fields: Any, status: Any = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(fields)}


def body(data: Any = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


FIVE = (b"content-length", b"5")
ACCEPT: dict[str, Any] = {"type": "websocket.accept"}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([answer(FIVE), body(b"123456")], "longer than its Content-Length"),
        ([answer(FIVE), body(b"12345", more=True), body(b"6", more=True)], "longer than its Content-Length"),
        ([answer(FIVE), body(b"1234")], "shorter than its Content-Length"),
        ([answer(FIVE), body()], "shorter than its Content-Length"),
        ([answer((b"content-length", b"abc")), body()], "b'abc' is not a legal Content-Length"),
        ([answer((b"content-length", b"-1")), body()], "b'-1' is not a legal Content-Length"),
        ([answer(FIVE, (b"Content-Length", b"6")), body(b"12345")], "several lengths"),
        ([answer((b"transfer-encoding", b"chunked")), body(b"x")], "Transfer-Encoding is the server's"),
        ([answer((b"Transfer-Encoding", b"gzip")), body(b"x")], "Transfer-Encoding is the server's"),
        ([answer((b"x-a", b"a\r\nx-b: c")), body()], "not a legal value of the header field x-a"),
        ([answer((b"x-a", b"trail ")), body()], "not a legal value of the header field x-a"),
        ([answer((b"x-a", b"\tlead")), body()], "not a legal value of the header field x-a"),
        ([answer((b"x-a", b"\x00")), body()], "not a legal value of the header field x-a"),
        ([answer((b"x a", b"1")), body()], "b'x a' is not a legal name"),
        ([answer((b"", b"1")), body()], "b'' is not a legal name"),
        ([answer(("x-a", "1")), body()], "header fields are bytes"),
        ([answer((b"x-a", 1)), body()], "header fields are bytes"),
        ([answer(status="200"), body()], "'200' is not the status"),
        ([answer(status=42), body()], "42 is not the status"),
        ([answer(status=101), body()], "101 is not the status"),
        ([answer(status=204), body(b"x")], "has no body"),
        ([answer(status=304), body(b"x")], "has no body"),
        ([answer(), body("text")], "a body is bytes, not str"),
        ([answer(), answer()], "http.response.start comes where only http.response.body can"),
        ([body(b"x")], "the answer begins with http.response.start"),
        ([answer(), body(b"x", more=True)], "before the body was complete"),
        ([ACCEPT | {"headers": [(b"x-a", b"a\nb")]}], "not a legal value"),
        ([ACCEPT | {"subprotocol": "other"}], "'other' was not offered"),
        ([ACCEPT, ACCEPT], "websocket.accept cannot come while the WebSocket is open"),
        ([ACCEPT, {"type": "websocket.close", "code": 1005}], "1005 cannot stand in a close frame"),
        ([ACCEPT, {"type": "websocket.close", "reason": "é" * 62}], "123 bytes at most"),
        ([ACCEPT, {"type": "websocket.send"}], "one of text and bytes"),
        ([ACCEPT, {"type": "websocket.send", "text": "a", "bytes": b"a"}], "one of text and bytes"),
        ([ACCEPT, {"type": "websocket.send", "text": b"a"}], "text is str, bytes are bytes"),
        ([{"type": "websocket.send", "text": "a"}], "cannot come while the WebSocket is connecting"),
        (
            [{"type": "websocket.http.response.start", "status": 403, "headers": [(b"x", b" a")]}],
            "legal value",
        ),
        ([{"type": "websocket.http.response.start", "status": 403}], "before the body was complete"),
    ],
)
async def test_what_a_server_does_not_send_reaches_no_client(messages: list[Any], words: str) -> None:
    """``send()`` raises in the app, and the client sees an answer that breaks off, whatever the app makes of it."""

    async def wrong(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await receive()
        for message in messages:
            try:
                await send(message)
            except RuntimeError as error:
                raised.append(str(error))

    raised: list[str] = []
    async with TestClient(wrong) as client:
        with pytest.raises(httpx.RemoteProtocolError, match=words):  # noqa: PT012  # leaving the block is part of it
            if messages[0]["type"].startswith("http"):
                await client.get("/")
            else:
                async with client.websocket("/", subprotocols=["chat"]) as ws:
                    await ws.receive()
    assert len(raised) == ("before" not in words)


async def test_what_a_server_does_send() -> None:
    """An answer to HEAD has the length of one to GET, and its body is left out."""

    async def legal(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await send(answer(FIVE, (b"X-A", b"\xff a\tb"), (b"x-empty", b"")))
            await send(body(bytearray(b"123"), more=True))
            await send({"type": "http.response.body", "body": memoryview(b"45")})

    async with TestClient(legal) as client:
        assert (await client.get("/")).content == b"12345"
        head = await client.head("/")
        assert (head.content, head.headers["content-length"]) == (b"", "5")


async def test_a_stream_of_another_length_than_it_says(caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(App):
        async def index(self, length: str) -> Any:
            return 200, self._pieces(), {"Content-Length": length}

        async def _pieces(self) -> Any:
            yield "123"
            yield "45"

    async with TestClient(Wrong()) as client:
        assert (await client.get("/5")).text == "12345"
        for length in ("4", "6"):
            with pytest.raises(httpx.RemoteProtocolError, match="before the body was complete"):
                await client.get(f"/{length}")
            assert f"its Content-Length is {length}" in caplog.text


async def test_a_handshake_has_the_fields_of_one() -> None:
    class Shows(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_json({name: ws.headers[name] for name in fields})

    fields = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "a, b",
    }
    async with TestClient(Shows()) as client, client.websocket("/", subprotocols=["a", "b"]) as ws:
        assert await ws.receive_json() == fields


# --- several clients on one app ---------------------------------------------------------------------------


async def test_the_clients_of_one_app_share_its_lifespan() -> None:
    """The first starts it, the last ends it, whatever the order in which they go; and then it can begin again."""
    site = Site()
    alice, bob, carol = (TestClient(site) for _ in range(3))
    async with alice:
        async with bob:
            assert site.life == ["up"]
        assert (await alice.get("/")).status_code == 200
        await carol.__aenter__()
    assert site.life == ["up"]
    assert (await carol.get("/visits")).text == "1"
    await carol.__aexit__()
    assert site.life == ["up", "down"]
    async with TestClient(site), TestClient(Site()):
        assert site.life == ["up", "down", "up"]


async def test_clients_that_come_at_once() -> None:
    class Slow(Site):
        def __init__(self) -> None:
            super().__init__()
            self.startup_handlers.insert(0, self._wait)
            self.shutdown_handlers.insert(0, self._wait)

        async def _wait(self) -> None:
            for _ in range(3):
                await asyncio.sleep(0)

    async def visit() -> None:
        async with TestClient(site) as client:
            assert (await client.get("/")).status_code == 200

    site = Slow()
    async with asyncio.TaskGroup() as visits:
        for _ in range(3):
            visits.create_task(visit())
    assert site.life == ["up", "down"]


async def test_clients_of_one_app_share_the_state_of_its_lifespan() -> None:
    """Of an app that is a method too, which is another object each time one looks at it."""

    class Bare:
        started = 0

        async def serve(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await receive()
                self.started += 1
                scope["state"]["started"] = self.started
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            else:
                await send(answer())
                await send(body(str(scope["state"]["started"]).encode()))

    bare = Bare()
    async with TestClient(bare.serve) as one, TestClient(bare.serve) as other:
        assert [(await client.get("/")).text for client in (one, other)] == ["1", "1"]
    async with TestClient(bare.serve) as again:
        assert (await again.get("/")).text == "2"


async def test_a_startup_that_fails_fails_for_each_client() -> None:
    site = Site()
    site.startup_handlers.insert(0, lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="startup"):
            async with TestClient(site):
                pass
    del site.startup_handlers[0]
    site.life.clear()
    async with TestClient(site):
        assert site.life == ["up"]


async def test_the_reprs_say_what_they_are_of() -> None:
    async with TestClient(Site()) as client:
        assert repr(client) == f"<TestClient of {client._app!r} at https://testserver>"
        async with client.websocket("/count?n=1") as ws:
            assert repr(ws) == "<TestWebSocket /count open>"
        assert repr(ws) == "<TestWebSocket /count closed with 4000>"
        async with client.websocket("/echo") as ws:
            pass
        assert repr(ws) == "<TestWebSocket /echo left>"
        async with client.websocket("/refused") as ws:
            assert repr(ws) == "<TestWebSocket /refused refused with 401>"


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
