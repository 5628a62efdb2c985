"""The app as a whole: what it is given, what no URL reaches, and the small helpers of handlers."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import micropie
from micropie import App, InMemorySessionBackend, WebSocket, current_request
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

    with pytest.raises(TypeError, match=rf"Site\.{name}: an app uses this name itself"):
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
    with pytest.raises(ValueError, match=f"{status} is no redirect; use 301, 302, 303, 307 or 308"):
        App()._redirect("/", status=status)


# --- the package ----------------------------------------------------------------------------------------


def test_the_public_names_are_there() -> None:
    assert all(hasattr(micropie, name) for name in micropie.__all__)
    assert sorted(micropie.__all__) == sorted(set(micropie.__all__))
