"""The fixtures live_server and record_websockets, with pages in Chromium."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from playwright.sync_api import Page

from micropie import App, FromSession, HTTPError, WebSocket
from micropie.testing.server import LiveServerFactory
from tests.e2e.conftest import own_browser

pytest_plugins = ["pytester"]

# A page that opens a WebSocket for each address that it is told.
PAGE = """<!doctype html><title>Talk</title><link rel="icon" href="data:,"><script>
  function talk(path, ...messages) {
    const socket = new WebSocket(new URL(path, location.href).href.replace("http", "ws"));
    socket.onopen = () => messages.forEach((message) => socket.send(message));
    return socket;
  }
</script>"""


class Talk(App):
    async def index(self) -> str:
        return PAGE

    async def framed(self) -> str:
        return "<!doctype html><title>Framed</title><iframe src='/'></iframe>"

    async def strict(self) -> tuple[int, str, dict[str, str]]:
        return 200, PAGE, {"Content-Security-Policy": "connect-src 'none'"}

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            if message == "bye":
                await ws.close(4001, "bye to you")
            elif message == "burn":
                raise RuntimeError("out of pies")
            else:
                await ws.send(message)

    async def ws_vault(self, ws: WebSocket, status: int = 403) -> None:
        raise HTTPError(status, headers=[("WWW-Authenticate", "Bearer")] if ws.query("bearer") else ())

    async def ws_own(self, ws: WebSocket, user: FromSession[str]) -> None:
        raise AssertionError(f"{user} has no session")


def test_a_page_with_websockets(page: Page, live_server: LiveServerFactory, record_websockets: Any) -> None:
    server = live_server(Talk())
    sockets = record_websockets(page)
    page.goto(server.url)

    page.evaluate("talk('echo', 'hi', '{\"a\": [1]}', new Uint8Array([1, 2]), 'bye')")
    socket = sockets.expect_socket("/echo")
    socket.expect_closed(4001, "bye to you")
    assert socket.url == f"{server.ws_url}/echo"
    assert socket.sent == ["hi", '{"a": [1]}', b"\x01\x02", "bye"]
    assert socket.received == ["hi", '{"a": [1]}', b"\x01\x02"]

    page.evaluate("talk('echo', 'burn')")
    sockets.expect_socket("/echo", number=2).expect_closed(1011, "")
    server.expect_error("out of pies")

    page.evaluate("talk('vault')")
    refused = sockets.expect_socket("/vault")
    refused.expect_refused(403)
    refused.expect_closed(1006)

    page.evaluate("window.socket = talk('echo', 'still')")
    socket = sockets.expect_socket("/echo", number=3)
    socket.expect_received("still")
    page.evaluate("socket.close(4002, 'enough')")
    socket.expect_closed(4002, "enough")

    page.evaluate("talk('echo', 'stay')")
    socket = sockets.expect_socket("/echo", number=4)
    socket.expect_received("stay")
    server.stop()
    socket.expect_closed(1012)
    server.start()

    page.reload()
    page.evaluate("talk('echo', 'again')")
    socket = sockets.expect_socket("/echo", number=5)
    socket.expect_received("again")
    page.reload()
    with pytest.raises(AssertionError, match=r"it cannot be any more\n(.|\n)*the page went away"):
        socket.expect_closed()


@pytest.mark.parametrize(
    ("path", "status", "other"),
    [
        ("own", 401, 403),
        ("vault?status=401&bearer=yes", 401, 400),
        ("vault", 403, 401),
        ("vault?status=429", 429, 401),
        ("vault?status=503", 503, 401),
    ],
)
def test_each_refusal_is_known_by_its_status(
    page: Page, live_server: LiveServerFactory, record_websockets: Any, path: str, status: int, other: int
) -> None:
    """Chromium reports a 401 by a sentence that has no number in it."""
    sockets = record_websockets(page)
    page.goto(live_server(Talk()).url)
    page.evaluate(f"talk({path!r})")
    socket = sockets.expect_socket(path)
    socket.expect_refused(status)
    socket.expect_refused()
    with pytest.raises(AssertionError) as failed:
        socket.expect_refused(other)
    words = (
        rf"is refused with status {other}; it cannot be any more\n(.|\n)*failed: .*response code: {status}\b"
    )
    assert re.search(words, str(failed.value))


def test_the_page_keeps_its_own_websocket(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    record_websockets(page)
    page.goto(live_server(Talk()).url)
    assert page.evaluate("""() => {
      class Mine extends WebSocket { shout() { return this.url.toUpperCase(); } }
      const mine = new Mine("ws://127.0.0.1:1/x"), plain = talk("echo");
      return [
        WebSocket.OPEN, plain.constructor === WebSocket, plain instanceof WebSocket, mine instanceof WebSocket,
        mine.shout(),
        Object.prototype.toString.call(plain), WebSocket.name, WebSocket.length,
      ];
    }""") == [1, True, True, True, "WS://127.0.0.1:1/X", "[object WebSocket]", "WebSocket", 1]
    assert (
        page.evaluate("(() => { try { new WebSocket('x:y') } catch (error) { return error.name } })()")
        == "SyntaxError"
    )


def test_a_websocket_in_a_frame_and_two_at_once(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    server = live_server(Talk())
    sockets = record_websockets(page)
    page.goto(f"{server.url}/framed")
    frame = page.frames[1]
    frame.evaluate("window.first = talk('echo', 'one')")
    sockets.expect_socket("/echo").expect_received("one")
    frame.evaluate("talk('echo', 'two', 'bye')")
    first, second = sockets.expect_socket("/echo"), sockets.expect_socket("/echo", number=2)
    second.expect_closed(4001)
    assert not first.closed
    frame.evaluate("location.reload()")
    with pytest.raises(AssertionError, match="the page went away"):
        first.expect_closed()


def test_a_websocket_that_the_page_may_not_open(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    sockets = record_websockets(page)
    page.goto(f"{live_server(Talk()).url}/strict")
    page.evaluate("talk('echo')")
    socket = sockets.expect_socket("/echo")
    socket.expect_refused()
    for expect in (socket.expect_closed, lambda: socket.expect_received("hi")):
        with pytest.raises(
            AssertionError, match=r"cannot be any more\n(.|\n)*failed: the page may not open it"
        ):
            expect()


SYNC = """
from playwright.sync_api import expect

