"""What was written for MicroPie 0.29 to 0.32 runs here; the rest stands on the page "Differences from 0.32"."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from micropie.testing import TestClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def old() -> Any:
    """The old app, imported anew, so that no test meets what another one left."""
    spec = importlib.util.spec_from_file_location("compat_app", Path(__file__).with_name("app.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compat_app"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("method", "target", "options", "status", "expected"),
    [
        ("GET", "/", {}, 200, "index "),
        ("GET", "/any/thing", {}, 200, "index any/thing"),
        ("GET", "/greet", {}, 200, {"name": "Guest", "rest": [], "options": {}}),
        ("GET", "/greet/A/b/c?d=1&name=x", {}, 200, {"name": "A", "rest": ["b", "c"], "options": {"d": "1"}}),
        ("GET", "/api/items/7", {}, 200, "item 7"),
        ("GET", "/sub", {}, 200, "sub index"),
        ("GET", "/sub/whoami/Bob", {}, 200, "Bob None"),
        ("POST", "/sub/whoami", {"data": {"name": "form"}}, 200, "form None"),
        ("GET", "/me", {"headers": {"X-Stop": "1"}}, 403, "stopped"),
        ("GET", "/me?upper=1", {}, 203, "NOBODY"),
        ("POST", "/form", {"data": {"name": "A"}}, 200, {"name": "A", "all": {"name": ["A"]}}),
        ("POST", "/parsed", {"json": {"a": [1]}}, 200, [{"a": [1]}, [1], [1], 2]),
        ("POST", "/parsed", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, None),
        (
            "POST",
            "/upload",
            {"files": {"file": ("f.txt", b"12345", "text/plain")}},
            200,
            "f.txt text/plain 5",
        ),
        ("GET", "/page", {}, 200, "Hello &lt;you&gt;"),
        ("GET", "/stream", {}, 200, "ab"),
        ("GET", "/number", {}, 200, "42"),
        ("GET", "/_open", {}, 404, None),
    ],
)
async def test_requests(old: Any, method: str, target: str, options: Any, status: int, expected: Any) -> None:
    async with TestClient(old.app) as client:
        answer = await client.request(method, target, **options)
    assert answer.status_code == status, answer.text
    assert (
        expected is None or (answer.json() if isinstance(expected, (dict, list)) else answer.text) == expected
    )


async def test_a_session_with_a_backend_of_ones_own(old: Any) -> None:
    backend = old.app.session_backend
    async with TestClient(old.app) as client:
        answer = await client.get("/login/Alice")
        assert (answer.status_code, answer.headers["location"]) == (302, "/me?x=%C3%A4")
        assert answer.headers["x-extra"] == "1"
        assert (await client.get("/me")).text == "Alice"
        first = client.cookies["session_id"]
        await client.get("/login/Bob")
        assert client.cookies["session_id"] != first
        assert list(backend.stored) == [client.cookies["session_id"]]
        assert (await client.get("/sub/whoami/x")).text == "x Bob"
        assert (await client.get("/logout")).text == "bye"
        assert backend.stored == {}
        assert (await client.get("/me")).text == "nobody"


async def test_an_after_hook_can_append_to_the_headers(old: Any) -> None:
    async with TestClient(old.app) as client:
        answer = await client.get("/me")
        assert (answer.headers["x-me"], answer.headers["x-after"]) == ("1", "1")
        assert (await client.get("/me", headers={"X-Stop": "1"})).headers["x-why"] == "hook"


async def test_the_session_of_an_outer_app(old: Any) -> None:
    session = {"user": "outer"}

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await old.app({**scope, "session": session}, receive, send)

    async with TestClient(outer) as client:
        answer = await client.get("/me")
    assert answer.text == "outer"


async def test_startup_and_shutdown(old: Any) -> None:
    async with TestClient(old.app):
        assert old.app.log == ["open"]
    assert old.app.log == ["open", "close"]


async def test_limits_by_keyword(old: Any) -> None:
    async with TestClient(old.plain) as client:
        answer = await client.post("/form", content=b"name=" + b"x" * 1000, headers=FORM)
        assert answer.status_code == 413


async def test_websockets(old: Any) -> None:
    async with TestClient(old.app) as client:
        for target, room in (("/chat/kitchen", "kitchen"), ("/chat?room=hall", "hall"), ("/routed", "lobby")):
            async with client.websocket(target) as ws:
                await ws.send("hi")
                assert await ws.receive() == f"{room}: hi"
        assert old.app.log == ["open", "closed", "closed", "closed"]
        assert old.finished == ["/chat/kitchen", "/chat", "/routed"]
        async with client.websocket("/chat?token=bad") as ws:
            assert not ws.accepted
        async with client.websocket("/bytes") as ws:
            assert "5f0d0a36-7c1b-4d5e-9f3a-2b8c9d0e1f2a" in ws.response.headers["set-cookie"]
            await ws.send(b"\x00")
            assert await ws.receive() == b"\x00"
            assert [message async for message in ws] == []
            assert (ws.close_code, ws.close_reason) == (1000, "done")
