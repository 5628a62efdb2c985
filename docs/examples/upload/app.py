"""Upload: files are read while they come in, and a WebSocket tells how far they are."""

import asyncio
import hashlib
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

from micropie import App, FromSession, HTTPError, MultipartFileError, Upload, WebSocket, methods

HERE = Path(__file__).parent


class Desk:
    """What one visitor has uploaded; kept as long as a page of theirs, or an upload, holds it."""

    def __init__(self):
        self.uploads: dict[str, dict[str, str | int]] = {}
        self.changed = asyncio.Event()

    def note(self, key, **news):
        """Note something about an upload, and wake the pages that look on."""
        self.uploads.setdefault(key, {"key": key}).update(news)
        if len(self.uploads) > 20:
            del self.uploads[next(iter(self.uploads))]
        self.changed.set()
        self.changed = asyncio.Event()


class Uploads(App):
    max_body_size = 32 * 1024 * 1024

    def __init__(self, **settings):
        super().__init__(**settings)
        self.desks: WeakValueDictionary[str, Desk] = WeakValueDictionary()

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    @methods("POST")
    async def hello(self):
        """Name the visitor in the session, so that nobody can look at another one's desk."""
        self.request.session.setdefault("uploader", secrets.token_hex(8))
        return {"limit": self.max_body_size}

    @methods("POST")
    async def upload(self, key: str, file: Upload, uploader: FromSession[str]):
        if not 1 <= len(key) <= 40:
            raise HTTPError(400, "Send a key of at most 40 characters.")
        desk = self._desk(uploader)
        digest, size = hashlib.sha256(), 0
        whole = int(self.request.headers.get("content-length", "0"))  # a little more than the file
        desk.note(key, name=file.filename[:200], size=size, of=whole, state="coming")
        try:
            # Few pieces wait for us: if we were slow here, the browser would have to wait.
            async for piece in file:
                digest.update(piece)
                size += len(piece)
                desk.note(key, size=size)
        except MultipartFileError as error:
            desk.note(key, state="failed", why=str(error.cause))
            raise
        desk.note(key, state="done", sha256=digest.hexdigest())
        return {"size": size, "sha256": digest.hexdigest()}

    async def ws_progress(self, ws: WebSocket, uploader: FromSession[str]):
        desk = self._desk(uploader)
        await ws.accept()
        async with ws.until_closed():
            while True:
                changed = desk.changed  # taken first: what happens meanwhile is not missed
                await ws.send_json(list(desk.uploads.values()))
                with suppress(TimeoutError):
                    async with asyncio.timeout(20):  # then the same again, as a sign of life
                        await changed.wait()

    def _desk(self, name):
        return self.desks.setdefault(name, Desk())


app = Uploads()
