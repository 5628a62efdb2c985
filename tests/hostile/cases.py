"""The table of what hostile clients do."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Any

from websockets.frames import Opcode

from tests.hostile.attacks import (
    END,
    FORM,
    JSON,
    KIB,
    MIB,
    MULTIPART,
    Case,
    ask,
    bomb,
    chunked,
    file,
    fragments,
    get,
    http,
    in_bytes,
    json_list,
    message,
    part,
    post,
    posted,
    pour,
    repeated,
    start_of,
    status_of,
    websocket,
)
from tests.servers.client import Client
from tests.serving import PATIENCE, Server

#: Half a million lists: Python 3.11 looks for garbage among them again and again while they are made.
COLLECTED = 4

#: Half a GiB, which nobody takes.
ENDLESS = [bytes(64 * KIB)] * 8192

FORMS = {
    "a million fields": http(413, lambda: post("field", FORM, b"a=1&" * 1_000_000)),
    "a million fields in chunks": http(413, lambda: chunked("field", FORM, [b"a=1&" * 1000] * 1000)),
    "nothing but separators": http(413, lambda: post("field", FORM, b"&" * 16 * MIB)),
    "1,000 escaped fields, 16 MiB": http(
        200, lambda: post("everything", FORM, b"&".join(b"%d=" % n + b"%41" * 5300 for n in range(1000)))
    ),
    "one huge field": http(413, lambda: post("field", FORM, b"name=" + b"a" * 15 * MIB)),
    "one huge escaped field": http(413, lambda: post("field", FORM, b"name=" + b"%41" * 5 * MIB)),
    "the largest field, escaped": http(200, lambda: post("field", FORM, b"name=" + b"%41" * MIB)),
    "a form a byte at a time": http(200, lambda: chunked("field", FORM, in_bytes(b"name=" + b"a" * 20_000))),
    "JSON as a form": http(400, lambda: post("field", FORM, b'{"name": 1}')),
}
BOUNDARIES = {
    "missing": "",
    "empty": "; boundary=",
    "empty between quotes": '; boundary=""',
    "without its last quote": '; boundary="limi',
    "not ASCII": "; boundary=\xe9",
    "another": "; boundary=other",
    "60 KB long": "; boundary=" + "x" * 60_000,
    "30,000 escaped quotes": '; boundary="' + '\\"' * 30_000,
    "behind 60,000 semicolons": ";" * 60_000 + " boundary=limit",
}
MULTIPART_FORMS = {
    "60,000 parts": http(413, lambda: post("field", MULTIPART, part(b"1") * 60_000 + END)),
    "60,000 files": http(413, lambda: post("field", MULTIPART, file(b"1") * 60_000 + END)),
    "one huge part": http(413, lambda: post("field", MULTIPART, part(b"1" * 15 * MIB) + END)),
    "no delimiter": http(400, lambda: post("field", MULTIPART, b"1" * 16 * MIB)),
    "beginnings of delimiters": http(400, lambda: post("field", MULTIPART, b"\r\n--limi" * 2 * MIB)),
    "a file of beginnings of delimiters": http(
        200, lambda: post("upload", MULTIPART, file(b"\r\n--limi" * (2 * MIB - 100)) + END)
    ),
    "a multipart form a byte at a time": http(
        200, lambda: chunked("upload", MULTIPART, in_bytes(file(b"1" * 20_000) + END))
    ),
    "1,000 parts full of headers": http(
        200, lambda: post("field", MULTIPART, part(b"1", b"X: %b\r\n" % (b"y" * 1000) * 15) * 1000 + END)
    ),
    "a part with too many headers": http(
        400, lambda: post("field", MULTIPART, part(b"1", b"X: y\r\n" * 100_000) + END)
    ),
    "a part with an endless header": http(
        400, lambda: post("field", MULTIPART, part(b"1", b"X: " + b"y" * MIB) + END)
    ),
    "a field after 15 MiB of files": http(
        200, lambda: post("file_then_field", MULTIPART, file(bytes(5 * MIB)) * 3 + part(b"v") + END)
    ),
    "50 files before the field that is wanted": http(
        200, lambda: post("few_descriptors", MULTIPART, file(bytes(300 * KIB)) * 50 + part(b"v") + END)
    ),
    "JSON as a multipart form": http(400, lambda: post("field", MULTIPART, b'{"name": 1}')),
} | {
    f"a boundary: {name}": http(
        400, partial(post, "field", "multipart/form-data" + parameter, part(b"1") + END)
    )
    for name, parameter in BOUNDARIES.items()
}

JSON_BODIES = {
    "1 MiB of lists": http(200, lambda: post("json", JSON, json_list(b"[]"))),
    "1 MiB of deep lists": http(
        200, lambda: post("json", JSON, json_list(b"[" * 250 + b"]" * 250)), slowness=COLLECTED
    ),
    "1 MiB of keys": http(
        200, lambda: post("everything", JSON, b"{%b}" % b",".join(b'"%x":0' % n for n in range(100_000)))
    ),
    "1 MiB of numbers to convert": http(
        200, lambda: post("numbers", JSON, b'{"values":%b}' % json_list(b'"1"', MIB - 11))
    ),
    "a byte more than 1 MiB": http(413, lambda: post("json", JSON, json_list(b"[]", MIB + 1))),
    "16 MiB of JSON": http(413, lambda: post("json", JSON, json_list(b"[]", 16 * MIB))),
    "100,000 brackets": http(400, lambda: post("json", JSON, b"[" * 100_000)),
    "100,000 braces": http(400, lambda: post("json", JSON, b'{"a":' * 100_000)),
    "100,000 pairs of brackets": http(400, lambda: post("json", JSON, b"[" * 100_000 + b"]" * 100_000)),
    "1e999999": http(400, lambda: post("json", JSON, b"1e999999")),
    "5,000 digits": http(400, lambda: post("json", JSON, b"9" * 5000)),
    "a million digits": http(400, lambda: post("json", JSON, b"9" * MIB)),
    "a million digits to convert": http(
        400, lambda: post("number", JSON, b'{"value":"%b"}' % (b"9" * (MIB - 12)))
    ),
    "a form as JSON": http(400, lambda: post("field", JSON, b"name=1")),
    "a million digits in a form": http(400, lambda: post("number", FORM, b"value=" + b"9" * (MIB - 10))),
}
WITHOUT_ORJSON = {
    "1 MiB of lists, without orjson": http(
        200, lambda: post("json", JSON, json_list(b"[]")), app="without_orjson:app"
    ),
    "100,000 brackets, without orjson": http(
        400, lambda: post("json", JSON, b"[" * 100_000), app="without_orjson:app"
    ),
    "1e999999, without orjson": http(400, lambda: post("json", JSON, b"1e999999"), app="without_orjson:app"),
    "half a character again and again, without orjson": http(
        400, lambda: post("json", JSON, json_list(b'"\\ud800"')), app="without_orjson:app"
    ),
    "4,300 digits again and again, without orjson": http(
        200, lambda: post("json", JSON, json_list(b"9" * 4300)), app="without_orjson:app"
    ),
    "4,301 digits, without orjson": http(
        400, lambda: post("json", JSON, b"9" * 4301), app="without_orjson:app"
    ),
}


def _hoard(server: Server, _: Event) -> tuple[int | str, bool]:
    """An upload that the handler never reads: the client is held up, and gets its answer all the same."""
    upload = posted("hoard", MULTIPART, [start_of(file(b"")), *ENDLESS], 512 * MIB)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        held_up = pour(sock, upload) < 32 * MIB
        return status_of(sock), held_up


def _media_types(server: Server, enough: Event) -> set[int | str]:
    enough.set()
    return {ask(server, post("body", f"text/plain; {number:0{MIB}}", b"")) for number in range(100)}


def _tiny(target: str, kind: str, body: bytes) -> list[bytes]:
    """A body in chunks of a byte, many of which are sent at once."""
    sent = b"".join(chunked(target, kind, in_bytes(body)))
    return [sent[start : start + 64 * KIB] for start in range(0, len(sent), 64 * KIB)]


SIZES = {
    "10 GiB are declared": http(413, lambda: posted("body", "a/b", (), 10 * 1024 * MIB)),
    "a form of 10 GiB is declared": http(413, lambda: posted("field", FORM, (), 10 * 1024 * MIB)),
    "JSON of 10 GiB is declared": http(413, lambda: posted("json", JSON, (), 10 * 1024 * MIB)),
    "an upload of 10 GiB is declared": http(413, lambda: posted("upload", MULTIPART, (), 10 * 1024 * MIB)),
    "an endless body": http(413, lambda: chunked("body", "a/b", ENDLESS[:300])),
    "an endless upload": http(
        413, lambda: chunked("upload", MULTIPART, [start_of(file(b"")), *ENDLESS[:300]])
    ),
    "100,000 chunks": http(200, lambda: chunked("body", "a/b", [b"ab"] * 100_000)),
    "a million chunks of a byte": http(200, lambda: _tiny("body", "a/b", b"a" * MIB), memory=32 * MIB),
    "a million pieces of a byte": http(200, lambda: _tiny("pieces", "a/b", b"a" * MIB), memory=32 * MIB),
    "a file in chunks of a byte": http(
        200, lambda: _tiny("upload", MULTIPART, file(bytes(500_000)) + END), memory=32 * MIB
    ),
    "an upload that is never read": Case((200, True), lambda: _hoard, app="app:roomy", memory=32 * MIB),
    # The server itself holds up to some 35 of them for a while; one that kept them would hold all 100.
    "media types of 1 MiB": Case({200}, lambda: _media_types, app="app:roomy", memory=64 * MIB),
}
ONE_BY_ONE = [b"a"] * 1000


def _drip(kind: str, pieces: list[bytes]) -> Case:
    return http(408, lambda: posted("body", kind, pieces, 10_000), pause=0.5, app="app:hurried")


DRIPS = {
    "a body in drips": _drip("a/b", ONE_BY_ONE),
    "a form in drips": _drip(FORM, ONE_BY_ONE),
    "JSON in drips": _drip(JSON, ONE_BY_ONE),
    "an upload in drips": _drip(MULTIPART, [start_of(file(b"")), *ONE_BY_ONE]),
    "chunks in drips": http(408, lambda: chunked("body", "a/b", ONE_BY_ONE), pause=0.5, app="app:hurried"),
    "drips, none of them late": http(
        408, lambda: posted("body", "a/b", ONE_BY_ONE, 1000), pause=0.02, app="no_minute:app"
    ),
}

HEADERS = {
    "60 KB of query parameters": http(400, lambda: get("query?" + "a=1&" * 15_000)),
    "1,000 escaped query parameters": http(
        200, lambda: get("query?" + "&".join(f"{n}=" + "%41" * 19 for n in range(1000)))
    ),
    "30,000 path segments": http(200, lambda: get("a/" * 30_000)),
    "60,000 digits in a path": http(404, lambda: get("number/" + "9" * 60_000)),
    "20,000 cookies": http(200, lambda: get("cookies", {"Cookie": "a=b; " * 20_000})),
    "2,500 session cookies": http(
        401, lambda: get("member", {"Cookie": "; ".join(f"session_id={n:032}" for n in range(2500))})
    ),
    "a session cookie of 100 KB": http(401, lambda: get("member", {"Cookie": "session_id=" + "a" * 100_000})),
    "a header of 100 KB": http(200, lambda: get("headers", {"X": "a" * 100_000})),
    "100,000 headers of one name": http(
        200, lambda: get("headers", {"X": "\r\nX: ".join(["abcdefgh"] * 100_000)})
    ),
    "5,000 headers": http(200, lambda: get("headers", {f"X-{n}": "a" for n in range(5000)})),
}


def _flood(server: Server, enough: Event) -> None:
    """A client that does not read what a handler sends again and again."""
    with Client(server, "flood", "hostile", read_buffer=4096) as client:
        assert client.accepted
        enough.wait(PATIENCE)
        client.reset()


def _half_open(server: Server, enough: Event) -> None:
    """Handshakes that break off."""
    with ExitStack() as stack:
        for _ in range(200):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            sock.sendall(b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upg")
        enough.wait(PATIENCE)


WEBSOCKETS = {
    "100,000 messages that are never read": websocket(
        1000, "hoard", lambda: repeated(message(b"0123456789"), 100_000), app="app:roomy", memory=32 * MIB
    ),
    "100,000 messages beside run()": websocket(
        1000, "run", lambda: repeated(message(b"0123456789"), 100_000), app="app:roomy", memory=32 * MIB
    ),
    "100 MiB that are never read": websocket(
        1000, "hoard", lambda: message(bytes(MIB)) * 100, app="app:roomy", memory=32 * MIB
    ),
    "nobody reads what is sent": Case(None, lambda: _flood, app="app:roomy", memory=32 * MIB),
    "1 MiB of lists in a message": websocket("list", "json", lambda: message(json_list(b"[]"))),
    "a message of a byte more than 1 MiB": websocket(
        1009, "json", lambda: message(json_list(b"[]", MIB + 1))
    ),
    "a message larger than the server takes": websocket(1009, "json", lambda: message(bytes(17 * MIB))),
    "a bomb": websocket(1009, "text", lambda: bomb(15 * MIB), deflate=True),
    "a bomb larger than the server takes": websocket(  # which keeps 16 MiB of each until the collector comes
        1009, "text", lambda: bomb(100 * MIB), deflate=True, memory=1024 * MIB
    ),
    "100,000 brackets in a message": websocket(1007, "json", lambda: message(b"[" * 100_000)),
    "1e999999 in a message": websocket(1007, "json", lambda: message(b"1e999999")),
    "a binary message that is no UTF-8": websocket(
        1007, "text", lambda: message(b"\xff" * MIB, Opcode.BINARY)
    ),
    "a message in 5,000 frames": websocket("5000", "text", lambda: fragments(b"x", 5000)),
    "200 handshakes that break off": Case(None, lambda: _half_open),
}


def _sleepers(server: Server, enough: Event) -> tuple[list[Any], list[int | str]]:
    """More requests for a sync handler than there are threads, and the handler sleeps."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(50)]
        for sock in crowd:
            sock.settimeout(PATIENCE)
            sock.sendall(b"".join(get("sleep")))
        assert ask(server, get("all_asleep")) == 200
        enough.wait(PATIENCE)
        early = select.select(crowd, [], [], 0)[0]
        assert ask(server, get("wake")) == 200
        return early, [status_of(sock) for sock in crowd]


