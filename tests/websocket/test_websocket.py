"""The WebSocket that a handler sees: its methods, and what each says to misuse."""

from __future__ import annotations

import asyncio
import inspect
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest

from micropie import App, ConnectionClosed, InMemorySessionBackend, WebSocket
from tests.driver import LIMIT, Client, handshake, http, websocket

Job = Callable[[WebSocket], Coroutine[Any, Any, Any]]


class Site(App):
    """Runs the test's own function as the handler."""

    def __init__(self, job: Job, **settings: Any) -> None:
        super().__init__(**settings)
        self.job = job

    async def ws_index(self, ws: WebSocket) -> None:
        await self.job(ws)


def accepted(job: Job) -> Site:
    async def after_accept(ws: WebSocket) -> None:
        await ws.accept()
        await job(ws)

    return Site(after_accept)


# --- misuse ---------------------------------------------------------------------------------------------

FIRST = "await ws.accept() first"
OVER = "the handshake was refused or the WebSocket is closed already"


async def iterated(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def held(ws: WebSocket) -> None:
    async with ws.until_closed():
        await asyncio.Event().wait()


def asked(call: Callable[[WebSocket], object]) -> Job:
    async def job(ws: WebSocket) -> None:
        call(ws)

    return job


NO_BODY = [
    (job, RuntimeError, "a WebSocket has no body: its messages come by receive()")
    for job in (
        lambda ws: ws.body(),
        asked(lambda ws: ws.json()),
        asked(lambda ws: ws.get_json),
        asked(lambda ws: ws.form("name")),
        asked(lambda ws: ws.body_params),
        asked(lambda ws: ws.files),
    )
]


@pytest.mark.parametrize(
    ("job", "error", "words"),
    [
        *NO_BODY,
        (lambda ws: ws.receive(), RuntimeError, FIRST),
        (lambda ws: ws.receive_text(), RuntimeError, FIRST),
        (lambda ws: ws.receive_bytes(), RuntimeError, FIRST),
        (lambda ws: ws.receive_json(), RuntimeError, FIRST),
        (iterated, RuntimeError, FIRST),
        (held, RuntimeError, FIRST),
        (lambda ws: ws.send("x"), RuntimeError, FIRST),
        (lambda ws: ws.send_text("x"), RuntimeError, FIRST),
        (lambda ws: ws.send_bytes(b"x"), RuntimeError, FIRST),
        (lambda ws: ws.send_json({}), RuntimeError, FIRST),
        (lambda ws: ws.accept("chat.v3"), ValueError, "'chat.v3'; it offered chat.v1, chat.v2"),
        (lambda ws: ws.accept(7), TypeError, "a subprotocol is a str, not int"),
        (lambda ws: ws.accept(session_id="x"), ValueError, "session_id_validator"),
        (lambda ws: ws.accept(max_message_size=0), ValueError, "a positive number of bytes, not 0"),
        (lambda ws: ws.accept(max_message_size=-1), ValueError, "a positive number of bytes, not -1"),
        (lambda ws: ws.accept(max_message_size="1"), TypeError, "a number of bytes, not '1'"),
        (lambda ws: ws.accept(max_message_size=True), TypeError, "a number of bytes, not True"),
        (lambda ws: ws.accept(headers=[("X", "a\nb")]), ValueError, "control characters"),
        (lambda ws: ws.accept(headers={"a b": ""}), ValueError, "not a header name"),
        (lambda ws: ws.accept(headers=[("Upgrade", "x")]), ValueError, "the server sends upgrade itself"),
        (lambda ws: ws.accept(headers=[("Connection", "x")]), ValueError, "sends connection itself"),
        (
            lambda ws: ws.accept(headers=[("Sec-WebSocket-Protocol", "chat.v1")]),
            ValueError,
            "a subprotocol is an argument of accept()",
        ),
        (lambda ws: ws.reject(99), ValueError, "99 isn't a status from 200 to 599"),
        (lambda ws: ws.reject(101), ValueError, "101 isn't a status"),
        (lambda ws: ws.reject("403"), ValueError, "'403' isn't a status"),
        (lambda ws: ws.reject(403, object()), TypeError, "returned object"),
        (lambda ws: ws.reject(403, iter("ab")), TypeError, "cannot be a stream"),
        (lambda ws: ws.reject(403, "", [("X", "a\nb")]), ValueError, "control characters"),
        (lambda ws: ws.close(1005), ValueError, "1005 must not be sent; use 1000 to 1003"),
        (lambda ws: ws.close(1000, 7), TypeError, "a reason is a str, not 7"),
        (lambda ws: ws.run(), ValueError, "run() needs at least one coroutine"),
    ],
)
async def test_misuse_before_accept_is_told_at_once_and_changes_nothing(
    job: Job, error: type[Exception], words: str
) -> None:
    async def misuse(ws: WebSocket) -> None:
        with pytest.raises(error) as raised:
            await job(ws)
        assert words in str(raised.value)
        told = "".join(traceback.format_exception(raised.value))
        assert "During handling" not in told  # nothing of ours, which would say nothing to a reader
        assert (ws.accepted, ws.closed, ws.close_code, ws.close_reason) == (False, False, None, "")
        await ws.accept()
        await ws.send("well")

    client = await handshake(Site(misuse), subprotocols=["chat.v1", "chat.v2"])
    assert client.messages == ["well"]


@pytest.mark.parametrize(
    ("job", "error", "words"),
    [
        *NO_BODY,
        (asked(lambda ws: ws.set_cookie("a", "1")), RuntimeError, "it is too late for a cookie"),
        (asked(lambda ws: ws.delete_cookie("a")), RuntimeError, "it is too late for a cookie"),
        (
            asked(lambda ws: ws.regenerate_session()),
            RuntimeError,
            "a session gets a new id only with an HTTP answer",
        ),
        (lambda ws: ws.accept(), RuntimeError, "the WebSocket is already accepted"),
        (lambda ws: ws.reject(), RuntimeError, "the WebSocket is already accepted"),
        (lambda ws: ws.send(None), TypeError, "NoneType"),
        (lambda ws: ws.send({"a": 1}), TypeError, "dict"),
        (lambda ws: ws.send_text(b"x"), TypeError, "a text message is a str, not bytes"),
        (lambda ws: ws.send_bytes("x"), TypeError, "a binary message is bytes, not str"),
        (lambda ws: ws.send_bytes([1]), TypeError, "a binary message is bytes, not list"),
        (lambda ws: ws.send("\ud800"), ValueError, "surrogates"),
        (lambda ws: ws.send_json("\ud800"), ValueError, "surrogates"),
        (lambda ws: ws.send_json(object()), TypeError, "not JSON serializable"),
        *(
            (lambda ws, code=code: ws.close(code), ValueError, f"{code} must not be sent")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, -1)
        ),
        (lambda ws: ws.close("1000"), TypeError, "a close code is an int, not '1000'"),
        (lambda ws: ws.close(1000.0), TypeError, "a close code is an int, not 1000.0"),
        (lambda ws: ws.close(True), TypeError, "a close code is an int, not True"),
        (lambda ws: ws.close(None), TypeError, "a close code is an int, not None"),
        (lambda ws: ws.close(1000, b"x"), TypeError, "a reason is a str, not b'x'"),
        (lambda ws: ws.close(1000, "\ud800"), ValueError, "surrogates"),
        (lambda ws: ws.run(), ValueError, "run() needs at least one coroutine"),
    ],
)
async def test_misuse_after_accept_is_told_at_once_and_changes_nothing(
    job: Job, error: type[Exception], words: str
) -> None:
    async def misuse(ws: WebSocket) -> None:
        with pytest.raises(error) as raised:
            await job(ws)
        assert words in str(raised.value)
        assert (ws.accepted, ws.closed, ws.close_code, ws.close_reason) == (True, False, None, "")
        await ws.send("well")

    client = await handshake(accepted(misuse))
    assert client.messages == ["well"]
    assert client.close == (1000, "")


