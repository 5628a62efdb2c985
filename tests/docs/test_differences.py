"""The page "Differences from 0.32": each of its lines has a test here, and the page is complete in both directions."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    WebSocket,
)
from micropie.testing import TestClient
from tests.compat.test_calls import EXPLAINED
from tools.blocks import DOCS, find_run

if TYPE_CHECKING:
    from decimal import Decimal

PAGE = DOCS / "differences.rst"
COMPAT = DOCS.parent / "tests" / "compat"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}

Test = TypeVar("Test", bound=Callable[..., Any])

TESTED: dict[str, str] = {}


def difference(term: str) -> Callable[[Test], Test]:
    """Say which line of the page a test holds to its word; its name is remembered under the line's term."""

    def note(test: Test) -> Test:
        assert term not in TESTED, f"two tests for {term!r}"
        TESTED[term] = test.__name__
        return test

    return note


def entries() -> dict[str, str]:
    """The terms of the page, and what is said about each."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^(\S.*)\n   (\*0\.32:\*(?:.+\n   )*.+)\n", text, re.MULTILINE))


def test_every_line_has_a_test_and_every_test_a_line() -> None:
    assert [term for term in entries() if term in TESTED] == list(TESTED)
    assert set(entries()) == TESTED.keys() | {term for term, _ in EXPLAINED}
    assert all(f"async def {name}(" in Path(__file__).read_text(encoding="utf-8") for name in TESTED.values())


@pytest.mark.parametrize("term", entries())
def test_every_line_says_before_and_now(term: str) -> None:
    assert re.fullmatch(r"\*0\.32:\* .+ \*Now:\* .+\.", " ".join(entries()[term].split()))


def test_no_line_is_passed_over() -> None:
    """Each definition of the page is an entry, so that none goes untested for a slip of the pen."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^\S.*\n   [^\s:]", text, re.MULTILINE)) == len(entries()) + 1  # and a comment


def test_the_page_shows_the_fixture() -> None:
    assert find_run(PAGE, "compat-app").files["app.py"] == (COMPAT / "app.py").read_text(encoding="utf-8")
    shown = find_run(PAGE, "compat-app").files["templates/hello.html"]
    assert shown == (COMPAT / "templates" / "hello.html").read_text(encoding="utf-8")


async def get(app: App, target: str, **options: Any) -> tuple[int, str]:
    """Status and text of a page."""
    async with TestClient(app) as client:
        answer = await client.get(target, **options)
        return answer.status_code, answer.text


# Routes


class Greeter(App):
    async def greet(self, name: Any = "Guest") -> str:
        return f"<{name}>"

    async def ws_greet(self, ws: WebSocket, name: str = "Guest") -> None:
        await ws.accept()


class Chooser(HttpMiddleware):
    async def before_request(self, request: Any) -> None:
        if "chosen" in request.query_params:
            request._route_handler = "greet"


@difference("More segments than the handler can take")
async def test_segments() -> None:
    app = Greeter()
    app.middlewares.append(Chooser())
    async with TestClient(app) as client:
        assert (await client.get("/greet/Alice")).text == "<Alice>"
        assert (await client.get("/greet/Alice/more")).status_code == 404
        assert (await client.get("/any/Alice/more?chosen")).text == "<Alice>"
        async with client.websocket("/greet/Alice/more") as ws:
            assert ws.response.status_code == 404


@difference("A slash at the end")
async def test_trailing_slash() -> None:
    assert await get(Greeter(), "/greet/") == (200, "<Guest>")


@difference("A slash in a segment, sent as ``%2F``")
async def test_encoded_slash() -> None:
    assert await get(Greeter(), "/greet/a%2Fb") == (200, "<a/b>")


class Segments(App):
    async def index(self, *names: str) -> str:
        return "index " + ",".join(names)

    async def greet(self, *names: str) -> str:
        return "greet " + ",".join(names)


@difference("Several slashes at the start")
async def test_slashes_at_the_start() -> None:
    assert await get(Segments(), "https://testserver//greet") == (200, "index ,greet")


