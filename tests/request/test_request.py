"""What a handler can ask of its request, and the flags of the session's cookie."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import (
    App,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    WebSocket,
    WebSocketRequest,
    current_request,
)
from micropie.request.request import lazy
from tests.driver import Answer, handshake, http

LOCAL = {"scheme": "http", "client": ("127.0.0.1", 50000)}


class Site(App):
    """``ask`` is called with the request, and what it returns is the answer."""

    def __init__(self, ask: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.ask = ask

    async def index(self, *segments: str) -> Any:
        return {"": self.ask(self.request)}

    async def login(self) -> str:
        self.request.session["user"] = "alice"
        return "logged in"

    async def ws_index(self, ws: WebSocket) -> None:
        assert self.request is ws
        assert isinstance(ws, WebSocketRequest)
        await ws.accept()
        await ws.send_json(self.ask(self.request))

    async def ws_login(self, ws: WebSocket) -> None:
        self.request.session["user"] = "alice"
        await ws.accept()


def twice(request: Request) -> Any:
    name = request.query("name")
    request.query_params["name"] = ["changed"]
    return [name, request.query("name")]


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda request: request.path, "/a/b"),
        (lambda request: request.path_params, ["a", "b"]),
        (lambda request: request.query_params, {"name": ["1", "2"], "empty": [""]}),
        (lambda request: request.query("name"), "1"),
        (lambda request: request.query("empty", "default"), ""),
        (lambda request: request.query("other"), None),
        (lambda request: request.query("other", "default"), "default"),
        (twice, ["1", "changed"]),
        (lambda request: request.headers["x-name"], "ä, b"),
        (lambda request: request.headers.get("other"), None),
        (lambda request: request.cookies, {"one": "1", "two": "2"}),
        (lambda request: request.scope["path"], "/a/b"),
        (lambda request: request.session, {}),
        (lambda request: request is current_request.get(), True),
    ],
)
async def test_what_a_request_knows(ask: Any, answer: Any) -> None:
    fields = [("X-Name", "ä"), ("Cookie", "one=1"), ("X-Name", "b"), ("Cookie", "two=2")]
    got = await http(Site(ask), "/a/b?name=1&name=2&empty=", headers=fields)
    assert got.json[""] == answer


#: What a hook of 0.32 sets to choose who answers.
CHOICES = {"_route_handler", "_ws_route_handler", "_subapp", "_subapp_path", "_subapp_mount_path"}


def test_names_of_a_request() -> None:
    """But for the documented names and those with ``x_``, all belong to the app's hooks and handlers."""
    names = {name for name in dir(Request) if not name.startswith("__")}
    kept = {name for name in names if name.startswith("x_")}
    assert kept > {"x_app", "x_view"}
    assert {name for name in names - kept if name.startswith("_")} == CHOICES


async def test_the_method_is_empty_for_a_websocket() -> None:
    assert (await http(Site(lambda request: request.method), "/", "PATCH")).json[""] == "PATCH"
    assert (await handshake(Site(lambda request: request.method))).messages == ['""']


async def test_what_nobody_looks_at_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[Request] = []

    class Site(App):
        async def index(self) -> str:
            requests.append(self.request)
            return ""

    await http(Site(), "/?a=1", headers=[("Cookie", "other=1")])
    assert not {"headers", "query_params", "cookies"} & vars(requests[0]).keys()


def test_a_lazy_attribute_is_computed_once_and_can_be_set() -> None:
    computed = []

    class Sample:
        @lazy
        def value(self) -> int:
            """What it is."""
            computed.append(self)
            return 1

    sample = Sample()
    assert (sample.value, sample.value) == (1, 1)
    assert computed == [sample]
    sample.value = 2
    assert sample.value == 2
    assert isinstance(Sample.value, lazy)
    assert Sample.value.__doc__ == "What it is."


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        (b"", {}),
        (b"a", {"a": [""]}),
        (b"a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        (b"a=x+y%20z", {"a": ["x y z"]}),
        (b"a=%C3%A4", {"a": ["ä"]}),
        ("a=ä".encode(), {"a": ["ä"]}),
        (b"a=1;b=2", {"a": ["1;b=2"]}),
        (b"a%5B%5D=1", {"a[]": ["1"]}),
        (b"&".join([b"a"] * 1000), {"a": [""] * 1000}),
    ],
)
async def test_a_query_string_is_parsed(raw: bytes, values: dict[str, list[str]]) -> None:
    answer = await http(Site(lambda request: request.query_params), query_string=raw)
    assert answer.json == {"": values}


