"""Sessions under concurrency, against a model that one can read.

The last write of each key wins, and a logout wins over all that was begun before it.  A login wins over what came
with the id from before it.  What does not look at its session does nothing to it, and no browser is told twice
of one that it has.  A random
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
from tests.helpers import COOKIES, ID

KEYS = st.sampled_from("abc")
VALUES = st.one_of(st.integers(0, 3), st.lists(st.integers(0, 1), max_size=2))
BROWSERS = st.integers(0, 1)
#: What is in the session of a browser that begins; nothing is the rarest case.
SESSIONS = st.one_of(*[st.dictionaries(KEYS, VALUES, min_size=1)] * 4, st.just({}))
#: Seconds for what takes none: longer is a hang.
LIMIT = 10


class Stored(SessionBackend):
    """A backend whose sessions can be looked at."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}

    def put(self, session_id: str, data: dict[str, Any]) -> None:
        self.stored[session_id] = copy.deepcopy(data)

    def drop(self, session_id: str) -> None:
        self.stored.pop(session_id, None)


class Slow(Stored):
    """A backend as apps write them: two methods, each of which takes its time."""

    async def load(self, session_id: str) -> dict[str, Any]:
        found = copy.deepcopy(self.stored.get(session_id, {}))
        await asyncio.sleep(0)
        return found

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        await asyncio.sleep(0)
        self.stored.pop(session_id, None)
        if data:
            self.stored[session_id] = copy.deepcopy(data)


class Sharing(Stored):
    """A backend that copies nothing: it hands out what it keeps, keeps what it is handed, and changes that in place."""

    async def load(self, session_id: str) -> dict[str, Any]:
        return self.stored.get(session_id, {})

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.stored[session_id] = data
        if not data:
            del self.stored[session_id]

    async def update(self, session_id: str, changed: Any, removed: Any, timeout: int) -> bool:
        if session_id not in self.stored:
            return False
        data = self.stored[session_id]
        data.update(changed)
        for key in removed:
            data.pop(key, None)
        if not data:
            del self.stored[session_id]
        return True


class Memory(InMemorySessionBackend):
    """The backend that an app has by itself."""

    @property
    def stored(self) -> dict[str, dict[str, Any]]:
        return {session_id: data for session_id, (_, data) in self._sessions.items()}

    def put(self, session_id: str, data: dict[str, Any]) -> None:
        self._sessions[session_id] = (float("inf"), copy.deepcopy(data))

    def drop(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)


