from __future__ import annotations

from typing import Any

from microdot.asgi import Microdot, with_websocket

app = Microdot()
crowd: set[Any] = set()
HTML = {"Content-Type": "text/html; charset=UTF-8"}


@app.get("/")
async def index(request: Any) -> Any:
    return "Hello, World!", HTML


@app.get("/data")
async def data(request: Any) -> Any:
    return {"hello": "world", "n": 1}


@app.get("/greet/<name>")
async def greet(request: Any, name: str) -> Any:
    return f"Hello {name}{request.args.get('x', '')}", HTML


@app.post("/form")
async def form(request: Any) -> Any:
    return f"{request.form['name']}:{request.form['age']}", HTML


@app.post("/person")
async def person(request: Any) -> Any:
    return f"{request.json['name']}:{request.json['age']}", HTML


@app.get("/echo")
@with_websocket
async def echo(request: Any, ws: Any) -> None:
    while True:
        text = await ws.receive()
        await ws.send(text)


@app.get("/echo_bytes")
@with_websocket
async def echo_bytes(request: Any, ws: Any) -> None:
    while True:
        sent = await ws.receive()
        await ws.send(sent)


@app.get("/hello/<name>")
@with_websocket
async def hello(request: Any, ws: Any, name: str) -> None:
    punct = request.args.get("punct", "")
    while True:
        await ws.receive()
        await ws.send(f"Hello {name}{punct}")


@app.get("/broadcast")
@with_websocket
async def broadcast(request: Any, ws: Any) -> None:
    crowd.add(ws)
    try:
        while True:
            text = await ws.receive()
            for other in list(crowd):
                await other.send(text)
    finally:
        crowd.discard(ws)
