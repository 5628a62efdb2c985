from __future__ import annotations

from collections.abc import AsyncIterator

import falcon
from falcon import WebSocketDisconnected
from falcon.asgi import App, Request, Response, WebSocket

crowd: set[WebSocket] = set()


class Index:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_HTML
        resp.text = "Hello, World!"


class Data:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"hello": "world", "n": 1}


class Greet:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        resp.content_type = falcon.MEDIA_HTML
        resp.text = f"Hello {name}{req.get_param('x', default='')}"


class Person:
    """Falcon reads a form and JSON in one way."""

    async def on_post(self, req: Request, resp: Response) -> None:
        sent = await req.get_media()
        resp.content_type = falcon.MEDIA_HTML
        resp.text = f"{sent['name']}:{sent['age']}"


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


class Stream:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_HTML
        resp.stream = pieces()


class Echo:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                text = await ws.receive_text()
                await ws.send_text(text)
        except WebSocketDisconnected:
            pass


class EchoBytes:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                sent = await ws.receive_data()
                await ws.send_data(sent)
        except WebSocketDisconnected:
            pass


class Hello:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        punct = req.get_param("punct", default="")
        await ws.accept()
        try:
            while True:
                await ws.receive_text()
                await ws.send_text(f"Hello {name}{punct}")
        except WebSocketDisconnected:
            pass


class Broadcast:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        crowd.add(ws)
        try:
            while True:
                text = await ws.receive_text()
                for other in list(crowd):
                    await other.send_text(text)
        except WebSocketDisconnected:
            pass
        finally:
            crowd.discard(ws)


class Hook:
    async def process_request(self, req: Request, resp: Response) -> None:
        req.get_header("authorization")

    async def process_response(self, req: Request, resp: Response, resource: object, succeeded: bool) -> None:
        resp.append_header("X-Request-Id", "1")

    async def process_request_ws(self, req: Request, ws: WebSocket) -> None:
        req.get_header("authorization")


app = App()
app.add_route("/", Index())
app.add_route("/data", Data())
app.add_route("/greet/{name}", Greet())
app.add_route("/form", Person())
app.add_route("/person", Person())
app.add_route("/stream", Stream())
app.add_route("/echo", Echo())
app.add_route("/echo_bytes", EchoBytes())
app.add_route("/hello/{name}", Hello())
app.add_route("/broadcast", Broadcast())

# Falcon has no sessions.
hooked = App(middleware=[Hook()])
hooked.add_route("/greet/{name}", Greet())
hooked.add_route("/echo", Echo())
