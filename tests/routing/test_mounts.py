"""Other ASGI apps below a prefix: what they get, and what the parent still does for them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    WebSocket,
    WebSocketMiddleware,
)
from tests.driver import Client, handshake, http, make_scope, websocket
from tests.helpers import COOKIES, ID

SECRET = "the secret that no client may see"


class Raw:
    """A raw ASGI app that does what its script says, one message or event after the other."""

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.scopes: list[Any] = []
        self.received: list[Any] = []
        self.reached = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
            if step == "receive":
                self.received.append(await receive())
                self.reached.set()
            else:
                await send(step)


START = {"type": "http.response.start", "status": 200, "headers": [(b"x-child", b"\xe4"), (b"A", b"1")]}
END = {"type": "http.response.body", "body": b"child"}
HELLO = [START, END]
ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close", "code": 4000, "reason": "child"}
TEXT = {"type": "websocket.send", "text": "child"}


class Child(App):
    async def index(self, name: str = "-") -> Any:
        return [name, self.request.scope["root_path"], self.request.path]

    async def page(self, name: str) -> Any:
        return [name, self.request.scope["root_path"], self.request.path]

    async def put(self, value: str) -> str:
        self.request.session["child"] = value
        return "stored"

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    async def ws_where(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json([self.request.scope["root_path"], self.request.path])


class Parent(App):
    def __init__(self, **mounts: Any) -> None:
        super().__init__()
        for prefix, app in mounts.items():
            self.mount("/" + prefix.replace("__", "/"), app)

    async def index(self, *segments: str) -> str:
        return f"parent {'/'.join(segments)}"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("parent")


# --- which app, which scope -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "/", "//", "admin", "admin/", None, 5, "//a", "/a//b", "/a/../b", "/..", "/.", "/a?b", "/a#b"),
        *("/my%20files", "/a\nb", "/a\x00"),
    ],
)
def test_a_prefix_begins_with_a_slash(prefix: Any) -> None:
    with pytest.raises(ValueError, match="a prefix looks like '/admin', not"):
        App().mount(prefix, Child())


@pytest.mark.parametrize("app", [None, "app", Child])
def test_an_app_is_an_instance_that_can_be_called(app: Any) -> None:
    with pytest.raises(TypeError, match=r"mount\(\) takes an ASGI app, such as an instance of App, not"):
        App().mount("/admin", app)


@pytest.mark.parametrize(
    ("path", "root_path", "child_path", "child_root"),
    [
        ("/a", "", "/a", "/a"),
        ("/a/", "", "/a/", "/a"),
        ("/a/b", "", "/a/b", "/a"),
        ("/a/b c/ä", "", "/a/b c/ä", "/a"),
        ("/base/a/b", "/base", "/base/a/b", "/base/a"),
        ("/base/a/b", "/base/", "/base/a/b", "/base/a"),
        # A server that leaves the root path out of the path.
        ("/a/b", "/base", "/base/a/b", "/base/a"),
        ("/a/b", None, "/a/b", "/a"),
        ("/ab", "", None, None),
        ("/A", "", None, None),
        ("/", "", None, None),
        ("/x/a", "", None, None),
        ("/basea/b", "/base", None, None),
    ],
)
async def test_a_child_gets_the_full_path_and_its_prefix_in_root_path(
    path: str, root_path: str | None, child_path: str | None, child_root: str | None
) -> None:
    child = Raw(*HELLO)
    answer = await http(Parent(a=child), path, root_path=root_path)
    if child_path is None:
        assert (answer.text.startswith("parent"), child.scopes) == (True, [])
        return
    [scope] = child.scopes
    assert (scope["path"], scope["root_path"]) == (child_path, child_root)
    assert answer.text == "child"


async def test_a_child_gets_everything_else_unchanged() -> None:
    child = Raw("receive", *HELLO)
    await http(Parent(a=child), "/a/b?x=1", "POST", headers=[("X-Name", "v")], body=b"body", state={"key": 1})
    [scope] = child.scopes
    assert (scope["method"], scope["query_string"], scope["state"]) == ("POST", b"x=1", {"key": 1})
    assert (b"x-name", b"v") in scope["headers"]
    assert child.received == [{"type": "http.request", "body": b"body", "more_body": False}]


@pytest.mark.parametrize(
    ("path", "text"),
    [("/a", "short"), ("/a/x", "short"), ("/a/b", "long"), ("/a/b/c", "long"), ("/a/bc", "short")],
)
async def test_the_longest_prefix_counts(path: str, text: str) -> None:
    short, long = ([START, {**END, "body": name.encode()}] for name in ("short", "long"))
    for app in (Parent(a=Raw(*short), a__b=Raw(*long)), Parent(a__b=Raw(*long), a=Raw(*short))):
        assert (await http(app, path)).text == text


@pytest.mark.parametrize(
    ("path", "raw_path", "answer"),
    [
        ("/a", None, ["-", "/a", "/a"]),
        ("/a/", None, ["-", "/a", "/a/"]),
        ("/a/x", None, ["x", "/a", "/a/x"]),
        ("/a/page/x", None, ["x", "/a", "/a/page/x"]),
        ("/a/page/x/", None, ["x", "/a", "/a/page/x/"]),
        ("/a/page/x/y", b"/a/page/x%2Fy", ["x/y", "/a", "/a/page/x/y"]),
        ("/a/b/page/x", None, ["x", "/a/b", "/a/b/page/x"]),
        ("/a/b", None, ["-", "/a/b", "/a/b"]),
    ],
)
async def test_a_micropie_app_can_be_a_child_and_have_children(
    path: str, raw_path: bytes | None, answer: Any
) -> None:
    child = Child()
    child.mount("/b", Child())
    more = {} if raw_path is None else {"raw_path": raw_path}
    assert (await http(Parent(a=child), path, **more)).json == answer


# --- hooks ----------------------------------------------------------------------------------------------


class Hook(HttpMiddleware):
    def __init__(self, log: list[str], before: Any = None, after: Any = None) -> None:
        self.log, self.before, self.after = log, before, after

    async def before_request(self, request: Any) -> Any:
        self.log.append("before")
        if isinstance(self.before, Exception):
            raise self.before
        return self.before(request) if callable(self.before) else self.before

    async def after_request(self, request: Any, status_code: int, body: Any, headers: Any) -> Any:
        self.log.append(f"after {status_code}")
        if isinstance(self.after, Exception):
            raise self.after
        return self.after(headers) if callable(self.after) else self.after


async def test_before_hooks_come_first() -> None:
    child, log = Raw(*HELLO), []
    app = Parent(a=child)
    for before, status in (({"status_code": 401}, 401), (HTTPError(403), 403), (ValueError(SECRET), 500)):
        app.middlewares[:] = [Hook(log, before)]
        assert (await http(app, "/a")).status == status
    assert child.scopes == []


@pytest.mark.parametrize(
    ("after", "status", "body", "headers"),
    [
        (None, 200, b"child", {"x-child": "ä", "a": "1"}),
        ({"status_code": 201}, 201, b"child", {"x-child": "ä"}),
        ({"headers": [("X-Hook", "h")]}, 200, b"child", {"x-hook": "h"}),
        (lambda headers: headers.append(("X-Hook", "h")), 200, b"child", {"x-child": "ä", "x-hook": "h"}),
        ({"body": "other"}, 200, b"other", {"content-length": "5"}),
        *(({"body": body}, 200, b"", {"content-length": "0"}) for body in ("", b"", None)),
        *(({"status_code": status}, status, b"", {"x-child": "ä"}) for status in (204, 304)),
        ({"body": {"a": 1}, "status_code": 418}, 418, b'{"a":1}', {"content-type": "application/json"}),
        (HTTPError(402), 402, b"402 Payment Required", {}),
        (ValueError(SECRET), 500, b"500 Internal Server Error", {}),
        ({"headers": [("X", "\n")]}, 500, b"500 Internal Server Error", {}),
    ],
)
async def test_an_after_hook_can_change_a_childs_answer(
    after: Any, status: int, body: bytes, headers: dict[str, str]
) -> None:
    log: list[str] = []
    app = Parent(a=Raw(*HELLO))
    app.middlewares += [Hook(log, after=after)]
    answer = await http(app, "/a")
    assert (answer.status, answer.body, answer.complete) == (status, body, True)
    assert headers.items() <= answer.headers.items()
    assert log == ["before", "after 200"]


async def test_what_replaces_a_childs_body_has_no_length_of_the_childs() -> None:
    start = {**START, "headers": [(b"content-length", b"5")]}
    app = Parent(a=Raw(start, END))
    app.middlewares += [Hook([], after={"body": iter(["other ", "body"])})]
    answer = await http(app, "/a")
    assert answer.body == b"other body"
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("status", [204, 304])
async def test_a_childs_answer_without_a_body_has_none(status: int, hooked: bool) -> None:
    """What a child sends behind a 204 is not sent on: a client would read it as the beginning of the next answer."""
    start = {**START, "status": status, "headers": [(b"content-length", b"5"), (b"etag", b"1")]}
    app = Parent(a=Raw(start, {**END, "more_body": True}, END))
    app.middlewares += [Hook([])] if hooked else []
    answer = await http(app, "/a")
    assert (answer.status, answer.body, answer.complete, answer.headers) == (status, b"", True, {"etag": "1"})


# --- children that fail ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("status", ["200", 99, 100, 1000, True, None, 200.0])
async def test_a_child_with_a_status_that_is_none(status: Any, hooked: bool, caplog: Any) -> None:
    """It is our 500, before a server finds out and drops the connection; a status of an Enum is one."""
    app = Parent(
        a=Raw({**START, "status": status}, END), b=Raw({**START, "status": HTTPStatus.ACCEPTED}, END)
    )
    app.middlewares += [Hook([])] if hooked else []
    assert (await http(app, "/a")).status == 500
    assert f"{status!r} is no status" in caplog.text
    assert (await http(app, "/b")).status == 202


@pytest.mark.parametrize("length", [0, 4, 6])
async def test_a_child_with_a_wrong_length(length: int) -> None:
    """What does not keep to it is not sent: the answer stays without an end, and nothing is read as another answer."""
    lengths = {"a": length, "b": 5}
    starts = {name: {**START, "headers": [(b"content-length", b"%d" % lengths[name])]} for name in lengths}
    app = Parent(**{name: Raw(start, END) for name, start in starts.items()})
    answer = await http(app, "/a")
    assert (answer.status, answer.body, answer.complete) == (200, b"", False)
    assert (await http(app, "/b")).complete


async def test_a_child_may_have_the_server_send_a_file() -> None:
    """A server with the extension ``http.response.pathsend``, such as granian, measures what it sends by itself."""
    file = {"type": "http.response.pathsend", "path": "/a.css"}
    app, sent = Parent(a=Raw({**START, "headers": [(b"content-length", b"5")]}, file)), []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(make_scope("http", "/a", [], method="GET"), asyncio.Event().wait, send)
    assert sent[1:] == [file]


async def test_a_child_may_leave_out_what_head_does_not_ask_for() -> None:
    start = {**START, "headers": [(b"content-length", b"5")]}
    answer = await http(Parent(a=Raw(start, {**END, "body": b""})), "/a", "HEAD")
    assert (answer.status, answer.complete, answer.headers["content-length"]) == (200, True, "5")


@pytest.mark.parametrize(
    ("script", "status", "complete", "line"),
    [
        ([ValueError(SECRET)], 500, True, "error while answering /a"),
        (["receive", ValueError(SECRET)], 500, True, "error while answering /a"),
        ([], 500, True, "the app mounted for /a sent no answer"),
        ([START, ValueError(SECRET)], 200, False, "the app mounted for /a failed while it was answering"),
        ([START], 200, False, None),
        ([*HELLO, ValueError(SECRET)], 200, True, "the app mounted for /a failed while it was answering"),
    ],
)
async def test_a_child_that_fails(
    script: list[Any], status: int, complete: bool, line: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app = Parent(a=Raw(*script))
    app.middlewares += [Hook(log)]
    answer = await http(app, "/a")
    assert (answer.status, answer.complete) == (status, complete)
    assert SECRET not in answer.text
    assert log == ["before", f"after {status}"]
    assert (line in caplog.text) if line else caplog.records == []


@pytest.mark.parametrize("started", [False, True])
async def test_after_hooks_run_when_the_server_cancels_a_child(started: bool) -> None:
    log: list[str] = []
    child = Raw(*([START] if started else []), "receive", "receive", *HELLO)
    app = Parent(a=child)
    app.middlewares += [Hook(log)]
    task = asyncio.create_task(http(app, "/a"))
    await child.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert log == ["before", f"after {200 if started else 500}"]


# --- the parent's session -------------------------------------------------------------------------------


async def test_the_session_of_the_parent_is_saved_and_its_cookie_joins_the_childs() -> None:
    def remember(request: Any) -> None:
        request.session["parent"] = 1

    class Sets(Child):
        async def put(self, value: str) -> str:
            self.request.set_cookie("own", "1")
            return await super().put(value)

    app = Parent(a=Sets())
    app.middlewares += [Hook([], remember)]
    answer = await http(app, "/a/put/x")
    assert sorted(cookie.partition("=")[0] for cookie in answer.cookies) == ["own", "session_id"]
    session = next(cookie for cookie in answer.cookies if cookie.startswith("session_id="))
    both = {"parent": 1, "child": "x"}
    assert await app.session_backend.load(session.partition("=")[2].partition(";")[0]) == both


@pytest.mark.parametrize("store", [None, InMemorySessionBackend()], ids=["a store each", "one store"])
async def test_a_visitor_of_both_has_one_session(store: Any) -> None:
    """What a new visitor writes in the mounted app, and a login in the outer one, are one session."""
    outer, inner = Accounts(store), Accounts(store)
    outer.mount("/a", inner)
    browser = Browser(outer)
    await browser.get("/a/login/alice")
    assert await browser.get("/me") == await browser.hear("/me") == await browser.hear("/a/me") == "alice"
    await browser.get("/login/bob")
    assert await browser.get("/a/me") == await browser.get("/me") == "bob"
    assert list(browser.cookies) == [("session_id", "/")]
    await browser.get("/a/logout")
    assert await browser.get("/me") == "None"
    assert browser.cookies == {}


async def test_a_session_that_parent_and_child_share() -> None:
    app, child = Parent(), Child()
    app.session_backend = child.session_backend = InMemorySessionBackend()
    app.mount("/a", child)
    await app.session_backend.save(ID, {"user": "alice"}, 60)
    await http(app, "/a/put/x", headers=COOKIES)
    assert await app.session_backend.load(ID) == {"user": "alice", "child": "x"}


class Accounts(App):
    """Log in, and see who is there."""

    async def login(self, name: str) -> str:
        self.request.regenerate_session()
        self.request.session["user"] = name
        return name

    async def me(self) -> str:
        return str(self.request.session.get("user"))

    async def logout(self) -> str:
        self.request.session = {}
        return "bye"

    async def ws_me(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(await self.me())


class Browser:
    """Keeps cookies by name and path, and sends those of the longest path first (RFC 6265, section 5.4)."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.cookies: dict[tuple[str, str], str] = {}

    def _headers(self, target: str) -> list[tuple[str, str]]:
        below = [key for key in self.cookies if f"{target}/".startswith(f"{key[1].rstrip('/')}/")]
        below.sort(key=lambda key: -len(key[1]))
        return [("Cookie", "; ".join(f"{name}={self.cookies[name, path]}" for name, path in below))]

    async def get(self, target: str) -> str:
        answer = await http(self._app, target, headers=self._headers(target))
        for cookie in answer.cookies:
            pair, path, *_ = cookie.split("; ")
            name, _, value = pair.partition("=")
            self.cookies[name, path.removeprefix("Path=")] = value
            if not value:
                del self.cookies[name, path.removeprefix("Path=")]
        return answer.text

    async def hear(self, target: str) -> Any:
        [text] = (await handshake(self._app, target, headers=self._headers(target))).messages
        return text


