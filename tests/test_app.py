"""The app as a whole: what it is given, what no URL reaches, and the small helpers of handlers."""

from __future__ import annotations

import functools
import pickle
from types import FunctionType
from typing import Any, get_type_hints

import pytest

import micropie
from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    WebSocket,
    WebSocketMiddleware,
    current_request,
    methods,
)
from micropie.cli.loading import Target
from micropie.request.body import Limits
from micropie.response.responses import Answer
from micropie.sessions.view import SessionView
from micropie.testing import TestClient
from tests.driver import handshake, http


class Site(App):
    async def index(self) -> str:
        return "index"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()


async def nothing(*arguments: Any) -> Any:
    raise AssertionError("never called")


@pytest.mark.parametrize("kind", ["pubsub", "", "HTTP"])
async def test_an_unknown_scope_is_an_error(kind: str) -> None:
    with pytest.raises(ValueError, match=f"MicroPie handles http, websocket and lifespan, not '{kind}'"):
        await App()({"type": kind}, nothing, nothing)


async def test_an_app_without_routes_knows_no_page() -> None:
    assert (await http(App(), "/")).status == 404
    assert (await handshake(App(), "/")).refusal == 404


# --- nothing internal is reachable ----------------------------------------------------------------------

INTERNAL = sorted({*dir(App), *vars(App()), *dir(object)})

