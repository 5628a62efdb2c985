"""What hostile clients do, each over one connection, byte by byte, and what comes of it."""

from __future__ import annotations

import select
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from threading import Event
from typing import Any

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from tests.servers.client import Client
from tests.serving import PATIENCE, Server

KIB = 1024
MIB = 1024 * KIB
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
BOUNDARY = "limit"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"

#: What a client gets whose connection is closed without an answer.
NO_ANSWER = "no answer"

#: What somebody does to a server until it is done, or until the event says that it was enough; what comes of it.
Attack = Callable[[Server, Event], Any]


@dataclass
class Case:
    """One line of the table.

    Attributes:
        outcome: What comes of the attack.
        prepare: Makes it, so that it costs this process nothing any more when it is on.
        app: The app that it is aimed at.
        memory: By how many bytes the server's process may grow while it goes on again and again.
        slowness: How many times as much as any other attack it may hold up the innocent.
    """

    outcome: Any
    prepare: Callable[[], Attack]
    app: str = "app:app"
    memory: int = 256 * MIB
    slowness: int = 1


# --- HTTP -----------------------------------------------------------------------------------------------


def http(
    status: int | str, pieces: Callable[[], Iterable[bytes]], *, pause: float = 0, **options: Any
) -> Case:
    """A request in pieces, which is sent until an answer comes, and its status."""

    def prepare() -> Attack:
        prepared = list(pieces())
        return lambda server, _: ask(server, prepared, pause)

    return Case(status, prepare, **options)


def ask(server: Server, pieces: Iterable[bytes], pause: float = 0) -> int | str:
    """Send a request and return the status of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pour(sock, pieces, pause)
        return status_of(sock)


def pour(sock: socket.socket, pieces: Iterable[bytes], pause: float = 0) -> int:
    """Send until all is sent or something comes back, and return how many bytes went out.

    Args:
        sock: The connection.
        pieces: What to send.
        pause: For how many seconds to listen before each piece.
    """
    sent = 0
    sock.setblocking(False)
    try:
        for piece in pieces:
            if pause and select.select([sock], [], [], pause)[0]:
                break
            left = memoryview(piece)
            while left:
                readable, writable, _ = select.select([sock], [sock], [], PATIENCE)
                assert readable or writable, "the server neither reads nor answers"
                if readable:
                    return sent
                count = sock.send(left[: 64 * KIB])
                left = left[count:]
                sent += count
    except ConnectionError:
        pass  # the server has closed the connection; what it said before can still be read
    finally:
        sock.settimeout(PATIENCE)
    return sent


def status_of(sock: socket.socket) -> int | str:
    try:
        with closing(HTTPResponse(sock)) as response:
            response.begin()
            return response.status
    except (HTTPException, ConnectionError):
        return NO_ANSWER


def get(target: str, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
    yield _head("GET", target, headers or {})


def post(target: str, kind: str, body: bytes) -> Iterator[bytes]:
    """A request with a body in one piece."""
    return posted(target, kind, [body], len(body))


def posted(target: str, kind: str, body: Iterable[bytes], length: int | str) -> Iterator[bytes]:
    """A request with a body in pieces, whether or not its length is the one that is declared."""
    yield _head("POST", target, {"Content-Type": kind, "Content-Length": str(length)})
    yield from body


def chunked(target: str, kind: str, body: Iterable[bytes]) -> Iterator[bytes]:
    """A request with a body in chunks."""
    yield _head("POST", target, {"Content-Type": kind, "Transfer-Encoding": "chunked"})
    for piece in body:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} /{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode("latin-1")


# --- bodies ---------------------------------------------------------------------------------------------

#: The end of a multipart form.
END = f"--{BOUNDARY}--\r\n".encode()


def part(value: bytes, headers: bytes = b"") -> bytes:
    """A form field named ``name`` in a multipart form."""
    return _part('name="name"', value, headers)


def file(content: bytes) -> bytes:
    """A file named ``file``."""
    return _part('name="file"; filename="f"', content)


def _part(names: str, value: bytes, headers: bytes = b"") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {names}\r\n".encode()
    return head + headers + b"\r\n" + value + b"\r\n"


def start_of(parts: bytes) -> bytes:
    """A form that breaks off inside its last value."""
    return parts.removesuffix(b"\r\n")


def in_bytes(data: bytes) -> list[bytes]:
    """The same one byte at a time."""
    return [data[index : index + 1] for index in range(len(data))]


def json_list(item: bytes, size: int = MIB) -> bytes:
    """A JSON list of the same item again and again, of so many bytes."""
    items = [item] * ((size - 1) // (len(item) + 1))
    return b"[%b]" % b",".join(items).ljust(size - 2)


# --- WebSockets -----------------------------------------------------------------------------------------


def websocket(
    outcome: int | str,
    path: str,
    frames: Callable[[], Iterable[bytes]],
    *,
    deflate: bool = False,
    **options: Any,
) -> Case:
    """Frames, which are sent until something comes back: a close code or, if it is text, a message."""

    def prepare() -> Attack:
        prepared = list(frames())

        def attack(server: Server, _: Event) -> int | str | bytes | None:
            extensions = [ClientPerMessageDeflateFactory()] if deflate else None
            with Client(server, path, "hostile", extensions=extensions) as client:
                assert client.accepted
                pour(client.socket, prepared)
                return client.receive() if isinstance(outcome, str) else close_code(client)

        return attack

    return Case(outcome, prepare, **options)


def close_code(client: Client) -> int | None:
    while client.close is None and client.read():
        pass
    return None if client.close is None else client.close[0]


def message(data: bytes, opcode: Opcode = Opcode.TEXT) -> list[bytes]:
    """A message in one frame."""
    return [Frame(opcode, data).serialize(mask=True)]


def fragments(piece: bytes, count: int) -> list[bytes]:
    """A text message in many frames."""
    first, last = Frame(Opcode.TEXT, piece, fin=False), Frame(Opcode.CONT, piece)
    between = Frame(Opcode.CONT, piece, fin=False).serialize(mask=True)
    return [first.serialize(mask=True) + between * (count - 2) + last.serialize(mask=True)]


def bomb(size: int) -> list[bytes]:
    """A message of so many zeros, which are next to nothing while they are compressed."""
    deflate = zlib.compressobj(wbits=-12)
    data = deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    [frame] = message(data.removesuffix(b"\x00\x00\xff\xff"), Opcode.BINARY)
    return [bytes([frame[0] | 0x40]) + frame[1:]]  # RFC 7692, section 6: the bit RSV1


def repeated(frames: Sequence[bytes], times: int) -> list[bytes]:
    return [b"".join(frames) * 1000] * (times // 1000)
