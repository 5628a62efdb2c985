"""Echo: every message comes back to the one who sent it."""

import asyncio
from pathlib import Path
from typing import Literal

from micropie import App, WebSocket

HERE = Path(__file__).parent


class Echo(App):
    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    async def ws_echo(self, ws: WebSocket):
        await ws.accept()
        await ws.run(self._answer(ws), heartbeat(ws))

    async def _answer(self, ws):
        while True:  # until the browser leaves: ConnectionClosed ends the handler
            await ws.send_text(f"Echo: {await ws.receive_text()}")


async def heartbeat(ws):
    """Send an empty text every 20 seconds: a page that hears nothing for longer knows that its line is dead."""
    while True:
        await asyncio.sleep(20)
        await ws.send_text("")


app = Echo()
