"""An app as it was written for the public API of MicroPie 0.29 to 0.32; it runs unmodified."""

from micropie import (
    App,
    ConnectionClosed,
    HttpMiddleware,
    InMemorySessionBackend,
    SessionBackend,
    WebSocketMiddleware,
)


class DictBackend(SessionBackend):
    """A backend of one's own: load and save, nothing else."""

    def __init__(self):
        self.stored = {}

    async def load(self, session_id):
        return dict(self.stored.get(session_id, {}))

    async def save(self, session_id, data, timeout):
        if data:
            self.stored[session_id] = dict(data)
        else:
            self.stored.pop(session_id, None)


class Router(HttpMiddleware):
    """Explicit routes, chosen in a hook."""

    async def before_request(self, request):
        path = request.scope["path"]
        if path.startswith("/api/items/"):
            request._route_handler = "_item"
            request.path_params = [path.rsplit("/", 1)[1]]
        elif path.startswith("/sub"):
            request._subapp = sub
            request._subapp_path = path[len("/sub") :] or "/"
            request._subapp_mount_path = "/sub"
        elif request.headers.get("x-stop"):
            return {"status_code": 403, "body": "stopped", "headers": [("X-Why", "hook")]}
        return None

    async def after_request(self, request, status_code, response_body, extra_headers):
        if request.query("upper"):
            return {"body": response_body.upper(), "status_code": 203}
        extra_headers.append(("X-After", "1"))
        return None


class Gate(WebSocketMiddleware):
    async def before_websocket(self, request):
        if request.query_params.get("token") == ["bad"]:
            return {"code": 1008, "reason": "bad token"}
        if request.scope["path"] == "/routed":
            request._ws_route_handler = "ws_chat"
        return None

    async def after_websocket(self, request):
        finished.append(request.scope["path"])


finished: list[str] = []


class Sub(App):
    async def index(self):
        return "sub index"

    async def whoami(self, name="nobody"):
        self.request.session["seen"] = True
        return f"{name} {self.request.session.get('user')}"


class Old(App):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.middlewares.append(Router())
        self.ws_middlewares.append(Gate())
        self.startup_handlers.append(self._open)
        self.shutdown_handlers.append(self._close)
        self.log = []

    async def _open(self):
        self.log.append("open")

    async def _close(self):
        self.log.append("close")

    async def index(self, *segments):
        return "index " + "/".join(segments)

    async def greet(self, name="Guest", *rest, **options):
        return {"name": name, "rest": list(rest), "options": options}

    async def _item(self, item):
        return f"item {item}"

    async def login(self, user):
        self.request.session["user"] = user
        self.request.regenerate_session()
        return self._redirect("/me?x=ä", extra_headers=[("X-Extra", "1")])

    async def me(self):
        return 200, self.request.session.get("user", "nobody"), [("X-Me", "1")]

    async def logout(self):
        self.request.session = {}
        return "bye"

    async def form(self):
        return {"name": self.request.form("name"), "all": self.request.body_params}

    async def parsed(self, a, b=2):
        return [self.request.json(), self.request.json("a"), a, b]

    async def upload(self, file):
        size = 0
        while True:
            chunk = await file["content"].get()
            if chunk is None:
                break
            size += len(chunk)
        return f"{file['filename']} {file['content_type']} {size}"

    async def page(self):
        return await self._render_template("hello.html", who="<you>")

    async def stream(self):
        async def generate():
            yield "a"
            yield b"b"

        return 200, generate(), [("Content-Type", "text/plain")]

    def number(self):
        return 42

    async def ws_chat(self, ws, room="lobby"):
        await ws.accept()
        try:
            while True:
                text = await ws.receive_text()
                await ws.send_text(f"{room}: {text}")
        except ConnectionClosed:
            self.log.append("closed")

    async def ws_bytes(self, ws):
        await ws.accept(session_id="5f0d0a36-7c1b-4d5e-9f3a-2b8c9d0e1f2a")
        await ws.send_bytes(await ws.receive_bytes())
        await ws.close(1000, "done")


sub = Sub()
app = Old(session_backend=DictBackend())
plain = Old(InMemorySessionBackend(), session_timeout=60, body_timeout=1.0, max_body_size=1000)
