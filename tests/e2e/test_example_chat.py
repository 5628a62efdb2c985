"""The example chat: rooms, names, presence and history over plain WebSockets."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from tests.e2e.browsing import RunExample, Show, Visit, Visitor
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve


def enter(visitor: Visitor, name: str, room: str) -> None:
    visitor.page.get_by_label("Your name").fill(name)
    visitor.page.get_by_label(room).check()
    visitor.page.get_by_role("button", name="Enter").click()
    expect(visitor.page.get_by_role("status")).to_have_text("Connected")


def say(visitor: Visitor, text: str) -> None:
    visitor.page.get_by_role("textbox", name="Message").fill(text)
    visitor.page.keyboard.press("Enter")


def people(visitor: Visitor, *names: str) -> None:
    expect(visitor.page.get_by_label("Who is here").get_by_role("listitem")).to_have_text(list(names))


def test_rooms_names_presence_and_history(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("chat") as chat:
        alice, bob, carol = (visit(chat.url) for _ in range(3))
        enter(alice, "Alice", "Kitchen")
        people(alice, "Alice")
        say(alice, "Who wants <b>pie</b>?")
        bubbles = ".bubble"
        expect(alice.page.locator(bubbles)).to_have_text(["Who wants <b>pie</b>?"])

        enter(bob, "Bob", "Kitchen")  # He finds what was said before he came.
        expect(bob.page.locator(bubbles)).to_have_text(["Who wants <b>pie</b>?"])
        for visitor in (alice, bob):
            people(visitor, "Alice", "Bob")
        say(bob, "Me! Apple, please.")
        say(alice, "Ten minutes.")
        for visitor in (alice, bob):
            expect(visitor.page.locator(bubbles)).to_have_text(
                ["Who wants <b>pie</b>?", "Me! Apple, please.", "Ten minutes."]
            )
        expect(alice.page.locator(".own .bubble")).to_have_text(["Who wants <b>pie</b>?", "Ten minutes."])
        show(alice, "chat")

        enter(carol, "Carol", "Garden")  # Another room, another talk.
        people(carol, "Carol")
        expect(carol.page.locator(bubbles)).to_have_count(0)

        bob.page.get_by_role("button", name="Leave").click()
        expect(bob.page.get_by_role("status")).to_have_text("Closed with code 1000")
        people(alice, "Alice")
        bob.page.get_by_label("Garden").check()
        bob.page.get_by_role("button", name="Enter").click()
        people(carol, "Bob", "Carol")
        bob.page.close()
        people(carol, "Carol")
    [socket] = alice.sockets
    assert socket.url == f"{chat.url.replace('http', 'ws')}room/kitchen"
    assert socket.sent == ["Who wants <b>pie</b>?", "Ten minutes."]
    first = json.loads(socket.received[0])
    assert first == {"kind": "history", "messages": [], "you": "Alice"}


def test_the_chat_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("chat") as chat:
        alice, bob = visit(chat.url), visit(chat.url)
        enter(alice, "Alice", "Attic")
        enter(bob, "Bob", "Attic")
        chat.server.stop()
        for visitor in (alice, bob):
            visitor.expect_status("Connection lost (code 1012)")
            expect(visitor.page.get_by_role("button", name="Send")).to_be_disabled()
            people(visitor)
        chat.server.start()
        for visitor in (alice, bob):
            expect(visitor.page.get_by_role("status")).to_have_text("Connected")
            people(visitor, "Alice", "Bob")
        say(alice, "still there?")
        expect(bob.page.locator(".bubble")).to_have_text(["still there?"])


def test_the_chat_refuses(visit: Visit) -> None:
    with serve(EXAMPLES / "chat") as server:
        visitor = visit(server.url)
        page = visitor.page
        visitor.expect_error("400")
        page.get_by_label("Your name").fill("   ")  # The browser is content with blanks. The server is not.
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("alert")).to_have_text("Please give a name.")
        expect(page.get_by_label("Your name")).to_be_focused()
        visitor.expect_error("HTTP Authentication failed")  # 401: a name in the address is nobody's.
        assert visitor.talk("room/kitchen?name=Alice", "hi")["code"] == 1006
        enter(visitor, "Alice", "Kitchen")
        visitor.expect_error("404")
        assert visitor.talk("room/cellar", "hi")["code"] == 1006
