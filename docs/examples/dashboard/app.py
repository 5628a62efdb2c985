"""Dashboard: the server measures itself, and every page that is open draws along."""

import asyncio
import hashlib
import time
from collections import deque
from pathlib import Path
from typing import Literal

from micropie import App, WebSocket, methods

HERE = Path(__file__).parent
EVERY = 0.25  # seconds between two samples


class Dashboard(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.samples: deque[dict[str, float]] = deque(maxlen=480)  # of two minutes
        self.changed = asyncio.Event()
        self.startup_handlers.append(self._start)
        self.shutdown_handlers.append(self._stop)

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    async def ws_samples(self, ws: WebSocket, after: float = 0):
        """Send the samples since a time, and then each new one. The page only listens."""
        await ws.accept()
        async with ws.until_closed():
            while True:
                changed = self.changed  # taken first, so that no sample is missed
                if new := [sample for sample in self.samples if sample["time"] > after]:
                    await ws.send_json(new)
                    after = new[-1]["time"]
                await changed.wait()

    @methods("POST")
    async def work(self) -> None:
        """Keep the processor busy for a while, so that there is something to see."""
        end = time.monotonic() + 2
        while time.monotonic() < end:
            hashlib.sha256(bytes(8_000_000)).digest()  # for some milliseconds nothing else runs
            await asyncio.sleep(0.002)  # then the others have their turn

    async def _start(self):
        self._sampling = asyncio.create_task(self._sample())

    async def _stop(self):
        self._sampling.cancel()

    async def _sample(self):
        while True:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(EVERY)
            took = time.perf_counter() - began
            sample = {
                "time": time.time(),  # of the clock: it goes on after a restart
                "processor": 100 * (time.process_time() - used) / took,  # percent
                "delay": 1000 * max(took - EVERY, 0),  # milliseconds that we woke too late
                "pages": len(self.websockets),
            }
            self.samples.append(sample)
            self.changed.set()
            self.changed = asyncio.Event()


app = Dashboard()
