"""Every way in which a client visits the apps of leak_apps.py, and the right answer to each."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "leaks"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
# RFC 6455, section 5.2: the opcode, and that it is one frame.
TEXT, CLOSE = 0x81, 0x88


class Visitor:
    """A client with one connection, and the session's cookie once it has got one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._cookie = ""

    async def ask(self, target: str, kind: str = "", body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request, and return status and body of the answer; a body that has no end ends with the connection."""
        self.begin(target, kind, body)
        return await self.answer()

    def begin(self, target: str, kind: str = "", body: bytes | None = None, missing: int = 0) -> None:
        """Send a request, or all of it but the last bytes."""
        method, fields = "GET", ""
        if body is not None:
            method, fields = "POST", f"Content-Type: {kind}\r\nContent-Length: {len(body) + missing}\r\n"
        self._send_head(method, target, fields, body or b"")

    def _send_head(self, method: str, target: str, fields: str, body: bytes = b"") -> None:
        head = f"{method} /{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self._cookie}{fields}\r\n"
        self._writer.write(head.encode() + body)

    async def answer(self) -> tuple[int, bytes]:
        """The answer to what was sent."""
        status, fields = await self._read_head()
        if "content-length" in fields:
            return status, await self._reader.readexactly(int(fields["content-length"]))
        body = b""
        try:
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
            await self._reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return status, body + b" and no end"
        return status, body

    async def some(self) -> int:
        """The status of an answer whose body has begun."""
        status, _ = await self._read_head()
        await self._reader.readuntil(b"begun")
        return status

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = {
            name.lower(): value for name, value in re.findall(r"^([^:\r\n]+): (.*)\r$", head, re.MULTILINE)
        }
        if "set-cookie" in fields:
            self._cookie = f"Cookie: {fields['set-cookie'].partition(';')[0]}\r\n"
        return int(head.split()[1]), fields

    async def open(self, target: str, fields: str = "") -> int:
        """Ask for a WebSocket, and return the status: 101 if it is open."""
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        self._send_head("GET", target, upgrade + key + fields)
        return (await self._read_head())[0]

    def say(self, kind: int, payload: bytes) -> None:
        """Send a frame, masked by zeros."""
        self._writer.write(bytes((kind, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    async def hear(self) -> tuple[int, bytes]:
        """The next frame: its kind and its payload."""
        kind, size = await self._reader.readexactly(2)
        return kind, await self._reader.readexactly(size)

    def vanish(self) -> None:
        """Leave without a word, as a client that crashes does."""
        self._writer.transport.abort()

    async def leave(self) -> None:
        """Close the connection in good order."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


def expect(seen: Any, expected: Any) -> None:
    """Stop at an answer that is not the right one: nothing is measured then."""
    if seen != expected:
        raise RuntimeError(f"the server answered {seen!r}, not {expected!r}")


# --- the visits -----------------------------------------------------------------------------------------


async def comes_back(visitor: Visitor) -> None:
    expect(await visitor.ask(""), (200, b"visit 1"))
    expect(await visitor.ask(""), (200, b"visit 2"))


async def logs_in_and_out(visitor: Visitor) -> None:
    expect(await visitor.ask("login", FORM, b"name=alice"), (200, b"hello alice"))
    expect(await visitor.ask("me?user=bob"), (200, b"alice"))
    expect(await visitor.ask("logout"), (200, b"bye"))
    expect((await visitor.ask("me"))[0], 401)


async def sends_json(visitor: Visitor) -> None:
    values = json.dumps({"values": [*range(100)]}).encode()
    expect(await visitor.ask("json", "application/json", values), (200, b'{"sum":4950}'))
    expect((await visitor.ask("json", "application/json", b"{"))[0], 400)


def upload(size: int, *, file_first: bool = True) -> bytes:
    """A form with a field and a file; a file that comes first has to wait in a temporary one."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    file = f'{head}"file"; filename="f"\r\n\r\n{"x" * size}\r\n'
    field = f'{head}"name"\r\n\r\nn\r\n'
    return f"{file + field if file_first else field + file}--{BOUNDARY}--\r\n".encode()


async def uploads(visitor: Visitor) -> None:
    expect(await visitor.ask("upload", MULTIPART, upload(300_000)), (200, b"n 300000"))
    expect(await visitor.ask("upload", MULTIPART, upload(3_000, file_first=False)), (200, b"n 3000"))
    expect(await visitor.ask("unread", MULTIPART, upload(3_000)), (200, b"f"))


async def sends_too_much(visitor: Visitor) -> None:
    visitor.begin("upload", MULTIPART, b"", missing=2**40)
    expect((await visitor.answer())[0], 413)


async def breaks_off_an_upload(visitor: Visitor) -> None:
    visitor.begin("upload", MULTIPART, upload(100_000, file_first=False)[:-50_000], missing=50_000)
    visitor.vanish()


async def reads_a_stream(visitor: Visitor) -> None:
    numbers = "".join(f"{number}\n" for number in range(20)).encode()
    expect(await visitor.ask("stream?count=20"), (200, numbers))


async def leaves_a_stream(visitor: Visitor) -> None:
    visitor.begin("waits")
    expect(await visitor.some(), 200)
    visitor.vanish()


async def leaves_before_the_answer(visitor: Visitor) -> None:
    visitor.begin("stream?count=20")
    visitor.vanish()


async def meets_errors(visitor: Visitor) -> None:
    expect((await visitor.ask("fails"))[0], 500)
    expect((await visitor.ask("refuses"))[0], 409)
    expect((await visitor.ask("nowhere"))[0], 404)
    expect((await visitor.ask("stream?count=x"))[0], 400)
    expect(await visitor.ask("breaks"), (200, b"begun and no end"))


async def meets_a_thread(visitor: Visitor) -> None:
    expect((await visitor.ask("thread"))[0], 200)


async def talks(visitor: Visitor, path: str = "echo") -> None:
    expect(await visitor.open(path), 101)
    for word in (b"one", b"two"):
        visitor.say(TEXT, word)
        expect(await visitor.hear(), (TEXT, word))
    visitor.say(CLOSE, (1000).to_bytes(2))
    expect(await visitor.hear(), (CLOSE, (1000).to_bytes(2)))


async def talks_both_ways(visitor: Visitor) -> None:
    await talks(visitor, "run")


async def vanishes(visitor: Visitor) -> None:
    expect(await visitor.open("waits"), 101)
    expect(await visitor.hear(), (TEXT, b"begun"))
    visitor.vanish()


async def says_nonsense(visitor: Visitor) -> None:
    expect(await visitor.open("caught"), 101)
    visitor.say(TEXT, b"no JSON")
    expect(await visitor.hear(), (CLOSE, (1007).to_bytes(2)))


async def meets_a_failing_socket(visitor: Visitor) -> None:
    expect(await visitor.open("fails"), 101)
    expect(await visitor.hear(), (CLOSE, (1011).to_bytes(2)))


async def is_refused(visitor: Visitor) -> None:
    expect(await visitor.open("refuses"), 401)


async def is_foreign(visitor: Visitor) -> None:
    expect(await visitor.open("echo", "Origin: http://evil.example\r\n"), 403)


#: Each visit, and how many requests and sockets it is.
VISITS: dict[Callable[[Visitor], Awaitable[None]], int] = {
    comes_back: 2,
    logs_in_and_out: 4,
    sends_json: 2,
    uploads: 3,
    sends_too_much: 1,
    breaks_off_an_upload: 1,
    reads_a_stream: 1,
    leaves_a_stream: 1,
    leaves_before_the_answer: 1,
    meets_errors: 5,
    meets_a_thread: 1,
    talks: 1,
    talks_both_ways: 1,
    vanishes: 1,
    says_nonsense: 1,
    meets_a_failing_socket: 1,
    is_refused: 1,
    is_foreign: 1,
}
