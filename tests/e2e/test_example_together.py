"""The example together: one text in several browsers, with a CRDT in the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.e2e.browsing import RunExample, Show, Visit, Visitor
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve

pytestmark = pytest.mark.usefixtures("npm_packages")


def area(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("textbox", name="Text")


def connected(*visitors: Visitor) -> None:
    for visitor in visitors:
        expect(visitor.page.get_by_role("status")).to_have_text("Connected")
        expect(visitor.page.locator("#saved")).to_have_text("Everything is saved.")


def test_two_write_at_once(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("together") as together:
        one, two = visit(together.url), visit(together.url)
        connected(one, two)
        area(one).press_sequentially("Apple pie: <b>flour</b>, butter")
        for visitor in (one, two):
            expect(area(visitor)).to_have_value("Apple pie: <b>flour</b>, butter")
        # Both type at different places, without waiting for each other.
        area(one).press("End")
        area(two).press("Home")
        for mine, yours in zip(", apples, sugar", "A recipe of ours. ", strict=False):
            one.page.keyboard.type(mine)
            two.page.keyboard.type(yours)
        two.page.keyboard.type("s. ")
        text = "A recipe of ours. Apple pie: <b>flour</b>, butter, apples, sugar"
        for visitor in (one, two):
            expect(area(visitor)).to_have_value(text)
        connected(one, two)
        late = visit(together.url)
        expect(area(late)).to_have_value(text)
        late.page.close()
        for visitor in (one, two):
            expect(visitor.page.get_by_label("Who is here").get_by_role("listitem")).to_have_count(2)
        show(one, "together")
    assert all(isinstance(frame, bytes) and frame[:4] == bytes(4) for frame in one.sockets[0].sent)


def test_nothing_is_lost_without_a_connection(run_example: RunExample, visit: Visit) -> None:
    """The server stops and forgets the text; both go on writing; a new server is taught by both."""
    with run_example("together") as together:
        one, two = visit(together.url), visit(together.url)
        connected(one, two)
        area(one).fill("pie")
        expect(area(two)).to_have_value("pie")
        connected(one, two)
        together.server.stop()
        for visitor in (one, two):
            visitor.expect_status("Connection lost (code 1012)")
        area(one).fill("apple pie")
        area(two).fill("pie for all")
        for visitor in (one, two):
            expect(visitor.page.locator("#saved")).to_have_text("Not all of it is saved yet.")
        together.server.start()
        connected(one, two)
        for visitor in (one, two):
            expect(area(visitor)).to_have_value("apple pie for all")


def test_many_updates_are_folded(visit: Visit) -> None:
    with serve(EXAMPLES / "together") as server:
        one, two = visit(server.url), visit(server.url)
        connected(one, two)
        text = "The pie is round. " * 12
        area(one).press_sequentially(text)
        expect(area(two)).to_have_value(text)
        connected(one, two)
        sent = [frame for visitor in (one, two) for frame in visitor.sockets[0].sent]
        assert any(isinstance(frame, bytes) and frame[:4] != bytes(4) for frame in sent)
        late = visit(server.url)
        expect(area(late)).to_have_value(text)
        assert sum(isinstance(frame, bytes) for frame in late.sockets[0].received) < len(text)


def test_what_is_no_update_is_skipped(visit: Visit) -> None:
    with serve(EXAMPLES / "together") as server:
        one, two = visit(server.url), visit(server.url)
        connected(one, two)
        area(one).fill("pie")
        expect(area(two)).to_have_value("pie")
        broken = "socket => socket.send(new Uint8Array([0, 0, 0, 0, 1, 2, 3]))"
        two.page.evaluate(
            f"""() => new Promise((done) => {{
                const socket = new WebSocket(new URL("edit", document.baseURI).href.replace("http", "ws"));
                socket.onopen = () => {{ ({broken})(socket); socket.close(1000); }};
                socket.onclose = done;
            }})"""
        )
        area(one).fill("apple pie")
        expect(area(two)).to_have_value("apple pie")
        connected(one, two)


def test_who_has_no_name_is_refused(visit: Visit) -> None:
    with serve(EXAMPLES / "together") as server, serve(EXAMPLES / "echo") as other:
        visitor = visit(other.url)  # A browser that never said hello.
        visitor.page.goto(f"{server.url}static/style.css")
        visitor.expect_error("HTTP Authentication failed")  # 401
        assert visitor.talk(f"{server.url}edit?name=Owl", "hi")["code"] == 1006


def test_other_bytes_are_not_run(browser: Browser, npm_packages: Path, tmp_path: Path) -> None:
    """The page's hash holds for the import, too."""
    shutil.copytree(npm_packages / "loro-crdt" / "base64", tmp_path / "loro-crdt" / "base64")
    shutil.copy(npm_packages / "loro-crdt" / "package.json", tmp_path / "loro-crdt")
    with (tmp_path / "loro-crdt" / "base64" / "index.js").open("a", encoding="utf-8") as file:
        file.write("console.error('this ran');")
    visitor = Visitor(browser, tmp_path)
    with serve(EXAMPLES / "together") as server:
        visitor.page.goto(server.url)
        visitor.expect_error("integrity")
        expect(visitor.page.get_by_role("alert")).to_contain_text("could not load Loro")
        expect(area(visitor)).to_be_disabled()
    visitor.leave()


def test_without_the_internet(browser: Browser) -> None:
    visitor = Visitor(browser, None)
    with serve(EXAMPLES / "together") as server:
        visitor.page.goto(server.url)
        visitor.expect_error("a request to https://cdn.jsdelivr.net/npm/loro-crdt")
        visitor.expect_error("Failed to load resource")
        expect(visitor.page.get_by_role("alert")).to_contain_text("could not load Loro")
    visitor.leave()
