"""The clients over sockets: what it takes for an answer, and that a wrong one is never counted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import chain, repeat

import pytest

from benchmarks.processes import traffic
from benchmarks.processes.traffic import WrongAnswer
from benchmarks.scenarios import SCENARIOS

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\nHello, \r\n6\r\nWorld!\r\n0\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
ECHO = traffic.from_server("x" * 32)
CLOSE = b"\x88\0"
WRONG_ECHO = traffic.from_server("y" * 32)


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED], ids=["plain", "chunked"])
def test_an_answer_is_whole_when_its_last_byte_is_there(answer: bytes) -> None:
    assert [traffic.whole(answer[:size]) for size in range(len(answer))] == [0] * len(answer)
    assert traffic.whole(answer) == len(answer)
    assert traffic.body(answer) == b"Hello, World!"


def test_a_frame_is_the_same_both_ways_but_for_the_mask() -> None:
    assert traffic.from_client("hé") == b"\x81\x83\0\0\0\0h\xc3\xa9"
    assert traffic.from_server("hé") == b"\x81\x03h\xc3\xa9"
    assert traffic.from_server(b"\0") == b"\x82\x01\0"


def test_a_request_goes_over_the_wire() -> None:
    request = traffic.request(SCENARIOS["http_params"])
    assert request.startswith(b"GET /greet/Alice?x=1 HTTP/1.1\r\nhost: ")
    assert request.endswith(b"\r\n\r\n")
    form = traffic.request(SCENARIOS["http_form"])
    assert form.startswith(b"POST /form HTTP/1.1\r\n")
    assert b"\r\ncontent-length: 17\r\n" in form
    assert form.endswith(b"\r\n\r\nname=Alice&age=30")


class Answers(asyncio.Protocol):
    """The server's side of a connection: the next answer to whatever it is told, and the end after the last."""

    def __init__(self, answers: Iterable[bytes]) -> None:
        self._answers = iter(answers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        answer = next(self._answers, b"")
        self._transport.write(answer)
        if not answer or answer.startswith(CLOSE):
            self._transport.close()


@asynccontextmanager
async def answering(make: Callable[[], Iterable[bytes]]) -> AsyncIterator[int]:
    """A server that gives each connection these answers."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answers(make()), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.sleep(0)  # What was aborted is closed in the next turn.


RIGHT = {
    "http_text": lambda: repeat(PLAIN),
    "ws_message": lambda: chain([SWITCHED], repeat(ECHO)),
    "ws_session": lambda: [SWITCHED, ECHO, CLOSE],
}
WRONG = {
    "a status": ("http_text", lambda: repeat(PLAIN.replace(b"200", b"404"))),
    "a text": ("http_text", lambda: repeat(PLAIN.replace(b"World", b"world"))),
    "a later text": ("http_text", lambda: chain([PLAIN], repeat(PLAIN.replace(b"World", b"world")))),
    "a refusal": ("ws_message", lambda: [PLAIN]),
    "an echo": ("ws_message", lambda: chain([SWITCHED, ECHO], repeat(WRONG_ECHO))),
    "a session's echo": ("ws_session", lambda: [SWITCHED, WRONG_ECHO]),
    "an end": ("ws_session", lambda: [SWITCHED]),
}


async def measured(scenario: str, make: Callable[[], Iterable[bytes]]) -> float:
    async with answering(make) as port:
        order = {"process": os.getpid(), "port": port, "connections": 2, "seconds": 0.01}
        return await traffic.measure(scenario, **order)


@pytest.mark.parametrize("scenario", ["http_text", "ws_message", "ws_session"])
async def test_right_answers_are_measured(scenario: str) -> None:
    assert await measured(scenario, RIGHT[scenario]) >= 0


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_answer_is_an_error(what: str) -> None:
    with pytest.raises(WrongAnswer):
        await measured(*WRONG[what])


async def test_everybody_has_to_get_the_message() -> None:
    crowds = traffic.Crowds()
    broadcast = traffic.from_server("a message to everybody")
    async with answering(lambda: [SWITCHED, broadcast]) as port:
        assert await crowds.gather(port, "/broadcast", 1) == 1
        assert await crowds.broadcast(os.getpid(), port, 1) >= 0
        await crowds.disperse(port)
    async with answering(lambda: [SWITCHED, broadcast.upper()]) as port:
        await crowds.gather(port, "/broadcast", 1)
        with pytest.raises(WrongAnswer, match="another"):
            await crowds.broadcast(os.getpid(), port, 1)
        await crowds.disperse(port)
