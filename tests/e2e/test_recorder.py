"""The fixtures live_server and record_websockets, with pages in Chromium."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

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


WORKER = """(path) => {
  const source = `
    const socket = new WebSocket(${JSON.stringify(new URL(path, location.href).href.replace("http", "ws"))});
    socket.onmessage = ({ data }) => postMessage(data);
    socket.onclose = () => postMessage("closed");
    onmessage = ({ data }) => socket.send(data);
    socket.onopen = () => postMessage("opened");`;
  window.worker = new Worker(URL.createObjectURL(new Blob([source])));
  return new Promise((resolve) => { worker.onmessage = ({ data }) => resolve(data); });
}"""
ASK_WORKER = """(message) => new Promise((resolve) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.postMessage(message);
})"""


@pytest.mark.parametrize("worker_first", [True, False])
def test_a_page_and_a_worker_at_one_address(
    page: Page, live_server: LiveServerFactory, record_websockets: Any, worker_first: bool
) -> None:
    """The record is the page's: nothing of the worker's WebSocket is in it, least of all its close."""
    sockets = record_websockets(page)
    page.goto(live_server(Talk()).url)
    if worker_first:
        assert page.evaluate(WORKER, "echo") == "opened"
    page.evaluate("window.socket = talk('echo', 'of the page')")
    own = sockets.expect_socket("/echo")
    own.expect_received("of the page")
    if not worker_first:
        assert page.evaluate(WORKER, "echo") == "opened"
    assert page.evaluate(ASK_WORKER, "of the worker") == "of the worker"
    assert page.evaluate(ASK_WORKER, "bye") == "closed"
    assert (own.sent, own.received, own.closed, own.ended) == (["of the page"], ["of the page"], False, False)
    page.evaluate("socket.close(4005, 'own')")
    own.expect_closed(4005, "own")
    assert sockets.sockets == [own]


@pytest.mark.parametrize("route_first", [True, False])
def test_a_route_between_a_page_and_its_server(
    page: Page, live_server: LiveServerFactory, record_websockets: Any, route_first: bool
) -> None:
    """The record is what the page sees: not what is said and how it ends between the route and the server."""

    def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        route.on_message(lambda message: server.send(f"{message!s}!"))
        server.on_message(lambda message: route.send(f"{message!s}?"))
        server.on_close(lambda _code, _reason: route.close(code=4009, reason="from the route"))

    def routed() -> None:
        page.route_web_socket(re.compile("/echo"), between)
        page.route_web_socket(
            re.compile("/mock"), lambda route: route.on_message(lambda _: route.close(code=4010))
        )

    if route_first:
        routed()
    sockets = record_websockets(page)
    if not route_first:
        routed()
    page.goto(live_server(Talk()).url)
    page.evaluate("window.socket = talk('echo', 'hi')")
    page.evaluate("talk('mock', 'end')")
    page.evaluate("talk('echo?beside', 'other')")
    socket, mocked = sockets.expect_socket(re.compile("/echo$")), sockets.expect_socket("/mock")
    sockets.expect_socket("beside").expect_received("other!?")
    socket.expect_received("hi!?")
    mocked.expect_closed(4010)
    page.evaluate("socket.send('burn')")
    socket.expect_received("hi!?", "burn!?")
    page.evaluate("socket.close(4011, 'from the page')")
    socket.expect_closed(4009, "from the route")
    assert (socket.sent, socket.received) == (["hi", "burn"], ["hi!?", "burn!?"])
    assert len(sockets.sockets) == 3


def test_every_kind_of_message_in_its_order(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    """Blobs, which are read later, hold up what comes after them; what was never sent is not in the record."""
    sockets = record_websockets(page)
    page.goto(live_server(Talk()).url)
    page.evaluate("""() => {
      const socket = talk("echo");
      try { socket.send("too early"); } catch {}
      socket.onopen = () => {
        const bytes = new Uint8Array([0, 255, 128, 1]);
        socket.send(bytes.subarray(1, 3));
        bytes.fill(7);
        socket.send(new Blob(["blob"]));
        socket.send(bytes.buffer);
        WebSocket.prototype.send.call(socket, "text \\u00e9\\u0000");
        socket.send(1);
        socket.send("x".repeat(100000));
        socket.send("bye");
        socket.onclose = () => socket.send("too late");
      };
    }""")
    socket = sockets.expect_socket("/echo")
    socket.expect_closed(4001, "bye to you")
    said = [b"\xff\x80", b"blob", b"\x07\x07\x07\x07", "text é\0", "1", "x" * 100_000]
    assert socket.received == said
    assert socket.sent == [*said, "bye"]


def test_many_messages_stay_in_order(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    sockets = record_websockets(page)
    page.goto(live_server(Talk()).url)
    page.evaluate("talk('echo', ...Array.from({ length: 500 }, (_, number) => `${number}`), 'bye')")
    socket = sockets.expect_socket("/echo")
    socket.expect_closed(4001)
    assert socket.received == [f"{number}" for number in range(500)]


def test_a_page_with_a_websocket_class_of_its_own(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    """Each WebSocket is recorded once, whichever class made it."""
    sockets = record_websockets(page)
    page.goto(live_server(Talk()).url)
    page.evaluate("""() => {
      const Native = WebSocket;
      window.WebSocket = class Spy extends WebSocket {
        send(data) { super.send(data.toUpperCase()); }
      };
      talk("echo?spy", "hi", "again");
      const socket = new Native(new URL("echo?native", location.href).href.replace("http", "ws"));
      socket.onopen = () => socket.send("hi");
    }""")
    sockets.expect_socket("spy").expect_received("HI", "AGAIN")
    sockets.expect_socket("native").expect_received("hi")
    assert [socket.sent for socket in sockets.sockets] == [["HI", "AGAIN"], ["hi"]]


def test_a_recorder_that_comes_late(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    """It sees what is opened from then on."""
    page.goto(live_server(Talk()).url)
    sockets = record_websockets(page)
    page.evaluate("talk('echo', 'hi', 'bye')")
    sockets.expect_socket("/echo").expect_closed(4001)
    page.reload()
    page.evaluate("talk('echo', 'bye')")
    sockets.expect_socket("/echo", number=2).expect_closed(4001)
    assert len(sockets.sockets) == 2


def test_a_frame_that_is_taken_away(
    page: Page, live_server: LiveServerFactory, record_websockets: Any
) -> None:
    sockets = record_websockets(page)
    page.goto(f"{live_server(Talk()).url}/framed")
    page.frames[1].evaluate("talk('echo', 'hi')")
    socket = sockets.expect_socket("/echo")
    socket.expect_received("hi")
    page.evaluate("document.querySelector('iframe').remove()")
    with pytest.raises(AssertionError, match="the page went away"):
        socket.expect_closed()


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


MIXED = """
import pytest
from app import Talk
from micropie.testing import TestClient

