"""Exceptions keep their data, and a group of them comes down to the one that counts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from micropie import App, ConnectionClosed, FromSession, HTTPError, MultipartFileError, WebSocket
from micropie.exceptions import status_line, the_one
from tests.driver import handshake, http, lifespan, websocket

LEFT, OTHER = ConnectionClosed(1001), ValueError("other")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (HTTPError(404), "404 Not Found"),
        (HTTPError(499, "gone"), "499: gone"),
        (ConnectionClosed(), "1005"),
        (ConnectionClosed(4000, "bye"), "4000 bye"),
        (MultipartFileError(HTTPError(413)), "the uploaded file is not whole: 413"),
    ],
)
def test_the_text_is_built_from_the_data(error: Exception, text: str) -> None:
    assert str(error).startswith(text)


@pytest.mark.parametrize("status", [200, 399, 600, "404", True, None])
def test_an_http_error_needs_an_error_status(status: Any) -> None:
    with pytest.raises(ValueError, match="from 400 to 599"):
        HTTPError(status)


def test_a_status_without_a_name() -> None:
    assert status_line(599) == "599"


@pytest.mark.parametrize(
    ("error", "one"),
    [
        (OTHER, OTHER),
        (LEFT, LEFT),
        (ExceptionGroup("", [LEFT, ExceptionGroup("", [LEFT])]), LEFT),
        (ExceptionGroup("", [LEFT, ExceptionGroup("", [OTHER])]), OTHER),
        (BaseExceptionGroup("", [asyncio.CancelledError(), LEFT]), asyncio.CancelledError),
    ],
)
def test_a_group_comes_down_to_one(error: BaseException, one: Any) -> None:
    assert the_one(error) is one or isinstance(the_one(error), one if isinstance(one, type) else ())


def test_two_errors_stay_a_group() -> None:
    group = ExceptionGroup("", [OTHER, KeyError("x"), LEFT])
    assert the_one(group) is group


class Groups(App):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    async def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    async def _in_a_group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fail())

    async def page(self) -> str:
        await self._in_a_group()
        return "page"

    async def ws_early(self, ws: WebSocket) -> None:
        await self._in_a_group()

    async def ws_late(self, ws: WebSocket) -> None:
        await ws.accept()
        await self._in_a_group()

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.TaskGroup() as group:
            group.create_task(ws.receive_json())


async def test_an_http_error_out_of_a_task_group_is_an_http_error() -> None:
    app = Groups(HTTPError(401, "log in"))
    assert (await http(app, "/page")).text == "401 Unauthorized: log in"
    assert (await handshake(app, "/early")).refusal == 401
    assert (await handshake(app, "/late")).close == (1008, "log in")


async def test_bad_json_out_of_a_task_group_is_bad_json() -> None:
    async with websocket(Groups(), "/json") as client:
        client.send("{")
    assert client.close == (1007, "")


# --- what is lost is told --------------------------------------------------------------------------------


async def test_a_session_that_begins_in_a_stream_is_lost_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Streams(App):
        async def index(self) -> Any:
            yield "first"
            self.request.session["late"] = 1
            yield "second"

    assert (await http(Streams())).body == b"firstsecond"
    assert "a session cannot begin in a stream" in caplog.text


async def test_a_mounted_socket_that_is_left_open_is_closed() -> None:
    class Child:
        def __init__(self, wait: bool) -> None:
            self.wait = wait

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            if self.wait:
                await receive()

    app = App()
    app.mount("/returns", Child(wait=False))
    app.mount("/waits", Child(wait=True))
    assert (await handshake(app, "/returns")).close == (1000, "")
    async with websocket(app, "/waits") as client:
        pass
    assert client.close is None


async def test_an_app_that_is_mounted_at_startup_is_started_too() -> None:
    log: list[str] = []
    child, app = App(), App()
    child.startup_handlers.append(lambda: log.append("child"))
    app.startup_handlers.append(lambda: app.mount("/child", child))
    async with lifespan(app):
        assert log == ["child"]


@pytest.mark.parametrize("method", [True, False])
async def test_a_session_id_factory_in_the_class(method: bool) -> None:
    class Function(App):
        def session_id_factory() -> str:
            return "an-id-from-a-function"

        async def index(self) -> str:
            self.request.session["x"] = 1
            return "x"

    class Method(Function):
        def session_id_factory(self) -> str:
            return "an-id-from-a-method-of-" + type(self).__name__

    app = Method() if method else Function()
    [cookie] = (await http(app)).cookies
    assert cookie.startswith("session_id=an-id-from-a-" + ("method-of-Method;" if method else "function;"))


async def test_a_list_that_may_be_missing() -> None:
    class Lists(App):
        async def index(self, *, ids: list[int] | None = None, user: FromSession[int] | None = None) -> Any:
            return [ids, user]

    assert (await http(Lists(), "/?ids=1&ids=2&user=3")).json == [[1, 2], None]
    assert (await http(Lists())).json == [None, None]
    assert (await http(Lists(), "/?ids=x")).status == 400


async def test_a_send_that_fails_because_the_client_left_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Page(App):
        async def index(self) -> str:
            return "page"

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise OSError("gone")

    with caplog.at_level(logging.DEBUG):
        await Page()({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert [record.levelno for record in caplog.records if record.name == "micropie"] == [logging.DEBUG]
