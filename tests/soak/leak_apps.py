"""The apps that leaks.py visits: one that does all that an app does, and one that forgets nothing, to be caught."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    Request,
    SessionBackend,
    Upload,
    WebSocket,
)
from micropie.types import Receive, Scope, Send

PIECE = b"x" * 10_000
PATIENCE = 30.0  # Seconds for what is still under way to end, when somebody asks what is left.

logging.getLogger("micropie").disabled = True  # thousands of handlers fail here, on purpose


class Visits(HttpMiddleware):
    """Counts in the session, so that each visitor has one."""

    async def before_request(self, request: Request) -> None:
        if not request.path.startswith(("/left", "/lazy", "/failing")):
            request.session["visits"] = request.session.get("visits", 0) + 1

    async def after_request(self, request: Request, *answer: Any) -> None:
        """Be there, since after hooks are kept until their turn comes."""


class Uploads(App):
    """Everything that can be done with an uploaded file, and with a body that comes in pieces."""

    kept: Upload | None = None

    async def upload_read(self, file: Upload) -> str:
        return str(len(await file.read()))

    async def upload_some(self, file: Upload) -> str:
        return str(len(await file.read(1000)))

    async def upload_pieces(self, file: Upload) -> str:
        return str(sum([len(piece) async for piece in file]))

    async def upload_saved(self, file: Upload) -> str:
        with TemporaryDirectory() as folder:
            return str(await file.save(Path(folder) / "file"))

    async def upload_unread(self, file: Upload) -> str:
        return file.filename

    async def upload_kept(self, file: Upload) -> str:
        self.kept = file  # until the next one comes
        return file.filename

    async def upload_several(self, file: list[Upload]) -> str:
        return str(len(file))

    def upload_in_thread(self, file: Upload) -> str:
        return str(len(file.file.read()))

    async def body_whole(self) -> str:
        return str(sum([len(piece) async for piece in self.request.stream()]))

    async def body_first(self) -> str:
        async for _ in self.request.stream():
            return "some"
        return "nothing"


class Streams(App):
    """Streams that go on until their client leaves, but for a short one."""

    async def stream_endless(self) -> AsyncIterator[bytes]:
        yield b"begun"
        while True:
            yield PIECE

    async def stream_paced(self) -> AsyncIterator[bytes]:
        yield b"begun"
        while True:
            yield PIECE
            await asyncio.sleep(0)

    def stream_in_threads(self) -> Iterator[bytes]:
        yield b"begun"
        while True:
            yield PIECE

    async def stream_tidy(self) -> AsyncIterator[bytes]:
        try:
            yield b"begun"
            while True:
                yield PIECE
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)

    async def stream_stubborn(self) -> AsyncIterator[bytes]:
        yield b"begun"
        yield PIECE
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield PIECE

    async def stream_short(self) -> AsyncIterator[bytes]:
        yield b"a piece, and the last one is "
        yield b"begun"


class Lazy(App):
    """Handlers that don't look at the session, read it, or write it; no hook looks at it for them."""

    async def lazy_unseen(self) -> str:
        return "unseen"

    async def lazy_read(self) -> str:
        return str(self.request.session.get("n"))

    async def lazy_write(self) -> str:
        self.request.session["n"] = 1
        return "written"

    async def ws_lazy_socket(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(str(self.request.session.get("n")))


class Rooms(App):
    """WebSockets that something else closes, or tells something; each has a room of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.dropped_with: dict[str, asyncio.Future[int]] = {}

    def _in(self, room: str) -> list[WebSocket]:
        return [ws for ws in self.websockets if ws.path_params == [room]]

    async def ws_room(self, ws: WebSocket, room: str) -> None:
        await ws.accept()
        await ws.send("begun")
        async for _ in ws:
            pass

    async def ws_flood(self, ws: WebSocket, room: str) -> None:
        """Send until the client counts as gone."""
        dropped = self.dropped_with[room] = asyncio.get_running_loop().create_future()
        await ws.accept()
        try:
            while True:
                await ws.send(PIECE)
        except ConnectionClosed as closed:
            dropped.set_result(closed.code)

    async def dropped(self, room: str) -> str:
        """The code with which the client of a room was dropped, once it is."""
        code = await self.dropped_with[room]
        del self.dropped_with[room]
        return str(code)

    async def close(self, room: str) -> str:
        return str(await self.close_websockets(4001, "bye", lambda ws: ws.path_params == [room]))

    def tell(self, room: str) -> str:
        told = [self.from_thread(ws.send("told")) for ws in self._in(room)]
        for each in told:
            each.result(PATIENCE)
        return str(len(told))


class Inner(App):
    """An app below another one: with its session, or with one of its own."""

    session_timeout = 1

    async def index(self) -> str:
        self.request.session["inner"] = self.request.session.get("inner", 0) + 1
        return str(self.request.session["inner"])

    async def fails(self) -> None:
        raise ArithmeticError

    async def waits(self) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.Event().wait()

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """The same in plain ASGI; without a session it begins anew each time."""
    path = scope["path"].rpartition("/")[2]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    elif scope["type"] == "http":
        if path == "fails":
            raise ArithmeticError
        session = scope.get("session", {})
        session["plain"] = session.get("plain", 0) + 1
        body = b"begun" if path == "waits" else b"%d" % session["plain"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": path == "waits"})
        if path == "waits":
            await receive()  # the body
            await receive()  # the end of the client


class FailingStore(SessionBackend):
    """Fails to load the sessions whose id says so, and to save any."""

    async def load(self, session_id: str) -> dict[str, Any]:
        if "load" in session_id:
            raise ConnectionError
        return {"n": 1} if "save" in session_id else {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        raise ConnectionError


class LaterFailingStore(FailingStore):
    """The same with a wait, so that it is asked before a handler looks."""

    async def load(self, session_id: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        await asyncio.sleep(0)
        await super().save(session_id, data, timeout)


class Failing(App):
    async def unseen(self) -> str:
        return "unseen"

    async def read(self) -> str:
        return str(self.request.session.get("n"))

    async def write(self) -> str:
        self.request.session["n"] = 2
        return "written"

    async def streamed(self) -> AsyncIterator[str]:
        self.request.session["n"] = 2
        yield "begun"


class Visited(Uploads, Streams, Lazy, Rooms):
    """A handler for each kind of visit."""

    session_timeout = 1  # of those who do not come back: the store stays small
    max_body_size = 512 * 1024
    # Of clients that read nothing. All others take what they are sent at once, however busy the machine is.
    send_timeout = close_timeout = 0.5

    def __init__(self) -> None:
        super().__init__(session_id_factory=self._make_id)
        self.begun = 0
        self.middlewares.append(Visits())
        self.mount("/inner", Inner())
        self.mount("/apart", Inner(session_cookie="apart"), session=False)
        self.mount("/plain", plain)
        self.mount("/plain_apart", plain, session=False)
        self.mount("/failing", Failing(FailingStore()), session=False)
        self.mount("/failing_later", Failing(LaterFailingStore()), session=False)
        self._servers: set[asyncio.Task[Any]] | None = None

    def _make_id(self) -> str:
        self.begun += 1
        return secrets.token_urlsafe()

    async def left(self) -> dict[str, int]:
        """What this process holds when all that is under way has ended."""
        tasks = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        if (
            self._servers is None
        ):  # nobody has come yet: these are the server's, and the mounted apps' lifespans
            self._servers = tasks
        others = tasks - self._servers
        running = (await asyncio.wait(others, timeout=PATIENCE))[1] if others else ()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free is the system's again, so that growth is seen
        backend: Any = self.session_backend
        return {
            "resident": _resident(),
            "objects": len(gc.get_objects()),
            "tasks": len(running),
            "threads": threading.active_count(),
            "files": _files(),
            "sockets": len(self.websockets),
            "sessions": len(backend._sessions),
            "begun": self.begun,
        }

    # --- answered

    async def index(self) -> str:
        return f"visit {self.request.session['visits']}"

    async def login(self, name: str) -> str:
        self.request.regenerate_session()
        self.request.session["user"] = name
        await self.request.save_session()
        return f"hello {name}"

    async def me(self, user: FromSession[str]) -> str:
        return user

    async def logout(self) -> str:
        self.request.session = {}
        return "bye"

    async def json(self, values: list[int]) -> dict[str, int]:
        return {"sum": sum(values)}

    async def upload(self, file: Any, name: str) -> str:
        size = 0
        while piece := await file["content"].get():
            size += len(piece)
        return f"{name} {size}"

    async def unread(self, file: Any) -> str:
        return str(file["filename"])

    async def stream(self, count: int) -> AsyncIterator[str]:
        for number in range(count):
            yield f"{number}\n"
            await asyncio.sleep(0)
        self.request.session["streamed"] = count

    async def text(self) -> str:
        return "text"

    def thread(self) -> str:
        return threading.current_thread().name

    # --- not answered, or not in good order

    async def waits(self) -> AsyncIterator[str]:
        yield "begun"
        await asyncio.Event().wait()

    async def fails(self) -> None:
        raise ArithmeticError

    async def refuses(self) -> None:
        raise HTTPError(409, "not now")

    async def breaks(self) -> AsyncIterator[str]:
        yield "begun"
        raise ArithmeticError

    # --- WebSockets

    async def ws_echo(self, ws: WebSocket) -> None:
        self.request.session["socket"] = 1
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    async def ws_run(self, ws: WebSocket) -> None:
        await ws.accept()
        inbox: asyncio.Queue[str | bytes] = asyncio.Queue()

        async def reader() -> None:
            async for message in ws:
                inbox.put_nowait(message)

        async def writer() -> None:
            while True:
                await ws.send(await inbox.get())

        await ws.run(reader(), writer())

    async def ws_waits(self, ws: WebSocket) -> None:
        await ws.accept()
        async with ws.until_closed():
            await ws.send("begun")
            await asyncio.Event().wait()

    async def ws_caught(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_json()
        except ConnectionClosed:
            self.request.session["caught"] = 1

    async def ws_fails(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ArithmeticError

    async def ws_refuses(self, ws: WebSocket) -> None:
        raise HTTPError(401)


class Keeps(HttpMiddleware):
    """Keeps what each visit brings."""

    def __init__(self) -> None:
        self.kept: list[Request] = []

    async def before_request(self, request: Request) -> None:
        self.kept.append(request)


def _files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def _resident() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


app = Visited()
leaky = Visited()
leaky.middlewares.append(Keeps())
