"""What looking at a session costs, and that nobody pays who does not look: loads, writes, cookies, caches, failures."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, NewType

import pytest

from micropie import (
    App,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    SessionBackend,
    WebSocket,
    WebSocketMiddleware,
)
from micropie.sessions import backends, view
from micropie.sessions.backends import load_waits
from tests.driver import handshake, http, websocket
from tests.helpers import COOKIES, ID

SECRET = "the secret that no client may see"
STYLE = [
    {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/css")]},
    {"type": "http.response.body", "body": b"a {}"},
]


class Quick(InMemorySessionBackend):
    """A store that never waits, and counts what it is asked for."""

    def __init__(self, **stored: Any) -> None:
        super().__init__()
        self.calls: list[str] = []
        if stored:
            self._sessions[ID] = (math.inf, stored)

    async def load(self, session_id: str) -> dict[str, Any]:
        self.calls.append("load")
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.calls.append("save")
        await super().save(session_id, data, timeout)


class Slow(Quick):
    """The same across a network."""

    async def load(self, session_id: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return await super().load(session_id)


class Site(App):
    async def index(self) -> str:
        return "the same for everybody"

    async def look(self) -> Any:
        return self.request.session

    async def put(self, key: str, value: str) -> str:
        self.request.session[key] = value
        return "stored"

    async def plain(self, page: int = 1) -> str:
        return str(page)

    async def private(self, user: FromSession[str] = "nobody") -> str:
        return user

    def threaded(self) -> Any:
        return self.request.session

    async def stream(self) -> AsyncIterator[str]:
        yield "chunk"

    async def looking_stream(self) -> AsyncIterator[str]:
        yield str(self.request.session)

    async def late_stream(self) -> AsyncIterator[str]:
        yield "chunk"
        yield str(self.request.session)

    async def saves(self) -> str:
        await self.request.save_session()
        return "saved"

    async def cookie(self) -> str:
        self.request.set_cookie("own", "1")
        return "set"

    async def error(self) -> str:
        raise HTTPError(409)

    async def broken(self) -> str:
        raise ArithmeticError

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("hello")

    async def ws_look(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(ws.session)

    async def ws_early(self, ws: WebSocket) -> None:
        session = ws.session
        await ws.accept()
        await ws.send_json(session)

    async def ws_id(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(ws.session_id)

    async def ws_private(self, ws: WebSocket, user: FromSession[str]) -> None:
        await ws.accept()
        await ws.send(user)


async def style(scope: Any, receive: Any, send: Any) -> None:
    """A mounted app that serves a file."""
    await send(STYLE[0])
    await send(STYLE[1] if scope["method"] != "HEAD" else {**STYLE[1], "body": b""})


class Hook(HttpMiddleware, WebSocketMiddleware):
    """Calls functions around the handler."""

    def __init__(self, before: Any = None, after: Any = None) -> None:
        self.before, self.after = before, after

    async def before_request(self, request: Any) -> Any:
        return self.before and self.before(request)

    async def after_request(self, request: Any, *arguments: Any) -> Any:
        return self.after and self.after(request)

    before_websocket = before_request


def looks(request: Any) -> None:
    assert request.session is not None


# --- nobody looks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("hooks", [[], [Hook()]], ids=["no hook", "a hook"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "target", ["/", "/style/a.css", "/stream", "/plain/2", "/plain?page=2", "/error", "/none", "/x/y"]
)
@pytest.mark.parametrize("store", [Quick, Slow])
async def test_who_does_not_look_pays_nothing(store: Any, target: str, method: str, hooks: Any) -> None:
    """No write, no cookie, nothing for caches; no load where the store never waits."""
    app = Site(store(user="alice"))
    app.middlewares += hooks
    app.mount("/style", style)
    answer = await http(app, target, method=method, headers=COOKIES)
    assert "set-cookie" not in answer.headers
    assert "vary" not in answer.headers
    assert app.session_backend.calls == ([] if store is Quick else ["load"])


@pytest.mark.parametrize("store", [Quick, Slow])
async def test_a_socket_that_does_not_look_pays_nothing(store: Any) -> None:
    app = Site(store(user="alice"))
    client = await handshake(app, "/", headers=COOKIES)
    assert client.messages == ["hello"]
    assert client.sent[0].get("headers", []) == []
    assert app.session_backend.calls == ([] if store is Quick else ["load"])


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("hook", [None, looks], ids=["nobody looks", "a hook looks"])
async def test_a_mount_without_a_session_has_none(
    waits: bool, hook: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is loaded, and what hooks find is empty."""
    scopes: list[Any] = []

    async def child(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await style(scope, receive, send)

    app = Site((Slow if waits else Quick)(user="alice"))
    app.mount("/style", child, session=False)
    if hook is not None:
        app.middlewares.append(Hook(hook, lambda request: request.session and 1 / 0))
    for headers in (COOKIES, []):
        answer = await http(app, "/style/a.css", headers=headers, session={"of": "an app around"})
        assert (answer.text, answer.cookies, answer.headers.get("vary")) == (
            "a {}",
            [],
            "Cookie" if hook else None,
        )
    assert ["session" in scope for scope in scopes] == [False, False]
    assert app.session_backend.calls == []
    assert caplog.messages == []


async def test_what_a_hook_writes_where_there_is_no_session_is_lost_and_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It must not take the place of the visitor's session."""
    app = Site(Quick(user="alice"))
    app.mount("/style", style, session=False)
    app.middlewares.append(Hook(lambda request: request.session.update(seen=1)))
    for headers in (COOKIES, []):
        assert (await http(app, "/style/a.css", headers=headers)).cookies == []
    assert app.session_backend.calls == []
    assert (
        caplog.messages
        == ["what was written to the session for /style/a.css is lost: its mount has session=False"] * 2
    )


async def test_a_mounted_app_without_a_session_has_its_own() -> None:
    outer, inner = Site(Quick(user="alice")), Site(Quick(user="bob"))
    outer.mount("/in", inner, session=False)
    assert (await http(outer, "/in/look", headers=COOKIES)).json == {"user": "bob"}
    assert (await handshake(outer, "/in/look", headers=COOKIES)).messages == ['{"user":"bob"}']
    assert outer.session_backend.calls == []


# --- somebody looks -------------------------------------------------------------------------------------

LOOKS: list[tuple[str, str]] = [
    ("/look", '{"user":"alice"}'),
    ("/threaded", '{"user":"alice"}'),
    ("/plain", "1"),
    ("/private", "alice"),
    ("/looking_stream", "{'user': 'alice'}"),
    ("/saves", "saved"),
]


@pytest.mark.parametrize("store", [Quick, Slow])
@pytest.mark.parametrize(("target", "text"), LOOKS)
async def test_who_looks_is_answered_so_that_caches_know(store: Any, target: str, text: str) -> None:
    app = Site(store(user="alice"))
    answer = await http(app, target, headers=COOKIES)
    assert answer.text == text
    assert answer.headers["vary"] == "Cookie"
    assert app.session_backend.calls.count("load") - app.session_backend.calls.count("save") == 1


@pytest.mark.parametrize("store", [Quick, Slow])
async def test_a_session_is_loaded_once(store: Any) -> None:
    """Hooks, handler and error page look at one that was loaded once."""

    class Page(Site):
        async def _error_page(self, status: int, detail: str) -> Any:
            return f"{self.request.session}"

        async def error(self) -> str:
            assert self.request.session
            raise HTTPError(409)

    app = Page(store(user="alice"))
    app.middlewares.append(Hook(looks, looks))
    answer = await http(app, "/error", headers=COOKIES)
    assert (answer.text, answer.headers["vary"]) == ("{'user': 'alice'}", "Cookie")
    assert app.session_backend.calls == ["load", "load", "save"]  # the second one is the renewal's


@pytest.mark.parametrize("target", ["/look", "/private"])
async def test_a_stranger_is_answered_so_too(target: str) -> None:
    """Else a cache gives the page of strangers to one who is logged in."""
    answer = await http(Site(Quick()), target)
    assert (answer.headers["vary"], answer.cookies) == ("Cookie", [])


@pytest.mark.parametrize(
    "where", ["before", "after", "error page", "error page of an answer that cannot be sent", "save"]
)
async def test_whoever_looks_is_told_of(where: str) -> None:
    class Page(Site):
        async def _error_page(self, status: int, detail: str) -> Any:
            return str(self.request.session) if where.startswith("error page") else None

        async def bad_header(self) -> Any:
            return 200, "x", [("X", "\n")]

    app = Page(Quick(user="alice"))
    if where in ("before", "after"):
        app.middlewares.append(Hook(**{where: looks}))
    target = {
        "error page": "/error",
        "error page of an answer that cannot be sent": "/bad_header",
        "save": "/saves",
    }.get(where, "/")
    assert (await http(app, target, headers=COOKIES)).headers["vary"] == "Cookie"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], "Cookie"),
        ([("Vary", "Accept-Encoding")], "Accept-Encoding, Cookie"),
        ([("vary", "Accept"), ("VARY", "Origin")], "Accept, Origin, Cookie"),
        ([("Vary", "Cookie")], "Cookie"),
        ([("Vary", "accept,  COOKIE")], "accept,  COOKIE"),
        ([("Vary", "*")], "*"),
        ([("Vary", "Accept, *")], "Accept, *"),
        ([("Vary", "X-Cookie")], "X-Cookie, Cookie"),
    ],
)
@pytest.mark.parametrize("mounted", [False, True])
async def test_what_varies_is_said_once(sent: Any, expected: str, mounted: bool) -> None:
    class Page(App):
        async def index(self) -> Any:
            return (200, str(self.request.session), sent)

    app: App = Page(Quick(user="alice"))
    if mounted:
        outer = App(Quick(user="alice"))
        outer.middlewares.append(Hook(looks))
        outer.mount("/in", app)
        app = outer
    answer = await http(app, "/in/" if mounted else "/", headers=COOKIES)
    assert b", ".join(value for name, value in answer.raw_headers if name == b"vary").decode() == expected


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (None, "private"),
        ("public", "private"),
        ("public, max-age=60, s-maxage=600", "max-age=60, private"),
        ("PUBLIC,S-MaxAge=600", "private"),
        ("no-store", "no-store"),
        ("private, max-age=60", "private, max-age=60"),
    ],
)
async def test_no_cache_ever_gets_a_session_id(sent: str | None, told: str) -> None:
    """A hook that makes every answer public makes public those without a session's cookie."""

    class Public(HttpMiddleware):
        async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
            if sent is not None:
                headers.append(("Cache-Control", sent))

    app = Site(Quick(user="alice"))
    app.middlewares.append(Public())
    app.mount("/style", style)
    for target in ("/", "/style/a.css"):
        answer = await http(app, target, headers=COOKIES)
        assert (answer.cookies, answer.headers.get("cache-control")) == ([], sent)
    first, second = [await http(app, "/look", headers=COOKIES) for _ in range(2)]
    assert (len(first.cookies), first.headers["cache-control"]) == (1, told)
    assert (second.cookies, second.headers.get("cache-control")) == ([], sent)


