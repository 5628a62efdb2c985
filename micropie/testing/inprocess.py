"""Calling an app without a server, for the test client."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import MethodType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from micropie.types import ASGIApp, Message, Scope

from .rules import HttpRules, IllegalMessage, Rules, WebSocketRules

if TYPE_CHECKING:
    import httpx

#: How many bytes either side may send before the other reads, about as many as a real connection holds on its way.
CAPACITY = 1024 * 1024

#: What a message counts beside its data, in bytes.
_OVERHEAD = 64

#: How many messages an app may still send after its client has left, before it gets an error for each.
_LAST_WORDS = 100


class NotSent(Exception):
    """A server would not have sent what the app sent; the text says why."""


class _Line:
    """Messages on their way, in one direction: once it is full the sender waits until the other side reads."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._held = 0
        self._closed = False
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, message: Message) -> None:
        await self._room.wait()
        self.put_nowait(message)

    def put_nowait(self, message: Message) -> None:
        self._messages.put_nowait(message)
        self._count(_weight(message))

    async def get(self) -> Message:
        message = await self._messages.get()
        self._count(-_weight(message))
        return message

    def drain(self) -> list[Message]:
        """Take all that is under way."""
        messages = []
        while not self._messages.empty():
            messages.append(self._messages.get_nowait())
        self._count(-self._held)
        return messages

    def close(self) -> None:
        """Nobody reads any more, so nobody needs to wait."""
        self._closed = True
        self._room.set()

    def _count(self, size: int) -> None:
        self._held += size
        if self._closed or self._held < CAPACITY:
            self._room.set()
        else:
            self._room.clear()


def _weight(message: Message) -> int:
    return _OVERHEAD + sum(len(message.get(key) or b"") for key in ("body", "text", "bytes"))


