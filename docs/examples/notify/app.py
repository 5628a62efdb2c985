"""Notifications: after a login, what is sent to somebody appears at once in all of their tabs."""

import asyncio
from collections import deque
from contextlib import suppress
from hmac import compare_digest
from itertools import count
from pathlib import Path
from typing import Literal

from micropie import App, FromSession, HTTPError, WebSocket, methods

HERE = Path(__file__).parent
Person = Literal["Alice", "Bob", "Carol"]
PASSWORDS = {"Alice": "apple", "Bob": "banana", "Carol": "cherry"}  # A real app stores hashes of them.
LONGEST = 200  # characters

numbers = count(1)


class Inbox:
    """The newest notes for one person, and in how many tabs they are seen."""

    def __init__(self):
        self.notes: deque[dict[str, object]] = deque(maxlen=20)
        self.tabs = 0
        self.changed = asyncio.Event()

    def tell(self):
        """Wake every tab: each sends the inbox as it is then."""
        self.changed.set()
        self.changed = asyncio.Event()  # The next change is another event.


class Notifications(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.inboxes = {name: Inbox() for name in PASSWORDS}

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    @methods("POST")
    async def login(self, user: Person, password: str) -> None:
        if not compare_digest(PASSWORDS[user].encode(), password.encode()):
            raise HTTPError(403, "This is not the password.")
        self.request.session = {"user": user}  # nothing of the visitor before
        self.request.regenerate_session()  # An id that somebody knew before the login is worth nothing now.
        await self._hang_up()

    @methods("POST")
    async def logout(self) -> None:
        self.request.session = {}
        await self.request.save_session()  # Logged out, even if a tab takes its time below.
        await self._hang_up()

    async def _hang_up(self):
        """Close the sockets of all tabs that share this browser's session: they asked who is there when they opened."""
        if session_id := self.request.cookies.get("session_id"):
            await self.close_websockets(
                4001, "You are logged out.", where=lambda ws: ws.session_id == session_id
            )

    async def me(self, user: FromSession[str] = ""):
        return {"user": user}

    @methods("POST")
    async def send(self, to: Person, text: str, user: FromSession[str]) -> None:
        text = text.strip()[:LONGEST]
        if not text:
            raise HTTPError(400, "There is nothing to send.")
        note = {"number": next(numbers), "from": user, "text": text, "read": False}
        self.inboxes[to].notes.append(note)
        self.inboxes[to].tell()

    @methods("POST")
    async def read(self, number: int, user: FromSession[str]) -> None:
        """Mark one of the visitor's own notes; it does so in all of their tabs."""
        for note in self.inboxes[user].notes:
            if note["number"] == number:
                note["read"] = True
        self.inboxes[user].tell()

    async def ws_inbox(self, ws: WebSocket, user: FromSession[str]):
        inbox = self.inboxes[user]
        inbox.tabs += 1
        inbox.tell()
        try:
            await ws.accept()
            async with ws.until_closed():  # The page only listens.
                while True:
                    changed = inbox.changed  # Taken before sending, so that no change is missed.
                    await ws.send_json({"user": user, "tabs": inbox.tabs, "notes": list(inbox.notes)})
                    with suppress(TimeoutError):
                        async with asyncio.timeout(20):  # Then the same again, as a sign of life.
                            await changed.wait()
        finally:
            inbox.tabs -= 1
            inbox.tell()


app = Notifications()
