"""Startup and shutdown, of an app and of those that are mounted on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from micropie import App, WebSocket
from tests.driver import handshake, http, lifespan

SECRET = "the secret that no log of the server may lose"


def recording(log: list[str], name: str, *, fail: str = "") -> App:
    """An app that notes its startup and shutdown, sync and async, and fails in one of them."""
    app = App()

    def note(phase: str) -> Any:
        def sync() -> None:
            log.append(f"{name} {phase} sync")

        async def awaited() -> None:
            await asyncio.sleep(0)
            log.append(f"{name} {phase}")
            if fail == phase:
                raise ValueError(SECRET)

        return [sync, awaited]

    app.startup_handlers += note("startup")
    app.shutdown_handlers += note("shutdown")
    return app


async def test_handlers_run_in_order() -> None:
    log: list[str] = []
    async with lifespan(recording(log, "a")) as answers:
        assert log == ["a startup sync", "a startup"]
    assert log[2:] == ["a shutdown sync", "a shutdown"]
    assert answers == ["startup complete", "shutdown complete"]


async def test_children_start_after_their_parent_and_stop_before_it() -> None:
    log: list[str] = []
    app, child, grandchild = (recording(log, name) for name in ("parent", "child", "grandchild"))
    app.mount("/child", child)
    child.mount("/grandchild", grandchild)
    async with lifespan(app):
        pass
    assert [line for line in log if "sync" not in line] == [
        "parent startup",
        "child startup",
        "grandchild startup",
        "grandchild shutdown",
        "child shutdown",
        "parent shutdown",
    ]


async def test_siblings_stop_in_reverse() -> None:
    log: list[str] = []
    app = App()
    app.mount("/first", recording(log, "first"))
    app.mount("/other", recording(log, "other"))
    async with lifespan(app):
        pass
    names = [line.split()[0] for line in log if "sync" not in line]
    assert names == ["first", "other", "other", "first"]


async def test_an_app_that_is_mounted_twice_starts_once() -> None:
    log: list[str] = []
    app, child = App(), recording(log, "child")
    app.mount("/one", child)
    app.mount("/two", child)
    async with lifespan(app):
        pass
    assert log.count("child startup") == log.count("child shutdown") == 1


async def test_a_failed_startup_stops_what_was_started(caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    app = recording(log, "parent")
    app.mount("/first-child", recording(log, "first"))
    app.mount("/second", recording(log, "second", fail="startup"))
    app.mount("/3rd", recording(log, "third"))
    async with lifespan(app) as answers:
        pass
    assert answers == ["startup failed"]
    assert [line for line in log if "sync" not in line] == [
        "parent startup",
        "first startup",
        "second startup",
        "second shutdown",
        "first shutdown",
        "parent shutdown",
    ]
    assert SECRET in caplog.text


async def test_a_handler_that_fails_at_startup_keeps_the_children_from_starting() -> None:
    log: list[str] = []
    app = recording(log, "parent", fail="startup")
    app.mount("/child", recording(log, "child"))
    async with lifespan(app) as answers:
        pass
    assert answers == ["startup failed"]
    assert log == ["parent startup sync", "parent startup", "parent shutdown sync", "parent shutdown"]


@pytest.mark.parametrize("who", ["parent", "child"])
async def test_a_failed_shutdown_does_not_stop_the_others(who: str, caplog: pytest.LogCaptureFixture) -> None:
    log: list[str] = []
    app = recording(log, "parent", fail="shutdown" if who == "parent" else "")
    app.mount("/child", recording(log, "child", fail="shutdown" if who == "child" else ""))
    app.shutdown_handlers.append(lambda: log.append("last"))
    async with lifespan(app) as answers:
        pass
    assert answers == ["startup complete", "shutdown failed"]
    assert log[-4:] == ["child shutdown", "parent shutdown sync", "parent shutdown", "last"]
    assert SECRET in caplog.text


async def test_an_app_can_start_again() -> None:
    log: list[str] = []

    class Site(App):
        def index(self) -> str:
            return "in a thread"

    app = Site()
    app.mount("/child", recording(log, "child"))
    for _ in range(2):
        async with lifespan(app) as answers:
            assert (await http(app, "/")).text == "in a thread"
        assert answers == ["startup complete", "shutdown complete"]
    assert log.count("child startup") == 2


# --- children that are not MicroPie's -------------------------------------------------------------------


class Child:
    """A raw ASGI app with a lifespan of its own making."""

    def __init__(self, *script: str) -> None:
        self.script = script
        self.log: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["child"] = self
        for step in self.script:
            if step == "raise":
                raise ValueError(SECRET)
            if step == "wait":
                await asyncio.Event().wait()
            elif step == "receive":
                self.log.append((await receive())["type"].removeprefix("lifespan."))
            else:
                await send({"type": f"lifespan.{step}"})


@pytest.mark.parametrize(
    ("script", "answers", "log"),
    [
        (
            ["receive", "startup.complete", "receive", "shutdown.complete"],
            ["startup complete", "shutdown complete"],
            ["startup", "shutdown"],
        ),
        # No lifespan: the specification's way to say so is to raise.
        (["raise"], ["startup complete", "shutdown complete"], []),
        (["receive", "raise"], ["startup complete", "shutdown complete"], ["startup"]),
        ([], ["startup complete", "shutdown complete"], []),
        # It ends before it is told to.
        (["receive", "startup.complete"], ["startup complete", "shutdown complete"], ["startup"]),
        (["receive", "startup.complete", "raise"], ["startup complete", "shutdown complete"], ["startup"]),
        (
            ["receive", "startup.complete", "receive", "raise"],
            ["startup complete", "shutdown complete"],
            ["startup", "shutdown"],
        ),
        # It says that it failed.
        (["receive", "startup.failed"], ["startup failed"], ["startup"]),
        (["receive", "startup.failed", "raise"], ["startup failed"], ["startup"]),
        (["receive", "startup.failed", "receive"], ["startup failed"], ["startup"]),
        (
            ["receive", "startup.complete", "receive", "shutdown.failed"],
            ["startup complete", "shutdown failed"],
            ["startup", "shutdown"],
        ),
        # It never returns, as many a loop around receive() does.
        (
            ["receive", "startup.complete", "receive", "shutdown.complete", "receive"],
            ["startup complete", "shutdown complete"],
            ["startup", "shutdown"],
        ),
        (
            ["receive", "startup.complete", "receive", "shutdown.complete", "wait"],
            ["startup complete", "shutdown complete"],
            ["startup", "shutdown"],
        ),
    ],
)
async def test_any_asgi_app_can_be_a_child(script: list[str], answers: list[str], log: list[str]) -> None:
    child, app = Child(*script), App()
    app.mount("/child", child)
    async with lifespan(app) as got:
        pass
    assert got == answers
    assert child.log == log


async def test_a_child_that_is_not_started_is_not_stopped() -> None:
    child, app = Child("receive"), App()
    app.mount("/child", child)
    app.startup_handlers.append(lambda: 1 / 0)
    async with lifespan(app) as answers:
        pass
    assert (answers, child.log) == (["startup failed"], [])


# --- whose state is whose -------------------------------------------------------------------------------


class Yields:
    """An ASGI app whose lifespan puts a value into its state, and which answers with what it finds there."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.state: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.state = scope["state"]
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["db"] = self.value
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["state"]["db"]})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["state"]["db"].encode()})


