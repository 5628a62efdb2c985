"""SIGTERM while sockets are open and a stream is running, on every server, against the table in life.toml."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection, HTTPResponse, IncompleteRead

import pytest

from tests.servers.client import Client
from tests.servers.table import LIFE, TABLE, Sight, expected, lines_of, own_errors, seen_by
from tests.serving import CONFIGURATIONS, PATIENCE, Server, serve, tracebacks

# What a handler that does not end by itself is granted; Daphne has no such option.
GRACE = {
    "uvicorn-sansio": "--timeout-graceful-shutdown 1",
    "uvicorn-wsproto": "--timeout-graceful-shutdown 1",
    "uvicorn-websockets": "--timeout-graceful-shutdown 1",
    "hypercorn": "--graceful-timeout 1",
    "granian": "--workers-kill-timeout 3",
    "daphne": "",
}
PATHS = {
    "receives": "waits",
    "until_closed": "until_closed",
    "run": "run",
    "sleeps": "sleeps",
    "silent_client": "waits",
    "raw": "raw/waits",
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_shutdown(name: str) -> None:
    errors = own_errors("shutdown", name)
    with (
        serve(LIFE, f"{CONFIGURATIONS[name]} {GRACE[name]}", own_errors=errors) as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(Client(server, path, case)) for case, path in PATHS.items()]
        for client in clients:
            assert client.receive() == "ready"
            client.mute = client.case == "silent_client"
        stream = stack.enter_context(running_stream(server))
        server.tell_to_stop()
        client_sees = {client.case: seen_by(client) for client in clients} | {"stream": rest_of(stream)}
        server.wait()
        seen = {case: Sight(client=client_sees[case], **lines_of(server, case)) for case in client_sees}
        assert set(tracebacks(server.log())) == errors
    assert seen == {
        case: {column: expected(row, name)[column] for column in ("client", "handler", "log")}
        for case, row in TABLE["shutdown"].items()
    }


@contextmanager
def running_stream(server: Server) -> Iterator[HTTPResponse]:
    """An answer that has begun."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/stream", headers={"X-Case": "stream"})
        with connection.getresponse() as response:
            assert response.read(5) == b"more "
            yield response


def rest_of(stream: HTTPResponse) -> list[str]:
    try:
        while stream.read(65536):
            pass
    except (IncompleteRead, ConnectionError):
        return ["the body breaks off"]
    return ["the body ends"]