@difference("``/index`` with more segments")
async def test_index_by_name() -> None:
    assert await get(Segments(), "/index/a") == (200, "index a")
    assert await get(Segments(), "/other/a") == (200, "index other,a")


@difference("What is a route")
async def test_routes() -> None:
    class Odd(App):
        class Nested:
            pass

        def __init__(self) -> None:
            super().__init__()
            self.attached = lambda: "attached"

    for path in ("/Nested", "/attached"):
        assert (await get(Odd(), path))[0] == 404


@difference("Methods other than GET, HEAD, POST, PUT, PATCH and DELETE")
async def test_other_methods() -> None:
    async with TestClient(Greeter()) as client:
        for method, status in (("OPTIONS", 204), ("TRACE", 405), ("BREW", 405), ("DELETE", 200)):
            answer = await client.request(method, "/greet")
            assert answer.status_code == status
            assert (answer.headers.get("allow") is None) is (status == 200)


@difference("Routes called ``env``, ``mount``, ``request``, ``url_for`` or ``websockets``")
async def test_reserved_names() -> None:
    for name in ("env", "mount", "request", "url_for", "websockets"):
        with pytest.raises(TypeError, match="App uses this name itself"):
            type("Shop", (App,), {name: lambda _: "here"})()


# Arguments


@difference("Annotations")
async def test_annotations() -> None:
    class Typed(App):
        async def one(self, n: int) -> dict[str, Any]:
            return {"n": n}

        async def many(self, n: list[int]) -> list[int]:
            return n

    assert await get(Typed(), "/one/7") == (200, '{"n":7}')
    assert (await get(Typed(), "/one/x"))[0] == 404
    assert (await get(Typed(), "/one?n=x"))[0] == 400
    assert await get(Typed(), "/many?n=1&n=2") == (200, "[1,2]")


@difference("An annotation that cannot be resolved when the app is made")
async def test_unresolved_annotations() -> None:
    class Typed(App):
        async def one(self, n: Decimal) -> str:
            return "never"

    with pytest.raises(TypeError, match=r"the annotation of 'n' in .*one cannot be resolved"):
        Typed()


@difference("An annotation that no value can be checked against, such as a class of yours")
async def test_unchecked_annotations() -> None:
    class Typed(App):
        async def one(self, n: App) -> str:
            return "never"

    with pytest.raises(
        TypeError, match=r"'n' of .*one: no value that is sent can be checked against App; write str"
    ):
        Typed()

    class Untyped(App):
        async def one(self, n: Any) -> str:
            return f"<{n}>"

    assert await get(Untyped(), "/one/7") == (200, "<7>")


@difference("A blank value, as in ``?name=``")
async def test_blank_values() -> None:
    assert await get(Greeter(), "/greet?name=") == (200, "<>")
    async with TestClient(Greeter()) as client:
        assert (await client.post("/greet", content=b"name=", headers=FORM)).text == "<>"


@difference("More than 1,000 parameters in a query string")
async def test_query_parameters() -> None:
    query = "&".join(f"a{number}=1" for number in range(1001))
    assert (await get(Greeter(), f"/greet?{query}"))[0] == 400
    assert (await get(Greeter(), f"/greet?{query.removesuffix('&a1000=1')}"))[0] == 200


# Answers


class Answers(App):
    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.answer = answer

    async def index(self):
        return self.answer

    async def received(self) -> str:
        return repr(self.request.json())


@difference("A handler that returns ``None``")
async def test_none(caplog: pytest.LogCaptureFixture) -> None:
    assert await get(Answers(), "/") == (204, "")
    assert "index returned None" in caplog.text


@difference("Handlers that are not ``async``")
async def test_sync_handlers() -> None:
    class Sync(App):
        def index(self) -> str:
            return str(threading.current_thread() is threading.main_thread())

    assert await get(Sync(), "/") == (200, "False")


@difference("Other types of results")
async def test_results() -> None:
    for answer in (object(), {1}, ("200", ""), (1234, ""), (199, "")):
        assert (await get(Answers(answer), "/"))[0] == 500
    for answer in ("a", b"a", 1, 1.5, {}, [], iter("a"), (200, "a"), (599, "a", [])):
        assert (await get(Answers(answer), "/"))[0] != 500


