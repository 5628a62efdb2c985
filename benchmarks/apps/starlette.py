from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_urlsafe
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

crowd: set[WebSocket] = set()
SECRET = token_urlsafe()  # of the sessions' cookies, which are signed


async def index(request: Request) -> HTMLResponse:
    return HTMLResponse("Hello, World!")


async def data(request: Request) -> JSONResponse:
    return JSONResponse({"hello": "world", "n": 1})


async def greet(request: Request) -> HTMLResponse:
    return HTMLResponse(f"Hello {request.path_params['name']}{request.query_params.get('x', '')}")


async def form(request: Request) -> HTMLResponse:
    async with request.form() as sent:
        return HTMLResponse(f"{sent['name']}:{sent['age']}")


async def person(request: Request) -> HTMLResponse:
    sent = await request.json()
    return HTMLResponse(f"{sent['name']}:{sent['age']}")


async def body(request: Request) -> HTMLResponse:
    return HTMLResponse(str(len(await request.body())))


async def header(request: Request) -> HTMLResponse:
    return HTMLResponse(request.headers["x-wanted"])


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(pieces(), media_type="text/html")


async def login(request: Request) -> HTMLResponse:
    request.session["user"] = "Alice"
    return HTMLResponse("in")


async def me(request: Request) -> HTMLResponse:
    return HTMLResponse(f"Hello {request.session['user']}")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(text)
    except WebSocketDisconnect:
        pass


async def echo_bytes(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            sent = await websocket.receive_bytes()
            await websocket.send_bytes(sent)
    except WebSocketDisconnect:
        pass


async def hello(websocket: WebSocket) -> None:
    name = websocket.path_params["name"]
    punct = websocket.query_params.get("punct", "")
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
            await websocket.send_text(f"Hello {name}{punct}")
    except WebSocketDisconnect:
        pass


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


app = Starlette(
    routes=[
        Route("/", index),
        Route("/data", data),
        Route("/greet/{name}", greet),
        Route("/form", form, methods=["POST"]),
        Route("/person", person, methods=["POST"]),
        Route("/body", body, methods=["POST"]),
        Route("/header", header),
        Route("/stream", stream),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/echo_bytes", echo_bytes),
        WebSocketRoute("/hello/{name}", hello),
        WebSocketRoute("/broadcast", broadcast),
    ]
)

hooked = Starlette(
    routes=[Route("/greet/{name}", greet), WebSocketRoute("/echo", echo)], middleware=[Middleware(Hook)]
)
members = Starlette(
    routes=[Route("/login", login), Route("/me", me)],
    middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
)


def routes(count: int) -> Starlette:
    def route(name: str) -> Route:
        async def answer(request: Request) -> HTMLResponse:
            return HTMLResponse(name)

        return Route(f"/{name}", answer)

    return Starlette(routes=[route(f"route{number}") for number in range(count)])


def parameters(count: int) -> Starlette:
    names = [f"p{number}" for number in range(count)]

    async def joined(request: Request) -> HTMLResponse:
        query: Any = request.query_params
        return HTMLResponse(",".join([query[name] for name in names]))

    return Starlette(routes=[Route("/", joined)])