@pytest.mark.parametrize("name", ["CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control"])
async def test_no_cache_with_a_header_of_its_own_gets_a_session_id(name: str) -> None:
    """Some caches obey their own header alone (RFC 9213): an answer with a session's cookie goes without it."""

    class Public(HttpMiddleware):
        async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
            headers.append((name, "max-age=60"))

    app = Site(Quick(user="alice"))
    app.middlewares.append(Public())
    first, second = [await http(app, "/look", headers=COOKIES) for _ in range(2)]
    assert (len(first.cookies), first.headers.get(name.lower())) == (1, None)
    assert (second.cookies, second.headers[name.lower()]) == ([], "max-age=60")


# --- renewals -------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (backends, view):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("target", ["/look", "/private", "/saves", "/looking_stream"])
@pytest.mark.parametrize("store", [Quick, Slow])
async def test_a_hundred_reads_in_a_minute_are_renewed_twice_at_most(
    clock: Clock, store: Any, target: str
) -> None:
    app, cookies = Site(store(user="alice")), 0
    for _ in range(100):
        clock.now += 0.6
        cookies += len((await http(app, target, headers=COOKIES)).cookies)
    assert 1 <= cookies <= 2
    assert app.session_backend.calls.count("save") <= 2


async def test_a_hundred_sockets_in_a_minute_renew_twice_at_most(clock: Clock) -> None:
    app = Site(Quick(user="alice"))
    for _ in range(50):
        clock.now += 0.6
        for target in ("/look", "/early"):
            await handshake(app, target, headers=COOKIES)
    assert app.session_backend.calls.count("save") <= 2