@pytest.mark.parametrize("shared", [False, True], ids=["a store each", "one store, a cookie each"])
async def test_apps_side_by_side_and_below_each_other_have_a_login_each(shared: bool) -> None:
    backend = InMemorySessionBackend()
    outer, left, right, inner = (
        Accounts(backend, session_cookie=f"session-{number}") if shared else Accounts() for number in range(4)
    )
    outer.mount("/a", left, session=False)
    outer.mount("/ab", right, session=False)
    left.mount("/a", inner, session=False)
    browser = Browser(outer)
    users = {"/a/a": "dora", "/ab": "bob", "/a": "alice", "": "carol"}
    for prefix, name in users.items():
        assert await browser.get(f"{prefix}/login/{name}") == name
    assert len(set(browser.cookies.values())) == 4
    for prefix, name in users.items():
        assert await browser.get(f"{prefix}/me") == await browser.hear(f"{prefix}/me") == name
    await browser.get("/a/logout")
    for prefix, name in (users | {"/a": "None"}).items():
        assert await browser.get(f"{prefix}/me") == await browser.hear(f"{prefix}/me") == name


async def test_a_save_that_fails_takes_the_place_of_the_childs_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(InMemorySessionBackend):
        async def update(self, *arguments: Any) -> None:
            raise OSError(SECRET)

    def remember(request: Any) -> None:
        request.session["parent"] = 1

    app = Parent(a=Raw(*HELLO))
    app.middlewares += [Hook([], remember)]
    app.session_backend = Failing()
    await app.session_backend.save(ID, {"user": "alice"}, 60)
    answer = await http(app, "/a", headers=COOKIES)
    assert (answer.status, answer.text, answer.complete) == (500, "500 Internal Server Error", True)
    assert SECRET in caplog.text


