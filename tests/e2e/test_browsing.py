"""The watch over the pages itself: what goes wrong on a page fails its test."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import EXAMPLES
from tests.serving import serve


@pytest.mark.parametrize(
    ("event", "script", "error"),
    [
        ("pageerror", "setTimeout(() => { throw new Error('broken') })", "page error: broken"),
        ("console", "console.error('sad')", "console error: sad"),
        ("console", "fetch('nowhere')", "404"),
        (
            "requestfailed",
            "fetch('https://example.com/').catch(() => {})",
            "a request to https://example.com/",
        ),
        ("websocket", "new WebSocket('wss://example.com/')", "a WebSocket to wss://example.com/"),
    ],
)
def test_an_error_is_a_failure(event: str, script: str, error: str, browser: Browser) -> None:
    visitor = Visitor(browser, None)
    with serve(EXAMPLES / "greet") as server:
        visitor.page.goto(server.url)
        with visitor.page.expect_event(event):
            visitor.page.evaluate(script)
    with pytest.raises(AssertionError, match="the page had errors") as failure:
        visitor.leave()
    assert error in str(failure.value)


def test_an_expected_error_has_to_come(browser: Browser) -> None:
    visitor = Visitor(browser, None)
    visitor.expect_error("403")
    with pytest.raises(AssertionError, match="expected errors did not come"):
        visitor.leave()