def test_b(page, live_server):
    page.goto(live_server("app.py").url)
    assert page.title() == "Talk"

@pytest.mark.asyncio
async def test_c():
    async with TestClient(Talk()) as client:
        assert (await client.get("/")).status_code == 200
"""


def test_a_page_before_an_async_test(
    browser_type_launch_args: dict[str, Any], pytester: pytest.Pytester
) -> None:
    """Both pass in one run, in whatever order they stand."""
    source = f"from micropie import *\n\nPAGE = {PAGE!r}\n\n{inspect.getsource(Talk)}\napp = Talk()\n"
    pytester.makepyfile(app=source, test_mixed=MIXED)
    pytester.makeconftest(own_browser(browser_type_launch_args))
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


FLOOD = """
def test_fails(page, live_server, record_websockets):
    sockets = record_websockets(page)
    page.goto(live_server("app.py").url)
    page.evaluate("talk('echo', ...Array.from({ length: 250 }, (_, number) => `message ${number}`))")
    sockets.expect_socket("/echo").expect_received("message 249")
    sockets.expect_socket("/echo").expect_received("message 250", timeout=1)
"""


def test_a_failure_after_many_messages(
    browser_type_launch_args: dict[str, Any], pytester: pytest.Pytester
) -> None:
    """It shows the last twenty, and a file has all of them."""
    source = f"from micropie import *\n\nPAGE = {PAGE!r}\n\n{inspect.getsource(Talk)}\napp = Talk()\n"
    pytester.makepyfile(app=source, test_flood=FLOOD)
    pytester.makeconftest(own_browser(browser_type_launch_args))
    told = str(pytester.runpytest_subprocess("-p", "no:cacheprovider").stdout)
    # Where CI is set, pytest repeats the whole error in its summary.
    section = told.partition("WebSockets of a page")[2].partition("short test summary info")[0]
    assert section.count("message ") == 20
    assert "  ... 480 messages before these" in section
    [file] = re.findall(r"^All of it is in (.+)$", section, re.MULTILINE)
    assert Path(file).read_text(encoding="utf-8").count("message ") == 500


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
