"""What stands at the edges of an app: header fields that servers stumble over, and paths below a root path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Request,
    WebSocket,
    WebSocketMiddleware,
    content_disposition,
)

FIELDS = [
    ("X-Trail", "trail "),
    ("X-Lead", " \tlead"),
    ("Transfer-Encoding", "identity"),
    ("Connection", "upgrade"),
    ("Keep-Alive", "x"),
    ("Upgrade", "h2c"),
    ("Content-Length", "abc"),
    content_disposition("résumé.pdf"),
]


class Guard(HttpMiddleware, WebSocketMiddleware):
    """Keeps everybody out of the admin's page, by the one path that it has."""

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        return {"status_code": 403} if request.path == "/shop/admin" else None

    async def before_websocket(self, request: Request) -> dict[str, Any] | None:
        return {"status_code": 403} if request.path == "/shop/admin" else None


class Files(App):
    async def index(self, name: str = "") -> str:
        return f"{self.request.path} {self.url_for('index', name='a b')} {self.request.url}"


class Shop(App):
    async def admin(self) -> str:
        return "the secret page"

    async def where(self) -> str:
        return f"{self.request.path} {self.request.client} {self.request.route}"

    async def text(self) -> Any:
        return 200, "text", FIELDS

    async def error(self) -> Any:
        raise HTTPError(409, "no", FIELDS)

    async def stream(self) -> Any:
        return 200, self._pieces(), FIELDS

    async def long(self) -> Any:
        return 200, self._pieces(), {"Content-Length": "7"}

    async def short(self) -> Any:
        return 200, self._pieces(), {"Content-Length": "20"}

    async def _pieces(self) -> AsyncIterator[str]:
        yield "piece"
        yield "piece"

    async def ws_admin(self, ws: WebSocket) -> None:
        await ws.accept()

    async def ws_open(self, ws: WebSocket) -> None:
        await ws.accept(headers=FIELDS[:2])
        await ws.send(ws.url)

    async def ws_refuse(self, ws: WebSocket) -> None:
        await ws.reject(409, "no", FIELDS)


async def raw(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app of another make, which passes on what it got from a server behind it."""
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in FIELDS]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"text"})


app = Shop()
app.middlewares.append(Guard())
app.ws_middlewares.append(Guard())
app.mount("/files", Files())
app.mount("/raw", raw)
