"""An app with something for every attack to aim at, an echo for the innocent, and a word about its own memory."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from micropie import App, ConnectionClosed, FromSession, WebSocket

MIB = 1024 * 1024

#: How many echoes the innocent has while a handler hoards its input.
PATIENCE = 100


class Target(App):
    """Handlers that take their input in every way there is."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.echoes = asyncio.Semaphore(0)
        self.asleep = threading.Semaphore(0)
        self.alarm = threading.Event()
        self.streams = 0
        self.no_stream = asyncio.Event()

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)
            self.echoes.release()

    async def memory(self) -> dict[str, int]:
        """The resident memory of this process and its peak since the last question, in bytes."""
        return _memory()

    # --- bodies

    async def field(self, name: str) -> str:
        return f"{len(name)}"

    async def everything(self, **values: Any) -> str:
        return f"{len(values)}"

    async def body(self) -> str:
        return f"{len(await self.request.body())}"

    async def json(self) -> str:
        return type(self.request.get_json).__name__

    async def number(self, value: int) -> str:
        return f"{value % 10}"

    async def numbers(self, values: list[int]) -> str:
        return f"{len(values)}"

    async def upload(self, file: Any) -> str:
        size = 0
        while piece := await file["content"].get():
            size += len(piece)
        return f"{size}"

    async def file_then_field(self, file: Any, name: str) -> str:
        return f"{name} {await self.upload(file)}"

    async def few_descriptors(self, name: str) -> tuple[int, str]:
        """Whether what came before the field is open in few files."""
        return (200 if len(os.listdir("/proc/self/fd")) < 40 else 500), name  # noqa: PTH208  # numbers, no paths

    async def pieces(self) -> str:
        size = 0
        async for piece in self.request.stream():
            size += len(piece)
        return f"{size}"

    async def hoard(self, file: Any) -> str:
        """Take an upload and never look into it."""
        await self._wait_for_echoes()
        return "nothing was read"

    async def stall(self) -> str:
        """Do what no handler should: hold up everybody."""
        time.sleep(1.5)  # noqa: ASYNC251  # what is forbidden is on trial
        return "that was long"

    # --- the rest of a request

    async def index(self, *segments: str) -> str:
        return f"{len(segments)}"

    async def query(self, **values: Any) -> str:
        return f"{len(values)}"

    async def cookies(self) -> str:
        return f"{len(self.request.cookies)}"

    async def headers(self) -> str:
        return f"{len(self.request.headers)}"

    async def member(self, user: FromSession[str]) -> str:
        return user

    # --- streams

    async def film(self) -> AsyncIterator[bytes]:
        """Neither wait nor end."""
        with self._counted():
            while True:
                yield bytes(10_000)

    async def tail(self) -> AsyncIterator[bytes]:
        """Wait for ever, and swallow a cancellation."""
        with self._counted():
            yield b"begun"
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.Event().wait()

    async def silent(self) -> AsyncIterator[bytes]:
        """Never have anything to say."""
        with self._counted():
            await asyncio.Event().wait()
            yield b"never"

    async def all_closed(self) -> str:
        """Answer when no stream is open any more."""
        await self.no_stream.wait()
        return "all closed"

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.streams += 1
        self.no_stream.clear()
        try:
            yield
        finally:
            self.streams -= 1
            if not self.streams:
                self.no_stream.set()

    # --- threads

    def sleep(self) -> str:
        self.asleep.release()
        self.alarm.wait()
        return "awake"

    async def all_asleep(self) -> str:
        """Answer when all threads of sync handlers sleep."""
        await asyncio.to_thread(self._count_sleepers)
        return "all asleep"

    async def wake(self) -> str:
        self.alarm.set()
        return "awake"

    def _count_sleepers(self) -> None:
        for _ in range(self.sync_workers):
            self.asleep.acquire()

    # --- WebSockets

    async def ws_receive(self, ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send(type(await ws.receive_json()).__name__)

    async def ws_text(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send(f"{len(await ws.receive_text())}")

    async def ws_hoard(self, ws: WebSocket) -> None:
        """Open a socket and never read from it."""
        await ws.accept()
        await self._wait_for_echoes()

    async def ws_run(self, ws: WebSocket) -> None:
        """The same, in a job of ``run()``, which reads ahead."""
        await ws.accept()
        await ws.run(self._wait_for_echoes())

    async def ws_flood(self, ws: WebSocket) -> None:
        """Send to a client that may not read."""
        await ws.accept()
        try:
            while True:
                await ws.send(bytes(65536))
        except ConnectionClosed:
            pass

    async def _wait_for_echoes(self) -> None:
        while not self.echoes.locked():
            await self.echoes.acquire()
        for _ in range(PATIENCE):
            await self.echoes.acquire()


def _memory() -> dict[str, int]:
    peak = _resident("VmHWM")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free is the system's again, so that growth is seen
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # proc(5): the peak begins anew
    return {"now": _resident("VmRSS"), "peak": peak}


def _resident(line: str) -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


app = Target()

#: It takes large bodies, so that what is not read has to be held back and is not refused.
roomy = Target(max_body_size=1024 * MIB)

#: It waits a moment for the next piece of a body, and no longer.
hurried = Target(body_timeout=0.2)