@difference("Header values with control characters")
async def test_header_values(caplog: pytest.LogCaptureFixture) -> None:
    assert (await get(Answers((200, "", [("X-Bad", "a\r\nX-More: b")])), "/"))[0] == 500
    assert "the header X-Bad has control characters" in caplog.text


@difference("Header fields that frame the message")
async def test_framing_fields(caplog: pytest.LogCaptureFixture) -> None:
    fields = [("Connection", "close"), ("Transfer-Encoding", "x"), ("Content-Length", "7"), ("X", "y")]
    async with TestClient(Answers((200, "text", fields))) as client:
        headers = (await client.get("/")).headers
    assert (headers.get("connection"), headers.get("transfer-encoding")) == (None, None)
    assert (headers["content-length"], headers["x"]) == ("4", "y")
    assert "the header connection is left out" in caplog.text


@difference("Spaces around a header value")
async def test_spaces_around_a_value() -> None:
    async with TestClient(Answers((200, "text", [("X-A", " value\t")]))) as client:
        assert (await client.get("/")).headers["x-a"] == "value"


@difference("JSON with and without orjson")
async def test_json_with_and_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        assert await get(Answers([float("nan"), date(2026, 1, 31)]), "/") == (200, '[null,"2026-01-31"]')
        async with TestClient(Answers()) as client:
            answer = await client.post("/received", content=b'{"a":NaN}', headers=JSON)
            assert answer.status_code == 400
            answer = await client.post("/received", content=b"%d" % 10**39, headers=JSON)
            assert answer.text == str(10**39)
        monkeypatch.setattr("micropie.strict_json.orjson", None)


@difference("Deeply nested JSON")
async def test_nested_json() -> None:
    async with TestClient(Answers()) as client:
        for depth, status in ((254, 200), (255, 400)):
            answer = await client.post("/received", content=b"[" * depth + b"]" * depth, headers=JSON)
            assert answer.status_code == status


@difference("The content type of errors")
async def test_content_type_of_errors() -> None:
    async with TestClient(Answers(object())) as client:
        for path in ("/", "/nowhere"):
            assert (await client.get(path)).headers["content-type"] == "text/plain; charset=utf-8"


# WebSockets


