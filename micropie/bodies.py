"""Request bodies: read within limits of size and time, parsed by their media type alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from functools import lru_cache
from types import CoroutineType
from typing import Any
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


class Limits:
    """What a body may cost; None is no limit.

    Args:
        gap: Seconds between two of its pieces.
        body: Bytes of all of it.
        json: Bytes of JSON.
        field: Bytes of a form's field.
        parts: Fields and files of a form.
    """

    __slots__ = ("body", "field", "gap", "json", "parts")

    def __init__(
        self, *, gap: float | None, body: int | None, json: int | None, field: int | None, parts: int | None
    ) -> None:
        self.gap = gap
        self.body = body
        self.json = json
        self.field = field
        self.parts = parts


def check_limit(size: int, limit: int | None, what: str) -> None:
    """Refuse what is too large.

    Raises:
        HTTPError: 413.
    """
    if limit is not None and size > limit:
        raise HTTPError(413, f"{what} than {limit}")


def check_length(length: bytes | None, limit: int | None) -> None:
    """Refuse a body for what its ``Content-Length`` says.

    Raises:
        HTTPError: 413, or 400 if it is no number.
    """
    if length is None:
        return
    if not length.isdigit() or len(length) > 20:
        raise HTTPError(400, "Content-Length is not a number")
    if limit is not None and int(length) > limit:
        raise too_large(limit)


def too_large(limit: int | None) -> HTTPError:
    """The error for a body over its limit."""
    return HTTPError(413, f"the body has more bytes than {limit}")


def begin(receive: Receive) -> dict[str, Any] | Awaitable[Message]:
    """The server's next message if it has come in already, else what to await for it.

    What is there needs no timer, which would cost more than all the rest.
    """
    waiting = receive()
    if not isinstance(waiting, CoroutineType):
        return waiting
    try:
        return resumed(waiting, waiting.send(None))
    except StopIteration as ready:
        message = ready.value
        return message if type(message) is dict else dict(message)


class Body:
    """The body of one request, as bytes that come in.

    Args:
        receive: The server's ``receive``.
        limits: What the body may cost.
        length: Its ``Content-Length``; None if there is none.
        first: Its first message, if that has been received, or what to await for it.
        expected: Whether there is one at all.
    """

    def __init__(
        self,
        receive: Receive,
        limits: Limits,
        length: bytes | None,
        *,
        first: dict[str, Any] | Awaitable[Message] | None = None,
        expected: bool = True,
    ) -> None:
        self._receive = receive
        self._limits = limits
        self._length = length
        self._first = first
        self.expected = self._more = expected
        self._received = 0
        self._spent = 0.0
        self._pieces: list[bytes] = []
        self._whole = None if expected else b""
        # Status and detail for everybody who reads later; an error would hold, by its traceback, this body.
        self._error: tuple[int, str] | None = None
        self._streamed = self._replayed = False
        # Whether a task reads, and what others wait for meanwhile.
        self._reading = False
        self._turn: asyncio.Future[None] | None = None

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
            piece = self._next_piece()
            if not isinstance(piece, bytes):
                piece = await piece
            if piece:
                yield piece

    def _next_piece(self) -> bytes | Awaitable[bytes]:
        """The next piece if it has come in already, else what to await for it."""
        if self._error is not None:
            raise HTTPError(*self._error)
        try:
            if self._first is None:
                check_length(self._length, self._limits.body)
                self._first = begin(self._receive)
            message, self._first = self._first, None
            return self._taken(message) if isinstance(message, dict) else self._in_time(message)
        except HTTPError as error:
            self._error = error.status, error.detail
            raise

    def _taken(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise HTTPError(400, "the body is not complete")
        piece: bytes = message.get("body", b"")
        if type(piece) is not bytes:
            piece = bytes(piece)
        self._received += len(piece)
        if self._limits.body is not None and self._received > self._limits.body:
            raise too_large(self._limits.body)
        self._more = message.get("more_body", False)
        return piece

    async def _in_time(self, waiting: Awaitable[Message]) -> bytes:
        gap, clock = self._limits.gap, asyncio.get_running_loop().time
        left = _PATIENCE + self._received / _BYTES_PER_SECOND - self._spent
        began = clock()
        try:
            async with asyncio.timeout(None if gap is None else min(gap, left)):
                message = await waiting
            return self._taken(message)
        except TimeoutError:
            self._error = 408, "the body came too slowly"
            raise HTTPError(*self._error) from None
        except HTTPError as error:
            self._error = error.status, error.detail
            raise
        finally:
            self._spent += clock() - began

    async def read(self) -> bytes:
        """The whole body.  A second call gives the same bytes.

        Raises:
            HTTPError: As :meth:`chunks`.
        """
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
                    piece = self._next_piece()
                    self._pieces.append(piece if isinstance(piece, bytes) else await piece)
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
        if not self._streamed:
            await self.read()

    async def replay(self) -> Message:
        """The server's ``receive`` for another app: a body that was read comes once more."""
        if self._first is not None:
            await self.read()  # so that it is kept for who asks when the other app is done
        if self._whole is None or self._replayed or not self.expected:
            return await self._receive()
        self._replayed = True
        return {"type": "http.request", "body": self._whole, "more_body": False}


def parse_json(data: bytes, limits: Limits) -> Any:
    """The value of a JSON body.

    Raises:
        HTTPError: 400 if it is not JSON, 413 if it is too large.
    """
    # Parsing holds the interpreter, and with it every open socket.
    check_limit(len(data), limits.json, "the JSON body has more bytes")
    try:
        return load_json(data)
    except ValueError:
        raise HTTPError(400, "the body is not JSON") from None


def is_small(data: bytes, limits: Limits) -> bool:
    """Whether an urlencoded body breaks no limit, whatever is in it, and is decoded in no time."""
    size = len(data)
    return (
        size <= _SMALL
        and (limits.parts is None or size <= limits.parts)
        and (limits.field is None or size <= limits.field)
        and data.isascii()
    )


async def parse_form(data: bytes, limits: Limits) -> dict[str, list[str]]:
    """The fields of an urlencoded body: every value of each name, blank ones too.

    Raises:
        HTTPError: 413 for too many fields, or one that is too large.
    """
    check_limit(data.count(b"&") + 1, limits.parts, "the form has more fields")
    fields: dict[str, list[str]] = {}
    for number, pair in enumerate(data.split(b"&")):
        if pair:
            if len(pair) > 4096 or number % 100 == 99:
                await asyncio.sleep(0)  # the open sockets have their turn between two fields
            name, _, value = pair.partition(b"=")
            key = await _decoded(name, limits.field)
            fields.setdefault(key, []).append(await _decoded(value, limits.field))
    return fields


async def _decoded(text: bytes, limit: int | None) -> str:
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
