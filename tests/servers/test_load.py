"""Large messages, many of them, many clients at once, and clients that stop reading or answering, on every server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread

import httpx
import pytest
from websockets.frames import Opcode

from tests.servers.client import Client
from tests.servers.table import LIFE, TABLE, expected, sight
from tests.serving import CONFIGURATIONS, PATIENCE, Server, serve

ROWS = TABLE["load"]
MEBIBYTE = 1024 * 1024
CHUNK, CHUNKS = 64 * 1024, 512  # 32 MiB, which is more than the kernel keeps for a connection


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[Server]:
    with serve(LIFE, CONFIGURATIONS[name]) as running:
        yield running


def ask(server: Server, path: str) -> int:
    return int(httpx.get(server.url + path, timeout=PATIENCE).raise_for_status().text)


def still_serves(server: Server) -> bool:
    with Client(server, "echo", "other") as other:
        other.send("still there?")
        return other.receive() == "still there?"


@pytest.mark.parametrize(
    "message", ["ä" * (MEBIBYTE // 2), b"\x00\xff" * (MEBIBYTE // 2)], ids=["text", "bytes"]
)
def test_the_largest_message(server: Server, message: str | bytes) -> None:
    with Client(server, "echo", "largest") as client:
        assert client.accepted
        client.send(message)
        assert client.receive() == message
        half = len(message) // 2
        client.send(message[:half], message[half:])
        assert client.receive() == message


def test_ten_thousand_messages_in_order(server: Server) -> None:
    messages = [f"{number}" if number % 2 else number.to_bytes(2) for number in range(10_000)]
    with Client(server, "echo", "ordered") as client:
        assert client.accepted
        client.mute = True  # only one thread may write
        frames = b"".join(
            client.frame(Opcode.TEXT, message.encode())
            if isinstance(message, str)
            else client.frame(Opcode.BINARY, message)
            for message in messages
        )
        writer = Thread(target=client.write, args=(frames,))
        writer.start()
        assert [client.receive() for _ in messages] == messages
        writer.join()


def test_two_hundred_at_once(server: Server) -> None:
    with ExitStack() as stack:
        crowd = [stack.enter_context(Client(server, "receives", f"crowd_{n}")) for n in range(200)]
        assert {client.receive() for client in crowd} == {"ready"}
        assert ask(server, "open_websockets") == len(crowd)
        for number, client in enumerate(crowd):
            if number % 4 == 0:
                client.reset()
            else:
                client.say_goodbye(4000)
        for client in crowd:
            assert client.receive() is None
            server.wait_for_log(f"@{client.case} over\n")
    assert ask(server, "open_websockets") == 0


def sent_to_nobody(client: Client) -> int:
    """How many chunks are sent to a client that reads the first one and then stops."""
    assert client.receive() == bytes(CHUNK)
    sent, before = 1, 0
    while sent != before:
        assert still_serves(client.server)
        sent, before = ask(client.server, f"progress/{client.case}"), sent
    return sent


def test_a_slow_reader(server: Server, name: str) -> None:
    with Client(server, f"flood/{CHUNKS}", "slow_reader", read_buffer=4096) as client:
        held_back = ["held back"] if sent_to_nobody(client) < CHUNKS else []
        for number in range(1, CHUNKS):
            assert client.receive() == number.to_bytes(4) * (CHUNK // 4)
        client.send("that was all")
        seen = sight(client)
    assert seen | {"handler": held_back + seen["handler"]} == expected(ROWS["slow_reader"], name)


def test_a_reader_that_stops(server: Server, name: str) -> None:
    with Client(server, f"flood/{CHUNKS}", "stopped_reader", read_buffer=4096) as client:
        sent_to_nobody(client)
        client.reset()
        assert still_serves(server)
        assert sight(client) == expected(ROWS["stopped_reader"], name)


def test_a_close_frame_without_an_answer(server: Server, name: str) -> None:
    with Client(server, "ends", "unanswered") as client:
        client.mute = True
        assert client.accepted
        while client.close is None:
            client.read()
        assert still_serves(server)
        client.reset()
        assert sight(client) == expected(ROWS["unanswered"], name)


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name.startswith("uvicorn")])
def test_a_half_open_connection(name: str) -> None:
    """The client neither leaves nor answers, as one whose network is gone; uvicorn's pings find out."""
    command = f"{CONFIGURATIONS[name]} --ws-ping-interval 0.2 --ws-ping-timeout 0.2"
    with serve(LIFE, command) as server, Client(server, "receives", "half_open") as client:
        client.mute = True
        assert client.receive() == "ready"
        assert sight(client) == expected(ROWS["half_open"], name)
