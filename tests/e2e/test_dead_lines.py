"""A line that is dead, or a network that is gone: the page says so, finds a new line, and is right again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e import test_example_board as board
from tests.e2e import test_example_chat as chat
from tests.e2e import test_example_dashboard as dashboard
from tests.e2e import test_example_game as game
from tests.e2e import test_example_notify as notify
from tests.e2e import test_example_socketio as socketio
from tests.e2e import test_example_together as together
from tests.e2e import test_example_upload as upload
from tests.e2e.browsing import Visit, Visitor
from tests.e2e.conftest import EXAMPLES
from tests.e2e.lines import Lines, lines
from tests.serving import Server, serve
from tools.blocks import DOCS, find_run
from tools.examples import examples

SILENCE, PATIENCE = 30_000, 10_000  # milliseconds, as live.js has them in seconds

CONNECTING = [
    name
    for name, folder in examples().items()
    if "import { connect }" in (folder / "index.html").read_text(encoding="utf-8")
]


def test_no_example_with_a_socket_is_forgotten() -> None:
    """All use live.js; but greet's socket lasts a moment only, and Socket.IO has a heartbeat of its own."""
    sources = {name: (folder / "app.py").read_text(encoding="utf-8") for name, folder in examples().items()}
    with_sockets = {name for name, source in sources.items() if re.search(r"def ws_|socketio", source)}
    assert with_sockets == {*CONNECTING, "greet", "socketio"}


@dataclass
class Use:
    """How somebody comes to an example's page, does something with a word, and who then sees it."""

    come: Callable[[Visitor, str], None]
    do: Callable[[Visitor, str], None]
    see: Callable[[Visitor, str], None]
    alone: bool = False  # Nobody sees what another one does.


def come(visitor: Visitor, name: str) -> None:
    expect(visitor.page.get_by_role("status")).to_have_text("Connected")


def send_notes(visitor: Visitor, word: str) -> None:
    for name in ("Alice", "Bob"):
        notify.send(visitor.page, name, word)


# A word has a place of its own on the board.
HEIGHTS = {"meanwhile": 0.2, "afterwards": 0.6}


def draw(visitor: Visitor, word: str) -> None:
    board.draw(visitor.page, "Red", [(0.2, HEIGHTS[word]), (0.8, HEIGHTS[word])])


def hunt(visitor: Visitor, word: str) -> None:
    assert visitor.page.evaluate(game.HUNT, "keys") > 0


def see(selector: str) -> Callable[[Visitor, str], None]:
    def see(visitor: Visitor, word: str) -> None:
        expect(visitor.page.locator(selector).filter(has_text=word)).to_have_count(1)

    return see


USES = {
    "board": Use(come, draw, lambda visitor, word: board.expect_colour(visitor.page, (0.5, HEIGHTS[word]), board.RED)),
    "chat": Use(lambda visitor, name: chat.enter(visitor, name, "Kitchen"), chat.say, see(".bubble")),
    "dashboard": Use(come, lambda visitor, word: None, lambda visitor, word: dashboard.expect_to_go_on(visitor.page)),
    "echo": Use(come, chat.say, see(".received .bubble"), alone=True),
    "game": Use(come, hunt, lambda visitor, word: expect(visitor.page.locator("#players li")).to_have_count(2)),
    "notify": Use(lambda visitor, name: notify.log_in(visitor.page, name), send_notes, see("#notes li")),
    "together": Use(
        lambda visitor, name: together.connected(visitor),
        lambda visitor, word: together.area(visitor).press_sequentially(word),
        lambda visitor, word: expect(together.area(visitor)).to_have_value(re.compile(word)),
    ),
    "upload": Use(
        come,
        lambda visitor, word: upload.choose(visitor.page, word, b"pie"),
        lambda visitor, word: expect(visitor.page.locator("#uploads li", has_text=word)).to_contain_text("Done"),
        alone=True,
    ),
}  # fmt: skip


