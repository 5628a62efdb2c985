"""Which pages may open a WebSocket, and under which names the app answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, WebSocket, WebSocketMiddleware
from micropie.request.origins import check_origin, is_loopback, parse_origin, same_host
from tests.driver import handshake, http


class Site(App):
    async def index(self) -> str:
        return "index"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()


OWN = [
    ("https://example.com", "example.com"),
    ("https://example.com", "example.com:443"),
    ("https://example.com:443", "example.com"),
    ("http://example.com", "example.com:80"),
    # The scheme is not compared, but it says which port is meant.
    ("http://example.com", "example.com"),
    ("https://example.com:8000", "example.com:8000"),
    ("http://example.com:8000", "example.com:8000"),
    ("HTTPS://EXAMPLE.com", "Example.COM"),
    ("https://xn--bcher-kva.example", "XN--BCHER-KVA.example"),
    ("http://192.0.2.1:8000", "192.0.2.1:8000"),
    ("http://[2001:db8::1]", "[2001:db8::1]"),
    ("http://[2001:DB8::1]:8000", "[2001:db8::1]:8000"),
    ("http://localhost:8000", "127.0.0.1:8000"),
    ("http://127.0.0.1:8000", "localhost:8000"),
    ("http://[::1]:8000", "localhost:8000"),
    ("http://localhost:8000", "[::1]:8000"),
    ("http://localhost", "127.0.0.1"),
    ("http://localhost", "[::1]:80"),
    ("https://127.0.0.1", "localhost:443"),
    ("https://example.com.", "example.com."),
    ("https://example.com:80", "example.com:80"),
]

FOREIGN = [
    ("https://evil.example", "example.com"),
    ("https://example.com.evil.example", "example.com"),
    ("https://evil-example.com", "example.com"),
    ("https://sub.example.com", "example.com"),
    ("https://example.com", "sub.example.com"),
    ("https://example.com:8000", "example.com"),
    ("https://example.com", "example.com:8000"),
    ("https://example.com", "example.com:80"),
    ("http://example.com", "example.com:443"),
    ("http://localhost:3000", "localhost:8000"),
    ("http://localhost:3000", "127.0.0.1:8000"),
    ("http://localhost", "example.com"),
    ("http://localhost", "[::1]:8000"),
    ("https://localhost", "127.0.0.1:80"),
    ("http://127.0.0.2:8000", "127.0.0.1:8000"),
    ("http://0.0.0.0:8000", "127.0.0.1:8000"),
    ("http://localhost.:8000", "127.0.0.1:8000"),
    ("http://[::ffff:127.0.0.1]:8000", "127.0.0.1:8000"),
    # A browser writes an address in one way only.
    ("http://[::1]:8000", "[0:0:0:0:0:0:0:1]:8000"),
    ("https://example.com.", "example.com"),
    ("https://example.com", "example.com."),
    ("http://localhost.evil.example:8000", "localhost:8000"),
    ("http://127.0.0.1.evil.example:8000", "127.0.0.1:8000"),
    ("http://[2001:db8::2]", "[2001:db8::1]"),
    ("http://2001:db8::1", "[2001:db8::1]"),
    ("null", "null"),
    ("null", "example.com"),
    ("", "example.com"),
    ("example.com", "example.com"),
    ("//example.com", "example.com"),
    ("https://", ""),
    ("https://example.com", ""),
    ("https://example.com/", "example.com"),
    ("https://example.com/path", "example.com"),
    ("https://example.com?", "example.com"),
    ("https://example.com#", "example.com"),
    ("https://example.com@evil.example", "example.com"),
    ("https://evil.example@example.com", "example.com"),
    ("https://evil.example:443@example.com", "example.com"),
    ("https://example.com:", "example.com"),
    ("https://example.com:port", "example.com"),
    ("https://example.com:0000443", "example.com"),
    ("https://example.com https://evil.example", "example.com"),
    ("https://example.com, https://evil.example", "example.com"),
    ("https://example.com\t", "example.com"),
    ("chrome-extension://example.com", "example.com"),
    ("wss://example.com", "example.com"),
    ("blob:https://example.com", "example.com"),
    ("file://", "example.com"),
    ("https://example.com", "evil.example@example.com"),
    ("https://example.com", "example.com/"),
    ("https://example.com", "example.com:443:443"),
]


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [*((*pair, True) for pair in OWN), *((*pair, False) for pair in FOREIGN)],
)
# Behind a proxy that ends TLS, the server that has not been told so says "ws".
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_only_the_apps_own_pages_open_its_websockets(
    origin: str, host: str, scheme: str, own: bool
) -> None:
    client = await handshake(Site(), headers=[("Origin", origin), ("Host", host)], scheme=scheme)
    assert (client.accepted, client.refusal) == ((True, None) if own else (False, 403))


@pytest.mark.parametrize(
    ("origin", "forwarded", "own"),
    [
        ("https://public.example", ["public.example"], True),
        ("https://public.example", ["Public.Example:443"], True),
        ("https://public.example", ["public.example, internal"], True),
        ("https://public.example", ["internal,public.example"], True),
        ("https://public.example", ["internal", "public.example"], True),
        ("http://public.example", ["public.example:80"], True),
        ("https://[2001:db8::1]", ["[2001:db8::1]:443"], True),
        ("http://localhost:3000", ["127.0.0.1:3000"], True),
        ("http://internal:8000", ["public.example"], True),
        ("https://public.example", ["evil.example"], False),
        ("https://public.example", ["public.example:8000"], False),
        ("https://public.example", ["public.example:80"], False),
        ("http://public.example", ["public.example:443"], False),
        ("https://public.example", ["https://public.example"], False),
        ("https://public.example", ["user@public.example"], False),
        ("https://public.example", [""], False),
        ("https://public.example", [], False),
        ("http://localhost:3000", ["127.0.0.1:8000"], False),
        ("null", ["null"], False),
    ],
)
async def test_a_proxy_can_name_the_public_host(origin: str, forwarded: list[str], own: bool) -> None:
    fields = [("X-Forwarded-Host", host) for host in forwarded]
    headers = [("Origin", origin), ("Host", "internal:8000"), *fields]
    assert (await handshake(Site(), headers=headers, scheme="ws")).accepted is own


async def test_the_refusal_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    await handshake(Site(), headers=[("Origin", "https://evil.example\x1b[2J"), ("Host", "example.com")])
    (record,) = caplog.records
    line = record.getMessage()
    assert (record.name, record.levelname) == ("micropie", "WARNING")
    assert all(
        word in line for word in (r"'https://evil.example\x1b[2j'", "'example.com'", "allowed_origins")
    )


@pytest.mark.parametrize("first", ["https://evil.example", "null", ""])
async def test_a_second_origin_does_not_help(first: str) -> None:
    headers = [("Origin", first), ("Origin", "https://example.com"), ("Host", "example.com")]
    assert (await handshake(Site(), headers=headers)).refusal == 403


async def test_a_program_that_is_no_browser_sends_no_origin() -> None:
    assert (await handshake(Site())).accepted


async def test_origins_do_not_matter_to_http() -> None:
    assert (await http(Site(), headers=[("Origin", "https://evil.example")])).text == "index"


@pytest.mark.parametrize(
    ("allowed", "origin", "accepted"),
    [
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "HTTPS://A.example", True),
        (["https://A.example/"], "https://a.example", True),
        (["https://a.example:443"], "https://a.example", True),
        (["http://a.example:80"], "http://a.example", True),
        (["http://a.example:8000"], "http://a.example:8000", True),
        (["chrome-extension://abc"], "chrome-extension://abc", True),
        (["https://a.example"], "http://a.example", False),
        (["https://a.example"], "https://a.example:8000", False),
        (["https://a.example"], "https://b.a.example", False),
        (["https://a.example", "https://b.example"], "https://b.example", True),
        (["https://a.example"], "https://testserver", True),
        (["https://a.example"], "null", False),
        (["https://a.example"], "", False),
        (["http://[2001:DB8::1]:80"], "http://[2001:db8::1]", True),
        # An allowed origin is one origin, though the app's own may go by several names of this machine.
        (["http://localhost:3000"], "http://localhost:3000", True),
        (["http://localhost:3000"], "http://127.0.0.1:3000", False),
        (["*"], "https://anything.example", True),
        (["*"], "null", True),
        (["*"], "not an origin", True),
        # Both sides are brought into one form.
        (["https://a.example"], "https://a.example:443", True),
        (["https://a.example:443"], "https://A.example:443", True),
        (["http://a.example"], "http://a.example:80", True),
        (["https://a.example"], "https://a.example:80", False),
        (["http://[2001:db8:0:0::1]"], "http://[2001:db8::1]", True),
        (["http://[2001:db8::1]"], "http://[2001:DB8:0::1]:80", True),
        (["https://a.example"], "https://a.example.", False),
        (["https://a.example."], "https://a.example.", True),
        (["https://xn--bcher-kva.example"], "https://XN--bcher-kva.example", True),
        # Pages from no host.
        (["null"], "null", True),
        (["file://"], "null", False),
        (["file://"], "file://", True),
        (["file:///"], "file://", True),
        (["null"], "file://", False),
        (["null"], "https://a.example", False),
        # Patterns.
        (["chrome-extension://*"], "chrome-extension://gighmmpiobklfepjocnamgkkbiglidom", True),
        (["moz-extension://*"], "moz-extension://8f0a5c6e-4e0f-4f8c-9d1b-1b2c3d4e5f60", True),
        (["chrome-extension://*"], "moz-extension://abc", False),
        (["chrome-extension://*"], "https://abc", False),
        (["chrome-extension://*"], "null", False),
        (["capacitor://localhost"], "capacitor://localhost", True),
        (["https://*.a.example"], "https://b.a.example", True),
        (["https://*.a.example"], "https://c.b.A.example:443", True),
        (["https://*.a.example"], "https://a.example", False),
        (["https://*.a.example"], "https://.a.example", False),
        (["https://*.a.example"], "https://ba.example", False),
        (["https://*.a.example"], "https://b.a.example.evil.example", False),
        (["https://*.a.example"], "http://b.a.example", False),
        (["https://*.a.example"], "https://b.a.example:8000", False),
        (["https://*.a.example:8000"], "https://b.a.example:8000", True),
        (["https://*.a.example"], "https://*.a.example", False),
        (["https://*.a.example"], "https://evil.example#.a.example", False),
        (["https://*.a.example"], "https://evil.example/.a.example", False),
        (["https://*.a.example"], "https://evil.example\x01.a.example", False),
        (["http://*.localhost:3000"], "http://tenant.localhost:3000", True),
        (["http://localhost:*"], "http://localhost:5173", True),
        (["http://localhost:*"], "http://localhost", True),
        (["http://localhost:*"], "http://127.0.0.1:5173", False),
        (["https://*"], "https://anything.example", True),
        (["https://*"], "https://anything.example:8000", False),
        (["https://*:*"], "https://anything.example:8000", True),
        (["https://*"], "http://anything.example", False),
        (["https://*"], "null", False),
    ],
)
async def test_other_origins_can_be_allowed(allowed: list[str], origin: str, accepted: bool) -> None:
    app = Site(allowed_origins=allowed)
    assert (await handshake(app, headers=[("Origin", origin)])).accepted is accepted


@pytest.mark.parametrize(
    "value",
    [
        "a.example",
        "https://a.example/path",
        "https://*.example",
        "https://*example.com",
        "https://a.*.example.com",
        "https://*.*.example.com",
        "https://**",
        "*://example.com",
        "*.example.com",
        "https://*.com",
        "",
        "https://a.example:",
        "https://a.example:0443",
        "https://a.example:port",
        "https://user@a.example",
        "https://a.example, https://b.example",
        " https://a.example",
        "http://[:::1]",
        "file",
        "https://a.example/*",
        "https://",
        "https://a b",
        "https://bücher.example",
    ],
)
def test_a_setting_that_no_browser_sends_is_an_error(value: str) -> None:
    with pytest.raises(ValueError, match=r"an origin looks like 'https://example\.com'"):
        parse_origin(value)


REFUSED = [
    "null",
    "file://",
    "https://evil.example",
    "HTTP://Evil.example:8000",
    "https://evil.example.",
    "https://evil.example:443",
    "chrome-extension://gighmmpiobklfepjocnamgkkbiglidom",
    "moz-extension://8f0a5c6e-4e0f-4f8c-9d1b-1b2c3d4e5f60",
    "capacitor://localhost",
    "app://obsidian.md",
    "http://[2001:DB8:0::1]:80",
    "http://[:::]",
    "https://evil.example/",
    "https://*.example.com",
    "content://",
    "https://",
    "://",
    "evil.example",
    "",
    "https://b\xfccher.example",
]


@pytest.mark.parametrize("origin", REFUSED)
async def test_the_logs_advice_can_be_followed(origin: str, caplog: pytest.LogCaptureFixture) -> None:
    """What the log says to add to allowed_origins lets the page in, literally and as a pattern."""
    headers = [("Origin", origin)]
    assert (await handshake(Site(), headers=headers)).refusal == 403
    (line,) = (record.getMessage() for record in caplog.records)
    advised = re.findall(r"'([a-z0-9.+-]+://\*|null)'", line.partition(";")[2])
    if " add it" in line:
        advised.append(origin)
    else:
        assert advised or "no browser sends such an origin" in line
    for value in advised:
        assert (await handshake(Site(allowed_origins=[value]), headers=headers)).accepted


@pytest.mark.parametrize(
    ("origin", "forwarded"),
    [
        (b"https://" + b"a" * 32_000, [b"b.example"] * 16_000),
        (b"https://" + b"a" * 32_000, [b"b.example," * 16_000]),
        (b"https://" + b"a" * 500, [b"b.example"] * 16_000),
        (b"https://a.example", [b"b.example," * 16_000]),
        (b"https://a.example", [b"b" * 64_000]),
    ],
)
async def test_what_is_compared_is_bounded(
    origin: bytes, forwarded: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long an Origin is and however many hosts a request names: a few of them are compared, and logged."""
    compared: list[tuple[str, str]] = []

    def noting(one: str, other: str) -> bool:
        compared.append((one, other))
        return same_host(one, other)

    monkeypatch.setattr("micropie.request.origins.same_host", noting)
    scope = {
        "headers": [(b"host", b"h.example"), (b"origin", origin)]
        + [(b"x-forwarded-host", value) for value in forwarded]
    }
    with pytest.raises(HTTPError):
        check_origin(scope, ())
    assert len(compared) <= 20 * 20
    assert all(len(one) <= 512 for one, _ in compared)
    assert len(caplog.text) < 1500


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com",
        "example.com/",
        "example.com:",
        "example.com:port",
        "a b",
        "",
        "::1",
        "*.",
        "*.*.example.com",
        "a.*",
        "user@example.com",
        "b\xfccher.example",
    ],
)
def test_a_host_that_no_request_names_is_an_error(value: str) -> None:
    """With it the app would answer nobody."""
    with pytest.raises(ValueError, match=r"a host looks like 'example\.com'"):
        Site(allowed_hosts=[value])