class Sockets(App):
    kept: list[str]

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()

    async def ws_never(self, ws: WebSocket) -> None:
        pass

    async def ws_fails(self, ws: WebSocket) -> None:
        raise LookupError("a secret")

    async def ws_fails_late(self, ws: WebSocket) -> None:
        await ws.accept()
        raise LookupError("a secret")

    async def ws_needs(self, ws: WebSocket, what: str) -> None:
        await ws.accept()

    async def ws_member(self, ws: WebSocket, user: FromSession[str]) -> None:
        await ws.accept()

    async def ws_after(self, ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError, match="99 must not be sent"):
            await ws.close(99)
        await ws.close(4000)
        with pytest.raises(ConnectionClosed):
            await ws.send_text("late")
        self.kept = ["after"]

    async def ws_reads(self, ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    async def ws_early(self, ws: WebSocket) -> None:
        self.request.session["n"] = 1
        await ws.accept()

    async def ws_chosen(self, ws: WebSocket) -> None:
        await ws.accept(session_id="an-id-of-the-apps-own-choice")

    async def ws_late(self, ws: WebSocket) -> None:
        await ws.accept()
        self.request.session["n"] = 1


async def status_of(target: str, **options: Any) -> int:
    """The status of the answer to a handshake."""
    async with TestClient(Sockets()) as client, client.websocket(target, **options) as ws:
        return ws.response.status_code


@difference("The text of errors")
async def test_text_of_errors() -> None:
    class Site(App):
        async def need(self, name: str) -> str:
            return name

    assert await get(Site(), "/need") == (400, "400 Bad Request: the parameter 'name' is missing")


@difference("Foreign origins")
async def test_origins() -> None:
    assert await status_of("/", headers={"Origin": "https://evil.example"}) == 403
    assert await status_of("/", headers={"Origin": "https://testserver"}) == 101


@difference("How a handshake is refused")
async def test_refusals() -> None:
    for target, status in (("/nowhere", 404), ("/needs", 400), ("/member", 401), ("/fails", 500)):
        assert await status_of(target) == status


@difference("A handler that never accepts")
async def test_never_accepted(caplog: pytest.LogCaptureFixture) -> None:
    assert await status_of("/never") == 403
    assert "ws_never returned without accept()" in caplog.text


async def end_of(target: str, *messages: str) -> tuple[int | None, str]:
    """The close frame that the app sends."""
    async with TestClient(Sockets()) as client, client.websocket(target) as ws:
        for message in messages:
            await ws.send(message)
        async for _ in ws:
            pass
        return ws.close_code, ws.close_reason


@difference("A handler that returns without closing")
async def test_returned() -> None:
    assert await end_of("/") == (1000, "")


@difference("The reason after an error")
async def test_reason() -> None:
    assert await end_of("/fails_late") == (1011, "")


@difference("A client that takes no more messages")
@pytest.mark.parametrize(("method", "code"), [("send_text", 1006), ("close", 1000)])
async def test_a_client_that_takes_nothing(method: str, code: int) -> None:
    codes: list[int | None] = []

    class Site(App):
        send_timeout = 0.05
        close_timeout = 0.05

        async def ws_talk(self, ws: WebSocket) -> None:
            await ws.accept()
            with suppress(ConnectionClosed):
                await (ws.send_text("hello") if method == "send_text" else ws.close())
            codes.append(ws.close_code)

    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})

    async def send(message: Any) -> None:
        if message["type"] != "websocket.accept":
            await asyncio.Event().wait()

    scope = {"type": "websocket", "path": "/talk", "headers": [], "query_string": b"", "subprotocols": []}
    async with asyncio.timeout(10):
        await Site()(scope, incoming.get, send)
    assert codes == [code]


@difference("Sending after the end")
async def test_sending_after_the_end() -> None:
    assert await end_of("/after") == (4000, "")


@difference("Close codes that must not be sent")
async def test_close_codes() -> None:
    app = Sockets()
    async with TestClient(app) as client, client.websocket("/after") as ws:
        assert [message async for message in ws] == []
    assert app.kept == ["after"]  # The handler has got past its expectations.


@difference("Messages over 1 MiB")
async def test_large_messages() -> None:
    assert (await end_of("/reads", "x" * (1024 * 1024 + 1)))[0] == 1009


# Middleware


class Hook(HttpMiddleware):
    """Notes what its after hook sees."""

    def __init__(self, name: str, seen: list[Any], answer: Any = None) -> None:
        self.name = name
        self.seen = seen
        self.answer = answer

    async def before_request(self, request: Any) -> Any:
        return self.answer

    async def after_request(self, request: Any, status_code: int, response_body: Any, headers: Any) -> None:
        self.seen.append((self.name, status_code, response_body, list(headers)))


@difference("The order of after hooks")
async def test_after_hooks() -> None:
    seen: list[Any] = []
    app = Answers("")
    app.middlewares += [Hook("one", seen), Hook("two", seen)]
    await get(app, "/")
    assert [name for name, *_ in seen] == ["two", "one"]


@difference("When after hooks run")
async def test_after_hooks_on_every_way_out() -> None:
    seen: list[Any] = []
    app = Answers(object())
    app.middlewares.append(Hook("one", seen))
    await get(app, "/nowhere")
    await get(app, "/")
    app.middlewares.append(Hook("two", seen, {"status_code": 418, "body": "stop"}))
    await get(app, "/")
    assert [status for _, status, *_ in seen] == [404, 500, 418]
    assert {name for name, *_ in seen} == {"one"}


@difference("The content type in an after hook")
async def test_types_in_after_hooks() -> None:
    for result, kind in (("text", "text/html; charset=utf-8"), ({}, "application/json")):
        seen: list[Any] = []
        app = Answers(result)
        app.middlewares.append(Hook("one", seen))
        await get(app, "/")
        assert seen[0][3] == [("Content-Type", kind)]