@contextmanager
def behind_lines(folder: Path, command: str = "uvicorn app:app") -> Iterator[tuple[Server, Lines]]:
    with serve(folder, command) as server, lines(server.url) as between:
        yield server, between


@pytest.fixture
def visit_in_our_time(visit: Visit) -> Visit:
    """Return a function that opens an address as a new user, with a clock that the test can put forward."""

    def visit_in_our_time(url: str, **options: Any) -> Visitor:
        visitor = visit("about:blank", **options)
        visitor.page.clock.install()
        visitor.page.goto(url)
        return visitor

    return visit_in_our_time


@pytest.mark.usefixtures("npm_packages")
@pytest.mark.parametrize("name", CONNECTING)
@pytest.mark.parametrize("all_lines", [False, True], ids=["old", "all"])
def test_an_example_leaves_a_dead_line(
    name: str, all_lines: bool, visit: Visit, visit_in_our_time: Visit
) -> None:
    """After its promised time it says that it is not connected, opens a new line, and shows what it has missed."""
    use = USES[name]
    with behind_lines(EXAMPLES / name) as (server, between):
        visitor = visit_in_our_time(between.url)
        page, status = visitor.page, visitor.page.get_by_role("status")
        use.come(visitor, "Alice")
        between.freeze(new=all_lines)
        other = visit(server.url)
        use.come(other, "Bob")
        if not use.alone:
            use.do(other, "meanwhile")
        page.evaluate("statuses.length = 0")
        page.clock.fast_forward(SILENCE)
        visitor.expect_status("Connecting …")
        if all_lines:
            page.clock.fast_forward(PATIENCE)
            visitor.expect_status("No answer for 10 s")
            between.heal()
            page.clock.fast_forward(2000)  # It was about to wait for so long.
        expect(status).to_have_text("Connected")
        if not use.alone:
            use.see(visitor, "meanwhile")
        use.do(visitor, "afterwards")
        use.see(visitor, "afterwards")
        if not use.alone:
            use.see(other, "afterwards")
        opened = len(visitor.sockets)
        between.cut(
            dead=True
        )  # Now the browser says that the first line has ended, and the page does not listen.
        visitor.sockets[0].expect_closed(1006)
        expect(status).to_have_text("Connected")
        assert len(visitor.sockets) == opened


@pytest.mark.usefixtures("npm_packages")
@pytest.mark.parametrize(
    "name", [name for name in CONNECTING if "before" in (EXAMPLES / name / "index.html").read_text("utf-8")]
)
def test_an_example_asks_nothing_on_a_dead_line(name: str, visit_in_our_time: Visit) -> None:
    """A request could wait for ever on a line that the browser keeps for the next one."""
    with behind_lines(EXAMPLES / name) as (_, between):
        visitor = visit_in_our_time(between.url)
        USES[name].come(visitor, "Alice")
        between.freeze(requests=True)
        visitor.page.evaluate("statuses.length = 0")
        visitor.page.clock.fast_forward(SILENCE)
        visitor.expect_status("Connecting …")
        expect(visitor.page.get_by_role("status")).to_have_text("Connected")
        assert len(visitor.sockets) == 2


@pytest.mark.usefixtures("npm_packages")
@pytest.mark.parametrize("name", CONNECTING)
def test_an_example_hears_of_the_network(name: str, visit_in_our_time: Visit) -> None:
    """It says at once that the network is gone, and comes back at once with it."""
    with serve(EXAMPLES / name) as server:
        visitor = visit_in_our_time(server.url)
        page, status = visitor.page, visitor.page.get_by_role("status")
        USES[name].come(visitor, "Alice")
        page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))
        page.context.set_offline(True)
        expect(status).to_have_text("The network is gone. Trying again within 1 s …")
        visitor.expect_error("net::ERR_INTERNET_DISCONNECTED")
        page.clock.run_for(1000)
        expect(status).to_have_text(re.compile("No connection"))
        page.context.set_offline(False)
        expect(status).to_have_text("Connected")


