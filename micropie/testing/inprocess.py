"""Calling an app without a server, for the test client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from micropie.types import ASGIApp, Message, Scope

if TYPE_CHECKING:
    import httpx

#: How many messages an app may still send after its client has left, before it gets an error for each.
_LAST_WORDS = 100


class Run:
    """One call of the app, in a task: what it is told, what it sends, how it ends."""

    def __init__(self, app: ASGIApp, scope: Scope, patience: float) -> None:
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        # One message at a time: an app that sends is held up until the client has read.
        self._from_app: asyncio.Queue[Message] = asyncio.Queue(1)
        self._patience = patience
        self._is_websocket = scope["type"] == "websocket"
        self._left = False
        self._ended = False
        self._task = asyncio.create_task(self._call(app, scope))

    async def _call(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._to_app.get, self._send)
        finally:
            if not self._left:
                await self._from_app.put({"type": "ended"})

    async def _send(self, message: Message) -> None:
        if not self._left:
            await self._from_app.put(message)
        elif self._is_websocket:
            raise OSError("the client has left")  # as on uvicorn; over HTTP it gets lost silently

    def tell(self, message: Message) -> None:
        """Hand the app a message."""
        self._to_app.put_nowait(message)

    async def hear(self) -> Message:
        """The next message from the app; ``ended`` when there is none left.

        Raises:
            Exception: What the app raised.
            TimeoutError: If the app sends nothing and does not end.
        """
        if self._ended:
            return {"type": "ended"}
        try:
            async with asyncio.timeout(self._patience):
                message = await self._from_app.get()
        except TimeoutError:
            raise TimeoutError(f"the app has sent nothing for {self._patience} s: it hangs") from None
        if message["type"] == "ended":
            await self._end()
        return message

    async def leave(self, farewell: Message) -> Message:
        """Go away, wait until the app has noticed and ended, and return the last message that it sent.

        Raises:
            Exception: What the app raised.
            TimeoutError: If the app does not end.
        """
        last: Message = {"type": "ended"}
        if self._ended:
            return last
        self.tell(farewell)
        try:
            async with asyncio.timeout(self._patience):
                for _ in range(_LAST_WORDS):
                    message = await self._from_app.get()
                    if message["type"] == "ended":
                        break
                    last = message
                self._left = True
                while not self._from_app.empty():
                    self._from_app.get_nowait()
                await asyncio.wait([self._task])
        except TimeoutError:
            await self.cancel()
            raise TimeoutError(
                f"the app has not ended {self._patience} s after its client left: it hangs"
            ) from None
        await self._end()
        return last

    async def _end(self) -> None:
        self._ended = True
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise RuntimeError("the app ended by a cancellation that nobody asked for")
        self._task.result()

    async def cancel(self) -> None:
        """End the app, whatever it does."""
        self._ended = self._left = True
        self._task.cancel()
        await asyncio.wait([self._task], timeout=self._patience)


def make_scope(kind: str, request: httpx.Request, state: dict[str, Any]) -> dict[str, Any]:
    """The scope of a request, as a server would make it."""
    path, _, query = request.url.raw_path.partition(b"?")
    encrypted = request.url.scheme in ("https", "wss")
    scheme = {"http": ("http", "https"), "websocket": ("ws", "wss")}[kind][encrypted]
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        **({"method": request.method} if kind == "http" else {}),
        "scheme": scheme,
        "server": (request.url.host, request.url.port or (443 if encrypted else 80)),
        "client": ("testclient", 50000),
        "root_path": "",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "state": dict(state),
    }
