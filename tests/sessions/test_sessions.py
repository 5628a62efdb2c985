"""Sessions: what is stored, when, under which id; and that nobody's write undoes another's."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    SessionBackend,
    WebSocket,
    WebSocketMiddleware,
)
from micropie.sessions import backends, view
from tests.driver import Answer, Client, handshake, http, websocket
from tests.helpers import COOKIES, ID

SECRET = "the secret that no client may see"
OTHER_ID = "another-session-of-the-same-app"


class Clock:
    """Stands for the module ``time``; it moves when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (backends, view):
        monkeypatch.setattr(module, "time", clock)
    return clock


class Recorded(InMemorySessionBackend):
    """Notes what it is asked to write."""

    def __init__(self, **stored: Any) -> None:
        super().__init__()
        self.writes: list[Any] = []
        if stored:
            self._sessions[ID] = (float("inf"), stored)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.writes.append(("save", session_id, dict(data)))
        await super().save(session_id, data, timeout)

    async def update(self, session_id: str, changed: Any, removed: Any, timeout: int) -> None:
        self.writes.append(("update", session_id, dict(changed), set(removed)))
        await super().update(session_id, changed, removed, timeout)


class Plain(SessionBackend):
    """What an app's own backend looks like: load and save, each of which takes its time."""

    def __init__(self, **stored: Any) -> None:
        self.stored: dict[str, dict[str, Any]] = {ID: stored} if stored else {}

    async def load(self, session_id: str) -> dict[str, Any]:
        found = dict(self.stored.get(session_id, {}))
        await asyncio.sleep(0)
        return found

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        await asyncio.sleep(0)
        self.stored[session_id] = dict(data)
        if not data:
            del self.stored[session_id]


class Sharing(Plain):
    """A backend that copies nothing, and changes what it keeps in place."""

    async def load(self, session_id: str) -> dict[str, Any]:
        return self.stored.get(session_id, {})

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.stored[session_id] = data
        if not data:
            del self.stored[session_id]

    async def update(self, session_id: str, changed: Any, removed: Any, timeout: int) -> bool:
        if session_id not in self.stored:
            return False
        self.stored[session_id].update(changed)
        return True


class Site(App):
    """Handlers that do to the session what the test says, and wait for it where it says so."""

    def __init__(self, backend: SessionBackend | None = None, act: Any = None, **settings: Any) -> None:
        super().__init__(backend, **settings)
        self.act: Callable[[Any], Any] = act or (lambda request: None)
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()

    async def index(self) -> str:
        return str(self.act(self.request))

    async def look(self) -> Any:
        return {"session": self.request.session}

    async def put(self, name: str, value: str) -> str:
        self.request.session[name] = value
        return "stored"

    async def logout(self) -> str:
        self.request.session = {}
        return "logged out"

    async def slow(self, name: str, value: str) -> str:
        assert self.request.session
        self.waiting.set()
        await self.go_on.wait()
        self.request.session[name] = value
        return "stored"

    async def raises(self) -> str:
        self.act(self.request)
        raise ValueError(SECRET)

    async def refuses(self) -> str:
        self.act(self.request)
        raise HTTPError(409)

    async def stream(self) -> AsyncIterator[str]:
        self.request.session["before"] = 1
        yield "chunk"
        self.request.session["during"] = 2

    async def saves(self) -> str:
        self.act(self.request)
        await self.request.save_session()
        self.waiting.set()
        await self.go_on.wait()
        return "done"

    async def saves_and_raises(self) -> str:
        await self.saves()
        raise ValueError(SECRET)

    async def ws_before(self, ws: WebSocket) -> None:
        self.act(self.request)
        await ws.accept()
        await ws.send_json(ws.session_id)

    async def ws_after(self, ws: WebSocket) -> None:
        await ws.accept()
        self.act(self.request)
        await ws.receive()

    async def ws_saves(self, ws: WebSocket) -> None:
        await ws.accept()
        async for key in ws:
            self.request.session[str(key)] = 1
            await self.request.save_session()
            await ws.send("saved")

    async def ws_adopts(self, ws: WebSocket, session_id: str = OTHER_ID) -> None:
        session = self.request.session
        self.act(self.request)
        await ws.accept(session_id=session_id)
        await ws.send_json([ws.session_id, session])
        session["after"] = 1

    async def ws_appends(self, ws: WebSocket, session_id: str) -> None:
        self.act(self.request)
        await ws.accept(session_id=session_id)
        self.request.session["list"].append(2)
        await ws.send_json(self.request.session["list"])
        await ws.receive()

    async def ws_looks_and_writes_later(self, ws: WebSocket) -> None:
        assert self.request.session == {}
        await ws.accept()
        self.act(self.request)

    async def ws_raises(self, ws: WebSocket) -> None:
        await ws.accept()
        self.act(self.request)
        raise ValueError(SECRET)