def test_an_example_hears_of_a_broken_line(visit_in_our_time: Visit) -> None:
    """A reset is code 1006, at once."""
    with behind_lines(EXAMPLES / "echo") as (_, between):
        visitor = visit_in_our_time(between.url)
        come(visitor, "Alice")
        between.cut()
        visitor.expect_status("Connection lost (code 1006). Trying again within 1 s …")
        visitor.sockets[0].expect_closed(1006)
        visitor.page.clock.fast_forward(1000)
        expect(visitor.page.get_by_role("status")).to_have_text("Connected")


def test_nobody_waits_for_a_dead_line_to_close(visit_in_our_time: Visit) -> None:
    with behind_lines(EXAMPLES / "echo") as (_, between):
        visitor = visit_in_our_time(between.url)
        come(visitor, "Alice")
        between.freeze()
        visitor.page.get_by_role("button", name="Disconnect").click()
        expect(visitor.page.get_by_role("status")).to_have_text("Closed with code 1000")
        visitor.page.get_by_role("button", name="Connect").click()
        come(visitor, "Alice")
        chat.say(visitor, "still there?")
        expect(visitor.page.locator(".received")).to_have_text(["Echo: still there?"])
        assert not visitor.sockets[0].closed


def test_greet_does_not_wait_for_ever(visit_in_our_time: Visit) -> None:
    with behind_lines(EXAMPLES / "greet") as (_, between):
        visitor = visit_in_our_time(between.url)
        greet, log = visitor.page.get_by_role("button", name="Greet"), visitor.page.locator("#log li")
        between.freeze(new=True)
        greet.click()
        expect(greet).to_be_disabled()
        visitor.page.clock.fast_forward(PATIENCE)
        expect(log.last).to_have_text("No answer for 10 s.")
        between.heal()
        greet.click()
        expect(log.last).to_have_text("closed with code 1000")
        expect(greet).to_be_enabled()


@pytest.mark.usefixtures("npm_packages")
def test_socketio_leaves_a_dead_line(visit_in_our_time: Visit) -> None:
    """It pings every 25 seconds, and waits 20 more: its own heartbeat, as the example's page says."""
    with behind_lines(EXAMPLES / "socketio") as (_, between):
        visitor = visit_in_our_time(between.url)
        page, status = visitor.page, visitor.page.get_by_role("status")
        socketio.enter(visitor, "Alice", "Kitchen")
        between.freeze()
        page.clock.fast_forward(45_000)
        visitor.expect_status("Disconnected (ping timeout). Reconnecting …")
        page.clock.fast_forward(5_000)
        expect(status).to_have_text("Connected by websocket")
        socketio.say(visitor, "still there?")
        expect(page.locator("#log li").last).to_have_text("Alicestill there?")
        page.context.set_offline(True)
        visitor.expect_status("Disconnected (transport close). Reconnecting …")
        visitor.expect_error("net::ERR_INTERNET_DISCONNECTED")
        page.clock.fast_forward(5_000)
        visitor.expect_status("No connection. Trying again …")
        page.context.set_offline(False)
        page.clock.fast_forward(10_000)
        expect(status).to_have_text("Connected by websocket")


def test_the_reconnecting_page_leaves_a_dead_line(visit_in_our_time: Visit, tmp_path: Path) -> None:
    run = find_run(DOCS / "howto" / "websocket-reconnect.rst", "reconnect-app")
    run.write(tmp_path)
    with behind_lines(tmp_path, run.command) as (server, between):
        visitor = visit_in_our_time(between.url)
        page, state = visitor.page, visitor.page.locator("#state")
        httpx.post(f"{server.url}say", data={"text": "one"})
        expect(page.locator("#lines li")).to_have_text(["one"])
        between.freeze(new=True)
        httpx.post(f"{server.url}say", data={"text": "two"})
        page.clock.fast_forward(SILENCE)
        expect(state).to_have_text("connecting again")
        between.heal()
        page.clock.fast_forward(SILENCE)
        expect(state).to_have_text("connected")
        expect(page.locator("#lines li")).to_have_text(["one", "two"])
        between.freeze()
        page.clock.fast_forward(SILENCE)
        httpx.post(f"{server.url}say", data={"text": "three"})
        expect(page.locator("#lines li")).to_have_text(["one", "two", "three"])
        between.cut(dead=True)
        visitor.sockets[0].expect_closed(1006)
        expect(state).to_have_text("connected")
        page.clock.pause_at(page.evaluate("Date.now() / 1000 + 1"))
        page.context.set_offline(True)
        expect(state).to_have_text("connecting again")
        page.context.set_offline(False)
        expect(state).to_have_text("connected")
        httpx.post(f"{server.url}finish")
        expect(state).to_have_text("That was all.")
        page.context.set_offline(True)
        page.context.set_offline(False)
        expect(state).to_have_text("That was all.")


