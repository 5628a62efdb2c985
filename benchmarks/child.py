"""The process of one app: it measures what its standard input asks for, and answers on its standard output.

It is run as a file, so that what is imported is the installed package, and the checkout comes last.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.metadata
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, TextIO

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import scenarios
from benchmarks.clients import HTTPClient, SocketClient
from benchmarks.scenarios import ASGIApp, Message, Scenario

PATIENCE = 20.0  # Seconds for an app to start, and for its first answers: a limit against a hang.
TURN = 32  # After so many operations the event loop has a turn, for what apps leave to it.


class WrongAnswer(Exception):
    """The app did not do what is measured."""


async def messages(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> int:
    """Exchange messages on one WebSocket, and return the CPU time in nanoseconds."""
    client = SocketClient(scenario.message, count, log)
    scope = scenario.scope()
    began = time.thread_time_ns()
    await app(scope, client.receive, client.send)
    ended = time.thread_time_ns()
    if client.answers <= count:
        raise WrongAnswer(f"{client.answers} answers to a handshake and {count} messages")
    return ended - began


async def sessions(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> int:
    """Open, use and close WebSockets one after the other, and return the CPU time in nanoseconds."""
    scopes = [scenario.scope() for _ in range(count)]
    message = scenario.message
    complete = 0
    began = time.thread_time_ns()
    for turn, scope in enumerate(scopes):
        client = SocketClient(message, 1, log)
        await app(scope, client.receive, client.send)
        complete += client.answers >= 2
        if not turn % TURN:
            await asyncio.sleep(0)
    ended = time.thread_time_ns()
    if complete != count:
        raise WrongAnswer(f"{complete} of {count} sessions had an answer")
    return ended - began


async def requests(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> int:
    """Send requests one after the other, and return the CPU time in nanoseconds."""
    scopes = [scenario.scope() for _ in range(count)]
    pieces = scenario.pieces
    complete = 0
    began = time.thread_time_ns()
    for turn, scope in enumerate(scopes):
        client = HTTPClient(pieces, log)
        await app(scope, client.receive, client.send)
        complete += client.complete
        if not turn % TURN:
            await asyncio.sleep(0)
    ended = time.thread_time_ns()
    if complete != count:
        raise WrongAnswer(f"{complete} of {count} requests had a whole answer")
    return ended - began


RUNNERS: dict[str, Callable[..., Awaitable[int]]] = {
    "message": messages,
    "session": sessions,
    "request": requests,
}


async def check(app: ASGIApp, scenario: Scenario) -> None:
    """See that three operations are answered as they must be, before any time is measured."""
    log: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        await RUNNERS[scenario.kind](app, scenario, 3, log)
    if scenario.kind == "request":
        answers: list[str | bytes] = [*bodies(log)]
    else:
        answers = [
            message.get("text") or message.get("bytes") or ""
            for message in log
            if message["type"] == "websocket.send"
        ]
    if len(answers) != 3 or not all(map(scenario.is_answered_by, answers)):
        raise WrongAnswer(f"{scenario.name} was answered {str(answers)[:200]}")


def bodies(log: list[Message]) -> list[bytes]:
    """The bodies of several answers with status 200."""
    found: list[bytes] = []
    for message in log:
        if message["type"] == "http.response.start":
            if message["status"] != 200:
                raise WrongAnswer(f"status {message['status']}")
            found.append(b"")
        elif message["type"] == "http.response.body":
            found[-1] += message.get("body", b"")
    return found


class Subject:
    """The module under test: the app that it has, and those that it makes."""

    def __init__(self, module: str) -> None:
        self._module = importlib.import_module(f"benchmarks.apps.{module}")
        self._started: dict[ASGIApp, tuple[asyncio.Task[None], asyncio.Queue[Message]]] = {}
        self._make = cache(lambda factory, size: getattr(self._module, factory)(size))

    async def app_for(self, scenario: Scenario) -> ASGIApp:
        """The app that a scenario wants, started."""
        app: ASGIApp = self._make(scenario.factory, scenario.size) if scenario.factory else self._module.app
        if app not in self._started:
            self._started[app] = await start(app)
        return app


async def start(app: ASGIApp) -> tuple[asyncio.Task[None], asyncio.Queue[Message]]:
    """Begin an app's lifespan, which never ends, and return what keeps it alive."""
    coming: asyncio.Queue[Message] = asyncio.Queue()
    going: asyncio.Queue[Message] = asyncio.Queue()
    coming.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}

    async def live() -> None:
        try:
            await app(scope, coming.get, going.put)
        except Exception as error:  # an app may have no lifespan
            await going.put({"type": "none", "why": repr(error)})

    task = asyncio.create_task(live())
    async with asyncio.timeout(PATIENCE):
        await going.get()
    return task, coming


async def measure(subject: Subject, scenario: str, size: int | None, count: int) -> int:
    """The CPU time of so many operations, in nanoseconds, with no garbage of others to collect."""
    found = scenarios.find(scenario, size)
    app = await subject.app_for(found)
    gc.collect()
    gc.freeze()
    try:
        return await RUNNERS[found.kind](app, found, count)
    finally:
        gc.unfreeze()


async def verify(subject: Subject, scenario: str, size: int | None) -> None:
    found = scenarios.find(scenario, size)
    await check(await subject.app_for(found), found)


async def obey(orders: TextIO, answers: TextIO, module: str, distribution: str) -> None:
    """Do what each line says, until there is none."""
    subject = Subject(module)
    version = importlib.metadata.version(distribution) if distribution else ""
    print(json.dumps({"result": version}), file=answers, flush=True)
    commands: dict[str, Callable[..., Awaitable[Any]]] = {"measure": measure, "verify": verify}
    # Nothing else has to run meanwhile, and a thread for reading would cost switches: the loop just waits.
    for line in orders:
        order = json.loads(line)
        try:
            answer = {"result": await commands[order.pop("do")](subject, **order)}
        except Exception as error:  # whatever it is, it is the answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    module, distribution, processor = sys.argv[1:]
    os.sched_setaffinity(0, {int(processor)})
    # Standard output is for the answers alone: whatever an app prints goes where errors go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.INFO)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(obey(sys.stdin, answers, module, distribution))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop that uvicorn would choose."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
