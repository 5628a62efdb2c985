"""The recorder's logic, on a page that is played; tests/e2e/test_recorder.py has real ones."""

from __future__ import annotations

import asyncio
import base64
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from micropie.testing import browser
from micropie.testing.browser import AsyncWebSocketRecorder, WebSocketRecorder, record_websockets

URL = "ws://127.0.0.1/chat"


class Emitter:
    """Something of Playwright's that has events."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self._listeners: dict[str, Callable[[Any], None]] = {}

    def on(self, event: str, listener: Callable[[Any], None]) -> None:
        self._listeners[event] = listener

    def emit(self, event: str, value: Any = None) -> None:
        self._listeners[event](value)


class PageFrame:
    """A frame whose document may have been loaded before the recorder came."""

    def __init__(self, url: str = "about:blank") -> None:
        self.url = url
        self.evaluated: list[str] = []

    def evaluate(self, script: str) -> Any:
        self.evaluated.append(script)


class Page(Emitter):
    """A page on which one thing happens after the other, each only when the recorder waits."""

    def __init__(self, *events: Callable[[Page], None]) -> None:
        super().__init__()
        self._events: Iterator[Callable[[Page], None]] = iter(events)
        self.handshakes: list[Emitter] = []
        self.frame = PageFrame()
        self.frames = [self.frame]

    def expose_binding(self, _name: str, callback: Callable[..., None]) -> Any:
        self._callback = callback

    def add_init_script(self, script: str) -> Any:
        assert "WebSocket" in script

    def wait_for_timeout(self, _milliseconds: float) -> None:
        next(self._events, lambda _page: None)(self)

    def tell(self, *news: Any) -> None:
        self._callback({"frame": self.frame}, *news)


def document(name: str) -> Callable[[Page], None]:
    return lambda page: page.tell(name, 0, "document")


def made(number: int = 1, url: str = URL, *, document: str = "d") -> Callable[[Page], None]:
    """The page makes a WebSocket."""
    return lambda page: page.tell(document, number, "made", url)


def told(kind: str, number: int = 1, *news: Any) -> Callable[[Page], None]:
    """The page tells of its WebSocket."""
    return lambda page: page.tell("d", number, kind, *news)


def closed(code: int, reason: str = "", number: int = 1) -> Callable[[Page], None]:
    return told("closed", number, code, reason)


def sent(data: str | bytes, number: int = 1, kind: str = "sent") -> Callable[[Page], None]:
    if isinstance(data, bytes):
        return told(kind, number, base64.b64encode(data).decode(), True)
    return told(kind, number, data, False)


def received(data: str | bytes, number: int = 1) -> Callable[[Page], None]:
    return sent(data, number, "received")


def handshake(url: str = URL) -> Callable[[Page], None]:
    """Somebody begins a handshake, as Playwright tells: the page, a worker, or the server's side of a route."""

    def event(page: Page) -> None:
        page.handshakes.append(Emitter(url))
        page.emit("websocket", page.handshakes[-1])

    return event


def refused(error: str, number: int = -1) -> Callable[[Page], None]:
    """That handshake fails, as Playwright tells."""
    return lambda page: page.handshakes[number].emit("socketerror", error)


def record(*events: Callable[[Page], None], timeout: float = 0) -> WebSocketRecorder:
    """A recorder to which all this has happened."""
    page: Any = Page()
    recorder = record_websockets(page, timeout)
    for event in events:
        event(page)
    assert isinstance(recorder, WebSocketRecorder)
    return recorder


OPENED = [document("d"), made(), handshake(), told("opened")]
TALK = [*OPENED, sent("hi"), sent('{"a": [1]}'), sent(b"\x01"), sent("bye")]


@pytest.mark.parametrize(
    "messages",
    [
        ["hi"],
        ["hi", {"a": [1]}, b"\x01", "bye"],
        ["hi", "bye"],
        [re.compile("^b.e$")],
        [],
    ],
)
def test_messages_in_their_order(messages: list[Any]) -> None:
    socket = record(*TALK).expect_socket()
    socket.expect_sent(*messages)
    assert socket.sent == ["hi", '{"a": [1]}', b"\x01", "bye"]
    socket = record(*OPENED, *(received(data) for data in socket.sent)).sockets[0]
    socket.expect_received(*messages)


@pytest.mark.parametrize(
    "messages",
    [["bye", "hi"], ["hi", "hi"], [b"hi"], ["\x01"], [{"a": [2]}], [[1]], [re.compile("x")], [{}], ["h"]],
)
def test_other_messages(messages: list[Any]) -> None:
    socket = record(*TALK).expect_socket("/chat")
    with pytest.raises(
        AssertionError, match=r"^expected that ws://127.0.0.1/chat sent .*; it was not within 0 ms"
    ):
        socket.expect_sent(*messages)


