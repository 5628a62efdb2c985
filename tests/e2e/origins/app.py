"""One site with a session, a WebSocket, a stream and an upload, and the same with other settings."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from micropie import App, FromSession, WebSocket

PAGE = '<!doctype html><link rel="icon" href="data:,"><title>Site</title><p>{name}</p>'


class Site(App):
    go_on = asyncio.Event()

    async def index(self, name: FromSession[str] = "nobody") -> str:
        return PAGE.format(name=name)

    async def login(self, name: str) -> Any:
        self.request.session["name"] = name
        return self._redirect("./")

    async def seen(self) -> dict[str, Any]:
        scope, headers = self.request.scope, self.request.headers
        hosts = [headers["host"], headers["x-forwarded-host"]]
        return {"scheme": scope["scheme"], "client": scope["client"][0], "hosts": hosts}

    async def upload(self) -> str:
        return str(len(await self.request.body()))

    async def stream(self) -> AsyncIterator[str]:
        self.go_on.clear()
        try:
            yield "first"
            await self.go_on.wait()
            yield "second"
            await asyncio.Event().wait()
        finally:
            sys.stderr.write("the stream ended\n")

    async def go(self) -> None:
        self.go_on.set()

    async def ws_echo(self, ws: WebSocket, name: FromSession[str] = "nobody") -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(f"{name}: {message}")


app = Site()
# The other names of the tests' browser, and one origin with a port that only the test knows.
allowing = Site(
    allowed_origins=[
        *os.environ.get("ALLOWED_ORIGINS", "").split(),
        "http://example.com",
        "https://blog.example.com",
        "https://friend.test",
    ]
)
strict = Site(allowed_hosts=["example.com", "127.0.0.1"], session_cookie_secure=True)