async def test_a_session_in_use_lives_on_in_store_and_browser(clock: Clock) -> None:
    """It is renewed before a tenth of its life has passed twice."""
    app, backend = Site(session_timeout=1000), InMemorySessionBackend()
    app.session_backend = backend
    [cookie] = (await http(app, "/put/user/alice")).cookies
    session_id, told = cookie.partition("=")[2].partition(";")[0], clock.now
    for _ in range(300):
        clock.now += 50
        answer = await http(app, "/look", headers=[("Cookie", f"session_id={session_id}")])
        assert answer.json == {"user": "alice"}
        told = clock.now if answer.cookies else told
        assert clock.now - told < 100
        assert backend._sessions[session_id][0] - clock.now > 850
    clock.now += 1000
    assert (await http(app, "/look", headers=[("Cookie", f"session_id={session_id}")])).json == {}


async def test_a_socket_renews_what_no_page_renews_any_more(clock: Clock) -> None:
    """A socket that saves now and then keeps the session alive, as long as it is open."""

    class Keeps(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            async for _ in ws:
                await ws.save_session()
                await ws.send_json(ws.session)

    app = Keeps(Quick(user="alice"), session_timeout=100)
    async with websocket(app, "/", headers=COOKIES) as client:
        await client.next()
        for _ in range(100):
            clock.now += 3
            client.send("x")
            assert await client.text() == '{"user":"alice"}'
    assert app.session_backend._sessions[ID][0] - clock.now > 85
    assert app.session_backend.calls.count("save") <= 100 * 3 / 10 + 1


async def test_a_renewal_never_revives(clock: Clock) -> None:
    class Logout(Site):
        async def slow(self) -> str:
            assert self.request.session
            await self.session_backend.delete(ID)
            return "late"

    app = Logout(Quick(user="alice"))
    assert (await http(app, "/slow", headers=COOKIES)).cookies == []
    assert app.session_backend._sessions == {}


async def test_a_renewal_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Quick):
        async def update(self, *arguments: Any) -> bool:
            raise OSError(SECRET)

    answer = await http(Site(Full(user="alice")), "/look", headers=COOKIES)
    assert (answer.status, answer.json, answer.cookies) == (200, {"user": "alice"}, [])
    assert caplog.messages == ["the session for /look could not be renewed"]


