"""A WebSocket client that does what it is told and nothing else: it may leave, fall silent or break off anywhere.

The protocol is that of the library websockets, without its I/O: there is one blocking socket and no thread.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Self

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.serving import PATIENCE, Server


class Client:
    """One connection, whose handshake is under way; :attr:`response` waits for the answer.

    Args:
        server: Where to connect.
        path: The path and query of the URL, without the first slash.
        case: What the lines of the log about this connection begin with.
        headers: Header fields to add to the handshake.
        read_buffer: How much the kernel reads ahead, in bytes; None for its own idea.
        options: ``origin`` and ``subprotocols`` of the library's ``ClientProtocol``.
    """

    def __init__(
        self,
        server: Server,
        path: str,
        case: str,
        *,
        headers: Mapping[str, str] | None = None,
        read_buffer: int | None = None,
        **options: Any,
    ) -> None:
        self.server = server
        self.case = case
        #: How much the server had written before.
        self.log_start = len(server.log())
        #: Whether pings and close frames are left without an answer.
        self.mute = False
        self.socket = socket.socket()
        if read_buffer is not None:  # before connecting, as TCP announces it then
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self._protocol = ClientProtocol(parse_uri(server.ws_url + path), max_size=None, **options)
        self._events = self._incoming()
        self._messages = self._joined()
        request = self._protocol.connect()
        request.headers.update({"X-Case": case, **(headers or {})})
        self._protocol.send_request(request)
        self.flush()

    @cached_property
    def response(self) -> Response:
        """The answer to the handshake."""
        return next(self._events)

    @property
    def accepted(self) -> bool:
        return self.response.status_code == 101

    @property
    def close(self) -> tuple[int, str] | None:
        """The server's close frame: code (1005 if there is none in it) and reason; None if none has come."""
        frame = self._protocol.close_rcvd
        return None if frame is None else (int(frame.code), frame.reason)

    # --- in

    def receive(self) -> str | bytes | None:
        """The next message; None at the end of the connection."""
        return next(self, None)

    def __iter__(self) -> Iterator[str | bytes]:
        return self

    def __next__(self) -> str | bytes:
        assert self.accepted
        return next(self._messages)

    def _joined(self) -> Iterator[str | bytes]:
        parts: list[bytes] = []
        kind = Opcode.TEXT
        for frame in self._events:
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
                kind = frame.opcode
            if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                parts.append(bytes(frame.data))
                if frame.fin:
                    message = b"".join(parts)
                    yield message.decode() if kind is Opcode.TEXT else message
                    parts = []

    def _incoming(self) -> Iterator[Any]:
        """The response and the frames that follow it, to the end of the connection."""
        while self.read():
            yield from self._protocol.events_received()
        yield from self._protocol.events_received()

    def read(self) -> bool:
        """Read what comes next; false at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
            self.flush()
        else:
            self._protocol.receive_eof()
            self.socket.close()  # the server may wait for it, as it does for the answer to its close frame
        return bool(data)

    # --- out

    def send(self, *parts: str | bytes) -> None:
        """Send a message, in as many frames as there are parts; the first part says of which kind."""
        assert self.accepted  # before that, a server may lose what it reads
        opcode = Opcode.TEXT if isinstance(parts[0], str) else Opcode.BINARY
        for number, part in enumerate(parts, start=1):
            data = part.encode() if isinstance(part, str) else part
            self.write(self.frame(opcode, data, fin=number == len(parts)))
            opcode = Opcode.CONT

    def frame(self, opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
        """A frame as it goes over the wire."""
        return Frame(opcode, data, fin=fin).serialize(mask=True)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def flush(self) -> None:
        """Send what the protocol has to say."""
        if not self.mute:
            with suppress(OSError):  # the server was faster
                self.write(b"".join(self._protocol.data_to_send()))

    # --- the end

    def leave(self, code: int | None = None, reason: str = "") -> None:
        """Send a close frame, and read on until the server has closed the connection."""
        self.say_goodbye(code, reason)
        for _ in self:
            pass

    def say_goodbye(self, code: int | None = None, reason: str = "") -> None:
        """Send a close frame."""
        self._protocol.send_close(code, reason)
        self.flush()

    def half_close(self) -> None:
        """End the connection without a close frame, by TCP's FIN."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off, by TCP's RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        self._messages = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
