from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_urlsafe
from typing import Any

from microdot.asgi import Microdot, with_websocket
from microdot.session import Session, with_session

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


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


@app.get("/stream")
async def stream(request: Any) -> Any:
    return pieces(), HTML


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


hooked, members = Microdot(), Microdot()
hooked.get("/greet/<name>")(greet)
hooked.get("/echo")(echo)
Session(members, secret_key=token_urlsafe())


@hooked.before_request
async def look(request: Any) -> None:
    request.headers.get("Authorization")


@hooked.after_request
async def add(request: Any, response: Any) -> None:
    response.headers["X-Request-Id"] = "1"


@members.get("/login")
@with_session
async def login(request: Any, session: Any) -> Any:
    session["user"] = "Alice"
    session.save()
    return "in", HTML


@members.get("/me")
@with_session
async def me(request: Any, session: Any) -> Any:
    return f"Hello {session['user']}", HTML
