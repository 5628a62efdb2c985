"""An app whose clients stop reading, vanish, or are kicked: what it writes says how long each call took.

Its settings are those of a hurried app, so that a test need not wait long.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any

from micropie import App, ConnectionClosed, WebSocket, methods

CHUNK = bytes(64 * 1024)


def say(text: str) -> None:
    """Write a line that a test waits for."""
    sys.stdout.write(f"@{text}\n")
    sys.stdout.flush()


class Stuck(App):
    send_timeout: float | None = 2.0
    close_timeout = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.sent: dict[str, int] = {}
        self.slowest: dict[str, float] = {}

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    async def ws_waits(self, ws: WebSocket, name: str) -> None:
        self.tasks[name] = asyncio.current_task()  # type: ignore[assignment]  # a handler has one
        await ws.accept()
        await ws.send("ready")
        try:
            async for _ in ws:
                pass
        finally:
            say(f"{name} ended")

    async def ws_flood(self, ws: WebSocket, name: str) -> None:
        """Send until the client is full, and say how it ended."""
        await ws.accept()
        try:
            while True:
                began = time.monotonic()
                try:
                    await ws.send_bytes(CHUNK)
                finally:
                    took = time.monotonic() - began
                    self.slowest[name] = max(self.slowest.get(name, 0.0), took)
                self.sent[name] = self.sent.get(name, 0) + 1
        except ConnectionClosed as closed:
            say(f"{name} closed with {closed.code}")

    async def ws_film(self, ws: WebSocket, name: str) -> None:
        """The same with small messages, in a block that is left when the client goes."""
        await ws.accept()
        async with ws.until_closed():
            while True:
                await ws.send_bytes(b"x" * 100)
        say(f"{name} is left")

    async def progress(self, name: str) -> str:
        return str(self.sent.get(name, 0))

    async def slowest_send(self, name: str) -> str:
        """The seconds that the longest send of a flood took."""
        return str(self.slowest[name])

    @methods("POST")
    async def close(self, name: str) -> dict[str, Any]:
        """Close the sockets of a name, and tell how many, and in which time."""
        began = time.monotonic()
        number = await self.close_websockets(4001, "kicked", where=lambda ws: ws.path_params == [name])
        return {"closed": number, "took": time.monotonic() - began}

    @methods("POST")
    async def give_up(self, name: str) -> str:
        """Close one socket, and wait no longer than a moment."""
        (ws,) = [ws for ws in self.websockets if ws.path_params == [name]]
        try:
            async with asyncio.timeout(0.2):
                await ws.close(1013)
        except TimeoutError:
            return "given up"
        return "closed"

    @methods("POST")
    async def cancel(self, name: str) -> None:
        self.tasks.pop(name).cancel()

    @methods("POST")
    def tell(self, name: str) -> str:
        """Send from a thread."""
        sent = [
            self.from_thread(ws.send_text("from a thread")).result(30)
            for ws in self.websockets
            if ws.path_params == [name]
        ]
        return str(len(sent))


logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")


class Patient(Stuck):
    """The same app, which waits for a client as long as it takes."""

    send_timeout = None


app = Stuck()
patient = Patient()
