"""What one user's browser page did, and what it is allowed to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from playwright.sync_api import Browser, ConsoleMessage, Page, Route

from micropie.testing.browser import RecordedWebSocket, WebSocketRecorder, record_websockets
from tests.serving import Server

ELSEWHERE = re.compile(r"^(?!data:|blob:|https?://127\.0\.0\.1[:/])")
CDN = re.compile(r"https://cdn\.jsdelivr\.net/npm/(?P<package>[\w.-]+)@(?P<version>[^/]+)/(?P<file>[\w./-]+)")

# Opens a WebSocket as the page itself would, sends some messages, closes when each has its answer, and reports.
TALK = """([address, messages]) => new Promise((resolve) => {
  const received = [];
  const socket = new WebSocket(new URL(address, document.baseURI).href.replace("http", "ws"));
  socket.onopen = () => messages.forEach((message) => socket.send(message));
  socket.onmessage = (event) => {
    received.push(event.data);
    if (received.length === messages.length) socket.close(1000);
  };
  socket.onclose = ({ code, reason }) => resolve({ received, code, reason });
})"""

# Keeps what the page's status line shows: a lost connection stands there for less than a second before the next try.
KEEP = """addEventListener("DOMContentLoaded", () => {
  const status = document.getElementById("status");
  const shown = window.statuses = [];
  if (status) new MutationObserver(() => shown.push(status.textContent)).observe(status, { childList: true });
});"""


class Visitor:
    """One user with a browser profile of their own, and everything their page did."""

    def __init__(
        self,
        browser: Browser,
        packages: Path | None,
        record: Callable[[Page], WebSocketRecorder] = record_websockets,
        **options: Any,
    ) -> None:
        self._packages = packages
        self._context = browser.new_context(**options)
        self._context.route(ELSEWHERE, self._answer)
        self._context.add_init_script(KEEP)
        self.page: Page = self._context.new_page()
        self._record = record(self.page)
        self.console: list[str] = []
        self.errors: list[str] = []
        self._expected: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(f"page error: {error}"))
        self.page.on("console", self._said)

    @property
    def sockets(self) -> list[RecordedWebSocket]:
        """The WebSockets that the page has opened, in their order."""
        return self._record.sockets

    def talk(self, address: str, *messages: str) -> dict[str, Any]:
        """Let the page talk over a WebSocket; return what it ``received`` and the end's ``code`` and ``reason``."""
        said: dict[str, Any] = self.page.evaluate(TALK, [address, messages])
        return said

    def expect_console(self, *lines: str) -> None:
        """Wait until the page has logged these lines; other lines and the order do not matter.

        Events come only while Playwright waits, so none is missed in between, and its time limit ends the wait.
        """
        while not set(lines) <= set(self.console):
            self.page.wait_for_event("console")

    def expect_status(self, words: str) -> None:
        """Wait until the page's status line shows these words, or has shown them since the page was loaded."""
        self.page.wait_for_function(
            "(words) => window.statuses.some((text) => text.includes(words))", arg=words
        )

    def expect_error(self, text: str) -> None:
        """Say that the page will log an error with ``text`` in it; its absence fails the test as well."""
        self._expected.append(text)

    def close(self) -> None:
        """Close all pages of this user."""
        self._context.close()

    def leave(self) -> None:
        """Close all pages and fail if anything went wrong on them."""
        self.close()
        urls = [socket.url for socket in self.sockets if ELSEWHERE.match(socket.url.replace("ws", "http", 1))]
        self.errors += [f"a WebSocket to {url}" for url in urls]
        unexpected = [error for error in self.errors if not any(text in error for text in self._expected)]
        assert not unexpected, f"the page had errors: {unexpected}"
        unseen = [text for text in self._expected if not any(text in error for error in self.errors)]
        assert not unseen, f"expected errors did not come: {unseen}; these did: {self.errors}"

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(message.text)
        if message.type == "error":
            self.errors.append(f"console error: {message.text} ({message.location['url']})")

    def _answer(self, route: Route) -> None:
        """Answer the CDN's address from the same file of the npm package, and refuse all others."""
        address = CDN.fullmatch(route.request.url)
        if address is None or self._packages is None:
            self.errors.append(f"a request to {route.request.url}")
            route.abort()
            return
        package = self._packages / address["package"]
        pinned = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        if pinned != address["version"]:
            self.errors.append(f"the page wants {route.request.url}, but package-lock.json pins {pinned}")
        # The page asks for an integrity check, for which the file must be readable across origins.
        route.fulfill(path=package / address["file"], headers={"Access-Control-Allow-Origin": "*"})


# What the fixtures of the same names give a test.


class Visit(Protocol):
    """Open an address as a new user; ``options`` are those of a browser context."""

    def __call__(self, url: str, **options: Any) -> Visitor: ...


@dataclass
class Served:
    """One example: the server's process and the address of the example's page."""

    server: Server
    url: str


class RunExample(Protocol):
    """Serve an example; ``own_errors`` are those of :func:`tests.serving.serve`."""

    def __call__(self, name: str, own_errors: Collection[str] = ()) -> AbstractContextManager[Served]: ...


Show = Callable[[Visitor, str], None]
