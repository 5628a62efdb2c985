"""The blocks of the WebSocket page, used as the reader uses them: in the console of the app's own page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import EXAMPLES, WEBSOCKETS
from tests.serving import Server, serve
from tools.blocks import blocks

Visit = Callable[..., Visitor]
RunBlock = Callable[[str], AbstractContextManager[Server]]


def paste(visitor: Visitor, name: str) -> None:
    """Paste a block of the WebSocket page into the browser's console."""
    source = next(block.source for block in blocks(WEBSOCKETS) if block.name == name)
    visitor.page.evaluate(
        f"{source}\nundefined"
    )  # Playwright would call a function that the last line leaves.


def test_echo(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-echo") as server:
        visitor = visit(server.url)
        paste(visitor, "websocket-echo-console")
        visitor.expect_console("Echo: Hello")
        visitor.page.evaluate("socket.send('Are you there?')")
        visitor.expect_console("Echo: Are you there?")
        visitor.page.evaluate("socket.close(1000)")
        visitor.expect_console("closed with 1000")
        server.wait_for_log("The client left with code 1000.")
        paste(visitor, "websocket-echo-console")
        visitor.page.wait_for_function("socket.readyState === WebSocket.OPEN")
        visitor.page.close()
        server.wait_for_log("The client left with code 1001.")
    assert visitor.sockets[0].url == f"{server.ws_url}echo"
    assert visitor.sockets[0].sent == ["Hello", "Are you there?"]
    assert visitor.sockets[0].received == ["Echo: Hello", "Echo: Are you there?"]


def test_a_foreign_page_is_refused(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-echo") as own, serve(EXAMPLES / "greet") as foreign:
        visitor = visit(foreign.url)
        visitor.expect_error("Unexpected response code: 403")
        assert visitor.talk(f"{own.url}echo", "hi") == {"received": [], "code": 1006, "reason": ""}
        own.wait_for_log("allowed_origins")


def test_greet(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-greet") as server:
        visitor = visit(server.url)
        paste(visitor, "websocket-greet-console")
        visitor.expect_console("Hello Alice!", "Hello Bob!", "Hello Guest!", "closed with 1000")
        assert visitor.talk("greet/Alice") == {"received": ["Hello Alice!"], "code": 1000, "reason": ""}


def test_refuse(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-refuse") as server:
        visitor = visit(server.url)
        visitor.expect_error("Unexpected response code: 503")
        for _ in range(3):
            paste(visitor, "websocket-refuse-console")
        visitor.expect_console("Here is your table.", "closed with 1006")
        refused = [socket.error for socket in visitor.sockets if socket.error]
        assert refused == ["Error during WebSocket handshake: Unexpected response code: 503"]
        assert sorted(visitor.console).count("Here is your table.") == 2


def test_bytes(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-bytes") as server:
        visitor = visit(server.url)
        with visitor.page.expect_console_message() as shown:
            paste(visitor, "websocket-bytes-console")
        assert shown.value.args[0].evaluate("digest => [digest.length, ...digest.slice(0, 3)]") == [
            32,
            3,
            144,
            88,
        ]
    assert visitor.sockets[0].sent == [b"\x01\x02\x03"]


def test_arguments(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-arguments") as server:
        visitor = visit(server.url)
        paste(visitor, "websocket-arguments-console")
        visitor.expect_console(
            "/me Hello, visitor 1!",
            "/me?greeting=Welcome Welcome, visitor 1!",
            "/me?visitor=99 Hello, visitor 1!",
        )
        visitor.page.goto(f"{server.url}prefer/Ahoy")
        paste(visitor, "websocket-arguments-console")
        visitor.expect_console("/me Ahoy, visitor 1!", "/me?visitor=99 Ahoy, visitor 1!")


def test_json(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-json") as server:
        visitor = visit(server.url)
        paste(visitor, "websocket-json-console")
        visitor.expect_console("{sum: 6.5}", "{error: Send a list of numbers.}")
        for message in ("3", '["a"]', '{"a": 1}'):
            said = visitor.talk("sum", message)
            assert said["received"] == ['{"error":"Send a list of numbers."}']
            assert said["code"] == 1000


def test_live(run_block: RunBlock, visit: Visit) -> None:
    """The handler sleeps for a minute when its reader leaves; the test does not."""
    with run_block("websocket-live") as server:
        alice, bob = visit(server.url), visit(server.url)
        paste(alice, "websocket-live-console")
        alice.page.wait_for_event("console")
        paste(bob, "websocket-live-console")
        bob.page.wait_for_event("console")
        assert '"readers":1' in alice.console[0]
        assert '"readers":2' in bob.console[0]
        alice.page.evaluate("socket.close()")
        server.wait_for_log("A reader left with code 1005.")
        bob.page.evaluate("socket.onclose = (event) => console.log('closed with', event.code); undefined")
        server.stop()
        bob.expect_console("closed with 1012")
        server.wait_for_log("A reader left with code 1012.")
        server.start()


def test_both(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-both") as server:
        visitor = visit(server.url)
        paste(visitor, "websocket-both-console")
        visitor.expect_console("1", "2")
        visitor.page.evaluate("socket.send('reset')")
        while visitor.console.count("1") < 2:
            visitor.page.wait_for_event("console")


def test_broadcast(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-broadcast") as server:
        alice, bob = visit(server.url), visit(server.url)
        paste(alice, "websocket-broadcast-console")
        alice.expect_console("Alice is here.")
        paste(bob, "websocket-broadcast-console")
        bob.expect_console("Alice is here.")
        alice.page.evaluate("socket.send('Hello')")
        for visitor in (alice, bob):
            visitor.expect_console("Alice: Hello")
        alice.page.evaluate("socket.close()")
        bob.expect_console("Alice has left.")


@pytest.mark.parametrize("name", ["socketio-mounted", "socketio-wrapped"])
def test_socketio_without_the_internet(name: str, run_block: RunBlock, visit: Visit) -> None:
    with run_block(name) as server:
        visitor = visit(server.url)
        visitor.expect_error("a request to https://cdn.jsdelivr.net/npm/socket.io-client")  # It was refused.
        visitor.expect_error("Failed to load resource")
        expect(visitor.page.locator("body")).to_have_text(
            "The Socket.IO client could not be loaded from the internet."
        )


@pytest.mark.usefixtures("npm_packages")
@pytest.mark.parametrize("name", ["socketio-mounted", "socketio-wrapped"])
def test_socketio(name: str, run_block: RunBlock, visit: Visit) -> None:
    with run_block(name) as server:
        alice, bob = visit(server.url), visit(server.url)
        for visitor in (alice, bob):
            expect(visitor.page.locator("#log")).to_contain_text("connected")
        alice.page.locator("#text").fill("<b>hi</b>")
        alice.page.locator("#send").click()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#log li").last).to_have_text("<b>hi</b>")
            assert "websocket" in visitor.sockets[0].url  # The upgrade from polling.

        server.stop()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#log li").last).to_have_text("disconnected")
        server.start()
        for visitor in (alice, bob):
            expect(visitor.page.locator("#log li").last).to_have_text("connected")
        bob.page.locator("#text").fill("back again")
        bob.page.locator("#send").click()
        expect(alice.page.locator("#log li").last).to_have_text("back again")
