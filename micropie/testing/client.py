"""A test client that talks to an app in process, in the event loop of the test.

It is an :class:`httpx.AsyncClient`, so requests, cookies, forms and uploads are written as for a real
server, and it opens WebSockets too.  Streams are really streamed, lifespan is run, and whatever the app
raises is raised in the test.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self, cast

from micropie.exceptions import ConnectionClosed
from micropie.strict_json import dump_json, load_json
from micropie.types import ASGIApp, Message

from .inprocess import Lifespan, NotSent, Run, make_scope
from .rules import IllegalMessage, check_close, check_fields

try:
    import httpx
except ImportError:
    raise ImportError("micropie.testing needs httpx: install micropie with the extra 'testing'") from None

__all__ = ["TestClient", "TestWebSocket"]

#: How long the client waits for the app before it says that it hangs, in seconds.
PATIENCE = 10.0


class _Transport(httpx.AsyncBaseTransport):
    """Hands the requests of an httpx client to an app."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            check_fields(request.headers.raw)
        except IllegalMessage as error:
            raise httpx.LocalProtocolError(str(error)) from None
        run = self._client._call("http", request)
        try:
            return await self._exchange(run, request)
        except BaseException:
            await run.cancel()
            raise

    async def _exchange(self, run: Run, request: httpx.Request) -> httpx.Response:
        async for chunk in cast("httpx.AsyncByteStream", request.stream):
            await run.tell_in_turn({"type": "http.request", "body": chunk, "more_body": True})
            if run.over:
                break  # it has answered without the rest, as with 413
        run.tell({"type": "http.request", "body": b"", "more_body": False})
        with _as_told_by_httpx():
            start = await run.hear()
        if start["type"] != "http.response.start":
            raise RuntimeError(f"the app sent no answer, but {start['type']}")
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=_AnswerStream(run))


class _AnswerStream(httpx.AsyncByteStream):
    """The body of an answer, piece by piece; closing it early is the client that goes away."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with _as_told_by_httpx():
                message = await self._run.hear()
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return

    async def aclose(self) -> None:
        with _as_told_by_httpx():
            await self._run.leave({"type": "http.disconnect"})


@contextmanager
def _as_told_by_httpx() -> Iterator[None]:
    """What a server would not have sent is an answer that breaks off, as a client of a server sees it."""
    try:
        yield
    except NotSent as error:
        raise httpx.RemoteProtocolError(f"a server would not send this answer: {error}") from error


class TestClient(httpx.AsyncClient):
    """A client for one app.  Use it as ``async with TestClient(app) as client``, which runs lifespan.

    Cookies are kept.  The address is ``https://testserver``, so that Secure cookies come back.  Several clients may be
    open on one app, as several users: the first one starts it, the last one shuts it down.

    Args:
        app: Any ASGI app.
        patience: Seconds to wait for the app before it is said to hang.
        options: As for :class:`httpx.AsyncClient`.
    """

    __test__ = False

    def __init__(self, app: ASGIApp, *, patience: float = PATIENCE, **options: Any) -> None:
        self._app = app
        self._patience = patience
        self._lifespan: Lifespan | None = None
        super().__init__(
            transport=_Transport(self), base_url=options.pop("base_url", "https://testserver"), **options
        )

    def __repr__(self) -> str:
        return f"<TestClient of {self._app!r} at {self.base_url}>"

    async def __aenter__(self) -> Self:
        """Start the app, unless another client has.

        Raises:
            RuntimeError: If its startup failed.
        """
        await super().__aenter__()
        lifespan = Lifespan.of(self._app)
        await lifespan.enter(self._patience)
        self._lifespan = lifespan
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Shut the app down, if no other client is open on it.

        Raises:
            RuntimeError: If its shutdown failed.
        """
        await super().__aexit__(kind, error, traceback)
        if self._lifespan is not None:
            lifespan, self._lifespan = self._lifespan, None
            with _noted_on(error):
                await lifespan.leave()

    def _call(self, kind: str, request: httpx.Request, **more: Any) -> Run:
        """Call the app with a request."""
        state = {} if self._lifespan is None else self._lifespan.state
        return Run(self._app, make_scope(kind, request, state) | more, self._patience)

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
    ) -> AsyncIterator[TestWebSocket]:
        """Open a WebSocket; at the end of the block it is closed, if it still is open.

        A handshake that is refused raises nothing: see :attr:`TestWebSocket.response`.

        Args:
            url: A path such as ``"/chat?name=Bob"``.
            headers: Header fields, such as ``{"Origin": "https://evil.example"}``.
            subprotocols: What the client offers.
        """
        offered = list(subprotocols)
        request = self.build_request("GET", url, headers={**_upgrade(offered), **(headers or {})})
        run = self._call(
            "websocket", request, subprotocols=offered, extensions={"websocket.http.response": {}}
        )
        ws = TestWebSocket(run, request.url.path)
        try:
            await ws._shake_hands(self, request)
            yield ws
        except BaseException as error:
            with _noted_on(error):
                await ws._leave(1000, "")
            raise
        await ws._leave(1000, "")


def _upgrade(subprotocols: list[str]) -> dict[str, str]:
    """The header fields with which a client asks for a WebSocket."""
    fields = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
    }
    return fields | ({"Sec-WebSocket-Protocol": ", ".join(subprotocols)} if subprotocols else {})