# --- WebSockets -----------------------------------------------------------------------------------------


async def test_a_child_gets_websockets_too() -> None:
    async with websocket(Parent(a=Child()), "/a/echo") as client:
        client.send("text")
        client.send(b"bytes")
    assert client.messages == ["text", b"bytes"]
    assert (await handshake(Parent(a=Child()), "/a/where")).messages == ['["/a","/a/where"]']
    assert (await handshake(Parent(a=Child()), "/a/nothing")).refusal == 404
    assert (await handshake(Parent(a=Child()), "/")).messages == ["parent"]


async def test_a_child_gets_the_whole_connection() -> None:
    child = Raw("receive", ACCEPT, "receive", CLOSE)
    async with websocket(Parent(a=child), "/a/b", leave=False) as client:
        client.send("x")
    assert [message["type"] for message in child.received] == ["websocket.connect", "websocket.receive"]
    assert client.close == (4000, "child")
    assert (child.scopes[0]["path"], child.scopes[0]["root_path"]) == ("/a/b", "/a")


async def test_the_origin_is_checked_before_a_child_is_asked() -> None:
    child = Raw("receive", ACCEPT, CLOSE)
    client = await handshake(Parent(a=child), "/a", headers=[("Origin", "https://evil.example")])
    assert (client.refusal, child.scopes) == (403, [])


