"""The judge itself on trial: apps and programs that are broken on purpose, each of which it has to report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from micropie import App, Request, current_request
from micropie.connection.streams import Stream
from micropie.sessions import visit
from micropie.sessions.view import SessionView

from . import http_programs, ws_programs
from .http_programs import Exchange
from .source import Seeded
from .test_programs import hold
from .trial import SECRET, Hook, Setting, Step, quiet
from .virtual import VirtualLoop
from .ws_programs import Program

Patch = Callable[[pytest.MonkeyPatch], object]


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    with quiet([]):  # what is broken also leaves things for the garbage collector to complain of
        yield loop
    loop.close()


# --- apps that are broken by hand -----------------------------------------------------------------------


class WebSocketSite(ws_programs.Site):
    """Answers in the place of the framework."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.broken(receive, send)

    async def broken(self, receive: Any, send: Any) -> None:
        raise NotImplementedError


ACCEPT = {"type": "websocket.accept", "headers": []}
CLOSE = {"type": "websocket.close", "code": 1000, "reason": ""}
MESSAGE = {"type": "websocket.send", "text": "x"}
REFUSAL = {"type": "websocket.http.response.start", "status": 500, "headers": []}
PAGE = {"type": "websocket.http.response.body", "body": SECRET.encode()}


async def raises(receive: Any, send: Any) -> None:
    raise ValueError(SECRET)


