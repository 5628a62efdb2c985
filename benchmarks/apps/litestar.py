from __future__ import annotations

from typing import Annotated, Any

from litestar import Litestar, MediaType, WebSocket, get, post, websocket
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.params import Body

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


app = Litestar([index, data_, greet, form, person, echo, echo_bytes, hello, broadcast], openapi_config=None)
