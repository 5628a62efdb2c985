"""What the how-to pages say of servers and libraries, where a page's own test file cannot see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.staticfiles import StaticFiles
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from micropie import App
from micropie.testing import TestClient
from tests.serving import Server, serve
from tools.blocks import DOCS, find_run


@contextmanager
def run_block(page: str, name: str, folder: Path, *own_errors: str) -> Iterator[Server]:
    """Serve a named block of a page by the page's own command."""
    run = find_run(DOCS / "howto" / f"{page}.rst", name)
    run.write(folder)
    with serve(folder, run.command, own_errors=own_errors) as server:
        yield server


def test_a_query_string_is_in_the_log_and_a_subprotocol_is_not(tmp_path: Path) -> None:
    with run_block("websocket-tokens", "tokens-app", tmp_path) as server:
        offer = [Subprotocol("bearer"), Subprotocol("a-secret")]
        for path in ("subprotocol", "ticket?ticket=a-ticket"):
            with (
                pytest.raises(InvalidStatus, match="401"),
                connect(server.ws_url + path, subprotocols=offer),
            ):
                pass
        server.wait_for_log('"WebSocket /ticket?ticket=a-ticket" 401')
        assert "a-secret" not in server.log()


def test_jobs_finish_though_the_sockets_are_closed(tmp_path: Path) -> None:
    with (
        run_block("background-tasks", "background-app", tmp_path) as server,
        connect(f"{server.ws_url}board") as ws,
    ):
        ws.recv()
        assert httpx.post(f"{server.url}order").status_code == 202
        server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            list(ws)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert "INFO bakery: pie 1 is done" in server.log()


def test_a_log_of_ones_own_stands_alone(tmp_path: Path) -> None:
    with run_block("middleware-recipes", "recipe-app", tmp_path) as server:
        assert httpx.get(f"{server.url}basket").status_code == 303
        server.wait_for_log("INFO shop: GET '/basket' 303 in ")
        assert '"GET /basket HTTP/1.1"' not in server.log()


def test_a_reference_leads_from_the_page_to_the_log(tmp_path: Path) -> None:
    with run_block("error-pages", "errors-app", tmp_path, "RuntimeError: the oven is cold") as server:
        [reference] = re.findall("reference ([0-9a-f]{8})", httpx.get(f"{server.url}oven").text)
        server.wait_for_log(f"ERROR micropie: error while answering /oven (reference {reference})")


async def test_static_files_alone_raise_for_a_name_that_does_not_exist(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Why the page mounts them in a Starlette."""
    app = App()
    app.mount("/static", StaticFiles(directory=tmp_path))
    async with TestClient(app) as client:
        assert (await client.get("/static/nothing.css")).status_code == 500
    assert "starlette.exceptions.HTTPException: 404" in caplog.text


MOVED = {
    "flask": {"old/": '"notes"', "old/note/1": "Buy apples", "note/1": "Buy apples"},
    "starlette": {"old/": '"notes"', "old/note/1": "Buy apples", "note/1": "Buy apples"},
    "fastapi": {"old/pie/apple": '"size"', "old/openapi.json": "/pie/{kind}", "pie/apple": '"size"'},
}


@pytest.mark.parametrize("framework", MOVED)
def test_the_old_app_goes_along(framework: str, tmp_path: Path) -> None:
    with run_block(f"from-{framework}", f"{framework}-both", tmp_path) as server:
        for path, text in MOVED[framework].items():
            answer = httpx.get(server.url + path)
            assert (answer.status_code, text in answer.text) == (200, True), path
        if framework == "starlette":
            with connect(f"{server.ws_url}old/echo/Eve") as ws:
                ws.send("hi")
                assert ws.recv() == "Eve: hi"
        if framework == "fastapi":
            with connect(f"{server.ws_url}old/orders") as ws:
                assert list(ws) == ["[]"]
