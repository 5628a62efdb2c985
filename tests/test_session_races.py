"""Sessions under concurrency, against a model that one can read.

The last write of each key wins, and a logout wins over all that was begun before it.  A random
history of requests, streams and sockets that overlap is played by the app and by the model.  Whatever the order, both
have to store the same and tell each browser the same.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from micropie import App, InMemorySessionBackend, SessionBackend, WebSocket
from tests.driver import http, websocket

KEYS = st.sampled_from("abc")
VALUES = st.one_of(st.integers(0, 3), st.lists(st.integers(0, 1), max_size=2))
ID = "a-session-that-both-know"
COOKIE = [("Cookie", f"session_id={ID}")]


class Slow(SessionBackend):
    """A backend as apps write them: two methods, each of which takes its time."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}

    async def load(self, session_id: str) -> dict[str, Any]:
        found = copy.deepcopy(self.stored.get(session_id, {}))
        await asyncio.sleep(0)
        return found

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        await asyncio.sleep(0)
        self.stored.pop(session_id, None)
        if data:
            self.stored[session_id] = copy.deepcopy(data)


class Memory(InMemorySessionBackend):
    """The backend that an app has by itself."""

    @property
    def stored(self) -> dict[str, dict[str, Any]]:
        return {session_id: data for session_id, (_, data) in self._sessions.items()}

    def drop(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)


