"""The process of one app, which it calls as a server would; it is told what to measure.

It is run as a file, so that what is imported is the installed package, and the checkout comes last.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.processes.clients import HTTPClient, IdleClient, SocketClient
from benchmarks.processes.obeying import Command, obey
from benchmarks.scenarios import SCENARIOS, ASGIApp, Message, Scenario, find

PATIENCE = 20.0  # Seconds for an app to start, and for its first answers: a limit against a hang.
TURN = 32  # After so many operations the event loop has a turn, for what apps leave to it.
WARM_UP = 50  # Idle connections before those that are measured.


class WrongAnswer(Exception):
    """The app did not do what is measured."""


async def messages(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> float:
    """Exchange messages on one WebSocket, and return the CPU time of each in nanoseconds."""
    client = SocketClient(scenario.message, count, log)
    scope = scenario.scope()
    began = time.thread_time_ns()
    await app(scope, client.receive, client.send)
    ended = time.thread_time_ns()
    if client.answers <= count:
        raise WrongAnswer(f"{client.answers} answers to a handshake and {count} messages")
    return (ended - began) / count


async def sessions(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> float:
    """Open, use and close WebSockets one after the other, and return the CPU time of each in nanoseconds."""
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
    return (ended - began) / count


async def requests(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> float:
    """Send requests one after the other, and return the CPU time of each in nanoseconds."""
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
    return (ended - began) / count


async def crowds(app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None) -> float:
    """Exchange messages on many open WebSockets, with all in turn, and return the CPU time of each message."""
    times = max(1, count // scenario.size)
    clients, tasks = await open_idle(app, scenario, scenario.size, log)
    began = time.thread_time_ns()
    for _ in range(times):
        for client in clients:
            client.say(scenario.message)
        # All are answered in one turn of the loop, unless an app leaves something to the next.
        while not all(client.is_answered() for client in clients):  # noqa: ASYNC110  # turns are what is counted
            await asyncio.sleep(0)
    ended = time.thread_time_ns()
    await close_idle(clients, tasks)
    return (ended - began) / (times * scenario.size)


async def open_idle(
    app: ASGIApp, scenario: Scenario, count: int, log: list[Message] | None = None
) -> tuple[list[IdleClient], list[asyncio.Task[None]]]:
    """So many accepted WebSockets on which nothing happens."""
    clients = [IdleClient(log) for _ in range(count)]
    tasks = [
        asyncio.create_task(ended(app(scenario.scope(), client.receive, client.send))) for client in clients
    ]
    async with asyncio.timeout(PATIENCE):
        while not all(client.is_waiting() for client in clients):  # noqa: ASYNC110  # no event is as simple
            await asyncio.sleep(0)
    return clients, tasks


async def ended(running: Awaitable[None]) -> None:
    """Let an app end as it likes when its client has left."""
    with suppress(Exception):
        await running


async def close_idle(clients: list[IdleClient], tasks: list[asyncio.Task[None]]) -> None:
    for client in clients:
        client.leave()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)


RUNNERS: dict[str, Callable[..., Awaitable[float]]] = {
    "message": messages,
    "session": sessions,
    "request": requests,
    "crowd": crowds,
}


async def log_in(app: ASGIApp, scenario: Scenario) -> Scenario:
    """The scenario with the visitor's cookie, if it wants one: logging in is no part of what is measured."""
    if not scenario.login:
        return scenario
    log: list[Message] = []
    await requests(app, scenario.before(), 1, log)
    return scenario.for_visitor(log[0]["headers"])


async def check(app: ASGIApp, scenario: Scenario) -> None:
    """See that three operations are answered as they must be, before any time is measured."""
    log: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        await RUNNERS[scenario.kind](app, scenario, 3, log)
    answers: list[str | bytes] = [*bodies(log)]
    answers += [
        message.get("text") or message.get("bytes") or ""
        for message in log
        if message["type"] == "websocket.send"
    ]
    starts = [message["headers"] for message in log if message["type"] == "http.response.start"]
    if not all(map(scenario.has_added, starts)):
        raise WrongAnswer(f"{scenario.name} was answered with {starts[0]}, and without {scenario.adds}")
    wanted = max(3, scenario.size) if scenario.kind == "crowd" else 3
    if len(answers) != wanted or not all(map(scenario.is_answered_by, answers)):
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
        app: ASGIApp | None = (
            self._make(scenario.factory, scenario.size)
            if scenario.factory
            else getattr(self._module, scenario.app, None)
        )
        if app is None:
            raise WrongAnswer(f"{self._module.__name__} has no {scenario.app}")
        if app not in self._started:
            self._started[app] = await start(app)
        return app

    async def verify(self, scenario: str, size: int | None) -> None:
        """See that a scenario is answered right."""
        found = find(scenario, size)
        app = await self.app_for(found)
        await check(app, await log_in(app, found))

    async def measure(self, scenario: str, size: int | None, count: int) -> float:
        """The CPU time of one of so many operations, in nanoseconds, with no garbage of others to collect."""
        found = find(scenario, size)
        app = await self.app_for(found)
        found = await log_in(app, found)
        gc.collect()
        gc.freeze()
        try:
            return await RUNNERS[found.kind](app, found, count)
        finally:
            gc.unfreeze()

    async def memory(self, count: int) -> float:
        """The bytes that Python allocates for an idle WebSocket; the client's own are few."""
        scenario = SCENARIOS["ws_message"]
        app = await self.app_for(scenario)
        await close_idle(*await open_idle(app, scenario, WARM_UP))
        tracemalloc.start()
        try:
            first = await open_idle(app, scenario, WARM_UP)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            more = await open_idle(app, scenario, count)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await close_idle(*first)
        await close_idle(*more)
        return (after - before) / count


async def start(app: ASGIApp) -> tuple[asyncio.Task[None], asyncio.Queue[Message]]:
    """Begin an app's lifespan, which never ends, and return what keeps it alive."""
    coming: asyncio.Queue[Message] = asyncio.Queue()
    going: asyncio.Queue[Message] = asyncio.Queue()
    coming.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}

    async def live() -> None:
        try:
            await app(scope, coming.get, going.put)
        except Exception as error:  # An app may have no lifespan.
            await going.put({"type": "none", "why": repr(error)})

    task = asyncio.create_task(live())
    async with asyncio.timeout(PATIENCE):
        await going.get()
    return task, coming


def main() -> None:
    module, processor = sys.argv[1:]
    logging.disable(logging.INFO)
    subject = Subject(module)
    commands: dict[str, Command] = {
        "verify": subject.verify,
        "measure": subject.measure,
        "memory": subject.memory,
    }
    obey(commands, int(processor))


if __name__ == "__main__":
    main()