@difference("A stream in an after hook")
async def test_streams_in_after_hooks() -> None:
    for source in ((piece for piece in "ab"), iter(["ab"])):
        seen: list[Any] = []
        app = Answers(source)
        app.middlewares.append(Hook("one", seen))
        assert await get(app, "/") == (200, "ab")
        assert isinstance(seen[0][2], AsyncIterator)


# Streams


@difference("When a stream begins")
async def test_begin_of_a_stream() -> None:
    class Site(App):
        async def index(self) -> AsyncIterator[str]:
            raise HTTPError(404, "no such film")
            yield ""

    assert await get(Site(), "/") == (404, "404 Not Found: no such film")


@difference("Who closes a generator")
async def test_end_of_a_generator() -> None:
    closed: list[bool] = []

    class Site(App):
        async def index(self) -> AsyncIterator[str]:
            task = asyncio.current_task()
            try:
                while True:
                    yield "more"
            finally:
                closed.append(asyncio.current_task() is task)

    async with TestClient(Site()) as client, client.stream("GET", "/") as answer:
        async for _ in answer.aiter_text():
            break
    assert closed == [True]


# Bodies


class Reader(App):
    async def index(self, a: str = "nothing") -> str:
        return a


@difference("Bodies without a content type")
async def test_no_content_type() -> None:
    async with TestClient(Reader()) as client:
        assert (await client.post("/", content=b"a=1")).text == "nothing"
        assert (await client.post("/", content=b"a=1", headers=FORM)).text == "1"


@difference("Bodies that are read")
async def test_which_bodies_are_read() -> None:
    async with TestClient(Reader()) as client:
        assert (await client.request("DELETE", "/", content=b"a=1", headers=FORM)).text == "1"
        patch = {"Content-Type": "application/merge-patch+json"}
        assert (await client.patch("/", content=b'{"a":"1"}', headers=patch)).text == "1"


@difference("Bad bodies")
async def test_bad_bodies() -> None:
    seen: list[str] = []

    class Hook(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            seen.append(request.path)

    app = Reader()
    async with TestClient(app) as client:
        assert (await client.post("/nothing/here", content=b"{", headers=JSON)).status_code == 404
        app.middlewares.append(Hook())
        assert (await client.post("/", content=b"{", headers=JSON)).status_code == 400
    assert seen == ["/"]


@difference("An empty body with a media type")
async def test_empty_json() -> None:
    async with TestClient(Reader()) as client:
        assert (await client.post("/", content=b"", headers=JSON)).text == "nothing"


@difference("A form with files in ``before_request``")
async def test_a_form_in_a_hook() -> None:
    seen: list[Any] = []

    class Hook(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            await asyncio.sleep(0)
            seen.append(dict(request.body_params))
            seen.append(dict(await request.read_form()))

    app = Reader()
    app.middlewares.append(Hook())
    async with TestClient(app) as client:
        assert (await client.post("/", data={"a": "1"}, files={"f": b"x"})).text == "1"
    assert seen == [{}, {"a": ["1"]}]


@difference("Text that cannot be decoded")
async def test_text_that_is_not_utf_8() -> None:
    async with TestClient(Reader()) as client:
        assert (await client.get("/?a=%FF")).status_code == 400
        assert (await client.post("/", content=b"a=%FF", headers=FORM)).status_code == 400
        assert (await client.get("/%FF")).status_code == 400


def part(name: str, value: bytes, *fields: str) -> bytes:
    """One part of a multipart form, with these header fields besides its name."""
    head = "\r\n".join((f'--limit\r\nContent-Disposition: form-data; name="{name}"{fields[0]}', *fields[1:]))
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


class Files(App):
    async def index(self) -> list[Any]:
        files = self.request.files.items()
        return [self.request.body_params, {name: file["filename"] for name, file in files}]


async def posted(*parts: bytes) -> Any:
    async with TestClient(Files()) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=limit"}
        answer = await client.post("/", content=b"".join(parts) + b"--limit--\r\n", headers=headers)
    return answer.json() if answer.status_code == 200 else answer.status_code


@difference("Forms in other charsets")
async def test_charsets() -> None:
    russian = "Content-Type: text/plain; charset=windows-1251"
    assert await posted(part("a", b"\xe4\xe0", "", russian)) == [{"a": ["да"]}, {}]


@difference("``filename*`` in a part of a form")
async def test_extended_names() -> None:
    assert await posted(part("a", b"", "; filename*=UTF-8''r%C3%A9.pdf")) == [{}, {"a": "ré.pdf"}]


@difference("``Content-Transfer-Encoding`` in a part of a form")
async def test_transfer_encodings() -> None:
    assert await posted(part("a", b"YQ==", "", "Content-Transfer-Encoding: base64")) == 400
    assert await posted(part("a", b"a", "", "Content-Transfer-Encoding: 8bit")) == [{"a": ["a"]}, {}]


@difference("A file field that was left empty")
async def test_an_empty_file_field() -> None:
    assert await posted(part("a", b"", '; filename=""')) == [{}, {"a": ""}]


@difference("Several files under one name")
async def test_the_first_file() -> None:
    parts = (part("a", b"", f'; filename="{name}"') for name in ("first", "second"))
    assert await posted(*parts) == [{}, {"a": "first"}]


@difference("The time for a whole body")
async def test_the_whole_body_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, sent = 0.0, []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda: now)

    async def receive() -> Any:
        nonlocal now
        await asyncio.sleep(0)
        now += 4.0
        for _ in range(3):
            await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(b"content-type", b"application/x-www-form-urlencoded")]
    await Reader()({"type": "http", "method": "POST", "path": "/", "headers": fields}, receive, send)
    assert (sent[0]["status"], now) == (408, 64.0)