class WebSocketHook(WebSocketMiddleware):
    def __init__(self, log: list[str], before: Any = None, after: Any = None) -> None:
        self.log, self.before, self.after = log, before, after

    async def before_websocket(self, request: Any) -> Any:
        self.log.append("before")
        return self.before(request) if callable(self.before) else self.before

    async def after_websocket(self, request: Any) -> None:
        self.log.append("after")
        if self.after is not None:
            raise self.after


async def test_a_before_hook_can_refuse_what_a_child_would_accept() -> None:
    child = Raw("receive", ACCEPT, CLOSE)
    app = Parent(a=child)
    app.ws_middlewares += [WebSocketHook([], {"status_code": 401})]
    assert (await handshake(app, "/a")).refusal == 401
    assert child.scopes == []


@pytest.mark.parametrize(("how", "refusal", "close"), [("accept", None, (1011, "")), ("reject", 403, None)])
async def test_no_child_is_asked_once_a_before_hook_has_answered(
    how: str, refusal: int | None, close: Any
) -> None:
    class Answers(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            await getattr(request, how)()

    child = Raw("receive", ACCEPT, CLOSE)
    app = Parent(a=child)
    app.ws_middlewares += [Answers()]
    client = await handshake(app, "/a")
    assert (client.refusal, client.close, child.scopes) == (refusal, close, [])


@pytest.mark.parametrize("how", ["accept", "reject", "close", "send"])
@pytest.mark.parametrize("late", [True, False])
async def test_no_hook_gets_between_a_child_and_its_client(
    how: str, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Meddles(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            self.task = asyncio.create_task(self.meddle(request))

        async def meddle(self, request: Any) -> None:
            await (accepted if late else asked).wait()
            with suppress(RuntimeError, ConnectionClosed):
                await getattr(request, how)(*["text"] * (how == "send"))

        async def after_websocket(self, request: Any) -> None:
            await self.task
            with suppress(RuntimeError, ConnectionClosed):
                await getattr(request, how)(*["text"] * (how == "send"))

    async def child(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.set()
        await asyncio.sleep(0)
        await send(ACCEPT)
        accepted.set()
        await asyncio.sleep(0)
        await send(TEXT)
        await send(CLOSE)

    asked, accepted = asyncio.Event(), asyncio.Event()
    app = Parent(a=child)
    app.ws_middlewares += [Meddles()]
    client = await handshake(app, "/a")  # whose judge lets nothing pass that ASGI does not allow
    # Who answers first has the connection.
    assert client.accepted is (late or how in ("accept", "send"))
    assert "Illegal" not in caplog.text


@pytest.mark.parametrize("extension", [True, False])
@pytest.mark.parametrize(
    ("script", "refusal", "close", "line"),
    [
        (["receive", ACCEPT, TEXT, CLOSE], None, (4000, "child"), None),
        (["receive", CLOSE], 403, (4000, "child"), None),
        ([ValueError(SECRET)], 500, None, "error in the handler for /a"),
        (["receive", ValueError(SECRET)], 500, None, "error in the handler for /a"),
        ([], 403, None, None),
        (["receive", ACCEPT, ValueError(SECRET)], None, (1011, ""), "the app mounted for /a failed"),
        (["receive", ACCEPT, TEXT, ValueError(SECRET)], None, (1011, ""), "the app mounted for /a failed"),
        (
            ["receive", ACCEPT, CLOSE, ValueError(SECRET)],
            None,
            (4000, "child"),
            "the app mounted for /a failed",
        ),
        (["receive", CLOSE, ValueError(SECRET)], 403, (4000, "child"), "the app mounted for /a failed"),
        # What is illegal never reaches the server.
        (["receive", TEXT], 500, None, "sent 'websocket.send' as its answer to a handshake"),
        (["receive", {"type": "http.response.start"}], 500, None, "sent 'http.response.start' as its answer"),
        (["receive", {"type": "nonsense"}, ACCEPT], 500, None, "sent 'nonsense'"),
        (["receive", ACCEPT, ACCEPT], None, (1011, ""), "sent 'websocket.accept' after it had accepted"),
        (["receive", ACCEPT, TEXT, {"type": "nonsense"}], None, (1011, ""), "sent 'nonsense'"),
    ],
)
async def test_how_a_childs_websocket_ends(
    script: list[Any],
    refusal: int | None,
    close: Any,
    line: str | None,
    extension: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    app = Parent(a=Raw(*script))
    app.ws_middlewares += [WebSocketHook(log)]
    client = await handshake(app, "/a", extension=extension)
    assert client.refusal == (refusal if extension or refusal is None else 403)
    assert client.close == (close if extension or close else (1000, ""))
    assert log == ["before", "after"]
    assert (line in caplog.text) if line else caplog.records == []


@pytest.mark.parametrize("keeps", [False, True], ids=["raises", "keeps the error"])
@pytest.mark.parametrize(
    ("script", "refusal", "close"),
    [
        ([{**ACCEPT, "subprotocol": "never offered"}], 500, None),
        ([{"type": "websocket.close", "code": 99}], 500, None),
        ([TEXT, ACCEPT], 500, None),
        ([ACCEPT, {"type": "websocket.send", "text": b"bytes"}], None, (1011, "")),
        ([ACCEPT, {"type": "websocket.close", "code": 99}], None, (1011, "")),
        ([ACCEPT, {"type": "websocket.http.response.start", "status": 200}], None, (1011, "")),
    ],
)
async def test_what_a_server_refuses_of_a_child(
    script: list[Any], refusal: int | None, close: Any, keeps: bool
) -> None:
    """A message that has no effect changes nothing: the client still gets our 500, or 1011."""

    async def server(scope: Any, receive: Any, send: Any) -> None:
        async def refuse(message: Any) -> None:
            if message in script[-1:] and message is not ACCEPT:
                raise ValueError(f"I do not take {message!r}")
            await send(message)

        await Parent(a=child)(scope, receive, refuse)

    async def child(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in script:
            try:
                await send(message)
            except Exception:
                if not keeps:
                    raise
                return

    client = await handshake(server, "/a")
    assert (client.refusal, client.close) == (refusal, close)


@pytest.mark.parametrize("keeps", [False, True], ids=["raises", "keeps the error"])
@pytest.mark.parametrize(
    ("script", "refusal", "close"),
    [
        *(([{**ACCEPT, "subprotocol": wrong}], 500, None) for wrong in ("never offered", 5)),
        *(
            ([{"type": "websocket.http.response.start", "status": status}], 500, None)
            for status in ("403", 99, 101, True)
        ),
        *(
            ([ACCEPT, {**CLOSE, "code": code}], None, (1011, ""))
            for code in (999, 1005, 1006, 5000, "1000", None)
        ),
        ([ACCEPT, {**CLOSE, "reason": 5}], None, (1011, "")),
        ([ACCEPT, {**CLOSE, "reason": "x" * 124}], None, (4000, "x" * 123)),
    ],
)
async def test_what_no_server_could_send_of_a_child(
    script: list[Any], refusal: int | None, close: Any, keeps: bool
) -> None:
    """Servers differ in what they make of it, so it never reaches one: it is our 500, or 1011; a long reason is cut."""

    async def child(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for message in script:
            try:
                await send(message)
            except (TypeError, ValueError):
                if not keeps:
                    raise

    client = await handshake(Parent(a=child), "/a")
    assert (client.refusal, client.close) == (refusal, close)


async def test_a_child_whose_client_left_ends_in_good_order(caplog: pytest.LogCaptureFixture) -> None:
    async with websocket(Parent(a=Raw("receive", ACCEPT, "receive", TEXT)), "/a") as client:
        await client.next()
        client.fail_sends = OSError("gone")
    assert [message["type"] for message in client.sent][:2] == ["websocket.accept", "websocket.send"]
    assert client.refusal is None


async def test_an_error_after_a_child_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = Parent(a=Raw("receive", ACCEPT, CLOSE))
    app.ws_middlewares += [WebSocketHook([], after=ValueError(SECRET))]
    client = await handshake(app, "/a")
    assert client.close == (4000, "child")
    assert "error around the app mounted for /a" in caplog.text
    assert SECRET in caplog.text


async def test_the_session_of_the_parent_is_saved_around_a_websocket() -> None:
    def remember(request: Any) -> None:
        request.session["parent"] = 1

    app = Parent(a=Child())
    app.ws_middlewares += [WebSocketHook([], remember)]
    await app.session_backend.save(ID, {"user": "alice"}, 60)
    client: Client
    async with websocket(app, "/a/echo", headers=COOKIES) as client:
        await client.next()
    assert await app.session_backend.load(ID) == {"user": "alice", "parent": 1}


# --- an app that a middleware chooses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subpath", "mount_path", "root_path", "answer"),
    [
        ("/page/x", "", "", ["x", "", "/page/x"]),
        ("page/x", "", "", ["x", "", "/page/x"]),
        ("/page/x", "/tenant", "", ["x", "/tenant", "/tenant/page/x"]),
        ("page/x", "tenant/", "", ["x", "/tenant", "/tenant/page/x"]),
        ("/page/x", "/tenant", "/base", ["x", "/base/tenant", "/base/tenant/page/x"]),
        ("/page/x", "", "/base/", ["x", "/base", "/base/page/x"]),
        ("/", "/tenant", "", ["-", "/tenant", "/tenant/"]),
        (None, None, "", ["-", "", "/"]),
    ],
)
async def test_a_middleware_chooses_an_app(
    subpath: str | None, mount_path: str | None, root_path: str, answer: Any
) -> None:
    def choose(request: Any) -> None:
        request._subapp = Child()
        if subpath is not None:
            request._subapp_path = subpath
            request._subapp_mount_path = mount_path

    app = Parent(a=Raw(*HELLO))
    app.middlewares += [Hook([], choose)]
    got = await http(app, "/a/b/c", root_path=root_path, raw_path=b"/a/b%2Fc")
    assert got.json == answer


async def test_a_middleware_chooses_an_app_for_a_websocket() -> None:
    def choose(request: Any) -> None:
        request._subapp = Child()
        request._subapp_path = "where"
        request._subapp_mount_path = "tenant"

    app = Parent()
    app.ws_middlewares += [WebSocketHook([], choose)]
    assert (await handshake(app, "/")).messages == ['["/tenant","/tenant/where"]']


async def test_the_session_of_a_chosen_app_is_saved_once_at_the_end() -> None:
    class Counting(InMemorySessionBackend):
        updates = 0

        async def update(self, *arguments: Any) -> bool:
            self.updates += 1
            return await super().update(*arguments)

    class Chosen(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            before.append(backend.updates)
            ws.session["n"] = 1

    def choose(request: Any) -> None:
        request._subapp = Chosen()

    before: list[int] = []
    app = Parent()
    backend = app.session_backend = Counting()
    await backend.save(ID, {"user": "alice"}, 60)
    app.ws_middlewares += [WebSocketHook([], choose)]
    await handshake(app, "/", headers=COOKIES)
    assert [backend.updates - updates for updates in before] == [1]


async def test_a_child_waits_for_the_close_that_a_task_it_left_behind_sends() -> None:
    class Child(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            self.task = asyncio.create_task(ws.close(4000))
            await asyncio.sleep(0)

    app, child = App(), Child()
    app.mount("/child", child)
    async with websocket(app, "/child/", leave=False) as client:
        client.slow = 5
    await child.task
    assert client.close == (4000, "")


async def test_a_send_that_ends_after_the_close_does_not_open_the_socket_again() -> None:
    class Child(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            self.tasks = [asyncio.create_task(job) for job in (ws.send("slow"), ws.close())]
            await asyncio.sleep(0)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            await closed.wait()
        elif message["type"] == "websocket.close":
            closed.set()

    app, child, sent, closed = App(), Child(), [], asyncio.Event()
    app.mount("/child", child)
    await app(make_scope("websocket", "/child/", ()), receive, send)
    await asyncio.gather(*child.tasks)
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]


class Shop(App):
    async def index(self) -> str:
        return "shop"

    async def admin(self) -> str:
        return "admin"

    async def ws_news(self, ws: WebSocket) -> None: ...

    async def _private(self) -> None: ...


@pytest.mark.parametrize(
    ("prefix", "hidden"),
    [("/admin", "admin"), ("/admin/", "admin"), ("/news", "ws_news"), ("/index", "index")],
)
def test_a_mount_hides_no_route(prefix: str, hidden: str) -> None:
    """A mount and a method of one name are an error, since the method could never be reached."""
    app = Shop()
    with pytest.raises(ValueError, match=f"would hide Shop.{hidden}: give one of them another name"):
        app.mount(prefix, App())
    app.mount("/admin/deep", App())
    app.mount("/_private", App())
    app.mount("/other", App())


@pytest.mark.parametrize("again", ["/a", "/a/", "/a//"])
def test_one_app_a_prefix(again: str) -> None:
    """Two mounts of one prefix are an error, since the second could never be reached."""
    app = Shop()
    app.mount("/a", App())
    with pytest.raises(ValueError, match="another app is mounted at /a already"):
        app.mount(again, App())
    app.mount("/a/b", App())