ENDS: list[Job] = [
    lambda ws: ws.receive(),
    lambda ws: ws.receive_text(),
    lambda ws: ws.receive_bytes(),
    lambda ws: ws.receive_json(),
    lambda ws: ws.send("x"),
    lambda ws: ws.send_text("x"),
    lambda ws: ws.send_bytes(b"x"),
    lambda ws: ws.send_json({}),
]


@pytest.mark.parametrize("how", ["closed", "left", "refused"])
async def test_after_the_end_everything_says_so_and_nothing_hangs(how: str) -> None:
    async def job(ws: WebSocket) -> None:
        if how == "refused":
            await ws.reject(404)
        else:
            await ws.accept()
            await (ws.close(4000, "why") if how == "closed" else iterated(ws))
        assert ws.closed
        assert ws.accepted is (how != "refused")
        code, reason = {"closed": (4000, "why"), "left": (4001, "bye"), "refused": (1006, "")}[how]
        assert (ws.close_code, ws.close_reason) == (code, reason)
        for call in ENDS:
            with pytest.raises(ConnectionClosed) as closed:
                await call(ws)
            assert (closed.value.code, closed.value.reason) == (code, reason)
        await iterated(ws)
        await held(ws)
        await ws.close(1001)
        assert (ws.close_code, ws.close_reason) == (code, reason)
        for call in (ws.accept, ws.reject):
            with pytest.raises(RuntimeError, match=OVER):
                await call()

    async with websocket(Site(job), leave=False) as client:
        client.leave(4001, "bye")
    assert client.close == ((4000, "why") if how == "closed" else None)
    assert client.refusal == (404 if how == "refused" else None)


