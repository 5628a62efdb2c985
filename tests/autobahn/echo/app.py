"""An echo in MicroPie, and the same without it, which shows what a server does by itself."""

from __future__ import annotations

from micropie import App, WebSocket
from micropie.types import Receive, Scope, Send

LIMIT = 32 * 1024 * 1024  # The largest message of the suite has 16 MiB.


class Echo(App):
    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)


micropie = Echo(max_message_size=LIMIT)


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise ValueError(f"no {scope['type']} here")  # How an app without a lifespan says so.
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        data = {kind: message[kind] for kind in ("text", "bytes") if message.get(kind) is not None}
        await send({"type": "websocket.send", **data})
