"""Request bodies: read within limits of size and time, parsed by their media type alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from functools import lru_cache
from types import CoroutineType
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, unquote_to_bytes

from .codec import load_json
from .concurrency import resumed
from .exceptions import HTTPError
from .types import Message, Receive

#: A whole body may take so many seconds, and one more for each so many bytes that have come in.
_PATIENCE = 60
_BYTES_PER_SECOND = 16 * 1024


_TAKEN = "the body has been read already, as a form with files; it is not kept"
#: How much of a form field is decoded in one go, in bytes; in between the open sockets have their turn.
_SLICE = 64 * 1024
#: A form of so many bytes is decoded in one go altogether.
_SMALL = 4096


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
        receive: The server's ``receive``.
        limits: What the body may cost.
        length: Its ``Content-Length``; None if there is none.
        expected: Whether there is one at all.
    """

    _whole: bytes | None = None
    _received = 0
    _spent = 0.0
    _more = True
    _error: HTTPError | None = None
    _streamed = False
    _replayed = False
    # Whether a task reads, and what others wait for meanwhile.
    _reading = False
    _turn: asyncio.Future[None] | None = None

    def __init__(self, receive: Receive, limits: Limits, length: bytes | None, expected: bool = True) -> None:
        self._receive = receive
        self._limits = limits
        self._most = sys.maxsize if limits.body is None else limits.body
        self._length = length
        self._expected = expected
        self._pieces: list[bytes] = []

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
        try:
            if self._length is not None and not self._received and _number(self._length) > self._most:
                raise self._too_large()
            waiting: Awaitable[Message] = self._receive()
            if isinstance(waiting, CoroutineType):
                # What has come in already needs no timer, which would cost more than all the rest.
                try:
                    waiting = resumed(waiting, waiting.send(None))
                except StopIteration as ready:
                    return self._taken(ready.value)
            return self._taken(await self._in_time(waiting))
        except HTTPError as error:
            self._error = error
            raise

    def _taken(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise HTTPError(400, "the body is not complete")
        piece: bytes = message.get("body", b"")
        self._received += len(piece)
        if self._received > self._most:
            raise self._too_large()
        self._more = message.get("more_body", False)
        return piece

    def _too_large(self) -> HTTPError:
        return HTTPError(413, f"the body has more bytes than {self._most}")

    async def _in_time(self, waiting: Awaitable[Message]) -> Message:
        gap, clock = self._limits.gap, asyncio.get_running_loop().time
        left = _PATIENCE + self._received / _BYTES_PER_SECOND - self._spent
        began = clock()
        try:
            async with asyncio.timeout(None if gap is None else min(gap, left)):
                return await waiting
        except TimeoutError:
            raise HTTPError(408, "the body came too slowly") from None
        finally:
            self._spent += clock() - began

    async def read(self) -> bytes:
        """The whole body.  A second call gives the same bytes.

        Raises:
            HTTPError: As :meth:`chunks`.
        """
        if not self._expected:
            return b""
        if self._streamed:
            raise RuntimeError(_TAKEN)
        # Two may ask at once, and one may give up: what has come in is kept for the next.
        while self._reading:
            self._turn = self._turn or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._turn])
        if self._whole is None:
            self._reading = True
            try:
                while self._more:
                    self._pieces.append(await self._next_piece())
            finally:
                self._reading = False
                if self._turn is not None:
                    self._turn.set_result(None)
                    self._turn = None
            self._whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        return self._whole

    async def settle(self) -> None:
        """Read what has not been read, so that from now on only the client's end can come in.

        Raises:
            HTTPError: As :meth:`chunks`.
        """
        if self._expected and not self._streamed:
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
        size, limits = len(data), self._limits
        if (
            size <= _SMALL
            and size <= (limits.parts or size)
            and size <= (limits.field or size)
            and data.isascii()
        ):
            return parse_pairs(data.decode())  # it breaks no limit, whatever is in it
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


def _number(length: bytes) -> int:
    if not length.isdigit() or len(length) > 20:
        raise HTTPError(400, "Content-Length is not a number")
    return int(length)


def parse_pairs(text: str) -> dict[str, list[str]]:
    """``a=1&b=2`` as a dict: every value of each name, blank ones too."""
    fields: dict[str, list[str]] = {}
    escaped = "%" in text or "+" in text
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if escaped:
                name, value = unquote_plus(name), unquote_plus(value)
            if name in fields:
                fields[name].append(value)
            else:
                fields[name] = [value]
    return fields


@lru_cache(128)
def media_type(content_type: bytes) -> tuple[str, str]:
    """The media type of a body in lower case, and its parameters as they were sent."""
    kind, _, parameters = content_type.decode("latin-1").partition(";")
    return kind.strip().lower(), parameters.strip()


def is_json(kind: str) -> bool:
    """Whether a media type is JSON (RFC 8259, and RFC 6839 for ``+json``)."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def has_body(method: str, fields: Mapping[bytes, bytes]) -> bool:
    """Whether a request comes with a body (RFC 9112, section 6.3; HTTP/2 needs neither field)."""
    if method not in ("GET", "HEAD") or b"transfer-encoding" in fields:
        return True
    return fields.get(b"content-length", b"0") != b"0"
