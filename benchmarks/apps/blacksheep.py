from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from secrets import token_urlsafe
from typing import Any

from blacksheep import (
    Application,
    FromForm,
    FromJSON,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,
    get,
    html,
    json,
    post,
    ws,
)
from blacksheep.server.routing import Router

app = Application()
crowd: set[WebSocket] = set()


@get("/")
async def index() -> Response:
    return html("Hello, World!")


@get("/data")
async def data() -> Response:
    return json({"hello": "world", "n": 1})


@get("/greet/{name}")
async def greet(name: str, x: str = "") -> Response:
    return html(f"Hello {name}{x}")


@post("/form")
async def form(sent: FromForm[dict[str, Any]]) -> Response:
    return html(f"{sent.value['name']}:{sent.value['age']}")


@post("/person")
async def person(sent: FromJSON[dict[str, Any]]) -> Response:
    return html(f"{sent.value['name']}:{sent.value['age']}")


@post("/body")
async def body(request: Request) -> Response:
    return html(str(len(await request.read() or b"")))


@get("/header")
async def header(request: Request) -> Response:
    return html(request.headers.get_single(b"x-wanted").decode())


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 1000


@get("/stream")
async def stream() -> Response:
    return Response(200, content=StreamedContent(b"text/html", pieces))


@ws("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(text)
    except WebSocketDisconnectError:
        pass


@ws("/echo_bytes")
async def echo_bytes(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            sent = await websocket.receive_bytes()
            await websocket.send_bytes(sent)
    except WebSocketDisconnectError:
        pass


@ws("/hello/{name}")
async def hello(websocket: WebSocket, name: str) -> None:
    punct = (websocket.query.get("punct") or [""])[0]
    await websocket.accept()
    try:
        while True:
            await websocket.receive_text()
            await websocket.send_text(f"Hello {name}{punct}")
    except WebSocketDisconnectError:
        pass


@ws("/broadcast")
async def broadcast(websocket: WebSocket) -> None:
    await websocket.accept()
    crowd.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for other in list(crowd):
                await other.send_text(text)
    except WebSocketDisconnectError:
        pass
    finally:
        crowd.discard(websocket)


async def hook(request: Request, handler: Callable[[Request], Awaitable[Response | None]]) -> Response | None:
    request.get_first_header(b"authorization")
    response = await handler(request)
    if response is not None:  # a WebSocket has none
        response.add_header(b"X-Request-Id", b"1")
    return response


async def login(request: Request) -> Response:
    request.session["user"] = "Alice"
    return html("in")


async def me(request: Request) -> Response:
    return html(f"Hello {request.session['user']}")


hooked = Application(router=Router())
hooked.middlewares.append(hook)
hooked.router.add_get("/greet/{name}", greet)
hooked.router.add_ws("/echo", echo)

members = Application(router=Router())
members.use_sessions(token_urlsafe())
members.router.add_get("/login", login)
members.router.add_get("/me", me)


def routes(count: int) -> Application:
    made = Application(router=Router())

    def add(name: str) -> None:
        async def answer() -> Response:
            return html(name)

        made.router.add_get(f"/{name}", answer)

    for number in range(count):
        add(f"route{number}")
    return made


def parameters(count: int) -> Application:
    names = [f"p{number}" for number in range(count)]
    source = (
        f"async def joined({': str, '.join(names)}: str):\n    return html(','.join([{', '.join(names)}]))\n"
    )
    found: dict[str, Any] = {"html": html}
    exec(source, found)  # noqa: S102  # so that the handler names each of them, as one written by hand does
    made = Application(router=Router())
    made.router.add_get("/", found["joined"])
    return made
