import argparse
import socket

from aiohttp import WSMsgType, web
from common import block, gates, note, open_gate, pieces, told

routes = web.RouteTableDef()


@routes.get("/open/{name}")
async def opens(request):
    return web.Response(text=open_gate(request.match_info["name"]))


@routes.get("/need")
async def need(request):
    return web.Response(text=request.query["name"])


@routes.post("/body")
async def body(request):
    return web.Response(text=str(len(await request.read())))


@routes.get("/stream")
async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in pieces():
        await response.write(piece)
    return response


async def accepted(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    return ws


@routes.get("/early")
async def early(request):
    raise ValueError("before accept")


@routes.get("/silent")
async def silent(request):
    pass


@routes.get("/returns")
async def returns(request):
    return await accepted(request)


@routes.get("/fails")
async def fails(request):
    await accepted(request)
    raise ValueError("after accept")


@routes.get("/named")
async def named(request):
    name = request.query["name"]
    ws = await accepted(request)
    await ws.send_str(name)
    return ws


@routes.get("/listen")
async def listen(request):
    ws = await accepted(request)
    for case in ("left", "again"):
        try:
            message = await ws.receive()
            code = f", code {message.data}" if message.type is WSMsgType.CLOSE else ""
            note(case, f"a message of type {message.type.name}{code}")
        except Exception as error:
            note(case, told(error))
    return ws


@routes.get("/tell")
async def tell(request):
    ws = await accepted(request)
    await gates["tell"].wait()
    try:
        for _ in range(3):
            await ws.send_str("Still there?")
    except Exception as error:
        note("tell", told(error))
    else:
        note("tell", "no error")
    return ws


@routes.get("/text")
async def text(request):
    ws = await accepted(request)
    await ws.send_str(repr(await ws.receive_str()))
    return ws


@routes.get("/size")
async def size(request):
    ws = await accepted(request)
    await ws.send_str(str(len(await ws.receive_bytes())))
    return ws


app = web.Application()
app.add_routes(routes)


def blocks(request):
    return web.Response(text=block())


try:
    app.router.add_get("/block", blocks)
except Exception as error:
    note("block", f"refused at the start, {told(error)}")

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    web.run_app(app, sock=socket.socket(fileno=parser.parse_args().fd))
