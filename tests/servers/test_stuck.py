"""Clients that stop reading, vanish or are kicked, on every server: no call waits long, and no other client.

The bounds are those of stuck/app.py: 2 seconds for a send, 1 for closing. What is compared with them leaves room for a
busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import pytest

from tests.servers.client import Client
from tests.serving import CONFIGURATIONS, PATIENCE, Server, serve

STUCK = Path(__file__).parent / "stuck"
CLOSE, SEND = 1.0, 2.0
BUSY = 4.0  # seconds that a busy machine may add
#: Servers whose send() waits for a client that doesn't read. Daphne's never waits: it keeps what is sent in memory.
HOLDS_BACK = ("uvicorn-sansio", "uvicorn-wsproto", "uvicorn-websockets", "hypercorn", "granian")

numbers = count()


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[Server]:
    with serve(STUCK, CONFIGURATIONS[name]) as running:
        yield running


def post(server: Server, path: str) -> Any:
    return httpx.post(server.url + path, timeout=PATIENCE).raise_for_status()


def progress(server: Server, case: str) -> int:
    return int(httpx.get(f"{server.url}progress/{case}", timeout=PATIENCE).raise_for_status().text)


def slowest_send(server: Server, case: str) -> float:
    return float(httpx.get(f"{server.url}slowest_send/{case}", timeout=PATIENCE).raise_for_status().text)


def echo_times(other: Client, number: int = 20) -> float:
    """The median time of an innocent client's echo, in seconds."""
    times = []
    for _ in range(number):
        began = time.monotonic()
        other.send("still there?")
        assert other.receive() == "still there?"
        times.append(time.monotonic() - began)
    return median(times)


def case_of(what: str) -> str:
    return f"{what}_{next(numbers)}"


def full(stack: ExitStack, server: Server) -> tuple[Client, str]:
    """A client that has stopped reading, and has as much waiting for it as the server takes for it."""
    case = case_of("full")
    client = stack.enter_context(Client(server, f"flood/{case}", case, read_buffer=4096))
    client.mute = True
    assert client.receive()
    before, sent = -1, progress(server, case)
    while sent != before and sent < 512:
        before, sent = sent, progress(server, case)
    return client, case


def test_a_send_is_bounded(server: Server, name: str) -> None:
    """A sender learns that its client takes nothing more, and others notice nothing."""
    with ExitStack() as stack:
        other = stack.enter_context(Client(server, "echo", "other"))
        assert other.accepted
        idle = echo_times(other)
        began = time.monotonic()
        client, case = full(stack, server)
        holds_back = name in HOLDS_BACK
        busy = echo_times(other, 20 if holds_back else 3)  # Daphne's memory fills meanwhile
        assert busy < (max(20 * idle, 0.25) if holds_back else BUSY)
        if holds_back:
            server.wait_for_log(f"@{case} closed with 1006\n")
            assert time.monotonic() - began < SEND + BUSY
        client.reset()
        server.wait_for_log(f"@{case} closed with 100")
        slowest = slowest_send(server, case)
        assert SEND / 2 < slowest < SEND + BUSY if holds_back else slowest < SEND


@pytest.mark.parametrize("how", ["full", "mute", "vanished"])
def test_many_are_closed_at_once(server: Server, name: str, how: str) -> None:
    """close_websockets() takes one bound, and no answer of a client is waited for; an idle client notices nothing."""
    case = case_of(how)
    with ExitStack() as stack:
        other = stack.enter_context(Client(server, "echo", "other"))
        assert other.accepted
        idle = echo_times(other)
        clients = []
        for _ in range(3):
            if how == "full":
                client = stack.enter_context(Client(server, f"flood/{case}", case, read_buffer=4096))
            else:
                client = stack.enter_context(Client(server, f"waits/{case}", case))
            client.mute = True
            assert client.receive()
            clients.append(client)
        if how == "vanished":
            for client in clients:
                client.reset()
        told = post(server, f"close/{case}").json()
        assert told["closed"] == 3 or how == "vanished" or name not in HOLDS_BACK
        assert told["took"] < CLOSE + 1
        assert echo_times(other) < max(20 * idle, 0.25)
        if how == "mute":
            assert told["took"] < CLOSE / 2
            for client in clients:
                while client.close is None and client.read():
                    list(client._protocol.events_received())
                assert client.close is not None
                assert client.close[0] == 4001


def test_close_can_be_given_up(name: str) -> None:
    """asyncio.timeout() around close() ends it, on a client that takes nothing."""
    command = CONFIGURATIONS[name].replace("app:app", "app:patient")  # whose send() doesn't fail before
    with serve(STUCK, command) as server, ExitStack() as stack:
        _, case = full(stack, server)
        if name in HOLDS_BACK:
            began = time.monotonic()
            assert post(server, f"give_up/{case}").text in ("given up", "closed")
            assert time.monotonic() - began < CLOSE + BUSY
            server.wait_for_log(f"@{case} closed with 1013\n")


@pytest.mark.parametrize("end", ["leave", "reset"])
def test_a_film_is_left(server: Server, end: str) -> None:
    """A loop of sends in until_closed() ends with its client, however fast it reads and whatever send() tells."""
    case = case_of("film")
    with ExitStack() as stack:
        client = stack.enter_context(Client(server, f"film/{case}", case))
        for _ in range(100):
            assert client.receive() == b"x" * 100
        other = stack.enter_context(Client(server, "echo", "other"))
        assert other.accepted
        if end == "reset":
            client.reset()
        else:
            client.say_goodbye(1000)
            client.half_close()
            client.socket.close()
        server.wait_for_log(f"@{case} is left\n")
        echo_times(other, 3)


def test_a_cancelled_handler(server: Server, name: str) -> None:
    """task.cancel() on a handler: its client gets a close frame, the log one line and no traceback."""
    case = case_of("cancelled")
    with Client(server, f"waits/{case}", case) as client:
        assert client.receive() == "ready"
        post(server, f"cancel/{case}")
        assert client.receive() is None
        assert client.close == (1000 if name == "daphne" else 1011, "")
        server.wait_for_log(
            f"the handler for /waits/{case} was cancelled, so the socket is closed with 1011\n"
        )
    assert server.log().count(f"the handler for /waits/{case} was cancelled") == 1
    assert "Traceback" not in server.log()


def test_a_thread_sends(server: Server) -> None:
    """A sync handler sends with from_thread()."""
    case = case_of("thread")
    with Client(server, f"waits/{case}", case) as client:
        assert client.receive() == "ready"
        assert post(server, f"tell/{case}").text == "1"
        assert client.receive() == "from a thread"


def test_a_server_that_stops_cancels() -> None:
    """Hypercorn cancels the handlers when it stops: their clients get 1001."""
    with serve(STUCK, CONFIGURATIONS["hypercorn"] + " --graceful-timeout 1", own_errors=STOPS) as server:
        with Client(server, "waits/stopped", "stopped") as client:
            assert client.receive() == "ready"
            server.tell_to_stop()
            assert client.receive() is None
            assert client.close == (1001, "")
        server.wait()


STOPS = ["asyncio.exceptions.CancelledError"]
