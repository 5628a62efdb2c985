"""An app with a handler of each kind, on every server that the documentation names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.serving import CONFIGURATIONS, Server, serve

KINDS = Path(__file__).parent / "kinds"
UID = "12345678-1234-5678-1234-567812345678"


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(KINDS, CONFIGURATIONS[request.param])
    running.name = request.param
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


ARGUMENTS = {
    "uid": UID,
    "day": "2026-01-31",
    "moment": "2026-01-31T12:00",
    "colour": "blue",
    "size": "m",
    "maybe": "",
    "tags": ["1", "2"],
}
FILE = ("f.bin", b"x" * 300_000)


@pytest.mark.parametrize(
    ("method", "target", "options", "status", "expected"),
    [
        ("GET", "/text", {}, 200, "text ä"),
        ("HEAD", "/text", {}, 200, ""),
        ("GET", "/binary", {}, 200, b"\x00\xff"),
        ("GET", "/mapping", {}, 200, {"a": [1, None, "ä"]}),
        ("GET", "/status", {}, 201, "created"),
        ("GET", "/nothing", {}, 204, ""),
        ("GET", "/elsewhere", {}, 302, ""),
        ("GET", "/page", {}, 200, "<p>Hello &lt;b&gt;</p>"),
        ("GET", "/stream", {}, 200, "0 1 2 "),
        ("HEAD", "/stream", {}, 200, ""),
        ("GET", "/sync", {}, 200, "True set by the hook /sync"),
        ("GET", "/sync_stream", {}, 200, "ab"),
        (
            "GET",
            "/convert/1/2.5/yes",
            {"params": ARGUMENTS},
            200,
            {
                "number": "1",
                "fraction": "2.5",
                "flag": "True",
                "uid": UID,
                "day": "2026-01-31",
                "moment": "2026-01-31 12:00:00",
                "colour": "Colour.BLUE",
                "size": "m",
                "maybe": "None",
                "tags": "[1, 2]",
            },
        ),
        ("GET", "/convert/x/2.5/yes", {"params": ARGUMENTS}, 404, None),
        ("GET", "/convert/1/2.5/yes", {"params": {**ARGUMENTS, "colour": "green"}}, 400, None),
        ("GET", "/convert/1/2.5/yes/more", {"params": ARGUMENTS}, 404, None),
        ("GET", "/rest/a%2Fb/c/", {"params": {"q": "1"}}, 200, [["a/b", "c"], {"q": "1"}]),
        ("GET", "/rest/%C3%A4", {}, 200, [["ä"], {}]),
        ("POST", "/form", {"data": {"name": "A", "age": "3"}}, 200, {"name": "A", "age": 3}),
        ("POST", "/form", {"json": {"name": "A", "age": 3}}, 200, {"name": "A", "age": 3}),
        ("POST", "/form", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, None),
        ("GET", "/form", {}, 405, None),
        ("PUT", "/raw", {"content": b"raw body"}, 200, "ydob war"),
        ("POST", "/raw", {"content": [b"chunk", b"ed"]}, 200, "deknuhc"),
        (
            "POST",
            "/upload",
            {"data": {"title": "t"}, "files": {"file": FILE}},
            200,
            {"title": "t", "filename": "f.bin", "length": 300_000},
        ),
        ("POST", "/raw", {"content": b"x" * (17 * 1024 * 1024)}, 413, None),
        ("GET", "/me", {"params": {"n": "7"}}, 401, None),
        ("GET", "/broken", {}, 500, "500 Internal Server Error"),
        ("GET", "/conflict", {}, 409, "409 Conflict: try again"),
        ("GET", "/missing", {}, 404, "404 Not Found"),
        ("GET", "/ws_echo", {}, 404, None),
        ("GET", "/_start", {}, 404, None),
        ("GET", "/text", {"headers": {"X-Teapot": "1"}}, 418, "teapot"),
        ("GET", "/text", {"headers": {"X-Banned": "1"}}, 403, "banned"),
        ("GET", "/child/", {}, 200, "child at /child"),
        ("GET", "/child/missing", {}, 404, None),
    ],
)
def test_http(
    client: httpx.Client, method: str, target: str, options: Any, status: int, expected: Any
) -> None:
    if isinstance(options.get("content"), list):  # sent in chunks, without a length
        options = {"content": iter(options["content"])}
    answer = client.request(method, target, **options)
    assert answer.status_code == status, answer.text
    got = answer.json() if isinstance(expected, (dict, list)) else answer.text
    assert expected is None or expected in (got, answer.content)
    # An after hook runs where its before hook has let the request pass: not after a refusal by a hook.
    refused = status in (403, 418)
    assert answer.headers.get("x-stamp") == (None if refused else "stamped")


def test_head_has_the_headers_of_get(client: httpx.Client) -> None:
    one, other = client.get("/text").headers, client.head("/text").headers
    assert one["content-length"] == other["content-length"] == str(len("text ä".encode()))


def test_a_stream_stops_with_its_client(server: Server, client: httpx.Client) -> None:
    with client.stream("GET", "/endless") as answer:
        assert next(answer.iter_bytes())
    server.wait_for_log("the stream has stopped")


def test_a_session(server: Server, client: httpx.Client) -> None:
    assert [client.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    assert client.get("/me").text == "you have counted to 3"
    headers = {"Cookie": f"session_id={client.cookies['session_id']}"}
    with connect(f"{server.ws_url}count?n=99", additional_headers=headers) as ws:
        assert ws.recv() == "3"
    client.get("/logout")
    assert "session_id" not in client.cookies
    assert client.get("/me").status_code == 401
    assert client.get("/me", headers=headers).status_code == 401


def test_startup_has_run(server: Server, client: httpx.Client) -> None:
    assert client.get("/life").json() == ([] if server.name == "daphne" else ["async", "sync"])


@pytest.mark.parametrize(
    ("target", "sent", "received"),
    [
        ("echo", ["text ä", b"\x00\xff", "", "x" * 100_000], ["text ä", b"\x00\xff", "", "x" * 100_000]),
        ("add/10?step=2", ["1", b"2"], ["12", "16"]),
        ("both", ["a", b"b"], ["a", b"b"]),
        ("push", [], ["pushed"]),
        ("child/", [], ["child"]),
    ],
)
def test_websocket(server: Server, target: str, sent: list[Any], received: list[Any]) -> None:
    with connect(server.ws_url + target) as ws:
        for message, answer in zip_longest(sent, received):
            if message == "" and server.name == "daphne":  # it loses empty messages
                continue
            if message is not None:
                ws.send(message)
            assert ws.recv(timeout=30) == answer


def test_a_subprotocol(server: Server) -> None:
    with connect(server.ws_url + "echo", subprotocols=["chat"]) as ws:
        assert ws.subprotocol == "chat"


def test_the_handler_learns_that_the_client_left(server: Server) -> None:
    with connect(server.ws_url + "push") as ws:
        ws.recv(timeout=30)
    server.wait_for_log("the pushing has stopped")
    with connect(server.ws_url + "add/1") as ws:
        ws.close(4001, "bye")
    server.wait_for_log("left with 1006" if server.name == "hypercorn" else "left with 4001")


def test_the_app_closes(server: Server) -> None:
    with connect(server.ws_url + "closes") as ws, pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=30)
    # Daphne has no way to send a reason.
    reason = "" if server.name == "daphne" else "enough"
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, reason)


@pytest.mark.parametrize(
    ("how", "code"), [("return", 1000), ("close", 4005), ("error", 1011), ("background", 1000)]
)
def test_a_close_is_not_held_up_by_a_receive_that_waits(server: Server, how: str, code: int) -> None:
    with connect(f"{server.ws_url}ends/{how}") as ws, pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=30)
    # Daphne has no way to send 1011.
    expected = 1000 if server.name == "daphne" and code == 1011 else code
    assert closed.value.rcvd.code == expected


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("refuses", {}, 402),
        ("missing", {}, 404),
        ("add/x", {}, 404),
        ("add/1?step=x", {}, 400),
        ("count?n=1", {}, 401),
        ("echo", {"X-Banned": "1"}, 429),
        ("echo", {"Origin": "https://evil.example"}, 403),
    ],
)
def test_a_refused_handshake(server: Server, target: str, headers: dict[str, str], status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(server.ws_url + target, additional_headers=headers):
        pass
    # Daphne has no way to refuse with another status.
    assert refused.value.response.status_code == (403 if server.name == "daphne" else status)


@pytest.mark.parametrize("command", [command for name, command in CONFIGURATIONS.items() if name != "daphne"])
def test_shutdown_handlers_run(command: str) -> None:
    with serve(KINDS, command) as server:
        # Granian's main process loses a signal that comes while its worker starts, and then never ends.
        assert httpx.get(f"{server.url}text").status_code == 200
        server.stop()
        assert "shutdown handler ran" in server.log()
