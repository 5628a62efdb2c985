"""The example socketio: a chat with rooms, over Socket.IO."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import RunExample, Show, Visit, Visitor
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve


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


@pytest.mark.usefixtures("npm_packages")
def test_chat(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("socketio") as chat:
        alice, bob, carol = (visit(chat.url) for _ in range(3))
        polled: list[str] = []
        alice.page.on("request", lambda request: polled.append(request.url))
        enter(alice, "Alice", "Kitchen")
        enter(bob, "Bob", "Kitchen")
        enter(carol, "Carol", "cellar")
        expect(alice.page.locator("#people")).to_have_text("Here: Alice, Bob")
        expect(carol.page.locator("#people")).to_have_text("Here: Carol")

        say(alice, "Who wants <b>pie</b>?")
        expect(bob.page.locator("#log li")).to_have_text(["AliceWho wants <b>pie</b>?"])
        say(bob, "Me! Cherry, please.")
        say(carol, "anyone?")
        for visitor in (alice, bob):
            expect(visitor.page.locator("#log li")).to_have_text(
                ["AliceWho wants <b>pie</b>?", "BobMe! Cherry, please."]
            )
        expect(carol.page.locator("#log li")).to_have_text(["Carolanyone?"])
        expect(alice.page.locator("#log .own")).to_have_text(["AliceWho wants <b>pie</b>?"])

        show(alice, "socketio")
        socket_io = f"{chat.url}socket.io/?EIO=4&transport="
        assert any(url.startswith(f"{socket_io}polling") for url in polled)
        assert alice.sockets[0].url.startswith(f"{socket_io}websocket".replace("http", "ws"))
        assert '42["message","Who wants <b>pie</b>?"]' in alice.sockets[0].sent

        bob.page.get_by_role("button", name="Leave").click()
        expect(alice.page.locator("#people")).to_have_text("Here: Alice")
        bob.sockets[0].expect_closed(1005)
        enter(bob, "Bob", "cellar")
        expect(carol.page.locator("#people")).to_have_text("Here: Bob, Carol")
        bob.page.close()
        expect(carol.page.locator("#people")).to_have_text("Here: Carol")


@pytest.mark.usefixtures("npm_packages")
def test_chat_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("socketio") as chat:
        alice, bob = visit(chat.url), visit(chat.url)
        enter(alice, "Alice", "Kitchen")
        enter(bob, "Bob", "Kitchen")
        chat.server.stop()
        for visitor in (alice, bob):
            visitor.expect_status("Disconnected (transport close). Reconnecting …")
            expect(visitor.page.get_by_role("button", name="Send")).to_be_disabled()
        alice.sockets[0].expect_closed(1012)
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


def test_chat_without_the_internet(visit: Visit) -> None:
    with serve(EXAMPLES / "socketio") as server:
        visitor = visit(server.url)
        visitor.expect_error("a request to https://cdn.jsdelivr.net/npm/socket.io-client")  # It was refused.
        visitor.expect_error("Failed to load resource")
        expect(visitor.page.get_by_role("alert")).to_contain_text("could not load the Socket.IO client")
        expect(visitor.page.locator("form:visible")).to_have_count(0)