async def test_each_mounted_app_sees_its_own_state() -> None:
    """Two that put something under one name do not get each other's, nor does the app around them."""

    class Outer(App):
        async def index(self) -> str:
            return str(self.request.scope["state"].get("db"))

    app, middle, twice = Outer(), App(), Yields("twice")
    for prefix in ("/a", "/b"):
        app.mount(prefix, Yields(prefix))
    app.mount("/one", twice)
    app.mount("/other", twice)
    app.mount("/middle", middle)
    middle.mount("/inner", Yields("inner"))
    async with lifespan(app):
        for path, value in {
            "/a": "/a",
            "/b": "/b",
            "/one": "twice",
            "/other": "twice",
            "/middle/inner": "inner",
            "/": "None",
        }.items():
            assert (await http(app, path, state={})).text == value
        assert (await handshake(app, "/b", state={})).messages == ["/b"]
        await http(app, "/a", state={"of": "the server"})
        assert twice.state["db"] == "twice"


async def test_a_mounted_app_sees_the_servers_state_too() -> None:
    """What is one request's stays one request's: a change reaches no other."""
    seen: list[Any] = []

    class Notes(Yields):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                seen.append(dict(scope["state"]))
                scope["state"]["more"] = 1
            await super().__call__(scope, receive, send)

    app = App()
    app.mount("/a", Notes("a"))
    async with lifespan(app):
        for _ in range(2):
            await http(app, "/a", state={"of": "the server"})
    assert seen == [{"of": "the server", "db": "a"}] * 2


# --- without one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("handlers", ["startup_handlers", "shutdown_handlers", None])
async def test_an_app_that_gets_no_lifespan_says_so(
    kind: str, handlers: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with its first request, if there is something that does not run."""

    class Pie(App):
        async def index(self) -> str:
            return "pie"

        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()

    app = Pie()
    if handlers:
        getattr(app, handlers).append(lambda: None)
    for _ in range(2):
        await (http(app) if kind == "http" else handshake(app))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (1 if handlers else 0)
    assert all("the startup and shutdown handlers of Pie do not run" in line for line in lines)


async def test_an_app_with_a_lifespan_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Neither does one that is mounted in it."""
    log: list[str] = []
    app = recording(log, "outer")
    app.mount("/child", recording(log, "child"))
    async with lifespan(app):
        await http(app, "/")
        await http(app, "/child/")
    assert not any("do not run" in record.getMessage() for record in caplog.records)


async def test_an_app_in_one_of_another_framework_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """FastAPI hands no lifespan on to what is mounted in it; the other way round it gets its own."""
    fastapi = pytest.importorskip("fastapi")
    log: list[str] = []
    pie, outer = recording(log, "pie"), fastapi.FastAPI()
    outer.mount("/pie", pie)
    async with lifespan(outer):
        await http(outer, "/pie/")
    assert "the startup and shutdown handlers of App do not run" in caplog.text
    assert log == []

    @asynccontextmanager
    async def started(app: Any) -> AsyncIterator[dict[str, str]]:
        log.append("fastapi startup")
        yield {"db": "fastapi"}
        log.append("fastapi shutdown")

    outer = recording(log, "pie")
    outer.mount("/api", fastapi.FastAPI(lifespan=started))
    async with lifespan(outer):
        pass
    assert [line for line in log if "sync" not in line] == [
        "pie startup",
        "fastapi startup",
        "fastapi shutdown",
        "pie shutdown",
    ]