class Steps:
    """What a handler is told to do, one step after the other, until it is told to end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self.task: asyncio.Task[Any] | None = None

    async def done(self, verb: str, *details: Any) -> None:
        """Have a step done."""
        self._queue.put_nowait((verb, *details))
        async with asyncio.timeout(LIMIT):
            await self._queue.join()

    async def ended(self, verb: str) -> Any:
        """Have the handler end, and return what came of its connection."""
        self._queue.put_nowait((verb,))
        return await self.task

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
            self._queue.task_done()


class Site(App):
    """Handlers that do what they are told."""

    def __init__(self, backend: SessionBackend, **settings: Any) -> None:
        super().__init__(backend, **settings)
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

    def __init__(self, kind: str, browser: int, sent: str) -> None:
        self.kind = kind
        self.browser = browser
        #: The id that the browser has sent, whatever that is good for.
        self.sent = sent
        self.loaded = self.looked = self.regenerates = False
        #: The id under which it is stored, and the one that the browser has.
        self.id: str | None = None
        self.known: str | None = None
        self.before: dict[str, Any] = {}
        self.data: dict[str, Any] = {}

    def load(self, stored: dict[str, dict[str, Any]]) -> None:
        self.loaded = True
        if self.sent in stored:
            self.id = self.known = self.sent
            self.before, self.data = copy.deepcopy(stored[self.sent]), copy.deepcopy(stored[self.sent])


class Races(RuleBasedStateMachine):
    """Browsers whose requests, streams and sockets overlap."""

    backend_class: Any = Memory
    #: Whether the store may wait, so that it is asked when a connection begins rather than when its handler looks.
    waits = False
    connections = Bundle("connections")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.backend = self.backend_class()
        self.app = Site(self.backend, session_id_factory=self.make_id)
        self.numbers = itertools.count()
        self.views: dict[str, View] = {}
        # The model: what is stored, under which id, and which id each browser has.
        self.stored: dict[str, dict[str, Any]] = {}
        self.cookies: list[str | None] = [None, None]
        #: The ids of which a browser was told, and those that are worth nothing since a login.
        self.told: set[str] = set()
        self.moved: set[str] = set()
        #: The ids that the app has made.
        self.made: list[str] = []
        #: What the app's browsers have.
        self.jars: list[str | None] = [None, None]

    def teardown(self) -> None:
        for name in list(self.views):
            self.finish(name, fails=False)
        self.runner.close()

    def make_id(self) -> str:
        self.made.append(f"the-session-number-{len(self.made)}")
        return self.made[-1]

    def run(self, job: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(job)

    # --- what the browsers do -------------------------------------------------------------------------

    @rule(
        target=connections,
        kind=st.sampled_from(("plain", "plain", "stream", "socket")),
        browser=BROWSERS,
        stored=SESSIONS,
        both=st.booleans(),
    )
    def begin(self, kind: str, browser: int, stored: dict[str, Any], both: bool) -> str:
        """A connection; a browser that has no session any more has mostly got one meanwhile, perhaps with the other."""
        if stored and self.cookies[browser] not in self.stored:
            session_id = self.make_id()
            self.stored[session_id] = copy.deepcopy(stored)
            self.backend.put(session_id, stored)
            for owner in {browser, *([0, 1] if both else ())}:
                self.cookies[owner] = self.jars[owner] = session_id
        name = f"n{next(self.numbers)}"
        self.views[name] = view = View(kind, browser, self.cookies[browser] or "")
        if self.waits:
            view.load(self.stored)
        self.app.steps[name] = Steps()
        self.run(self._begin(kind, browser, name))
        return name

    async def _begin(self, kind: str, browser: int, name: str) -> None:
        cookie = [("Cookie", f"session_id={self.jars[browser]}")] if self.jars[browser] else []
        if kind == "socket":
            job = self._socket(name, cookie)
        else:
            job = http(self.app, f"/{kind}/{name}", headers=cookie, alone=False)
        steps = self.app.steps[name]
        steps.task = asyncio.create_task(job)
        await steps.done("begin")

    async def _socket(self, name: str, cookie: Any) -> None:
        async with websocket(self.app, f"/socket/{name}", headers=cookie, leave=False, alone=False) as client:
            await client.next()

    @rule(name=connections, key=KEYS, value=VALUES)
    def set(self, name: str, key: str, value: Any) -> None:
        self.act(name, "set", key, value).data[key] = copy.deepcopy(value)

    @rule(name=connections, key=KEYS)
    def append(self, name: str, key: str) -> None:
        view = self.act(name, "append", key)
        if isinstance(view.data.get(key), list):
            view.data[key].append(7)

    @rule(name=connections, key=KEYS)
    def remove(self, name: str, key: str) -> None:
        self.act(name, "remove", key).data.pop(key, None)

    @rule(name=connections)
    def log_out(self, name: str) -> None:
        self.act(name, "log out").data = {}

    @rule(name=connections)
    def regenerate(self, name: str) -> None:
        if self.views[name].kind == "plain":
            self.act(name, "regenerate").regenerates = True

    @rule(name=connections)
    def save(self, name: str) -> None:
        self.store(self.act(name, "save"))

    @rule(name=consumes(connections), fails=st.booleans())
    def finish(self, name: str, fails: bool) -> None:
        steps, view = self.app.steps.pop(name), self.views.pop(name)
        answer = self.run(steps.ended("fail" if fails else "end"))
        if view.kind == "plain":
            if fails:  # what an unexpected error leaves behind is dropped
                view.data, view.regenerates = copy.deepcopy(view.before), False
            self.store(view, answer.cookies)
        elif view.kind == "socket" or not fails:
            self.store(view)

    @rule(browser=BROWSERS)
    def expire(self, browser: int) -> None:
        """The session of a browser is gone, as after a long night."""
        session_id = self.cookies[browser] or ""
        self.stored.pop(session_id, None)
        self.backend.drop(session_id)

    def act(self, name: str, *step: Any) -> View:
        """Have a step done, which looks at the session."""
        view = self.views[name]
        if not view.loaded:
            view.load(self.stored)
        view.looked = True
        self.run(self.app.steps[name].done(*step))
        return view

    # --- the model ------------------------------------------------------------------------------------

    def store(self, view: View, cookies: list[str] | None = None) -> None:
        """What a save stores, and which cookie comes with it if it is that of an answer."""
        answers = cookies is not None
        told = [cookie.split(";")[0].partition("=")[2] for cookie in cookies or ()]
        if told:
            self.jars[view.browser] = told[-1] or None
        if view.id is None and not answers:
            return  # it is stored with the answer, if at all
        expected = []
        if view.looked:
            ours = self.keep(view)
            if ours and (view.id != view.known or (view.id is not None and view.id not in self.told)):
                expected = [view.id or ""]
            view.before = copy.deepcopy(view.data)
        if answers:
            assert told == expected
            if expected:
                self.cookies[view.browser] = view.known = view.id
                self.told.add(view.id or "")

    def keep(self, view: View) -> bool:
        """What a save stores.

        Returns:
            Whether that is the session of the browser, which can then be told.
        """
        if view.id is None:
            if view.data:
                if view.sent in self.moved and not view.regenerates:
                    return False  # its cookie would take the place of that of the login
                view.id = self.made[-1]
                self.stored[view.id] = copy.deepcopy(view.data)
                if view.regenerates and view.sent:
                    self.moved.add(view.sent)
        elif not view.data:
            self.stored.pop(view.id, None)
            if view.id in self.moved:
                view.known = None
            view.id = None
        elif view.id in self.stored:
            self.merge(view)
        else:
            return False  # somebody has logged it out, and it stays so
        return True

    def merge(self, view: View) -> None:
        stored = self.stored.pop(view.id)
        for key in view.before.keys() - view.data.keys():
            stored.pop(key, None)
        for key, value in view.data.items():
            if view.before.get(key, ...) != value:
                stored[key] = copy.deepcopy(value)
        if view.regenerates:
            self.moved.add(view.id)
            view.id, view.regenerates = self.made[-1], False
        if stored:
            self.stored[view.id] = stored

    @invariant()
    def both_store_the_same(self) -> None:
        assert self.backend.stored == self.stored
        assert self.jars == self.cookies


class SlowRaces(Races):
    """The same with a backend that gives others their turn in the middle of every call."""

    backend_class = Slow
    waits = True


class SharingRaces(Races):
    """The same with a backend that copies nothing."""

    backend_class = Sharing


FEW = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)
TestRaces = Races.TestCase
TestRaces.settings = FEW
TestSlowRaces = SlowRaces.TestCase
TestSlowRaces.settings = FEW
TestSharingRaces = SharingRaces.TestCase
TestSharingRaces.settings = FEW


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
            *(http(app, f"/{route}", headers=COOKIES, alone=False) for route in (one, other))
        )
        assert [answer.status for answer in answers] == [200, 200]
        fresh = [data for data in backend.stored.values() if data not in (NEW.get(one), NEW.get(other))]
        assert len(fresh) <= 1
        assert next(iter(fresh), None) in outcomes, schedule
        if outcomes == [None] or one == "log_in":
            assert ID not in backend.stored
