from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

crowd: set[WebSocket] = set()


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


app = Starlette(
    routes=[
        Route("/", index),
        Route("/data", data),
        Route("/greet/{name}", greet),
        Route("/form", form, methods=["POST"]),
        Route("/person", person, methods=["POST"]),
        Route("/body", body, methods=["POST"]),
        Route("/header", header),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/echo_bytes", echo_bytes),
        WebSocketRoute("/hello/{name}", hello),
        WebSocketRoute("/broadcast", broadcast),
    ]
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