async def test_more_than_a_thousand_parameters_are_refused() -> None:
    target = "/?" + "&".join(["a"] * 1001)
    answer = await http(Site(lambda request: request.query("a")), target)
    assert (answer.status, answer.text) == (400, "400 Bad Request: more than 1000 query parameters")


@pytest.mark.parametrize("raw", [b"a=%FF", b"a=\xff", b"%FF=a", b"a=1&b=%ED%A0%80"])
async def test_a_query_string_that_is_not_utf_8(raw: bytes) -> None:
    """It is refused, for a WebSocket too, once somebody looks."""
    answer = await http(Site(lambda request: request.query("a")), query_string=raw)
    assert (answer.status, answer.text) == (400, "400 Bad Request: the query string is not UTF-8")
    client = await handshake(Site(lambda request: request.query("a")), query_string=raw)  # after accept()
    assert client.close is not None
    assert client.close[0] == 1008
    assert (await http(Site(lambda request: request.path), query_string=raw)).status == 200


async def test_a_session_gets_a_new_id_only_with_an_http_answer(caplog: pytest.LogCaptureFixture) -> None:
    client = await handshake(Site(lambda request: request.regenerate_session()))
    assert client.close == (1011, "")
    assert "a session gets a new id only with an HTTP answer" in caplog.text


# --- the session's cookie -------------------------------------------------------------------------------


async def login(app: App | None = None, host: str = "testserver", **scope: Any) -> Answer:
    headers = [("Host", host), *scope.pop("headers", [])]
    return await http(app or Site(), "/login", headers=headers, **scope)


async def test_the_session_cookie() -> None:
    [cookie] = (await login()).cookies
    value, *attributes = cookie.split("; ")
    assert value.startswith("session_id=")
    assert len(value) > len("session_id=") + 40
    assert attributes == ["Path=/", "Max-Age=28800", "HttpOnly", "Secure", "SameSite=Lax"]


@pytest.mark.parametrize(
    ("settings", "root_path", "expected"),
    [
        ({"session_cookie": "sid"}, "", "sid=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax"),
        ({"session_timeout": 60}, "", "session_id=*; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax"),
        ({}, "/app", "session_id=*; Path=/app; Max-Age=28800; HttpOnly; Secure; SameSite=Lax"),
        ({}, "/my äpp", "session_id=*; Path=/my%20%C3%A4pp; Max-Age=28800; HttpOnly; Secure; SameSite=Lax"),
        (
            {"session_cookie": {"path": "/x", "domain": "example.com", "samesite": "strict"}},
            "/app",
            "session_id=*; Path=/x; Max-Age=28800; Domain=example.com; HttpOnly; Secure; SameSite=Strict",
        ),
        # Browsers take a cookie of such a name only with Secure, the path / and no domain.
        (
            {"session_cookie": "__Host-session"},
            "",
            "__Host-session=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            {"session_cookie": {"name": "__Host-session", "path": "/"}},
            "/shop",
            "__Host-session=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            {"session_cookie": "__host-session"},
            "/shop",
            "__host-session=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            {"session_cookie": {"name": "sid", "samesite": "none", "partitioned": True}},
            "",
            "sid=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=None; Partitioned",
        ),
        (
            {"session_cookie": {"name": "__Host-session", "samesite": "strict"}},
            "/shop",
            "__Host-session=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=Strict",
        ),
        (
            {"session_cookie": {"name": "sid", "samesite": "none"}},
            "",
            "sid=*; Path=/; Max-Age=28800; HttpOnly; Secure; SameSite=None",
        ),
    ],
)
async def test_settings_of_the_session_cookie(
    settings: dict[str, Any], root_path: str, expected: str
) -> None:
    [cookie] = (await login(Site(**settings), root_path=root_path)).cookies
    start, end = expected.split("*")
    assert cookie.startswith(start)
    assert cookie.endswith(end)


