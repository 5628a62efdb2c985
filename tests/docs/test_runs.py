"""Every server command of the docs, run in a fresh folder with the files that the page shows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import socketio
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.serving import serve
from tools.blocks import DOCS, Run, find_run, pages, runs

WEBSOCKETS = DOCS / "tutorial" / "websockets.rst"


RUNS = {f"{page.relative_to(DOCS).with_suffix('')}:{run.line}": run for page in pages() for run in runs(page)}


def get(url: str) -> int:
    """Return the status of a page."""
    try:
        with urlopen(url) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_it_serves(run: Run, tmp_path: Path) -> None:
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        assert get(server.url) < 500


@pytest.mark.parametrize(
    "command", ["uvicorn app:app", "hypercorn app:app", "granian --interface asgi app:app", "daphne app:app"]
)
def test_echo(command: str, tmp_path: Path) -> None:
    """The block alone, pasted into ``app.py``, on each server."""
    (tmp_path / "app.py").write_text(find_run(WEBSOCKETS, "websocket-echo").files["app.py"], encoding="utf-8")
    with serve(tmp_path, command) as server:
        with connect(f"{server.ws_url}echo") as ws:
            ws.send("hi")
            assert ws.recv() == "Echo: hi"
        assert ws.close_code == 1000
        server.wait_for_log("The client left with code")


def test_greet(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        find_run(WEBSOCKETS, "websocket-greet").files["app.py"], encoding="utf-8"
    )
    with serve(tmp_path) as server:
        for path, greeting in {
            "greet/Alice": "Hello Alice!",
            "greet?name=Bob": "Hello Bob!",
            "greet": "Hello Guest!",
        }.items():
            with connect(server.ws_url + path) as ws:
                assert list(ws) == [greeting]
            assert ws.close_code == 1000


def test_a_handler_that_never_accepts_is_refused(tmp_path: Path) -> None:
    app = """
from micropie import App

class Silent(App):
    async def ws_index(self, ws):
        pass

app = Silent()
"""
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    with serve(tmp_path) as server:
        with pytest.raises(InvalidStatus) as refused, connect(server.ws_url):
            pass
        assert refused.value.response.status_code == 403
        server.wait_for_log("accept")


@pytest.mark.parametrize("name", ["socketio-mounted", "socketio-wrapped"])
def test_socketio(name: str, tmp_path: Path) -> None:
    """What one client says goes to every client."""

    async def talk(url: str) -> list[object]:
        async with socketio.AsyncSimpleClient() as alice, socketio.AsyncSimpleClient() as bob:
            await alice.connect(url)
            await bob.connect(url, transports=["websocket"])
            await alice.emit("say", "hi")
            assert bob.transport == "websocket"
            return [await client.receive(timeout=15) for client in (alice, bob)]

    run = find_run(WEBSOCKETS, name)
    run.write(tmp_path)
    with serve(tmp_path, run.command) as server:
        assert asyncio.run(talk(server.url)) == [["said", "hi"]] * 2
