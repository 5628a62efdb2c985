from dataclasses import dataclass

from common import SECRET, block, gates, note, open_gate, pieces, told
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.middleware.sessions import SessionMiddleware


@dataclass
class Item:
    price: float


app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=SECRET)


@app.get("/open/{name}")
async def opens(name: str):
    return open_gate(name)


@app.get("/need")
async def need(name: str):
    return name


@app.post("/body")
async def body(request: Request):
    return len(await request.body())


@app.post("/item")
async def item(data: Item):
    return data.price


@app.get("/stream")
async def stream():
    return StreamingResponse(pieces())


@app.get("/block", response_class=PlainTextResponse)
def blocks():
    return block()


@app.get("/remember/{key}")
async def remember(request: Request, key: str):
    request.session[key] = "yes"
    if key == "slow":
        note("remember", "begun")
        await gates["remember"].wait()


@app.get("/session", response_class=PlainTextResponse)
async def session(request: Request):
    return " ".join(sorted(request.session))


@app.websocket("/early")
async def early(websocket: WebSocket):
    raise ValueError("before accept")


@app.websocket("/silent")
async def silent(websocket: WebSocket):
    pass


@app.websocket("/returns")
async def returns(websocket: WebSocket):
    await websocket.accept()


@app.websocket("/fails")
async def fails(websocket: WebSocket):
    await websocket.accept()
    raise ValueError("after accept")


@app.websocket("/named")
async def named(websocket: WebSocket, name: str):
    await websocket.accept()
    await websocket.send_text(name)


@app.websocket("/listen")
async def listen(websocket: WebSocket):
    await websocket.accept()
    for case in ("left", "again"):
        try:
            await websocket.receive_text()
        except Exception as error:
            note(case, told(error))


@app.websocket("/tell")
async def tell(websocket: WebSocket):
    await websocket.accept()
    await gates["tell"].wait()
    try:
        for _ in range(3):
            await websocket.send_text("Still there?")
    except Exception as error:
        note("tell", told(error))
    else:
        note("tell", "no error")


@app.websocket("/text")
async def text(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(repr(await websocket.receive_text()))


@app.websocket("/size")
async def size(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(str(len(await websocket.receive_bytes())))
