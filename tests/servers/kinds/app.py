"""One app with a handler of each kind, for a suite that runs on every server."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    Request,
    WebSocket,
    WebSocketMiddleware,
    WebSocketRequest,
    methods,
)

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("kinds")
variable = contextvars.ContextVar("variable", default="unset")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Stamp(HttpMiddleware):
    """Stamps each answer, and shows that both hooks ran."""

    async def on_headers(self, request: Request) -> dict[str, Any] | None:
        return {"status_code": 418, "body": "teapot"} if request.headers.get("x-teapot") else None

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        variable.set("set by the hook")
        return {"status_code": 403, "body": "banned"} if request.headers.get("x-banned") else None

    async def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        return {"headers": [*extra_headers, ("X-Stamp", "stamped")]}


class Guard(WebSocketMiddleware):
    """Refuses who is banned, and notes who has left."""

    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None:
        return {"status_code": 429} if request.headers.get("x-banned") else None

    async def after_websocket(self, request: WebSocketRequest) -> None:
        logger.info("after %s", request.path)


class Child(App):
    """A mounted app."""

    async def index(self) -> str:
        return f"child at {self.request.scope['root_path']}"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("child")


class Kinds(App):
    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []
        self.startup_handlers += [self._start, lambda: self.started.append("sync")]
        self.shutdown_handlers.append(lambda: logger.info("shutdown handler ran"))
        self.middlewares.append(Stamp())
        self.ws_middlewares.append(Guard())
        self.mount("/child", Child())

    async def _start(self) -> None:
        self.started.append("async")

    async def life(self) -> list[str]:
        return self.started

    # --- what a handler returns

    async def text(self) -> str:
        return "text ä"

    async def binary(self) -> tuple[int, bytes, list[tuple[str, str]]]:
        return 200, b"\x00\xff", [("Content-Type", "application/octet-stream")]

    async def mapping(self) -> dict[str, Any]:
        return {"a": [1, None, "ä"]}

    async def status(self) -> tuple[int, str]:
        return 201, "created"

    async def nothing(self) -> None:
        return None

    async def elsewhere(self) -> Any:
        return self._redirect("/text?x=ä")

    async def page(self) -> str:
        return await self._render_template("page.html", name="<b>")

    async def stream(self) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number} "
            await asyncio.sleep(0)

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.01)
        finally:
            logger.info("the stream has stopped")

    # --- sync handlers

    def sync(self, seconds: float = 0) -> str:
        time.sleep(seconds)
        in_a_thread = threading.current_thread() is not threading.main_thread()
        return f"{in_a_thread} {variable.get()} {self.request.path}"

    def sync_stream(self) -> Iterator[str]:
        yield "a"
        yield "b"

    # --- arguments

    async def convert(
        self,
        number: int,
        fraction: float,
        flag: bool,
        *,
        uid: UUID,
        day: date,
        moment: datetime,
        colour: Colour,
        size: Literal["s", "m"],
        maybe: int | None = None,
        tags: list[int],
    ) -> dict[str, Any]:
        values = locals()
        del values["self"]
        return {name: str(value) for name, value in values.items()}

    async def rest(self, *segments: str, **names: str) -> list[Any]:
        return [segments, names]

    # --- requests

    @methods("POST")
    async def form(self, name: str, age: int) -> dict[str, Any]:
        return {"name": name, "age": age}

    async def raw(self) -> bytes:
        return (await self.request.body())[::-1]

    async def upload(self, title: str, file: dict[str, Any]) -> dict[str, Any]:
        length = 0
        while (piece := await file["content"].get()) is not None:
            length += len(piece)
        return {"title": title, "filename": file["filename"], "length": length}

    # --- sessions and errors

    async def count(self) -> str:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return str(self.request.session["n"])

    async def me(self, n: FromSession[int]) -> str:
        return f"you have counted to {n}"

    async def logout(self) -> str:
        self.request.session = {}
        return "bye"

    async def broken(self) -> str:
        raise ValueError("secret")

    async def conflict(self) -> str:
        raise HTTPError(409, "try again", [("Retry-After", "5")])

    # --- WebSockets

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept(subprotocol=ws.subprotocols[0] if ws.subprotocols else None)
        async for message in ws:
            await ws.send(message)

    async def ws_add(self, ws: WebSocket, start: int, *, step: int = 1) -> None:
        await ws.accept()
        try:
            while True:
                start += step * await ws.receive_json()
                await ws.send_json(start)
        except ConnectionClosed as closed:
            logger.info("left with %d", closed.code)

    async def ws_both(self, ws: WebSocket) -> None:
        async def reader() -> None:
            async for message in ws:
                await queue.put(message)

        async def writer() -> None:
            while True:
                await ws.send(await queue.get())

        queue: asyncio.Queue[str | bytes] = asyncio.Queue()
        await ws.accept()
        await ws.run(reader(), writer())

    async def ws_push(self, ws: WebSocket) -> None:
        await ws.accept()
        async with ws.until_closed():
            await ws.send("pushed")
            await asyncio.Event().wait()
        logger.info("the pushing has stopped")

    async def ws_count(self, ws: WebSocket, n: FromSession[int]) -> None:
        await ws.accept()
        await ws.send_json(n)

    async def ws_closes(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, "enough")

    async def ws_ends(self, ws: WebSocket, how: str) -> None:
        await ws.accept()
        if how == "background":
            self.task = asyncio.create_task(ws.receive())
            await asyncio.sleep(0)
            return
        await ws.run(asyncio.sleep(0.01))
        if how == "close":
            await ws.close(4005)
        if how == "error":
            raise ValueError("secret")

    async def ws_refuses(self, ws: WebSocket) -> None:
        await ws.reject(402, {"pay": "first"})


app = Kinds()
