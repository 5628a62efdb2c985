"""Together: several browsers edit one text, and none of them waits for another."""

import asyncio
import secrets
from pathlib import Path
from typing import Literal

from micropie import App, FromSession, WebSocket, methods

HERE = Path(__file__).parent
ANIMALS = ["Badger", "Crane", "Dormouse", "Fox", "Hare", "Hedgehog", "Magpie", "Otter", "Owl", "Squirrel"]
MANY = 100  # updates, before a browser is asked to fold them into one snapshot
LARGEST = 4 * 2**20  # bytes of the whole document


class Document:
    """What the browsers have sent, as bytes that only they understand: the merging is theirs.

    An update has a number. Those below ``base`` are folded into the snapshot.
    """

    def __init__(self):
        self.snapshot, self.base, self.asked = b"", 0, 0
        self.updates: list[bytes] = []
        self.people: list[str] = []
        self.changed = asyncio.Event()

    @property
    def end(self):
        return self.base + len(self.updates)

    def tell(self):
        self.changed.set()
        self.changed = asyncio.Event()  # The next change is another event.

    def after(self, seen):
        """Return what somebody lacks who has seen the updates below this number."""
        return self.updates[seen - self.base :] if seen >= self.base else [self.snapshot, *self.updates]

    def fold(self, snapshot, end):
        """Put a snapshot in the place of the updates below ``end``. Only the one that was asked for is welcome."""
        if self.base < end == self.asked:
            del self.updates[: end - self.base]
            self.snapshot, self.base = snapshot, end


class Together(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.document = Document()

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    @methods("POST")
    async def hello(self) -> None:
        """Give the visitor a name, and keep it in the session."""
        self.request.session.setdefault("name", secrets.choice(ANIMALS))

    async def ws_edit(self, ws: WebSocket, name: FromSession[str]):
        self.document.people.append(name)
        self.document.tell()
        try:
            await ws.accept()
            await ws.run(self._listen(ws), self._speak(ws), heartbeat(ws))
        finally:
            self.document.people.remove(name)
            self.document.tell()

    async def _listen(self, ws):
        """Each frame is a number in four bytes, then an update if it is 0, or the snapshot of all updates below it."""
        while True:
            frame = await ws.receive_bytes()
            end, data = int.from_bytes(frame[:4]), frame[4:]
            if end:
                self.document.fold(data, end)
            elif sum(map(len, self.document.after(-1))) + len(data) > LARGEST:
                await ws.close(4013, "The document is full.")
            elif data:
                self.document.updates.append(data)
                self.document.tell()

    async def _speak(self, ws):
        """Send what is new since the last time: a browser that reads slowly holds up nobody, and misses nothing."""
        document, seen = self.document, -1
        while True:
            changed, new, seen = document.changed, document.after(seen), document.end
            for update in filter(None, new):  # There may be no snapshot yet.
                await ws.send_bytes(update)
            await ws.send_json({"people": sorted(document.people)})
            if seen - max(document.base, document.asked) >= MANY:
                document.asked = seen  # This browser has just got them all.
                await ws.send_json({"fold": seen})
            await changed.wait()


async def heartbeat(ws):
    """Send an empty text every 20 seconds: a page that hears nothing for longer knows that its line is dead."""
    while True:
        await asyncio.sleep(20)
        await ws.send_text("")


app = Together()