@contextmanager
def _noted_on(first: BaseException | None) -> Iterator[None]:
    """An error on the way out does not hide the one that led there: it is added as a note."""
    try:
        yield
    except Exception as error:
        if first is None:
            raise
        first.add_note(f"and then, on the way out: {error!r}")


class TestWebSocket:
    """The client's end of a WebSocket: what the app did is plain data.

    Attributes:
        response: The answer to the handshake: status 101 if it was accepted, with its header fields; else
            the refusal, with its status and body.
        subprotocol: The subprotocol that the app chose, or None.
        close_code: The code of the close frame that the app sent; None if it sent none.
        close_reason: The reason in it.
    """

    __test__ = False

    def __init__(self, run: Run, path: str) -> None:
        self._run = run
        self._path = path
        self.response: httpx.Response = httpx.Response(500)
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason: str = ""
        self._open = False

    @property
    def accepted(self) -> bool:
        """Whether the app accepted the handshake."""
        return self.response.status_code == 101

    def __repr__(self) -> str:
        if not self.accepted:
            state = f"refused with {self.response.status_code}"
        elif self._open:
            state = "open"
        else:
            state = "left" if self.close_code is None else f"closed with {self.close_code}"
        return f"<TestWebSocket {self._path} {state}>"

    async def _shake_hands(self, client: httpx.AsyncClient, request: httpx.Request) -> None:
        self._run.tell({"type": "websocket.connect"})
        message = await self._hear()
        status, body = 101, b""
        if message["type"] == "websocket.accept":
            self._open = True
            self.subprotocol = message.get("subprotocol")
        elif message["type"] == "websocket.http.response.start":
            status = message["status"]
            more: Message = {"more_body": True}
            while more.get("more_body", False):
                more = await self._hear()
                body += more.get("body", b"")
        elif message["type"] == "websocket.close":
            status = 403
        else:
            raise RuntimeError("the app ended without an answer to the handshake")
        fields = message.get("headers", [])
        self.response = httpx.Response(status, headers=fields, content=body, request=request)
        client.cookies.extract_cookies(self.response)

    async def send(self, data: str | bytes) -> None:
        """Send a message: ``str`` in a text frame, ``bytes`` in a binary one.

        Args:
            data: The message.

        Raises:
            TypeError: If it is neither.
            UnicodeEncodeError: If it has half of a surrogate pair, which no frame can hold.
            ConnectionClosed: If the app is known to have closed, or this client has left.
            RuntimeError: If the handshake was refused.
            TimeoutError: If the app does not receive and there is no room left for what it has not received.
        """
        if not isinstance(data, (str, bytes)):
            raise TypeError(f"a message is str or bytes, not {type(data).__name__}")
        self._must_be_open()
        if isinstance(data, str):
            data.encode()
        await self._run.tell_in_turn(
            {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}
        )

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON in a text frame.

        Args:
            value: What JSON can hold.

        Raises:
            TypeError: For a value that JSON cannot hold.
            Exception: As :meth:`send`.
        """
        await self.send(dump_json(value).decode())

    async def receive(self) -> str | bytes:
        """The next message, in kind.

        Raises:
            ConnectionClosed: When the app has closed, with code and reason.
            RuntimeError: If the handshake was refused.
            TimeoutError: If no message comes.
            Exception: What the app raised, or HTTPX's ``RemoteProtocolError`` if it sent what a server would not send.
        """
        self._must_be_open()
        message = await self._hear()
        if message["type"] == "websocket.send":
            text = message.get("text")
            data: str | bytes = message["bytes"] if text is None else text
            return data
        self._ended(message)
        raise self._closed()

    async def receive_json(self) -> Any:
        """The value of the next message.  Raises as :meth:`receive`, and ValueError for no JSON."""
        return load_json(await self.receive())

    def __aiter__(self) -> TestWebSocket:
        """The messages until the app closes."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except ConnectionClosed:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Leave, with a close code, and wait until the app has ended.

        Args:
            code: What the app gets as the client's close code.
            reason: What it gets as the client's reason.

        Raises:
            ValueError: For a code or a reason that no close frame can hold.  1005 and 1006 are none either, but what a
                server reports for a close frame without a code, and for a client that just vanished.
            TimeoutError: If the app does not end.
            Exception: What the app raised.
        """
        if code not in (1005, 1006):
            try:
                check_close(code, reason)
            except IllegalMessage as error:
                raise ValueError(str(error)) from None
        await self._leave(code, reason)

    def _must_be_open(self) -> None:
        if not self.accepted:
            raise RuntimeError(f"the handshake was refused with {self.response.status_code}")
        if not self._open:
            raise self._closed()

    def _closed(self) -> ConnectionClosed:
        return ConnectionClosed(self.close_code or 1006, self.close_reason)

    async def _hear(self) -> Message:
        with _as_told_by_httpx():
            return await self._run.hear()

    def _ended(self, message: Message) -> None:
        self._open = False
        if message["type"] == "websocket.close":
            self.close_code = message.get("code", 1000)
            self.close_reason = message.get("reason") or ""

    async def _leave(self, code: int, reason: str) -> None:
        self._open = False
        with _as_told_by_httpx():
            last = await self._run.leave({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._ended(last)