def put(name: str, value: Any) -> Callable[[Any], None]:
    return lambda request: request.session.__setitem__(name, value)


def logout(request: Any) -> None:
    request.session = {}


def new_id(answer: Answer) -> str:
    [cookie] = answer.cookies
    found = re.match("session_id=([^;]*);", cookie)
    assert found
    return found[1]


def ws_cookies(client: Client) -> list[str]:
    return [value.decode() for name, value in client.sent[0].get("headers", ()) if name == b"set-cookie"]


async def look(app: App, session_id: str = ID) -> Any:
    return await app.session_backend.load(session_id)


# --- what is written ------------------------------------------------------------------------------------


def deeply(request: Any) -> None:
    request.session["deep"]["list"][0]["n"] = True


@pytest.mark.parametrize(
    ("act", "changed", "removed"),
    [
        (lambda request: request.session["n"], {}, set()),
        (put("n", 1), {}, set()),
        (put("n", 2), {"n": 2}, set()),
        (put("n", True), {"n": True}, set()),
        (put("n", 1.0), {"n": 1.0}, set()),
        (put("new", None), {"new": None}, set()),
        (put("text", "text"), {}, set()),
        (put("pair", (1, 2)), {}, set()),
        (put("pair", [1, 2]), {"pair": [1, 2]}, set()),
        (put("pair", (1, True)), {"pair": (1, True)}, set()),
        (put("list", [1, 2]), {}, set()),
        (lambda request: request.session["list"].append(3), {"list": [1, 2, 3]}, set()),
        (deeply, {"deep": {"list": [{"n": True}]}}, set()),
        (lambda request: request.session["set"].add(2), {"set": {1, 2}}, set()),
        (lambda request: request.session.pop("n"), {}, {"n"}),
        (lambda request: request.session.update(n=3, new=4), {"n": 3, "new": 4}, set()),
        (
            lambda request: setattr(request, "session", {"n": 1, "new": 2}),
            {"new": 2},
            {"text", "pair", "list", "deep", "set"},
        ),
    ],
)
async def test_only_what_has_changed_is_written(act: Any, changed: dict[str, Any], removed: set[str]) -> None:
    backend = Recorded(n=1, text="text", pair=(1, 2), list=[1, 2], deep={"list": [{"n": 1}]}, set={1})
    before = await backend.load(ID)
    answer = await http(Site(backend, act), "/", headers=COOKIES)
    update, *rest = backend.writes
    assert update == ("update", ID, changed, removed)
    assert [type(value) for value in update[2].values()] == [type(value) for value in changed.values()]
    assert [write[0] for write in rest] == ["save"]
    kept = {key: value for key, value in before.items() if key not in removed}
    assert await backend.load(ID) == {**kept, **changed}
    assert new_id(answer) == ID


async def test_a_session_that_nobody_uses_is_neither_stored_nor_announced() -> None:
    backend = Recorded()
    for act in (lambda request: None, lambda request: request.session, logout):
        answer = await http(Site(backend, act), "/")
        assert answer.cookies == []
    assert backend.writes == []


async def test_a_new_session_gets_an_id_that_cannot_be_guessed() -> None:
    app, ids = Site(act=put("n", 1)), set()
    for _ in range(5):
        random.seed(0)  # what comes of a generator with a known state is known too
        ids.add(new_id(await http(app, "/")))
    assert len(ids) == 5
    assert all(re.fullmatch("[A-Za-z0-9_-]{43}", session_id) for session_id in ids)
    assert [await look(app, session_id) for session_id in ids] == [{"n": 1}] * 5


@pytest.mark.parametrize(("others", "found"), [(0, True), (1, True), (4, True), (5, False), (1000, False)])
async def test_a_few_cookies_of_the_name_are_looked_up(others: int, found: bool) -> None:
    """Those of the longest paths come first, and another site of the domain may have planted any number."""
    loads: list[str] = []

    class Counting(Recorded):
        async def load(self, session_id: str) -> dict[str, Any]:
            loads.append(session_id)
            return await super().load(session_id)

    cookies = [f"session_id=planted-by-somebody-{number}" for number in range(others)]
    headers = [("Cookie", "; ".join([*cookies, f"session_id={ID}"]))]
    answer = await http(Site(Counting(user="alice")), "/look", headers=headers)
    assert answer.json == {"session": {"user": "alice"} if found else {}}
    assert [session_id for session_id in loads if session_id != ID] == [
        cookie.partition("=")[2] for cookie in cookies[:5]
    ]


