"""Greet: the address says whom to greet."""

from pathlib import Path

from micropie import App, WebSocket

PAGE = Path(__file__).with_name("index.html")


class Greet(App):
    async def index(self):
        return PAGE.read_text(encoding="utf-8")

    async def ws_greet(self, ws: WebSocket, name: str = "Guest"):
        await ws.accept()
        await ws.send_text(f"Hello {name}!")
        await ws.close()


app = Greet()