@dataclass
class Events:
    """A page with server-sent events: its state line and what it says there, and its list."""

    state: str
    words: tuple[str, str, str]
    list: str


EVENTS = {
    "stream": Events(
        "#status",
        ("Connected", "Connection lost. Trying again …", "Connection lost. The browser tries again …"),
        "#events",
    ),
    "sse-app": Events("#state", ("connected", "connecting again", "connecting again"), "#news"),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_a_page_with_events_leaves_a_dead_line(name: str, visit_in_our_time: Visit, tmp_path: Path) -> None:
    """It gets what it has missed, and nothing twice."""
    page_with, folder, command = (
        EVENTS[name],
        EXAMPLES / name,
        "uvicorn app:app --timeout-graceful-shutdown 1",
    )
    if name == "sse-app":
        run = find_run(DOCS / "howto" / "server-sent-events.rst", name)
        run.write(tmp_path)
        folder, command = tmp_path, run.command
    connected, lost, again = page_with.words
    with behind_lines(folder, command) as (server, between):

        def tell(word: str) -> None:
            if name == "sse-app":
                httpx.post(f"{server.url}tell", data={"line": word})
            else:
                httpx.get(f"{server.url}story?pause=0")

        visitor = visit_in_our_time(between.url)
        page, state = visitor.page, visitor.page.locator(page_with.state)
        shown = page.locator(f"{page_with.list} li", has_not_text="tab")  # which comes and goes as it likes
        expect(state).to_have_text(connected)
        tell("one")
        expect(shown).to_have_count(1)
        between.freeze(requests=True, new=True)
        tell("two")
        page.clock.fast_forward(SILENCE)
        expect(state).to_have_text(lost)
        between.heal()
        page.clock.fast_forward(SILENCE)
        expect(state).to_have_text(connected)
        expect(shown).to_have_count(2)
        visitor.expect_error("net::ERR_INTERNET_DISCONNECTED")
        page.context.set_offline(True)
        expect(state).to_have_text(again)
        page.context.set_offline(False)
        expect(state).to_have_text(connected)
        page.goto("about:blank")


def test_the_chat_of_the_tutorial_leaves_a_dead_line(visit_in_our_time: Visit, tmp_path: Path) -> None:
    run = find_run(DOCS / "tutorial" / "chat.rst", "chat-finished")
    run.write(tmp_path)
    with behind_lines(tmp_path, run.command) as (_, between):
        visitor = visit_in_our_time(between.url)
        page, status = visitor.page, visitor.page.get_by_role("status")
        page.get_by_label("Your name").fill("Alice")
        page.get_by_role("button", name="Enter").click()
        page.get_by_role("link", name="kitchen").click()
        expect(status).to_have_text("Connected")
        between.freeze(new=True)
        page.clock.fast_forward(SILENCE)
        expect(status).to_have_text("Connection lost, trying again …")
        between.heal()
        page.clock.fast_forward(SILENCE)
        page.clock.fast_forward(SILENCE)
        expect(status).to_have_text("Connected")
        page.get_by_label("Message", exact=True).fill("still there?")
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("log").locator("p")).to_have_text(["Alicestill there?"])
