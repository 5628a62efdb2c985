"""The life of a WebSocket: every row of the table in which its situations and ends stand."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from contextlib import suppress
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    WebSocket,
    WebSocketMiddleware,
    current_request,
)
from micropie.concurrency import this_task
from tests.driver import Client, handshake, make_scope, websocket

SECRET = "the secret that no client may see"


class Life(App):
    """One handler for each way to live and end."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.caught: list[BaseException] = []

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("index")

    async def ws_argument(self, ws: WebSocket, number: int) -> None:
        await ws.accept()
        await ws.send_json(number)

    async def ws_member(self, ws: WebSocket, user: FromSession[str]) -> None:
        await ws.accept()

    async def ws_unauthorized(self, ws: WebSocket) -> None:
        raise HTTPError(401, "log in first", [("WWW-Authenticate", "Bearer")])

    async def ws_refuses(self, ws: WebSocket) -> None:
        await ws.close(4000, "never seen")

    async def ws_never_accepts(self, ws: WebSocket) -> None:
        pass

    async def ws_raises(self, ws: WebSocket) -> None:
        raise ValueError(SECRET)

    async def ws_returns(self, ws: WebSocket) -> None:
        await ws.accept()

    async def ws_raises_later(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ValueError(SECRET)

    async def ws_unauthorized_later(self, ws: WebSocket) -> None:
        await ws.accept()
        raise HTTPError(401, "log in first")

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send(await ws.receive())
        except ConnectionClosed as closed:
            self.caught.append(closed)
            raise

    async def ws_text(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.send(await ws.receive_text())
        except ConnectionClosed as closed:
            self.caught.append(closed)
            with pytest.raises(ConnectionClosed):
                await ws.send("after the end")
            with pytest.raises(ConnectionClosed):
                await ws.receive()
            raise

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(await ws.receive_json())

    async def ws_patient_json(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_json()
        except ValueError as error:
            self.caught.append(error)
        await ws.close(3000, "still well")

    async def ws_group(self, ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.TaskGroup() as group:
            group.create_task(ws.receive())

    async def ws_foreign_departure(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ConnectionClosed(1001)

    def ws_sync(self, ws: WebSocket) -> None:
        pass

    async def ws_without_parameter(self) -> None:
        pass


@pytest.fixture
def app() -> Life:
    return Life()


@pytest.mark.parametrize("extension", [True, False], ids=["http.response", "close only"])
@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/nothing", [], 404),
        ("/ws_echo", [], 404),
        ("/_private", [], 404),
        ("/echo/more", [], 404),
        ("/echo", [("Origin", "https://evil.example")], 403),
        ("/argument", [], 400),
        ("/argument?number=x", [], 400),
        ("/argument/x", [], 404),
        ("/member?user=mallory", [], 401),
        ("/unauthorized", [], 401),
        ("/refuses", [], 403),
        ("/never_accepts", [], 403),
        ("/raises", [], 500),
        ("/sync", [], 500),
        ("/without_parameter", [], 500),
    ],
)
async def test_a_refused_handshake_is_an_http_answer(
    app: Life, target: str, headers: list[tuple[str, str]], status: int, extension: bool
) -> None:
    client = await handshake(app, target, headers=headers, extension=extension)
    assert not client.accepted
    assert client.refusal == (status if extension else 403)
    assert SECRET.encode() not in client.refusal_body


@pytest.mark.parametrize(
    ("target", "close"),
    [
        ("/", (1000, "")),
        ("/returns", (1000, "")),
        ("/argument/7", (1000, "")),
        ("/raises_later", (1011, "")),
        ("/unauthorized_later", (1008, "log in first")),
        ("/foreign_departure", (1000, "")),
    ],
)
async def test_the_framework_closes_what_the_handler_left_open(app: Life, target: str, close: Any) -> None:
    client = await handshake(app, target)
    assert client.accepted
    assert client.close == close


@pytest.mark.parametrize(
    ("target", "sent", "answer", "close"),
    [
        ("/echo", "text", "text", None),
        ("/echo", b"bytes", b"bytes", None),
        ("/echo", "", "", None),
        ("/echo", b"", b"", None),
        ("/text", "ä".encode(), "ä", (1000, "")),
        ("/text", b"\xff", None, (1007, "")),
        ("/json", '{"a": [1, null]}', '{"a":[1,null]}', (1000, "")),
        ("/json", b"7", "7", (1000, "")),
        ("/json", "{", None, (1007, "")),
        ("/json", "NaN", None, (1007, "")),
        ("/json", b"\xff", None, (1007, "")),
        ("/json", "[" * 100_000, None, (1007, "")),
        ("/patient_json", "{", None, (3000, "still well")),
    ],
)
async def test_messages(app: Life, target: str, sent: str | bytes, answer: Any, close: Any) -> None:
    async with websocket(app, target) as client:
        client.send(sent)
    assert client.messages == ([] if answer is None else [answer])
    assert client.close == close


@pytest.mark.parametrize(
    ("size", "message", "allowed"),
    [
        (4, "abcd", True),
        (4, "abcde", False),
        (4, "ää", True),
        (4, "äää", False),
        (4, b"abcd", True),
        (4, b"abcde", False),
        (None, "x" * 2_000_000, True),
    ],
)
async def test_the_size_of_a_message_counts_in_bytes(size: int | None, message: str, allowed: bool) -> None:
    app = Life(max_message_size=size)
    async with websocket(app, "/echo") as client:
        client.send(message)
    assert client.messages == ([message] if allowed else [])
    assert client.close == (None if allowed else (1009, ""))
    assert [error.code for error in app.caught if isinstance(error, ConnectionClosed)] == [
        1001 if allowed else 1009
    ]


async def test_the_size_can_be_set_later() -> None:
    app = Life()
    app.max_message_size = 4
    async with websocket(app, "/echo") as client:
        client.send("abcde")
    assert client.close == (1009, "")


async def test_a_decorator_may_decide_without_the_handler() -> None:
    def members_only(handler: Any) -> Any:
        @functools.wraps(handler)
        def wrapper(self: App, ws: WebSocket) -> Any:
            return handler(self, ws) if self.request.query("member") else None

        return wrapper

    class Club(App):
        @members_only
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()

    assert (await handshake(Club(), "/?member=1")).close == (1000, "")
    assert (await handshake(Club(), "/")).refusal == 403


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({"type": "websocket.disconnect", "code": 4001, "reason": "bye"}, 4001, "bye"),
        ({"type": "websocket.disconnect", "code": None}, 1005, ""),
        ({"type": "websocket.disconnect", "code": 1006, "reason": None}, 1006, ""),
        ({"type": "websocket.disconnect"}, 1005, ""),
    ],
)
async def test_the_handler_learns_how_the_client_left(
    app: Life, message: dict[str, Any], code: int, reason: str
) -> None:
    async with websocket(app, "/text", leave=False) as client:
        client.put(message)
    [closed] = app.caught
    assert isinstance(closed, ConnectionClosed)
    assert (closed.code, closed.reason) == (code, reason)
    assert client.close is None


async def test_a_departure_that_leaves_the_handler_is_no_error(
    app: Life, caplog: pytest.LogCaptureFixture
) -> None:
    for target in ("/echo", "/group"):
        async with websocket(app, target):
            pass
    assert caplog.records == []


@pytest.mark.parametrize(
    ("target", "line", "traceback"),
    [
        ("/raises", "error in the handler for /raises", True),
        ("/raises_later", "error in the handler for /raises_later", True),
        ("/never_accepts", "ws_never_accepts returned without accept(), so the handshake is refused", False),
        ("/foreign_departure", "a ConnectionClosed that is not this socket's own left the handler", False),
        ("/sync", "ws_sync must be 'async def' to handle a WebSocket", True),
        ("/without_parameter", "needs a parameter for the WebSocket", True),
    ],
)
async def test_what_goes_wrong_is_in_the_log(
    app: Life, caplog: pytest.LogCaptureFixture, target: str, line: str, traceback: bool
) -> None:
    await handshake(app, target)
    [record] = caplog.records
    assert record.name == "micropie"
    assert line in caplog.text
    assert bool(record.exc_info) is traceback


async def test_a_foreign_origin_is_one_line_in_the_log(app: Life, caplog: pytest.LogCaptureFixture) -> None:
    await handshake(app, "/echo", headers=[("Origin", "https://evil.example")])
    [line] = caplog.messages
    assert all(part in line for part in ("https://evil.example", "testserver", "allowed_origins"))


async def test_the_refusal_carries_the_errors_body_and_headers(app: Life) -> None:
    client = await handshake(app, "/unauthorized")
    assert (b"www-authenticate", b"Bearer") in client.sent[0]["headers"]
    assert client.refusal_body == b"401 Unauthorized: log in first"


async def test_a_client_that_leaves_before_the_handshake_reaches_no_handler(app: Life) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/raises", "headers": []}, receive, send)
    assert sent == []


# --- hooks ----------------------------------------------------------------------------------------------


class Recorder(WebSocketMiddleware):
    """Notes when its hooks run, and does in them what the test says."""

    def __init__(
        self, name: str, log: list[str], before: Any = None, after: BaseException | None = None
    ) -> None:
        self.name, self.log, self.before, self.after = name, log, before, after

    async def before_websocket(self, request: Any) -> Any:
        self.log.append(f"before {self.name}")
        if isinstance(self.before, Exception):
            raise self.before
        return self.before

    async def after_websocket(self, request: Any) -> None:
        self.log.append(f"after {self.name}")
        if self.after is not None:
            raise self.after


@pytest.mark.parametrize(
    "target", ["/returns", "/raises", "/raises_later", "/never_accepts", "/nothing", "/echo"]
)
async def test_after_hooks_run_once_and_in_reverse_on_every_way_out(app: Life, target: str) -> None:
    log: list[str] = []
    app.ws_middlewares += [Recorder("a", log), Recorder("b", log)]
    async with websocket(app, target):
        pass
    assert log == ["before a", "before b", "after b", "after a"]


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ({"code": 1008, "reason": "no"}, 403),
        ({"status_code": 429, "body": "slowly"}, 429),
        (HTTPError(402), 402),
        (ValueError(SECRET), 500),
        ("not a dict", 500),
    ],
)
async def test_a_before_hook_can_refuse(app: Life, before: Any, status: int) -> None:
    log: list[str] = []
    app.ws_middlewares += [Recorder("a", log), Recorder("b", log, before), Recorder("c", log)]
    client = await handshake(app, "/")
    assert client.refusal == status
    assert log == ["before a", "before b", "after a"]


