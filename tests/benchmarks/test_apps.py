"""Each framework's app does what is measured, and a wrong answer is never timed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks.frameworks import MICROPIE, PEERS, RAW, Framework
from benchmarks.options import processors
from benchmarks.processes.children import Child, Failed, holding
from benchmarks.processes.driver import WrongAnswer, check
from benchmarks.scenarios import GROWTH, SCENARIOS, ASGIApp, Message

GROWING = {"raw", "micropie", "starlette", "blacksheep"}


@pytest.fixture(scope="module", params=[RAW, MICROPIE, *PEERS], ids=lambda framework: framework.name)
def app(request: pytest.FixtureRequest) -> Iterator[tuple[Framework, Child]]:
    framework: Framework = request.param
    if find_spec(framework.distribution or "json") is None and not os.environ.get("CI"):
        pytest.skip(f"{framework.name} is not installed: it comes with the dependency group `bench`")
    with holding([framework], processors()[0]) as children:
        yield framework, children[framework.name]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_is_answered_right_and_measured(app: tuple[Framework, Child], scenario: str) -> None:
    framework, child = app
    if SCENARIOS[scenario].app == framework.lacks:
        with pytest.raises(Failed, match=f"has no {framework.lacks}"):
            child.ask("verify", scenario=scenario, size=None)
        return
    child.ask("verify", scenario=scenario, size=None)
    assert child.ask("measure", scenario=scenario, size=None, count=40) > 0


@pytest.mark.parametrize("growing", GROWTH)
def test_what_grows_is_answered_right(app: tuple[Framework, Child], growing: str) -> None:
    framework, child = app
    if framework.name not in GROWING:
        pytest.skip("is not measured there")
    sizes = GROWTH[growing][2]
    for size in (sizes[0], sizes[-1]):
        child.ask("verify", scenario=growing, size=size)


async def answer(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def wrong_status(scope: Message, receive: Any, send: Any) -> None:
    await answer(send, 500, b"Hello, World!")


async def wrong_text(scope: Message, receive: Any, send: Any) -> None:
    await answer(send, 200, b"Hello, world!")


async def right_text(scope: Message, receive: Any, send: Any) -> None:
    await answer(send, 200, b"Hello Alice1")


async def half_an_answer(scope: Message, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def wrong_echo(scope: Message, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "y" * 32})


async def no_echo(scope: Message, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize(
    ("app", "scenario", "why"),
    [
        (wrong_status, "http_text", "status 500"),
        (wrong_text, "http_text", "Hello, world!"),
        (right_text, "http_hook", "without .*x-request-id"),
        (half_an_answer, "http_text", "0 of 3"),
        (wrong_echo, "ws_message", "yyy"),
        (no_echo, "ws_message", "1 answers to a handshake and 3 messages"),
        (no_echo, "ws_session", "0 of 3"),
    ],
)
async def test_a_wrong_answer_is_an_error(app: ASGIApp, scenario: str, why: str) -> None:
    with pytest.raises(WrongAnswer, match=why):
        await check(app, SCENARIOS[scenario])


def test_an_app_that_cannot_start_says_why() -> None:
    missing = Framework("missing", "no_such_app", "json")
    with pytest.raises(Failed, match="no_such_app"), holding([missing], processors()[0]):
        pass