async def test_the_first_cookie_that_is_known_counts() -> None:
    app = Site(Recorded(user="alice"))
    await app.session_backend.save(OTHER_ID, {"user": "bob"}, 60)
    headers = [("Cookie", f"session_id={ID}; session_id={OTHER_ID}")]
    assert (await http(app, "/look", headers=headers)).json == {"session": {"user": "alice"}}


async def test_an_id_that_the_backend_does_not_know_is_never_adopted() -> None:
    app = Site(act=put("n", 1))
    answer = await http(app, "/", headers=COOKIES)
    assert new_id(answer) != ID
    assert await look(app) == {}
    assert await look(app, new_id(answer)) == {"n": 1}


@pytest.mark.parametrize("act", [logout, lambda request: request.session.clear()])
async def test_a_logout_deletes_the_session_and_its_cookie(act: Any) -> None:
    app = Site(Recorded(user="alice"), act)
    [cookie] = (await http(app, "/", headers=COOKIES)).cookies
    assert cookie == "session_id=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"
    assert await look(app) == {}


async def test_what_is_stored_belongs_to_the_backend() -> None:
    backend, data = InMemorySessionBackend(), {"list": [1]}
    await backend.save(ID, data, 60)
    data["list"].append(2)
    (await backend.load(ID))["list"].append(3)
    assert await backend.load(ID) == {"list": [1]}


async def test_what_the_handler_gets_is_its_own() -> None:
    app = Site(Recorded(list=[1]), lambda request: request.session["list"].append(2))
    data = await look(app)
    await http(app, "/", headers=COOKIES)
    data["list"].append(3)
    assert await look(app) == {"list": [1, 2]}


# --- ids ------------------------------------------------------------------------------------------------


def log_in(request: Any) -> None:
    request.regenerate_session()
    request.session["user"] = "alice"


@pytest.mark.parametrize("stored", [{}, {"cart": [1]}])
async def test_a_login_moves_the_session_to_a_fresh_id(stored: dict[str, Any]) -> None:
    app = Site(Recorded(**stored), log_in)
    fresh = new_id(await http(app, "/", headers=COOKIES))
    assert fresh != ID
    assert await look(app) == {}
    assert await look(app, fresh) == {**stored, "user": "alice"}


async def test_a_fresh_id_alone() -> None:
    """A session of which the client was told a moment ago gets a fresh id too if nothing else changes."""
    app = Site(Recorded(user="alice"), act=lambda request: request.session)
    await http(app, "/", headers=COOKIES)
    app.act = lambda request: request.regenerate_session()
    answer = await http(app, "/", headers=COOKIES)
    assert await look(app) == {}
    assert await look(app, new_id(answer)) == {"user": "alice"}


async def test_nothing_is_regenerated_for_an_empty_session() -> None:
    answer = await http(Site(act=lambda request: request.regenerate_session()), "/")
    assert answer.cookies == []


async def test_a_logout_wins_over_a_fresh_id() -> None:
    def both(request: Any) -> None:
        request.regenerate_session()
        request.session = {}

    app = Site(Recorded(user="alice"), both)
    assert new_id(await http(app, "/", headers=COOKIES)) == ""
    assert await look(app) == {}


async def test_a_fresh_id_never_revives_a_session_that_was_logged_out_meanwhile() -> None:
    backend = Recorded(user="alice")

    def log_in_late(request: Any) -> None:
        log_in(request)
        backend._sessions.clear()

    answer = await http(Site(backend, log_in_late), "/", headers=COOKIES)
    assert answer.cookies == []
    assert backend._sessions == {}


@pytest.mark.parametrize("method", ["rename", "update", "save"])
async def test_a_login_that_cannot_be_stored_is_none_under_the_old_id(method: str) -> None:
    """Who planted the old id waits for just that."""
    backend = Failing(method, cart=[1])
    answer = await http(Site(backend, log_in), "/", headers=COOKIES)
    assert (answer.status, answer.cookies) == (500, [])
    assert not any("user" in data for _, data in backend._sessions.values())


async def test_a_login_that_is_cancelled_is_none_under_the_old_id() -> None:
    """At each step of the backend the server may give up."""
    for steps in range(12):
        app = Site(Plain(cart=[1]), log_in)
        task = asyncio.create_task(http(app, "/", headers=COOKIES))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert "user" not in await look(app), steps
    assert not task.cancelled()