class Steps:
    """What a handler is told to do, one step after the other, until it is told to end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.task: asyncio.Task[Any] | None = None

    def tell(self, verb: str, *details: Any) -> None:
        self._queue.put_nowait((verb, *details))

    async def follow(self, request: Any) -> None:
        while True:
            verb, *details = await self._queue.get()
            match verb:
                case "set":
                    request.session[details[0]] = copy.deepcopy(details[1])
                case "append" if isinstance(request.session.get(details[0]), list):
                    request.session[details[0]].append(7)
                case "remove":
                    request.session.pop(details[0], None)
                case "log out":
                    request.session = {}
                case "regenerate":
                    request.regenerate_session()
                case "save":
                    await request.save_session()
                case "fail":
                    raise ArithmeticError
                case "end":
                    return


class Site(App):
    """Handlers that do what they are told."""

    def __init__(self, backend: SessionBackend) -> None:
        super().__init__(backend)
        self.steps: dict[str, Steps] = {}

    async def plain(self, name: str) -> str:
        await self.steps[name].follow(self.request)
        return "ok"

    async def stream(self, name: str) -> AsyncIterator[str]:
        yield "begun"
        await self.steps[name].follow(self.request)

    async def ws_socket(self, ws: WebSocket, name: str) -> None:
        await ws.accept()
        await self.steps[name].follow(self.request)


class View:
    """The model of one connection: what it loaded, and what it has made of it."""

    def __init__(self, kind: str, browser: int, session_id: str | None, data: dict[str, Any]) -> None:
        self.kind = kind
        self.browser = browser
        self.id = session_id
        self.before = copy.deepcopy(data)
        self.data = copy.deepcopy(data)
        self.regenerates = False
        # A stream and a socket have told the browser all they can before their first step.
        self.sealed = kind != "plain"


class Races(RuleBasedStateMachine):
    """Browsers whose requests, streams and sockets overlap."""

    backend_class: Any = Memory
    connections = Bundle("connections")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.app = Site(self.backend_class())
        self.numbers = itertools.count()
        self.views: dict[str, View] = {}
        # The model: what is stored, under which id, and which id each browser has.
        self.stored: dict[str, dict[str, Any]] = {}
        self.cookies: dict[int, str | None] = {0: None, 1: None}
        #: What the app's browsers have; ids are random, so the model learns them from there.
        self.jars: dict[int, str | None] = {0: None, 1: None}

    def teardown(self) -> None:
        for name in list(self.views):
            self.finish(name, fails=False)
        self.runner.close()

    def run(self, job: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(job)

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    # --- what the browsers do -------------------------------------------------------------------------

    @rule(target=connections, kind=st.sampled_from(("plain", "stream", "socket")), browser=st.integers(0, 1))
    def begin(self, kind: str, browser: int) -> str:
        name = f"n{next(self.numbers)}"
        session_id = self.cookies[browser]
        data = self.stored.get(session_id or "", {})
        self.views[name] = View(kind, browser, session_id if data else None, data)
        self.app.steps[name] = Steps()
        self.run(self._begin(kind, browser, name))
        return name

    async def _begin(self, kind: str, browser: int, name: str) -> None:
        cookie = [("Cookie", f"session_id={self.jars[browser]}")] if self.jars[browser] else []
        if kind == "socket":
            job = self._socket(name, cookie)
        else:
            job = http(self.app, f"/{kind}/{name}", headers=cookie, alone=False)
        self.app.steps[name].task = asyncio.create_task(job)
        await self.settle()

    async def _socket(self, name: str, cookie: Any) -> None:
        async with websocket(self.app, f"/socket/{name}", headers=cookie, leave=False, alone=False) as client:
            await client.next()

    @rule(name=connections, key=KEYS, value=VALUES)
    def set(self, name: str, key: str, value: Any) -> None:
        self.act(name, "set", key, value)
        self.views[name].data[key] = copy.deepcopy(value)

    @rule(name=connections, key=KEYS)
    def append(self, name: str, key: str) -> None:
        self.act(name, "append", key)
        if isinstance(self.views[name].data.get(key), list):
            self.views[name].data[key].append(7)

    @rule(name=connections, key=KEYS)
    def remove(self, name: str, key: str) -> None:
        self.act(name, "remove", key)
        self.views[name].data.pop(key, None)

    @rule(name=connections)
    def log_out(self, name: str) -> None:
        self.act(name, "log out")
        self.views[name].data = {}

    @rule(name=connections)
    def regenerate(self, name: str) -> None:
        if self.views[name].kind == "plain":
            self.act(name, "regenerate")
            self.views[name].regenerates = True

    @rule(name=connections)
    def save(self, name: str) -> None:
        self.act(name, "save")
        self.store(self.views[name], answers=False)

    @rule(name=consumes(connections), fails=st.booleans())
    def finish(self, name: str, fails: bool) -> None:
        steps, view = self.app.steps.pop(name), self.views.pop(name)
        steps.tell("fail" if fails else "end")
        answer = self.run(self._wait(steps.task))
        if view.kind == "plain":
            if fails:  # what an unexpected error leaves behind is dropped
                view.data, view.regenerates = copy.deepcopy(view.before), False
            self.store(view, answers=True, cookies=answer.cookies)
        elif view.kind == "socket" or not fails:
            self.store(view, answers=False)

    async def _wait(self, task: Any) -> Any:
        result = await task
        await self.settle()
        return result

    @rule(browser=st.integers(0, 1))
    def expire(self, browser: int) -> None:
        """The session of a browser is gone, as after a long night."""
        session_id = self.cookies[browser]
        self.stored.pop(session_id or "", None)
        backend: Any = self.app.session_backend
        backend.drop(session_id) if isinstance(backend, Memory) else backend.stored.pop(session_id, None)

    def act(self, name: str, *step: Any) -> None:
        self.app.steps[name].tell(*step)
        self.run(self.settle())

    # --- the model ------------------------------------------------------------------------------------

    def store(self, view: View, *, answers: bool, cookies: list[str] = []) -> None:  # noqa: B006  # read only
        told = [cookie.split(";")[0].removeprefix("session_id=") for cookie in cookies]
        if told:
            self.jars[view.browser] = told[-1] or None
        if view.id is None:
            if view.data and answers:
                [new_id] = told  # the app chose it
                self.stored[new_id] = copy.deepcopy(view.data)
                self.cookies[view.browser] = new_id
        elif not view.data:
            self.stored.pop(view.id, None)
            view.id = None
            if answers:
                assert told == [""]
                self.cookies[view.browser] = None
        elif view.id in self.stored:
            self.merge(view, told, answers=answers)
        else:
            assert told == []  # somebody has logged it out, and it stays so
        view.before = copy.deepcopy(view.data)

    def merge(self, view: View, told: list[str], *, answers: bool) -> None:
        assert view.id is not None
        stored = self.stored.pop(view.id)
        for key in view.before.keys() - view.data.keys():
            stored.pop(key, None)
        stored.update(
            {
                key: copy.deepcopy(value)
                for key, value in view.data.items()
                if view.before.get(key, ...) != value
            }
        )
        if answers and view.regenerates:
            [fresh] = told
            assert fresh not in (view.id, "")
            view.id = fresh
        self.stored[view.id] = stored
        if answers:
            assert told == [view.id]
            self.cookies[view.browser] = view.id

    @invariant()
    def both_store_the_same(self) -> None:
        backend: Any = self.app.session_backend
        assert backend.stored == self.stored
        assert self.jars == self.cookies


class SlowRaces(Races):
    """The same with a backend that gives others their turn in the middle of every call."""

    backend_class = Slow


FEW = settings(max_examples=150, stateful_step_count=25, deadline=None, derandomize=True)
TestRaces = Races.TestCase
TestRaces.settings = FEW
TestSlowRaces = SlowRaces.TestCase
TestSlowRaces.settings = FEW


# --- two at the same moment -----------------------------------------------------------------------------


class Gated(Slow):
    """Waits before every access until the schedule says whose turn it is."""

    def __init__(self, schedule: Iterator[int]) -> None:
        super().__init__()
        self._schedule = schedule
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self.gated = False

    async def load(self, session_id: str) -> dict[str, Any]:
        await self._turn()
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        await self._turn()
        await super().save(session_id, data, timeout)

    async def _turn(self) -> None:
        if self.gated:
            future = self._waiting[len(self._waiting)] = asyncio.get_running_loop().create_future()
            await future

    async def play(self, *jobs: Coroutine[Any, Any, Any]) -> list[Any]:
        """Run jobs, of which only one at a time may access the store."""
        self.gated = True
        tasks = [asyncio.create_task(job) for job in jobs]
        while not all(task.done() for task in tasks):
            for _ in range(10):  # until everybody waits
                await asyncio.sleep(0)
            waiting = [future for future in self._waiting.values() if not future.done()]
            if waiting:
                waiting[next(self._schedule) % len(waiting)].set_result(None)
        self.gated = False
        return [task.result() for task in tasks]


class Pair(App):
    """One action a route, each of which takes its time between reading and writing."""

    async def write(self, key: str) -> str:
        self.request.session[key] = [*self.request.session.get(key, ()), "new"]
        return ""

    async def remove(self, key: str) -> str:
        self.request.session.pop(key, None)
        return ""

    async def log_out(self) -> str:
        self.request.session = {}
        return ""

    async def log_in(self) -> str:
        self.request.session["user"] = "u"
        self.request.regenerate_session()
        return ""


START = {"a": ["old"], "b": ["old"], "c": 1}
LOGGED_IN = START | {"user": "u"}
#: What those begin whose session was over before they came.
NEW = {"write/a": {"a": ["new"]}, "log_in": {"user": "u"}}


@pytest.mark.parametrize(
    ("one", "other", "outcomes"),
    [
        ("write/a", "write/b", [{"a": ["old", "new"], "b": ["old", "new"], "c": 1}]),
        ("write/a", "remove/b", [{"a": ["old", "new"], "c": 1}]),
        ("remove/a", "remove/b", [{"c": 1}]),
        ("remove/a", "remove/a", [{"b": ["old"], "c": 1}]),
        ("write/a", "log_out", [None]),
        ("remove/a", "log_out", [None]),
        ("log_out", "log_out", [None]),
        # The id that both came with is dead afterwards, so that what comes too late, to write or to log out, does
        # not reach the one who has just logged in.
        ("log_in", "log_out", [None, LOGGED_IN]),
        ("log_in", "write/a", [LOGGED_IN, LOGGED_IN | {"a": ["old", "new"]}]),
        ("log_in", "log_in", [LOGGED_IN]),
    ],
)
async def test_two_at_the_same_moment(one: str, other: str, outcomes: list[Any]) -> None:
    for schedule in itertools.product((0, 1), repeat=7):
        backend = Gated(itertools.chain(schedule, itertools.cycle((0, 1))))
        backend.stored[ID] = copy.deepcopy(START)
        app = Pair(backend)
        answers = await backend.play(
            *(http(app, f"/{route}", headers=COOKIE, alone=False) for route in (one, other))
        )
        assert [answer.status for answer in answers] == [200, 200]
        fresh = [data for data in backend.stored.values() if data not in (NEW.get(one), NEW.get(other))]
        assert len(fresh) <= 1
        assert next(iter(fresh), None) in outcomes, schedule
        if outcomes == [None] or one == "log_in":
            assert ID not in backend.stored