# --- accept ---------------------------------------------------------------------------------------------


async def test_what_accept_sends() -> None:
    async def job(ws: WebSocket) -> None:
        assert ws.subprotocols == ("chat.v1", "chat.v2")
        await ws.accept("chat.v2", headers={"X-Name": "value"})

    client = await handshake(Site(job), subprotocols=["chat.v1", "chat.v2"])
    assert client.sent[0] == {
        "type": "websocket.accept",
        "subprotocol": "chat.v2",
        "headers": [(b"x-name", b"value")],
    }


@pytest.mark.parametrize("offered", [None, []])
async def test_a_client_may_offer_no_subprotocol(offered: Any) -> None:
    async def job(ws: WebSocket) -> None:
        assert ws.subprotocols == ()
        with pytest.raises(ValueError, match="it offered none"):
            await ws.accept("chat.v1")
        await ws.accept()

    assert (await handshake(Site(job), subprotocols=offered)).sent[0]["subprotocol"] is None


async def test_a_socket_can_have_a_limit_of_its_own() -> None:
    async def job(ws: WebSocket) -> None:
        await ws.accept(max_message_size=3)
        await ws.send(await ws.receive())
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive()
        assert closed.value.code == 1009

    async with websocket(Site(job)) as client:
        client.send("abc")
        client.send("abcd")
    assert client.messages == ["abc"]
    assert client.close == (1009, "")


async def test_of_two_tasks_that_accept_one_does() -> None:
    class Slow(InMemorySessionBackend):
        async def save(self, *arguments: Any) -> None:
            await asyncio.sleep(0)

    async def job(ws: WebSocket) -> None:
        ws.session["n"] = 1
        results = await asyncio.gather(ws.accept(), ws.accept(), return_exceptions=True)
        assert [type(result) for result in results if result] == [RuntimeError]

    assert (await handshake(Site(job, session_backend=Slow()))).accepted


# --- refusing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [True, False])
@pytest.mark.parametrize(
    ("job", "status", "body", "content_type"),
    [
        (lambda ws: ws.reject(), 403, b"", "text/html; charset=utf-8"),
        (lambda ws: ws.reject(429, "slowly"), 429, b"slowly", "text/html; charset=utf-8"),
        (lambda ws: ws.reject(401, {"a": 1}), 401, b'{"a":1}', "application/json"),
        (lambda ws: ws.reject(401, "x", {"Content-Type": "x/y"}), 401, b"x", "x/y"),
        (lambda ws: ws.reject(204), 204, b"", None),
        (lambda ws: ws.close(), 403, b"", "text/html; charset=utf-8"),
        (lambda ws: ws.close(4000, "never seen"), 403, b"", "text/html; charset=utf-8"),
    ],
)
async def test_a_handshake_can_be_refused_with_any_answer(
    job: Job, status: int, body: bytes, content_type: str | None, extension: bool
) -> None:
    client = await handshake(Site(job), extension=extension)
    assert not client.accepted
    if extension:
        headers = dict(client.sent[0]["headers"])
        got = headers.get(b"content-type")
        assert (client.refusal, client.refusal_body) == (status, body)
        assert (got and got.decode()) == content_type
    else:
        assert client.sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]


async def test_a_refused_handshake_cannot_be_accepted_afterwards() -> None:
    async def job(ws: WebSocket) -> None:
        await ws.close()
        await ws.accept()

    assert (await handshake(Site(job))).refusal == 403


