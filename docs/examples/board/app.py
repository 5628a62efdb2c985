"""Board: everybody draws on one picture, and whoever comes late finds it there."""

import asyncio
import json
from collections import deque
from pathlib import Path
from typing import Literal

from micropie import App, WebSocket

HERE = Path(__file__).parent

# A piece of a line is a binary frame: a byte for the ink, one for the width, two that count the points, and then
# for each point x and y, two bytes each, from 0 at the left and the top to 65535.
INKS, WIDTHS, POINTS = 8, 100, 64


class Board(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.picture: deque[bytes] = deque(maxlen=20_000)  # the pieces in their order; the oldest fade out
        self.outboxes: set[asyncio.Queue[str | bytes]] = set()  # what each page has still to hear

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    async def ws_draw(self, ws: WebSocket):
        await ws.accept(max_message_size=4 + 4 * POINTS)
        outbox: asyncio.Queue[str | bytes] = asyncio.Queue(maxsize=1000)
        self._show_all(outbox)
        self.outboxes.add(outbox)  # nothing is awaited since the line above, so no piece can slip through
        self._count()
        try:
            await ws.run(self._listen(ws), self._tell(ws, outbox))
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
                self._tell_everybody(message)  # its sender too: everybody sees the pieces in one order
            else:
                await ws.close(1008, "That is no piece of a line.")

    async def _tell(self, ws, outbox):
        while True:
            await ws.send(await outbox.get())

    def _tell_everybody(self, message):
        for outbox in self.outboxes:
            if outbox.full():  # a page on a slow line: what waits there is in the picture anyway
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
    """Whether a message is one piece of a line. Anybody can send anything, so nothing is sure."""
    if not isinstance(message, bytes) or len(message) < 8:
        return False
    ink, width, count = message[0], message[1], int.from_bytes(message[2:4], "big")
    return ink < INKS and 1 <= width <= WIDTHS and len(message) == 4 + 4 * count


app = Board()
