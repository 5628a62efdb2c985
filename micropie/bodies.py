"""Request bodies: read within limits of size and time, parsed by their media type alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from .codec import load_json
from .exceptions import HTTPError
from .headers import find_header
from .types import Message, Receive, Scope

#: A whole body may take so many seconds, and one more for each so many bytes that have come in.
_PATIENCE = 60
_BYTES_PER_SECOND = 16 * 1024


_TAKEN = "the body has been read already, as a form with files; it is not kept"
#: How much of a form field is decoded in one go, in bytes; in between the open sockets have their turn.
_SLICE = 64 * 1024


class Limits(NamedTuple):
    """What a body may cost; None is no limit."""

    gap: float | None
    body: int | None
    json: int | None
    field: int | None
    parts: int | None


def check_limit(size: int, limit: int | None, what: str) -> None:
    """Refuse what is too large.

    Raises:
        HTTPError: 413.
    """
    if limit is not None and size > limit:
        raise HTTPError(413, f"{what} than {limit}")


class Body:
    """The body of one request, as bytes that come in.

    Args:
        scope: The request's scope.
        receive: The server's ``receive``.
        limits: What the body may cost.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self._scope = scope
        self._receive = receive
        self._limits = limits
        self._whole: bytes | None = None
        self._pieces: list[bytes] = []
        self._received = 0
        self._spent = 0.0
        self._more = True
        self._error: HTTPError | None = None
        self._streamed = False
        self._replayed = False
        self._reading: asyncio.Lock | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body, once.  Time that the consumer takes between two of them does not count.

        Raises:
            HTTPError: 413 if it is too large, at once if ``Content-Length`` says so; 408 if it is too slow;
                400 if the client cut it short, or ``Content-Length`` is no number.
            RuntimeError: If the pieces have been taken before.
        """
        if self._streamed:
            raise RuntimeError(_TAKEN)
        if self._whole is not None:
            yield self._whole
            return
        self._streamed = True
        while self._more:
            piece = await self._next_piece()
            if piece:
                yield piece

    async def _next_piece(self) -> bytes:
        if self._error is not None:
            raise self._error
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            check_limit(self._declared_length(), self._limits.body, "the body has more bytes")
            message = await self._next(_PATIENCE + self._received / _BYTES_PER_SECOND - self._spent)
            piece: bytes = message.get("body", b"")
            self._received += len(piece)
            check_limit(self._received, self._limits.body, "the body has more bytes")
        except HTTPError as error:
            self._error = error
            raise
        finally:
            self._spent += clock() - began
        self._more = message.get("more_body", False)
        return piece

    def _declared_length(self) -> int:
        length = find_header(self._scope, b"content-length") or b"0"
        if not length.isdigit() or len(length) > 20:
            raise HTTPError(400, "Content-Length is not a number")
        return int(length)

    async def _next(self, left: float) -> Any:
        gap = self._limits.gap
        try:
            async with asyncio.timeout(None if gap is None else min(gap, left)):
                message = await self._receive()
        except TimeoutError:
            raise HTTPError(408, "the body came too slowly") from None
        if message["type"] == "http.disconnect":
            raise HTTPError(400, "the body is not complete")
        return message

    async def read(self) -> bytes:
        """The whole body.  A second call gives the same bytes.

        Raises:
            HTTPError: As :meth:`chunks`.
        """
        if self._whole is None and not has_body(self._scope):
            self._whole = b""
        if self._streamed:
            raise RuntimeError(_TAKEN)
        # Two may ask at once, and one may give up: what has come in is kept for the next.
        self._reading = self._reading or asyncio.Lock()
        async with self._reading:
            while self._whole is None:
                if self._more:
                    self._pieces.append(await self._next_piece())
                else:
                    self._whole = b"".join(self._pieces)
        return self._whole

    async def settle(self) -> None:
        """Read what has not been read, so that from now on only the client's end can come in.

        Raises:
            HTTPError: As :meth:`chunks`.
        """
        if not self._streamed and has_body(self._scope):
            await self.read()

    async def replay(self) -> Message:
        """The server's ``receive`` for another app: a body that was read comes once more."""
        if self._whole is None or self._replayed:
            return await self._receive()
        self._replayed = True
        return {"type": "http.request", "body": self._whole, "more_body": False}

    async def read_json(self) -> Any:
        """The value of a JSON body.

        Raises:
            HTTPError: 400 if it is not JSON, 413 if it is too large, and as :meth:`chunks`.
        """
        data = await self.read()
        # Parsing holds the interpreter, and with it every open socket.
        check_limit(len(data), self._limits.json, "the JSON body has more bytes")
        try:
            return load_json(data)
        except ValueError:
            raise HTTPError(400, "the body is not JSON") from None

    async def read_form(self) -> dict[str, list[str]]:
        """The fields of an urlencoded body: every value of each name, blank ones too.

        Raises:
            HTTPError: 413 for too many fields, or one that is too large, and as :meth:`chunks`.
        """
        data = await self.read()
        check_limit(data.count(b"&") + 1, self._limits.parts, "the form has more fields")
        fields: dict[str, list[str]] = {}
        for number, pair in enumerate(data.split(b"&")):
            if pair:
                if len(pair) > 4096 or number % 100 == 99:
                    await asyncio.sleep(0)  # the open sockets have their turn between two fields
                name, _, value = pair.partition(b"=")
                key = await self._decoded(name)
                fields.setdefault(key, []).append(await self._decoded(value))
        return fields

    async def _decoded(self, text: bytes) -> str:
        limit = self._limits.field
        # A character needs at most three bytes here, so a longer text need not be decoded to be refused.
        check_limit(len(text) // 3, limit, "a form field has more bytes")
        decoded = b""
        while text:
            end = len(text) if len(text) <= _SLICE else _slice_end(text)
            decoded += unquote_to_bytes(text[:end].replace(b"+", b" "))
            check_limit(len(decoded), limit, "a form field has more bytes")
            text = text[end:]
            if text:
                await asyncio.sleep(0)
        return decoded.decode(errors="replace")


def _slice_end(text: bytes) -> int:
    escape = text.find(b"%", _SLICE - 2, _SLICE)  # one that the slice would cut
    return _SLICE if escape < 0 else escape


def media_type(scope: Scope) -> tuple[str, str]:
    """The media type of a body in lower case, and its parameters as they were sent."""
    kind, _, parameters = (find_header(scope, b"content-type") or b"").decode("latin-1").partition(";")
    return kind.strip().lower(), parameters.strip()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON (RFC 8259, and RFC 6839 for ``+json``)."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def has_body(scope: Scope) -> bool:
    """Whether a request comes with a body (RFC 9112, section 6.3; HTTP/2 needs neither field)."""
    if scope["method"] in ("GET", "HEAD") and find_header(scope, b"transfer-encoding") is None:
        return (find_header(scope, b"content-length") or b"0") != b"0"
    return True
