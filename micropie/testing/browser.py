"""What goes over the WebSockets of a page in a real browser, for tests with Playwright.

A script in the page notes what each ``WebSocket`` of the page gets and sends and how it ends, and leaves it as it is
otherwise.  Playwright's own events cannot say that: they have no close code, and of two sockets to one address they do
not say which is the page's, which is a worker's, and which is the server's side of a route.  Only why a handshake was
refused is known to Playwright alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, cast, overload

if TYPE_CHECKING:
    from playwright.async_api import Page as AsyncPage
    from playwright.async_api import WebSocket as AsyncSocket
    from playwright.sync_api import Page, WebSocket

__all__ = [
    "AsyncRecordedWebSocket",
    "AsyncWebSocketRecorder",
    "Frame",
    "RecordedWebSocket",
    "WebSocketRecorder",
    "record_websockets",
]

#: What a message is compared with: text and bytes in kind, a dict or list as JSON in a text frame, a pattern to
#: search for in a text frame.
Expected: TypeAlias = "str | bytes | dict[str, Any] | list[Any] | re.Pattern[str]"

#: How long something is waited for, in milliseconds, as Playwright's own assertions do.
TIMEOUT = 5000.0

#: How many messages of a WebSocket, and how many WebSockets, a failure shows: the last ones.
SHOWN = 20

#: In Playwright's sync form events come only while it waits, and it waits only for events of one kind: so this waits in
#: short steps, in milliseconds.
_STEP = 10

#: What Chromium says instead of "Unexpected response code: 401".
_UNAUTHORIZED = "HTTP Authentication failed; no valid credentials available"

_BINDING = "__micropie_websocket__"

_SCRIPT = """(() => {
  const binding = "__micropie_websocket__", mark = Symbol.for(binding);
  if (window[mark]) return;  // a frame's first document may hand its window on
  Object.defineProperty(window, mark, { value: true });
  const page = `${Math.random()}`;  // one document: after a reload there is another
  const told = new WeakMap();  // what tells of a socket, for those that the page itself has made
  const watched = new WeakSet();
  let opened = 0, inside = false;
  const report = (...news) => { window[binding]?.(page, ...news); };
  const base64 = (view) => {
    let text = "";
    for (const byte of view) text += String.fromCharCode(byte);
    return btoa(text);
  };

  function follow(socket) {
    const id = ++opened;
    let turn = Promise.resolve();  // a Blob is read later, and what comes after it waits
    const tell = (...news) => { turn = turn.then(() => report(id, ...news)); };
    told.set(socket, (kind, data) => {
      if (data instanceof Blob) turn = turn.then(async () => {
        report(id, kind, base64(new Uint8Array(await data.arrayBuffer())), true);
      });
      else if (data instanceof ArrayBuffer) tell(kind, base64(new Uint8Array(data)), true);
      else if (ArrayBuffer.isView(data)) {
        tell(kind, base64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)), true);
      } else tell(kind, `${data}`, false);
    });
    report(id, "made", socket.url);
    socket.addEventListener("open", () => tell("opened"));
    socket.addEventListener("message", ({ data }) => told.get(socket)("received", data));
    socket.addEventListener("error", () => tell("failed"));
    socket.addEventListener("close", ({ code, reason }) => tell("closed", code, reason));
    return socket;
  }

  function watch_sending(prototype) {  // where it is defined: what a subclass makes of it is not what is sent
    let found = null;
    for (let one = prototype; one; one = Object.getPrototypeOf(one)) if (Object.hasOwn(one, "send")) found = one;
    if (!found || watched.has(found)) return;
    watched.add(found);
    found.send = new Proxy(found.send, {
      apply(target, socket, args) {
        const open = socket.readyState === 1;
        const result = Reflect.apply(target, socket, args);
        if (open && args.length) told.get(socket)?.("sent", args[0]);
        return result;
      },
    });
  }

  let current, silent = new WeakSet();
  function wrap(target) {
    watch_sending(target.prototype);
    const wrapped = new Proxy(target, {
      construct(target, args, made) {
        if (inside || silent.has(wrapped)) return Reflect.construct(target, args, made);
        inside = true;
        try {
          return follow(Reflect.construct(target, args, made));
        } finally {
          inside = false;
        }
      },
    });
    target.prototype.constructor = wrapped;
    return wrapped;
  }

  report(0, "document");
  current = wrap(window.WebSocket);
  Object.defineProperty(window, "WebSocket", {
    configurable: true,
    enumerable: false,
    get: () => current,
    set(value) {
      if (value === current) return;
      const before = current;
      if (typeof value !== "function" || !value.prototype) {
        current = value;
        return;
      }
      // What is put in our place and is no subclass, as Playwright's routes, is what the page sees; what it opens
      // by itself is not.
      if (!(value.prototype instanceof before)) silent.add(before);
      current = wrap(value);
    },
  });
})()"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message.

    Attributes:
        sender: Who sent it, ``"page"`` or ``"server"``.
        data: What, a text frame as ``str`` and a binary one as ``bytes``.
    """

    sender: Literal["page", "server"]
    data: str | bytes


class _Recorded:
    """What is known by now of one WebSocket of a page."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.frames: list[Frame] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.error: str | None = None
        self.ended = False
        self._number = number
        self._key: tuple[object, ...] = ()  # the document that made it, and its number there
        self._frame: object = None  # where that document is
        self._opened = False
        self._failed = False  # whether the page has been told that its handshake failed
        self._before = 0  # how many failures Playwright had told of when the page made it
        self._over = False  # whether no close event will come any more

    @property
    def sent(self) -> list[str | bytes]:
        """What the page sent, in its kind."""
        return [frame.data for frame in self.frames if frame.sender == "page"]

    @property
    def received(self) -> list[str | bytes]:
        """What the server sent, in its kind."""
        return [frame.data for frame in self.frames if frame.sender == "server"]

    @property
    def closed(self) -> bool:
        """Whether the page has got its ``close`` event."""
        return self.close_code is not None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._number}: {f'{self.url} {self._state()}'.rstrip()}>"

    def __str__(self) -> str:
        return self._told(SHOWN)

    def _state(self) -> str:
        if self.error is not None:
            return f"failed: {self.error}"
        if self.closed:
            return f"closed with code {self.close_code} and reason {self.close_reason!r}"
        return "ended without a close event: the page went away" if self._over else ""

    def _told(self, last: int | None) -> str:
        """The record as text: the last messages, each cut where it is long, or if None all of them whole."""
        frames = self.frames if last is None else self.frames[-last:]
        lines = [f"WebSocket {self._number}: {self.url}"]
        if len(frames) < len(self.frames):
            lines.append(f"  ... {len(self.frames) - len(frames)} messages before these")
        lines += [f"  {_VERBS[frame.sender]} {_shown(frame.data, whole=last is None)}" for frame in frames]
        return "\n".join([*lines, *(f"  {state}" for state in [self._state()] if state)])


