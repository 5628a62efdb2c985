from common import SECRET, block, gates, note, open_gate, pieces, told
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute


async def opens(request):
    return PlainTextResponse(open_gate(request.path_params["name"]))


async def need(request):
    return PlainTextResponse(request.query_params["name"])


async def body(request):
    return PlainTextResponse(str(len(await request.body())))


async def stream(request):
    return StreamingResponse(pieces())


def blocks(request):
    return PlainTextResponse(block())


async def remember(request):
    key = request.path_params["key"]
    request.session[key] = "yes"
    if key == "slow":
        note("remember", "begun")
        await gates["remember"].wait()
    return PlainTextResponse("")


async def session(request):
    return PlainTextResponse(" ".join(sorted(request.session)))


async def early(websocket):
    raise ValueError("before accept")


async def silent(websocket):
    pass


async def returns(websocket):
    await websocket.accept()


async def fails(websocket):
    await websocket.accept()
    raise ValueError("after accept")


async def named(websocket):
    name = websocket.query_params["name"]
    await websocket.accept()
    await websocket.send_text(name)


async def listen(websocket):
    await websocket.accept()
    for case in ("left", "again"):
        try:
            await websocket.receive_text()
        except Exception as error:
            note(case, told(error))


async def tell(websocket):
    await websocket.accept()
    await gates["tell"].wait()
    try:
        for _ in range(3):
            await websocket.send_text("Still there?")
    except Exception as error:
        note("tell", told(error))
    else:
        note("tell", "no error")


async def text(websocket):
    await websocket.accept()
    await websocket.send_text(repr(await websocket.receive_text()))


async def size(websocket):
    await websocket.accept()
    await websocket.send_text(str(len(await websocket.receive_bytes())))


SOCKETS = (early, silent, returns, fails, named, listen, tell, text, size)

app = Starlette(
    routes=[
        Route("/open/{name}", opens),
        Route("/need", need),
        Route("/body", body, methods=["POST"]),
        Route("/stream", stream),
        Route("/block", blocks),
        Route("/remember/{key}", remember),
        Route("/session", session),
        *(WebSocketRoute(f"/{handler.__name__}", handler) for handler in SOCKETS),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=SECRET)],
)
