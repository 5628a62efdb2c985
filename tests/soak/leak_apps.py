"""The apps that leaks.py visits: one that does all that an app does, and one that forgets nothing, to be caught."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import secrets
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from micropie import App, ConnectionClosed, FromSession, HTTPError, HttpMiddleware, Request, WebSocket

PATIENCE = 30.0  # Seconds for what is still under way to end, when somebody asks what is left.

logging.getLogger("micropie").disabled = True  # thousands of handlers fail here, on purpose


class Visits(HttpMiddleware):
    """Counts in the session, so that each visitor has one."""

    async def before_request(self, request: Request) -> None:
        if request.path != "/left":
            request.session["visits"] = request.session.get("visits", 0) + 1

    async def after_request(self, request: Request, *answer: Any) -> None:
        """Be there, since after hooks are kept until their turn comes."""


class Visited(App):
    """A handler for each kind of visit."""

    session_timeout = 1  # of those who do not come back: the store stays small
    max_body_size = 512 * 1024

    def __init__(self) -> None:
        super().__init__(session_id_factory=self._make_id)
        self.begun = 0
        self.middlewares.append(Visits())
        self.startup_handlers.append(self._note_tasks)

    def _make_id(self) -> str:
        self.begun += 1
        return secrets.token_urlsafe()

    async def _note_tasks(self) -> None:
        self._servers = asyncio.all_tasks()

    async def left(self) -> dict[str, int]:
        """What this process holds when all that is under way has ended."""
        others = asyncio.all_tasks() - self._servers - {asyncio.current_task()}
        running = (await asyncio.wait(others, timeout=PATIENCE))[1] if others else ()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free is the system's again, so that growth is seen
        backend: Any = self.session_backend
        return {
            "resident": _resident(),
            "objects": len(gc.get_objects()),
            "tasks": len(running),
            "threads": threading.active_count(),
            "files": _files(),
            "sockets": len(self.websockets),
            "sessions": len(backend._sessions),
            "begun": self.begun,
        }

    # --- answered

    async def index(self) -> str:
        return f"visit {self.request.session['visits']}"

    async def login(self, name: str) -> str:
        self.request.regenerate_session()
        self.request.session["user"] = name
        await self.request.save_session()
        return f"hello {name}"

    async def me(self, user: FromSession[str]) -> str:
        return user

    async def logout(self) -> str:
        self.request.session = {}
        return "bye"

    async def json(self, values: list[int]) -> dict[str, int]:
        return {"sum": sum(values)}

    async def upload(self, file: Any, name: str) -> str:
        size = 0
        while piece := await file["content"].get():
            size += len(piece)
        return f"{name} {size}"

    async def unread(self, file: Any) -> str:
        return str(file["filename"])

    async def stream(self, count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield f"{number}\n"
            await asyncio.sleep(0)
        self.request.session["streamed"] = count

    def thread(self) -> str:
        return threading.current_thread().name

    # --- not answered, or not in good order

    async def waits(self) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.Event().wait()

    async def fails(self) -> None:
        raise ArithmeticError

    async def refuses(self) -> None:
        raise HTTPError(409, "not now")

    async def breaks(self) -> AsyncIterator[str]:
        yield "begun"
        raise ArithmeticError

    # --- WebSockets

    async def ws_echo(self, ws: WebSocket) -> None:
        self.request.session["socket"] = 1
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    async def ws_run(self, ws: WebSocket) -> None:
        await ws.accept()
        inbox: asyncio.Queue[str | bytes] = asyncio.Queue()

        async def reader() -> None:
            async for message in ws:
                inbox.put_nowait(message)

        async def writer() -> None:
            while True:
                await ws.send(await inbox.get())

        await ws.run(reader(), writer())

    async def ws_waits(self, ws: WebSocket) -> None:
        await ws.accept()
        async with ws.until_closed():
            await ws.send("begun")
            await asyncio.Event().wait()

    async def ws_caught(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_json()
        except ConnectionClosed:
            self.request.session["caught"] = 1

    async def ws_fails(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ArithmeticError

    async def ws_refuses(self, ws: WebSocket) -> None:
        raise HTTPError(401)


class Leaky(Visited):
    """Keeps what each visit brings."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    async def index(self) -> str:
        self.kept.append(self.request)
        return await super().index()


def _files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def _resident() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


app = Visited()
leaky = Leaky()