async def test_a_handler_that_goes_on_after_refusing_ends_normally(caplog: pytest.LogCaptureFixture) -> None:
    async def job(ws: WebSocket) -> None:
        await ws.reject(401)
        await ws.receive()

    assert (await handshake(Site(job))).refusal == 401
    assert caplog.records == []


async def test_a_client_that_leaves_while_it_is_refused_does_not_matter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with websocket(Site(lambda ws: ws.reject(401)), leave=False) as client:
        client.fail_sends = OSError()
    assert caplog.records == []


# --- messages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        (lambda ws: ws.send("ä"), "ä"),
        (lambda ws: ws.send(""), ""),
        (lambda ws: ws.send(b""), b""),
        (lambda ws: ws.send(bytearray(b"ab")), b"ab"),
        (lambda ws: ws.send(memoryview(b"ab")), b"ab"),
        (lambda ws: ws.send_text("ä"), "ä"),
        (lambda ws: ws.send_bytes(bytearray(b"ab")), b"ab"),
        (lambda ws: ws.send_json({"ä": [1, None, True]}), '{"ä":[1,null,true]}'),
        (lambda ws: ws.send_json("x"), '"x"'),
    ],
)
async def test_messages_out(job: Job, kind: str | bytes) -> None:
    [message] = (await handshake(accepted(job))).messages
    assert (type(message), message) == (type(kind), kind)


@pytest.mark.parametrize("name", ["receive", "receive_text", "receive_bytes", "receive_json"])
@pytest.mark.parametrize("sent", ["1", b"1"])
async def test_messages_in(name: str, sent: str | bytes) -> None:
    received: list[Any] = []

    async def job(ws: WebSocket) -> None:
        received.append(await getattr(ws, name)())

    async with websocket(accepted(job)) as client:
        client.send(sent)
    wanted = {"receive": sent, "receive_text": "1", "receive_bytes": b"1", "receive_json": 1}[name]
    assert (type(received[0]), received[0]) == (type(wanted), wanted)


async def test_a_loop_over_the_messages_ends_when_the_client_leaves() -> None:
    received: list[Any] = []

    async def job(ws: WebSocket) -> None:
        received.extend([message async for message in ws])
        received.append("left")
        assert ws.close_code == 1001

    async with websocket(accepted(job)) as client:
        client.send("a")
        client.send(b"b")
    assert received == ["a", b"b", "left"]


async def test_bad_json_can_be_caught_and_the_socket_goes_on() -> None:
    async def job(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="line 1"):
            await ws.receive_json()
        await ws.send_json(await ws.receive_json())

    async with websocket(accepted(job)) as client:
        client.send("{")
        client.send("[1]")
    assert client.messages == ["[1]"]


# --- close ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1014, 3000, 4999])
async def test_a_code_that_may_travel_does(code: int) -> None:
    client = await handshake(accepted(lambda ws: ws.close(code, "why")))
    assert client.close == (code, "why")