@pytest.mark.parametrize("target", ["/saves", "/saves_and_raises"])
async def test_a_login_that_is_saved_early_has_a_fresh_id_from_then_on(target: str) -> None:
    app = Site(Recorded(cart=[1]), log_in)
    task = asyncio.create_task(http(app, target, headers=COOKIES))
    await app.waiting.wait()
    assert await look(app) == {}
    app.go_on.set()
    fresh = new_id(await task)
    assert await look(app, fresh) == {"cart": [1], "user": "alice"}


async def test_a_login_has_one_fresh_id_however_often_it_is_saved() -> None:
    made: list[str] = []

    def make_id() -> str:
        made.append(f"a-session-of-number-{len(made)}")
        return made[-1]

    class Saves(App):
        async def index(self) -> str:
            log_in(self.request)
            await self.request.save_session()
            await self.request.save_session()
            return ""

    app = Saves(Recorded(cart=[1]), session_id_factory=make_id)
    assert [new_id(await http(app, "/", headers=COOKIES))] == made


async def test_a_stream_that_has_begun_gets_no_fresh_id(caplog: pytest.LogCaptureFixture) -> None:
    class Streams(App):
        async def index(self) -> AsyncIterator[str]:
            yield "chunk"
            log_in(self.request)

    app = Streams(Recorded(cart=[1]))
    answer = await http(app, "/", headers=COOKIES)
    assert not answer.complete
    assert "a session gets a new id only with an HTTP answer, before that begins" in caplog.text
    assert await look(app) == {"cart": [1]}


async def test_a_stream_goes_on_with_the_session_that_was_moved() -> None:
    class Streams(App):
        async def index(self) -> AsyncIterator[str]:
            session = self.request.session
            self.request.regenerate_session()
            session["before"] = 1
            yield "chunk"
            session["during"] = 2

    app = Streams(Recorded(user="alice"))
    fresh = new_id(await http(app, "/", headers=COOKIES))
    assert await look(app, fresh) == {"user": "alice", "before": 1, "during": 2}


async def test_an_app_can_make_and_check_its_own_ids() -> None:
    ids = iter(["id-1", "id-2"])
    app = Site(
        act=put("n", 1),
        session_id_factory=lambda: next(ids),
        session_id_validator=lambda value: value if value.startswith("id-") else None,
    )
    assert new_id(await http(app, "/")) == "id-1"
    assert (await http(app, "/", headers=[("Cookie", "session_id=id-1")])).cookies == []  # the browser has it
    assert new_id(await http(app, "/", headers=[("Cookie", "session_id=other")])) == "id-2"


async def test_without_a_validator_every_id_is_looked_up() -> None:
    backend = Plain()
    backend.stored["x"] = {"n": 1}
    app = Site(backend, session_id_validator=None)
    assert (await http(app, "/look", headers=[("Cookie", "session_id=x")])).json == {"session": {"n": 1}}
    assert (await http(app, "/look", headers=[("Cookie", "session_id=")])).json == {"session": {}}


async def test_a_factory_that_its_own_validator_refuses_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    app = Site(act=put("n", 1), session_id_factory=lambda: "x")
    assert (await http(app, "/")).status == 500
    assert "session_id_factory makes ids that session_id_validator does not let pass" in caplog.text


# --- time -----------------------------------------------------------------------------------------------


async def test_a_session_expires_when_it_is_not_used(clock: Clock) -> None:
    app = Site(act=put("n", 1), session_timeout=60)
    cookie = [("Cookie", f"session_id={new_id(await http(app, '/'))}")]
    for _ in range(5):
        clock.now += 59
        answer = await http(app, "/look", headers=cookie)
        assert answer.json == {"session": {"n": 1}}
        assert "Max-Age=60" in answer.cookies[0]
    clock.now += 60
    answer = await http(app, "/look", headers=cookie)
    assert answer.json == {"session": {}}
    assert answer.cookies == []


async def test_expired_sessions_are_forgotten(clock: Clock) -> None:
    backend = InMemorySessionBackend()
    for number in range(3):
        await backend.save(str(number), {"n": number}, 60)
        clock.now += 30
    assert list(backend._sessions) == ["1", "2"]
    clock.now += 60
    await backend.save("3", {}, 60)
    assert backend._sessions == {}


async def test_a_session_that_lives_long_keeps_no_other_from_being_forgotten(clock: Clock) -> None:
    backend = InMemorySessionBackend()
    await backend.save("long", {"n": 1}, 1000)
    for number in range(10):
        await backend.save(str(number), {"n": number}, 60)
    await backend.save("9", {"n": 9}, 600)
    clock.now += 60
    await backend.save("another", {}, 60)
    assert list(backend._sessions) == ["long", "9"]


