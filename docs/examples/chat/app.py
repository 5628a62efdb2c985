"""Chat: rooms, names, who is there, and what was said before you came."""

import asyncio
from collections import deque
from pathlib import Path
from time import time
from typing import Literal, get_args

from micropie import App, FromSession, HTTPError, WebSocket, methods

HERE = Path(__file__).parent
RoomName = Literal[
    "kitchen", "garden", "attic"
]  # No other name is a route, so nobody can fill the memory with rooms.
LONGEST = 500  # characters


class Member:
    """One tab of somebody's in a room, and what is still to be sent to it."""

    def __init__(self, name):
        self.name = name
        self.outbox: asyncio.Queue[dict[str, object]] = asyncio.Queue(maxsize=100)


class Room:
    def __init__(self):
        self.members: list[Member] = []
        self.said: deque[dict[str, object]] = deque(maxlen=50)

    def tell(self, message):
        """Leave a message for everybody. Nobody waits for a member whose connection is slow."""
        for member in self.members:
            if member.outbox.full():
                member.outbox.get_nowait()  # Who reads too slowly misses the oldest.
            member.outbox.put_nowait(message)

    def tell_who_is_here(self):
        self.tell({"kind": "people", "names": sorted({member.name for member in self.members})})


class Chat(App):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.rooms = {name: Room() for name in get_args(RoomName)}

    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css", "live.js"]):
        kind = {"style.css": "text/css", "live.js": "text/javascript"}[name]
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", kind)]

    @methods("POST")
    async def enter(self, name: str) -> None:
        """Remember in the session how the visitor is called: no address can say otherwise."""
        name = name.strip()[:40]
        if not name:
            raise HTTPError(400, "Please give a name.")
        self.request.session["name"] = name

    async def ws_room(self, ws: WebSocket, room: RoomName, name: FromSession[str]):
        here, member = self.rooms[room], Member(name)
        member.outbox.put_nowait({"kind": "history", "messages": list(here.said), "you": name})
        here.members.append(member)  # Nothing is awaited in between, so no message falls into a gap.
        here.tell_who_is_here()
        try:
            await ws.accept()
            await ws.run(self._listen(ws, here, name), self._speak(ws, member), heartbeat(ws))
        finally:  # left, lost, or the server stops
            here.members.remove(member)
            here.tell_who_is_here()

    async def _listen(self, ws, room, name):
        while True:
            text = (await ws.receive_text()).strip()[:LONGEST]
            if text:
                message = {"kind": "message", "name": name, "text": text, "time": time()}
                room.said.append(message)
                room.tell(message)

    async def _speak(self, ws, member):
        while True:
            await ws.send_json(await member.outbox.get())


async def heartbeat(ws):
    """Send an empty text every 20 seconds: a page that hears nothing for longer knows that its line is dead."""
    while True:
        await asyncio.sleep(20)
        await ws.send_text("")


app = Chat()
