"""Greet: the address says whom to greet."""

from pathlib import Path
from typing import Literal

from micropie import App, WebSocket

HERE = Path(__file__).parent


class Greet(App):
    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    async def ws_greet(self, ws: WebSocket, name: str = "Guest"):
        await ws.accept()
        await ws.send_text(f"Hello {name}!")
        await ws.close()


app = Greet()