@difference("JSON bodies over 1 MiB")
async def test_large_json() -> None:
    async with TestClient(Answers()) as client:
        body = json.dumps("x" * 1024 * 1024).encode()
        assert (await client.post("/received", content=body, headers=JSON)).status_code == 413


@difference("Forms with more than 1,000 fields")
async def test_many_fields() -> None:
    async with TestClient(Answers("whole")) as client:
        body = "&".join(f"a{number}=1" for number in range(1001))
        assert (await client.post("/", content=body.encode(), headers=FORM)).status_code == 413
        body = body.removesuffix("&a1000=1")
        assert (await client.post("/", content=body.encode(), headers=FORM)).text == "whole"


# Sessions


class Counter(App):
    async def index(self) -> str:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return str(self.request.session["n"])


@difference("Session ids")
async def test_session_ids() -> None:
    app = Counter()
    uuid = "5f0d0a36-7c1b-4d5e-9f3a-2b8c9d0e1f2a"
    await app.session_backend.save(uuid, {"n": 41}, 60)
    async with TestClient(app) as client:
        await client.get("/")
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", client.cookies["session_id"])
        client.cookies.clear()
        assert (await client.get("/", headers={"Cookie": f"session_id={uuid}"})).text == "42"


@difference("The session cookie")
async def test_session_cookie() -> None:
    async with TestClient(Counter()) as client:
        cookie = (await client.get("/")).headers["set-cookie"]
        assert cookie.partition("; ")[2] == "Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax"
    app = Counter()

    async def below(scope: Any, receive: Any, send: Any) -> None:
        own = {"root_path": "/shop", "path": "/shop/", "raw_path": b"/shop/", "client": ("127.0.0.1", 1)}
        await app({**scope, **own}, receive, send)

    async with TestClient(below, base_url="http://localhost:8000") as client:
        cookie = (await client.get("/")).headers["set-cookie"]
        assert cookie.partition("; ")[2] == "Path=/shop; Max-Age=28800; HttpOnly; SameSite=Lax"


class Visits(Counter):
    """One page that looks at the session and one that does not."""

    async def plain(self) -> str:
        return "plain"


@difference("Requests that don't look at the session")
async def test_requests_that_do_not_look() -> None:
    async with TestClient(Visits()) as client:
        assert "set-cookie" in (await client.get("/")).headers
        for target, vary in (("/plain", None), ("/", "Cookie")):
            answer = await client.get(target)
            assert ("set-cookie" in answer.headers, answer.headers.get("vary")) == (False, vary)