_VERBS = {"page": "sent    ", "server": "received"}


def _shown(data: str | bytes, *, whole: bool) -> str:
    shown = repr(data)
    return shown if whole or len(shown) <= 500 else f"{shown[:500]} ... (length {len(data)})"


class _Question(NamedTuple):
    """What is waited for: in words, whether it is so, and whether it can still come true."""

    words: str
    holds: Callable[[], bool]
    hopeless: Callable[[], bool] = lambda: False


def _talk(socket: _Recorded, side: Literal["sent", "received"], expected: tuple[Expected, ...]) -> _Question:
    wanted = ", then ".join(map(repr, expected))

    def holds() -> bool:
        frames = iter(getattr(socket, side))
        return all(any(_fits(one, data) for data in frames) for one in expected)

    return _Question(f"that {socket.url} {side} {wanted}", holds, lambda: socket.ended)


def _fits(expected: Expected, data: str | bytes) -> bool:
    if isinstance(expected, (str, bytes)):
        return type(data) is type(expected) and data == expected
    if not isinstance(data, str):
        return False
    if isinstance(expected, re.Pattern):
        return expected.search(data) is not None
    try:
        value: Any = json.loads(data)
    except ValueError:
        return False
    return bool(value == expected)


def _close(socket: _Recorded, code: int | None, reason: str | None) -> _Question:
    words = f"that {socket.url} is closed"
    words += "" if code is None else f" with code {code}"
    words += "" if reason is None else f" and reason {reason!r}"

    def holds() -> bool:
        return socket.closed and code in (None, socket.close_code) and reason in (None, socket.close_reason)

    return _Question(words, holds, lambda: socket.closed or socket._over)


def _refusal(socket: _Recorded, status: int | None) -> _Question:
    words = f"that the handshake for {socket.url} is refused"
    words += "" if status is None else f" with status {status}"

    def holds() -> bool:
        error = socket.error
        return error is not None and (status is None or re.search(rf"\b{status}\b", error) is not None)

    return _Question(words, holds, lambda: socket._opened or socket.error is not None)


S = TypeVar("S", bound=_Recorded)


