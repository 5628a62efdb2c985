"""1,190 calls of the public interface of MicroPie 0.29 to 0.32, and what comes of each.

It runs on any package that is called ``micropie``, with nothing but the ASGI messages in between::

    PYTHONPATH=... python tests/compat/calls.py

prints a JSON object, call by call.  ``seen-0.32.json`` is what version 0.32 printed; ``--check`` compares.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import micropie
from micropie import (
    App,
    ConnectionClosed,
    HttpMiddleware,
    InMemorySessionBackend,
    SessionBackend,
    WebSocketMiddleware,
)

#: What each call is known by, and what makes it.
CALLS: dict[str, Callable[[], Any]] = {}

KNOWN = "0f6d6f0e-6f4b-4b39-8f2c-0d0b6ab2a1c0"
STRANGE = "11111111-2222-4333-8444-555555555555"
FRESH = "22222222-2222-4333-8444-555555555555"
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


# --- the server's part -----------------------------------------------------------------------------------


def scope_of(kind: str, method: str, target: str, headers: Any, **more: Any) -> dict[str, Any]:
    path, _, query = target.partition("?")
    pairs = headers.items() if isinstance(headers, dict) else headers
    scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "https" if kind == "http" else "wss",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(b"host", b"example.com"), *((encoded(k).lower(), encoded(v)) for k, v in pairs)],
        "client": ("192.0.2.1", 1234),
        "server": ("example.com", 443),
        "extensions": {"websocket.http.response": {}},
    }
    if kind == "http":
        scope["method"] = method
    else:
        scope["subprotocols"] = []
    return scope | more


def words(text: str, between: str | None = None) -> list[str]:
    """A list that is easier to read."""
    return text.split(between)


def encoded(text: Any) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def arriving(messages: list[dict[str, Any]]) -> Callable[[], Any]:
    """A server's ``receive``: it hands out these messages, and then nothing more comes."""
    never = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not messages:
            await never.wait()
        return messages.pop(0)

    return receive


async def served(app: Any, scope: Any, receive: Any, send: Any, seconds: float = 5) -> str:
    """Call the app; "hangs" or "raises ..." if it does, else nothing."""
    try:
        async with asyncio.timeout(seconds):
            await app(scope, receive, send)
    except TimeoutError:
        return "hangs"
    except Exception as error:
        return f"raises {type(error).__name__}"
    return ""


async def http(
    app: Any,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Any = (),
    body: bytes | list[bytes] = b"",
    leave: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Status, header fields and body of one answer."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    incoming: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
        for number, piece in enumerate(pieces)
    ]
    if leave:
        incoming[-1] = {"type": "http.disconnect"}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    result: dict[str, Any] = {}
    trouble = await served(app, scope_of("http", method, target, headers, **more), arriving(incoming), send)
    if trouble:
        kind, _, name = trouble.partition(" ")
        result[kind] = name or True
    if sent:
        result["status"] = sent[0].get("status")
        fields = sorted([text(k).lower(), text(v)] for k, v in sent[0].get("headers", ()))
        result["headers"] = [[k, v] for k, v in fields if k != "content-length"]
        if method != "HEAD":  # servers drop what is sent
            result["body"] = shown(b"".join(message.get("body", b"") for message in sent[1:]))
    return result


async def ws(
    app: Any,
    target: str,
    *,
    headers: Any = (),
    messages: tuple[Any, ...] = (),
    code: int | None = 1001,
    cookies: bool = False,
    **more: Any,
) -> list[Any]:
    """What is sent to a client that sends some messages and leaves; cookies only if it is about them."""
    incoming: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    for message in messages:
        key = "text" if isinstance(message, str) else "bytes"
        incoming.append({"type": "websocket.receive", key: message})
    incoming.append({"type": "websocket.disconnect", "code": code})
    sent: list[Any] = []

    async def send(message: dict[str, Any]) -> None:
        one = {key: shown(value) if isinstance(value, bytes) else value for key, value in message.items()}
        if "headers" in one:
            fields = sorted([text(k).lower(), text(v)] for k, v in message["headers"])
            one["headers"] = [
                [k, v] for k, v in fields if k != "content-length" and (cookies or k != "set-cookie")
            ]
        sent.append(one)

    trouble = await served(app, scope_of("websocket", "", target, headers, **more), arriving(incoming), send)
    return [*sent, trouble] if trouble else sent


async def lifespan(app: Any, *kinds: str) -> list[Any]:
    """The types of the messages that answer a server's startup and shutdown."""
    sent: list[Any] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    incoming = [{"type": f"lifespan.{kind}"} for kind in kinds]
    trouble = await served(app, scope, arriving(incoming), send, seconds=2)
    return [*sent, trouble] if trouble else sent