async def test_what_is_remembered_of_renewals_is_bounded(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view.Recent, "MOST", 10)
    recent = view.Recent()
    for number in range(1000):
        recent.note(str(number), 60)
        assert len(recent._young) + len(recent._old) <= 20
    assert recent.has("999", 60)
    assert recent.has("991", 60)
    clock.now += 60
    assert not recent.has("999", 60)


# --- a store that fails ---------------------------------------------------------------------------------


class Fails(Quick):
    """A store that fails in one way, at once."""

    def __init__(self, error: Any) -> None:
        super().__init__(user="alice")
        self.error = error

    async def load(self, session_id: str) -> Any:
        self.calls.append("load")
        if isinstance(self.error, BaseException):
            raise self.error
        return self.error


class FailsLate(Fails):
    """The same after a wait."""

    async def load(self, session_id: str) -> Any:
        await asyncio.sleep(0)
        return await super().load(session_id)


class Hangs(Quick):
    async def load(self, session_id: str) -> Any:
        self.calls.append("load")
        await asyncio.Event().wait()


class Lies(Quick):
    """Says that it never waits, and does."""

    load_waits = False

    async def load(self, session_id: str) -> Any:
        self.calls.append("load")
        await asyncio.Event().wait()


FAILURES: list[Callable[[], Any]] = [
    lambda: Fails(OSError(SECRET)),
    lambda: Fails(HTTPError(404, SECRET)),
    lambda: Fails(asyncio.CancelledError()),
    lambda: Fails(TimeoutError()),
    lambda: Fails(["no", "dict"]),
    lambda: Fails("text"),
    lambda: Fails([("user", "eve")]),
    lambda: FailsLate(OSError(SECRET)),
    lambda: FailsLate(asyncio.CancelledError()),
    lambda: Hangs(user="alice"),
    lambda: Lies(user="alice"),
]