class Run:
    """One call of the app, in a task: what it is told, what it sends, how it ends."""

    def __init__(self, app: ASGIApp, scope: Scope, patience: float) -> None:
        self._to_app = _Line()
        self._from_app = _Line()
        self._patience = patience
        self._is_websocket = scope["type"] == "websocket"
        self._rules = _rules_for(scope)
        self._wrong = ""  # what a server would not have sent, in words
        self._left = False
        self._ended = False
        self._task = asyncio.create_task(self._call(app, scope))

    async def _call(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._to_app.get, self._send)
        finally:
            self._to_app.close()
            self._from_app.put_nowait({"type": "ended"})

    async def _send(self, message: Message) -> None:
        if self._left and self._is_websocket:
            raise OSError("the client has left")  # as on uvicorn
        if self._left or self._wrong:
            await asyncio.sleep(
                0
            )  # over HTTP it gets lost silently; but an app that sends for ever can be ended
            return
        try:
            message = self._rules.check(message)
        except IllegalMessage as error:
            self._wrong = str(error)
            self._from_app.put_nowait({"type": "wrong"})
            raise
        await self._from_app.put(message)

    @property
    def over(self) -> bool:
        """Whether the app has ended, so that nobody listens any more."""
        return self._task.done()

    def tell(self, message: Message) -> None:
        """Hand the app a message."""
        self._to_app.put_nowait(message)

    async def tell_in_turn(self, message: Message) -> None:
        """Hand the app a message as soon as there is room for it; one that has ended loses it.

        Raises:
            TimeoutError: If the app does not read.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._to_app.put(message)
        except TimeoutError:
            raise TimeoutError(f"the app has read nothing for {self._patience} s: it hangs") from None

    async def hear(self) -> Message:
        """The next message from the app; ``ended`` when there is none left.

        Raises:
            NotSent: If the app sent what no server sends, or ended before it had sent all.
            Exception: What the app raised.
            TimeoutError: If the app sends nothing and does not end.
        """
        if self._ended:
            return {"type": "ended"}
        try:
            async with asyncio.timeout(self._patience):
                message = await self._from_app.get()
        except TimeoutError:
            raise TimeoutError(f"the app has sent nothing for {self._patience} s: it hangs") from None
        if message["type"] == "wrong":
            kind = "websocket.disconnect" if self._is_websocket else "http.disconnect"
            await self.leave({"type": kind, "code": 1006} if self._is_websocket else {"type": kind})
            raise NotSent(self._wrong)
        if message["type"] == "ended":
            await self._end()
            missing = self._rules.end()
            if missing is not None:
                raise NotSent(missing)
        return message

    async def leave(self, farewell: Message) -> Message:
        """Go away, wait until the app has noticed and ended, and return the last message that it sent.

        Raises:
            NotSent: If the app had sent what no server sends.
            Exception: What the app raised.
            TimeoutError: If the app does not end.
        """
        last: Message = {"type": "ended"}
        if self._ended:
            return last
        known = self._wrong
        self.tell(farewell)
        try:
            async with asyncio.timeout(self._patience):
                messages = self._from_app.drain()
                for _ in range(_LAST_WORDS):
                    messages = messages or [await self._from_app.get()]
                    last = next((one for one in reversed(messages) if one["type"] not in _ENDS), last)
                    if messages[-1]["type"] == "ended":
                        break
                    messages = []
                self._left = True
                self._from_app.close()
                await asyncio.wait([self._task])
        except TimeoutError:
            await self.cancel()
            raise TimeoutError(
                f"the app has not ended {self._patience} s after its client left: it hangs"
            ) from None
        await self._end()
        if self._wrong and not known:
            raise NotSent(self._wrong)
        return last

    async def _end(self) -> None:
        self._ended = True
        await asyncio.wait([self._task])
        if self._task.cancelled():
            raise RuntimeError("the app ended by a cancellation that nobody asked for")
        with suppress(IllegalMessage):  # told as what it is
            self._task.result()

    async def cancel(self) -> None:
        """End the app, whatever it does."""
        self._ended = self._left = True
        self._task.cancel()
        await asyncio.wait([self._task], timeout=self._patience)


_ENDS = ("ended", "wrong")


def _rules_for(scope: Scope) -> Rules:
    if scope["type"] == "http":
        return HttpRules(scope["method"])
    return WebSocketRules(scope["subprotocols"]) if scope["type"] == "websocket" else Rules()


class Lifespan:
    """The startup and shutdown of one app, shared by all clients on it: the first starts it, the last ends it.

    Attributes:
        state: What the app has put into its lifespan's state.
    """

    def __init__(self, app: ASGIApp, key: object) -> None:
        self._app = app
        self._key = key
        self._clients = 0
        self._turn = asyncio.Lock()
        self._started = False
        self._run: Run | None = None  # None for an app that has no lifespan
        self.state: dict[str, Any] = {}

    @classmethod
    def of(cls, app: ASGIApp) -> Lifespan:
        """The one of this app in this event loop."""
        # A bound method is another object each time.
        own = (id(app.__self__), id(app.__func__)) if isinstance(app, MethodType) else id(app)
        key = (asyncio.get_running_loop(), own)
        return _lifespans.setdefault(key, cls(app, key))

    async def enter(self, patience: float) -> None:
        """Start the app, unless it runs.

        Raises:
            RuntimeError: If its startup failed.
            TimeoutError: If it hangs.
        """
        self._clients += 1
        try:
            async with self._turn:
                if not self._started:
                    await self._start(patience)
                    self._started = True
        except BaseException:
            self._clients -= 1
            self._forget()
            raise

    async def leave(self) -> None:
        """Shut the app down, if this was its last client.

        Raises:
            RuntimeError: If its shutdown failed.
            TimeoutError: If it hangs.
        """
        async with self._turn:
            self._clients -= 1
            if self._clients:
                return
            self._started = False
            run, self._run = self._run, None
            try:
                if run is not None:
                    answer = await run.leave({"type": "lifespan.shutdown"})
                    if answer["type"] == "lifespan.shutdown.failed":
                        raise RuntimeError(f"shutdown failed: {answer.get('message', '')}")
            finally:
                self._forget()

    async def _start(self, patience: float) -> None:
        self.state = {}
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        run = Run(self._app, scope, patience)
        run.tell({"type": "lifespan.startup"})
        try:
            answer = await run.hear()
        except TimeoutError:
            await run.cancel()
            raise
        except Exception:  # an app without lifespan says so by raising
            return
        if answer["type"] == "lifespan.startup.failed":
            await run.cancel()
            raise RuntimeError(f"startup failed: {answer.get('message', '')}")
        self._run = run

    def _forget(self) -> None:
        if not self._clients:
            _lifespans.pop(self._key, None)


_lifespans: dict[object, Lifespan] = {}


def make_scope(kind: str, request: httpx.Request, state: dict[str, Any]) -> dict[str, Any]:
    """The scope of a request, as a server would make it."""
    path, _, query = request.url.raw_path.partition(b"?")
    encrypted = request.url.scheme in ("https", "wss")
    scheme = {"http": ("http", "https"), "websocket": ("ws", "wss")}[kind][encrypted]
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        **({"method": request.method} if kind == "http" else {}),
        "scheme": scheme,
        "server": (request.url.host, request.url.port or (443 if encrypted else 80)),
        "client": ("testclient", 50000),
        "root_path": "",
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "state": dict(state),
    }
