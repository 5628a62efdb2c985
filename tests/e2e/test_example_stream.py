"""The example stream: an answer that comes word by word, and events that every tab hears."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.browsing import RunExample, Show, Visit
from tests.e2e.conftest import EXAMPLES


def expect_events(page: Page, *events: str | re.Pattern[str]) -> None:
    expect(page.locator("#events li")).to_have_text(list(events))


def test_stream(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("stream") as stream:
        alice = visit(stream.url)
        page = alice.page
        expect_events(page, "A tab listens; now 1.")
        bob = visit(stream.url)
        expect_events(page, "A tab listens; now 1.", "A tab listens; now 2.")
        page.get_by_role("button", name="Tell").click()
        expect(page.locator("#story")).to_contain_text("The oven is warm when")
        expect(page.locator("#end")).to_have_text("The baker is telling …")
        show(alice, "stream")

        page.reload()
        ended = re.compile(r"A story (ended after \d+ words|was told to its end)\.")
        expect(bob.page.locator("#events")).to_contain_text(ended)
        expect(bob.page.locator("#events li").last).to_have_text("A tab listens; now 2.")
        page.get_by_role("button", name="Tell").click()
        expect(page.locator("#story")).to_contain_text("The oven")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#end")).to_have_text("You stopped the story.")
        words = len((page.locator("#story").text_content() or "").split())
        for visitor in (alice, bob):
            last = visitor.page.locator("#events li").last
            expect(last).to_have_text(re.compile(r"^A story ended after \d+ words\.$"))
            told = re.search(r"\d+", last.text_content() or "")
            assert told is not None
            assert int(told[0]) >= words

        bob.page.close()
        expect(page.locator("#events li").last).to_have_text("A tab left; now 1.")


def test_a_story_to_its_end(run_example: RunExample, visit: Visit) -> None:
    source = (EXAMPLES / "stream" / "app.py").read_text(encoding="utf-8")
    whole = source.split('STORY = """')[1].split('"""')[0].split()
    with run_example("stream") as stream:
        page = visit(stream.url).page
        page.route("**/story", lambda route: route.continue_(url=f"{route.request.url}?pause=0"))
        page.get_by_role("button", name="Tell").click()
        expect(page.locator("#end")).to_have_text("The end.")
        assert (page.locator("#story").text_content() or "").split() == whole
        expect_events(page, "A tab listens; now 1.", "A story was told to its end.")


def test_stream_comes_back(run_example: RunExample, visit: Visit) -> None:
    # uvicorn logs what it cuts off, if there is time for it.
    cut = ["asyncio.exceptions.CancelledError: Task cancelled, timeout graceful shutdown exceeded"]
    with run_example("stream", own_errors=cut) as stream:
        visitor = visit(stream.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        page.get_by_role("button", name="Tell").click()
        expect(page.locator("#story")).to_contain_text("The oven")
        visitor.expect_error("ERR_INCOMPLETE_CHUNKED_ENCODING")  # What each of the two streams ends with.
        stream.server.stop()
        expect(page.locator("#end")).to_have_text("The story broke off: the connection is lost.")
        visitor.expect_status("Connection lost. The browser tries again …")
        stream.server.start()
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect_events(page, "A tab listens; now 1.", "A tab listens; now 1.")  # Once for each server.
        expect(page.get_by_role("button", name="Tell")).to_be_enabled()


def test_events_that_are_refused(run_example: RunExample, visit: Visit) -> None:
    with run_example("stream") as stream:
        visitor = visit(stream.url)
        visitor.expect_error("status of 500")
        visitor.page.route("**/events", lambda route: route.fulfill(status=500))
        visitor.page.reload()
        expect(visitor.page.get_by_role("status")).to_contain_text("Refused")