@pytest.mark.parametrize("make", FAILURES, ids=range(len(FAILURES)))
async def test_a_store_that_fails_is_the_error_of_who_looks_alone(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = Site(make(), session_store_timeout=0.01)
    app.middlewares.append(Hook())
    app.mount("/style", style)
    for target in ("/", "/style/a.css", "/stream", "/plain/2"):
        answer = await http(app, target, headers=COOKIES)
        assert (answer.status, answer.cookies, answer.complete) == (200, [], True), target
    assert (await handshake(app, "/", headers=COOKIES)).messages == ["hello"]
    for target, _ in LOOKS:
        caplog.clear()
        answer = await http(app, target, headers=COOKIES)
        assert (answer.status, answer.text) == (503, "503 Service Unavailable"), target
        assert (answer.headers["vary"], answer.cookies) == ("Cookie", [])
        assert caplog.messages == [f"the session store failed for {target}"]
        assert caplog.records[0].exc_info
    for target, refusal, close in (
        ("/early", 503, None),
        ("/private", 503, None),
        ("/look", None, (1008, "")),
    ):
        caplog.clear()
        client = await handshake(app, target, headers=COOKIES)
        assert (client.refusal, client.close) == (refusal, close), target
        assert caplog.messages == [f"the session store failed for {target}"]
    assert (await handshake(app, "/id", headers=COOKIES)).messages == ["null"]
    assert (await http(app, "/look")).status == 200  # who has no cookie needs no store
    assert "save" not in app.session_backend.calls


async def test_a_failure_can_be_caught_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is written then, whatever the handler does."""

    class Catches(App):
        async def index(self) -> Any:
            tries: list[Callable[[], Any]] = [
                lambda: self.request.session,
                lambda: setattr(self.request, "session", {}),
                lambda: setattr(self.request, "session", {"user": "eve"}),
                self.request.regenerate_session,
            ]
            caught = []
            for step in tries:
                try:
                    step()
                except HTTPError as error:
                    caught.append(error.status)
            return caught

    for store in (Fails(OSError(SECRET)), FailsLate(OSError(SECRET))):
        caplog.clear()
        answer = await http(Catches(store), "/", headers=COOKIES)
        assert (answer.json, answer.cookies) == ([503] * 4, [])
        assert caplog.messages == ["the session store failed for /"]
        assert store.calls == ["load"]


@pytest.mark.parametrize("method", ["save", "update", "rename", "delete"])
async def test_a_store_that_hangs_while_it_saves_is_bounded_too(method: str) -> None:
    class Page(Site):
        async def logout(self) -> str:
            self.request.session = {}
            return "bye"

        async def login(self) -> str:
            self.request.session["user"] = "bob"
            self.request.regenerate_session()
            return "hello"

    async def hang(*arguments: Any) -> None:
        await asyncio.Event().wait()

    app = Page(Quick(user="alice"), session_store_timeout=0.01)
    setattr(app.session_backend, method, hang)
    target = {"delete": "/logout", "rename": "/login"}.get(method, "/put/a/b")
    answer = await http(app, target, headers=[] if method == "save" else COOKIES)
    assert (answer.status, answer.cookies) == (500, [])
    assert (await http(app, "/", headers=COOKIES)).status == 200


async def test_a_chosen_session_that_cannot_be_loaded_refuses_the_handshake() -> None:
    class Adopts(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept(session_id=ID)

    for store in (Fails(OSError(SECRET)), Hangs()):
        assert (await handshake(Adopts(store, session_store_timeout=0.01), "/")).refusal == 503


async def test_no_session_is_none_or_empty() -> None:
    class Nothing(InMemorySessionBackend):
        async def load(self, session_id: str) -> Any:
            return None

    app = Site(Nothing())
    assert (await http(app, "/look", headers=COOKIES)).json == {}
    [cookie] = (await http(app, "/put/a/b", headers=COOKIES)).cookies
    assert ID not in cookie
    assert await app.session_backend.update(ID, {"a": 1}, (), 60) is False
    assert await app.session_backend.rename(ID, "new", 60) is False


@pytest.mark.parametrize("error", [ValueError, UnicodeDecodeError, IndexError, AttributeError, None])
async def test_an_id_that_a_validator_stumbles_over_is_none(
    error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def validator(value: str) -> str | None:
        if error is UnicodeDecodeError:
            b"\xff".decode()
        if error is not None:
            raise error(value)
        return None

    app = Site(Quick(user="alice"), session_id_validator=validator)
    for target, text in (("/", "the same for everybody"), ("/look", "{}"), ("/private", "nobody")):
        assert (await http(app, target, headers=COOKIES)).text == text
    assert (await handshake(app, "/look", headers=COOKIES)).messages == ["{}"]
    assert bool(caplog.messages) is (error in (IndexError, AttributeError))


@pytest.mark.parametrize("validator", [lambda value: True, lambda value: object()], ids=["yes", "an object"])
async def test_a_validator_may_just_say_yes(validator: Any) -> None:
    app = Site(Quick(user="alice"), session_id_validator=validator)
    assert (await http(app, "/look", headers=COOKIES)).json == {"user": "alice"}


# --- whether a store may have to wait -------------------------------------------------------------------


class Base(SessionBackend):
    async def load(self, session_id: str) -> Any:
        return {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None: ...


class Counts(Base):
    async def load(self, session_id: str) -> Any:
        self.count = 1
        found = await super().load(session_id=session_id)
        return dict(found)


class CountsTwice(Counts):
    async def load(self, session_id: str) -> Any:
        try:
            return await super().load(session_id)
        finally:
            self.count = 1


class Waits(Base):
    async def load(self, session_id: str) -> Any:
        await asyncio.sleep(0)
        return await super().load(session_id)


class WaitsAbove(Waits):
    async def load(self, session_id: str) -> Any:
        return await super().load(session_id)


class Locks(Base):
    async def load(self, session_id: str) -> Any:
        async with self._lock(session_id):
            return await super().load(session_id)


class Loops(Base):
    async def load(self, session_id: str) -> Any:
        return {key: value async for key, value in self.rows()}

    async def rows(self) -> AsyncIterator[Any]:
        yield "a", 1


class Asks(Base):
    async def load(self, session_id: str) -> Any:
        return await super().load(await self.real_id(session_id))

    async def real_id(self, session_id: str) -> str:
        return session_id


class Calls(Base):
    def load(self, session_id: str) -> Any:
        return asyncio.sleep(0, {})


class SaysNo(Waits):
    load_waits = False


class SaysYes(Base):
    load_waits = True


class BelowNo(SaysNo):
    async def load(self, session_id: str) -> Any:
        await asyncio.sleep(0)


class AboveNo(SaysNo):
    async def load(self, session_id: str) -> Any:
        return await super().load(session_id)


@pytest.mark.parametrize(
    ("store", "waits"),
    [
        *(
            (store, False)
            for store in (InMemorySessionBackend, Quick, Base, Counts, CountsTwice, SaysNo, AboveNo)
        ),
        *((store, True) for store in (Slow, Waits, WaitsAbove, Locks, Loops, Asks, Calls, SaysYes, BelowNo)),
    ],
)
async def test_a_store_that_may_wait_is_known_beforehand(store: Any, waits: bool) -> None:
    assert load_waits(store()) is waits
    one = store()
    one.load_waits = not waits
    assert load_waits(one) is not waits


async def test_a_method_that_was_put_there_is_seen() -> None:
    store: Any = Base()
    assert not load_waits(store)
    store.load = Waits().load
    assert load_waits(store)


async def test_a_thread_has_the_store_asked_where_it_belongs() -> None:
    """As a connection to SQLite does, which works in one thread alone."""
    threads: list[int] = []

    class Picky(Quick):
        async def load(self, session_id: str) -> Any:
            threads.append(threading.get_ident())
            return await super().load(session_id)

    answer = await http(Site(Picky(user="alice")), "/threaded", headers=COOKIES)
    assert answer.json == {"user": "alice"}
    assert set(threads) == {threading.get_ident()}


# --- reading is not writing -----------------------------------------------------------------------------


class Opaque:
    """An object that equals itself alone."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Cart(list[Any]):
    coupon = ""


def ring() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


VALUES: list[Callable[[], Any]] = [
    lambda: math.nan,
    lambda: [math.nan],
    lambda: {"deep": (1, {"nan": math.nan})},
    lambda: -0.0,
    lambda: complex(math.nan, 1),
    lambda: Opaque(1),
    lambda: [Opaque([Opaque(math.nan)])],
    lambda: {Opaque(1), Opaque(2)},
    lambda: frozenset({Opaque(1), 2}),
    lambda: {Opaque(1): Opaque(2)},
    lambda: Cart([1, Opaque(2)]),
    lambda: bytearray(b"x"),
    lambda: asyncio.Queue,
    lambda: threading.local,
    ring,
]


@pytest.mark.parametrize("make", VALUES, ids=range(len(VALUES)))
async def test_what_was_only_read_is_not_written(make: Any) -> None:
    class Reads(App):
        async def index(self) -> str:
            assert "value" in self.request.session
            await self.session_backend.update(ID, {"value": "newer"}, (), 60)
            return "read"

    app = Reads(Quick(value=make()))
    assert (await http(app, "/", headers=COOKIES)).text == "read"
    assert await app.session_backend.load(ID) == {"value": "newer"}


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (lambda: math.nan, lambda session: session.update(value=1.0)),
        (lambda: 0.0, lambda session: session.update(value=-0.0)),
        (lambda: [1.0], lambda session: session.update(value=[math.nan])),
        (lambda: Opaque(1), lambda session: setattr(session["value"], "value", 2)),
        (lambda: [Opaque([1])], lambda session: session["value"][0].value.append(2)),
        (lambda: {Opaque(1), Opaque(2)}, lambda session: session["value"].pop()),
        (lambda: {Opaque(1)}, lambda session: setattr(next(iter(session["value"])), "value", 2)),
        (lambda: {1, 2}, lambda session: session["value"].add(3)),
        (lambda: {Opaque(1): 1}, lambda session: session["value"].update(dict.fromkeys(session["value"], 2))),
        (lambda: Cart([1]), lambda session: setattr(session["value"], "coupon", "x")),
        (lambda: Cart([1]), lambda session: session["value"].append(2)),
        (lambda: bytearray(b"x"), lambda session: session["value"].append(1)),
        (ring, lambda session: session["value"].append(2)),
    ],
)
async def test_what_was_changed_is_written(make: Any, change: Any) -> None:
    class Changes(App):
        async def index(self) -> str:
            change(self.request.session)
            return "changed"

    class Notes(Quick):
        async def update(self, session_id: str, changed: Any, removed: Any, timeout: int) -> bool:
            updates.append(set(changed))
            return await super().update(session_id, changed, removed, timeout)

    updates: list[set[str]] = []
    await http(Changes(Notes(value=make())), "/", headers=COOKIES)
    assert updates == [{"value"}]


