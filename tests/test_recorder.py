"""The recorder's logic, on a page that is played; tests/e2e/test_recorder.py has real ones."""

from __future__ import annotations

import asyncio
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


class Page(Emitter):
    """A page on which one thing happens after the other, each only when the recorder waits."""

    def __init__(self, *events: Callable[[Page], None]) -> None:
        super().__init__()
        self._events: Iterator[Callable[[Page], None]] = iter(events)
        self.sockets: list[Emitter] = []
        self.frame = object()

    def expose_binding(self, _name: str, callback: Callable[..., None]) -> Any:
        self._callback = callback

    def add_init_script(self, script: str) -> Any:
        assert "WebSocket" in script

    def wait_for_timeout(self, _milliseconds: float) -> None:
        next(self._events, lambda _page: None)(self)

    def tell(self, *news: Any) -> None:
        self._callback({"frame": self.frame}, *news)


def document(name: str) -> Callable[[Page], None]:
    return lambda page: page.tell(name, "", None, "")


def made(name: str, url: str = URL) -> Callable[[Page], None]:
    """The page opens a WebSocket, as the page says."""
    return lambda page: page.tell(name, url, None, "")


def closed(name: str, code: int, reason: str = "", url: str = URL) -> Callable[[Page], None]:
    return lambda page: page.tell(name, url, code, reason)


def opened(url: str = URL) -> Callable[[Page], None]:
    """The page opens a WebSocket, as Playwright says."""

    def event(page: Page) -> None:
        page.sockets.append(Emitter(url))
        page.emit("websocket", page.sockets[-1])

    return event


def on_socket(event: str, value: Any = None, number: int = -1) -> Callable[[Page], None]:
    return lambda page: page.sockets[number].emit(event, value)


def sent(data: str | bytes, number: int = -1) -> Callable[[Page], None]:
    return on_socket("framesent", data, number)


def received(data: str | bytes, number: int = -1) -> Callable[[Page], None]:
    return on_socket("framereceived", data, number)


def record(*events: Callable[[Page], None], timeout: float = 0) -> WebSocketRecorder:
    """A recorder to which all this has happened."""
    page: Any = Page()
    recorder = record_websockets(page, timeout)
    for event in events:
        event(page)
    assert isinstance(recorder, WebSocketRecorder)
    return recorder


TALK = [document("d"), made("d 1"), opened(), sent("hi"), sent('{"a": [1]}'), sent(b"\x01"), sent("bye")]


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
    socket = record(
        *[document("d"), made("d 1"), opened()], *(received(data) for data in socket.sent)
    ).sockets[0]
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


ENDED = [*TALK, received("ok"), on_socket("close"), closed("d 1", 4001, "enough")]

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
    page: Any = Page(document("d"), made("d 1"), opened(), sent("a"), received("b"), closed("d 1", 1000))
    recorder = record_websockets(page)
    assert str(recorder) == "The page has opened no WebSocket."
    socket = recorder.expect_socket(re.compile("ch.t$"))
    socket.expect_sent("a")
    socket.expect_received("b")
    socket.expect_closed(1000)
    assert [frame.sender for frame in socket.frames] == ["page", "server"]


@pytest.mark.parametrize(
    ("told", "status", "error"),
    [
        (told := "Error during WebSocket handshake: Unexpected response code: 403", 403, told),
        (
            told := "HTTP Authentication failed; no valid credentials available",
            401,
            f"{told} (response code: 401)",
        ),
    ],
)
def test_a_refused_handshake(told: str, status: int, error: str) -> None:
    page: Any = Page(opened(), on_socket("socketerror", told), on_socket("close"))
    socket = record_websockets(page).expect_socket()
    socket.expect_refused(status)
    for event in (made("d 1"), closed("d 1", 0)):  # the page's own error says less
        event(page)
    assert socket.error == error
    with pytest.raises(AssertionError) as failed:
        socket.expect_refused(404)
    assert str(failed.value).endswith(f"cannot be any more\nWebSocket 1: {URL}\n  failed: {error}")


def test_a_reconnection() -> None:
    """Two WebSockets of one address: each is told of twice, and each side has its order."""
    recorder = record(
        *[
            document("d"),
            made("d 1"),
            opened(),
            made("x", "ws://127.0.0.1/other"),
            opened("ws://127.0.0.1/other"),
        ],
        *[on_socket("close", number=0), closed("d 1", 1012), opened(), made("d 2"), received("back")],
    )
    first, second = recorder.expect_socket("chat"), recorder.expect_socket("chat", number=2)
    first.expect_closed(1012)
    second.expect_received("back")
    assert [socket.url[-5:] for socket in recorder.sockets] == ["/chat", "other", "/chat"]
    with pytest.raises(
        AssertionError, match="that the page opens a WebSocket to 'chat', 3 times; it was not"
    ):
        recorder.expect_socket("chat", number=3)


def test_a_page_that_goes_away() -> None:
    for gone in (document("e"), lambda page: page.emit("close", page)):
        recorder = record(*TALK, gone, timeout=3_600_000)
        with pytest.raises(AssertionError, match="ended without a close event: the page went away"):
            recorder.sockets[0].expect_closed()
        assert recorder.sockets[0].ended


def test_a_socket_that_the_browser_does_not_open() -> None:
    """Such as one that a Content-Security-Policy forbids: Playwright never tells of it, and it is never closed."""
    recorder = record(document("d"), made("d 1"), closed("d 1", 0), timeout=3_600_000)
    recorder.sockets[0].expect_refused()
    with pytest.raises(AssertionError, match="it cannot be any more"):
        recorder.sockets[0].expect_sent("hi")
    with pytest.raises(AssertionError, match="it cannot be any more"):
        recorder.sockets[0].expect_closed()


def test_a_long_message_is_cut_in_the_record() -> None:
    assert "x ... (length 10000)" in str(record(*TALK, received("x" * 10_000)))


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