@difference("A session store that fails")
async def test_a_store_that_fails() -> None:
    class Fails(InMemorySessionBackend):
        async def load(self, session_id: str) -> dict[str, Any]:
            raise OSError

    async with TestClient(Visits(Fails())) as client:
        client.cookies.set("session_id", "x" * 43)
        assert [(await client.get(target)).status_code for target in ("/plain", "/")] == [200, 503]


@difference("The session of an app that a middleware chose")
async def test_session_of_a_chosen_app() -> None:
    async def chosen(scope: Any, receive: Any, send: Any) -> None:
        body = f"{type(scope['session']) is dict} {dict(scope['session'])}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    class Chooses(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.session["user"] = "alice"
            request._subapp = chosen

    app = App()
    app.middlewares.append(Chooses())
    async with TestClient(app) as client:
        assert (await client.get("/")).text == "False {'user': 'alice'}"


@difference("The cookie of a WebSocket")
async def test_websocket_cookie() -> None:
    async with TestClient(Sockets()) as client:
        for target, expected in (("/", False), ("/early", True), ("/chosen", True)):
            client.cookies.clear()
            async with client.websocket(target) as ws:
                assert ("set-cookie" in ws.response.headers) is expected


@difference("A session that a WebSocket begins after ``accept()``")
async def test_late_session(caplog: pytest.LogCaptureFixture) -> None:
    app = Sockets()
    async with TestClient(app) as client, client.websocket("/late"):
        pass
    backend = app.session_backend
    assert isinstance(backend, InMemorySessionBackend)
    assert backend._sessions == {}
    assert "one can begin only before accept()" in caplog.text


@difference("What ``InMemorySessionBackend`` returns")
async def test_copies() -> None:
    backend = InMemorySessionBackend()
    await backend.save("id", {"pies": ["apple"]}, 60)
    (await backend.load("id"))["pies"].append("cherry")
    assert await backend.load("id") == {"pies": ["apple"]}


# The app


@difference("An attribute of the app with the name of a setting")
async def test_attributes_with_the_name_of_a_setting() -> None:
    app: Any = App()
    app.own = app.debug = True
    with pytest.raises(TypeError, match="debug is True or False, not 'no'"):
        app.debug = "no"
    app.own = "no"
    assert (app.own, app.debug) == ("no", True)


@difference("Shutdown handlers after a startup that failed")
async def test_shutdown_after_a_failed_startup() -> None:
    app, ran = App(), []
    app.startup_handlers += [lambda: ran.append("opened"), lambda: 1 / 0]
    app.shutdown_handlers.append(lambda: ran.append("closed"))
    with pytest.raises(RuntimeError, match="startup failed"):
        async with TestClient(app):
            pass
    assert ran == ["opened", "closed"]


@difference("Where templates are looked for")
async def test_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("site", "elsewhere"):
        (tmp_path / folder / "templates").mkdir(parents=True)
        (tmp_path / folder / "templates" / "both.html").write_text(folder)
    (tmp_path / "elsewhere" / "templates" / "one.html").write_text("only here")
    monkeypatch.chdir(tmp_path / "elsewhere")
    module = ModuleType("a_site")
    module.__file__ = str(tmp_path / "site" / "app.py")
    monkeypatch.setitem(sys.modules, "a_site", module)

    class Pages(App):
        __module__ = "a_site"

        async def index(self, name):
            return await self._render_template(name)

    assert await get(Pages(), "/both.html") == (200, "site")
    assert await get(Pages(), "/one.html") == (200, "only here")


@difference("Templates that are no HTML or XML by their name")
async def test_text_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mail.txt").write_text("{{ x }}{{ x|safe }}")
    monkeypatch.chdir(tmp_path)

    class Pages(App):
        async def index(self) -> str:
            return await self._render_template("mail.txt", x="<b>")

    assert await get(Pages(), "/") == (200, "&lt;b&gt;<b>")


@difference("Scopes of an unknown type")
async def test_scopes() -> None:
    with pytest.raises(ValueError, match="not 'weird'"):
        await App()({"type": "weird"}, None, None)
