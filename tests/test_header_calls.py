"""Header fields in every place that takes them: what is sent of odd ones, and what becomes of impossible ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, WebSocket, WebSocketMiddleware
from tests.driver import handshake, http


class Takes(App):
    """Sends its header fields in the way that the path names."""

    def __init__(self, fields: Any) -> None:
        super().__init__()
        self.fields = fields
        self.middlewares.append(Hooks(fields))
        self.ws_middlewares.append(Hooks(fields))
        self.mount("/mounted", Mounted(fields))

    async def text(self) -> Any:
        return 200, "text", self.fields

    async def json(self) -> Any:
        return 200, {}, self.fields

    async def empty(self) -> Any:
        return 204, None, self.fields

    async def error(self) -> Any:
        raise HTTPError(409, "no", self.fields)

    async def page(self) -> Any:
        raise HTTPError(410)

    async def redirect(self) -> Any:
        return self._redirect("/", self.fields)

    async def stream(self) -> Any:
        return 200, self._pieces(), self.fields

    async def _pieces(self) -> AsyncIterator[str]:
        yield "piece"

    async def early(self) -> None: ...

    async def first(self) -> None: ...

    async def after(self) -> str:
        return "text"

    async def appended(self) -> str:
        return "text"

    async def ws_accept(self, ws: WebSocket) -> None:
        await ws.accept(headers=self.fields)

    async def ws_reject(self, ws: WebSocket) -> None:
        await ws.reject(409, "no", self.fields)

    async def ws_error(self, ws: WebSocket) -> None:
        raise HTTPError(409, "no", self.fields)

    async def ws_hook(self, ws: WebSocket) -> None: ...

    async def _error_page(self, status: int, detail: str) -> Any:
        return (status, "gone", self.fields) if status == 410 else None


class Hooks(HttpMiddleware, WebSocketMiddleware):
    def __init__(self, fields: Any) -> None:
        self.fields = fields

    async def on_headers(self, request: Any) -> Any:
        return {"headers": self.fields} if request.path == "/first" else None

    async def before_request(self, request: Any) -> Any:
        return {"headers": self.fields} if request.path == "/early" else None

    async def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        if request.path == "/appended" and status_code == 200:
            extra_headers += self.fields.items() if isinstance(self.fields, dict) else self.fields
        if request.path == "/mounted/changed" and status_code == 200:
            return {"headers": self.fields}
        return {"headers": self.fields} if request.path == "/after" and status_code == 200 else None

    async def before_websocket(self, request: Any) -> Any:
        return {"status_code": 409, "headers": self.fields} if request.path == "/hook" else None


class Mounted:
    """A raw ASGI app, which has to encode what it sends."""

    def __init__(self, fields: Any) -> None:
        self.fields = list(fields.items()) if isinstance(fields, dict) else fields

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        fields = (
            [] if scope["path"] == "/mounted/changed" else [tuple(map(raw, field)) for field in self.fields]
        )
        if scope["path"] == "/mounted/accept":
            await send({"type": "websocket.accept", "headers": fields})
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        await send({"type": f"{kind}.start", "status": 200 if kind[0] == "h" else 409, "headers": fields})
        await send({"type": f"{kind}.body", "body": b"child"})


def raw(part: Any) -> Any:
    return part.encode("latin-1") if isinstance(part, str) else part


#: The places that make an HTTP answer, the handshakes that make one, and those that open a WebSocket.
ANSWERS = {
    "text": 200,
    "json": 200,
    "empty": 204,
    "error": 409,
    "page": 410,
    "redirect": 302,
    "stream": 200,
    "early": 200,
    "first": 200,
    "after": 200,
    "appended": 200,
    "mounted/answer": 200,
    "mounted/changed": 200,
}
REFUSALS = ["reject", "error", "hook", "mounted/refuse"]
ACCEPTS = ["accept", "mounted/accept"]
PLACES = [
    *(f"http {place}" for place in ANSWERS),
    *(f"websocket {place}" for place in REFUSALS),
    *(f"accept {place}" for place in ACCEPTS),
]
RAW = ("http mounted/answer", "websocket mounted/refuse", "accept mounted/accept")


async def send(place: str, fields: Any) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Send fields from a place: the status of the answer, 101 for an open WebSocket, and its header fields."""
    kind, _, path = place.partition(" ")
    if kind == "http":
        answer = await http(Takes(fields), f"/{path}")
        assert answer.complete
        return answer.status, answer.raw_headers
    client = await handshake(Takes(fields), f"/{path}")
    return client.refusal or 101, client.sent[0]["headers"]


