"""The limit: ASGI by hand. It does what the others do for this app, and nothing for any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from secrets import token_urlsafe
from typing import Any
from urllib.parse import unquote_plus

from orjson import dumps, loads

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HTML = (b"content-type", b"text/html; charset=utf-8")
JSON = (b"content-type", b"application/json")

crowd: set[Send] = set()
sessions: dict[bytes, dict[str, str]] = {}


def pairs(encoded: bytes) -> dict[str, str]:
    """A query string or a form."""
    text = encoded.decode()
    split = [pair.partition("=") for pair in text.split("&")]
    if "%" in text or "+" in text:
        return {unquote_plus(name): unquote_plus(value) for name, _, value in split}
    return {name: value for name, _, value in split}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    kind = scope["type"]
    if kind == "websocket":
        path = scope["path"]
        await receive()
        if path == "/echo":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        elif path == "/echo_bytes":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "bytes": message["bytes"]})
        elif path.startswith("/hello/"):
            name, punct = path[7:], pairs(scope["query_string"]).get("punct", "")
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": f"Hello {name}{punct}"})
        elif path == "/broadcast":
            await broadcast(receive, send)
        else:
            await send({"type": "websocket.close"})
    elif kind == "http":
        path = scope["path"]
        status, media_type = 200, HTML
        if path == "/":
            body = b"Hello, World!"
        elif path == "/data":
            media_type, body = JSON, dumps({"hello": "world", "n": 1})
        elif path.startswith("/greet/"):
            x = pairs(scope["query_string"]).get("x", "")
            body = f"Hello {path[7:]}{x}".encode()
        elif path in ("/form", "/person", "/body"):
            message = await receive()
            body = message["body"]
            if message["more_body"]:
                body = await rest(body, receive)
            if path == "/body":
                body = b"%d" % len(body)
            else:
                sent = pairs(body) if path == "/form" else loads(body)
                body = f"{sent['name']}:{sent['age']}".encode()
        elif path == "/stream":
            await stream(send)
            return
        elif path == "/header":
            body = next(value for name, value in scope["headers"] if name == b"x-wanted")
        else:
            status, body = 404, b"not found"
        headers = [media_type, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        await lifespan(receive, send)


async def rest(body: bytes, receive: Receive) -> bytes:
    """A body of several pieces, of which there is the first."""
    pieces = [body]
    more = True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message["more_body"]
    return b"".join(pieces)


async def stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [HTML]})
    for _ in range(20):
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def broadcast(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    crowd.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            for other in list(crowd):
                await other({"type": "websocket.send", "text": message["text"]})
    finally:
        crowd.discard(send)


async def answer(send: Send, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [HTML, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def hooked(scope: Message, receive: Receive, send: Send) -> None:
    """The same app, and what a middleware does: it looks for a header, and adds one to each answer."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    for name, _ in scope["headers"]:
        if name == b"authorization":
            break
    if scope["type"] == "websocket":
        await app(scope, receive, send)
        return

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"].append((b"x-request-id", b"1"))
        await send(message)

    await app(scope, receive, send_more)


async def members(scope: Message, receive: Receive, send: Send) -> None:
    """A page for those who have logged in: whose session it is, a cookie says."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"] == "/login":
        session_id = token_urlsafe().encode()
        sessions[session_id] = {"user": "Alice"}
        await answer(send, b"in", (b"set-cookie", b"session=" + session_id))
    else:
        session = {}
        for name, value in scope["headers"]:
            if name == b"cookie":
                session = sessions[value.partition(b"session=")[2]]
        await answer(send, f"Hello {session['user']}".encode())


def routes(count: int) -> Any:
    names = {f"/route{number}": b"route%d" % number for number in range(count)}

    async def routed(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await answer(send, names[scope["path"]])
        else:
            await lifespan(receive, send)

    return routed


def parameters(count: int) -> Any:
    names = [f"p{number}" for number in range(count)]

    async def joined(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            query = pairs(scope["query_string"])
            await answer(send, ",".join([query[name] for name in names]).encode())
        else:
            await lifespan(receive, send)

    return joined