SPELLINGS = [
    "/{}",
    "/{}/",
    "/{}/x",
    "//{}",
    "/./{}",
    "/index/../{}",
    "/index/{}",
    "/ {}",
    "/{}.",
    "/{}()",
    "/self.{}",
    "/app/{}",
    "{}",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_nothing_internal_is_reachable_by_url(spelling: str) -> None:
    app = Site()
    for name in INTERNAL:
        target = spelling.format(name)
        for method in ("GET", "POST"):
            answer = await http(app, target, method)
            assert (target, answer.status, answer.text) == (target, 404, "404 Not Found")
        client = await handshake(app, target)
        assert (target, client.refusal, client.accepted) == (target, 404, False)


@pytest.mark.parametrize("name", ["_redirect", "__init__", "__class__", "request"])
async def test_an_encoded_spelling_is_the_same_path(name: str) -> None:
    raw = "/" + "".join(f"%{ord(character):02x}" for character in name)
    answer = await http(Site(), "/" + name, raw_path=raw.encode())
    assert answer.status == 404
    assert (await http(Site(), raw)).status == 404


async def test_what_an_app_overrides_is_still_no_route() -> None:
    class Overrides(Site):
        async def __call__(self, *arguments: Any) -> None:
            await super().__call__(*arguments)

        async def _error_page(self, status: int, detail: str) -> Any:
            return "an error"

        async def _render_template(self, name: str, /, **context: Any) -> str:
            return "rendered"

        def __getitem__(self, key: str) -> str:
            return key

    for name in ("__call__", "_error_page", "_render_template", "__getitem__"):
        assert (await http(Overrides(), f"/{name}")).status == 404


@pytest.mark.parametrize("name", ["mount", "request", "url_for", "websockets", "env"])
def test_a_route_cannot_have_a_name_that_the_app_needs(name: str) -> None:
    async def route(self: App) -> str:
        return ""

    with pytest.raises(TypeError, match=rf"Site\.{name}: App uses this name itself"):
        type("Site", (App,), {name: route})()


@pytest.mark.parametrize(
    "name", ["debug", "sync_workers", "session_timeout", "allowed_hosts", "middlewares", "session_backend"]
)
async def test_a_route_can_be_named_like_a_setting_or_a_list(name: str) -> None:
    async def route(self: App) -> str:
        return f"page {name}"

    app = type("Settings", (Site,), {name: route})()
    assert (await http(app, f"/{name}")).text == f"page {name}"
    plain = Site()
    if name in micropie.settings.CHECKS:
        assert getattr(app, name) == getattr(plain, name)


# --- settings and state ---------------------------------------------------------------------------------


async def test_an_empty_backend_is_a_backend() -> None:
    class Sized(InMemorySessionBackend):
        def __len__(self) -> int:
            return len(self._sessions)

    backend = Sized()
    assert App(backend).session_backend is backend
    assert App(session_backend=backend).session_backend is backend


def test_a_backend_is_an_instance_of_one() -> None:
    with pytest.raises(TypeError, match="session_backend is a SessionBackend"):
        App("redis://")


async def test_apps_share_nothing() -> None:
    one, two = Site(), Site()
    one.middlewares.append(None)
    one.startup_handlers.append(None)
    one.mount("/x", two)
    assert (two.middlewares, two.startup_handlers, two._micropie.mounts) == ([], [], [])
    assert one.session_backend is not two.session_backend


async def test_an_app_that_forgets_its_base_class_works() -> None:
    class Forgets(App):
        max_body_size = 3

        def __init__(self) -> None:
            self.name = "x"

        async def index(self) -> str:
            return self.name

    assert (await http(Forgets(), "/")).text == "x"
    form = [("content-type", "application/x-www-form-urlencoded")]
    assert (await http(Forgets(), "/", "POST", headers=form, body=b"a=1")).text == "x"
    assert (await http(Forgets(), "/", "POST", headers=form, body=b"a=12")).status == 413
    with pytest.raises(AttributeError, match=r"'App' object has no attribute 'typo'$"):
        _ = App().typo


async def test_a_setting_may_wait_for_what_init_sets() -> None:
    class Waits(App):
        max_form_parts = "one"

        def __init__(self, hosts: list[str]) -> None:
            self.hosts = hosts
            super().__init__(max_form_parts=1)

        @functools.cached_property
        def allowed_hosts(self) -> list[str]:
            return self.hosts

        async def index(self) -> str:
            return "x"

    assert (await http(Waits(["testserver"]))).status == 200
    assert (await http(Waits(["other"]))).status == 400


async def test_an_app_may_have_a_base_class_that_takes_arguments() -> None:
    class Named:
        def __new__(cls, name: str) -> Any:
            named = super().__new__(cls)
            named.name = name
            return named

    class Both(App, Named):
        def __init__(self, name: str) -> None:
            super().__init__()

        async def index(self) -> str:
            return self.name

    assert (await http(Both("x"))).text == "x"


async def test_the_request_of_each_handler_is_its_own() -> None:
    class Outer(App):
        async def index(self) -> Any:
            before = self.request.path
            inner = await http(self, "/inner")
            return [before, inner.text, self.request.path, current_request.get() is self.request]

        async def inner(self) -> str:
            return self.request.path

    assert (await http(Outer(), "/")).json == ["/", "/inner", "/", True]


# --- redirects ------------------------------------------------------------------------------------------


class Redirects(App):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__()
        self.arguments, self.keywords = arguments, keywords

    async def index(self) -> Any:
        return self._redirect(*self.arguments, **self.keywords)


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/", "/"),
        ("relative?a=1&b=2#part", "relative?a=1&b=2#part"),
        ("https://user@example.com:8000/a;b,c!$'()*+=~", "https://user@example.com:8000/a;b,c!$'()*+=~"),
        ("http://[::1]/", "http://[::1]/"),
        ("/a b", "/a%20b"),
        ("/ä", "/%C3%A4"),
        ("/a%20b", "/a%20b"),
        ("/100%", "/100%"),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("/\r\nSet-Cookie: a=b", "/%0D%0ASet-Cookie:%20a=b"),
        ("/\0\t\x7f", "/%00%09%7F"),
        ("\u2028", "%E2%80%A8"),
        ("", ""),
    ],
)
async def test_a_location_is_encoded_safely_and_once(location: str, sent: str) -> None:
    answer = await http(Redirects(location), "/")
    assert (answer.status, answer.body, answer.headers["location"]) == (302, b"", sent)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_has_a_status_and_more_headers(status: int) -> None:
    answer = await http(Redirects("/", [("X-A", "b")], status), "/")
    assert (answer.status, answer.headers["x-a"], answer.headers["location"]) == (status, "b", "/")


@pytest.mark.parametrize("status", [200, 300, 304, 305, 404])
def test_another_status_is_no_redirect(status: int) -> None:
    with pytest.raises(ValueError, match=f"{status} isn't a redirect; use 301, 302, 303, 307 or 308"):
        App()._redirect("/", status=status)


# --- the package ----------------------------------------------------------------------------------------


def test_the_public_names_are_there() -> None:
    assert all(hasattr(micropie, name) for name in micropie.__all__)
    assert sorted(micropie.__all__) == sorted(set(micropie.__all__))


@pytest.mark.parametrize("name", [name for name in micropie.__all__ if callable(getattr(micropie, name))])
def test_where_public_names_are_from(name: str) -> None:
    """They say ``micropie``, from where they are imported; so does a pickle, and their annotations are still found."""
    public = getattr(micropie, name)
    if isinstance(public, (type, FunctionType)):
        assert public.__module__ == "micropie"
        assert pickle.loads(pickle.dumps(public)) is public
        assert isinstance(get_type_hints(public), dict)


# --- the names of an app are its user's --------------------------------------------------------------------