def status_of(place: str) -> int:
    kind, _, path = place.partition(" ")
    return ANSWERS[path] if kind == "http" else 409 if kind == "websocket" else 101


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("plain", b"plain"),
        ("trail ", b"trail"),
        (" lead", b"lead"),
        ("\t both \t", b"both"),
        ("a \t b", b"a \t b"),
        ("", b""),
        (" \t ", b""),
        ("\xe4\xa0", b"\xe4\xa0"),  # no space in ASCII, so a part of the value
    ],
)
async def test_edges(place: str, value: str, sent: bytes) -> None:
    """Spaces and tabs around a value are no part of it, wherever it comes from; no answer is lost over them."""
    for fields in ([("X-V", value)], {"X-V": value}, (("X-V", value),)):
        status, headers = await send(place, fields)
        assert status == status_of(place)
        assert [value for name, value in headers if name == b"x-v"] == [sent]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("Connection", "close"),
        ("Keep-Alive", "timeout=5"),
        ("Upgrade", "h2c"),
        ("Proxy-Connection", "close"),
        ("Proxy-Authenticate", "Basic"),
        ("TE", "trailers"),
        ("Trailer", "Expires"),
        ("Content-Length", "abc"),
        ("Content-Length", "-1"),
        ("Content-Length", "+5"),
        ("Content-Length", "1_0"),
        ("Content-Length", "\xb2"),  # a digit for Python
        ("Content-Length", "5, 5"),
        ("Content-Length", ""),
    ],
)
async def test_framing(place: str, name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """What frames a message is the server's: it is left out, or refused where a handler opens a WebSocket with it."""
    status, headers = await send(place, [(name, value), ("X-V", "stays")])
    sent = [value for field, value in headers if field == name.lower().encode()]
    if place == "accept accept":
        assert (status, f"the server sends {name.lower()} itself" in caplog.text) == (500, True)
        return
    assert (status, [value for field, value in headers if field == b"x-v"]) == (status_of(place), [b"stays"])
    assert all(value.isdigit() for value in sent)
    # A body that is known tells its own length.
    assert f"the header {name.lower()} is left out" in caplog.text or name == "Content-Length"


def is_for_raw(fields: Any) -> bool:
    pairs = fields.items() if isinstance(fields, dict) else fields if isinstance(fields, list) else ()
    try:
        encoded = [tuple(map(raw, pair)) for pair in pairs if isinstance(pair, tuple) and len(pair) == 2]
    except UnicodeEncodeError:
        return False
    return bool(encoded) and encoded != [(b"X-V", b"a")]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([("X-V", 5)], "X-V"),
        ({"X-V": 5}, "X-V"),
        ([("X-V", None)], "X-V"),
        ([("X-V", ["a"])], "X-V"),
        ([("X-V", b"a")], "X-V"),
        ([("X-V", "a\r\nSet-Cookie: a=b")], "X-V"),
        ([("X-V", "a\n")], "X-V"),
        ([("X-V", "\0")], "X-V"),
        ([("X-V", "€")], "X-V"),
        ([("X-V", "\ud800")], "X-V"),
        ([("X V", "a")], "X V"),
        ([("X-V ", "a")], "X-V "),
        ([("X-V:", "a")], "X-V:"),
        ([("", "a")], "header"),
        ([("X-V\n", "a")], "X-V"),
        ([(5, "a")], "5"),
        ([(b"X-V", "a")], "X-V"),
        ([("X-V", "a", "b")], "X-V"),
        ([("X-V",)], "X-V"),
        (["X-V: a"], "X-V: a"),
        ([5], "5"),
        ("X-V: a", "X-V: a"),
        (5, "5"),
    ],
)
async def test_impossible_fields(
    place: str, fields: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A field that cannot be sent is a 500, or the error's own page without it, and the log names the field."""
    if place in RAW and not is_for_raw(fields):
        pytest.skip("another app could not have encoded that, or it is what ASGI wants")
    if place == "http appended" and not isinstance(fields, (list, dict)):
        pytest.skip("nothing that could be appended")
    status, headers = await send(place, fields)
    pairs = isinstance(fields, dict) or (
        isinstance(fields, list) and [isinstance(field, tuple) and len(field) for field in fields] == [2]
    )
    path = place.rpartition(" ")[2]
    assert status == (410 if path == "page" else 409 if path == "error" and pairs else 500)
    assert not any(name in (b"x-v", b"set-cookie") for name, _ in headers)
    assert words in caplog.text


@pytest.mark.parametrize(
    ("length", "pieces", "complete"),
    [
        ("4", ["ab", "cd"], True),
        (" 4", [b"abcd"], True),
        ("0", [], True),
        ("3", ["ab", "cd"], False),
        ("1", ["ab"], False),
        ("0", ["a"], False),
        ("5", ["ab", "cd"], False),
        ("1", [], False),
        ("abc", ["ab"], True),
    ],
)
@pytest.mark.parametrize("awaited", [True, False])
async def test_the_length_of_a_stream(
    length: str, pieces: list[Any], complete: bool, awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that is longer or shorter than it says is an error; what is sent is never more than it says."""

    class Streams(App):
        async def index(self) -> Any:
            return 200, self._async() if awaited else iter(pieces), [("Content-Length", length)]

        async def _async(self) -> AsyncIterator[Any]:
            for piece in pieces:
                yield piece

    answer = await http(Streams())  # whose judge counts
    assert (answer.status, answer.complete) == (200, complete)
    assert ("its Content-Length is" in caplog.text) is not complete
    head = await http(Streams(), method="HEAD")
    assert (head.status, head.complete, head.body) == (200, True, b"")


class Edits(HttpMiddleware):
    """Changes what its function says, and notes what it was shown."""

    def __init__(self, change: Any) -> None:
        self.change = change
        self.seen: Any = None

    async def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        self.seen = dict(extra_headers)
        return self.change(response_body, extra_headers)


HTML, JSON = "text/html; charset=utf-8", "application/json"


@pytest.mark.parametrize(
    ("change", "sent"),
    [
        (lambda body, headers: None, JSON),
        (lambda body, headers: {"body": body.replace("1", "2")}, JSON),
        (lambda body, headers: {"body": body.encode(), "headers": headers}, JSON),
        (lambda body, headers: {"headers": {"X": "y"}}, JSON),
        (lambda body, headers: {"headers": [("X", "y"), *headers]}, JSON),
        (lambda body, headers: headers.append(("content-type", "text/csv")), "text/csv"),
        (lambda body, headers: {"headers": {"Content-Type": HTML}, "body": "<p>"}, HTML),
        (lambda body, headers: {"body": [1], "headers": headers}, JSON),
        (lambda body, headers: {"status_code": 204, "headers": headers}, None),
    ],
)
async def test_a_hook_sees_the_type(change: Any, sent: str | None) -> None:
    """Each hook is shown the type that the answer has so far, and it goes out once."""

    class Site(App):
        async def index(self) -> Any:
            return {"a": 1}

    app, inner, outer = Site(), Edits(change), Edits(lambda body, headers: None)
    app.middlewares += [outer, inner]
    answer = await http(app)
    assert [value for name, value in answer.raw_headers if name == b"content-type"] == (
        [sent.encode()] if sent else []
    )
    assert inner.seen == {"Content-Type": JSON}
    assert {name.lower(): value for name, value in outer.seen.items()}.get("content-type") == sent


async def test_a_page_that_becomes_data_has_the_datas_type() -> None:
    """The type that a hook was shown belongs to the body of before."""

    class Site(App):
        async def index(self) -> Any:
            return "<p>"

    app = Site()
    app.middlewares.append(Edits(lambda body, headers: {"body": {"a": 1}, "headers": headers}))
    answer = await http(app)
    assert (answer.headers["content-type"], answer.json) == (JSON, {"a": 1})
