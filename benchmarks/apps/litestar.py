from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.middleware import ASGIMiddleware
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import Body
from litestar.response import Stream
from litestar.types import ASGIApp, Message, Receive, Scope, Send

crowd: set[WebSocket] = set()


@get("/", media_type=MediaType.HTML)
async def index() -> str:
    return "Hello, World!"


@get("/data")
async def data_() -> dict[str, Any]:
    return {"hello": "world", "n": 1}


@get("/greet/{name:str}", media_type=MediaType.HTML)
async def greet(name: str, x: str = "") -> str:
    return f"Hello {name}{x}"


@post("/form", media_type=MediaType.HTML, status_code=200)
async def form(data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]) -> str:
    return f"{data['name']}:{data['age']}"


@post("/person", media_type=MediaType.HTML, status_code=200)
async def person(data: dict[str, Any]) -> str:
    return f"{data['name']}:{data['age']}"


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


@get("/stream", media_type=MediaType.HTML)
async def stream() -> Stream:
    return Stream(pieces())


@get("/login", media_type=MediaType.HTML)
async def login(request: Request[Any, Any, Any]) -> str:
    request.set_session({"user": "Alice"})
    return "in"


@get("/me", media_type=MediaType.HTML)
async def me(request: Request[Any, Any, Any]) -> str:
    return f"Hello {request.session['user']}"


@websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            text = await socket.receive_text()
            await socket.send_text(text)
    except WebSocketDisconnect:
        pass


@websocket("/echo_bytes")
async def echo_bytes(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            sent = await socket.receive_bytes()
            await socket.send_bytes(sent)
    except WebSocketDisconnect:
        pass


@websocket("/hello/{name:str}")
async def hello(socket: WebSocket, name: str, punct: str = "") -> None:
    await socket.accept()
    try:
        while True:
            await socket.receive_text()
            await socket.send_text(f"Hello {name}{punct}")
    except WebSocketDisconnect:
        pass


@websocket("/broadcast")
async def broadcast(socket: WebSocket) -> None:
    await socket.accept()
    crowd.add(socket)
    try:
        while True:
            text = await socket.receive_text()
            for other in list(crowd):
                await other.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        crowd.discard(socket)


class Hook(ASGIMiddleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        Headers.from_scope(scope).get("authorization")
        if scope["type"] == "websocket":
            await next_app(scope, receive, send)
            return

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).add("X-Request-Id", "1")
            await send(message)

        await next_app(scope, receive, send_more)


app = Litestar(
    [index, data_, greet, form, person, stream, echo, echo_bytes, hello, broadcast], openapi_config=None
)
hooked = Litestar([greet, echo], middleware=[Hook()], openapi_config=None)
members = Litestar([login, me], middleware=[ServerSideSessionConfig().middleware], openapi_config=None)
