"""An app with a handler for each situation in a WebSocket's life, which says in the log what the handler saw.

A line of the log is ``@CASE KIND: TEXT``: the case is what the client put into the header ``X-Case``, the kind is
``handler`` or, for a line of the framework, its level. ``@CASE over`` is the last one of a connection.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from raw import Shared, raw

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    WebSocket,
    WebSocketMiddleware,
    WebSocketRequest,
)
from micropie.types import Receive, Scope, Send

case = contextvars.ContextVar("case", default="-")


class OneLine(logging.Formatter):
    """One line for each record, with the error in the place of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        error = f" [{record.exc_info[1]!r}]" if record.exc_info else ""
        text = f"@{case.get()} {record.levelname.lower()}: {record.getMessage()}{error}"
        return text.replace("\n", " ")


def say(text: str) -> None:
    """Write a line of the handler's."""
    sys.stdout.write(f"@{case.get()} {text}\n")
    sys.stdout.flush()


def saw(what: object) -> None:
    say(f"handler: {what}")


@contextmanager
def telling() -> Iterator[None]:
    """Say what error leaves the block, if one does."""
    try:
        yield
    except ConnectionClosed as closed:
        saw(f"ConnectionClosed({closed.code!r}, {closed.reason!r})")
        raise
    except BaseException as error:
        saw(type(error).__name__)
        raise


async def attempt(call: Awaitable[Any]) -> None:
    """Say what comes of a call, be it an error."""
    try:
        saw(repr(await call))
    except Exception as error:
        saw(f"{type(error).__name__}: {error}")


class Guard(WebSocketMiddleware):
    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None:
        return {"status_code": 429, "body": "slow down"} if request.headers.get("x-banned") else None

    async def after_websocket(self, request: WebSocketRequest) -> None:
        pass


class Life(App):
    def __init__(self) -> None:
        super().__init__()
        self.ws_middlewares.append(Guard())
        self.sent: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    # --- the handshake

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    async def ws_needs(self, ws: WebSocket, number: int, *, name: str, size: int = 0) -> None:
        await ws.accept()

    async def ws_me(self, ws: WebSocket, user: FromSession[str]) -> None:
        await ws.accept()

    async def ws_forbids(self, ws: WebSocket) -> None:
        raise HTTPError(401, "who are you?", [("X-Extra", "yes")])

    async def ws_shuts(self, ws: WebSocket) -> None:
        await ws.close()

    async def ws_quiet(self, ws: WebSocket) -> None:
        pass

    async def ws_breaks(self, ws: WebSocket) -> None:
        raise ValueError("secret")

    async def ws_rejects(self, ws: WebSocket) -> None:
        await ws.reject(402, {"pay": "first"}, [("X-Extra", "yes")])

    async def ws_greets(self, ws: WebSocket) -> None:
        await ws.accept(subprotocol=ws.subprotocols[0], headers=[("X-Extra", "yes")])

    # --- how the handler ends

    async def ws_returns(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("hello")

    async def ws_raises(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ValueError("secret")

    async def ws_gives_up(self, ws: WebSocket) -> None:
        await ws.accept()
        raise HTTPError(403, "no more")

    async def ws_closes(self, ws: WebSocket, code: int, *, reason: str = "") -> None:
        await ws.accept()
        await ws.close(code, reason)

    async def ws_long_reason(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, "ä" * 100)

    # --- how the client ends

    async def ws_receives(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        with telling():
            while True:
                await ws.receive()

    async def ws_iterates(self, ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        saw(f"the loop ends, close_code {ws.close_code}")

    async def ws_sends(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        await self.gates[case.get()].wait()
        with telling():
            for _ in range(3):
                await ws.send("more")
            saw("the sends are silent")
            await ws.receive()

    async def open_gate(self, name: str) -> None:
        """Let the handler of a case go on."""
        self.gates[name].set()

    async def ws_until_closed(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        with telling():
            async with ws.until_closed():
                await asyncio.Event().wait()
        saw(f"the block is left, close_code {ws.close_code}")

    async def ws_run(self, ws: WebSocket) -> None:
        async def writer() -> None:
            await ws.send("ready")
            await asyncio.Event().wait()

        await ws.accept()
        with telling():
            await ws.run(writer())

    # --- bad messages

    async def ws_text(self, ws: WebSocket) -> None:
        await ws.accept()
        with telling():
            await ws.receive_text()

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        with telling():
            await ws.receive_json()

    async def ws_json_or_not(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_json()
        except ValueError:
            saw("ValueError")
        await ws.send_json(await ws.receive_json())

    async def ws_messages(self, ws: WebSocket) -> None:
        await ws.accept()
        with telling():
            while True:
                await ws.send(f"{len(await ws.receive())} bytes")

    # --- misuse

    async def ws_misuse_early(self, ws: WebSocket) -> None:
        await attempt(ws.receive())
        await attempt(ws.send("too early"))
        await attempt(ws.accept(subprotocol="chat"))
        await ws.accept()
        await ws.send("still usable")

    async def ws_misuse(self, ws: WebSocket) -> None:
        await ws.accept()
        await attempt(ws.accept())
        await attempt(ws.reject(404))
        await attempt(ws.send(1))  # type: ignore[arg-type]  # what is wrong is sent on purpose
        await attempt(ws.send_json({1, 2}))
        await attempt(ws.close(1006))
        await attempt(ws.close("1000"))  # type: ignore[arg-type]  # likewise
        waiting = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        await attempt(ws.receive())
        await ws.send("still usable")
        await ws.send(await waiting)

    async def ws_after_close(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, "enough")
        await attempt(ws.send("too late"))
        await attempt(ws.receive())
        await attempt(ws.close(4001))

    # --- faults and load

    async def ws_flood(self, ws: WebSocket, chunks: int) -> None:
        await ws.accept()
        with telling():
            for number in range(chunks):
                await ws.send_bytes(number.to_bytes(4) * (64 * 1024 // 4))
                self.sent[case.get()] = number + 1
            saw("all is sent")
            await ws.receive()  # else a server that closes might not wait for a slow reader

    async def progress(self, name: str) -> str:
        return str(self.sent.get(name, 0))

    async def ws_ends(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)
        saw("closed")

    async def open_websockets(self) -> str:
        return str(len(self.websockets))

    # --- shutdown

    async def ws_sleeps(self, ws: WebSocket) -> None:
        """Neither receives nor sends, so that it learns nothing of a client that leaves."""
        await ws.accept()
        await ws.send("ready")
        try:
            with telling():
                await asyncio.Event().wait()
        finally:
            saw("finally")

    async def ws_waits(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        try:
            with telling():
                await ws.receive()
        finally:
            saw("finally")

    async def stream(self) -> AsyncIterator[str]:
        try:
            with telling():
                while True:
                    yield "more "
                    await asyncio.sleep(0.01)
        finally:
            saw("finally")


life = Life()
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(OneLine())
logger = logging.getLogger("micropie")
logger.addHandler(handler)
logger.setLevel(logging.INFO)
logger.propagate = False


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The app, or for ``/raw/...`` one without a framework; both tell the case and its end."""
    if scope["type"] == "lifespan":
        await life(scope, receive, send)
        return
    case.set(dict(scope["headers"]).get(b"x-case", b"-").decode())
    try:
        if scope["path"].startswith("/raw/"):
            await raw(scope, receive, send, Shared(saw, lambda: life.gates[case.get()].wait()))
        else:
            await life(scope, receive, send)
    finally:
        say("over")
