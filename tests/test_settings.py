"""Every setting: what it can be, what it cannot, and where it can stand."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

import pytest

from micropie import App, WebSocket
from micropie.settings import CHECKS, MIB, SessionCookie, Settings, parse_origins, session_cookie
from tests.driver import handshake, http


def test_every_setting_has_a_default_a_type_and_a_check() -> None:
    assert set(CHECKS) == set(get_type_hints(Settings))
    assert all(name in vars(App) for name in CHECKS)


GOOD: list[tuple[str, Any]] = [
    ("body_timeout", 0.5),
    ("max_body_size", None),
    ("max_message_size", None),
    ("max_message_size", 1),
    ("session_timeout", 1),
    ("session_cookie", "sid"),
    ("session_cookie", {}),
    ("session_cookie", {"name": "sid", "path": "/", "domain": "example.com", "samesite": "strict"}),
    ("session_cookie", {"samesite": "none"}),
    ("session_cookie", {"samesite": "none", "partitioned": True}),
    ("session_cookie", {"name": "__Host-sid", "path": "/"}),
    ("session_cookie_secure", None),
    ("session_cookie_secure", True),
    ("session_cookie_secure", False),
    ("session_id_factory", str),
    ("session_id_validator", None),
    ("session_id_validator", str),
    ("allowed_origins", []),
    ("allowed_origins", ("https://a.example", "*")),
    ("allowed_hosts", {"a.example"}),
    ("sync_workers", 1),
    ("debug", True),
]

BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("body_timeout", 0, ValueError, "body_timeout must be above 0, not 0"),
    ("body_timeout", "5", TypeError, "body_timeout is a number of seconds or None, not '5'"),
    ("max_body_size", "16M", TypeError, "max_body_size is a whole number, not '16M'"),
    ("max_message_size", 0, ValueError, "max_message_size must be above 0, not 0"),
    ("max_message_size", -1, ValueError, "above 0, not -1"),
    ("max_message_size", "1", TypeError, "max_message_size is a whole number, not '1'"),
    ("max_message_size", 1.5, TypeError, "a whole number, not 1.5"),
    ("max_message_size", True, TypeError, "a whole number, not True"),
    ("session_timeout", 0, ValueError, "session_timeout must be above 0"),
    ("session_timeout", None, TypeError, "session_timeout is a whole number, not None"),
    ("session_cookie", None, TypeError, "session_cookie is a name or a dict of name, path, domain, samesite"),
    ("session_cookie", {"secure": True}, TypeError, "a dict of name, path, domain, samesite"),
    ("session_cookie", {"path": 5}, TypeError, "a dict of name, path, domain, samesite"),
    (
        "session_cookie",
        {"partitioned": "yes"},
        TypeError,
        "a dict of name, path, domain, samesite, partitioned",
    ),
    ("session_cookie", {"name": True}, TypeError, "a dict of name, path, domain, samesite, partitioned"),
    ("session_cookie", {"name": "__Host-sid", "path": "/app"}, ValueError, "only with path='/'"),
    ("session_cookie", {"name": "__Host-sid", "domain": "a.example"}, ValueError, "and without a domain"),
    ("session_cookie", "", ValueError, "not a cookie name"),
    ("session_cookie", "a b", ValueError, "not a cookie name"),
    ("session_cookie", {"path": "/;"}, ValueError, "the path of the cookie session_id"),
    ("session_cookie", {"samesite": "Lax"}, ValueError, "samesite is 'lax', 'strict' or 'none'"),
    ("session_cookie_secure", 1, TypeError, "session_cookie_secure is True or False, not 1"),
    ("session_id_factory", None, TypeError, "session_id_factory is a function, not None"),
    ("session_id_factory", "id", TypeError, "is a function, not 'id'"),
    ("session_id_validator", "id", TypeError, "session_id_validator is a function, not 'id'"),
    ("allowed_origins", "https://a.example", TypeError, "allowed_origins is a list of str"),
    ("allowed_origins", None, TypeError, "allowed_origins is a list of str, not None"),
    ("allowed_origins", [1], TypeError, "allowed_origins is a list of str"),
    ("allowed_origins", ["a.example"], ValueError, "an origin looks like"),
    ("allowed_origins", iter(["https://a.example"]), TypeError, "allowed_origins is a list of str"),
    ("allowed_hosts", "a.example", TypeError, "allowed_hosts is a list of str, not 'a.example'"),
    ("allowed_hosts", None, TypeError, "allowed_hosts is a list of str"),
    ("sync_workers", 0, ValueError, "sync_workers must be above 0"),
    ("sync_workers", None, TypeError, "sync_workers is a whole number"),
    ("debug", 1, TypeError, "debug is True or False, not 1"),
    ("debug", None, TypeError, "debug is True or False"),
]


def app_class(name: str, value: Any) -> type[App]:
    """A class that states the setting as an attribute."""
    return type("Site", (App,), {name: staticmethod(value) if callable(value) else value})


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_setting_is_an_argument_or_a_class_attribute(name: str, value: Any) -> None:
    assert getattr(App(**{name: value}), name) == value
    assert getattr(app_class(name, value)(), name) == value


@pytest.mark.parametrize(("name", "value", "error", "words"), BAD)
def test_a_wrong_setting_is_told_at_once(name: str, value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        App(**{name: value})
    assert words in str(raised.value)
    with pytest.raises(error):
        app_class(name, value)()


@pytest.mark.parametrize(("name", "value", "error", "words"), BAD)
async def test_a_wrong_setting_is_told_though_init_is_not_called(
    name: str, value: Any, error: type[Exception], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An ``__init__()`` that forgets ours takes nothing from the error: neither at the startup nor at a request."""
    if name not in vars(App):
        return  # no class has it
    sent: list[Any] = []
    messages = [{"type": "lifespan.startup"}]

    async def receive() -> Any:
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    app = forgetful(name, value)()
    await app({"type": "lifespan", "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert (await http(app)).status == 500
    shown = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert len(shown) == 2
    assert all(words in text for text in shown)


def forgetful(name: str, value: Any) -> type[App]:
    def init(self: Any) -> None:
        self.unpaid = 5

    stated = staticmethod(value) if callable(value) else value
    return type("Forgetful", (App,), {"__init__": init, name: stated})


async def test_a_setting_that_needs_what_init_sets_later() -> None:
    class Forgetful(App):
        def __init__(self) -> None:
            self.largest = 5

        @property
        def max_body_size(self) -> int:  # type: ignore[override]  # a property in place of a value
            return self.largest

        @max_body_size.setter
        def max_body_size(self, value: int) -> None: ...

        async def index(self) -> str:
            return f"{len(await self.request.body())}"

    app = Forgetful()
    assert (await http(app, "/", "POST", body=b"12345")).text == "5"
    assert (await http(app, "/", "POST", body=b"123456")).status == 413


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_setting_can_be_assigned_later(name: str, value: Any) -> None:
    app = App()
    setattr(app, name, value)
    assert getattr(app, name) == value


@pytest.mark.parametrize(("name", "value", "error", "words"), BAD)
def test_what_is_assigned_later_is_checked_too(
    name: str, value: Any, error: type[Exception], words: str
) -> None:
    app = App()
    before = getattr(app, name)
    with pytest.raises(error) as raised:
        setattr(app, name, value)
    assert words in str(raised.value)
    assert getattr(app, name) is before


class Shop(App):
    async def index(self) -> str:
        self.request.session["seen"] = True
        return ""

    async def raw(self) -> bytes:
        return await self.request.body()

    async def form(self, a: str) -> str:
        return a

    async def fails(self) -> str:
        raise RuntimeError("oven")

    async def ws_chat(self, ws: WebSocket) -> None:
        await ws.accept()


FORM = [("Content-Type", "application/x-www-form-urlencoded")]
JSON = [("Content-Type", "application/json")]


@pytest.mark.parametrize(
    ("name", "value", "target", "headers", "body", "statuses"),
    [
        ("max_body_size", 3, "/raw", [], b"pies", (200, 413)),
        ("max_body_size", None, "/raw", [], b"x" * (16 * MIB + 1), (413, 200)),
        ("max_json_size", 9, "/form", JSON, b'{"a": "b"}', (200, 413)),
        ("max_form_field_size", 1, "/form", FORM, b"a=bc", (200, 413)),
        ("max_form_parts", 1, "/form", FORM, b"a=b&c=d", (200, 413)),
        ("allowed_hosts", ["Example.com"], "/", [("Host", "example.com")], b"", (200, 200)),
        ("allowed_hosts", ["Example.com"], "/", [("Host", "example.org")], b"", (200, 400)),
    ],
)
async def test_a_setting_that_is_assigned_later_counts_from_the_next_request_on(
    name: str, value: Any, target: str, headers: list[tuple[str, str]], body: bytes, statuses: tuple[int, int]
) -> None:
    app = Shop()
    before = await http(app, target, "POST", headers=headers, body=body)
    setattr(app, name, value)
    after = await http(app, target, "POST", headers=headers, body=body)
    assert (before.status, after.status) == statuses


async def test_what_is_assigned_later_counts_for_cookies_errors_and_sockets() -> None:
    app = Shop()
    app.session_cookie = {"name": "sid", "path": "/shop"}
    [cookie] = (await http(app)).cookies
    assert re.fullmatch(r"sid=\S+; Path=/shop; .+", cookie)
    app.debug = True
    assert "RuntimeError: oven" in (await http(app, "/fails")).text
    foreign = [("Host", "shop.example"), ("Origin", "https://www.example")]
    assert (await handshake(app, "/chat", headers=foreign)).refusal == 403
    app.allowed_origins = ["HTTPS://www.example/"]
    assert (await handshake(app, "/chat", headers=foreign)).refusal is None


def test_what_is_assigned_before_the_constructor_is_called() -> None:
    class Small(App):
        def __init__(self) -> None:
            self.max_body_size = 5
            self.allowed_hosts = ["example.com"]
            super().__init__(max_json_size=4)

    app = Small()
    assert (app.max_body_size, app.max_json_size, app.allowed_hosts) == (5, 4, ["example.com"])


def test_an_argument_comes_before_the_class() -> None:
    assert app_class("sync_workers", 2)(sync_workers=3).sync_workers == 3


def test_a_setting_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(TypeError) as raised:
        App(max_mesage_size=1, debugg=True)
    assert str(raised.value).startswith("App has no setting debugg, max_mesage_size; it has allowed_hosts, ")


def test_a_method_can_be_a_setting() -> None:
    class Site(App):
        def session_id_factory(self) -> str:
            return type(self).__name__

    app = Site(session_id_validator=None)
    assert app._micropie.new_session_id() == "Site"


@pytest.mark.parametrize(
    ("value", "cookie"),
    [
        ("sid", SessionCookie("sid", None, None, "lax")),
        ({}, SessionCookie("session_id", None, None, "lax")),
        ({"path": "/a", "samesite": "strict"}, SessionCookie("session_id", "/a", None, "strict")),
    ],
)
def test_a_cookie_setting_has_defaults(value: Any, cookie: SessionCookie) -> None:
    assert session_cookie(value) == cookie


def test_origins_are_put_into_the_form_that_browsers_send() -> None:
    assert parse_origins(["*", "HTTPS://A.example:443/", "http://a.example:8000"]) == {
        "*",
        "https://a.example",
        "http://a.example:8000",
    }
