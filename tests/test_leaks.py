"""Nothing leaks: no method of the app to a URL, no text of an error to a client, no object to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import quote

import pytest

from micropie import App, ConnectionClosed, HTTPError, HttpMiddleware, WebSocket, WebSocketMiddleware
from tests.driver import handshake, http, make_scope, websocket
from tests.helpers import COOKIE, FORM, ID

MULTIPART = ("Content-Type", "multipart/form-data; boundary=B")
UPLOAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nCONTENT\r\n--B--\r\n'

# --- to a URL -------------------------------------------------------------------------------------------


class Helper:
    """Something callable that an app may hold."""

    def __call__(self, *args: Any) -> str:
        raise AssertionError("a URL has called it")


class Mixin:
    def _mixed_in(self) -> str:
        raise AssertionError("a URL has called it")


class Guarded(Mixin, App):
    """An app with one route of each kind, and with all that must not be one."""

    class Nested(Helper):
        pass

    instance = Helper()
    data: ClassVar = {"a": Helper()}

    def __init__(self) -> None:
        super().__init__()
        self.attached = Helper()
        self.bound = self.public

    async def public(self) -> str:
        return "public"

    async def ws_public(self, ws: WebSocket) -> None:
        await ws.accept()

    async def _private(self) -> str:
        raise AssertionError("a URL has called it")

    async def __mangled(self) -> str:
        raise AssertionError("a URL has called it")

    @property
    def computed(self) -> Helper:
        raise AssertionError("a URL has looked at it")


def internal_names() -> list[str]:
    """Every name that an app has, but its two routes."""
    app = Guarded()
    names = {*dir(app), *vars(app), *dir(App), "mro", "self", "ws", "index", ""}
    return sorted(names - {"public", "ws_public"})


def spellings(name: str) -> Iterator[tuple[str, str]]:
    """A name as path and raw path: plain, and as those write it who try to get round a check."""
    plain = name
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    yield plain, plain
    yield plain, encoded
    yield plain, encoded.lower()
    yield encoded, quote(encoded)  # encoded twice
    for path in (
        f"/{name}",
        f"{name}/",
        f"{name}//",
        f"./{name}",
        f"../{name}",
        f"public/../{name}",
        f"{name};x",
    ):
        yield path, path
    for path in (f"{name}\x00", f" {name}", f"{name} ", f"{name}.", f"{name}()", name.upper(), name.title()):
        yield path, quote(path)
    for path in (
        name.replace("_", "\uff3f"),
        name.replace("a", "\uff41"),
        name.replace("i", "\u0131"),
    ):  # look-alikes
        yield path, quote(path)
    yield f"public/{name}", f"public%2F{name}"
    yield f"ws_{name}", f"ws_{name}"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "_private"])
async def test_no_url_reaches_what_is_no_route(method: str) -> None:
    app, answers = Guarded(), set()
    for name in internal_names():
        for path, raw in spellings(name):
            scope = {"path": f"/{path}", "raw_path": f"/{raw}".encode()}
            answers.add((await http(app, "/", method, **scope)).status)
    assert answers == {404}
    assert (await http(app, "/public")).text == "public"


async def test_no_url_opens_what_is_no_route() -> None:
    app, answers = Guarded(), set()
    for name in internal_names():
        for path, raw in spellings(name):
            scope = {"path": f"/{path}", "raw_path": f"/{raw}".encode()}
            answers.add((await handshake(app, "/", **scope)).refusal)
    assert answers == {404}
    assert (await handshake(app, "/public")).accepted


@pytest.mark.parametrize("root", ["/_private", "/public/_private", "/instance", "//", "/ws_public"])
async def test_no_root_path_leads_to_one(root: str) -> None:
    for name in internal_names():
        for path in (f"{root}/{name}", f"/{name}{root}", f"{root}{name}"):
            assert (await http(Guarded(), path, root_path=root)).status == 404


class Guarding(HttpMiddleware, WebSocketMiddleware):
    """Keeps everybody out of one route, by its path."""

    async def before_request(self, request: Any) -> Any:
        return {"status_code": 403} if request.path.startswith("/public") else None

    async def before_websocket(self, request: Any) -> Any:
        return {"status_code": 403} if request.path.startswith("/public") else None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/public", 403),
        ("/public/", 403),
        ("/public//", 403),
        ("public", 404),  # uvicorn with h11, and hypercorn, hand on what `GET public` says
        ("public/", 404),
        ("./public", 404),
        ("http://testserver/public", 404),
        ("//public", 404),
        ("/./public", 404),
        ("/;/public", 404),
        ("\\public", 404),
        ("/\\public", 404),
    ],
)
async def test_no_spelling_leads_past_a_hook_that_looks_at_the_path(path: str, status: int) -> None:
    app = Guarded()
    app.middlewares.append(Guarding())
    app.ws_middlewares.append(Guarding())
    scope = {"path": path, "raw_path": path.encode()}
    assert (await http(app, "/", **scope)).status == status
    assert (await handshake(app, "/", **scope)).refusal == status


@pytest.mark.parametrize(
    "name", ["self", "ws", "request", "__class__", "args", "kwargs", "name", "_app", "scope"]
)
@pytest.mark.parametrize("where", ["query", "form", "json"])
async def test_no_name_in_a_request_replaces_what_the_framework_passes(name: str, where: str) -> None:
    class Takes(App):
        async def all(self, name: str = "default", /, **rest: Any) -> str:
            assert type(self) is Takes
            return f"{name} {sorted(rest)}"

        async def ws_all(self, ws: WebSocket, **rest: Any) -> None:
            assert isinstance(ws, WebSocket)
            await ws.accept()

    if where == "query":
        answer = await http(Takes(), f"/all?{name}=evil")
        assert (await handshake(Takes(), f"/all?{name}=evil")).accepted
    elif where == "form":
        answer = await http(Takes(), "/all", "POST", headers=[FORM], body=f"{name}=evil".encode())
    else:
        kind = ("Content-Type", "application/json")
        answer = await http(Takes(), "/all", "POST", headers=[kind], body=f'{{"{name}": "evil"}}'.encode())
    assert answer.status == 200


# --- to a client ----------------------------------------------------------------------------------------

SECRET = "the secret that no client may see"


class Fails(App):
    """Fails in every place in which an app can."""

    async def handler(self) -> None:
        raise ValueError(SECRET)

    def thread(self) -> None:
        raise ValueError(SECRET)

    async def group(self) -> None:
        raise ExceptionGroup(SECRET, [ValueError(SECRET), KeyError(SECRET)])

    async def chained(self) -> None:
        raise HTTPError(409) from ValueError(SECRET)

    async def stream(self) -> AsyncIterator[str]:
        yield "begun"
        raise ValueError(SECRET)

    def thread_stream(self) -> Iterator[str]:
        yield "begun"
        raise ValueError(SECRET)

    async def first(self) -> AsyncIterator[str]:
        raise ValueError(SECRET)
        yield ""

    async def header(self) -> Any:
        return 200, "", [("X-A", f"{SECRET}\n")]

    async def result(self) -> Any:
        return {SECRET}

    async def json(self) -> Any:
        return {"a": ValueError(SECRET)}

    async def template(self) -> str:
        return await self._render_template(SECRET)

    async def convert(self, n: int) -> str:
        raise AssertionError

    async def ws_before(self, ws: WebSocket) -> None:
        raise ValueError(SECRET)

    async def ws_after(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ValueError(SECRET)

    async def ws_group(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ExceptionGroup(SECRET, [ValueError(SECRET)])

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json({"a": ValueError(SECRET)})


class FailingHook(HttpMiddleware):
    def __init__(self, place: str) -> None:
        setattr(self, place, self._fail)

    async def _fail(self, *args: Any) -> None:
        raise ValueError(SECRET)


class FailingWebSocketHook(WebSocketMiddleware):
    def __init__(self, place: str) -> None:
        setattr(self, place, self._fail)

    async def _fail(self, *args: Any) -> None:
        raise ValueError(SECRET)


#: What comes of a route that does not end in 500.
OTHERS = {"chained": 409, "stream": 200, "thread_stream": 200, "convert?n=x": 400, "missing": 404}


@pytest.mark.parametrize("page", [None, "fails"])
@pytest.mark.parametrize("hook", [None, "on_headers", "before_request", "after_request"])
async def test_no_answer_has_the_text_of_an_error(hook: str | None, page: str | None) -> None:
    class WithPage(Fails):
        async def _error_page(self, status: int, detail: str) -> Any:
            raise ValueError(SECRET)

    app = WithPage() if page else Fails()
    if hook:
        app.middlewares.append(FailingHook(hook))
    routes = [name for name in vars(Fails) if not name.startswith(("_", "ws_"))]
    routes.remove("convert")
    for target in [*routes, "convert?n=x", "missing"]:
        answer = await http(app, f"/{target}")
        assert answer.status == (500 if hook else OTHERS.get(target, 500)), target
        assert answer.status != 500 or answer.text == "500 Internal Server Error", target
        sent = [answer.body, *(part for field in answer.raw_headers for part in field)]
        assert not any(b"secret" in part or (b"Error" in part and answer.status != 500) for part in sent), (
            target
        )


@pytest.mark.parametrize("hook", [None, "before_websocket", "after_websocket"])
async def test_no_close_frame_has_the_text_of_an_error(hook: str | None) -> None:
    app = Fails()
    if hook:
        app.ws_middlewares.append(FailingWebSocketHook(hook))
    for target in ("before", "after", "group", "json"):
        client = await handshake(app, f"/{target}")
        assert client.close == (1011, "") or client.refusal_body == b"500 Internal Server Error", target
        assert SECRET not in repr(client.sent), target


class FailsEverywhere(App):
    """Fails in all places of which the log names the path."""

    async def index(self, *segments: str) -> Any:
        raise ValueError

    async def stream(self, name: str) -> AsyncIterator[str]:
        self.request.session["lost"] = 1
        yield "begun"
        self.request.session["late"] = 1
        raise ValueError

    async def late(self, name: str) -> AsyncIterator[str]:
        yield "begun"
        self.request.session["late"] = 1

    async def ws_before(self, ws: WebSocket, name: str) -> None:
        raise ValueError

    async def ws_late(self, ws: WebSocket, name: str) -> None:
        await ws.accept()
        self.request.session["late"] = 1

    async def ws_foreign(self, ws: WebSocket, name: str) -> None:
        await ws.accept()
        raise ConnectionClosed


async def test_no_path_adds_a_line_of_its_own_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def child(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError

    app = FailsEverywhere()
    app.ws_middlewares.append(FailingWebSocketHook("after_websocket"))
    app.mount("/mounted", child)
    name = "a\n\r\x0b\x1b[2J\x85\u2028evil\ud800"
    for target in ("", "stream/", "late/", "mounted/"):
        await http(app, f"/{target}", path=f"/{target}{name}", raw_path=b"")
    for target in ("before/", "late/", "foreign/", "mounted/"):
        await handshake(app, f"/{target}", path=f"/{target}{name}", raw_path=b"")
    lines = [message for message in caplog.messages if "evil" in message]
    assert len(lines) > 8
    assert all(message.isprintable() for message in caplog.messages), caplog.messages


# --- to the garbage collector ---------------------------------------------------------------------------


class Watched(App):
    """Remembers, weakly, what it has served."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.served: list[weakref.ref[Any]] = []

    def watch(self, *things: Any) -> None:
        self.served += map(weakref.ref, things)

    async def text(self) -> str:
        self.watch(self.request)
        return "x"

    async def form(self, name: str) -> str:
        self.watch(self.request)
        return name

    async def session(self) -> str:
        self.watch(self.request)
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return ""

    async def refused(self) -> str:
        self.watch(self.request)
        raise HTTPError(404)

    async def broken(self) -> str:
        self.watch(self.request)
        raise ValueError

    async def stream(self) -> AsyncIterator[str]:
        self.watch(self.request)
        yield "a"
        yield "b"

    def thread(self) -> str:
        self.watch(self.request)
        return ""

    def thread_refused(self) -> str:
        self.watch(self.request)
        raise HTTPError(404)

    async def raw(self) -> bytes:
        self.watch(self.request)
        return await self.request.body()

    async def upload(self, file: Any) -> str:
        self.watch(self.request)
        while await file["content"].get() is not None:
            pass
        return ""

    async def waits(self) -> None:
        self.watch(self.request)
        await asyncio.Event().wait()

    async def ws_echo(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    async def ws_session(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        self.request.session["n"] = 1
        await ws.accept()

    async def ws_refused(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        raise HTTPError(401)

    async def ws_broken(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        await ws.accept()
        raise ValueError

    async def ws_waits(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        await ws.accept()
        async with ws.until_closed():
            await asyncio.Event().wait()

    async def ws_run(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        await ws.accept()

        async def reader() -> None:
            async for _ in ws:
                pass

        await ws.run(reader())

    async def ws_caught(self, ws: WebSocket) -> None:
        self.watch(self.request, ws)
        await ws.accept()
        with suppress(ConnectionClosed):
            await ws.receive()


@pytest.fixture
def no_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging.getLogger("micropie"), "disabled", True)  # pytest keeps all that is logged
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("/text", {}),
        ("/text", {"headers": [COOKIE]}),
        ("/form", {"method": "POST", "headers": [FORM], "body": b"name=a"}),
        ("/form", {"method": "POST", "headers": [FORM], "body": [b"na", b"me=a"]}),
        ("/session", {}),
        ("/session", {"headers": [COOKIE]}),
        ("/refused", {}),
        ("/broken", {}),
        ("/stream", {}),
        ("/thread", {}),
        ("/thread_refused", {}),
        ("/raw", {"method": "POST", "body": b"x", "headers": [("Content-Length", "a")]}),
        ("/raw", {"method": "POST", "body": b"x", "headers": [("Content-Length", "999999999")]}),
        ("/upload", {"method": "POST", "headers": [MULTIPART], "body": UPLOAD}),
    ],
)
async def test_a_request_is_gone_with_its_answer(target: str, options: Any, no_collector: None) -> None:
    app = Watched()
    await app.session_backend.save(ID, {"n": 1}, 60)
    await http(app, target, **options)
    assert [thing() for thing in app.served] == [None]


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/raw", []),
        ("/form", [FORM]),
        ("/text", [("Content-Type", "application/json")]),
        ("/upload", [MULTIPART]),
        ("/upload", [MULTIPART, ("Content-Length", "1")]),
    ],
)
@pytest.mark.parametrize("end", ["disconnect", "wrong", "cancel"])
async def test_a_body_that_does_not_end_well_is_gone_too(
    target: str, fields: list[tuple[str, str]], end: str, no_collector: None
) -> None:
    async def receive() -> Any:
        if pieces:
            return {
                "type": "http.request",
                "body": pieces.pop(0),
                "more_body": bool(pieces) or end != "wrong",
            }
        if end == "cancel":
            cut.set()
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    class Remembers(HttpMiddleware):
        async def on_headers(self, request: Any) -> None:
            app.watch(request)

    app, cut, pieces = Watched(), asyncio.Event(), [UPLOAD[:70], b"x"]
    app.middlewares.append(Remembers())
    task = asyncio.create_task(app(make_scope("http", target, fields, method="POST"), receive, send))
    if end == "cancel":
        await cut.wait()
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    del task
    await asyncio.sleep(0)
    assert {thing() for thing in app.served} == {None}


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_is_cancelled_is_gone_too(kind: str, no_collector: None) -> None:
    async def receive() -> Any:
        if not began:
            began.append(True)
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        pass

    app, began = Watched(), []
    task = asyncio.create_task(app(make_scope(kind, "/waits", [], method="GET"), receive, send))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    del task
    await asyncio.sleep(0)
    assert {thing() for thing in app.served} == {None}


@pytest.mark.parametrize("kind", ["coroutine", "awaitable"])
@pytest.mark.parametrize("target", ["/echo", "/session", "/refused", "/broken", "/run", "/caught"])
async def test_a_socket_is_gone_with_its_end(target: str, kind: str, no_collector: None) -> None:
    app = Watched()
    async with websocket(app, target, kind=kind) as client:
        await client.next()
    del client
    await asyncio.sleep(0)
    assert [thing() for thing in app.served] == [None, None]


async def test_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cycle holds, as that of an error with its traceback, the collector gets back, all of it."""
    app = Watched(send_timeout=1000)  # a timer that is due soon keeps cancelled ones in the loop
    monkeypatch.setattr(logging.getLogger("micropie"), "disabled", True)  # pytest keeps all that is logged

    async def round_trip() -> None:
        for target in ("/text", "/session", "/refused", "/broken", "/stream", "/missing"):
            await http(app, target)
        await http(app, "/form", "POST", headers=[FORM], body=b"name=a")
        for target in ("/echo", "/refused", "/broken", "/run", "/missing"):
            async with websocket(app, target):
                pass
        app.served.clear()
        app.session_backend._sessions.clear()

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    for _ in range(20):
        await round_trip()
    counts = [objects()]
    for _ in range(2):
        for _ in itertools.repeat(None, 100):
            await round_trip()
        counts.append(objects())
    assert counts[2] - counts[1] < 100, counts  # 1,200 requests and sockets
    assert len(asyncio.all_tasks()) == 1
    assert not app.websockets
