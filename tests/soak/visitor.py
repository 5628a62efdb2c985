"""A client that knows just enough of HTTP and WebSockets, and leaves in every way there is."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

# RFC 6455, section 5.2: the opcode, and that it is one frame.
TEXT, CLOSE = 0x81, 0x88


class Visitor:
    """A client with one connection, and the session's cookie once it has got one.

    Attributes:
        cookie: The header with that cookie, as it is sent.
    """

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer
        self.cookie = ""

    @classmethod
    @asynccontextmanager
    async def at(cls, port: int) -> AsyncIterator[Self]:
        """A visitor of a server on this machine, who leaves in good order."""
        visitor = cls(port, *await asyncio.open_connection("127.0.0.1", port))
        try:
            yield visitor
        finally:
            await visitor.leave()

    async def ask_beside(self, target: str) -> tuple[int, bytes]:
        """The same visitor on another connection, while this one goes on."""
        async with type(self).at(self._port) as other:
            other.cookie = self.cookie
            return await other.ask(target)

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
        head = f"{method} /{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{self.cookie}{fields}\r\n"
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
            self.cookie = f"Cookie: {fields['set-cookie'].partition(';')[0]}\r\n"
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

    def stop_reading(self) -> None:
        """Read nothing more, and let little wait on this side."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a socket's

    async def read(self, size: int) -> None:
        """Take so many bytes of what comes."""
        await self._reader.readexactly(size)

    def go_on(self, body: bytes) -> None:
        """Send more of a body that has begun."""
        self._writer.write(body)

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
