"""Streams on every server: who leaves them, who waits for their first piece, and who wants something else meanwhile."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.serving import PATIENCE, Server, serve

STREAMS = Path(__file__).parent / "streams"

SERVERS = {
    "uvicorn-h11": "uvicorn --http h11 app:app",
    "uvicorn-httptools": "uvicorn --http httptools app:app",
    "hypercorn": "hypercorn app:app",
    "granian": "granian --interface asgi app:app",
    "daphne": "daphne app:app",
}

#: What a stream is granted when the server stops; daphne has no such option, and closes what it has at once.
GRACE = {
    "uvicorn-h11": "--timeout-graceful-shutdown 1",
    "uvicorn-httptools": "--timeout-graceful-shutdown 1",
    "hypercorn": "--graceful-timeout 1",
    "granian": "--workers-kill-timeout 3",
    "daphne": "",
}

#: How the tracebacks of uvicorn and hypercorn end that are about a stream which they have cut off.
CUT = (
    "asyncio.exceptions.CancelledError: Task cancelled, timeout graceful shutdown exceeded",
    "asyncio.exceptions.CancelledError",
)

_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve(STREAMS, SERVERS[request.param]) as running:
        running.name = request.param
        yield running


class Reader:
    """A client of one stream, which reads when it is told to."""

    def __init__(self, server: Server, path: str, method: str = "GET") -> None:
        self.case = f"{path}-{next(_numbers)}"
        self.read = b""
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self.socket.sendall(f"{method} /{path}/{self.case} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def until(self, sign: bytes) -> bytes:
        """Read on until this has come."""
        while sign not in self.read:
            piece = self.socket.recv(65536)
            assert piece, f"the connection ended after {self.read!r}"
            self.read += piece
        return self.read

    def leave(self, how: str = "reset") -> None:
        if how == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@contextmanager
def reading(server: Server, path: str, method: str = "GET") -> Iterator[Reader]:
    reader = Reader(server, path, method)
    with closing(reader.socket):
        yield reader


def others_go_on(server: Server) -> None:
    for _ in range(3):
        assert httpx.get(f"{server.url}text", timeout=PATIENCE).text == "text"


KINDS = ["film", "export", "sync_film", "group_film", "stubborn_film", "tail", "stubborn_tail"]


@pytest.mark.parametrize(
    ("kind", "how"), [*((kind, "reset") for kind in KINDS), ("film", "close"), ("tail", "close")]
)
def test_a_client_that_leaves(server: Server, kind: str, how: str) -> None:
    """The generator is closed in its own task, and others are served before and after."""
    with reading(server, kind) as reader:
        reader.until(b"x" * 100 if "tail" not in kind else b"line")
        others_go_on(server)
        reader.leave(how)
        server.wait_for_log(f"@{reader.case} closed\n")
    others_go_on(server)


@pytest.mark.parametrize("kind", ["film", "export", "sync_film"])
def test_a_client_that_does_not_read(server: Server, kind: str) -> None:
    """A client that stops reading holds up nobody, and when it leaves the generator is closed."""
    with reading(server, kind) as reader:
        others_go_on(server)
        reader.leave()
        server.wait_for_log(f"@{reader.case} closed\n")


@pytest.mark.parametrize("kind", ["film", "export", "sync_film"])
def test_a_client_that_reads_fast(server: Server, kind: str) -> None:
    """Others are served while somebody takes all that comes."""
    if server.name == "daphne" and kind == "export":
        pytest.skip(
            "daphne takes 2 GB at once, whatever its client reads, so how long it is at it depends on the machine"
        )
    with reading(server, kind) as reader:
        for _ in range(5):
            for _ in range(100):
                assert reader.socket.recv(65536)
            others_go_on(server)
        reader.leave()
        server.wait_for_log(f"@{reader.case} closed\n")


@pytest.mark.parametrize("kind", ["silent", "events", "sync_silent"])
def test_a_silent_stream(server: Server, kind: str) -> None:
    """Its headers come before there is anything to say, and then what there is."""
    with reading(server, kind) as reader:
        head = reader.until(b"\r\n\r\n").lower()
        assert head.split()[1] == b"200"
        assert (b"text/event-stream" in head) is (kind == "events")
        assert b"news" not in head
        httpx.get(f"{server.url}tell", timeout=PATIENCE)
        reader.until(b"news")
        reader.leave()
        server.wait_for_log(f"@{reader.case} closed\n")


@pytest.mark.parametrize("kind", ["film", "tail", "stubborn_tail", "silent"])
def test_head(server: Server, kind: str) -> None:
    """The headers come, and the generator is closed."""
    with reading(server, kind, "HEAD") as reader:
        assert reader.until(b"\r\n\r\n").split()[1] == b"200"
        if kind != "silent":
            server.wait_for_log(f"@{reader.case} closed\n")


def test_not_found(server: Server) -> None:
    """What a generator finds out soon is an answer of its own."""
    assert httpx.get(f"{server.url}looks/x", timeout=PATIENCE).status_code == 404


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_stops(name: str) -> None:
    """It ends within its own limit, and where the app is told in time each generator is closed where it ran."""
    kinds = ["tail", "silent", "stubborn_tail"]
    with serve(STREAMS, f"{SERVERS[name]} {GRACE[name]}", own_errors=CUT) as server, ExitStack() as stack:
        readers = [stack.enter_context(reading(server, kind)) for kind in kinds]
        for reader in readers:
            reader.until(b"\r\n\r\n")
        server.stop()
    closed = [reader.case for reader in readers[:2] if f"@{reader.case} closed\n" in server.log()]
    assert closed == ([] if name == "granian" else [reader.case for reader in readers[:2]])
