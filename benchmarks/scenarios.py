"""What is measured: what a client sends, and the only answer that counts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

# Nothing here imports MicroPie: which one there is, if any, differs from process to process.
Message: TypeAlias = dict[str, Any]
ASGIApp: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
Headers: TypeAlias = list[tuple[bytes, bytes]]

HTTP_HEADERS: Headers = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"benchmark/1.0"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
]
WEBSOCKET_HEADERS: Headers = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"benchmark/1.0"),
    (b"origin", b"http://127.0.0.1:8000"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


@dataclass(frozen=True)
class Scenario:
    """One operation: a message and its answer, a whole WebSocket, or a request.

    Attributes:
        kind: ``message`` (one of many on an open WebSocket), ``session`` (a WebSocket from its handshake to its
            close, with one message and its answer), ``request`` (HTTP) or ``crowd`` (a message on each of many open
            WebSockets).
        message: What is sent on the WebSocket.
        pieces: The request's body as it comes; a request that has none is a GET.
        expected: The answer: text or bytes as they are, anything else as JSON.
        headers: What the request has beside the usual headers.
        app: Which app of the module; one that cannot do what is measured has no such app.
        login: A request that comes first; its cookie comes with each of those that are measured.
        adds: A header that each answer has to have.
        factory: The function of the app's module that makes the app, instead of its ``app``.
        size: What the factory is given, or how many are a crowd.
    """

    name: str
    title: str
    kind: Literal["message", "session", "request", "crowd"]
    path: str
    expected: object
    message: str | bytes = ""
    pieces: tuple[bytes, ...] = (b"",)
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    app: str = "app"
    login: str = ""
    adds: tuple[bytes, bytes] | None = None
    factory: str = ""
    size: int = 0

    def scope(self) -> Message:
        """A scope of its own for each operation, for an app may change it."""
        scope: Message = {
            "type": "http" if self.kind == "request" else "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "root_path": "",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "state": {},
            "extensions": {},
        }
        if self.kind == "request":
            return scope | {"method": self.method, "headers": [*HTTP_HEADERS, *self.headers]}
        return scope | {
            "scheme": "ws",
            "headers": [*WEBSOCKET_HEADERS, *self.headers],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }

    @property
    def method(self) -> str:
        return "POST" if any(self.pieces) else "GET"

    def before(self) -> Scenario:
        """The request that logs the visitor in."""
        return replace(self, path=self.login, expected="in", login="")

    def for_visitor(self, headers: Headers) -> Scenario:
        """The same for the visitor who has got a cookie in these headers."""
        [cookie] = [value.partition(b";")[0] for name, value in headers if name.lower() == b"set-cookie"]
        return replace(self, headers=(*self.headers, (b"cookie", cookie)), login="")

    def has_added(self, headers: Headers) -> bool:
        """Whether an answer has the header that it has to have."""
        return self.adds is None or self.adds in [(name.lower(), value) for name, value in headers]

    def is_answered_by(self, answer: str | bytes) -> bool:
        """Whether an answer is the expected one; two of JSON are equal however they are written."""
        if isinstance(self.expected, str) and isinstance(answer, bytes):
            return answer == self.expected.encode()
        if isinstance(self.expected, str | bytes):
            return answer == self.expected
        return bool(json.loads(answer) == self.expected)


def post(media_type: str, body: bytes, piece: int = 1 << 16) -> tuple[tuple[bytes, ...], Headers]:
    """A body in pieces as a server gives them, and the headers that tell of it."""
    pieces = tuple(body[start : start + piece] for start in range(0, len(body), piece))
    return pieces, [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]


def posted(name: str, title: str, path: str, media_type: str, body: bytes, expected: object) -> Scenario:
    pieces, headers = post(media_type, body)
    return Scenario(name, title, "request", path, expected, pieces=pieces, headers=tuple(headers))


#: What a middleware adds to each answer, after it has looked for a header that is not there.
ADDED = (b"x-request-id", b"1")
FORM = b"name=Alice&age=30"
JSON = b'{"name":"Alice","age":30}'

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("ws_session", "WebSocket: open, echo, close", "session", "/echo", "x" * 32, "x" * 32),
        Scenario("ws_message", "WebSocket: echo a text", "message", "/echo", "x" * 32, "x" * 32),
        Scenario("ws_bytes", "WebSocket: echo bytes", "message", "/echo_bytes", b"x" * 32, b"x" * 32),
        Scenario(
            "ws_params",
            "WebSocket with arguments",
            "session",
            "/hello/Alice",
            "Hello Alice!",
            "x" * 32,
            query=b"punct=!",
        ),
        Scenario("http_text", "HTTP: a text", "request", "/", "Hello, World!"),
        Scenario("http_json", "HTTP: JSON", "request", "/data", {"hello": "world", "n": 1}),
        Scenario(
            "http_params", "HTTP with arguments", "request", "/greet/Alice", "Hello Alice1", query=b"x=1"
        ),
        posted("http_form", "HTTP: a form", "/form", "application/x-www-form-urlencoded", FORM, "Alice:30"),
        posted("http_json_body", "HTTP: a JSON body", "/person", "application/json", JSON, "Alice:30"),
        Scenario(
            "http_hook",
            "HTTP with middleware",
            "request",
            "/greet/Alice",
            "Hello Alice1",
            query=b"x=1",
            app="hooked",
            adds=ADDED,
        ),
        Scenario(
            "ws_hook", "WebSocket with middleware", "session", "/echo", "x" * 32, "x" * 32, app="hooked"
        ),
        Scenario(
            "http_session",
            "HTTP with a session",
            "request",
            "/me",
            "Hello Alice",
            app="members",
            login="/login",
        ),
        Scenario("http_stream", "HTTP: a stream", "request", "/stream", "x" * 20_000),
    )
}


def a_message_of(size: int) -> Scenario:
    return Scenario("message_size", "", "message", "/echo", "x" * size, "x" * size)


def a_crowd_of(count: int) -> Scenario:
    return Scenario("connections", "", "crowd", "/echo", "x" * 32, "x" * 32, size=count)


def a_body_of(size: int) -> Scenario:
    return posted("body_size", "", "/body", "application/octet-stream", b"x" * size, str(size))


def one_of_routes(count: int) -> Scenario:
    """A request of the last of so many routes, in an app that has no others."""
    name = f"route{count - 1}"
    return Scenario("routes", "", "request", f"/{name}", name, factory="routes", size=count)


def a_query_of(count: int) -> Scenario:
    """So many arguments, each of which the handler names."""
    query = "&".join(f"p{number}={number}" for number in range(count))
    expected = ",".join(map(str, range(count)))
    return Scenario(
        "parameters", "", "request", "/", expected, query=query.encode(), factory="parameters", size=count
    )


def so_many_headers(count: int) -> Scenario:
    """So many headers beside the usual ones, of which the handler reads the last."""
    headers = tuple((b"x-header-%d" % number, b"%d" % number) for number in range(count))
    headers = (*headers[1:], (b"x-wanted", b"found"))
    return Scenario("headers", "", "request", "/header", "found", headers=headers)


#: How cost grows: what of, how it is made, and in which steps.
GROWTH: dict[str, tuple[str, Callable[[int], Scenario], tuple[int, ...]]] = {
    "message_size": ("Bytes in a message", a_message_of, (32, 256, 2048, 16384, 131072, 1048576)),
    "body_size": ("Bytes in a body", a_body_of, (1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22, 1 << 24)),
    "connections": ("Open connections", a_crowd_of, (1, 10, 100, 1000, 10000)),
    "routes": ("Routes", one_of_routes, (1, 3, 10, 30, 100, 300, 1000)),
    "parameters": ("Parameters", a_query_of, (1, 2, 5, 10, 20, 50)),
    "headers": ("Headers", so_many_headers, (1, 2, 5, 10, 20, 50)),
}


def find(name: str, size: int | None = None) -> Scenario:
    """The scenario of that name, of a size if it is one of those that grow."""
    return SCENARIOS[name] if size is None else GROWTH[name][1](size)