ENDED = [*TALK, received("ok"), closed(4001, "enough")]

TRANSCRIPT = r"""
WebSocket 1: ws://127.0.0.1/chat
  sent     'hi'
  sent     '{"a": [1]}'
  sent     b'\x01'
  sent     'bye'
  received 'ok'
  closed with code 4001 and reason 'enough'"""


@pytest.mark.parametrize(
    ("expectation", "words"),
    [
        (lambda socket: socket.expect_closed(1000), "is closed with code 1000; it cannot be any more"),
        (
            lambda socket: socket.expect_closed(4001, ""),
            "is closed with code 4001 and reason ''; it cannot be any more",
        ),
        (lambda socket: socket.expect_received("more"), "received 'more'; it cannot be any more"),
        (lambda socket: socket.expect_refused(), "is refused; it cannot be any more"),
        (lambda socket: socket.expect_refused(403), "is refused with status 403; it cannot be any more"),
    ],
)
def test_what_cannot_come_any_more_is_not_waited_for(expectation: Any, words: str) -> None:
    recorder = record(*ENDED, timeout=3_600_000)
    socket = recorder.expect_socket()
    socket.expect_closed()
    socket.expect_closed(4001)
    socket.expect_closed(4001, "enough")
    with pytest.raises(AssertionError) as failed:
        expectation(socket)
    assert str(failed.value).endswith(words + TRANSCRIPT)


def test_what_comes_while_it_waits(record_websockets: Any) -> None:
    page: Any = Page(*OPENED, sent("a"), received("b"), closed(1000))
    recorder = record_websockets(page)
    assert str(recorder) == "The page has opened no WebSocket."
    socket = recorder.expect_socket(re.compile("ch.t$"))
    socket.expect_sent("a")
    socket.expect_received("b")
    socket.expect_closed(1000)
    assert [frame.sender for frame in socket.frames] == ["page", "server"]


FORBIDDEN = "Error during WebSocket handshake: Unexpected response code: 403"
UNAUTHORIZED = "HTTP Authentication failed; no valid credentials available"


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [(FORBIDDEN, 403, FORBIDDEN), (UNAUTHORIZED, 401, f"{UNAUTHORIZED} (response code: 401)")],
)
@pytest.mark.parametrize("page_first", [False, True])
def test_a_refused_handshake(words: str, status: int, error: str, page_first: bool) -> None:
    """The page's own events say less, and may come first."""
    news = [refused(words), told("failed")]
    page: Any = Page(
        document("d"), made(), handshake(), *(reversed(news) if page_first else news), closed(1006)
    )
    socket = record_websockets(page).expect_socket()
    socket.expect_refused(status)
    assert socket.error == error
    with pytest.raises(AssertionError) as failed:
        socket.expect_refused(404)
    assert str(failed.value).endswith(f"cannot be any more\nWebSocket 1: {URL}\n  failed: {error}")
    socket.expect_closed(1006)


def test_two_refusals_of_one_address() -> None:
    """The page's and a worker's: what failed before the page tried is not the page's."""
    recorder = record(
        *[document("d"), handshake(), refused("... response code: 500"), made(), handshake()],
        *[told("failed"), refused("... response code: 401"), closed(1006)],
        *[made(2), handshake(), refused("... response code: 403"), told("failed", 2)],
    )
    for socket, status in zip(recorder.sockets, (401, 403), strict=True):
        socket.expect_refused(status)


def test_a_refusal_after_others_were_accepted() -> None:
    recorder = record(*TALK, made(2), handshake(), told("failed", 2), refused(FORBIDDEN), told("failed"))
    assert [socket.error for socket in recorder.sockets] == [None, FORBIDDEN]
    with pytest.raises(AssertionError, match="cannot be any more"):
        recorder.sockets[0].expect_refused(timeout=3_600_000)


def test_a_reconnection() -> None:
    """Two WebSockets of one address, and another one between them."""
    recorder = record(
        *OPENED,
        *[made(2, "ws://127.0.0.1/other"), handshake("ws://127.0.0.1/other"), closed(1012)],
        *[made(3), handshake(), received("back", 3)],
    )
    first, second = recorder.expect_socket("chat"), recorder.expect_socket("chat", number=2)
    first.expect_closed(1012)
    second.expect_received("back")
    assert [socket.url[-5:] for socket in recorder.sockets] == ["/chat", "other", "/chat"]
    with pytest.raises(
        AssertionError, match="that the page opens a WebSocket to 'chat', 3 times; it was not"
    ):
        recorder.expect_socket("chat", number=3)