@pytest.mark.parametrize(
    ("allowed", "host", "served"),
    [
        ([], "anything", True),
        (["example.com:443"], "example.com", True),  # a browser leaves it out
        (["example.com:80"], "example.com", True),
        (["example.com:443"], "example.com:443", True),
        (["example.com:443"], "example.com:8443", False),
        (["*.example.com:8000"], "a.example.com:8000", True),
        (["*.example.com:8000"], "a.example.com", False),
        (["[::1]:8000"], "[::1]:8000", True),
        (["[::1]:8000"], "[::1]", False),
        (["example.com"], "example.com", True),
        (["Example.COM"], "example.com", True),
        (["example.com"], "EXAMPLE.com:8000", True),
        (["example.com:8000"], "example.com:8000", True),
        (["example.com:8000"], "example.com", False),
        (["example.com"], "evil.example", False),
        (["example.com"], "sub.example.com", False),
        (["example.com"], "example.com.", False),
        (["*.example.com"], "sub.example.com", True),
        (["*.example.com"], "a.b.example.com:8000", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "evilexample.com", False),
        (["a.example", "b.example"], "b.example", True),
        (["[::1]"], "[::1]:8000", True),
        (["*"], "anything", True),
        (["example.com"], "", False),
        (["*"], "", False),
        (["*"], "a@b", False),
        (["example.com"], "example.com@evil.example", False),
        (["example.com"], "example.com/", False),
    ],
)
async def test_allowed_hosts_guard_the_name(allowed: list[str], host: str, served: bool) -> None:
    app = Site(allowed_hosts=allowed)
    assert (await http(app, headers=[("Host", host)])).status == (200 if served else 400)
    client = await handshake(app, headers=[("Host", host)])
    assert client.refusal == (None if served else 400)


