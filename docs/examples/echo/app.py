"""Echo: every message comes back to the one who sent it."""

from pathlib import Path

from micropie import App, WebSocket

PAGE = Path(__file__).with_name("index.html")


class Echo(App):
    async def index(self):
        return PAGE.read_text(encoding="utf-8")

    async def ws_echo(self, ws: WebSocket):
        await ws.accept()
        while True:  # until the browser leaves: ConnectionClosed ends the handler
            await ws.send_text(f"Echo: {await ws.receive_text()}")


app = Echo()
