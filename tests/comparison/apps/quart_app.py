import asyncio

from common import SECRET, block, gates, note, open_gate, pieces, told
from quart import Quart, request, session, websocket

app = Quart(__name__)
app.secret_key = SECRET


@app.get("/open/<name>")
async def opens(name):
    return open_gate(name)


@app.get("/need")
async def need():
    return request.args["name"]


@app.post("/body")
async def body():
    return str(len(await request.get_data()))


@app.get("/stream")
async def stream():
    return pieces()


@app.get("/block")
def blocks():
    return block()


@app.get("/remember/<key>")
async def remember(key):
    session[key] = "yes"
    if key == "slow":
        note("remember", "begun")
        await gates["remember"].wait()
    return ""


@app.get("/session")
async def keys():
    return " ".join(sorted(session))


@app.websocket("/early")
async def early():
    raise ValueError("before accept")


@app.websocket("/silent")
async def silent():
    pass


@app.websocket("/returns")
async def returns():
    await websocket.accept()


@app.websocket("/fails")
async def fails():
    await websocket.accept()
    raise ValueError("after accept")


@app.websocket("/named")
async def named():
    name = websocket.args["name"]
    await websocket.send(name)


@app.websocket("/listen")
async def listen():
    await websocket.accept()
    try:
        await websocket.receive()
    except asyncio.CancelledError as error:
        note("left", told(error))
        raise


@app.websocket("/tell")
async def tell():
    await websocket.accept()
    try:
        await gates["tell"].wait()
        for _ in range(3):
            await websocket.send("Still there?")
    except (Exception, asyncio.CancelledError) as error:
        note("tell", told(error))
        raise
    else:
        note("tell", "no error")


@app.websocket("/text")
async def text():
    await websocket.send(repr(await websocket.receive()))


@app.websocket("/size")
async def size():
    await websocket.send(str(len(await websocket.receive())))
