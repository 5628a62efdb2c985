"""MicroPie: this one, and 0.32, which has the same interface as far as it is used here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from micropie import App, HttpMiddleware, WebSocket, WebSocketMiddleware


class Benchmark(App):
    def __init__(self) -> None:
        super().__init__()
        self.crowd: set[WebSocket] = set()

    async def index(self) -> str:
        return "Hello, World!"

    async def data(self) -> dict[str, Any]:
        return {"hello": "world", "n": 1}

    async def greet(self, name: str, x: str = "") -> str:
        return f"Hello {name}{x}"

    async def form(self, name: str, age: str) -> str:
        return f"{name}:{age}"

    async def person(self, name: str, age: int) -> str:
        return f"{name}:{age}"

    async def body(self) -> str:
        return str(len(await self.request.body()))

    async def header(self) -> str:
        return self.request.headers["x-wanted"]

    async def login(self) -> str:
        self.request.session["user"] = "Alice"
        return "in"

    async def me(self) -> str:
        return f"Hello {self.request.session['user']}"

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            text = await ws.receive_text()
            await ws.send_text(text)

    async def ws_echo_bytes(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            data = await ws.receive_bytes()
            await ws.send_bytes(data)

    async def ws_hello(self, ws: WebSocket, name: str, punct: str = "") -> None:
        await ws.accept()
        while True:
            await ws.receive_text()
            await ws.send_text(f"Hello {name}{punct}")

    async def ws_broadcast(self, ws: WebSocket) -> None:
        await ws.accept()
        self.crowd.add(ws)
        try:
            while True:
                text = await ws.receive_text()
                for other in list(self.crowd):
                    await other.send_text(text)
        finally:
            self.crowd.discard(ws)


class Hook(HttpMiddleware, WebSocketMiddleware):
    async def before_request(self, request: Any) -> None:
        request.headers.get("authorization")

    async def after_request(self, request: Any, status: int, body: Any, extra_headers: Any) -> None:
        extra_headers.append(("X-Request-Id", "1"))

    async def before_websocket(self, request: Any) -> None:
        request.headers.get("authorization")

    async def after_websocket(self, request: Any) -> None:
        pass


app, hooked, members = Benchmark(), Benchmark(), Benchmark()
hooked.middlewares.append(Hook())
hooked.ws_middlewares.append(Hook())


def routes(count: int) -> App:
    def handler(name: str) -> Any:
        async def answer(self: App) -> str:
            return name

        return answer

    names = [f"route{number}" for number in range(count)]
    made: App = type("Routes", (App,), {name: handler(name) for name in names})()
    return made


def parameters(count: int) -> App:
    names = ", ".join(f"p{number}" for number in range(count))
    source = f"async def index(self, {names}):\n    return ','.join([{names}])\n"
    found: dict[str, Any] = {}
    exec(source, found)  # noqa: S102  # so that the handler names each of them, as one written by hand does
    made: App = type("Parameters", (App,), {"index": found["index"]})()
    return made