@pytest.mark.parametrize(
    ("headers", "served"),
    [
        ([("Host", "example.com"), ("X-Forwarded-Host", "evil.example")], True),
        ([("Host", "evil.example"), ("X-Forwarded-Host", "example.com")], False),
        ([("Host", "example.com"), ("Host", "evil.example")], False),
        ([("Host", "example.com"), ("Host", "example.com")], False),
    ],
)
async def test_one_host_counts_and_it_is_not_the_forwarded_one(
    headers: list[tuple[str, str]], served: bool
) -> None:
    app = Site(allowed_hosts=["example.com"])
    assert (await http(app, headers=headers)).status == (200 if served else 400)
    assert (await handshake(app, headers=headers)).refusal == (None if served else 400)


@pytest.mark.parametrize(("allowed", "refusal"), [([], None), (["example.com"], 400)])
async def test_a_page_whose_name_was_made_to_lead_here_is_an_own_one_where_names_do_not_matter(
    allowed: list[str], refusal: int | None
) -> None:
    headers = [("Origin", "http://evil.example"), ("Host", "evil.example")]
    assert (await handshake(Site(allowed_hosts=allowed), headers=headers)).refusal == refusal


class Hooks(HttpMiddleware, WebSocketMiddleware):
    """Note that they were called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def on_headers(self, request: Any) -> None:
        self.called.append("on_headers")

    async def before_request(self, request: Any) -> None:
        self.called.append("before_request")

    async def after_request(self, *arguments: Any) -> None:
        self.called.append("after_request")

    async def before_websocket(self, request: Any) -> None:
        self.called.append("before_websocket")

    async def after_websocket(self, request: Any) -> None:
        self.called.append("after_websocket")


@pytest.mark.parametrize(
    ("host", "origin", "status", "refusal"),
    [
        ("example.com", "https://example.com", 200, None),
        ("example.com", "https://evil.example", 200, 403),
        ("evil.example", "https://evil.example", 400, 400),
    ],
)
async def test_what_is_refused_reaches_no_hook(
    host: str, origin: str, status: int, refusal: int | None
) -> None:
    app, hooks = Site(allowed_hosts=["example.com"]), Hooks()
    app.middlewares.append(hooks)
    app.ws_middlewares.append(hooks)
    headers = [("Host", host), ("Origin", origin)]
    assert (await http(app, headers=headers)).status == status
    assert hooks.called == ([] if status == 400 else ["on_headers", "before_request", "after_request"])
    hooks.called.clear()
    assert (await handshake(app, headers=headers)).refusal == refusal
    assert hooks.called == ([] if refusal else ["before_websocket", "after_websocket"])


async def test_a_request_without_a_host_is_not_served_where_names_matter() -> None:
    answers: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        answers.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await Site(allowed_hosts=["example.com"])(scope, receive, send)
    assert answers[0]["status"] == 400


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("::1", True),
        ("192.0.2.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback_names(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_two_hosts_that_cannot_be_read_are_not_the_same() -> None:
    assert not same_host("", "")
    assert not same_host("null", "null")