def test_what_a_worker_does_is_not_the_pages() -> None:
    """Playwright tells of a handshake of the same address, before or after the page's own."""
    recorder = record(document("d"), handshake(), *OPENED[1:], handshake(), received("own"), closed(4001))
    [socket] = recorder.sockets
    assert (socket.received, socket.close_code) == (["own"], 4001)


def test_a_page_that_goes_away() -> None:
    for gone in (
        document("e"),
        lambda page: page.emit("close", page),
        lambda page: page.emit("framedetached", page.frame),
    ):
        recorder = record(*TALK, gone, timeout=3_600_000)
        with pytest.raises(AssertionError, match="ended without a close event: the page went away"):
            recorder.sockets[0].expect_closed()
        assert recorder.sockets[0].ended


def test_a_socket_that_the_browser_does_not_open() -> None:
    """Such as one that a Content-Security-Policy forbids: Playwright never tells of it, and it is never closed."""
    recorder = record(document("d"), made(), told("failed"), timeout=3_600_000)
    recorder.sockets[0].expect_refused()
    with pytest.raises(AssertionError, match="it cannot be any more"):
        recorder.sockets[0].expect_sent("hi")
    with pytest.raises(AssertionError, match="it cannot be any more"):
        recorder.sockets[0].expect_closed()


def test_a_page_that_is_loaded_already() -> None:
    page: Any = Page()
    page.frames = [PageFrame(), PageFrame("http://127.0.0.1/")]
    record_websockets(page)
    assert [len(frame.evaluated) for frame in page.frames] == [0, 1]


def test_a_long_record_is_shown_from_its_end() -> None:
    recorder = record(*OPENED, *(sent(f"message {n}") for n in range(500)), *(made(n) for n in range(2, 31)))
    shown, whole = str(recorder), recorder.transcript
    assert shown.startswith("... 10 WebSockets before these\nWebSocket 11: ")
    lines = str(recorder.sockets[0]).splitlines()
    assert lines[1:3] == ["  ... 480 messages before these", "  sent     'message 480'"]
    assert lines[-1] == "  sent     'message 499'"
    assert len(whole.splitlines()) == 530
    with pytest.raises(AssertionError) as failed:
        recorder.sockets[0].expect_received("x", timeout=0)
    assert len(str(failed.value).splitlines()) < 60


def test_the_reprs_say_what_was_recorded() -> None:
    recorder = record(*ENDED, made(2))
    assert repr(recorder) == "<WebSocketRecorder: 2 WebSockets>"
    assert [repr(socket) for socket in recorder.sockets] == [
        f"<RecordedWebSocket 1: {URL} closed with code 4001 and reason 'enough'>",
        f"<RecordedWebSocket 2: {URL}>",
    ]


def test_a_long_message_is_cut_in_the_record() -> None:
    recorder = record(*TALK, received("x" * 10_000))
    assert "x ... (length 10000)" in str(recorder)
    assert "x" * 10_000 in recorder.transcript


class AsyncPageFrame(PageFrame):
    async def evaluate(self, script: str) -> None:
        super().evaluate(script)


class AsyncPage(Page):
    """A page of Playwright's async form."""

    async def expose_binding(self, _name: str, callback: Callable[..., None]) -> None:
        super().expose_binding(_name, callback)

    async def add_init_script(self, script: str) -> None:
        super().add_init_script(script)


async def test_the_async_form(monkeypatch: pytest.MonkeyPatch) -> None:
    playwright: Any = types.ModuleType("playwright.async_api")
    playwright.Page = AsyncPage
    monkeypatch.setitem(sys.modules, "playwright.async_api", playwright)
    page: Any = AsyncPage()
    page.frames = [AsyncPageFrame("http://127.0.0.1/")]
    recorder = await record_websockets(page)
    assert isinstance(recorder, AsyncWebSocketRecorder)
    coming = asyncio.create_task(recorder.expect_socket("/chat"))
    await asyncio.sleep(0)
    for event in ENDED:
        event(page)
    socket = await coming
    assert recorder.sockets == [socket]
    await socket.expect_sent("hi", "bye")
    await socket.expect_received("ok")
    await socket.expect_closed(4001, "enough")
    with pytest.raises(AssertionError, match="it cannot be any more"):
        await socket.expect_refused(403, timeout=3_600_000)
    with pytest.raises(AssertionError, match="it was not within 0 ms"):
        await recorder.expect_socket("/other", timeout=0)


def test_the_same_expectations_in_both_forms() -> None:
    for sync, awaited in [
        (browser.RecordedWebSocket, browser.AsyncRecordedWebSocket),
        (WebSocketRecorder, AsyncWebSocketRecorder),
    ]:
        names = [{name for name in vars(form) if not name.startswith("_")} for form in (sync, awaited)]
        assert names[0] == names[1]