@pytest.mark.parametrize("forced", [None, True, False])
@pytest.mark.parametrize(
    ("scheme", "client", "host", "fields", "secure", "warned"),
    [
        ("https", "192.0.2.1", "example.com", {}, True, False),
        ("https", "127.0.0.1", "localhost", {}, True, False),
        # Development: a browser and a server on one machine.
        ("http", "127.0.0.1", "localhost:8000", {}, False, False),
        ("http", "127.0.0.1", "LocalHost", {}, False, False),
        ("http", "127.0.0.1", "127.0.0.1:8000", {}, False, False),
        ("http", "::1", "[::1]:8000", {}, False, False),
        ("http", "::1", "[::1]", {}, False, False),
        # Everything else on plain HTTP.
        ("http", "192.0.2.1", "localhost:8000", {}, True, True),
        ("http", "127.0.0.1", "example.com", {}, True, True),
        ("http", "127.0.0.1", "localhost.example.com", {}, True, True),
        ("http", None, "localhost", {}, True, True),
        ("http", "127.0.0.1", "", {}, True, True),
        # A proxy on the same machine.
        ("http", "127.0.0.1", "localhost", {"X-Forwarded-For": "192.0.2.1"}, True, True),
        ("http", "127.0.0.1", "localhost", {"X-Forwarded-Proto": "http"}, True, True),
        ("http", "127.0.0.1", "localhost", {"X-Forwarded-Proto": "https"}, True, False),
        ("http", "127.0.0.1", "localhost", {"Forwarded": "proto=http"}, True, True),
        ("http", "127.0.0.1", "localhost", {"Via": "1.1 proxy"}, True, True),
    ],
)
async def test_the_session_cookie_is_secure_but_in_development(
    scheme: str,
    client: str | None,
    host: str,
    fields: dict[str, str],
    secure: bool,
    warned: bool,
    forced: bool | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Site(session_cookie_secure=forced)
    peer = client and (client, 50000)
    for _ in range(2):
        answer = await login(app, host, scheme=scheme, client=peer, headers=fields.items())
        [cookie] = answer.cookies
        assert ("; Secure" in cookie) is (secure if forced is None else forced)
    assert len(caplog.records) == (1 if warned else 0)
    assert all("went over plain HTTP" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("host", "scope", "secure"),
    [
        ("localhost:8000", LOCAL, False),
        ("localhost:8000", LOCAL | {"scheme": "https"}, True),
        ("localhost:8000", LOCAL | {"client": ("192.0.2.1", 50000)}, True),
        ("example.com", LOCAL, True),
    ],
)
@pytest.mark.parametrize("session_cookie_secure", [None, True, False])
async def test_a_cookie_of_the_apps_own_is_secure_but_in_development(
    host: str, scope: dict[str, Any], secure: bool, session_cookie_secure: bool | None
) -> None:
    """Whatever the setting says, which is about the session's."""
    app = Site(lambda request: request.set_cookie("own", "1"), session_cookie_secure=session_cookie_secure)
    [cookie] = (await http(app, headers=[("Host", host)], **scope)).cookies
    assert cookie == f"own=1; Path=/; HttpOnly;{' Secure;' if secure else ''} SameSite=Lax"


async def test_a_websocket_sets_the_same_cookie() -> None:
    for scheme, secure in (("wss", True), ("ws", False)):
        client = await handshake(
            Site(), "/login", scheme=scheme, client=("127.0.0.1", 1), headers=[("Host", "localhost")]
        )
        [cookie] = [value.decode() for name, value in client.sent[0]["headers"] if name == b"set-cookie"]
        assert ("; Secure" in cookie) is secure
        assert "; HttpOnly" in cookie


@pytest.mark.parametrize(
    ("ask", "cookie"),
    [
        (
            lambda request: request.set_cookie("own", "1", samesite="none"),
            "own=1; Path=/; HttpOnly; Secure; SameSite=None",
        ),
        (
            lambda request: request.set_cookie("__Host-own", "1"),
            "__Host-own=1; Path=/; HttpOnly; Secure; SameSite=Lax",
        ),
        (
            lambda request: request.delete_cookie("__Secure-own"),
            "__Secure-own=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax",
        ),
    ],
    ids=["for other sites", "__Host-", "__Secure-"],
)
async def test_a_cookie_that_browsers_take_only_if_it_is_secure_is_so_in_development_too(
    ask: Any, cookie: str
) -> None:
    assert (await http(Site(ask), headers=[("Host", "localhost:8000")], **LOCAL)).cookies == [cookie]


PLAIN = {"scheme": "http", "client": ("192.0.2.1", 1)}


@pytest.mark.parametrize(
    ("scope", "arguments", "attributes"),
    [
        ({}, {}, "HttpOnly; Secure; SameSite=Lax"),
        # Browsers drop what is Secure and comes over plain HTTP, a deletion too.
        (PLAIN, {}, "HttpOnly; SameSite=Lax"),
        (PLAIN, {"secure": True}, "HttpOnly; Secure; SameSite=Lax"),
        ({}, {"secure": False}, "HttpOnly; SameSite=Lax"),
        ({}, {"secure": False, "httponly": False, "samesite": "strict"}, "SameSite=Strict"),
        (PLAIN, {"samesite": "none"}, "HttpOnly; Secure; SameSite=None"),
        (PLAIN, {"partitioned": True}, "HttpOnly; Secure; SameSite=Lax; Partitioned"),
        (LOCAL, {"samesite": "none", "partitioned": True}, "HttpOnly; Secure; SameSite=None; Partitioned"),
    ],
)
async def test_a_deletion_says_what_browsers_need(scope: Any, arguments: Any, attributes: str) -> None:
    """A deletion is Secure where browsers insist on it, and says what the cookie said."""

    def ask(request: Any) -> None:
        request.delete_cookie("own", **arguments)

    assert (await http(Site(ask), **scope)).cookies == [f"own=; Path=/; Max-Age=0; {attributes}"]


@pytest.mark.parametrize("method", ["set_cookie", "delete_cookie"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("__Host-id", {"path": "/app"}),
        ("__Host-id", {"domain": "a.example"}),
        ("__Secure-id", {"secure": False}),
    ],
)
async def test_a_cookie_that_browsers_drop_is_an_error(method: str, name: str, arguments: Any) -> None:
    def ask(request: Any) -> None:
        value = ["1"] if method == "set_cookie" else []
        with pytest.raises(ValueError, match=f"browsers accept {name} only"):
            getattr(request, method)(name, *value, **arguments)

    assert (await http(Site(ask))).cookies == []


@pytest.mark.parametrize("byte", [b"\xa0", b"\x85", b"\x1f"])
async def test_a_planted_cookie_is_never_the_hosts_own(byte: bytes) -> None:
    """Chromium stores and sends a cookie whose name begins with such a byte, from any subdomain."""
    app = Site(lambda request: request.cookies["__Host-id"])
    sent = [("Cookie", byte.decode("latin-1") + "__Host-id=EVIL; __Host-id=GOOD")]
    assert (await http(app, headers=sent)).json[""] == "GOOD"


@pytest.mark.parametrize("setting", [{"samesite": "none"}, "__Host-session"], ids=str)
async def test_a_session_cookie_that_browsers_take_only_if_it_is_secure_is_so_in_development_too(
    setting: Any,
) -> None:
    app = Site(session_cookie=setting)
    [cookie] = (await login(app, host="localhost", **LOCAL)).cookies
    assert "; Secure; " in cookie


async def test_the_warning_names_the_host_once(caplog: pytest.LogCaptureFixture) -> None:
    app = Site()
    for host in ("one\x85.example", "two.example"):
        await login(app, host=host, scheme="http")
    [line] = caplog.messages
    assert r"'one\x85.example'" in line


async def test_no_cookie_without_a_session() -> None:
    assert (await http(Site(lambda request: request.session), "/")).cookies == []


@pytest.mark.parametrize(
    "cookies",
    [
        ["session_id={}"],
        ["other=1; session_id={}"],
        ["other=1", "session_id={}"],
        ["not_session_id=1", "session_id={}"],
        ['session_id="{}"'],
        ["session_id={}; session_id=" + "x" * 20],
    ],
)
async def test_the_session_is_found_among_other_cookies(cookies: list[str]) -> None:
    app = Site(lambda request: request.session)
    session_id = (await login(app)).cookies[0].split(";")[0].partition("=")[2]
    fields = [("Cookie", cookie.format(session_id)) for cookie in cookies]
    assert (await http(app, "/", headers=fields)).json[""] == {"user": "alice"}


@pytest.mark.parametrize("value", ["", "short", "x" * 129, "../../etc/passwd-----", "ä" * 20, "a b" * 10])
async def test_an_id_that_cannot_be_one_is_never_looked_up(value: str) -> None:
    class Backend(InMemorySessionBackend):
        async def load(self, session_id: str) -> Any:
            raise AssertionError(session_id)

    app = Site(lambda request: request.session, session_backend=Backend())
    assert (await http(app, "/", headers=[("Cookie", f"session_id={value}")])).json[""] == {}


async def test_a_middleware_may_set_what_is_computed() -> None:
    class Sets(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.query_params = {"name": ["set"]}
            request.headers = {"x-name": "set too"}

        async def after_request(self, *arguments: Any) -> None:
            pass

    app = Site(lambda request: [request.query("name"), request.headers["x-name"]])
    app.middlewares.append(Sets())
    assert (await http(app, "/?name=sent")).json[""] == ["set", "set too"]


@pytest.mark.parametrize("data", [None, [], "x"])
async def test_a_session_is_a_dict(data: Any) -> None:
    class Site(App):
        async def index(self) -> str:
            with pytest.raises(TypeError, match="logs out"):
                self.request.session = data
            return "ok"

    assert (await http(Site())).text == "ok"
