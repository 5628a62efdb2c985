"""The blocks of the tutorial as the reader uses them: in the console of the app's own page, and the chat."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import EXAMPLES, WEBSOCKETS
from tests.e2e.looking import THEMES, look_at
from tests.serving import Server, serve
from tools.blocks import DOCS, blocks, find_run

CHAT = DOCS / "tutorial" / "chat.rst"

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


def test_request(run_block: RunBlock, visit: Visit) -> None:
    with run_block("websocket-request") as server:
        visitor = visit(server.url)
        paste(visitor, "websocket-request-console")
        visitor.expect_console(
            f"Your page is from {server.url.rstrip('/')}.",
            "Your cookie says apple.",
            "You ask for ['small', 'large'].",
        )


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


def test_socketio_without_the_internet(run_block: RunBlock, visit: Visit) -> None:
    with run_block("socketio-mounted") as server:
        visitor = visit(server.url)
        visitor.expect_error("a request to https://cdn.jsdelivr.net/npm/socket.io-client")  # It was refused.
        visitor.expect_error("Failed to load resource")
        expect(visitor.page.locator("body")).to_have_text(
            "The Socket.IO client could not be loaded from the internet."
        )


@pytest.mark.usefixtures("npm_packages")
def test_socketio(run_block: RunBlock, visit: Visit) -> None:
    with run_block("socketio-mounted") as server:
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


# The landing page's app


def test_landing(tmp_path: Path, visit: Visit) -> None:
    """The page has the lines that the server shows."""
    run = find_run(DOCS / "index.rst", "landing-app")
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        page = visit(server.url).page
        page.get_by_label("Message").fill("<b>hi</b>")
        page.keyboard.press("Enter")
        expect(page.locator("#log li")).to_have_text("Echo: <b>hi</b>")
        server.stop()
        written = without_ports(server.log())
    [shown] = [block.source for block in blocks(run.page) if run.command in block.source]
    lines = [line for line in shown.splitlines()[1:] if "Uvicorn running on" not in line]  # Here on a socket.
    assert len(lines) == 3
    assert set(map(without_ports, lines)) <= set(written.splitlines())


def without_ports(log: str) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", log)


# The chat


@pytest.fixture
def enter(visit: Visit) -> Callable[..., Visitor]:
    """Return a function that enters the chat with a name and goes to the kitchen."""

    def enter(server: Server, name: str) -> Visitor:
        visitor = visit(server.url)
        visitor.page.get_by_label("Your name").fill(name)
        visitor.page.get_by_role("button", name="Enter").click()
        visitor.page.get_by_role("link", name="kitchen").click()
        expect(visitor.page.get_by_role("heading", name="kitchen")).to_be_visible()
        return visitor

    return enter


def say(visitor: Visitor, text: str) -> None:
    visitor.page.get_by_label("Message", exact=True).fill(text)
    visitor.page.get_by_role("button", name="Send").click()


def expect_lines(visitor: Visitor, *lines: str) -> None:
    expect(visitor.page.get_by_role("log").locator("p")).to_have_text(list(lines))


@pytest.fixture
def run_chat(tmp_path: Path) -> RunBlock:
    """Return a function that serves a step of the chat."""

    def run_chat(name: str) -> AbstractContextManager[Server]:
        run = find_run(CHAT, name)
        run.write(tmp_path)
        return serve(tmp_path, run.command)

    return run_chat


def test_chat_login(run_chat: RunBlock, visit: Visit) -> None:
    with run_chat("chat-login") as server:
        page = visit(server.url).page
        page.get_by_label("Your name").fill("<b>Eve</b>")
        page.get_by_role("button", name="Enter").click()
        page.goto(f"{server.url}?name=Bob")
        expect(page.locator("body")).to_contain_text("Hello <b>Eve</b>!")
        page.get_by_role("button", name="Leave").click()
        expect(page.get_by_label("Your name")).to_be_focused()


def test_chat_rooms(run_chat: RunBlock, enter: Callable[..., Visitor]) -> None:
    with run_chat("chat-rooms") as server:
        alice, bob = enter(server, "Alice"), enter(server, "Bob")
        alice.page.wait_for_function("socket.readyState === WebSocket.OPEN")
        bob.page.wait_for_function("socket.readyState === WebSocket.OPEN")
        say(alice, "<i>Hello</i>")
        expect_lines(bob, "Alice<i>Hello</i>")
        expect_lines(alice, "Alice<i>Hello</i>")
        for path, status in {"room/cellar": 404, "room": 400, "room/kitchen/x": 404}.items():
            answer = alice.page.request.get(server.url + path)
            assert answer.status == status, path


def test_chat_history(run_chat: RunBlock, enter: Callable[..., Visitor]) -> None:
    with run_chat("chat-history") as server:
        alice = enter(server, "Alice")
        expect(alice.page.locator("#people")).to_have_text("Here: Alice")
        say(alice, "one")
        say(alice, "two")
        bob = enter(server, "Bob")
        expect_lines(bob, "Aliceone", "Alicetwo")
        expect(alice.page.locator("#people")).to_have_text("Here: Alice, Bob")
        bob.page.close()
        expect(alice.page.locator("#people")).to_have_text("Here: Alice")


@pytest.fixture
def show_chat(
    request: pytest.FixtureRequest, npm_packages: Path, tmp_path: Path
) -> Callable[[Visitor], None]:
    """Return a function that looks at the chat for what is wrong with it.

    ``pytest tests/e2e -k chat --write-screenshots`` writes the pictures that its page shows.
    """

    def show(visitor: Visitor) -> None:
        look_at(visitor.page, npm_packages, tmp_path)
        if request.config.getoption("--write-screenshots"):
            for theme in THEMES:
                shutil.copy(tmp_path / f"{theme}.webp", CHAT.with_name(f"chat-{theme}.webp"))

    return show


def test_chat_looks_well(
    run_chat: RunBlock, enter: Callable[..., Visitor], show_chat: Callable[[Visitor], None]
) -> None:
    with run_chat("chat-finished") as server:
        alice, bob = enter(server, "Alice"), enter(server, "Bob")
        for visitor in (alice, bob):
            expect(visitor.page.get_by_role("status")).to_have_text("Connected")
        for visitor, text in {
            alice: "Is the cherry pie ready?",
            bob: "Ten more minutes. <b>Hot!</b>",
        }.items():
            say(visitor, text)
            expect(bob.page.get_by_role("log")).to_contain_text(text)
        say(alice, "Then I lay the table.")
        expect(bob.page.locator("#lines p")).to_have_count(3)
        show_chat(bob)


def test_chat_finished(run_chat: RunBlock, enter: Callable[..., Visitor]) -> None:
    with run_chat("chat-finished") as server:
        alice, bob = enter(server, "Alice"), enter(server, "Bob")
        for visitor in (alice, bob):
            expect(visitor.page.get_by_role("status")).to_have_text("Connected")
        say(alice, "one")
        alice.expect_error("net::ERR_INTERNET_DISCONNECTED")
        alice.page.context.set_offline(True)
        expect(alice.page.get_by_role("status")).to_have_text("Connection lost, trying again …")
        expect(alice.page.get_by_role("button", name="Send")).to_be_disabled()
        expect(bob.page.locator("#people")).to_have_text("Here: Bob")
        say(bob, "two")
        alice.page.wait_for_event("console")  # It tries, and the network is not there.
        alice.page.context.set_offline(False)
        expect_lines(alice, "Aliceone", "Bobtwo")

        other = alice.page.context.new_page()
        other.goto(server.url)
        other.get_by_role("button", name="Leave").click()
        expect(alice.page).to_have_url(server.url)
        expect(alice.page.get_by_label("Your name")).to_be_visible()

        server.restart()  # It knows nobody any more, and the page does not try for ever.
        expect(bob.page).to_have_url(server.url)
        expect(bob.page.get_by_label("Your name")).to_be_visible()