class _Handshake:
    """One that Playwright tells of: the page's own, that of a worker, or that of a route's server side."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.error: str | None = None
        self.failed = 0  # which failure it was
        self.taken = False  # whether a WebSocket of the page is known to be it, or one like it


class Recorder:
    """What both forms have in common: the record."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._all: list[Any] = []
        self._handshakes: list[_Handshake] = []
        self._failures = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._all)} WebSockets>"

    def __str__(self) -> str:
        return self._told(SHOWN)

    @property
    def transcript(self) -> str:
        """The whole record as text, with every message in full; ``str()`` shows the last twenty of each WebSocket."""
        return self._told(None)

    def _told(self, last: int | None) -> str:
        shown = self._all if last is None else self._all[-last:]
        before = len(self._all) - len(shown)
        lines = [f"... {before} WebSockets before these"] if before else []
        return (
            "\n".join([*lines, *(socket._told(last) for socket in shown)])
            or "The page has opened no WebSocket."
        )

    def _make(self, url: str, number: int) -> Any:
        raise NotImplementedError

    def _news(self) -> None:
        """Something was recorded."""

    def _listen(self, page: Any) -> list[Any]:
        """Listen to Playwright's events, and return the frames in which the script has to run at once."""
        page.on("websocket", self._told_by_playwright)
        page.on("close", lambda _page: self._leave(lambda _socket: True))
        page.on("framedetached", lambda frame: self._leave(lambda socket: socket._frame is frame))
        return [frame for frame in page.frames if frame.url != "about:blank"]

    def _told_by_playwright(self, ws: WebSocket | AsyncSocket) -> None:
        handshake = _Handshake(ws.url)
        self._handshakes.append(handshake)

        def fail(error: str) -> None:
            handshake.error = f"{error} (response code: 401)" if error == _UNAUTHORIZED else error
            self._failures += 1
            handshake.failed = self._failures
            self._explain(handshake.url)
            self._news()

        ws.on("socketerror", fail)

    def _told_by_page(self, source: Any, document: str, number: int, kind: str = "", *news: Any) -> None:
        key = (document, number)
        if kind == "document":
            self._leave(lambda socket: socket._frame is source["frame"] and socket._key[0] != document)
            return
        if kind == "made":
            made = self._make(news[0], len(self._all) + 1)
            made._key, made._frame, made._before = key, source["frame"], self._failures
            self._all.append(made)
            self._news()
            return
        socket = next(socket for socket in reversed(self._all) if socket._key == key)
        if kind == "opened":
            socket._opened = True
            taken = next(self._left(socket.url), None)
            if taken is not None:
                taken.taken = True
        elif kind == "failed":
            socket._failed = not socket._opened
            self._explain(socket.url)
        elif kind == "closed":
            socket.close_code, socket.close_reason = news
            socket.ended = True
        else:
            data: str | bytes = base64.b64decode(news[0]) if news[1] else news[0]
            socket.frames.append(Frame("page" if kind == "sent" else "server", data))
        self._news()

    # Why a handshake failed is known to Playwright alone, which does not say whose it was.  A failure that came before
    # the page made a WebSocket is not that one's.

    def _explain(self, url: str) -> None:
        for socket in self._all:
            if socket.url != url or not socket._failed or socket.error is not None:
                continue
            own = next(self._left(url, after=socket._before), None)
            if own is not None:
                own.taken = True
                socket.error = own.error
                socket.ended = True
            elif next(self._left(url), None) is None:
                # Not even tried, as the page's Content-Security-Policy forbids it: no close event will come.
                socket.error = "the page may not open it"
                socket.ended = socket._over = True

    def _left(self, url: str, after: int | None = None) -> Iterator[_Handshake]:
        """The handshakes that nobody has taken: those that failed after so many others; if None, those that did not."""
        for handshake in self._handshakes:
            if (
                handshake.url == url
                and not handshake.taken
                and (handshake.error is None if after is None else handshake.failed > after)
            ):
                yield handshake

    def _leave(self, fits: Callable[[_Recorded], bool]) -> None:
        for socket in self._all:
            if not socket.closed and fits(socket):
                socket.ended = socket._over = True
        self._news()

    def _opening(self, url: str | re.Pattern[str], number: int) -> tuple[_Question, Callable[[], list[Any]]]:
        def fitting() -> list[Any]:
            return [
                socket
                for socket in self._all
                if (url in socket.url if isinstance(url, str) else url.search(socket.url))
            ]

        words = f"that the page opens a WebSocket to {url!r}" + (f", {number} times" if number > 1 else "")
        return _Question(words, lambda: len(fitting()) >= number), fitting

    def _failed(self, question: _Question, timeout: float) -> AssertionError:
        when = "it cannot be any more" if question.hopeless() else f"it was not within {timeout:g} ms"
        return AssertionError(f"expected {question.words}; {when}\n{self}")


