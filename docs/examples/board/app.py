"""Board: everybody draws on one picture, and it is still there when you come late."""

import asyncio
import json
from collections import deque
from pathlib import Path
from typing import Literal

from micropie import App, WebSocket

HERE = Path(__file__).parent

# A piece of a line is a binary frame: a byte for the ink, one for the width, two for the
# number of points, and for each point x and y, two bytes each, from 0 to 65535.
INKS, WIDTHS, POINTS = 8, 100, 64


class Board(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        # The pieces in their order (too many, and the oldest go), and what each page has still to hear.
        self.picture: deque[bytes] = deque(maxlen=20_000)
        self.outboxes: set[asyncio.Queue[str | bytes]] = set()

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    async def ws_draw(self, ws: WebSocket):
        await ws.accept(max_message_size=4 + 4 * POINTS)
        outbox: asyncio.Queue[str | bytes] = asyncio.Queue(maxsize=1000)
        self._show_all(outbox)
        self.outboxes.add(outbox)  # no await in between, so no piece can slip through
        self._count()
        try:
            await ws.run(self._listen(ws), self._tell(ws, outbox), heartbeat(ws))
        finally:
            self.outboxes.discard(outbox)
            self._count()

    async def _listen(self, ws):
        async for message in ws:
            if message == "clear":
                self.picture.clear()
                self._tell_everybody(json.dumps({"clear": True}))
            elif is_piece(message):
                self.picture.append(message)
                self._tell_everybody(message)  # its sender too: all have one order
            else:
                await ws.close(1008, "That is no piece of a line.")

    async def _tell(self, ws, outbox):
        while True:
            await ws.send(await outbox.get())

    def _tell_everybody(self, message):
        for outbox in self.outboxes:
            if outbox.full():  # a page on a slow line; the picture has what waits there
                self._show_all(outbox)
            else:
                outbox.put_nowait(message)

    def _show_all(self, outbox):
        """Let a page begin again, with the picture as it is now."""
        while not outbox.empty():
            outbox.get_nowait()
        outbox.put_nowait(json.dumps({"clear": True, "people": len(self.outboxes)}))
        outbox.put_nowait(b"".join(self.picture))

    def _count(self):
        self._tell_everybody(json.dumps({"people": len(self.outboxes)}))


def is_piece(message):
    """Whether a message is one piece of a line. Anybody can send anything."""
    if not isinstance(message, bytes) or len(message) < 8:
        return False
    ink, width, count = message[0], message[1], int.from_bytes(message[2:4], "big")
    return ink < INKS and 1 <= width <= WIDTHS and len(message) == 4 + 4 * count


async def heartbeat(ws):
    """Send an empty text every 20 seconds: a page that hears nothing for longer knows that its line is dead."""
    while True:
        await asyncio.sleep(20)
        await ws.send_text("")


app = Board()
