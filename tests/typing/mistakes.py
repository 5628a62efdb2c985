"""What mypy and pyright have to refuse: each such line says so to them, and they refuse a comment without a cause."""

from __future__ import annotations

from micropie import App, HTTPError, Request, WebSocket, methods
from micropie.testing import TestClient

misspelled = App(max_bodysize=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
wrong_type = App(max_body_size="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
no_backend = App({})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
no_status = HTTPError("404")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def request(request: Request) -> None:
    int(request.query("p"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    request.query("p", 1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    request.form("p").strip()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    request.form("p", b"")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    request.querry  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018  # it is a mistake


async def socket(ws: WebSocket) -> None:
    await ws.send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.send_text(b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ws.close("1000")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Shop(App):
    @methods(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async def index(self) -> str:
        return self._redirect("/")  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


async def client(client: TestClient) -> None:
    TestClient(Shop(), patience="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with client.websocket(1) as ws:  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await ws.send([])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
