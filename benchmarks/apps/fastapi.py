from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_urlsafe
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

app = FastAPI()
crowd: set[WebSocket] = set()
SECRET = token_urlsafe()  # of the sessions' cookies, which are signed


class Person(BaseModel):
    name: str
    age: int


@app.get("/", response_class=HTMLResponse)
async def index() -> str:
    return "Hello, World!"


@app.get("/data")
async def data() -> Any:
    return {"hello": "world", "n": 1}


@app.get("/greet/{name}", response_class=HTMLResponse)
async def greet(name: str, x: str = "") -> str:
    return f"Hello {name}{x}"


@app.post("/form", response_class=HTMLResponse)
async def form(name: Annotated[str, Form()], age: Annotated[str, Form()]) -> str:
    return f"{name}:{age}"


@app.post("/person", response_class=HTMLResponse)
async def person(sent: Person) -> str:
    return f"{sent.name}:{sent.age}"


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(pieces(), media_type="text/html")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(text)
    except WebSocketDisconnect:
        pass


@app.websocket("/echo_bytes")
async def echo_bytes(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            sent = await websocket.receive_bytes()
            await websocket.send_bytes(sent)
    except WebSocketDisconnect:
        pass


@app.websocket("/hello/{name}")
async def hello(websocket: WebSocket, name: str, punct: str = "") -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
            await websocket.send_text(f"Hello {name}{punct}")
    except WebSocketDisconnect:
        pass


@app.websocket("/broadcast")
async def broadcast(websocket: WebSocket) -> None:
    await websocket.accept()
    crowd.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for other in list(crowd):
                await other.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        crowd.discard(websocket)


class Hook:
    """A middleware of plain ASGI, which costs less than one made of a function."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        Headers(scope=scope).get("authorization")
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("X-Request-Id", "1")
            await send(message)

        await self.app(scope, receive, send_more)


hooked = FastAPI()
hooked.add_middleware(Hook)
hooked.get("/greet/{name}", response_class=HTMLResponse)(greet)
hooked.websocket("/echo")(echo)

members = FastAPI()
members.add_middleware(SessionMiddleware, secret_key=SECRET)


@members.get("/login", response_class=HTMLResponse)
async def login(request: Request) -> str:
    request.session["user"] = "Alice"
    return "in"


@members.get("/me", response_class=HTMLResponse)
async def me(request: Request) -> str:
    return f"Hello {request.session['user']}"
