"""Each example of the gallery, used as a visitor uses it: served alone from its folder, and mounted in the gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import EXAMPLES, ROOT
from tests.serving import Server, serve

Visit = Callable[..., Visitor]


@dataclass
class Served:
    """One example: the server's process and the address of the example's page."""

    server: Server
    url: str


RunExample = Callable[[str], AbstractContextManager[Served]]


@pytest.fixture(params=["alone", "mounted"])
def run_example(request: pytest.FixtureRequest) -> RunExample:
    """Return a function that serves an example, in both ways in which it is found."""

    @contextmanager
    def alone(name: str) -> Iterator[Served]:
        with serve(EXAMPLES / name, "uvicorn app:app") as server:
            yield Served(server, server.url)

    @contextmanager
    def mounted(name: str) -> Iterator[Served]:
        built: Path = request.getfixturevalue("built_docs")
        with serve(ROOT, f"python docs/gallery.py --built {built}") as server:
            yield Served(server, f"{server.url}live/{name}/")

    return {"alone": alone, "mounted": mounted}[request.param]


def test_echo(run_example: RunExample, visit: Visit) -> None:
    with run_example("echo") as echo:
        visitor = visit(echo.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        page.keyboard.type("<b>hi</b>")  # The message has the focus.
        page.keyboard.press("Enter")
        expect(page.locator("#log li")).to_have_text(["<b>hi</b>", "Echo: <b>hi</b>"])
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_have_text("Closed with code 1000")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        page.get_by_role("button", name="Connect").click()
        expect(page.get_by_role("status")).to_have_text("Connected")
        said = visitor.talk("echo", "one", "two")
        assert said == {"received": ["Echo: one", "Echo: two"], "code": 1000, "reason": ""}
    assert visitor.sockets[0].url == f"{echo.url.replace('http', 'ws')}echo"
    assert visitor.sockets[0].sent == ["<b>hi</b>"]
    assert visitor.sockets[0].received == ["Echo: <b>hi</b>"]


def test_echo_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("echo") as echo:
        page = visit(echo.url).page
        expect(page.get_by_role("status")).to_have_text("Connected")
        echo.server.stop()
        expect(page.get_by_role("status")).to_have_text("Connection lost (code 1012). Trying again in 1 s …")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        echo.server.start()
        expect(page.get_by_role("status")).to_have_text("Connected")
        page.get_by_role("textbox").fill("still there?")
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#log li").last).to_have_text("Echo: still there?")


def test_echo_refuses_a_foreign_page(visit: Visit) -> None:
    with serve(EXAMPLES / "echo") as own, serve(EXAMPLES / "echo") as foreign:
        visitor = visit(foreign.url)
        visitor.expect_error("Unexpected response code: 403")
        assert visitor.talk(f"{own.url}echo", "hi") == {"received": [], "code": 1006, "reason": ""}
        assert visitor.sockets[-1].error == "Error during WebSocket handshake: Unexpected response code: 403"
        own.wait_for_log(foreign.url.rstrip("/"))
        own.wait_for_log("allowed_origins")


def test_greet(run_example: RunExample, visit: Visit) -> None:
    with run_example("greet") as greet:
        visitor = visit(greet.url)
        page = visitor.page
        address = greet.url.replace("http", "ws")
        shown = []
        for where, name, path, greeting in [
            ("in the path", "Alice", "greet/Alice", "Hello Alice!"),
            ("in the query", "Bob", "greet?name=Bob", "Hello Bob!"),
            ("in the path", "a/b ü?", "greet/a%2Fb%20%C3%BC%3F", "Hello a/b ü?!"),
            ("in the query", "a&b=ü", "greet?name=a%26b%3D%C3%BC", "Hello a&b=ü!"),
            ("left out", "", "greet", "Hello Guest!"),
        ]:
            page.get_by_label(where).check()
            if name:
                page.get_by_label("Name", exact=True).fill(name)
            expect(page.locator("#address")).to_have_text(address + path)
            page.get_by_role("button", name="Greet").click()
            shown += [address + path, greeting, "closed with code 1000"]
            expect(page.locator("#log li")).to_have_text(shown)
        assert [socket.url for socket in visitor.sockets] == shown[::3]
        assert [socket.received for socket in visitor.sockets] == [[greeting] for greeting in shown[1::3]]
        assert visitor.talk("greet/Alice") == {"received": ["Hello Alice!"], "code": 1000, "reason": ""}


def enter(visitor: Visitor, name: str, room: str) -> None:
    """Enter a room of the chat."""
    visitor.page.get_by_label("Your name").fill(name)
    visitor.page.get_by_label("Room").fill(room)
    visitor.page.get_by_role("button", name="Enter").click()
    expect(visitor.page.get_by_role("status")).to_have_text(
        "Connected by websocket"
    )  # It begins with polling.


def say(visitor: Visitor, text: str) -> None:
    visitor.page.get_by_role("textbox", name="Message").fill(text)
    visitor.page.get_by_role("button", name="Send").click()


def note_close_code(visitor: Visitor) -> None:
    """Let the page remember in ``code`` how its WebSocket ends."""
    socket = "socket.io.engine.transport.ws"
    visitor.page.evaluate(f"{socket}.addEventListener('close', (event) => {{ window.code = event.code; }})")


@pytest.mark.usefixtures("npm_packages")
def test_chat(run_example: RunExample, visit: Visit) -> None:
    with run_example("socketio") as chat:
        alice, bob, carol = (visit(chat.url) for _ in range(3))
        polled: list[str] = []
        alice.page.on("request", lambda request: polled.append(request.url))
        enter(alice, "Alice", "kitchen")
        enter(bob, "Bob", "kitchen")
        enter(carol, "Carol", "cellar")
        expect(alice.page.locator("#people")).to_have_text("Here: Alice, Bob")
        expect(carol.page.locator("#people")).to_have_text("Here: Carol")

        say(alice, "<b>hi</b>")
        expect(bob.page.locator("#log li")).to_have_text(["Alice<b>hi</b>"])
        say(bob, "hello")
        say(carol, "anyone?")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#log li")).to_have_text(["Alice<b>hi</b>", "Bobhello"])
        expect(carol.page.locator("#log li")).to_have_text(["Carolanyone?"])
        expect(alice.page.locator("#log .own")).to_have_text(["Alice<b>hi</b>"])

        socket_io = f"{chat.url}socket.io/?EIO=4&transport="
        assert any(url.startswith(f"{socket_io}polling") for url in polled)
        assert alice.sockets[0].url.startswith(f"{socket_io}websocket".replace("http", "ws"))
        assert '42["message","<b>hi</b>"]' in alice.sockets[0].sent

        note_close_code(bob)
        bob.page.get_by_role("button", name="Leave").click()
        expect(alice.page.locator("#people")).to_have_text("Here: Alice")
        bob.page.wait_for_function("window.code === 1005")
        enter(bob, "Bob", "cellar")
        expect(carol.page.locator("#people")).to_have_text("Here: Bob, Carol")
        bob.page.close()
        expect(carol.page.locator("#people")).to_have_text("Here: Carol")


@pytest.mark.usefixtures("npm_packages")
def test_chat_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("socketio") as chat:
        alice, bob = visit(chat.url), visit(chat.url)
        enter(alice, "Alice", "kitchen")
        enter(bob, "Bob", "kitchen")
        note_close_code(alice)
        chat.server.stop()
        for visitor in (alice, bob):
            expect(visitor.page.get_by_role("status")).to_have_text(
                "Disconnected (transport close). Reconnecting …"
            )
            expect(visitor.page.get_by_role("button", name="Send")).to_be_disabled()
        alice.page.wait_for_function("window.code === 1012")
        chat.server.start()
        for visitor in (alice, bob):
            expect(visitor.page.get_by_role("status")).to_have_text("Connected by websocket")
            expect(visitor.page.locator("#people")).to_have_text("Here: Alice, Bob")
        say(alice, "still there?")
        expect(bob.page.locator("#log li").last).to_have_text("Alicestill there?")


@pytest.mark.usefixtures("npm_packages")
def test_chat_refuses(visit: Visit) -> None:
    with serve(EXAMPLES / "socketio") as server:
        page = visit(server.url).page
        page.get_by_label("Your name").fill("   ")  # The browser is content with blanks. The server is not.
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("status")).to_have_text("Please give a name.")
        expect(page.get_by_label("Your name")).to_be_focused()