async def test_sessions_that_are_renewed_or_deleted_leave_nothing_behind(clock: Clock) -> None:
    backend = InMemorySessionBackend()
    for number in range(5000):
        clock.now += 1
        await backend.save("kept", {"n": number}, 8 * 3600)
        await backend.save(f"id {number}", {"n": number}, 8 * 3600)
        await backend.delete(f"id {number}")
        assert len(backend._deadlines) < 110
    assert backend._sessions == {"kept": (clock.now + 8 * 3600, {"n": 4999})}


# --- at the same time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [Recorded, Plain, Sharing])
async def test_overlapping_requests_merge_their_changes(backend: Any) -> None:
    app = Site(backend(n="old", user="alice"))
    slow = asyncio.create_task(http(app, "/slow/slow/1", headers=COOKIES))
    await app.waiting.wait()
    await http(app, "/put/n/new", headers=COOKIES)
    app.go_on.set()
    await slow
    assert await look(app) == {"n": "new", "user": "alice", "slow": "1"}


async def test_two_that_write_at_the_same_moment_both_count() -> None:
    app = Site(Plain(user="alice"))
    await asyncio.gather(*(http(app, f"/put/{name}/1", headers=COOKIES) for name in "abc"))
    assert await look(app) == {"user": "alice", "a": "1", "b": "1", "c": "1"}


@pytest.mark.parametrize("backend", [Recorded, Plain, Sharing])
async def test_a_slower_request_never_revives_a_session(backend: Any) -> None:
    app = Site(backend(user="alice"))
    slow = asyncio.create_task(http(app, "/slow/n/1", headers=COOKIES))
    await app.waiting.wait()
    await http(app, "/logout", headers=COOKIES)
    app.go_on.set()
    assert (await slow).status == 200
    assert await look(app) == {}


async def test_a_logout_at_the_same_moment_as_a_write_wins() -> None:
    for targets in (("/logout", "/put/n/1"), ("/put/n/1", "/logout")):
        app = Site(Plain(user="alice"))
        await asyncio.gather(*(http(app, target, headers=COOKIES) for target in targets))
        assert await look(app) == {}


@pytest.mark.parametrize("backend", [Recorded, Plain, Sharing])
async def test_a_socket_that_was_open_for_long_never_revives_a_session(backend: Any) -> None:
    app = Site(backend(user="alice"), put("n", 1))
    for target in ("/after", "/saves"):
        async with websocket(app, target, headers=COOKIES) as client:
            await client.next()
            await http(app, "/logout", headers=COOKIES)
            client.send("key")
        assert await look(app) == {}
        assert client.close in ((1000, ""), None)


async def test_a_socket_never_rolls_back_what_was_written_meanwhile() -> None:
    app = Site(Recorded(n="old", user="alice"), put("socket", 1))
    async with websocket(app, "/after", headers=COOKIES) as client:
        await client.next()
        await http(app, "/put/n/new", headers=COOKIES)
    assert await look(app) == {"n": "new", "user": "alice", "socket": 1}


async def test_locks_are_not_kept() -> None:
    app = Site(Plain(user="alice"), put("n", 1))
    await http(app, "/", headers=COOKIES)
    assert len(app.session_backend._locks) == 0


# --- when it is written ---------------------------------------------------------------------------------


async def test_an_unexpected_error_drops_what_was_not_saved() -> None:
    app = Site(Recorded(list=[1]), lambda request: request.session["list"].append(2))
    assert (await http(app, "/raises", headers=COOKIES)).status == 500
    assert await look(app) == {"list": [1]}
    assert (await http(app, "/refuses", headers=COOKIES)).status == 409
    assert await look(app) == {"list": [1, 2]}


async def test_an_unexpected_error_drops_the_wish_for_a_fresh_id() -> None:
    app = Site(Recorded(cart=[1]), log_in)
    assert new_id(await http(app, "/raises", headers=COOKIES)) == ID
    assert await look(app) == {"cart": [1]}


async def test_after_the_answer_it_is_too_late_for_a_fresh_id() -> None:
    kept: list[Any] = []
    app = Site(Recorded(cart=[1]), lambda request: kept.append(request))
    await http(app, "/", headers=COOKIES)
    with pytest.raises(RuntimeError, match="before that begins"):
        kept[0].regenerate_session()


async def test_an_error_drops_a_new_session() -> None:
    app = Site(act=put("n", 1))
    assert (await http(app, "/raises")).cookies == []
    assert new_id(await http(app, "/refuses"))


