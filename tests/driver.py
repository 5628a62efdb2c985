"""Drives an app in process, as a strict server would: it accepts nothing that ASGI does not allow.

Every message that the app sends is checked against the ASGI specification at the moment it is sent, so an
illegal one fails the test that caused it, with the app's own traceback.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

#: Nothing here takes long; a test that waits longer hangs.
LIMIT = 10

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search

SENDABLE_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


class Illegal(BaseException):
    """The app sent a message that ASGI does not allow here; no `except Exception` of an app hides it."""


def check(condition: object, problem: str, message: dict[str, Any]) -> None:
    if not condition:
        raise Illegal(f"{problem}: {message!r}")


def check_headers(message: dict[str, Any]) -> None:
    for name, value in message.get("headers", ()):
        check(isinstance(name, bytes) and isinstance(value, bytes), "header fields are bytes", message)
        check(TOKEN(name) and name == name.lower(), "header names are tokens in lower case", message)
        check(not CONTROL(value), "header values have no control characters", message)


def check_status(message: dict[str, Any]) -> None:
    status = message["status"]
    check(type(status) is int and 200 <= status <= 599, "a status is an int from 200 to 599", message)


def check_body(message: dict[str, Any]) -> None:
    check(type(message.get("body", b"")) is bytes, "a body is bytes", message)
    check(type(message.get("more_body", False)) is bool, "more_body is a bool", message)


class HttpJudge:
    """What an app may send for one HTTP request: one start, bodies, one end."""

    def __init__(self, method: str = "GET") -> None:
        self.method = method
        self.state = "waiting"
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []

    def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            check(self.state == "waiting", "a second start", message)
            check_status(message)
            check_headers(message)
            self.state, self.status, self.headers = "started", message["status"], list(message["headers"])
        else:
            check(message["type"] == "http.response.body", "unknown type", message)
            check(self.state == "started", "a body that is not between start and end", message)
            check_body(message)
            self.chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.state = "ended"
            self._check_length(message)

    def _check_length(self, message: dict[str, Any]) -> None:
        sent = sum(map(len, self.chunks))
        lengths = [int(value) for name, value in self.headers if name == b"content-length"]
        check(len(lengths) <= 1, "two lengths", message)
        bodiless = self.method == "HEAD" or self.status in (204, 304)
        check(not (bodiless and sent), "a body where there is none", message)
        if lengths and not bodiless:
            check(sent <= lengths[0], "more than Content-Length says", message)
            check(self.state != "ended" or sent == lengths[0], "less than Content-Length says", message)


class Answer:
    """What an HTTP client got."""

    def __init__(self, judge: HttpJudge) -> None:
        self.status = judge.status
        self.complete = judge.state == "ended"
        self.raw_headers = judge.headers
        self.headers = {name.decode(): value.decode("latin-1") for name, value in judge.headers}
        self.chunks = [chunk for chunk in judge.chunks if chunk]
        self.body = b"".join(judge.chunks)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookies(self) -> list[str]:
        return [value.decode() for name, value in self.raw_headers if name == b"set-cookie"]


def make_scope(kind: str, target: str, headers: Iterable[tuple[str, str]], **more: Any) -> dict[str, Any]:
    path, _, query = target.partition("?")
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in fields):
        fields.insert(0, (b"host", b"testserver"))
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": {"http": "https", "websocket": "wss"}[kind],
        "server": ("testserver", 443),
        "client": ("192.0.2.1", 50000),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": fields,
        "state": {},
        **more,
    }


async def http(
    app: Any,
    target: str = "/",
    method: str = "GET",
    *,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | list[bytes] = b"",
    leave: asyncio.Event | None = None,
    on_send: Callable[[dict[str, Any]], object] | None = None,
    waits: bool = True,
    alone: bool = True,
    **scope: Any,
) -> Answer:
    """Send one request and return the answer; the client leaves when ``leave`` is set.

    ``on_send`` sees each message that the app sends, once it was found to be legal.  A send takes a turn of the loop
    if it ``waits``; with a client that has left or reads fast, no server's does.  A request that is ``alone`` leaves
    no task behind; beside others nobody can tell whose a task is.
    """
    pieces = body if isinstance(body, list) else [body]
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    judge = HttpJudge(method)
    leave = leave or asyncio.Event()

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        judge.send(message)
        if on_send is not None:
            on_send(message)
        if waits:
            await asyncio.sleep(0)

    before = asyncio.all_tasks()
    async with asyncio.timeout(LIMIT):
        await app(make_scope("http", target, headers, method=method, **scope), receive, send)
    if alone:
        check_no_task_left(before)
    return Answer(judge)


def check_no_task_left(before: set[asyncio.Task[Any]]) -> None:
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not left, f"tasks left behind: {left}"


class WebSocketJudge:
    """What an app may send for one WebSocket: one answer to the handshake, messages, one close."""

    def __init__(self, extension: bool, subprotocols: Collection[str] = ()) -> None:
        self.state = "waiting"
        self.extension = extension
        self.subprotocols = subprotocols
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        rules = {
            "websocket.accept": self._accept,
            "websocket.http.response.start": self._refusal,
            "websocket.http.response.body": self._refusal_body,
            "websocket.send": self._message,
            "websocket.close": self._close,
        }
        check(message["type"] in rules, "unknown type", message)
        rules[message["type"]](message)
        self.sent.append(message)

    def _accept(self, message: dict[str, Any]) -> None:
        check(self.state == "waiting", "accept out of turn", message)
        chosen = message.get("subprotocol")
        check(chosen is None or chosen in self.subprotocols, "a subprotocol that was not offered", message)
        check_headers(message)
        self.state = "open"

    def _refusal(self, message: dict[str, Any]) -> None:
        check(self.extension and self.state == "waiting", "a refusal out of turn", message)
        check_status(message)
        check_headers(message)
        self.state = "refusing"

    def _refusal_body(self, message: dict[str, Any]) -> None:
        check(self.state == "refusing", "a body out of turn", message)
        check_body(message)
        if not message.get("more_body", False):
            self.state = "closed"

    def _close(self, message: dict[str, Any]) -> None:
        check(self.state in ("waiting", "open"), "close out of turn", message)
        code, reason = message.get("code", 1000), message.get("reason") or ""
        check(type(code) is int and code in SENDABLE_CODES, "a code that must not be sent", message)
        check(type(reason) is str, "a reason is text", message)
        check(len(reason.encode()) <= 123, "the reason is too long", message)
        self.state = "closed"

    def _message(self, message: dict[str, Any]) -> None:
        check(self.state == "open", "a message out of turn", message)
        data = [message[key] for key in ("text", "bytes") if message.get(key) is not None]
        check(len(data) == 1, "exactly one of text and bytes", message)
        check(type(message.get("text") or "") is str, "text is str", message)
        check(type(message.get("bytes") or b"") is bytes, "bytes are bytes", message)


class Later:
    """An awaitable that is no coroutine."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Any:
        return self._coroutine.__await__()


