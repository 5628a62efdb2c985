"""What goes over the WebSockets of a page in a real browser, for tests with Playwright.

Playwright tells of each message, but not how a connection ended.  So a script in the page listens for the browser's own
``close`` events, which have code and reason, and reports them; it leaves the page's ``WebSocket`` as it is otherwise.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
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

#: In Playwright's sync form events come only while it waits, and it waits only for events of one kind: so this waits in
#: short steps, in milliseconds.
_STEP = 10

#: What Chromium says instead of "Unexpected response code: 401".
_UNAUTHORIZED = "HTTP Authentication failed; no valid credentials available"

_BINDING = "__micropie_websocket__"

_SCRIPT = """(() => {
  const tell = (...news) => window.%s?.(...news);
  const page = `${Math.random()}`;  // one document: after a reload there is another
  let opened = 0;
  tell(page, "", null, "");
  const Recorded = new Proxy(WebSocket, {
    construct(target, args, made) {
      const socket = Reflect.construct(target, args, made);
      const id = `${page} ${++opened}`;
      tell(id, socket.url, null, "");
      socket.addEventListener("error", () => tell(id, socket.url, 0, ""));
      socket.addEventListener("close", ({ code, reason }) => tell(id, socket.url, code, reason));
      return socket;
    },
  });
  WebSocket.prototype.constructor = Recorded;
  window.WebSocket = Recorded;
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
        self._id = ""  # the page's name for it, once it has told
        self._seen = False  # whether Playwright has told of it
        self._frame: object = None  # where the page opened it
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

    def __str__(self) -> str:
        lines = [f"WebSocket {self._number}: {self.url}"]
        lines += [f"  {_VERBS[frame.sender]} {_shown(frame.data)}" for frame in self.frames]
        if self.error is not None:
            lines.append(f"  failed: {self.error}")
        if self.closed:
            lines.append(f"  closed with code {self.close_code} and reason {self.close_reason!r}")
        elif self._over and self.error is None:
            lines.append("  ended without a close event: the page went away")
        return "\n".join(lines)


_VERBS = {"page": "sent    ", "server": "received"}


def _shown(data: str | bytes) -> str:
    shown = repr(data)
    return shown if len(shown) <= 500 else f"{shown[:500]} ... (length {len(data)})"


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

    return _Question(words, holds, lambda: bool(socket.frames) or (socket.error is not None))


S = TypeVar("S", bound=_Recorded)


class Recorder:
    """What both forms have in common: the record."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._all: list[Any] = []

    def __str__(self) -> str:
        return "\n".join(map(str, self._all)) or "The page has opened no WebSocket."

    def _make(self, url: str, number: int) -> Any:
        raise NotImplementedError

    def _news(self) -> None:
        """Something was recorded."""

    # The page and Playwright each tell of the sockets of one address in their order: the first news of one makes it.

    def _told_by_playwright(self, ws: WebSocket | AsyncSocket) -> None:
        socket = self._find(ws.url, lambda socket: not socket._seen)
        socket._seen = True

        def note(sender: Literal["page", "server"], data: str | bytes) -> None:
            socket.frames.append(Frame(sender, data))
            self._news()

        def end(_ws: object) -> None:
            socket.ended = True
            self._news()

        def fail(error: str) -> None:
            socket.error = f"{error} (response code: 401)" if error == _UNAUTHORIZED else error
            self._news()

        ws.on("framesent", lambda data: note("page", data))
        ws.on("framereceived", lambda data: note("server", data))
        ws.on("socketerror", fail)
        ws.on("close", end)
        self._news()

    def _told_by_page(self, source: Any, name: str, url: str, code: int | None, reason: str) -> None:
        if not url:  # a new document
            self._leave(lambda socket: socket._frame is source["frame"] and not socket._id.startswith(name))
            return
        socket = self._find(url, lambda socket: socket._id == ("" if code is None else name))
        socket._id, socket._frame = name, source["frame"]
        if code:
            socket.close_code, socket.close_reason = code, reason
        elif (
            code == 0 and not socket._seen
        ):  # not even tried, as the page's Content-Security-Policy forbids it
            socket.error = "the page may not open it"
            socket.ended = socket._over = True
        self._news()

    def _leave(self, fits: Callable[[_Recorded], bool]) -> None:
        for socket in self._all:
            if not socket.closed and fits(socket):
                socket.ended = socket._over = True
        self._news()

    def _find(self, url: str, fits: Callable[[_Recorded], bool]) -> _Recorded:
        for socket in self._all:
            if socket.url == url and fits(socket):
                found: _Recorded = socket
                return found
        made: _Recorded = self._make(url, len(self._all) + 1)
        self._all.append(made)
        return made

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
        self._page.on("websocket", self._told_by_playwright)
        self._page.on("close", lambda _page: self._leave(lambda _socket: True))
        self._page.expose_binding(_BINDING, self._told_by_page)
        self._page.add_init_script(_SCRIPT % _BINDING)
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
        self._page.on("websocket", self._told_by_playwright)
        self._page.on("close", lambda _page: self._leave(lambda _socket: True))
        await self._page.expose_binding(_BINDING, self._told_by_page)
        await self._page.add_init_script(_SCRIPT % _BINDING)
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

    Call it before ``page.goto()``.  It sees the page and its frames; not workers, nor pages that it opens.

    Args:
        page: A page of Playwright, in its sync form; in its async form, the result has to be awaited.
        timeout: Milliseconds that expectations wait for what they expect; 5,000 unless given.

    Returns:
        The record.
    """
    return recorder(page, timeout).start()
