"""Apps whose pages take silence for a dead line are never silent for longer than they promise."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import selectors
import sys
from pathlib import Path
from typing import Any

import pytest

from micropie.testing import TestClient
from tools.blocks import DOCS, find_run
from tools.examples import EXAMPLES, SHARED, examples

PROMISED = 20  # seconds

# The address of an app's WebSocket, and the forms that somebody sends before.
SOCKETS: dict[str, tuple[str, dict[str, dict[str, str]]]] = {
    "board": ("/draw", {}),
    "chat": ("/room/kitchen", {"/enter": {"name": "Alice"}}),
    "dashboard": ("/samples", {}),
    "echo": ("/echo", {}),
    "game": ("/play", {"/hello": {}}),
    "notify": ("/inbox", {"/login": {"user": "Alice", "password": "apple"}}),
    "together": ("/edit", {"/hello": {}}),
    "upload": ("/progress", {"/hello": {}}),
    "reconnect-app": ("/lines", {}),
    "chat-finished": ("/room/kitchen", {"/enter": {"name": "Alice"}}),
}
BLOCKS = {
    "reconnect-app": DOCS / "howto" / "websocket-reconnect.rst",
    "chat-finished": DOCS / "tutorial" / "chat.rst",
    "sse-app": DOCS / "howto" / "server-sent-events.rst",
}
CONNECTING = [
    name
    for name, folder in examples().items()
    if "import { connect }" in (folder / "index.html").read_text(encoding="utf-8")
]


class Leaping(selectors.DefaultSelector):
    """Instead of waiting for the next timer, it puts the clock forward."""

    leapt = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout else timeout)
        if timeout and not ready:
            self.leapt += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop in which nobody waits: its time goes on as the timers want it."""

    def __init__(self) -> None:
        self._selector_that_leaps = Leaping()
        super().__init__(self._selector_that_leaps)

    def time(self) -> float:
        return super().time() + self._selector_that_leaps.leapt


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app of an example, or of a named block."""
    name = request.param
    folder = EXAMPLES / name
    if name in BLOCKS:
        folder = tmp_path
        find_run(BLOCKS[name], name).write(folder)
    spec = importlib.util.spec_from_file_location(f"beating_{name.replace('-', '_')}", folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module.app


@pytest.mark.parametrize(
    ("app", "path", "forms"),
    [
        pytest.param(name, *SOCKETS[name], id=name)
        for name in [*CONNECTING, "reconnect-app", "chat-finished"]
    ],
    indirect=["app"],
)  # fmt: skip
def test_the_server_says_something(app: Any, path: str, forms: dict[str, dict[str, str]]) -> None:
    async def listen() -> None:
        async with TestClient(app, patience=PROMISED + 1) as client:
            for address, form in forms.items():
                assert (await client.post(address, data=form)).status_code < 400
            async with client.websocket(path) as ws:
                for _ in range(6):  # More than what comes by itself when somebody has just come.
                    await ws.receive()

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(listen())


@pytest.mark.parametrize("app", ["stream", "sse-app"], indirect=True)
def test_a_stream_of_events_says_something(app: Any) -> None:
    """It is something that the page sees: a comment is not."""

    async def listen() -> None:
        async with (
            TestClient(app, patience=PROMISED + 1) as client,
            client.stream("GET", "/events") as answer,
        ):
            lines = answer.aiter_lines()
            said = [await anext(lines) for _ in range(12)]  # More than what it begins with.
            assert said.count("event: alive") > 1
            assert said[said.index("event: alive") + 1].startswith("data:")

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(listen())


@pytest.mark.parametrize(
    "page",
    [SHARED / "live.js", EXAMPLES / "stream" / "index.html", *BLOCKS.values()],
    ids=lambda page: page.stem,
)
def test_the_page_waits_longer_than_that(page: Path) -> None:
    """Ten seconds longer: a line may be slow."""
    text = page.read_text(encoding="utf-8")
    found = re.search(r"SILENCE = (?P<seconds>30);|SILENCE = 30_000;|setTimeout\(lost, 30_000\);", text)
    assert found is not None
