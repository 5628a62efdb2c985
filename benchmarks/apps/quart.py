from __future__ import annotations

from collections.abc import AsyncIterator
from secrets import token_urlsafe
from typing import Any

from quart import Quart, Response, request, session, websocket

app = Quart(__name__)
crowd: set[Any] = set()


@app.get("/")
async def index() -> str:
    return "Hello, World!"


@app.get("/data")
async def data() -> dict[str, Any]:
    return {"hello": "world", "n": 1}


@app.get("/greet/<name>")
async def greet(name: str) -> str:
    return f"Hello {name}{request.args.get('x', '')}"


@app.post("/form")
async def form() -> str:
    sent = await request.form
    return f"{sent['name']}:{sent['age']}"


@app.post("/person")
async def person() -> str:
    sent = await request.get_json()
    return f"{sent['name']}:{sent['age']}"


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


@app.get("/stream")
async def stream() -> Any:
    return pieces(), {"Content-Type": "text/html"}


@app.websocket("/echo")
async def echo() -> None:
    await websocket.accept()
    while True:
        text = await websocket.receive()
        await websocket.send(text)


@app.websocket("/echo_bytes")
async def echo_bytes() -> None:
    await websocket.accept()
    while True:
        sent = await websocket.receive()
        await websocket.send(sent)


@app.websocket("/hello/<name>")
async def hello(name: str) -> None:
    punct = websocket.args.get("punct", "")
    await websocket.accept()
    while True:
        await websocket.receive()
        await websocket.send(f"Hello {name}{punct}")


@app.websocket("/broadcast")
async def broadcast() -> None:
    await websocket.accept()
    own = websocket._get_current_object()  # the socket itself, and not who is asked for it
    crowd.add(own)
    try:
        while True:
            text = await websocket.receive()
            for other in list(crowd):
                await other.send(text)
    finally:
        crowd.discard(own)


hooked, members = Quart(__name__), Quart(__name__)
hooked.get("/greet/<name>")(greet)
hooked.websocket("/echo")(echo)
members.secret_key = token_urlsafe()


@hooked.before_request
async def look() -> None:
    request.headers.get("Authorization")


@hooked.after_request
async def add(response: Response) -> Response:
    response.headers["X-Request-Id"] = "1"
    return response


@hooked.before_websocket
async def look_at_handshake() -> None:
    websocket.headers.get("Authorization")


@members.get("/login")
async def login() -> str:
    session["user"] = "Alice"
    return "in"


@members.get("/me")
async def me() -> str:
    return f"Hello {session['user']}"
