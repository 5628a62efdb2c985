"""The server for tests: it is the real one, and what goes wrong in it is told."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from micropie import App, WebSocket
from micropie.cli.loading import AppNotFound
from micropie.testing.server import LiveServer, LiveServerFactory
from tests.serving import PATIENCE

own_logger = logging.getLogger("bakery")


class Bakery(App):
    def __init__(self) -> None:
        super().__init__()
        self.life: list[str] = []
        self.startup_handlers.append(lambda: self.life.append("up"))
        self.shutdown_handlers.append(lambda: self.life.append("down"))
        self.hanging = threading.Event()

    async def index(self) -> str:
        return f"up {self.life.count('up')} times"

    async def burn(self) -> str:
        raise RuntimeError("out of pies")

    def burn_in_a_thread(self) -> str:
        raise RuntimeError("out of flour")

    async def complain(self) -> str:
        own_logger.error("the oven is cold")
        return "sorry"

    async def ticks(self) -> Any:
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(0)
        finally:
            own_logger.warning("the stream has ended")

    async def hang(self) -> None:
        self.hanging.set()
        await asyncio.Event().wait()

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)


SOURCE = """
from micropie import App
from shelf_of_{name} import PIES

class Shop(App):
    async def index(self, name="you"):
        PIES.append(name)
        return await self._render_template("page.html", pies=PIES)

{name} = Shop()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a folder with an app, a module beside it and a template."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        (folder / "templates").mkdir(parents=True)
        (folder / "templates" / "page.html").write_text(f"{name}: {{{{ pies|join(',') }}}}", encoding="utf-8")
        (folder / f"shelf_of_{name}.py").write_text("PIES = []", encoding="utf-8")
        (folder / "app.py").write_text(SOURCE.format(name=name), encoding="utf-8")
        return folder / "app.py"

    return make


def test_it_serves_an_app(live_server: LiveServerFactory) -> None:
    app = Bakery()
    server = live_server(app)
    assert server.app is app
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert httpx.get(server.url).text == "up 1 times"
    with connect(f"{server.ws_url}/echo") as ws:
        ws.send("hi")
        assert ws.recv() == "hi"
    with pytest.raises(InvalidStatus, match="404"), connect(f"{server.ws_url}/nowhere"):
        pass
    assert '"WebSocket /nowhere" 404' in server.log
    server.stop()
    assert app.life == ["up", "down"]


async def test_it_serves_beside_the_loop_of_an_async_test(live_server: LiveServerFactory) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(live_server(Bakery()).url)).text == "up 1 times"


def test_it_serves_a_file_anew_at_each_start(
    live_server: LiveServerFactory, shop: Callable[[str], Path]
) -> None:
    """Each with its neighbours and its templates, also two of one name at once."""
    one, other = live_server(shop("app")), live_server(f"{shop('other')}:other")
    assert httpx.get(f"{one.url}/apple").text == "app: apple"
    assert httpx.get(f"{other.url}/cherry").text == "other: cherry"
    assert httpx.get(f"{one.url}/plum").text == "app: apple,plum"
    first = one.app
    one.stop()
    one.start()
    assert one.app is not first
    assert httpx.get(f"{one.url}/pear").text == "app: pear"