@pytest.mark.parametrize("how", ["reject", "close"])
async def test_a_hook_can_refuse_by_the_websocket_which_its_request_is(
    app: Life, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Refuses(Recorder):
        async def before_websocket(self, request: Any) -> None:
            await super().before_websocket(request)
            await getattr(request, how)()

    log: list[str] = []
    app.ws_middlewares += [Refuses("a", log), Recorder("b", log)]
    assert (await handshake(app, "/raises")).refusal == 403
    assert log == ["before a", "after a"]
    assert caplog.records == []  # the handler, which would raise, is not asked


async def test_an_after_hook_that_fails_does_not_stop_the_others(
    app: Life, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app.ws_middlewares += [Recorder("a", log), Recorder("b", log, after=ValueError(SECRET))]
    client = await handshake(app, "/")
    assert log == ["before a", "before b", "after b", "after a"]
    assert client.close == (1011, "")
    assert SECRET in caplog.text


async def test_after_hooks_run_when_the_server_cancels(app: Life) -> None:
    log: list[str] = []
    app.ws_middlewares += [
        Recorder("a", log),
        Recorder("b", log, after=asyncio.CancelledError()),
        Recorder("c", log),
    ]
    entered: asyncio.Future[Client] = asyncio.get_running_loop().create_future()

    async def session() -> None:
        async with websocket(app, "/echo", leave=False) as client:
            await client.next()
            entered.set_result(client)
            await asyncio.Event().wait()

    task = asyncio.create_task(session())
    client = await entered
    task.cancel()
    await asyncio.wait([task])
    assert client.accepted
    assert log[-3:] == ["after c", "after b", "after a"]


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_at_the_very_end_leaves_nothing_behind(turns: int) -> None:
    class ReadsAhead(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.run(asyncio.sleep(0))

    async def receive() -> dict[str, Any]:
        if not connect:
            await asyncio.Event().wait()
        return connect.pop()

    async def cancel_soon() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            cancelling.append(asyncio.create_task(cancel_soon()))

    app, connect, cancelling = ReadsAhead(), [{"type": "websocket.connect"}], []
    context = contextvars.copy_context()
    task = asyncio.create_task(app(make_scope("websocket", "/", ()), receive, send), context=context)
    await asyncio.wait([task])
    await asyncio.gather(*cancelling)
    assert not app._micropie.open_websockets
    assert context.get(current_request) is None


async def test_a_task_left_behind_cannot_use_a_cancelled_connection() -> None:
    reached, ended, left = asyncio.Event(), asyncio.Event(), []

    class Leaves(App):
        async def ws_index(self, ws: WebSocket) -> None:
            left.append(asyncio.create_task(self._late(ws)))
            reached.set()
            await asyncio.Event().wait()

        async def _late(self, ws: WebSocket) -> None:
            await ended.wait()
            await ws.accept()

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        pass

    app = Leaves()
    task = asyncio.create_task(app(make_scope("websocket", "/", ()), receive, send))
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    ended.set()
    with pytest.raises(RuntimeError, match="closed already"):
        await left[0]
    assert not app.websockets


@pytest.mark.parametrize("target", ["/returns", "/raises_later"])
async def test_an_after_hook_may_send_and_close_where_the_handler_has_not(app: Life, target: str) -> None:
    class Last(WebSocketMiddleware):
        async def after_websocket(self, request: Any) -> None:
            assert request.accepted
            assert not request.closed
            assert request.close_code is None
            with pytest.raises(RuntimeError, match="too late for a cookie"):
                request.set_cookie("late", "yes")
            await request.send("a last word")
            await request.close(4100, "by the hook")

    app.ws_middlewares.append(Last())
    ended = await handshake(app, target)
    assert (ended.messages, ended.close) == (["a last word"], (4100, "by the hook"))


async def test_a_before_hook_that_accepts_takes_that_from_the_handler(app: Life) -> None:
    class Eager(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            for early in (request.receive(), request.send("early")):
                with pytest.raises(RuntimeError, match="not answered yet"):
                    await early
            await request.accept()

    app.ws_middlewares.append(Eager())
    assert (await handshake(app, "/returns")).close == (1011, "")


async def test_a_hook_can_choose_the_handler(app: Life) -> None:
    class Chooser(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            request._ws_route_handler = "ws_argument"
            request.path_params = ["5", "more than it takes"]

        async def after_websocket(self, request: Any) -> None:
            pass

    app.ws_middlewares.append(Chooser())
    assert (await handshake(app, "/anything")).messages == ["5"]


async def test_a_chosen_handler_that_does_not_exist_is_an_error(
    app: Life, caplog: pytest.LogCaptureFixture
) -> None:
    class Chooser(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            request._ws_route_handler = "ws_typo"

        async def after_websocket(self, request: Any) -> None:
            pass

    app.ws_middlewares.append(Chooser())
    assert (await handshake(app, "/")).refusal == 500
    assert "ws_typo" in caplog.text


async def test_the_open_sockets_of_an_app(app: Life) -> None:
    assert not app.websockets
    async with websocket(app, "/echo") as one, websocket(app, "/echo") as two:
        await one.next()
        await two.next()
        assert len(app.websockets) == 2
        for ws in app.websockets:
            await ws.send("to all")
        assert await one.text() == await two.text() == "to all"
        one.send("a")
        assert await one.text() == "a"
    assert not app.websockets
    assert not app._micropie.open_websockets


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ("Slow down.", "Slow down."),
        ("", ""),
        ("\u2603" * 42, "\u2603" * 41),
        ("\ud800 half a pair", "? half a pair"),
        ({"retry": 5}, "{'retry': 5}"),
    ],
)
async def test_a_detail_is_the_reason(detail: Any, reason: str) -> None:
    """An HTTPError after accept() closes with 1008, and its detail is the reason, cut to 123 bytes of UTF-8."""

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            raise HTTPError(429, detail)

    assert (await handshake(Site())).close == (1008, reason)


class Spans(WebSocketMiddleware):
    """Enters something before the handler and leaves it afterwards, as tracing libraries do."""

    def __init__(self) -> None:
        self.span = contextvars.ContextVar("span", default="none")
        self.tasks: list[Any] = []
        self.left: list[str] = []

    async def before_websocket(self, request: Any) -> None:
        self.token = self.span.set("the socket's")
        self.tasks.append(asyncio.current_task())
        self.group = await asyncio.TaskGroup().__aenter__()

    async def after_websocket(self, request: Any) -> None:
        self.tasks.append(asyncio.current_task())
        self.left.append(self.span.get())
        await self.group.__aexit__(None, None, None)
        self.span.reset(self.token)


@pytest.mark.parametrize("how", ["returns", "fails", "leaves", "refuses", "cancelled"])
async def test_both_hooks_share_task_and_context(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """What before_websocket enters, a context variable or a task group, after_websocket can leave."""

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            self.request.session["seen"] = True  # what is saved is saved in a task of its own
            if how == "refuses":
                raise HTTPError(403)
            await ws.accept()
            if how == "fails":
                raise ValueError(SECRET)
            if how == "cancelled":
                this_task().cancel()
            if how != "returns":
                await ws.receive()

    spans = Spans()
    app = Site()
    app.ws_middlewares.append(spans)
    with suppress(asyncio.CancelledError):
        async with websocket(app, leave=how == "leaves") as client:
            pass
    assert client.sent
    assert spans.left == ["the socket's"]
    assert spans.tasks[0] is spans.tasks[1]
    assert "different Context" not in caplog.text
    assert "TaskGroup" not in caplog.text


async def test_a_task_group_of_the_hooks_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A task of the hooks' group that fails ends the handler, and is the error of the socket."""

    class Watched(Spans):
        async def before_websocket(self, request: Any) -> None:
            await super().before_websocket(request)
            self.group.create_task(self.fail(request))

        async def fail(self, ws: Any) -> None:
            await accepted.wait()
            raise ValueError(SECRET)

    class Site(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            accepted.set()
            await asyncio.Event().wait()

    accepted = asyncio.Event()
    app = Site()
    app.ws_middlewares.append(Watched())
    assert (await handshake(app)).close == (1011, "")
    assert SECRET in caplog.text
