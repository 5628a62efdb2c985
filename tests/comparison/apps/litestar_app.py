from dataclasses import dataclass

from common import block, gates, note, open_gate, pieces, told
from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.response import Stream


@dataclass
class Item:
    price: float


@get("/open/{name:str}", media_type=MediaType.TEXT)
async def opens(name: str) -> str:
    return open_gate(name)


@get("/need", media_type=MediaType.TEXT)
async def need(name: str) -> str:
    return name


@post("/body", media_type=MediaType.TEXT, status_code=200)
async def body(request: Request) -> str:
    return str(len(await request.body()))


@post("/item")
async def item(data: Item) -> float:
    return data.price


@get("/stream")
async def stream() -> Stream:
    return Stream(pieces())


@get("/block", media_type=MediaType.TEXT)
def blocks() -> str:
    return block()


@get("/remember/{key:str}")
async def remember(request: Request, key: str) -> None:
    request.session[key] = "yes"
    if key == "slow":
        note("remember", "begun")
        await gates["remember"].wait()


@get("/session", media_type=MediaType.TEXT)
async def session(request: Request) -> str:
    return " ".join(sorted(request.session))


@websocket("/early")
async def early(socket: WebSocket) -> None:
    raise ValueError("before accept")


@websocket("/silent")
async def silent(socket: WebSocket) -> None:
    pass


@websocket("/returns")
async def returns(socket: WebSocket) -> None:
    await socket.accept()


@websocket("/fails")
async def fails(socket: WebSocket) -> None:
    await socket.accept()
    raise ValueError("after accept")


@websocket("/named")
async def named(socket: WebSocket, name: str) -> None:
    await socket.accept()
    await socket.send_text(name)


@websocket("/listen")
async def listen(socket: WebSocket) -> None:
    await socket.accept()
    for case in ("left", "again"):
        try:
            await socket.receive_text()
        except Exception as error:
            note(case, told(error))


@websocket("/tell")
async def tell(socket: WebSocket) -> None:
    await socket.accept()
    await gates["tell"].wait()
    try:
        for _ in range(3):
            await socket.send_text("Still there?")
    except Exception as error:
        note("tell", told(error))
    else:
        note("tell", "no error")


@websocket("/text")
async def text(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(repr(await socket.receive_text()))


@websocket("/size")
async def size(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(len(await socket.receive_bytes())))


PAGES = (opens, need, body, item, stream, blocks, remember, session)
SOCKETS = (early, silent, returns, fails, named, listen, tell, text, size)
app = Litestar([*PAGES, *SOCKETS], middleware=[ServerSideSessionConfig().middleware])