@pytest.mark.parametrize(
    ("reason", "sent"),
    [
        (None, ""),
        ("", ""),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("ä" * 61, "ä" * 61),
        ("ä" * 62, "ä" * 61),
        ("x" + "ä" * 61, "x" + "ä" * 61),
        ("€" * 42, "€" * 41),
        ("x" * 121 + "😀", "x" * 121),
        ("x" * 119 + "😀", "x" * 119 + "😀"),
    ],
)
async def test_a_long_reason_is_cut_between_characters(
    reason: str | None, sent: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await handshake(accepted(lambda ws: ws.close(1000, reason)))
    assert client.close == (1000, sent)
    assert ["is cut" in line for line in caplog.messages] == ([] if sent == (reason or "") else [True])


async def test_closing_twice_sends_one_frame() -> None:
    async def job(ws: WebSocket) -> None:
        await ws.close(4000)
        await ws.close(4001)

    assert (await handshake(accepted(job))).close == (4000, "")


# --- until_closed ---------------------------------------------------------------------------------------


async def test_until_closed_is_left_the_moment_the_client_goes() -> None:
    log: list[str] = []

    async def job(ws: WebSocket) -> None:
        async with ws.until_closed():
            await ws.send("ready")
            try:
                await asyncio.Event().wait()
            finally:
                log.append("cancelled")
        log.append("after")
        assert (ws.closed, ws.close_code) == (True, 4001)
        assert asyncio.current_task().cancelling() == 0

    async with websocket(accepted(job), leave=False) as client:
        await client.next()
        client.send("dropped")
        client.leave(4001)
    assert log == ["cancelled", "after"]


async def test_a_block_that_ends_by_itself_leaves_the_socket_open() -> None:
    async def job(ws: WebSocket) -> None:
        async with ws.until_closed():
            await ws.send("one")
        await ws.send(await ws.receive())

    async with websocket(accepted(job)) as client:
        await client.next()
        await client.next()
        client.send("two")
    assert client.messages == ["one", "two"]


async def test_an_error_in_the_block_is_the_handlers() -> None:
    async def job(ws: WebSocket) -> None:
        with pytest.raises(ZeroDivisionError):
            async with ws.until_closed():
                raise ZeroDivisionError
        await ws.send("well")

    assert (await handshake(accepted(job))).messages == ["well"]


async def test_a_cancellation_from_outside_passes_through_the_block() -> None:
    log: list[Any] = []
    inside = asyncio.Event()

    async def held_by_task(ws: WebSocket) -> None:
        try:
            async with ws.until_closed():
                inside.set()
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def job(ws: WebSocket) -> None:
        task = asyncio.create_task(held_by_task(ws))
        await inside.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await held(ws)

    async with websocket(accepted(job)):
        pass
    assert log == ["cancelled"]


async def test_the_block_needs_to_be_the_only_reader() -> None:
    async def job(ws: WebSocket) -> None:
        reader = asyncio.create_task(ws.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task is receiving"):
            await held(ws)
        reader.cancel()
        await asyncio.wait([reader])
        await ws.send("well")

    assert (await handshake(accepted(job))).messages == ["well"]


async def test_a_message_that_is_too_large_ends_the_block() -> None:
    async def job(ws: WebSocket) -> None:
        await ws.accept(max_message_size=1)
        await held(ws)
        assert ws.close_code == 1009

    async with websocket(Site(job), leave=False) as client:
        client.send("ab")
    assert client.close == (1009, "")


async def test_closing_inside_the_block_leaves_it() -> None:
    log: list[str] = []

    async def job(ws: WebSocket) -> None:
        async with ws.until_closed():
            await ws.close(4000)
            await asyncio.Event().wait()
        log.append("left")

    assert (await handshake(accepted(job))).close == (4000, "")
    assert log == ["left"]


# --- run ------------------------------------------------------------------------------------------------


class Jobs:
    """Coroutines for ``run()`` that note how they end."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.log: list[str] = []
        self.began = asyncio.Event()

    async def read(self) -> None:
        try:
            async for message in self.ws:
                self.log.append(str(message))
                self.began.set()
        finally:
            self.log.append("reader ended")

    async def wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.log.append("writer ended")

    async def fail(self, error: BaseException) -> None:
        raise error

    async def fail_when_cancelled(self, error: BaseException) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise error


async def with_jobs(
    run: Callable[[Jobs], Coroutine[Any, Any, Any]], leave: bool = True
) -> tuple[Jobs, Client]:
    made: list[Jobs] = []

    async def job(ws: WebSocket) -> None:
        made.append(Jobs(ws))
        await run(made[0])

    async with websocket(accepted(job), leave=leave) as client:
        client.send("a")
    return made[0], client


async def test_run_receives_and_sends_at_once_until_the_client_leaves() -> None:
    jobs, client = await with_jobs(lambda jobs: jobs.ws.run(jobs.read(), jobs.wait()))
    assert jobs.log == ["a", "reader ended", "writer ended"]
    assert client.close is None


async def test_a_job_that_ends_cancels_the_others() -> None:
    async def run(jobs: Jobs) -> None:
        await jobs.ws.run(jobs.wait(), jobs.ws.send("x"))
        await jobs.ws.send("still open")

    jobs, client = await with_jobs(run, leave=False)
    assert jobs.log == ["writer ended"]
    assert client.messages == ["x", "still open"]


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        ([ZeroDivisionError()], ZeroDivisionError),
        ([ConnectionClosed(4001)], ConnectionClosed),
        ([ConnectionClosed(4001), ZeroDivisionError()], ZeroDivisionError),
        ([ZeroDivisionError(), ConnectionClosed(4001)], ZeroDivisionError),
        ([asyncio.CancelledError()], None),
    ],
)
async def test_run_raises_the_error_that_tells_most(errors: Any, raised: type[Exception] | None) -> None:
    async def run(jobs: Jobs) -> None:
        calls = [jobs.fail(errors[0]), *map(jobs.fail_when_cancelled, errors[1:]), jobs.wait()]
        if raised is None:
            await jobs.ws.run(*calls)
            return
        with pytest.raises(raised):
            await jobs.ws.run(*calls)

    jobs, _ = await with_jobs(run, leave=False)
    assert jobs.log == ["writer ended"]


async def test_a_cancellation_from_outside_ends_all_jobs() -> None:
    async def run(jobs: Jobs) -> None:
        task = asyncio.create_task(jobs.ws.run(jobs.wait(), jobs.read()))
        await jobs.began.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await jobs.ws.send("still open")

    jobs, client = await with_jobs(run, leave=False)
    assert sorted(jobs.log) == ["a", "reader ended", "writer ended"]
    assert client.messages == ["still open"]


async def test_what_is_no_coroutine_is_an_error_and_starts_nothing() -> None:
    async def run(jobs: Jobs) -> None:
        with pytest.raises(
            TypeError, match=r"run\(\) takes coroutines, such as reader\(\), not <bound method"
        ):
            await jobs.ws.run(jobs.wait(), jobs.read)

    jobs, _ = await with_jobs(run, leave=False)
    assert jobs.log == []


# --- what a log shows of it -------------------------------------------------------------------------------


async def test_its_repr() -> None:
    """A log that shows a socket or a request shows its path, quoted, and its state in words."""
    seen: list[str] = []

    class Chat(App):
        async def ws_chat(self, ws: WebSocket, room: str) -> None:
            seen.append(repr(ws))
            await ws.accept()
            seen.append(repr(ws))
            await ws.close(4000)
            seen.append(repr(ws))

        async def index(self, *names: str) -> str:
            return repr(self.request)

    await handshake(Chat(), "/chat/a\n\u2603")
    path = "/chat/a%0A%E2%98%83"
    assert seen == [f"<WebSocket {path} {state}>" for state in ("connecting", "open", "closed 4000")]
    assert (await http(Chat(), "/a\nb")).text == "<Request GET /a%0Ab>"


@pytest.mark.parametrize("answered", [False, True])
async def test_no_subprotocol_is_warned_of(answered: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A socket without one of the offered subprotocols is closed by browsers: one warning for each route."""

    class Chat(App):
        async def ws_chat(self, ws: WebSocket, room: str) -> None:
            await ws.accept("v1" if answered else None)

        async def ws_news(self, ws: WebSocket) -> None:
            await ws.accept("v1" if answered else None)

    app = Chat()
    for path in ("/chat/1", "/chat/2", "/news", "/chat/3", "/news/"):
        await handshake(app, path, subprotocols=["v2", "v1"])
        await handshake(app, path, subprotocols=["v1"] if answered else [])
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(" offered")[0] for line in lines] == (
        [] if answered else ["the client of /chat/1", "the client of /news"]
    )
    assert all("'v2', 'v1'" in line and "accept(subprotocol=...)" in line for line in lines)


async def test_websockets_can_be_read_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """self.websockets is asked for in a sync handler while sockets come and go."""
    closed: Callable[[WebSocket], bool] = inspect.getattr_static(WebSocket, "closed").fget

    def slow_closed(ws: WebSocket) -> bool:  # sockets come and go while a thread looks at the first one
        if threading.current_thread() is not threading.main_thread() and not looking.is_set():
            looking.set()
            changed.wait(LIMIT)
        return closed(ws)

    class Crowd(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            async for _ in ws:
                pass

        def count(self) -> str:
            return str(len(self.websockets))

    looking, changed = threading.Event(), threading.Event()
    monkeypatch.setattr(WebSocket, "closed", property(slow_closed))
    app = Crowd()
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await (await stack.enter_async_context(websocket(app, alone=False))).next()
        asking = asyncio.create_task(http(app, "/count", alone=False))
        await asyncio.to_thread(looking.wait, LIMIT)
        for _ in range(2):
            await (await stack.enter_async_context(websocket(app, alone=False))).next()
        changed.set()
        assert (await asking).text == "3"
