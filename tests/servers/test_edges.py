"""Header fields and root paths on every server that the documentation names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.serving import CONFIGURATIONS, Server

EDGES = Path(__file__).parent / "edges"
OPTIONS = {"granian": "--url-path-prefix /shop"}


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    option = OPTIONS.get(request.param, "--root-path /shop")
    running = Server(EDGES, CONFIGURATIONS[request.param].replace(" app:app", f" {option} app:app"))
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


def test_a_guard_behind_a_root_path_is_never_passed(server: Server, client: httpx.Client) -> None:
    """With the root path and without: some servers take either, and an address has one spelling all the same."""
    statuses = [client.get(path).status_code for path in ("/admin", "/shop/admin")]
    assert 403 in statuses
    assert set(statuses) <= {403, 404}
    for path in ("admin", "shop/admin"):
        with pytest.raises(InvalidStatus) as refused, connect(server.ws_url + path):
            pass
        assert refused.value.response.status_code in (403, 404)
    assert client.get("/where").text == "/shop/where 127.0.0.1 where"


def test_a_mounted_app_knows_where_it_is(server: Server, client: httpx.Client) -> None:
    """Its paths and addresses begin with root path and prefix."""
    got = client.get("/files/a%2Fb?c=d").text
    assert got == f"/shop/files/a/b /shop/files/a%20b {server.url}shop/files/a%2Fb?c=d"


@pytest.mark.parametrize("path", ["/text", "/error", "/stream", "/raw"])
def test_fields_that_servers_stumble_over(client: httpx.Client, path: str) -> None:
    """Edges are stripped, and the framing is the server's: the answer arrives, and the next one on the connection."""
    for _ in range(2):
        answer = client.get(path)
        assert answer.text == {"/stream": "piecepiece", "/error": "409 Conflict: no"}.get(path, "text")
        assert (answer.headers["x-trail"], answer.headers["x-lead"]) == ("trail", "lead")
        assert answer.headers["content-disposition"].endswith("filename*=UTF-8''r%C3%A9sum%C3%A9.pdf")
        assert answer.headers.get("transfer-encoding", "chunked") == "chunked"
        assert "upgrade" not in (answer.headers.get("connection", ""), *answer.headers)


@pytest.mark.parametrize("path", ["/long", "/short"])
def test_a_stream_of_another_length_is_seen_to_be_broken(
    server: Server, client: httpx.Client, path: str
) -> None:
    """No byte of it is taken for the next answer."""
    if server.name == "daphne":
        pytest.skip("daphne waits for the end of an answer that its app has left without one")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(path)
    assert client.get("/text").text == "text"
    server.wait_for_log("its Content-Length is")


def test_handshakes(server: Server) -> None:
    """They open, and are refused, with fields that have spaces at their edges."""
    with connect(server.ws_url + "open", open_timeout=30) as ws:
        assert ws.recv(timeout=30) == f"{server.ws_url}shop/open"
        if server.name not in ("granian", "daphne"):  # which do not pass them on
            assert (ws.response.headers["X-Trail"], ws.response.headers["X-Lead"]) == ("trail", "lead")
    with pytest.raises(InvalidStatus) as refused, connect(server.ws_url + "refuse", open_timeout=30):
        pass
    assert refused.value.response.status_code == (403 if server.name == "daphne" else 409)
