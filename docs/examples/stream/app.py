"""Stream: an answer that comes word by word, and events that every open tab hears."""

import asyncio
import json
import secrets
from collections import deque
from pathlib import Path
from typing import Literal

from micropie import App

HERE = Path(__file__).parent

STORY = """
The oven is warm when the baker comes in, before the first bird. She rolls out the dough,
lays it into the tin and trims what hangs over. Apples, sugar, a pinch of cinnamon, and a
lid with four small cuts, so that the steam can leave. Then she waits. A pie cannot be
hurried. First there is no smell at all, then there is a little, and then the whole street
knows. At seven she opens the door of the shop, and the first one in the queue is you.
"""


class Stream(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.news: deque[tuple[str, str]] = deque(
            maxlen=100
        )  # id and text: what a tab that comes back can still get
        self.changed = asyncio.Event()
        self.tabs = 0

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css"]):
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", "text/css")]

    async def story(self, pause: float = 0.12):
        words = self._tell(min(max(pause, 0), 1))
        return 200, words, {"Content-Type": "text/plain; charset=utf-8"}

    async def _tell(self, pause):
        words, told = STORY.split(), 0
        try:
            for word in words:
                yield f"{word} "
                told += 1
                await asyncio.sleep(pause)
        finally:  # at the end, or when the browser leaves: then the generator is cancelled
            whole = told == len(words)
            self._note("A story was told to its end." if whole else f"A story ended after {told} words.")

    async def events(self, after: str = ""):
        headers = {
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx shall pass each event on at once
        }
        return 200, self._events(self.request.headers.get("last-event-id", after)), headers

    async def _events(self, last):
        self.tabs += 1
        self._note(f"A tab listens; now {self.tabs}.")
        try:
            yield "retry: 1000\n\n"  # milliseconds after which the browser connects again
            while True:
                changed = self.changed  # taken first, so that nothing is missed
                for event_id, text in self._after(last):
                    yield f"id: {event_id}\ndata: {json.dumps(text)}\n\n"
                    last = event_id
                try:
                    async with asyncio.timeout(15):
                        await changed.wait()
                except TimeoutError:
                    yield "event: alive\ndata:\n\n"  # for the page, and so that no proxy takes the silence for the end
        finally:
            self.tabs -= 1
            self._note(f"A tab left; now {self.tabs}.")

    def _after(self, last):
        """Return what came after an id; everything if the id is not known (any more)."""
        ids = [event_id for event_id, _ in self.news]
        return list(self.news)[ids.index(last) + 1 if last in ids else 0 :]

    def _note(self, text):
        self.news.append((secrets.token_hex(8), text))
        self.changed.set()
        self.changed = asyncio.Event()


app = Stream()
