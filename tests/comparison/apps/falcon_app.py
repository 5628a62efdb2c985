import asyncio

import falcon.asgi
from common import block, gates, note, open_gate, pieces, told


class Open:
    async def on_get(self, req, resp, name):
        resp.text = open_gate(name)


class Need:
    async def on_get(self, req, resp):
        resp.text = req.get_param("name", required=True)


class Body:
    async def on_post(self, req, resp):
        resp.text = str(len(await req.stream.read()))


class Stream:
    async def on_get(self, req, resp):
        resp.stream = pieces()


class Block:
    def on_get(self, req, resp):
        resp.text = block()


class Early:
    async def on_websocket(self, req, ws):
        raise ValueError("before accept")


class Silent:
    async def on_websocket(self, req, ws):
        pass


class Returns:
    async def on_websocket(self, req, ws):
        await ws.accept()


class Fails:
    async def on_websocket(self, req, ws):
        await ws.accept()
        raise ValueError("after accept")


class Named:
    async def on_websocket(self, req, ws):
        name = req.get_param("name", required=True)
        await ws.accept()
        await ws.send_text(name)


class Listen:
    async def on_websocket(self, req, ws):
        await ws.accept()
        for case in ("left", "again"):
            try:
                await ws.receive_text()
            except Exception as error:
                note(case, told(error))


class Tell:
    async def on_websocket(self, req, ws):
        await ws.accept()
        try:
            await gates["tell"].wait()
            for _ in range(3):
                await ws.send_text("Still there?")
        except (Exception, asyncio.CancelledError) as error:
            note("tell", told(error))
            raise
        else:
            note("tell", "no error")


class Text:
    async def on_websocket(self, req, ws):
        await ws.accept()
        await ws.send_text(repr(await ws.receive_text()))


class Size:
    async def on_websocket(self, req, ws):
        await ws.accept()
        await ws.send_text(str(len(await ws.receive_data())))


app = falcon.asgi.App()
app.add_route("/open/{name}", Open())
for resource in (Need, Body, Stream, Early, Silent, Returns, Fails, Named, Listen, Tell, Text, Size):
    app.add_route(f"/{resource.__name__.lower()}", resource())
try:
    app.add_route("/block", Block())
except Exception as error:
    note("block", f"refused at the start, {told(error)}")