async def cancels_itself(receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def spins(receive: Any, send: Any) -> None:
    for _ in iter(int, 1):
        await asyncio.sleep(0)


async def waits(receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def dawdles(receive: Any, send: Any) -> None:
    await asyncio.sleep(30)


async def leaves_a_task(receive: Any, send: Any) -> None:
    asyncio.create_task(asyncio.sleep(1))  # noqa: RUF006  # nobody waits for it


async def receives_twice(receive: Any, send: Any) -> None:
    await asyncio.wait([asyncio.create_task(receive()), asyncio.create_task(receive())])


async def swallows(receive: Any, send: Any) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0.01)


def sends(*messages: dict[str, Any]) -> Callable[..., Any]:
    async def app(receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


@pytest.mark.parametrize(
    ("broken", "report"),
    [
        (sends(ACCEPT, ACCEPT, CLOSE), "accept out of turn"),
        (sends(ACCEPT, CLOSE, CLOSE), "close out of turn"),
        (sends(MESSAGE), "a message out of turn"),
        (sends(ACCEPT, CLOSE, MESSAGE), "a message out of turn"),
        (sends(ACCEPT, {**MESSAGE, "bytes": b"x"}), "exactly one of text and bytes"),
        (sends(ACCEPT, {**CLOSE, "code": 1005}), "a code that must not be sent"),
        (sends(ACCEPT, {**CLOSE, "reason": "\u2603" * 42}), "the reason is too long"),
        (sends({**ACCEPT, "headers": [(b"X-A", b"")]}), "header names are tokens in lower case"),
        (sends({**ACCEPT, "headers": [(b"x-a", b"a\nb")]}), "header values have no control characters"),
        (sends(REFUSAL, PAGE), "the client could read an error's text"),
        (sends(REFUSAL), "left in the state 'refusing'"),
        (sends(ACCEPT), "left in the state 'open'"),
        (sends(), "left in the state 'waiting'"),
        (raises, "the app raised ValueError"),
        (cancels_itself, "nobody outside had asked for"),
        (spins, "a hang: it spins"),
        (waits, "a hang: it waits for what never comes"),
        (dawdles, "it took 30.0 s"),
        (leaves_a_task, "a task is left: sleep"),
        (receives_twice, "two receive() at once"),
    ],
)
def test_a_broken_websocket_app_is_reported(loop: VirtualLoop, broken: Any, report: str) -> None:
    site = type("Broken", (WebSocketSite,), {"broken": staticmethod(broken)})
    problems = ws_programs.Stage(loop, site).problems(Program(leave=(1, "1001")))
    assert any(report in problem for problem in problems), problems


def test_a_swallowed_cancellation_is_reported(loop: VirtualLoop) -> None:
    site = type("Broken", (WebSocketSite,), {"broken": staticmethod(swallows)})
    problems = ws_programs.Stage(loop, site).problems(Program(setting=Setting(cancels=(3,))))
    assert problems == ["the app swallowed a cancellation"]


class HttpSite(http_programs.Site):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.broken(receive, send)

    async def broken(self, receive: Any, send: Any) -> None:
        raise NotImplementedError


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}


@pytest.mark.parametrize(
    ("broken", "report"),
    [
        (sends(START, START, BODY), "a second start"),
        (sends(START, BODY, BODY), "a body that is not between start and end"),
        (sends(BODY), "a body that is not between start and end"),
        (sends({**START, "status": "200"}, BODY), "a status is an int from 200 to 599"),
        (sends({**START, "headers": [(b"content-length", b"2")]}, BODY), "than Content-Length says"),
        (sends({**START, "status": 204}, BODY), "a body where there is none"),
        (sends(START), "left in the state 'started'"),
        (sends(), "left in the state 'waiting'"),
        (sends(START, {**BODY, "body": SECRET.encode()}), "the client could read an error's text"),
        (raises, "the app raised ValueError"),
    ],
)
def test_a_broken_http_app_is_reported(loop: VirtualLoop, broken: Any, report: str) -> None:
    site = type("Broken", (HttpSite,), {"broken": staticmethod(broken)})
    problems = http_programs.Stage(loop, site).problems(Exchange())
    assert any(report in problem for problem in problems), problems


# --- a framework that is broken by hand, in one place each ----------------------------------------------


def skips_after_hooks(patch: pytest.MonkeyPatch) -> None:
    async def none(self: Any, request: Any) -> None:
        pass

    patch.setattr(ws_programs.Middleware, "after_websocket", none)


def repeats_after_hooks(patch: pytest.MonkeyPatch) -> None:
    once = ws_programs.Middleware.after_websocket

    async def twice(self: Any, request: Any) -> None:
        await once(self, request)
        await once(self, request)

    patch.setattr(ws_programs.Middleware, "after_websocket", twice)


def saves_twice(patch: pytest.MonkeyPatch) -> None:
    once = SessionView._update

    async def update(self: SessionView, *arguments: Any) -> bool:
        await once(self, *arguments)
        return await once(self, *arguments)

    patch.setattr(SessionView, "_update", update)


def never_saves(patch: pytest.MonkeyPatch) -> None:
    async def save(self: SessionView, **options: Any) -> None:
        pass

    patch.setattr(SessionView, "save", save)


def saves_unlooked(patch: pytest.MonkeyPatch) -> None:
    save = SessionView.save

    async def looks_and_saves(self: SessionView, **options: Any) -> str | None:
        self.looked = True
        return await save(self, **options)

    patch.setattr(SessionView, "save", looks_and_saves)


def loads_unlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(visit, "load_waits", lambda backend: True)


def tells_errors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(App, "debug", property(lambda self: True, lambda self, value: None))


def closes_no_socket(patch: pytest.MonkeyPatch) -> None:
    handle = App.__call__

    async def call(self: App, scope: Any, receive: Any, send: Any) -> None:
        async def lose(message: dict[str, Any]) -> None:
            if message["type"] != "websocket.close":
                await send(message)

        await handle(self, scope, receive, lose)

    patch.setattr(App, "__call__", call)


def counts_sockets_for_ever(patch: pytest.MonkeyPatch) -> None:
    class Keeping(set[Any]):
        def discard(self, item: object) -> None:
            pass

    made = App.__init__

    def init(self: App, *arguments: Any, **settings: Any) -> None:
        made(self, *arguments, **settings)
        self._micropie.open_websockets = Keeping()

    patch.setattr(App, "__init__", init)


def never_resets(patch: pytest.MonkeyPatch) -> None:
    stale: Any = object()
    handle = App.__call__

    async def call(self: App, scope: Any, receive: Any, send: Any) -> None:
        await handle(self, scope, receive, send)
        current_request.set(stale)

    patch.setattr(App, "__call__", call)


def leaves_streams_open(patch: pytest.MonkeyPatch) -> None:
    async def aclose(self: Stream) -> None:
        pass

    patch.setattr(Stream, "aclose", aclose)


def cuts_bodies(patch: pytest.MonkeyPatch) -> None:
    whole = Request.body

    async def body(self: Request) -> bytes:
        return (await whole(self))[:-1]

    patch.setattr(Request, "body", body)


WEBSOCKET, HTTP = "websocket", "http"


@pytest.mark.parametrize(
    ("patch", "kind", "report"),
    [
        (skips_after_hooks, WEBSOCKET, "before hooks passed in [0], after hooks ran in []"),
        (repeats_after_hooks, WEBSOCKET, "before hooks passed in [0], after hooks ran in [0, 0]"),
        (saves_twice, WEBSOCKET, "the session was written 2 times"),
        (never_saves, WEBSOCKET, "the session was written 0 times"),
        (loads_unlooked, WEBSOCKET, "a session was loaded at which nobody had looked"),
        (closes_no_socket, WEBSOCKET, "left in the state 'open'"),
        (counts_sockets_for_ever, WEBSOCKET, "the app still counts a WebSocket as open"),
        (never_resets, WEBSOCKET, "current_request is not reset"),
        (saves_twice, HTTP, "the session was written 2 times"),
        (never_saves, HTTP, "the session was written 0 times"),
        (saves_unlooked, HTTP, "a session was written at which nobody had looked"),
        (loads_unlooked, HTTP, "a session was loaded at which nobody had looked"),
        (tells_errors, HTTP, "the client could read an error's text"),
        (leaves_streams_open, HTTP, "a generator's finally has not run"),
        (cuts_bodies, HTTP, "body() gave"),
    ],
)
def test_random_programs_find_what_is_broken(
    loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch, patch: Patch, kind: str, report: str
) -> None:
    patch(monkeypatch)
    module: Any = {WEBSOCKET: ws_programs, HTTP: http_programs}[kind]
    stage = module.Stage(loop)
    found = (problem for seed in range(5_000) for problem in stage.problems(module.generate(Seeded(seed))))
    assert any(report in problem for problem in found)


class Judge:
    """A stage that only looks at the program."""

    def __init__(self, is_bad: Callable[[Exchange], bool]) -> None:
        self._is_bad = is_bad

    def problems(self, program: Exchange) -> list[str]:
        return ["it is bad"] if self._is_bad(program) else []


def test_a_failure_shows_the_smallest_program() -> None:
    """Hypothesis shrinks; the program that was found first is told as well."""
    judge = Judge(lambda program: len(program.setting.hooks) > 1)
    with pytest.raises(AssertionError, match="it is bad") as failed:
        hold(judge, http_programs.generate, 1_000)
    notes = "\n".join(failed.value.__notes__)
    assert "hooks=(Hook(), Hook())" in notes.replace(repr(Hook()), "Hook()")
    assert "It was looked for since the program of seed" in notes


def test_a_failure_that_hypothesis_does_not_find_is_one() -> None:
    first = http_programs.generate(Seeded(0))
    with pytest.raises(pytest.fail.Exception, match=r"seed 0 has \['it is bad'\], and Hypothesis finds no"):
        hold(Judge(lambda program: program == first), http_programs.generate, 10)


# --- the programs themselves ----------------------------------------------------------------------------


def test_a_printed_program_can_be_run_again() -> None:
    for module in (ws_programs, http_programs):
        for seed in range(200):
            program = module.generate(Seeded(seed))
            names = {"Program": Program, "Exchange": Exchange, "Step": Step, "Setting": Setting, "Hook": Hook}
            assert eval(repr(program), names) == program