#: Every private name of the class or of an app, before they had a place of their own, that no page offered.
THEIRS = [
    *[
        "_allowed_hosts",
        "_allowed_origins",
        "_checked_session_id",
        "_class_setting",
        "_configure",
        "_http_routes",
    ],
    *[
        "_limits",
        "_mounts",
        "_new_session_id",
        "_open_websockets",
        "_pool",
        "_put_into_effect",
        "_session_cookie",
    ],
    *["_sessions", "_warn_of_plain_http", "_warned", "_websocket_routes"],
]


class Full(App):
    """Something of everything that an app keeps to itself."""

    allowed_hosts = ("testserver",)
    allowed_origins = ("https://a.example",)

    def plain(self) -> str:
        return "in a thread"

    async def login(self, name: str) -> Any:
        self.request.session["name"] = name
        self.request.regenerate_session()
        return self._redirect("/")

    async def count(self) -> str:
        return str(len(self.websockets))

    async def ws_talk(self, ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws:  # so it is open until the client leaves
            await ws.send(text)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("how", ["before", "after", "on the class", "as a method", "without init"])
async def test_a_private_name_is_the_users(name: str, how: str) -> None:
    """Whatever they give it, everything works, and it keeps what they gave it."""
    mine = object()

    def init(self: Any, **settings: Any) -> None:
        if how != "after":
            setattr(self, name, mine)
        if how != "without init":
            super(Mine, self).__init__(**settings)
        setattr(self, name, mine)

    def method(self: Any) -> object:
        return mine

    members = {"on the class": {name: mine}, "as a method": {name: method}}.get(how, {"__init__": init})
    Mine = type("Mine", (Full,), members)  # noqa: N806  # a class
    app = Mine()
    app.mount("/inner", Full())
    app.max_body_size = 100
    async with TestClient(app) as client:
        assert (await client.get("/plain")).text == "in a thread"
        assert (await client.get("/inner/plain")).text == "in a thread"
        assert (await client.post("/login", data={"name": "x" * 200})).status_code == 413
        assert (await client.post("/login", data={"name": "Bob"})).status_code == 302
        assert client.cookies["session_id"]
        assert (await client.get("/plain", headers={"Host": "other.example"})).status_code == 400
        async with client.websocket("/talk", headers={"Origin": "https://a.example"}) as ws:
            await ws.send("hello")
            assert (await client.get("/count")).text == "1"
            assert await ws.receive() == "hello"
        async with client.websocket("/talk", headers={"Origin": "https://b.example"}) as ws:
            assert ws.response.status_code == 403
    kept = getattr(app, name)
    assert (kept() if how == "as a method" else kept) is mine


def test_an_app_keeps_one_private_name() -> None:
    """Beside those that are documented, and one that an example of 0.32 calls."""
    public = {"_error_page", "_redirect", "_render_template", "_parse_cookies"}
    names = {name for name in [*dir(App), *vars(App())] if name.startswith("_") and not name.startswith("__")}
    assert names - public == {"_micropie"}


# --- what is shown in a log --------------------------------------------------------------------------------


class Greeter(App):
    async def index(self) -> str:
        return ""

    @methods("POST")
    async def order(self) -> None: ...

    async def ws_talk(self) -> None: ...


def shown() -> list[Any]:
    """What can reach a log, and what of it must be shown."""

    class Both(HttpMiddleware, WebSocketMiddleware): ...

    app, outer = Greeter(), App()
    outer.mount("/greet", app)
    routes = app._micropie.http_routes
    return [
        (app, ": 3 routes>"),
        (outer, "App: 0 routes, 1 mounted>"),
        (outer._micropie.mounts, "Greeter: 3 routes>"),
        (Both(), ".Both>"),
        (routes.by_path["/"], "<Handler index: any method>"),
        (routes.by_path["/order"], "<Handler order: POST>"),
        (app._micropie.websocket_routes.by_path["/talk"], ": refuses, "),
        (Answer(200, "secret", [("Set-Cookie", "secret")]), "<Answer 200, 6 long>"),
        (Answer(200, iter(())), "<Answer 200, streamed>"),
        (app.session_backend, ".InMemorySessionBackend>"),
        (SessionView(app, {"secret": "secret"}), "<SessionView"),
        (Target.parse("app.py:site"), "Target(place='app.py', name='site')"),
        (HTTPError(404, "Gone"), "404"),
        (ConnectionClosed(1001, "bye"), "1001"),
        (Limits(gap=1, body=2, json=3, field=4, parts=5), "body=2"),
    ]


@pytest.mark.parametrize(
    ("thing", "words"), shown(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_reaches_a_log_says_what_it_is(thing: Any, words: str) -> None:
    """And tells no secret, nor an address that changes from run to run."""
    text = repr(thing)
    assert words in text
    assert " at 0x" not in text
    assert "secret" not in text