SLEEPERS = {"50 sync handlers that sleep": Case(([], [200] * 50), lambda: _sleepers)}


def _audience(target: str, reads: int, server: Server, enough: Event) -> list[Any]:
    """Five clients of a stream, each of which reads so many bytes and then stops; in the end they leave."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(5)]
        for sock in crowd:
            sock.settimeout(PATIENCE)
            sock.sendall(b"".join(get(target)))
        seen = [status_of(sock) for sock in crowd]
        for sock in crowd:
            left = reads
            while left > 0:
                left -= len(sock.recv(64 * KIB))
        enough.wait(PATIENCE if not reads else 0)
    return [*seen, ask(server, get("all_closed"))]


def _streams(target: str, reads: int = 0) -> Case:
    return Case([200] * 6, lambda: partial(_audience, target, reads))


STREAMS = {
    "clients that read nothing of endless streams": _streams("film"),
    "clients that read endless streams fast, and leave": _streams("film", 20 * MIB),
    "clients of streams that swallow a cancellation": _streams("tail"),
    "clients of streams that are silent": _streams("silent"),
}

CASES = {
    **FORMS,
    **MULTIPART_FORMS,
    **JSON_BODIES,
    **WITHOUT_ORJSON,
    **SIZES,
    **DRIPS,
    **HEADERS,
    **WEBSOCKETS,
    **SLEEPERS,
    **STREAMS,
}

#: What comes of five bytes with this ``Content-Length``, and perhaps another line, by the parser that uvicorn has.
LENGTHS = {
    "5": {"httptools": 200, "h11": 200},
    "005": {"httptools": 200, "h11": 200},
    "": {"httptools": 400, "h11": 400},
    "  ": {"httptools": 400, "h11": 400},
    "-1": {"httptools": 400, "h11": 400},
    "+5": {"httptools": 400, "h11": 400},
    "5x": {"httptools": 400, "h11": 400},
    "0x5": {"httptools": 400, "h11": 400},
    "5.0": {"httptools": 400, "h11": 400},
    "1_0": {"httptools": 400, "h11": 400},
    "5 5": {"httptools": 400, "h11": 400},
    "\xb2": {"httptools": 400, "h11": 400},
    "1,2": {"httptools": 400, "h11": 400},
    "5,5": {"httptools": 400, "h11": 200},  # RFC 9110, section 8.6, allows either
    "5\r\nContent-Length: 5": {"httptools": 400, "h11": 200},
    "5\r\nContent-Length: 6": {"httptools": 400, "h11": 400},
    "5\r\nTransfer-Encoding: chunked": {"httptools": 400, "h11": 408},  # what follows is no whole chunk
    "5\r\nTransfer-Encoding: gzip": {"httptools": 400, "h11": 400},
    "9223372036854775807": {"httptools": 413, "h11": 413},
    "18446744073709551621": {"httptools": 400, "h11": 413},  # 5, if it were taken modulo 2**64
    "9" * 30: {"httptools": 400, "h11": 400},
    "9" * 5000: {"httptools": 400, "h11": 400},
}
