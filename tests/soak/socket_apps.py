"""The apps that sockets.py opens its sockets to: each keeps them open, passes a message on to all, and counts."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from micropie import App, WebSocket, WebSocketMiddleware, WebSocketRequest
from micropie.types import Receive, Scope, Send


def report(counts: Counter[str]) -> None:
    """Tell at the end what has been counted: the last line that the server writes."""
    # Flushed here: uvicorn ends by its own signal, which leaves no time for what Python still holds back.
    print(json.dumps(counts), flush=True)


class Sockets(App):
    """Nothing but a handler."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.shutdown_handlers.append(lambda: report(self.counts))

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        self.counts["opened"] += 1
        try:
            async for message in ws:
                for other in self.websockets:
                    await other.send(message)
        finally:
            self.counts["finally"] += 1


class Hook(WebSocketMiddleware):
    """Counts on the way out."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts

    async def before_websocket(self, request: WebSocketRequest) -> None:
        """Let everybody in."""

    async def after_websocket(self, request: WebSocketRequest) -> None:
        self.counts["after_websocket"] += 1


class Raw:
    """The same without a framework."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.sockets: set[Send] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.serve if scope["type"] == "websocket" else self.lifespan)(receive, send)

    async def serve(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.counts["opened"] += 1
        self.sockets.add(send)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                for other in list(self.sockets):
                    await other({"type": "websocket.send", "text": message["text"]})
        finally:
            self.sockets.discard(send)
            self.counts["finally"] += 1

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        report(self.counts)
        await send({"type": "lifespan.shutdown.complete"})


raw: Any = Raw()
plain = Sockets()
hooked = Sockets()
hooked.ws_middlewares.append(Hook(hooked.counts))
