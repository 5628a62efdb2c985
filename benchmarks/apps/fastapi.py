from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Form, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

app = FastAPI()
crowd: set[WebSocket] = set()


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