async def test_a_session_can_be_saved_before_a_long_wait() -> None:
    app = Site(Recorded(user="alice"), put("n", 1))
    task = asyncio.create_task(http(app, "/saves", headers=COOKIES))
    await app.waiting.wait()
    assert await look(app) == {"user": "alice", "n": 1}
    app.go_on.set()
    await task
    assert await look(app) == {"user": "alice", "n": 1}


async def test_a_new_session_is_stored_with_the_answer() -> None:
    app = Site(Recorded(), put("n", 1))
    task = asyncio.create_task(http(app, "/saves"))
    await app.waiting.wait()
    assert app.session_backend.writes == []
    app.go_on.set()
    assert await look(app, new_id(await task)) == {"n": 1}


async def test_a_stream_is_saved_before_its_start_and_at_its_end() -> None:
    app = Site(Recorded(user="alice"))
    seen: list[Any] = []

    def note(message: dict[str, Any]) -> None:
        seen.append(sorted(app.session_backend._sessions[ID][1]))

    await http(app, "/stream", headers=COOKIES, on_send=note)
    assert seen[0] == ["before", "user"]
    assert seen[-1] == ["before", "during", "user"]


async def test_a_session_that_a_stream_has_begun_is_the_backends_own_from_then_on() -> None:
    class Streams(App):
        async def index(self) -> AsyncIterator[str]:
            self.request.session.update(n="stream", other="stream")
            yield "chunk"
            [session_id] = backend.stored
            await backend.update(session_id, {"n": "newer"}, (), 60)
            self.request.session["end"] = 1

    backend = Sharing()
    await http(Streams(backend), "/")
    assert [*backend.stored.values()] == [{"n": "newer", "other": "stream", "end": 1}]


async def test_a_stream_whose_client_leaves_is_saved_too() -> None:
    class Streams(App):
        async def index(self) -> AsyncIterator[str]:
            self.request.session["n"] = 1
            yield "chunk"
            self.request.session["n"] = 2
            await asyncio.Event().wait()

    app, leave = Streams(Recorded(user="alice")), asyncio.Event()
    await http(app, "/", headers=COOKIES, leave=leave, on_send=lambda message: leave.set())
    assert await look(app) == {"user": "alice", "n": 2}