class Client:
    """The far end of a WebSocket: what it does, and what it sees as plain data."""

    def __init__(self, judge: WebSocketJudge, kind: str = "coroutine") -> None:
        self._judge = judge
        self._to_app: asyncio.Queue[Any] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent = judge.sent
        self.fail_sends: BaseException | None = None
        #: For how many turns of the loop the server keeps a send waiting before it takes the message.
        self.slow = 0
        #: Whether the server keeps from the app that a connection is over which the app has closed.
        self.silent = False
        #: Whether the client reads: while it does not, each send waits before the server takes the message.
        self.reads = asyncio.Event()
        self.reads.set()
        #: Whether the server waits for the client's answer to a close frame, which never comes, inside of ``send()``;
        #: as uvicorn's ``websockets`` does, which swallows a cancellation there.
        self.mute = False
        #: What its ``receive()`` returns: a coroutine, or an awaitable that is none, as granian's.
        self.kind = kind

    # --- the client's side

    def send(self, data: str | bytes) -> None:
        """Send one message of the data's kind."""
        self._to_app.put_nowait(
            {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}
        )

    def leave(self, code: int | None = 1001, reason: str = "") -> None:
        """Go away."""
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    def put(self, message: Any) -> None:
        """Hand any message, or an exception, to the app's ``receive``."""
        self._to_app.put_nowait(message)

    async def next(self) -> dict[str, Any]:
        """The next message that the app sends."""
        async with asyncio.timeout(LIMIT):
            return await self._from_app.get()

    async def text(self) -> str:
        """The next message, which is text."""
        return (await self.next())["text"]

    # --- what came of it

    @property
    def accepted(self) -> bool:
        return any(message["type"] == "websocket.accept" for message in self.sent)

    @property
    def refusal(self) -> int | None:
        """The HTTP status of a refused handshake; 403 where the app could only close."""
        for message in self.sent:
            if message["type"] == "websocket.http.response.start":
                return message["status"]
        return 403 if self.close and not self.accepted else None

    @property
    def refusal_body(self) -> bytes:
        return b"".join(
            message["body"] for message in self.sent if message["type"] == "websocket.http.response.body"
        )

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason of the close frame that the app sent."""
        for message in self.sent:
            if message["type"] == "websocket.close":
                return message["code"], message["reason"]
        return None

    @property
    def messages(self) -> list[str | bytes]:
        """All messages that the app sent."""
        sent = [message for message in self.sent if message["type"] == "websocket.send"]
        return [message["text"] if "text" in message else message["bytes"] for message in sent]

    # --- the server's side

    def _receive(self) -> Awaitable[dict[str, Any]]:
        return Later(self._next_message()) if self.kind == "awaitable" else self._next_message()

    async def _next_message(self) -> dict[str, Any]:
        message = await self._to_app.get()
        if isinstance(message, BaseException):
            raise message
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        for _ in range(self.slow):
            await asyncio.sleep(0)
        await self.reads.wait()
        self._judge.send(message)
        self._from_app.put_nowait(message)
        if message["type"] == "websocket.close" and self.mute:
            answer = asyncio.create_task(asyncio.Event().wait())
            with suppress(asyncio.CancelledError):
                await answer
            await asyncio.Event().wait()
        if message["type"] == "websocket.close" and not self.silent:
            # "The server closing the connection" is a disconnect too (ASGI, "Disconnect - receive event").
            self.leave(message["code"], message["reason"])
        if self.fail_sends is not None:
            raise self.fail_sends
        await asyncio.sleep(0)


@asynccontextmanager
async def websocket(
    app: Any,
    target: str = "/",
    *,
    headers: Iterable[tuple[str, str]] = (),
    extension: bool = True,
    leave: bool = True,
    kind: str = "coroutine",
    alone: bool = True,
    **scope: Any,
) -> AsyncIterator[Client]:
    """Open a WebSocket; at the end of the block the client leaves, and the app has to end."""
    judge = WebSocketJudge(extension, scope.get("subprotocols", ()))
    client = Client(judge, kind)
    client.put({"type": "websocket.connect"})
    before = asyncio.all_tasks()
    scope = {
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if extension else None,
        **scope,
    }
    handshake = make_scope("websocket", target, headers, **scope)
    task = asyncio.create_task(app(handshake, client._receive, client._send))
    try:
        yield client
        if leave:
            client.leave()
        async with asyncio.timeout(LIMIT):
            await task
    finally:
        task.cancel()
        await asyncio.wait([task])
    if alone:
        check_no_task_left(before)


async def handshake(app: Any, target: str = "/", **options: Any) -> Client:
    """Open a WebSocket, let the handler end by itself, and return what the client saw."""
    async with websocket(app, target, leave=False, **options) as client:
        pass
    return client


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[list[str]]:
    """Start an app, and stop it at the end of the block; yields the list of what the app answers."""
    answers: list[str] = []
    expected = ["startup"]
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answered = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        phase, result = message["type"].removeprefix("lifespan.").split(".")
        check(phase == expected[-1] and result in ("complete", "failed"), "out of turn", message)
        answers.append(f"{phase} {result}")
        expected.append("nothing")
        answered.set()

    messages.put_nowait({"type": "lifespan.startup"})
    before = asyncio.all_tasks()
    task = asyncio.create_task(app({"type": "lifespan", "state": {}}, messages.get, send))
    task.add_done_callback(lambda _: answered.set())
    async with asyncio.timeout(LIMIT):
        await answered.wait()
    yield answers
    if answers == ["startup complete"]:
        expected.append("shutdown")
        messages.put_nowait({"type": "lifespan.shutdown"})
    async with asyncio.timeout(LIMIT):
        await task
    check_no_task_left(before)