def test_fails(page, live_server, record_websockets):
    server = live_server("app.py")
    sockets = record_websockets(page)
    page.goto(server.url)
    page.evaluate("talk('echo', 'hi')")
    sockets.expect_socket("/echo").expect_received("hi")
    expect(page.get_by_text("hi")).to_be_visible(timeout=1)
"""

ASYNC = """
import pytest
from playwright.async_api import async_playwright

@pytest.mark.asyncio
async def test_passes(live_server, record_websockets, launch):
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**launch)
        page = await browser.new_page()
        sockets = await record_websockets(page)
        await page.goto(live_server("app.py").url)
        await page.evaluate("talk('echo', 'hi', 'bye')")
        socket = await sockets.expect_socket("/echo")
        await socket.expect_sent("hi", "bye")
        await socket.expect_received("hi")
        await socket.expect_closed(4001, "bye to you")
        await browser.close()
"""


def test_in_runs_of_their_own(browser_type_launch_args: dict[str, Any], pytester: pytest.Pytester) -> None:
    """What was recorded is shown with a test that fails by anything else; and the async form works."""
    source = f"from micropie import *\n\nPAGE = {PAGE!r}\n\n{inspect.getsource(Talk)}\napp = Talk()\n"
    pytester.makepyfile(app=source)
    pytester.makeconftest(own_browser(browser_type_launch_args))
    pytester.makepyfile(test_sync=SYNC, test_async=ASYNC)
    failed = pytester.runpytest_subprocess("-p", "no:cacheprovider", "test_sync.py")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(
        [
            "*- WebSockets of a page -*",
            "WebSocket 1: ws://127.0.0.1:*/echo",
            "  sent     'hi'",
            "  received 'hi'",
        ]
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "test_async.py").assert_outcomes(passed=1)
