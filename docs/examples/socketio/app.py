"""Chat: rooms, names and reconnection over Socket.IO."""

from pathlib import Path
from typing import Literal

import socketio

from micropie import App

HERE = Path(__file__).parent


class Chat(App):
    async def index(self):
        return (HERE / "index.html").read_text(encoding="utf-8")

    async def static(self, name: Literal["style.css"]):
        return 200, (HERE / name).read_text(encoding="utf-8"), [("Content-Type", "text/css")]


sio = socketio.AsyncServer(async_mode="asgi")
app = Chat()
app.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))

members: dict[str, tuple[str, str]] = {}  # connection id -> (name, room)


@sio.event
async def connect(sid, environ, auth):
    """Each connection says who it is and where it belongs, a reconnection too."""
    name, room = ask(auth, "name"), ask(auth, "room")
    members[sid] = name, room
    await sio.enter_room(sid, room)
    await tell_who_is_here(room)


@sio.event
async def message(sid, text):
    name, room = members[sid]
    said = {"sid": sid, "name": name, "text": str(text)[:500]}
    await sio.emit("message", said, room=room)


@sio.event
async def disconnect(sid, reason):
    _, room = members.pop(sid)
    await tell_who_is_here(room)


async def tell_who_is_here(room):
    here = sorted(name for name, its_room in members.values() if its_room == room)
    await sio.emit("people", here, room=room)


def ask(auth, key):
    """What the page sent as ``auth``. Anyone can connect, so nothing is sure."""
    value = auth.get(key) if isinstance(auth, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise socketio.exceptions.ConnectionRefusedError(f"Please give a {key}.")
    return value.strip()[:40]
