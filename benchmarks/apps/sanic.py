"""Sanic as an ASGI app. It has a server of its own, which is not measured."""

from __future__ import annotations

from typing import Any

from sanic import HTTPResponse, Request, Sanic, Websocket, html, json

app: Any = Sanic("benchmark", configure_logging=False)
app.config.ACCESS_LOG = False
app.config.MOTD = False
crowd: set[Websocket] = set()


@app.get("/")
async def index(request: Request) -> HTTPResponse:
    return html("Hello, World!")


@app.get("/data")
async def data(request: Request) -> HTTPResponse:
    return json({"hello": "world", "n": 1})


@app.get("/greet/<name:str>")
async def greet(request: Request, name: str) -> HTTPResponse:
    return html(f"Hello {name}{request.args.get('x', '')}")


@app.post("/form")
async def form(request: Request) -> HTTPResponse:
    return html(f"{request.form.get('name')}:{request.form.get('age')}")


@app.post("/person")
async def person(request: Request) -> HTTPResponse:
    return html(f"{request.json['name']}:{request.json['age']}")


@app.get("/stream")
async def stream(request: Request) -> None:
    response = await request.respond(content_type="text/html")
    for _ in range(20):
        await response.send(b"x" * 1000)
    await response.eof()


# Under ASGI the end of a WebSocket is a message that is None.
@app.websocket("/echo")
async def echo(request: Request, ws: Websocket) -> None:
    while (text := await ws.recv()) is not None:
        await ws.send(text)


@app.websocket("/echo_bytes")
async def echo_bytes(request: Request, ws: Websocket) -> None:
    while (sent := await ws.recv()) is not None:
        await ws.send(sent)


@app.websocket("/hello/<name:str>")
async def hello(request: Request, ws: Websocket, name: str) -> None:
    punct = request.args.get("punct", "")
    while await ws.recv() is not None:
        await ws.send(f"Hello {name}{punct}")


@app.websocket("/broadcast")
async def broadcast(request: Request, ws: Websocket) -> None:
    crowd.add(ws)
    try:
        while (text := await ws.recv()) is not None:
            for other in list(crowd):
                await other.send(text)
    finally:
        crowd.discard(ws)


# Sanic has no sessions without another package.
hooked: Any = Sanic("hooked", configure_logging=False)
hooked.config.ACCESS_LOG = False
hooked.config.MOTD = False
hooked.get("/greet/<name:str>", name="greet")(greet)
hooked.websocket("/echo", name="echo")(echo)


@hooked.on_request
async def look(request: Request) -> None:
    request.headers.get("authorization")


@hooked.on_response
async def add(request: Request, response: HTTPResponse) -> None:
    response.headers["X-Request-Id"] = "1"