class RecordedWebSocket(_Recorded):
    """One WebSocket of a page, as far as is known by now.

    Attributes:
        url: Its address.
        frames: The messages in both directions, in their order.
        close_code: The code of the page's ``close`` event; None while there was none.
        close_reason: The reason in it.
        error: Why the handshake failed, in the browser's words and, of a 401, with the number that Chromium leaves out;
            None if it did not.
        ended: Whether the connection is over.  A page that goes away gets no ``close`` event, so that there is no code.
    """

    def __init__(self, url: str, number: int, recorder: WebSocketRecorder) -> None:
        super().__init__(url, number)
        self._recorder = recorder

    def expect_sent(self, *messages: Expected, timeout: float | None = None) -> None:
        """Wait until the page has sent these messages in this order; there may be others before and between them.

        Args:
            messages: Text and bytes in kind, a dict or list for JSON in a text frame, a pattern to search for in one.
            timeout: Milliseconds to wait; the recorder's if None.

        Raises:
            AssertionError: If that does not come true, with all that was recorded.
        """
        __tracebackhide__ = True
        self._recorder._wait(_talk(self, "sent", messages), timeout)

    def expect_received(self, *messages: Expected, timeout: float | None = None) -> None:
        """As :meth:`expect_sent`, for what the server has sent."""
        __tracebackhide__ = True
        self._recorder._wait(_talk(self, "received", messages), timeout)

    def expect_closed(
        self, code: int | None = None, reason: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Wait for the page's ``close`` event.

        Args:
            code: The code that it has to have: the server's or, if the page closed, its own; 1005 for none, and 1006 if
                the connection was lost.
            reason: The reason.
            timeout: Milliseconds to wait; the recorder's if None.

        Raises:
            AssertionError: If it does not come or is another, with all that was recorded.
        """
        __tracebackhide__ = True
        self._recorder._wait(_close(self, code, reason), timeout)

    def expect_refused(self, status: int | None = None, *, timeout: float | None = None) -> None:
        """Wait until the handshake has failed.

        Args:
            status: The HTTP status of the answer, as Chromium tells it: by its number, or a 401 by a sentence.
            timeout: Milliseconds to wait; the recorder's if None.

        Raises:
            AssertionError: If it does not or the status is another, with all that was recorded.
        """
        __tracebackhide__ = True
        self._recorder._wait(_refusal(self, status), timeout)


class WebSocketRecorder(Recorder):
    """The record of all WebSockets of one page; see :func:`record_websockets`.

    Attributes:
        timeout: Milliseconds that its expectations wait.
    """

    def __init__(self, page: Page, timeout: float = TIMEOUT) -> None:
        super().__init__(timeout)
        self._page = page

    def start(self) -> WebSocketRecorder:
        """Begin to record."""
        loaded = self._listen(self._page)
        self._page.expose_binding(_BINDING, self._told_by_page)
        self._page.add_init_script(_SCRIPT)
        for frame in loaded:
            with suppress(Exception):  # it may be going away
                frame.evaluate(_SCRIPT)
        return self

    @property
    def sockets(self) -> list[RecordedWebSocket]:
        """The WebSockets so far, in the order in which the page opened them."""
        return list(self._all)

    def expect_socket(
        self, url: str | re.Pattern[str] = "", *, number: int = 1, timeout: float | None = None
    ) -> RecordedWebSocket:
        """Wait until the page has opened a WebSocket, and return it; its handshake may not have an answer yet.

        Args:
            url: A part of its address, or a pattern to search for in it.
            number: Which of those that fit, the first being 1: after a reconnection there are two.
            timeout: Milliseconds to wait; the recorder's if None.

        Raises:
            AssertionError: If it does not, with all that was recorded.
        """
        __tracebackhide__ = True
        question, fitting = self._opening(url, number)
        self._wait(question, timeout)
        found: RecordedWebSocket = fitting()[number - 1]
        return found

    def _make(self, url: str, number: int) -> RecordedWebSocket:
        return RecordedWebSocket(url, number, self)

    def _wait(self, question: _Question, timeout: float | None) -> None:
        __tracebackhide__ = True
        timeout = self.timeout if timeout is None else timeout
        deadline = monotonic() + timeout / 1000
        while not question.holds():
            if question.hopeless() or monotonic() > deadline:
                raise self._failed(question, timeout)
            self._page.wait_for_timeout(_STEP)


class AsyncRecordedWebSocket(_Recorded):
    """As :class:`RecordedWebSocket`, with expectations that are awaited."""

    def __init__(self, url: str, number: int, recorder: AsyncWebSocketRecorder) -> None:
        super().__init__(url, number)
        self._recorder = recorder

    async def expect_sent(self, *messages: Expected, timeout: float | None = None) -> None:
        """As :meth:`RecordedWebSocket.expect_sent`."""
        __tracebackhide__ = True
        await self._recorder._wait(_talk(self, "sent", messages), timeout)

    async def expect_received(self, *messages: Expected, timeout: float | None = None) -> None:
        """As :meth:`RecordedWebSocket.expect_received`."""
        __tracebackhide__ = True
        await self._recorder._wait(_talk(self, "received", messages), timeout)

    async def expect_closed(
        self, code: int | None = None, reason: str | None = None, *, timeout: float | None = None
    ) -> None:
        """As :meth:`RecordedWebSocket.expect_closed`."""
        __tracebackhide__ = True
        await self._recorder._wait(_close(self, code, reason), timeout)

    async def expect_refused(self, status: int | None = None, *, timeout: float | None = None) -> None:
        """As :meth:`RecordedWebSocket.expect_refused`."""
        __tracebackhide__ = True
        await self._recorder._wait(_refusal(self, status), timeout)


class AsyncWebSocketRecorder(Recorder):
    """The record of all WebSockets of one page of Playwright's async form; see :func:`record_websockets`.

    Attributes:
        timeout: Milliseconds that its expectations wait.
    """

    def __init__(self, page: AsyncPage, timeout: float = TIMEOUT) -> None:
        super().__init__(timeout)
        self._page = page
        self._something = asyncio.Event()

    async def start(self) -> AsyncWebSocketRecorder:
        """Begin to record."""
        loaded = self._listen(self._page)
        await self._page.expose_binding(_BINDING, self._told_by_page)
        await self._page.add_init_script(_SCRIPT)
        for frame in loaded:
            with suppress(Exception):  # it may be going away
                await frame.evaluate(_SCRIPT)
        return self

    @property
    def sockets(self) -> list[AsyncRecordedWebSocket]:
        """The WebSockets so far, in the order in which the page opened them."""
        return list(self._all)

    async def expect_socket(
        self, url: str | re.Pattern[str] = "", *, number: int = 1, timeout: float | None = None
    ) -> AsyncRecordedWebSocket:
        """As :meth:`WebSocketRecorder.expect_socket`."""
        __tracebackhide__ = True
        question, fitting = self._opening(url, number)
        await self._wait(question, timeout)
        found: AsyncRecordedWebSocket = fitting()[number - 1]
        return found

    def _make(self, url: str, number: int) -> AsyncRecordedWebSocket:
        return AsyncRecordedWebSocket(url, number, self)

    def _news(self) -> None:
        self._something.set()

    async def _wait(self, question: _Question, timeout: float | None) -> None:
        __tracebackhide__ = True
        timeout = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(timeout / 1000):
                while not question.holds() and not question.hopeless():
                    self._something.clear()
                    await self._something.wait()
        except TimeoutError:
            pass
        if not question.holds():
            raise self._failed(question, timeout)


def recorder(page: Page | AsyncPage, timeout: float = TIMEOUT) -> WebSocketRecorder | AsyncWebSocketRecorder:
    """The recorder for a page, which has not begun yet."""
    form = sys.modules.get("playwright.async_api")  # there are no such pages before it is
    if form is not None and isinstance(page, form.Page):
        return AsyncWebSocketRecorder(page, timeout)
    return WebSocketRecorder(cast("Page", page), timeout)


@overload
def record_websockets(page: Page, timeout: float = TIMEOUT) -> WebSocketRecorder: ...
@overload
async def record_websockets(page: AsyncPage, timeout: float = TIMEOUT) -> AsyncWebSocketRecorder: ...
def record_websockets(page: Page | AsyncPage, timeout: float = TIMEOUT) -> Any:
    """Record what goes over a page's WebSockets, from now on.

    Call it before ``page.goto()``.  It sees what the page's own script sees, and that of its frames: the
    page's side of ``page.route_web_socket()``; not workers, nor pages that it opens.

    Args:
        page: A page of Playwright, in its sync form; in its async form, the result has to be awaited.
        timeout: Milliseconds that expectations wait for what they expect; 5,000 unless given.

    Returns:
        The record.
    """
    return recorder(page, timeout).start()
