"""A proxy before a server, whose lines can break or go dead."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.serving import PATIENCE

RESET = struct.pack("ii", 1, 0)  # for SO_LINGER: closing sends RST, and no FIN


@dataclass
class Line:
    """One TCP connection of a client. What either side sends on a dead one is swallowed, its goodbye as well."""

    client: asyncio.StreamWriter
    dead: bool
    is_websocket: bool = False


class Lines:
    """What is between browsers and a server, for the length of a ``with`` block of :func:`lines`."""

    def __init__(self, server: str) -> None:
        self._server = urlsplit(server)
        self._lines: list[Line] = []
        self._frozen = False
        self.url = ""

    def freeze(self, *, requests: bool = False, new: bool = False) -> None:
        """Let all WebSockets go dead, for good.

        The lines of requests are closed, as the server does when nothing is asked for some seconds; with ``requests``
        they go dead, too. With ``new`` so does every line that is opened before :meth:`heal`.
        """
        self._frozen = new
        for line in self._lines:
            line.dead = requests or line.is_websocket
        self._loop.call_soon_threadsafe(self._close, [line for line in self._lines if not line.dead])

    def heal(self) -> None:
        """Let new lines work again. The dead ones stay dead."""
        self._frozen = False

    def cut(self, *, dead: bool = False) -> None:
        """Reset all lines, or only those that are dead, as a router does that was started again."""
        some = [line for line in self._lines if line.dead or not dead]
        self._loop.call_soon_threadsafe(self._close, some, RESET)

    def _close(self, some: list[Line], linger: bytes | None = None) -> None:
        for line in some:
            if linger is not None and not line.client.is_closing():
                line.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            line.client.transport.abort()

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        self.url = self._server._replace(netloc=f"127.0.0.1:{port}").geturl()
        started.set()
        await self._over.wait()
        listener.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer, self._frozen)
        self._lines.append(line)
        with suppress(OSError, asyncio.CancelledError):  # cancelled at the end of the block
            there, back = await asyncio.open_connection(self._server.hostname, self._server.port)
            try:
                await asyncio.gather(self._pump(line, reader, back), self._pump(line, there, writer))
            finally:
                back.close()
        writer.close()

    async def _pump(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            line.is_websocket |= b"\r\nUpgrade: websocket\r\n" in data
            if not line.dead:
                writer.write(data)
                await writer.drain()
        if not line.dead:
            writer.close()


@contextmanager
def lines(server: str) -> Iterator[Lines]:
    """Put a proxy before the server at an address; its own is the attribute ``url``."""
    between, started = Lines(server), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(between._serve(started),))
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield between
    finally:
        between._loop.call_soon_threadsafe(between._over.set)
        thread.join(PATIENCE)
