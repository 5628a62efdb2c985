"""Bodies of every kind, in every framing, on every server; and clients that vanish while they send one."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from tests.serving import PATIENCE, Server, serve

COMMANDS = {
    "uvicorn-httptools": "uvicorn --http httptools app:app",
    "uvicorn-h11": "uvicorn --http h11 app:app",
    "hypercorn": "hypercorn app:app",
    "granian": "granian --interface asgi app:app",
    "daphne": "daphne app:app",
}
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
MULTIPART = "multipart/form-data; boundary=q83+aw=="


def part(name: str, content: bytes) -> bytes:
    return b"--q83+aw==\r\nContent-Disposition: form-data; " + name.encode() + b"\r\n\r\n" + content + b"\r\n"


LAST = b"--q83+aw==--\r\n"
FILE = part("name=\"file\"; filename*=UTF-8''r%C3%A9.bin", bytes(200_000))
NAME = part('name="name"', "Zoë".encode())

#: Path, media type, body; status and text of the answer.
KINDS: dict[str, tuple[str, str, bytes, int, str]] = {
    "form": ("field", FORM, b"name=Zo%C3%AB", 200, "Zoë"),
    "large form": ("field", FORM, b"name=" + b"a" * 200_000, 200, "a" * 200_000),
    "form in another charset": ("field", FORM + "; charset=windows-1251", b"name=%E4%E0", 200, "да"),
    "form that is not UTF-8": ("field", FORM, b"name=%FF", 400, "400 Bad Request: the form is not UTF-8"),
    "form by read_form": ("form", FORM, b"name=Zo%C3%AB", 200, "Zoë"),
    "JSON": ("field", JSON, '{"name": "Zoë"}'.encode(), 200, "Zoë"),
    "JSON with a BOM": ("field", JSON, b'\xef\xbb\xbf{"name": "a"}', 200, "a"),
    "bad JSON": ("field", JSON, b"{", 400, "400 Bad Request: the body is not JSON"),
    "bad JSON to no route": ("nothing", JSON, b"{", 404, "404 Not Found"),
    "bad JSON to GET": ("only_get", JSON, b"{", 405, "405 Method Not Allowed"),
    "no JSON": ("field", JSON, b"", 200, "missing"),
    "no multipart": ("field", MULTIPART, b"", 200, "missing"),
    "bytes": ("raw", "a/b", bytes(range(256)) * 500, 200, ""),
    "bytes in pieces": ("pieces", "a/b", bytes(range(256)) * 500, 200, ""),
    "no bytes": ("pieces", "a/b", b"", 200, ""),
    "multipart": ("field", MULTIPART, NAME + LAST, 200, "Zoë"),
    "file": ("upload", MULTIPART, FILE + LAST, 200, "missing ré.bin 200000"),
    "field and file": ("upload", MULTIPART, NAME + FILE + LAST, 200, "Zoë ré.bin 200000"),
    "file and field": ("upload", MULTIPART, FILE + NAME + LAST, 200, "Zoë ré.bin 200000"),
    "file for a def handler": ("sync", MULTIPART, FILE + NAME + LAST, 200, "Zoë ré.bin 200000"),
    "text for a file": (
        "upload",
        MULTIPART,
        part('name="file"', b"text") + LAST,
        400,
        "400 Bad Request: the parameter 'file' must be a file",
    ),
}


@pytest.fixture(scope="module", params=COMMANDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(name: str) -> Iterator[Server]:
    with serve(Path(__file__).parent / "bodies", COMMANDS[name]) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framing", ["whole", "pieces", "chunks"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_kinds_and_framings(server: Server, kind: str, framing: str, method: str) -> None:
    """A body is the same however it comes in, and whatever the method is."""
    path, media_type, body, status, text = KINDS[kind]
    headers = {"Content-Type": media_type}
    size = max(1, len(body) // 7)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)) as connection:
        # A server that has answered already, with 404 say, need not take the rest of a body.
        with suppress(BrokenPipeError, ConnectionResetError):
            if framing == "chunks":
                connection.request(method, f"/{path}", iter(pieces), headers, encode_chunked=True)
            elif framing == "pieces":
                length = {"Content-Length": str(len(body))}
                connection.request(method, f"/{path}", iter(pieces), headers | length)
            else:
                connection.request(method, f"/{path}", body, headers)
        answer = connection.getresponse()
        found = answer.read()
    assert (answer.status, found) == (status, text.encode() if text else body)


@pytest.mark.parametrize("where", ["cut_upload", "cut_save", "cut_stream"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_client_that_vanishes(name: str, server: Server, where: str, framing: str, leave: str) -> None:
    """The handler hears of it at once, whoever else is served."""
    if name == "daphne":
        pytest.skip("daphne hands a body on once it is whole")
    kind = "a/b" if where == "cut_stream" else MULTIPART
    body = FILE.removesuffix(b"\r\n")
    length = f"Content-Length: {len(body) + 1000}" if framing == "length" else "Transfer-Encoding: chunked"
    head = f"POST /{where} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(head + (body if framing == "length" else b"%x\r\n%b\r\n" % (len(body), body)))
        assert httpx.get(server.url + "begin", timeout=PATIENCE).text == "begun"
        if leave == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end = httpx.get(server.url + "end", timeout=PATIENCE).text
    error = "HTTPError" if where == "cut_stream" else "MultipartFileError"
    assert end == f"{error} 400 Bad Request: the body is not complete"