async def test_a_hooks_changes_are_stored() -> None:
    class Hook(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.session["before"] = 1

        async def after_request(self, request: Any, *arguments: Any) -> None:
            request.session["after"] = 2

    app = Site(Recorded(user="alice"))
    app.middlewares.append(Hook())
    await http(app, "/look", headers=COOKIES)
    assert await look(app) == {"user": "alice", "before": 1, "after": 2}


# --- backends that fail ---------------------------------------------------------------------------------


class Failing(Recorded):
    def __init__(self, method: str, **stored: Any) -> None:
        super().__init__(**stored)

        async def fail(*arguments: Any) -> Any:
            raise OSError(SECRET)

        setattr(self, method, fail)


@pytest.mark.parametrize(
    ("method", "stored", "act"),
    [
        ("save", {}, put("n", 1)),
        ("save", {"n": 1}, put("n", 2)),
        ("save", {"n": 1}, log_in),
        ("update", {"n": 1}, put("n", 2)),
        ("delete", {"n": 1}, logout),
        ("rename", {"n": 1}, log_in),
    ],
)
async def test_a_backend_that_fails_is_a_500_and_tells_nothing(
    method: str, stored: dict[str, Any], act: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await http(Site(Failing(method, **stored), act), "/", headers=COOKIES)
    assert (answer.status, answer.text, answer.cookies) == (500, "500 Internal Server Error", [])
    assert answer.complete
    assert SECRET in caplog.text


async def test_a_value_that_cannot_be_copied_is_a_500() -> None:
    answer = await http(Site(act=put("n", (n for n in "generator"))), "/")
    assert (answer.status, answer.cookies) == (500, [])


@pytest.mark.parametrize(
    ("method", "target", "refusal", "close"),
    [
        ("load", "/before", 503, None),
        ("update", "/before", 500, None),
        ("delete", "/before", None, (1000, "")),
    ],
)
async def test_a_backend_that_fails_refuses_a_handshake(
    method: str, target: str, refusal: int | None, close: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = await handshake(Site(Failing(method, n=1), put("n", 2)), target, headers=COOKIES)
    assert (client.refusal, client.close) == (refusal, close)
    assert SECRET.encode() not in client.refusal_body
    assert (SECRET in caplog.text) is (refusal is not None)


async def test_a_save_that_fails_at_the_end_of_a_socket_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    backend = Recorded(user="alice")
    app = Site(backend, put("n", 1))
    async with websocket(app, "/after", headers=COOKIES) as client:
        await client.next()
        backend.update = Failing("update").update
    assert SECRET in caplog.text
    assert client.messages == []


async def test_a_failed_save_at_the_end_of_a_stream_leaves_it_without_an_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend = Recorded(user="alice")

    def fail_from_now_on(message: dict[str, Any]) -> None:
        backend.update = Failing("update").update

    answer = await http(Site(backend), "/stream", headers=COOKIES, on_send=fail_from_now_on)
    assert (answer.body, answer.complete) == (b"chunk", False)
    assert SECRET in caplog.text


# --- WebSockets -----------------------------------------------------------------------------------------


async def test_what_is_written_before_accept_is_stored_with_its_cookie() -> None:
    app = Site(act=put("n", 1))
    client = await handshake(app, "/before")
    [cookie] = ws_cookies(client)
    [text] = client.messages
    session_id = str(text).strip('"')
    assert cookie.startswith(f"session_id={session_id}; ")
    assert await look(app, session_id) == {"n": 1}


async def test_a_session_in_use_is_renewed_by_a_socket() -> None:
    app = Site(Recorded(user="alice"), lambda request: request.session)
    client = await handshake(app, "/before", headers=COOKIES)
    assert client.messages == [f'"{ID}"']
    assert ws_cookies(client)[0].startswith(f"session_id={ID}; Path=/; Max-Age=28800;")


async def test_a_logout_before_accept_takes_the_cookie_away() -> None:
    app = Site(Recorded(user="alice"), logout)
    client = await handshake(app, "/before", headers=COOKIES)
    assert client.messages == ["null"]
    assert "Max-Age=0" in ws_cookies(client)[0]
    assert await look(app) == {}


async def test_a_socket_without_a_session_sets_no_cookie() -> None:
    assert ws_cookies(await handshake(Site(), "/before")) == []


@pytest.mark.parametrize("target", ["/after", "/looks_and_writes_later"])
async def test_what_is_written_first_after_accept_is_not_stored_and_warned_of(
    target: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Recorded()
    async with websocket(Site(backend, put("n", 1)), target):
        pass
    assert backend.writes == []
    [line] = caplog.messages
    assert line == (
        f"the session for {target} is not stored: one can begin only before accept(), with its cookie"
    )


async def test_a_socket_saves_when_it_is_told_to() -> None:
    app = Site(Recorded(user="alice"))
    async with websocket(app, "/saves", headers=COOKIES) as client:
        await client.next()
        for key in "ab":
            client.send(key)
            assert await client.text() == "saved"
            assert (await look(app))[key] == 1


async def test_what_a_socket_has_saved_is_not_written_again() -> None:
    app = Site(Recorded(user="alice"))
    async with websocket(app, "/saves", headers=COOKIES) as client:
        await client.next()
        client.send("a")
        await client.next()
        await http(app, "/put/a/newer", headers=COOKIES)
        client.send("b")
        await client.next()
    assert await look(app) == {"user": "alice", "a": "newer", "b": 1}


@pytest.mark.parametrize("target", ["/after", "/raises"])
async def test_a_socket_saves_at_its_end(target: str) -> None:
    app = Site(Recorded(user="alice"), put("n", 1))
    async with websocket(app, target, headers=COOKIES):
        pass
    assert await look(app) == {"user": "alice", "n": 1}


async def test_a_socket_saves_when_the_server_cancels() -> None:
    app = Site(Recorded(user="alice"), put("n", 1))

    async def session() -> None:
        async with websocket(app, "/after", headers=COOKIES, leave=False) as client:
            await client.next()
            app.waiting.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(session())
    await app.waiting.wait()
    task.cancel()
    await asyncio.wait([task])
    assert await look(app) == {"user": "alice", "n": 1}


@pytest.mark.parametrize("known", [True, False])
async def test_an_app_can_choose_the_session_of_a_socket(known: bool) -> None:
    app = Site(Recorded(user="alice"), put("before", 1))
    if known:
        await app.session_backend.save(OTHER_ID, {"kept": 1}, 60)
    client = await handshake(app, "/adopts")
    kept = {"kept": 1} if known else {}
    assert client.accepted
    assert ws_cookies(client)[0].startswith(f"session_id={OTHER_ID}; ")
    assert await look(app, OTHER_ID) == {**kept, "before": 1, "after": 1}
    assert await look(app) == {"user": "alice"}


async def test_the_cookie_of_a_chosen_session_is_always_sent() -> None:
    client = await handshake(Site(), "/adopts")
    assert ws_cookies(client)[0].startswith(f"session_id={OTHER_ID}; ")


async def test_a_chosen_session_can_be_the_one_that_the_client_has() -> None:
    app = Site(Recorded(user="alice"))
    client = await handshake(app, f"/adopts/{ID}", headers=COOKIES)
    assert ws_cookies(client)[0].startswith(f"session_id={ID}; ")
    assert await look(app) == {"user": "alice", "after": 1}


@pytest.mark.parametrize("act", [lambda request: None, lambda request: request.session["cart"]])
async def test_a_chosen_session_gets_nothing_of_the_one_before(act: Any) -> None:
    app = Site(Recorded(user="alice", cart=[1]), act)
    await app.session_backend.save(OTHER_ID, {"user": "bob"}, 60)
    client = await handshake(app, "/adopts", headers=COOKIES)
    assert client.messages == [f'["{OTHER_ID}",{{"user":"bob"}}]']
    assert await look(app, OTHER_ID) == {"user": "bob", "after": 1}
    assert await look(app) == {"user": "alice", "cart": [1]}


async def test_a_chosen_session_is_a_copy_of_what_the_backend_keeps() -> None:
    backend = Sharing()
    backend.stored[OTHER_ID] = {"list": [1]}
    async with websocket(Site(backend, put("before", 1)), f"/appends/{OTHER_ID}") as client:
        await client.next()
        assert await client.text() == "[1,2]"
        assert backend.stored[OTHER_ID] == {"list": [1], "before": 1}
    assert backend.stored[OTHER_ID] == {"list": [1, 2], "before": 1}


async def test_a_chosen_session_that_holds_nothing_by_accept_does_not_begin_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Site(Recorded())
    client = await handshake(app, "/adopts")
    assert client.accepted
    assert app.session_backend.writes == []
    assert "is not stored: one can begin only before accept()" in caplog.text


@pytest.mark.parametrize("session_id", ["short", "?session_id="])
async def test_a_chosen_id_has_to_be_one(session_id: str, caplog: pytest.LogCaptureFixture) -> None:
    client = await handshake(Site(), "/adopts" + ("" if session_id[0] == "?" else "/") + session_id)
    assert client.refusal == 500
    assert "session_id is not one that session_id_validator lets pass" in caplog.text


# --- apps around and inside -----------------------------------------------------------------------------


class Outer(HttpMiddleware, WebSocketMiddleware):
    """Has another app answer instead."""

    def __init__(self, app: App, path: str) -> None:
        self._chosen = (app, path)

    async def before_request(self, request: Any) -> None:
        request._subapp, request._subapp_path = self._chosen

    async def before_websocket(self, request: Any) -> None:
        request._subapp, request._subapp_path = self._chosen


async def test_a_login_in_a_chosen_app_moves_the_session_of_both() -> None:
    outer, inner = Site(Recorded(cart=[1])), Site(act=log_in)
    outer.middlewares.append(Outer(inner, "/"))
    answer = await http(outer, "/", headers=COOKIES)
    assert await look(outer) == {}
    assert await look(outer, new_id(answer)) == {"cart": [1], "user": "alice"}
    assert inner.session_backend._sessions == {}


@pytest.mark.parametrize("stored", [{}, {"user": "alice"}])
async def test_the_session_of_another_framework_around_is_used_in_place(stored: dict[str, Any]) -> None:
    """As Starlette's SessionMiddleware hands it on, and stores it when the answer begins."""
    around, backend = dict(stored), Recorded(user="bob")
    answer = await http(Site(backend, put("n", 1)), "/", headers=COOKIES, session=around)
    assert around == {**stored, "n": 1}
    client = await handshake(Site(backend, put("socket", 1)), "/before", headers=COOKIES, session=around)
    assert around == {**stored, "n": 1, "socket": 1}
    assert answer.cookies == ws_cookies(client) == []
    await http(Site(backend, logout), "/", headers=COOKIES, session=around)
    assert around == {}
    assert backend.writes == []


async def test_the_session_of_another_framework_gets_no_id_here(caplog: pytest.LogCaptureFixture) -> None:
    around: dict[str, Any] = {"user": "alice"}
    app = Site(act=log_in)
    assert (await http(app, "/", session=around)).status == 500
    assert "only that can give it a new id" in caplog.text
    assert (await handshake(Site(), "/adopts", session=around)).refusal == 500
    assert "so it cannot get another id here" in caplog.text