# --- a login and what runs beside it --------------------------------------------------------------------


class Members(App):
    """A login, beside pages that do this and that to the session."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.waiting, self.go_on = asyncio.Event(), asyncio.Event()

    async def login(self) -> str:
        self.request.session["user"] = "alice"
        self.request.regenerate_session()
        return "in"

    async def me(self) -> str:
        return str(self.request.session.get("user"))

    async def beside(self, what: str, when: str) -> str:
        if when == "loaded":
            assert self.request.session is not None
        self.waiting.set()
        await self.go_on.wait()
        if what == "write":
            self.request.session["visits"] = 1
        elif what == "read":
            assert self.request.session is not None
        elif what == "empty":
            self.request.session.clear()
        elif what == "save":
            self.request.session["visits"] = 1
            await self.request.save_session()
        return "beside"


@pytest.mark.parametrize("store", [Quick, Slow])
@pytest.mark.parametrize("what", ["read", "write", "empty", "save", "nothing"])
@pytest.mark.parametrize("when", ["loaded", "unloaded", "after"])
@pytest.mark.parametrize("known", [True, False], ids=["a known visitor", "one whose session is over"])
async def test_a_login_stays(store: Any, what: str, when: str, known: bool) -> None:
    """The answer to a request with the old id may come last, and the browser has its login all the same."""
    app = Members(store(**({"flash": 1} if known else {})))
    jar = {"session_id": ID}

    async def get(target: str) -> tuple[str, list[str]]:
        answer = await http(app, target, headers=[("Cookie", f"session_id={jar['session_id']}")], alone=False)
        return answer.text, answer.cookies

    def receive(answer: tuple[str, list[str]]) -> None:
        for cookie in answer[1]:
            jar["session_id"] = cookie.partition("=")[2].partition(";")[0]

    if when == "after":  # on its way when the login is answered
        late = {**jar}
        receive(await get("/login"))
        logged_in, jar = jar, late
        app.go_on.set()
        answer = await get(f"/beside/{what}/{when}")
        jar = logged_in
        receive(answer)
    else:
        task = asyncio.create_task(get(f"/beside/{what}/{when}"))
        await app.waiting.wait()
        receive(await get("/login"))
        app.go_on.set()
        receive(await task)
    assert (await get("/me"))[0] == "alice"


async def test_a_renewal_of_the_old_id_is_answered_no_second_time() -> None:
    """So no answer that comes late brings the old cookie back."""
    app = Members(Quick())
    [first] = (await http(app, "/login")).cookies
    session_id = first.partition("=")[2].partition(";")[0]
    cookie = [("Cookie", f"session_id={session_id}")]
    app.go_on.set()
    for target in ("/me", "/beside/write/loaded", "/beside/read/loaded", "/beside/save/loaded"):
        assert (await http(app, target, headers=cookie)).cookies == []


async def test_a_second_login_with_the_old_id_is_one_too() -> None:
    """A visitor who clicks twice is logged in by whichever answer the browser takes."""
    app = Members(Quick(cart=1))
    for _ in range(2):
        [cookie] = (await http(app, "/login", headers=COOKIES)).cookies
        session_id = cookie.partition("=")[2].partition(";")[0]
        assert (await http(app, "/me", headers=[("Cookie", f"session_id={session_id}")])).text == "alice"


# --- other apps inside ----------------------------------------------------------------------------------


class Foreign:
    """An app of another framework, which finds the session in its scope."""

    def __init__(self, act: Any = None) -> None:
        self.act = act

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        if self.act is not None:
            self.act(session)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        for message in STYLE:
            await send(message)


@pytest.mark.parametrize("chosen", [False, True], ids=["mounted", "chosen"])
@pytest.mark.parametrize("store", [Quick, Slow])
async def test_a_foreign_app_has_the_session_and_need_not_look(store: Any, chosen: bool) -> None:
    def write(session: Any) -> None:
        assert dict(session) == {"user": "alice"} == {**session}
        assert session["user"] == session.get("user") == session.setdefault("user", "bob") == "alice"
        assert len(session) == 1
        assert "user" in session
        assert repr(session) == "{'user': 'alice'}"
        session["foreign"] = 1
        del session["user"]

    def choose(request: Any) -> None:
        request._subapp = child

    for act, calls in (
        (None, [] if store is Quick else ["load"]),
        (write, None),
        (lambda session: session.clear(), None),
    ):
        connect: Any
        for connect in (http, handshake):
            app, child = Site(store(user="alice")), Foreign(act)
            if chosen:
                app.middlewares.append(Hook(choose))
                app.ws_middlewares.append(Hook(choose))
            else:
                app.mount("/in", child)
            answer = await connect(app, "/in/x", headers=COOKIES)
            if connect is http:
                assert answer.headers.get("vary") == (None if act is None else "Cookie")
                assert bool(answer.cookies) is (act is not None)
            if calls is not None:
                assert app.session_backend.calls == calls
                assert await app.session_backend.load(ID) == {"user": "alice"}
            else:
                assert await app.session_backend.load(ID) == ({"foreign": 1} if act is write else {})


async def test_the_session_of_an_app_in_between_counts() -> None:
    """A framework between two MicroPie apps may have sessions of its own."""
    outer, inner = Site(Quick(user="alice")), Site(Quick(user="bob"))

    async def between(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "session": {"user": "between"}}, receive, send)

    outer.mount("/in", between)
    assert (await http(outer, "/in/look", headers=COOKIES)).json == {"user": "between"}


async def test_whichever_of_the_apps_looks_the_session_is_loaded_once() -> None:
    outer, middle, inner = Site(Quick(user="alice")), Site(), Site()
    outer.mount("/a", middle)
    middle.mount("/b", inner)
    assert (await http(outer, "/a/b/", headers=COOKIES)).cookies == []
    assert outer.session_backend.calls == []
    answer = await http(outer, "/a/b/put/x/1", headers=COOKIES)
    assert answer.headers["vary"] == "Cookie"
    assert [value for name, value in answer.raw_headers if name == b"vary"] == [b"Cookie"]
    assert await outer.session_backend.load(ID) == {"user": "alice", "x": "1"}
    assert (await handshake(outer, "/a/b/look", headers=COOKIES)).messages == ['{"user":"alice","x":"1"}']


# --- arguments ------------------------------------------------------------------------------------------

UserId = NewType("UserId", int)


async def test_an_argument_from_the_session_is_a_look() -> None:
    class Page(App):
        async def index(self, number: Annotated[FromSession[int], "a mark"] = 0) -> str:
            return str(number)

    app = Page(Quick(number=5))
    answer = await http(app, "/", headers=COOKIES)
    assert (answer.text, answer.headers["vary"]) == ("5", "Cookie")


async def test_a_handler_that_fails_rolls_nothing_back() -> None:
    """What an answer with status 500 forgets is not written either: another request's write stays."""
    store, looked, go_on = Quick(kept=1), asyncio.Event(), asyncio.Event()

    class Failing(Site):
        async def fail(self) -> str:
            self.request.session["lost"] = True
            looked.set()
            await go_on.wait()
            raise ValueError(SECRET)

    app = Failing(session_backend=store)
    failing = asyncio.create_task(http(app, "/fail", headers=COOKIES))
    await looked.wait()
    await http(app, "/put/kept/2", headers=COOKIES)
    go_on.set()
    assert (await failing).status == 500
    assert await store.load(ID) == {"kept": "2"}


async def test_a_hook_after_a_chosen_app_begins_a_session() -> None:
    """The app that chose another one saves the session of both, with what its after hook writes."""

    class Choosing(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request._subapp, request._subapp_path = Site(), "/look"

        async def after_request(self, request: Any, *answer: Any) -> None:
            request.session["seen"] = True

    store = Quick()
    app = Site(session_backend=store)
    app.middlewares.append(Choosing())
    answer = await http(app, "/any")
    cookie = answer.headers["set-cookie"]
    assert await store.load(cookie.partition("=")[2].partition(";")[0]) == {"seen": True}