def text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def shown(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return repr(value)


def outcome(action: Callable[[], Any]) -> Any:
    """What a plain call returns or raises, in a form that JSON can hold."""
    try:
        return written(action())
    except Exception as error:
        return f"raises {type(error).__name__}"


def written(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [written(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return f"<{type(value).__name__}>"


# --- an app with a bit of everything ---------------------------------------------------------------------


class Site(App):
    """Handlers as the documentation of 0.32 shows them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"session_id_factory": lambda: FRESH} | settings))

    async def index(self) -> str:
        return "index"

    async def hello(self) -> str:
        return "hello"

    async def greet(self, name: Any = "Guest") -> str:
        return f"<{name}>"

    async def need(self, name: Any) -> str:
        return f"<{name}>"

    async def pair(self, one: Any, two: Any = "2") -> str:
        return f"{one!r} {two!r}"

    async def many(self, *names: Any) -> str:
        return f"{names!r}"

    async def named(self, **names: Any) -> Any:
        return {key: names[key] for key in sorted(names)}

    async def mixed(self, one: Any, *rest: Any, key: Any = "k", **names: Any) -> Any:
        return [one, list(rest), key, {k: names[k] for k in sorted(names)}]

    async def only(self, *, key: Any = "k") -> str:
        return f"{key!r}"

    async def queried(self) -> Any:
        request = self.request
        return [request.query("a"), request.query("a", "no"), dict(request.query_params)]

    async def formed(self) -> Any:
        request = self.request
        return [request.form("a"), request.form("a", "no"), dict(request.body_params)]

    async def jsoned(self) -> Any:
        request = self.request
        return [request.json(), request.json("a"), request.json("a", "no")]

    async def told(self, *names: Any) -> Any:
        request = self.request
        return [request.method, request.path_params, request.scope["path"], sorted(request.files)]

    async def head(self, name: Any = "x-a") -> Any:
        return [self.request.headers.get(name)]

    def plain(self, name: Any = "Guest") -> str:
        return f"plain {name}"

    async def fails(self) -> str:
        raise KeyError("secret")

    def plain_fails(self) -> str:
        raise KeyError("secret")

    async def _private(self) -> str:
        return "private"

    @staticmethod
    async def static(name: Any = "s") -> str:
        return f"static {name}"

    @classmethod
    async def classy(cls, name: Any = "c") -> str:
        return f"class {name}"

    @property
    def prop(self) -> str:
        return "prop"

    data = "data"
    call = len

    async def session_read(self) -> Any:
        return dict(self.request.session)

    async def session_write(self, value: Any = "v") -> str:
        self.request.session["value"] = value
        return "written"

    async def session_clear(self) -> str:
        self.request.session.clear()
        return "cleared"

    async def session_replace(self) -> str:
        self.request.session = {"other": 1}
        return "replaced"

    async def session_out(self) -> str:
        self.request.session = {}
        return "out"

    async def session_fresh(self) -> str:
        self.request.session["fresh"] = True
        self.request.regenerate_session()
        return "fresh"

    async def session_fails(self) -> str:
        self.request.session["lost"] = True
        raise KeyError("secret")

    async def whoami(self, user: Any = "nobody") -> str:
        return f"{user}"

    async def upload(self, file: Any) -> Any:
        content = b""
        while (piece := await file["content"].get()) is not None:
            content += piece
        return [file["filename"], file["content_type"], content.decode("latin-1")]

    async def field(self, name: Any) -> str:
        return f"{name!r}"

    async def field_or(self, name: Any = "default") -> str:
        return f"{name!r}"


# --- how calls are listed --------------------------------------------------------------------------------


def call(name: str, make: Callable[..., Any], /, *arguments: Any, **options: Any) -> None:
    """List a call: its name, and what to call with which arguments when it is made."""
    assert name not in CALLS, name
    CALLS[name] = partial(make, *arguments, **options)


def ask(app: Callable[[], Any], target: str = "/", **options: Any) -> Any:
    """Ask a new app for one page."""
    return http(app(), target, **options)


def page(group: str, target: str, app: Callable[[], Any] = Site, **options: Any) -> None:
    """List a request, named by its method, its target and everything else that is particular of it."""
    name = f"{group}: {options.get('method', 'GET')} {target}"
    name += "".join(f" {key}={value!r}" for key, value in options.items() if key != "method")
    call(name, ask, app, target, **options)


def post(group: str, target: str, headers: Any, body: Any, app: Any = Site, **options: Any) -> None:
    page(group, target, app, method="POST", headers=headers, body=body, **options)


def calling(name: str, action: Callable[..., Any], *arguments: Any) -> None:
    """List a plain call: what it returns or raises counts."""
    call(name, outcome, partial(action, *arguments))


def returning(result: Callable[[], Any]) -> App:
    class One(App):
        async def index(self) -> Any:
            return result()

    return One()


# --- routes ----------------------------------------------------------------------------------------------

for path in words(
    "/ /index /index/ /index/a /hello /hello/ /hello/a /hello/a/b /HELLO //hello ///hello /hello// "
    "/greet /greet/ /greet/Alice /greet/Alice/ /greet/Alice/more /greet//Alice /greet/a%2Fb "
    "/greet/%41 /greet/a%20b /greet/a+b /greet/%C3%A9 /greet/%FF /greet/%25 /greet/.. /greet/. /need "
    "/need/x /pair /pair/1 /pair/1/2 /pair/1/2/3 /many /many/ /many/a /many/a/b /many/a//b /many/a/b/ "
    "/named /named/a /mixed /mixed/a /mixed/a/b/c /only /only/a /_private /__init__ /__class__ "
    "/static /static/x /classy /classy/x /prop /data /call /none /none/such /ws_echo /request /env "
    "/mount /websockets /middlewares /session_backend /_redirect /%5Fprivate /plain /plain/x /fails "
    "/plain_fails /hello;a=1 /hello%3Fa /hello%00"
):
    page("route", path)


class Fallback(App):
    async def index(self, *names: Any) -> str:
        return f"index {names!r}"

    async def known(self) -> str:
        return "known"


class FallbackOne(App):
    async def index(self, name: Any = "none") -> str:
        return f"index {name!r}"


class FallbackKey(App):
    async def index(self, *, name: Any = "none") -> str:
        return f"index {name!r}"


for path in words("/ /a /a/b /index /index/a /known /known/a /_a /ws_a /a/ //a /a?name=q"):
    page("fallback", path, Fallback)
    page("fallback to one", path, FallbackOne)
for path in words("/ /a /?name=q"):
    page("fallback by key", path, FallbackKey)

for method in [*words("GET HEAD POST PUT PATCH DELETE OPTIONS TRACE BREW get"), ""]:
    page("method", "/hello", method=method)
    page("method told", "/told/a", method=method)

for path, more in (
    ("/hello", {"root_path": "/shop"}),
    ("/hello", {"raw_path": None}),
    ("/hello", {"raw_path": b"/other"}),
    ("/hello", {"root_path": "/hello"}),
    ("/shop/hello", {"root_path": "/shop"}),
    ("/shop/greet/x", {"root_path": "/shop/"}),
):
    page("scope", path, **more)


class Instance(App):
    def __init__(self) -> None:
        super().__init__()
        self.made = lambda: "made"
        self.value = 3

    class Nested:
        def __init__(self) -> None: ...

        def __str__(self) -> str:
            return "nested"


for path in words("/made /value /Nested"):
    page("instance", path, Instance)


# --- arguments -------------------------------------------------------------------------------------------

for query in [
    "",
    *words(
        "name= name=x name=x&name=y name name=a%20b name=a+b name=%C3%A9 name=%FF name=a&other=b other=b "
        "name=a=b name=a;b &&name=x name=%2B NAME=x name=%00 n%61me=x name=1 a=1&a=2&a= a= a =x key=q "
        "one=1&two=2 self=x names=x kwargs=x args=x ws=x"
    ),
]:
    for handler in words("greet need named queried only mixed"):
        page("query", f"/{handler}?{query}")
for handler in words("greet/p pair/p mixed/p/q many/p"):
    page("query", f"/{handler}?name=x&one=1&two=2&key=3")

for body in [
    b"",
    *b"a=1 a=1&a=2 a= a name=x name= name=%C3%A9 name=%FF name=\xff name=a+b &a=1& a=1;b=2 one=1&two=2".split(),
]:
    for handler in words("formed need named"):
        post("form", f"/{handler}", FORM, body)
for method in words("GET PUT PATCH DELETE"):
    page("form", "/formed", method=method, headers=FORM, body=b"a=1")

for kind in (
    None,
    "text/plain",
    "application/x-www-form-urlencoded; charset=utf-8",
    "APPLICATION/X-WWW-FORM-URLENCODED",
    "application/json",
    "application/json; charset=utf-8",
    "application/ld+json",
    "text/json",
    "application/octet-stream",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "nonsense",
    "",
):
    for handler, body in (("formed", b"a=1"), ("jsoned", b'{"a":1}')):
        post("media type", f"/{handler}", {} if kind is None else {"content-type": kind}, body)
post("form", "/formed?a=q", FORM, b"a=1")
post("form", "/need?name=q", FORM, b"name=b")
post("form", "/formed", FORM, [b"a=", b"1", b""])
post("form", "/formed", FORM, [b"a=1", b""], leave=True)

for body in [
    b"",
    *rb"""
        { {} {"a":1} {"a":null} {"name":"x"} {"name":null} {"name":[1,2]} {"name":{"b":1}} {"name":1.5}
        {"name":true} [1,2] "text" 3 null NaN {"name":NaN}
    """.split(),
    b"\xef\xbb\xbf{}",
    *rb"""{"name":"\ud800"} {"a":1,"a":2} {"name":12345678901234567890123}""".split(),
    b' {"name" : "x"} ',
    *b'{"name":1e400} \xff {"one":1,"two":2} {"self":1}'.split(),
]:
    for handler in words("jsoned need named"):
        post("json", f"/{handler}", JSON, body)
for method in words("GET PUT PATCH DELETE"):
    page("json", "/jsoned", method=method, headers=JSON, body=b'{"a":1}')

for length in ("3", "abc", "-1", "+3", "99999999999", "", "3, 3"):
    post("length", "/formed", FORM | {"content-length": length}, b"a=1")
for setting, value in (
    ("max_body_size", 4),
    ("max_body_size", 8),
    ("max_form_field_size", 2),
    ("max_body_size", None),
):
    post(f"limit {setting}={value}", "/formed", FORM, b"a=12345", partial(Site, **{setting: value}))
call("limit: 1001 query parameters", ask, Site, "/greet?" + "&".join(["a=1"] * 1001))
for what, headers, body in (
    ("1001 fields", FORM, b"&".join([b"a=1"] * 1001)),
    ("JSON of 2 MiB", JSON, b'"' + b"x" * (2 << 20) + b'"'),
):
    call(f"limit: {what}", ask, Site, "/greet", method="POST", headers=headers, body=body)


def multipart(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


def field(name: str, value: bytes, extra: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name.encode() + b'"\r\n' + extra + b"\r\n" + value


def file(name: str, filename: str, value: bytes, kind: bytes = b"Content-Type: text/plain\r\n") -> bytes:
    return (
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'.encode()
        + kind
        + b"\r\n"
        + value
    )


MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
for what, handler, body in (
    ("a field", "field", multipart(field("name", b"v"))),
    ("a blank field", "field", multipart(field("name", b""))),
    ("a blank field with a default", "field_or", multipart(field("name", b""))),
    ("two fields of one name", "field", multipart(field("name", b"1"), field("name", b"2"))),
    ("another field", "field", multipart(field("other", b"v"))),
    ("another field, a default", "field_or", multipart(field("other", b"v"))),
    ("UTF-8", "field", multipart(field("name", "é".encode()))),
    ("not UTF-8", "field", multipart(field("name", b"\xff"))),
    ("all fields", "formed", multipart(field("a", b"1"), field("b", b"2"))),
    ("fields by name", "named", multipart(field("a", b"1"), field("b", b"2"))),
    ("a file", "upload", multipart(file("file", "f.txt", b"12345"))),
    ("a file without a type", "upload", multipart(file("file", "f.txt", b"12345", b""))),
    ("an empty file", "upload", multipart(file("file", "f.txt", b""))),
    ("no file was chosen", "upload", multipart(file("file", "", b""))),
    ("text where a file is wanted", "upload", multipart(field("file", b"text"))),
    ("two files of one name", "upload", multipart(file("file", "1", b"1"), file("file", "2", b"2"))),
    ("a file after a field", "upload", multipart(field("a", b"1"), file("file", "f", b"1"))),
    ("a field after a file", "field", multipart(file("file", "f", b"1"), field("name", b"v"))),
    ("a name in UTF-8", "upload", multipart(file("file", "é.txt", b"1"))),
    ("a missing end", "field", multipart(field("name", b"v"), end=b"")),
    ("nothing at all", "field", b""),
    ("nonsense", "field", b"nonsense"),
    ("no part", "field", multipart()),
):
    options = {"method": "POST", "headers": MULTIPART}
    call(f"multipart: {what}", ask, Site, f"/{handler}", body=body, **options)
    pieces = [bytes([byte]) for byte in body] or [b""]
    call(f"multipart, byte by byte: {what}", ask, Site, f"/{handler}", body=pieces, **options)
for what, app, parameters, value in (
    ("no boundary", Site, "", b"v"),
    ("a quoted boundary", Site, '; boundary="x"', b"v"),
    ("a field over the limit", partial(Site, max_form_field_size=2), "; boundary=x", b"12345"),
):
    headers = {"content-type": "multipart/form-data" + parameters}
    body = multipart(field("name", value))
    call(f"multipart: {what}", ask, app, "/field", method="POST", headers=headers, body=body)


class Annotated(App):
    async def number(self, n: int = 0) -> str:
        return f"{n!r}"

    async def flag(self, n: bool = False) -> str:
        return f"{n!r}"

    async def odd(self, n: Decimal = Decimal(0)) -> str:
        return f"{n!r}"


for target in words("/number/7 /number/x /number?n=7 /number?n= /flag?n=1 /flag?n=off /odd/1.5 /odd/x"):
    page("annotation", target, Annotated)


# --- answers ---------------------------------------------------------------------------------------------


class Text(str):
    __slots__ = ()


async def stepwise(*values: Any) -> Any:
    for value in values:
        yield value


def generated(*values: Any) -> Any:
    yield from values


RESULTS: dict[str, Callable[[], Any]] = {
    "text": lambda: "text",
    "no text": lambda: "",
    "UTF-8": lambda: "é",
    "half a surrogate pair": lambda: "\ud800",
    "bytes": lambda: b"\xff\x00",
    "bytearray": lambda: bytearray(b"x"),
    "memoryview": lambda: memoryview(b"x"),
    "subclass of str": lambda: Text("x"),
    "dict": lambda: {"a": [1, None, True, 1.5, "é"]},
    "list": lambda: [1, 2],
    "dict with int keys": lambda: {1: "x"},
    "NaN": lambda: {"a": float("nan")},
    "set": lambda: {1},
    "decimal": lambda: Decimal("1.5"),
    "None": lambda: None,
    "True": lambda: True,
    "int": lambda: 42,
    "float": lambda: 1.5,
    "object": lambda: ValueError("x"),
    "a pair": lambda: (201, "made"),
    "a triple": lambda: (201, "made", [("X-A", "1")]),
    "a triple with a dict of headers": lambda: (201, "made", {"X-A": "1"}),
    "a triple with a JSON": lambda: (201, {"a": 1}, [("X-A", "1")]),
    "a triple with None": lambda: (201, None, [("X-A", "1")]),
    "a triple without headers": lambda: (201, "made", None),
    "one": lambda: (201,),
    "four": lambda: (201, "made", [], "more"),
    "status text": lambda: ("201", "made"),
    "status 99": lambda: (99, "made"),
    "status 204 with a body": lambda: (204, "made"),
    "status 304 with a body": lambda: (304, "made"),
    "status 600": lambda: (600, "made"),
    "content type": lambda: (200, "text", [("Content-Type", "text/plain")]),
    "content type of JSON": lambda: (200, {"a": 1}, [("Content-Type", "application/problem+json")]),
    "content length": lambda: (200, "text", [("Content-Length", "99")]),
    "header twice": lambda: (200, "text", [("X-A", "1"), ("X-A", "2")]),
    "header in latin-1": lambda: (200, "text", [("X-A", "é")]),
    "header beyond latin-1": lambda: (200, "text", [("X-A", "€")]),
    "header with a line break": lambda: (200, "text", [("X-A", "1\r\nX-B: 2")]),
    "header with NUL": lambda: (200, "text", [("X-A", "\x00")]),
    "header name with a space": lambda: (200, "text", [("X A", "1")]),
    "header of an int": lambda: (200, "text", [("X-A", 1)]),
    "header of bytes": lambda: (200, "text", [(b"X-A", b"1")]),
    "header with edges": lambda: (200, "text", [("X-A", " 1 ")]),
    "set-cookie": lambda: (200, "text", [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]),
    "async generator": lambda: stepwise("a", b"b"),
    "generator": lambda: generated("a", b"b"),
    "empty async generator": lambda: stepwise(),
    "empty generator": lambda: generated(),
    "status and generator": lambda: (206, stepwise("a"), [("X-A", "1")]),
    "generator of ints": lambda: generated(1),
    "iterator": lambda: iter(["a", "b"]),
    "map": lambda: map(str, [1, 2]),
    "tuple of one list": lambda: (200, ["a"]),
    "range": lambda: range(2),
    "frozenset": lambda: frozenset({1}),
    "class": lambda: Text,
}
for name, result in RESULTS.items():
    call(f"result: {name}", ask, partial(returning, result))
    call(f"result of HEAD: {name}", ask, partial(returning, result), method="HEAD")


def redirecting(*arguments: Any) -> App:
    return returning(lambda: App()._redirect(*arguments))


for location in words(
    "/|/a|a|?q=1|#f||/a b|/é|/a%20b|/a?b=c d|https://example.com/é?x=é#é|//evil|/a\r\nX: y|/a?b=%41|"
    "https://exämple.com/|/a?b[]=1|/a;b=1|/a'b|/a\\b|/€|mailto:a@b",
    "|",
):
    call(f"redirect: {location!r}", ask, partial(redirecting, location))
call("redirect: extra headers", ask, partial(redirecting, "/a", [("X-A", "1")]))


class Templated(App):
    async def index(self, name: Any = "hello.html", who: Any = "<you>") -> Any:
        return await self._render_template(name, who=who)


TEMPLATES = {"hello.html": "Hello {{ who }}", "mail.txt": "Hello {{ who }}", "broken.html": "{% if %}"}


def write_templates() -> None:
    Path("templates").mkdir()
    for name, source in TEMPLATES.items():
        Path("templates", name).write_text(source, encoding="utf-8")


async def rendered(target: str) -> Any:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_templates()
        return await ask(Templated, target)


for target in words("/ /?who=é /?name=mail.txt /?name=none.html /?name=broken.html /?name=../x"):
    call(f"template: {target}", rendered, target)


# --- header fields and cookies of requests ------------------------------------------------------------------

for value in ("1", "", " 1 ", "é", b"\xff", "é".encode(), "a,b"):
    page("header", "/head", headers=[("X-A", value)])
page("header", "/head", headers=[("X-A", "1"), ("x-a", "2")])
page("header", "/head/cookie", headers=[("Cookie", "a=1"), ("Cookie", "b=2")])
for line in words("""a=1|a=1; b=2|a=1;b=2|a|a=|=1|a=1; a=2|a="1"|a=b=c| a = 1 |a=1;||a=%20|é=1""", "|"):
    calling(f"_parse_cookies: {line!r}", lambda line: App()._parse_cookies(line), line)


# --- sessions --------------------------------------------------------------------------------------------


class Store(SessionBackend):
    """A store that tells what was asked of it."""

    def __init__(self, data: dict[str, dict[str, Any]] | None = None) -> None:
        self.data = {} if data is None else data
        self.asked: list[Any] = []

    async def load(self, session_id: str) -> dict[str, Any]:
        return dict(self.data.get(session_id, {}))

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.data[session_id] = dict(data)
        if not data:
            del self.data[session_id]


def cookie(value: str) -> dict[str, str]:
    return {"cookie": f"session_id={value}"}


#: The headers of each visitor, and what is stored under the known id.
VISITORS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "a stranger": ({}, {}),
    "a visitor": (cookie(KNOWN), {"user": "ann"}),
    "an unknown id": (cookie(STRANGE), {}),
    "an odd id": (cookie("odd id"), {}),
    "a quoted id": (cookie(f'"{KNOWN}"'), {"user": "ann"}),
}


async def with_session(target: str, headers: Any, stored: Any) -> Any:
    store = Store({KNOWN: dict(stored)} if stored else {})
    answer = await http(Site(session_backend=store), target, headers=headers)
    return [answer, store.data]


for handler in words(
    "hello session_read session_write session_clear session_replace session_out session_fresh "
    "session_fails fails none whoami whoami?user=eve whoami/eve"
):
    for who, visitor in VISITORS.items():
        call(f"session: /{handler} for {who}", with_session, f"/{handler}", *visitor)

call("session: from the scope", ask, Site, "/session_read", session={"a": 1})
call("session: upper case", with_session, "/session_read", cookie(KNOWN.upper()), {"user": "ann"})
call("session: insecure", ask, partial(Site, session_cookie_secure=False), "/session_write")
for what, validator, sent in (
    ("validator that raises", lambda value: 1 // 0, KNOWN),
    ("validator that says None", lambda value: None, KNOWN),
    ("no validator", None, "x"),
):
    site = partial(Site, session_id_validator=validator)
    call(f"session: {what}", ask, site, "/session_read", headers=cookie(sent))


async def in_memory(*steps: Any) -> Any:
    store = InMemorySessionBackend()
    seen = []
    for step in steps:
        name, *arguments = step
        if name == "change":
            (await store.load(arguments[0]))["changed"] = True
        else:
            seen.append(await getattr(store, name)(*arguments))
    return seen


for what, steps in {
    "nothing": [("load", "a")],
    "saved": [("save", "a", {"x": 1}, 10), ("load", "a")],
    "deleted": [("save", "a", {"x": 1}, 10), ("save", "a", {}, 10), ("load", "a")],
    "no time": [("save", "a", {"x": 1}, 0), ("load", "a")],
    "changed without saving": [("save", "a", {"x": 1}, 10), ("change", "a"), ("load", "a")],
}.items():
    call(f"InMemorySessionBackend: {what}", in_memory, *steps)
for name in words("sessions last_access timeouts"):
    calling(
        f"InMemorySessionBackend: .{name}",
        lambda name: type(getattr(InMemorySessionBackend(), name)).__name__,
        name,
    )


# --- middleware ------------------------------------------------------------------------------------------


class Hook(HttpMiddleware):
    def __init__(self, before: Any = None, after: Any = None, note: Any = None) -> None:
        self.before, self.after, self.note = before, after, note

    async def before_request(self, request: Any) -> Any:
        if self.note is not None:
            self.note.append("before")
        return self.before(request) if callable(self.before) else self.before

    async def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        if self.note is not None:
            self.note.append([status_code, written(response_body), written(extra_headers)])
        return self.after(request) if callable(self.after) else self.after


def choose(name: str, value: Any) -> Callable[[Any], None]:
    """A hook that sets an attribute of the request."""
    return lambda request: setattr(request, name, value)


def fail(request: Any) -> Any:
    return 1 // 0


async def hooked(target: str, *hooks: Any, app: Callable[[], Any] = Site, **options: Any) -> Any:
    """What is answered, and what the hooks have seen; each hook is a pair, before and after."""
    site, note = app(), []
    site.middlewares.extend(Hook(before, after, note) for before, after in hooks)
    return [await http(site, target, **options), note]


for what, before in {
    "None": None,
    "an empty dict": {},
    "False": False,
    "0": 0,
    "True": True,
    "text": "text",
    "status": {"status_code": 403},
    "body": {"body": "stop"},
    "headers": {"headers": [("X-A", "1")]},
    "all": {"status_code": 403, "body": "stop", "headers": [("X-A", "1")]},
    "JSON": {"status_code": 403, "body": {"a": 1}},
    "bytes": {"body": b"x"},
    "None as body": {"status_code": 204, "body": None},
    "unknown keys": {"other": 1},
}.items():
    call(f"before hook: {what}", hooked, "/hello", (before, None))
    call(f"after hook: {what}", hooked, "/hello", (None, before))
    call(f"before hook of the second: {what}", hooked, "/hello", (None, None), (before, None))

for target in words("/none /need /fails /named?a=1 /session_write /many/1 /plain /told"):
    call(f"hooks around {target}", hooked, target, (None, None), (None, None))
for name, result in RESULTS.items():
    call(f"after hook sees: {name}", hooked, "/", (None, None), app=partial(returning, result))

for what, target, before in (
    ("hook chooses a handler", "/any/x", choose("_route_handler", "greet")),
    ("hook chooses a private handler", "/any/x", choose("_route_handler", "_private")),
    ("hook chooses no handler", "/any/x", choose("_route_handler", "nothing")),
    ("hook sets path_params", "/greet", choose("path_params", ["set"])),
    ("hook sets query_params", "/greet", choose("query_params", {"name": ["set"]})),
    ("hook sets an attribute", "/greet", choose("user", "ann")),
    ("hook sets the session", "/session_read", choose("session", {"a": 1})),
    ("hook raises", "/hello", fail),
):
    call(what, hooked, target, (before, None))
call("after hook raises", hooked, "/hello", (None, fail))
for what, headers, body, before in (
    ("form", FORM, b"a=1", lambda request: {"body": {"a": request.form("a")}}),
    ("JSON", JSON, b'{"a":1}', lambda request: {"body": {"a": request.json("a")}}),
):
    options = {"method": "POST", "headers": headers, "body": body}
    call(f"hook reads the {what}", hooked, "/formed", (before, None), **options)


async def sub_app(scope: Any, receive: Any, send: Any) -> None:
    body = json.dumps(
        {
            key: written(scope.get(key))
            for key in ("path", "root_path", "session", "body_params", "body_parsed", "json_body", "files")
        }
    ).encode()
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body + b" " + message.get("body", b"")})


async def handed_on(child: Any, path: str, mount: str | None, **options: Any) -> Any:
    def before(request: Any) -> None:
        request._subapp = child() if inspect.isclass(child) else child
        request._subapp_path = path
        if mount is not None:
            request._subapp_mount_path = mount

    return await hooked("/sub/x", (before, None), **options)


for path in words("/x x / /greet/Bob"):
    for mount in (None, "sub", "/sub", "/sub/"):
        call(f"sub app: {path!r} below {mount!r}", handed_on, sub_app, path, mount)
        call(f"sub app of MicroPie: {path!r} below {mount!r}", handed_on, Site, path, mount)
for headers, body in ((FORM, b"a=1"), (JSON, b'{"a":1}')):
    what = f"a body of {headers['content-type']}"
    options = {"method": "POST", "headers": headers, "body": body}
    call(f"sub app: {what}", handed_on, sub_app, "/x", None, **options)
    for path in words("/formed /jsoned /named"):
        call(f"sub app of MicroPie: {path}, {what}", handed_on, Site, path, None, **options)


# --- WebSockets ------------------------------------------------------------------------------------------


async def say(ws: Any, text: str) -> None:
    """A whole life: accept, one message, the end."""
    await ws.accept()
    await ws.send_text(text)
    await ws.close()


class Sockets(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"session_id_factory": lambda: FRESH} | settings))

    async def ws_index(self, ws: Any) -> None:
        await say(ws, "index")

    async def ws_echo(self, ws: Any) -> None:
        await ws.accept()
        while True:
            await ws.send_text(await ws.receive_text())

    async def ws_bytes(self, ws: Any) -> None:
        await ws.accept()
        while True:
            await ws.send_bytes(await ws.receive_bytes())

    async def ws_greet(self, ws: Any, name: Any = "Guest") -> None:
        await say(ws, f"<{name}>")

    async def ws_need(self, ws: Any, name: Any) -> None:
        await say(ws, f"<{name}>")

    async def ws_many(self, ws: Any, *names: Any, **more: Any) -> None:
        await say(ws, f"{names!r} {sorted(more.items())!r}")

    async def ws_only(self, ws: Any, *, name: Any = "k") -> None:
        await say(ws, f"{name!r}")

    async def ws_by_key(self, *, ws: Any) -> None:
        await ws.accept()
        await ws.close(1000)

    async def ws_nothing(self) -> None:
        """Takes no socket."""

    async def ws_silent(self, ws: Any) -> None:
        """Never accepts."""

    async def ws_returns(self, ws: Any) -> None:
        await ws.accept()

    async def ws_refuses(self, ws: Any) -> None:
        await ws.close(1008, "no")

    async def ws_fails(self, ws: Any) -> None:
        raise KeyError("secret")

    async def ws_fails_later(self, ws: Any) -> None:
        await ws.accept()
        raise KeyError("secret")

    async def ws_sends_first(self, ws: Any) -> None:
        await ws.send_text("x")

    async def ws_receives_first(self, ws: Any) -> None:
        await ws.receive_text()

    async def ws_accepts_twice(self, ws: Any) -> None:
        await ws.accept()
        await ws.accept()

    async def ws_closes_twice(self, ws: Any) -> None:
        await ws.accept()
        await ws.close(1000)
        await ws.close(1001)

    async def ws_closes(self, ws: Any, code: Any = "1000", reason: Any = None) -> None:
        await ws.accept()
        await ws.close(int(code), reason)

    async def ws_sends_late(self, ws: Any) -> None:
        await ws.accept()
        await ws.close()
        await ws.send_text("late")

    async def ws_protocol(self, ws: Any, name: Any = None) -> None:
        await ws.accept(subprotocol=name)
        await ws.close()

    async def ws_session(self, ws: Any, session_id: Any = None) -> None:
        await ws.accept(session_id=session_id)
        await ws.close()

    async def ws_told(self, ws: Any, *names: Any) -> None:
        request = self.request
        await ws.accept()
        told = [request.path_params, request.query_params, dict(request.session), request.method, ws.accepted]
        await ws.send_text(json.dumps(told))
        await ws.send_text(str(ws.session_id))
        await ws.close()
        await asyncio.sleep(0)

    async def ws_accepted(self, ws: Any) -> None:
        seen = [ws.accepted]
        await ws.accept()
        seen.append(ws.accepted)
        await ws.send_text(json.dumps(seen))
        await ws.close()
        seen.append(ws.accepted)
        SEEN.append(seen)

    async def ws_writes(self, ws: Any, when: Any = "before") -> None:
        if when == "before":
            self.request.session["written"] = True
        await ws.accept()
        if when == "after":
            self.request.session["written"] = True
        if when == "cleared":
            self.request.session.clear()
        await ws.close()

    async def ws_raw(self, ws: Any) -> None:
        await ws.accept()
        await ws.send({"type": "websocket.send", "text": "raw"})
        await ws.close()

    async def ws_raw_in(self, ws: Any) -> None:
        await ws.accept()
        message = await ws.receive()
        await ws.send_text(written(message) if isinstance(message, str) else json.dumps(written(message)))
        await ws.close()

    async def ws_catches(self, ws: Any) -> None:
        await ws.accept()
        try:
            while True:
                await ws.receive_text()
        except ConnectionClosed as error:
            SEEN.append(str(error))

    def ws_plain(self, ws: Any) -> None:
        """Is not async."""

    async def _ws_private(self, ws: Any) -> None:
        await ws.accept()


SEEN: list[Any] = []


async def socket(target: str, **options: Any) -> Any:
    SEEN.clear()
    sent = await ws(Sockets(), target, **options)
    return [sent, list(SEEN)]


for target in [
    "/",
    "",
    *words(
        "/index /echo /echo/ /none /_ws_private /ws_echo /ws_private /greet /greet/A /greet/A/more /greet/ "
        "//greet /greet/a%2Fb /greet?name=q /greet/p?name=q /greet?name= /greet?name=1&name=2 /need /need/x "
        "/need?name=x /many /many/a/b?c=d&ws=x /only /only/p /only?name=q /by_key /nothing /silent /returns "
        "/refuses /fails /fails_later /sends_first /receives_first /accepts_twice /closes_twice /closes "
        "/closes/3000/why /closes/99 /closes/1005 /closes/4999 /closes/1001 /sends_late /told/a/b?q=1 "
        "/accepted /raw /catches /plain /request /env"
    ),
]:
    call(f"socket: {target}", socket, target)
for what, messages in {
    "a text": ("hi",),
    "bytes": (b"hi",),
    "bytes that are not UTF-8": (b"\xff",),
    "an empty text": ("",),
    "empty bytes": (b"",),
    "two": ("a", "b"),
    "UTF-8": ("é",),
}.items():
    for handler in words("echo bytes raw_in catches"):
        call(f"socket: /{handler} gets {what}", socket, f"/{handler}", messages=messages)
call("socket: a message of 2 MiB", socket, "/catches", messages=("x" * (2 << 20),))
for code in (None, 1000, 1005, 1006, 4000):
    call(f"socket: the client leaves with {code}", socket, "/catches", code=code)
for name, offered in (("chat", ["chat"]), ("chat", []), ("", ["chat"]), ("chat", ["other", "chat"])):
    call(f"socket: subprotocol {name!r} of {offered}", socket, f"/protocol?name={name}", subprotocols=offered)
for origin in words("https://example.com https://evil.example null http://example.com"):
    call(f"socket: origin {origin}", socket, "/index", headers={"origin": origin})
for given in (KNOWN, "odd id", ""):
    call(f"socket: session id {given!r}", socket, f"/session?session_id={quote(given)}", cookies=True)


async def socket_session(target: str, headers: Any, stored: Any) -> Any:
    store = Store({KNOWN: dict(stored)} if stored else {})
    return [await ws(Sockets(session_backend=store), target, headers=headers, cookies=True), store.data]


for target in words("/returns /told /writes/before /writes/after /writes/cleared /fails_later"):
    for who in ("a stranger", "a visitor", "an unknown id"):
        call(f"socket session: {target} for {who}", socket_session, target, *VISITORS[who])


class SocketHook(WebSocketMiddleware):
    def __init__(self, before: Any, note: list[Any]) -> None:
        self.before, self.note = before, note

    async def before_websocket(self, request: Any) -> Any:
        self.note.append("before")
        return self.before(request) if callable(self.before) else self.before

    async def after_websocket(self, request: Any) -> None:
        self.note.append("after")


async def hooked_socket(target: str, *hooks: Any, **options: Any) -> Any:
    app, note = Sockets(), []
    app.ws_middlewares.extend(SocketHook(hook, note) for hook in hooks)
    return [await ws(app, target, **options), note]


for what, before in {
    "None": None,
    "an empty dict": {},
    "False": False,
    "True": True,
    "code": {"code": 4000},
    "code and reason": {"code": 4000, "reason": "no"},
    "other keys": {"other": 1},
    "an error": fail,
    "another handler": choose("_ws_route_handler", "ws_index"),
    "a private handler": choose("_ws_route_handler", "_ws_private"),
    "no handler": choose("_ws_route_handler", "ws_none_such"),
}.items():
    call(f"socket hook: {what}", hooked_socket, "/returns", before)
    call(f"second socket hook: {what}", hooked_socket, "/returns", None, before)
for target in words("/none /need /fails /fails_later /echo /silent"):
    call(f"socket hooks around {target}", hooked_socket, target, None, None)


# --- lifespan, settings, names ----------------------------------------------------------------------------


async def lives(startup: str, shutdown: str) -> Any:
    """What is answered, and which handlers ran, each of which is ok, fails, or is a plain function."""
    app, note = App(), []

    def handler(name: str, kind: str) -> Any:
        async def handle() -> None:
            note.append(name)
            if kind == "fails":
                raise KeyError("secret")

        def plain() -> None:
            note.append(name)

        return plain if kind == "plain" else handle

    app.startup_handlers += [handler(f"up {at}", kind) for at, kind in enumerate(words(startup))]
    app.shutdown_handlers += [handler(f"down {at}", kind) for at, kind in enumerate(words(shutdown))]
    return [await lifespan(app, "startup", "shutdown"), note]


for what, startup, shutdown in (
    ("nothing", "", ""),
    ("handlers", "ok ok", "ok ok"),
    ("a plain function", "plain", "plain"),
    ("a startup fails", "ok fails ok", "ok"),
    ("a shutdown fails", "ok", "fails ok"),
):
    call(f"lifespan: {what}", lives, startup, shutdown)
call("lifespan: another scope", ask, App, type="other")

for name, values in {
    "body_timeout": (5, 5.0, None, 0, -1, "5", True),
    "max_body_size": (1, None, 0, -1, 1.5, "1", True),
    "max_form_field_size": (1, None, 0, 2.5),
    "session_timeout": (1, 0, None, 1.5, "1", True),
    "session_cookie_secure": (True, False, None, 1, "yes"),
    "session_id_factory": (str, None, 3),
    "session_id_validator": (str, None, 3),
    "other": (1,),
}.items():
    for value in values:
        calling(
            f"setting: {name}={value!r}", lambda name, value: App(**{name: value}) and "made", name, value
        )


def backend_of(*arguments: Any) -> str:
    return type(App(*arguments).session_backend).__name__


calling("setting: a backend by position", lambda: backend_of(InMemorySessionBackend()))
calling("setting: no backend", backend_of, None)
calling("setting: something else as a backend", lambda: App(3) and "made")

for name in words(
    "App Request WebSocketRequest WebSocket ConnectionClosed MultipartFileError HttpMiddleware "
    "WebSocketMiddleware SessionBackend InMemorySessionBackend current_request SESSION_TIMEOUT "
    "DEFAULT_MAX_BODY_SIZE DEFAULT_MAX_FORM_FIELD_SIZE JINJA_INSTALLED MULTIPART_INSTALLED logger"
):
    call(f"name: {name}", hasattr, micropie, name)
for name in words(
    "session_backend body_timeout max_body_size max_form_field_size session_timeout "
    "session_cookie_secure middlewares ws_middlewares startup_handlers shutdown_handlers env"
):
    calling(f"attribute: {name}", lambda name: hasattr(App(), name), name)
calling("attribute: request outside of one", lambda: App().request)


def request(**more: Any) -> Any:
    return micropie.Request(scope_of("http", "GET", "/a/b?c=d", {"x-a": "1"}) | more)


def handshake() -> Any:
    return micropie.WebSocketRequest(scope_of("websocket", "", "/a", {}))


for name in words("method path_params query_params body_params session files headers body_parsed"):
    for what, make in (("Request", request), ("WebSocketRequest", handshake)):
        calling(f"{what}(scope).{name}", lambda make, name: getattr(make(), name), make, name)
for name in words("query form json"):
    calling(f"Request(scope).{name}()", lambda name: getattr(request(), name)("c", "default"), name)
calling("Request(scope) with a session", lambda: request(session={"a": 1}).session)
calling("ConnectionClosed()", lambda: repr(ConnectionClosed()))
call("isinstance(ConnectionClosed(), Exception)", lambda: isinstance(ConnectionClosed(), Exception))
calling("MultipartFileError(cause)", lambda: repr(micropie.MultipartFileError(KeyError()).cause))
for name in words("HttpMiddleware WebSocketMiddleware SessionBackend"):
    calling(f"{name}()", lambda name: getattr(micropie, name)() and "made", name)


# --- all of it -------------------------------------------------------------------------------------------


async def made(action: Callable[[], Any]) -> Any:
    """What comes of one call."""
    try:
        result = action()
        return written(await result if inspect.isawaitable(result) else result)
    except Exception as error:
        return f"raises {type(error).__name__}"


async def seen() -> dict[str, Any]:
    """What comes of each call."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        return {name: await made(action) for name, action in CALLS.items()}
    finally:
        logging.disable(logging.NOTSET)


def main(arguments: list[str]) -> int:
    """Print what comes of each call; or compare it with what a file says, and tell what is not the same."""
    lines = [f"{json.dumps(name)}: {json.dumps(result)}" for name, result in asyncio.run(seen()).items()]
    if not arguments:
        sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    known = Path(arguments[1]).read_text(encoding="utf-8").splitlines()
    different = sorted(set(lines) ^ {line.removesuffix(",") for line in known[1:-1]})
    sys.stdout.write("\n".join([*different, f"{len(lines)} calls, {len(different)} differences\n"]))
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
