"""Request bodies: read within limits of size and time, parsed by their media type alone."""

from __future__ import annotations

import asyncio
import re
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import suppress
from functools import lru_cache
from io import BytesIO
from types import CoroutineType
from typing import Any
from urllib.parse import unquote_plus, unquote_to_bytes

from micropie.concurrency import resumed
from micropie.exceptions import HTTPError
from micropie.strict_json import load_json
from micropie.types import Message, Receive

#: A whole body may take so many seconds, and one more for each so many bytes that have come in.
_PATIENCE = 60
_BYTES_PER_SECOND = 16 * 1024

#: What stands for a body that isn't JSON: JSON has a None of its own.
NOTHING = object()

_TAKEN = "the body has been read already, in pieces or as a form with files; it is not kept"
#: How much of a form field is decoded in one go, in bytes; in between the open sockets have their turn.
_SLICE = 64 * 1024
#: A form of so many bytes is decoded in one go altogether.
_SMALL = 4096


class Limits:
    """What a body may cost; None means no limit.

    Args:
        gap: Seconds between two of its pieces.
        body: Bytes of all of it.
        json: Bytes of JSON.
        field: Bytes of a form's field.
        parts: Fields and files of a form.
    """

    __slots__ = ("body", "field", "gap", "json", "parts", "small")

    def __init__(
        self, *, gap: float | None, body: int | None, json: int | None, field: int | None, parts: int | None
    ) -> None:
        self.gap: float | None = gap
        self.body: int | None = body
        self.json: int | None = json
        self.field: int | None = field
        self.parts: int | None = parts
        #: An urlencoded body of so many bytes breaks no limit, whatever is in it, and is decoded in no time.
        self.small: int = min([_SMALL, *(limit for limit in (parts, field) if isinstance(limit, int))])

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__[:-1])})"


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
        HTTPError: 413, or 400 if it isn't a number.
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

    What has come in is kept, so that it can be read again and be replayed to a mounted app, until somebody takes
    the pieces one by one.

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
        #: How many bytes have come in.
        self.received: int = 0
        self._spent = 0.0
        # What has come in: the first piece, and all of them once there is another.  None: it is kept no longer.
        self._kept: bytes | BytesIO | None = b""
        self._begun = self._ended = self._replayed = False
        # Status and detail for everybody who reads later; an error would hold, by its traceback, this body.
        self._error: tuple[int, str] | None = None
        # Whether a task reads, and what others wait for meanwhile.
        self._reading = False
        self._turn: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """The whole body.  A second call gives the same bytes.

        Raises:
            HTTPError: 413 if it is too large, at once if ``Content-Length`` says so; 408 if it is too slow;
                400 if the client cut it short, or ``Content-Length`` isn't a number.
            RuntimeError: If its pieces have been taken.
        """
        if self._kept is None:
            raise RuntimeError(_TAKEN)
        if self._reading:
            await self._wait_for_turn()
        self._reading = True
        try:
            self._check_error()
            while self._more:
                piece = self._next_piece()
                if not isinstance(piece, bytes):
                    await piece
        finally:
            self._end_reading()
        return self._so_far()

    async def piece_at(self, offset: int) -> bytes:
        """What comes so many bytes behind the beginning, at least a byte of it; nothing at the end.

        Raises:
            HTTPError: As :meth:`read`.
        """
        if self._reading:
            await self._wait_for_turn()
        self._reading = True
        try:
            if offset < self.received and self._kept is not None:
                return self._so_far()[offset : offset + _SLICE]
            self._check_error()
            while self._more:
                piece = self._next_piece()
                if not isinstance(piece, bytes):
                    piece = await piece
                if piece:
                    return piece
            return b""
        finally:
            self._end_reading()

    def let_go(self, offset: int) -> None:
        """Keep no more of it, unless it is there as a whole: somebody takes it in pieces, and has so many bytes."""
        if self._more and offset >= self.received:
            self._kept = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces of the body, once.  Time that the consumer takes between two of them does not count.

        Raises:
            HTTPError: As :meth:`read`.
            RuntimeError: If the pieces have been taken before.
        """
        if self._kept is None:
            raise RuntimeError(_TAKEN)
        if isinstance(self._first, dict):  # it was only looked at, and is kept if it is all
            self._next_piece()
        kept = self._so_far()
        offset = len(kept)
        self.let_go(offset)
        if kept:
            yield kept
        del kept
        while piece := await self.piece_at(offset):
            offset += len(piece)
            yield piece

    def _so_far(self) -> bytes:
        kept = self._kept
        return kept.getvalue() if isinstance(kept, BytesIO) else kept or b""

    async def _wait_for_turn(self) -> None:
        # Two may ask at once, and one may give up: what has come in is kept for the next.
        while self._reading:
            self._turn = self._turn or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._turn])

    def _end_reading(self) -> None:
        self._reading = False
        if self._turn is not None:
            self._turn.set_result(None)
            self._turn = None

    def _check_error(self) -> None:
        if self._error is not None:
            raise HTTPError(*self._error)

    def _next_piece(self) -> bytes | Awaitable[bytes]:
        """The next piece if it has come in already, else what to await for it."""
        self._check_error()
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
            self._ended = True
            raise HTTPError(400, "the body is not complete")
        self._begun = True
        piece: bytes = message.get("body", b"")
        if type(piece) is not bytes:
            piece = bytes(piece)
        if self._kept is not None and piece:
            self._keep(piece)
        self.received += len(piece)
        self._more = message.get("more_body", False)
        if self._limits.body is not None and self.received > self._limits.body:
            raise too_large(self._limits.body)
        return piece

    def _keep(self, piece: bytes) -> None:
        # A list of tiny pieces would take sixty times their size; BytesIO also gives out what it holds without a copy.
        if isinstance(self._kept, BytesIO):
            self._kept.write(piece)
        elif self._kept:
            first, self._kept = self._kept, BytesIO()
            self._kept.write(first)
            self._kept.write(piece)
        else:
            self._kept = piece

    async def _in_time(self, waiting: Awaitable[Message]) -> bytes:
        gap, clock = self._limits.gap, asyncio.get_running_loop().time
        left = _PATIENCE + self.received / _BYTES_PER_SECOND - self._spent
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

    async def settle(self) -> None:
        """Read what has not been read, so that from now on only the client's end can come in.

        Raises:
            HTTPError: As :meth:`read`.
        """
        if self._kept is not None:
            await self.read()

    async def replay(self) -> Message:
        """The server's ``receive`` for another app: what was read comes once more, and then what was not.

        What was wrong with it is for the other app to find out, which may have limits of its own.
        """
        if isinstance(self._first, dict):  # it was only looked at
            looked_at, self._first = self._first, None
            with suppress(HTTPError):
                self._taken(looked_at)
        if self._begun and not self._replayed and self._kept is not None:
            self._replayed = True
            return {"type": "http.request", "body": self._so_far(), "more_body": self._more}
        if self._ended:
            return {"type": "http.disconnect"}
        message: Message = await self._receive()
        if self._more and message["type"] == "http.request":
            self._kept = None
            self._more = message.get("more_body", False)
        return message


def parse_json(data: bytes, limits: Limits) -> Any:
    """The value of a JSON body; :data:`NOTHING` for an empty one.

    Raises:
        HTTPError: 400 if it is not JSON, 413 if it is too large.
    """
    # Parsing holds the interpreter, and with it every open socket.
    if limits.json is not None and len(data) > limits.json:
        raise HTTPError(413, f"the JSON body has more bytes than {limits.json}")
    try:
        return load_json(data)
    except ValueError:
        # PERF: what is seldom is looked for only now.  A reader may skip a byte order mark (RFC 8259, section 8.1).
        text = data.removeprefix(BOM_UTF8)
        if not text:
            return NOTHING
        if len(text) < len(data):
            with suppress(ValueError):
                return load_json(text)
        raise HTTPError(400, "the body is not JSON") from None


async def parse_form(data: bytes, limits: Limits, charset: str = "utf-8") -> dict[str, list[str]]:
    """The fields of an urlencoded body: every value of each name, blank ones too.

    Raises:
        HTTPError: 413 for too many fields, or one that is too large; 400 for one that cannot be decoded.
    """
    check_limit(data.count(b"&") + 1, limits.parts, "the form has more fields")
    fields: dict[str, list[str]] = {}
    for number, pair in enumerate(data.split(b"&")):
        if pair:
            if len(pair) > 4096 or number % 100 == 99:
                await asyncio.sleep(0)  # the open sockets have their turn between two fields
            name, _, value = pair.partition(b"=")
            key = await _decoded(name, limits.field, charset)
            fields.setdefault(key, []).append(await _decoded(value, limits.field, charset))
    return fields


async def _decoded(text: bytes, limit: int | None, charset: str) -> str:
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
    return decode_text(decoded, charset)


def _slice_end(text: bytes) -> int:
    escape = text.find(b"%", _SLICE - 2, _SLICE)  # one that the slice would cut
    return _SLICE if escape < 0 else escape


def parse_pairs(data: bytes, what: str) -> dict[str, list[str]]:
    """``a=1&b=2`` as a dict: every value of each name, blank ones too.

    Args:
        data: The text, in UTF-8.
        what: What it is, for the error.

    Raises:
        HTTPError: 400 if it is not UTF-8.
    """
    fields: dict[str, list[str]] = {}
    try:
        text = data.decode()
        escaped = "%" in text or "+" in text
        for pair in text.split("&"):
            if pair:
                name, _, value = pair.partition("=")
                if escaped:
                    name, value = unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")
                if name in fields:
                    fields[name].append(value)
                else:
                    fields[name] = [value]
    except UnicodeDecodeError:
        raise HTTPError(400, f"the {what} is not UTF-8") from None
    return fields


@lru_cache(128)
def media_type(content_type: bytes) -> tuple[str, Mapping[str, str]]:
    """The media type of a body in lower case, and its parameters by their names in lower case."""
    kind, _, parameters = content_type.decode("latin-1").partition(";")
    return kind.strip().lower(), parse_parameters(parameters)


_quoted = re.compile(r'"((?:[^"\\]|\\.)*)"').match


def parse_parameters(text: str) -> dict[str, str]:
    """The parameters behind the value of a header field: ``a=1; b="2"``, names in lower case.

    A value without quotes goes up to the next semicolon: many clients do not quote what they should.
    """
    found: dict[str, str] = {}
    while text:
        name, equals, text = text.partition("=")
        text = text.lstrip()
        quoted = _quoted(text)
        if quoted is None:
            value, _, text = text.partition(";")
        else:
            value = re.sub(r"\\(.)", r"\1", quoted[1])
            _, _, text = text[quoted.end() :].partition(";")
        if equals:
            found.setdefault(name.rpartition(";")[2].strip().lower(), value.strip())
    return found


#: The charsets of the Web (WHATWG Encoding Standard) that Python has.  It has others that no form is in, some of
#: which are slow; and it remembers each name that it is asked for, known or not.
CHARSETS = frozenset(
    (
        *("utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "ascii", "us-ascii", "latin1", "latin-1"),
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),
        *(f"{prefix}{page}" for prefix in ("windows-", "cp") for page in range(1250, 1259)),
        *(
            "cp866",
            "ibm866",
            "koi8-r",
            "koi8-u",
            "macintosh",
            "gbk",
            "gb2312",
            "gb18030",
            "big5",
            "big5-hkscs",
        ),
        *("euc-jp", "shift_jis", "shift-jis", "cp932", "iso-2022-jp", "euc-kr", "ks_c_5601-1987"),
    )
)


def decode_text(data: bytes | bytearray, charset: str) -> str:
    """The text of a form field.

    Raises:
        HTTPError: 400 for an unknown charset, or bytes that it cannot decode.
    """
    charset = charset.strip().lower()
    if charset not in CHARSETS:
        raise HTTPError(400, "the form has text in an unknown charset")
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        raise HTTPError(400, f"the form has text that is not {charset}") from None


def form_charset(data: bytes, parameters: Mapping[str, str]) -> str:
    """The charset of an urlencoded form: as its media type says, or a field that browsers fill for it (HTML)."""
    named = re.search(rb"(?:^|&)_charset_=([^&]+)", data) if b"_charset_=" in data else None
    return parameters.get("charset") or (named[1].decode("latin-1") if named else "utf-8")


def is_json(kind: str) -> bool:
    """Whether a media type is JSON (RFC 8259, and RFC 6839 for ``+json``)."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def has_body(method: str, fields: Mapping[bytes, bytes]) -> bool:
    """Whether a request comes with a body (RFC 9112, section 6.3; HTTP/2 needs neither field)."""
    if method not in ("GET", "HEAD") or b"transfer-encoding" in fields:
        return True
    return fields.get(b"content-length", b"0") != b"0"
