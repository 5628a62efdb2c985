"""The example echo: every message comes back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.browsing import RunExample, Show, Visit
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve


def test_echo(run_example: RunExample, visit: Visit, show: Show) -> None:
    with run_example("echo") as echo:
        visitor = visit(echo.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        shown = []
        for text in ["Hello, pie!", "Is this <b>bold</b>?"]:
            page.keyboard.type(text)  # The message has the focus.
            page.keyboard.press("Enter")
            shown += [text, f"Echo: {text}"]
            expect(page.locator("#log li")).to_have_text(shown)
        show(visitor, "echo")
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("status")).to_have_text("Closed with code 1000")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        page.get_by_role("button", name="Connect").click()
        expect(page.get_by_role("status")).to_have_text("Connected")
        said = visitor.talk("echo", "one", "two")
        assert said == {"received": ["Echo: one", "Echo: two"], "code": 1000, "reason": ""}
    assert visitor.sockets[0].url == f"{echo.url.replace('http', 'ws')}echo"
    assert visitor.sockets[0].sent == shown[::2]
    assert visitor.sockets[0].received == shown[1::2]


def test_echo_comes_back(run_example: RunExample, visit: Visit) -> None:
    with run_example("echo") as echo:
        visitor = visit(echo.url)
        page = visitor.page
        expect(page.get_by_role("status")).to_have_text("Connected")
        echo.server.stop()
        visitor.expect_status("Connection lost (code 1012). Trying again within 1 s …")
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
