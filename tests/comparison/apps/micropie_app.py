from common import block, gates, note, open_gate, pieces, told

from micropie import App


class Pie(App):
    async def open(self, name):
        return open_gate(name)

    async def need(self, name):
        return name

    async def body(self):
        return str(len(await self.request.body()))

    async def stream(self):
        return pieces()

    def block(self):
        return block()

    async def remember(self, key):
        self.request.session[key] = "yes"
        if key == "slow":
            note("remember", "begun")
            await gates["remember"].wait()
        return ""

    async def session(self):
        return " ".join(sorted(self.request.session))

    async def ws_early(self, ws):
        raise ValueError("before accept")

    async def ws_silent(self, ws):
        pass

    async def ws_returns(self, ws):
        await ws.accept()

    async def ws_fails(self, ws):
        await ws.accept()
        raise ValueError("after accept")

    async def ws_named(self, ws, name):
        await ws.accept()

    async def ws_listen(self, ws):
        await ws.accept()
        for case in ("left", "again"):
            try:
                await ws.receive_text()
            except Exception as error:
                note(case, told(error))

    async def ws_tell(self, ws):
        await ws.accept()
        await gates["tell"].wait()
        try:
            for _ in range(3):
                await ws.send_text("Still there?")
        except Exception as error:
            note("tell", told(error))
        else:
            note("tell", "no error")

    async def ws_text(self, ws):
        await ws.accept()
        await ws.send_text(repr(await ws.receive_text()))

    async def ws_size(self, ws):
        await ws.accept()
        await ws.send_text(str(len(await ws.receive_bytes())))


app = Pie()