def test_a_path_is_looked_for_beside_the_test_and_here(
    live_server: LiveServerFactory, shop: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert httpx.get(live_server("../servers/kinds/app.py").url).status_code
    monkeypatch.chdir(shop("app").parent)
    assert httpx.get(live_server("app.py").url).text == "app: you"
    with pytest.raises(AppNotFound, match=re.escape(f"no file other.py in {Path(__file__).parent} or ")):
        live_server("other.py")


def test_sockets_are_closed_with_1012_and_the_address_stays(live_server: LiveServerFactory) -> None:
    server = live_server(Bakery())
    with connect(f"{server.ws_url}/echo") as ws:
        server.stop()
        with pytest.raises(ConnectionClosedError) as closed:
            ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    server.start()
    assert httpx.get(server.url).text == "up 2 times"
    with pytest.raises(RuntimeError, match="runs already"):
        server.start()


def test_a_stream_ends_with_the_server(live_server: LiveServerFactory) -> None:
    server = live_server(Bakery())
    with httpx.stream("GET", f"{server.url}/ticks") as answer:
        assert next(answer.iter_lines()) == "tick"
        server.stop()
    server.expect_log("the stream has ended", timeout=0)
    server.check()


def test_a_handler_that_goes_on_is_cancelled_and_that_is_an_error(live_server: LiveServerFactory) -> None:
    app = Bakery()
    server = live_server(app, timeout_graceful_shutdown=0)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert app.hanging.wait(PATIENCE)
        server.stop()
    server.expect_error("Cancel 1 running task(s)")
    server.expect_error("in hang\n")


def test_what_hangs_at_the_start_or_at_the_end_is_told(
    live_server: LiveServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event lets go of the handlers, so that no thread outlives the test by much."""
    released = threading.Event()
    app, other = App(), App()
    app.startup_handlers.append(lambda: asyncio.to_thread(released.wait))
    other.shutdown_handlers.append(lambda: asyncio.to_thread(released.wait))
    factory = LiveServerFactory()
    server = factory(other)
    monkeypatch.setattr("micropie.testing.server.PATIENCE", 0.05)
    try:
        with pytest.raises(TimeoutError, match="a startup handler hangs"):
            live_server(app)
        with pytest.raises(ExceptionGroup, match="live servers did not stop") as failed:
            factory.close()
        assert [str(error) for error in failed.value.exceptions] == [
            "the server has not stopped for 0.05 s: a handler hangs"
        ]
    finally:
        released.set()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_without_uvicorn_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "micropie.testing.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match="extra 'testing'"):
        import micropie.testing.server  # noqa: F401  # The import is the test.


@pytest.mark.parametrize(
    ("app", "error", "words"),
    [
        ("def", SyntaxError, "invalid syntax"),
        ("1 / 0", ZeroDivisionError, "division by zero"),
        ("x = 1", AppNotFound, "app.py has no app"),
        (
            "from micropie import App\napp = App()\napp.startup_handlers.append(lambda: 1 / 0)",
            RuntimeError,
            r"the app did not start:(.|\n)+in <lambda>\n(.|\n)+ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_failed_start_is_raised_with_its_traceback(
    app: str, error: type[Exception], words: str, live_server: LiveServerFactory, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    with pytest.raises(error, match=words):
        live_server(tmp_path / "app.py")
    assert live_server.servers == []


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """An app without lifespan."""
    assert scope["type"] == "http"
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"x-root", scope["root_path"].encode())]}
    )
    await send({"type": "http.response.body", "body": b""})


def test_any_asgi_app_with_settings_of_the_server(live_server: LiveServerFactory) -> None:
    server = live_server(bare, root_path="/shop", headers=[("X-Served-By", "a test")])
    answer = httpx.get(server.url)
    assert (answer.headers["X-Root"], answer.headers["X-Served-By"]) == ("/shop", "a test")


def test_what_the_server_decides_itself() -> None:
    with pytest.raises(TypeError, match="decides by itself about port, reload"):
        LiveServer(bare, port=8000, reload=True)


def test_each_server_has_its_own_log(live_server: LiveServerFactory) -> None:
    one, other = live_server(Bakery()), live_server(Bakery())
    httpx.get(f"{one.url}/burn")
    httpx.get(f"{other.url}/burn_in_a_thread")
    httpx.get(f"{other.url}/complain")
    assert '"GET /burn HTTP/1.1" 500' in one.log
    assert "out of flour" not in one.log
    assert "ERROR bakery: the oven is cold\n" in other.log
    assert [record.name for record in other.errors] == ["micropie"]
    error = one.expect_error(re.compile(r"RuntimeError: out of p\w+")).exc_info
    assert error is not None
    assert str(error[1]) == "out of pies"
    other.expect_error("/burn_in_a_thread")
    assert one.errors == other.errors == []


def test_what_is_expected_has_to_come(live_server: LiveServerFactory) -> None:
    server = live_server(Bakery())
    httpx.get(server.url)
    with pytest.raises(AssertionError, match=r"logged no error 'pies'; it logged:\n(.|\n)+GET /"):
        server.expect_error("pies", timeout=0)
    with pytest.raises(AssertionError, match=r"did not log 'p\[ie\]s'; it logged:"):
        server.expect_log(re.compile("p[ie]s"), timeout=0)


def test_a_block(tmp_path: Path) -> None:
    with LiveServer(Bakery()) as server:
        assert httpx.get(server.url).text == "up 1 times"
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_servers_of_the_session(live_server_factory: LiveServerFactory) -> None:
    with live_server_factory(Bakery()) as server:
        assert httpx.get(server.url).text == "up 1 times"
