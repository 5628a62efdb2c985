"""Answers: from what a handler returns to what the server sends."""

from __future__ import annotations

from collections.abc import AsyncIterable, Coroutine, Iterator, Mapping
from typing import Any

from micropie.exceptions import HTTPError, status_line
from micropie.headers import encode_headers, field_list, sound_length
from micropie.strict_json import dump_json
from micropie.types import Headers, Message, RawHeaders, Send

HTML = (b"content-type", b"text/html; charset=utf-8")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")
#: Answers that have no body and no fields that describe one (RFC 9110, sections 15.3.5 and 15.4.5).
NO_BODY = frozenset((204, 304))


class Answer:
    """What is to be sent.

    Args:
        status: The HTTP status code.
        body: ``str``, ``bytes``, or a sync or async iterator of them, which is streamed.
        headers: The handler's header fields, as it wrote them.
        default_type: The content type, if the handler names none; None for a mounted app's answer, which is its own.
    """

    __slots__ = ("_shown", "body", "default_type", "headers", "status")

    def __init__(
        self,
        status: int,
        body: Any,
        headers: Headers | Mapping[str, str] = (),
        default_type: tuple[bytes, bytes] | None = HTML,
    ) -> None:
        self.status: int = status
        self.body: Any = body
        self.headers: Headers | Mapping[str, str] = headers
        self.default_type: tuple[bytes, bytes] | None = default_type
        self._shown: tuple[str, str] | None = None

    @property
    def has_shown(self) -> bool:
        """Whether hooks have seen the type that it gets by itself."""
        return self._shown is not None

    def __repr__(self) -> str:
        body = f"{len(self.body)} long" if isinstance(self.body, (str, bytes)) else "streamed"
        return f"<Answer {self.status}, {body}>"

    def shown_headers(self) -> list[tuple[str, str]]:
        """The header fields as a list that a hook may change, with the content type that the answer gets by itself."""
        headers: list[tuple[str, str]]
        if self._shown is None and self.headers == () and self.status not in NO_BODY and self.default_type:
            self._shown = _AS_WRITTEN[self.default_type]  # PERF: as nearly always
            headers = [self._shown]
        else:
            headers = self.headers_behind(self.headers)
            self.headers = headers
            self._shown = default_field(self)
            if self._shown is not None:
                headers.append(self._shown)
        self.headers = headers
        return headers

    def without_shown(self) -> Answer:
        """The same with what hooks have added, and without what was only shown to them."""
        return Answer(self.status, self.body, self.headers_behind(self.headers), self.default_type)

    def headers_behind(self, headers: Headers | Mapping[str, str] | None) -> list[tuple[str, str]]:
        """The header fields that a hook has made of those shown to it, without the content type that was only shown."""
        return [field for field in field_list(headers or ()) if field != self._shown]


def answer(result: Any) -> Answer:
    """Read what a handler returned.

    Raises:
        TypeError: If it is nothing that can be sent.
        ValueError: For a status that cannot be sent.
    """
    if result is None:
        return Answer(204, b"")
    if not isinstance(result, tuple):
        return _answer(200, result, ())
    if len(result) not in (2, 3):
        raise TypeError(
            f"a handler returns (status, body) or (status, body, headers), not {len(result)} values"
        )
    status, body, headers = (*result, ())[:3]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(
            f"a handler returns (status, body) or (status, body, headers); {status!r} isn't a status from 200 to 599"
        )
    return _answer(int(status), body, field_list(headers or ()))


def _answer(status: int, body: Any, headers: Headers | Mapping[str, str]) -> Answer:
    if isinstance(body, (str, bytes, AsyncIterable, Iterator)):
        return Answer(status, body, headers)
    if isinstance(body, (dict, list)):
        return Answer(status, dump_json(body).decode(), headers, JSON)  # hooks read text
    if body is None:
        return Answer(status, b"", headers)
    if isinstance(body, (bytearray, memoryview)):
        return Answer(status, bytes(body), headers)
    if isinstance(body, (int, float)):
        return Answer(status, str(body), headers)
    if isinstance(body, Coroutine):
        body.close()  # else Python warns as well that it was never awaited
        name = getattr(body, "__qualname__", "one")
        raise TypeError(
            f"a handler returned a coroutine, {name}(), without awaiting it; write 'return await ...'"
        )
    raise TypeError(
        f"a handler returned {type(body).__name__}; it can return str, bytes, a number, dict, list, None, a generator, "
        "or a tuple of status, one of these, and headers"
    )


def error_answer(error: HTTPError) -> Answer:
    """The plain page for an error status."""
    line = status_line(error.status)
    return Answer(error.status, f"{line}: {error.detail}" if error.detail else line, error.headers, TEXT)


def header_list(answer: Answer) -> list[tuple[str, str]]:
    """The header fields of an answer as a new list, with a content type that is not HTML."""
    headers = field_list(answer.headers)
    default = default_field(answer)
    return headers if default is None or answer.default_type is HTML else [*headers, default]


#: The same as a handler would write them.
_AS_WRITTEN = {kind: ("Content-Type", kind[1].decode()) for kind in (HTML, TEXT, JSON)}


def default_field(answer: Answer) -> tuple[str, str] | None:
    """The content type that an answer gets because it names none; None if it names one, or needs none."""
    if answer.default_type is None or answer.status in NO_BODY:
        return None
    for name, _ in answer.headers.items() if isinstance(answer.headers, Mapping) else answer.headers:
        if (
            isinstance(name, str) and name.lower() == "content-type"
        ):  # what it is else is told where it is encoded
            return None
    return _AS_WRITTEN[answer.default_type]


def check_status(status: Any) -> int:
    """The status of a mounted app's answer.

    Raises:
        ValueError: If it is none that an answer can have.
    """
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 999:
        raise ValueError(f"a mounted app answered, but {status!r} is no status")
    return int(status)


def declared_length(headers: RawHeaders) -> int | None:
    """What ``Content-Length`` says; None if it is not there."""
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None


class Measured:
    """A server's ``send`` for a stream that names its length.

    Args:
        send: The server's function.
        length: The ``Content-Length``.
        whole: Whether the last message has to complete it; else whoever sends that asks :meth:`check` before.
    """

    def __init__(self, send: Send, length: int, *, whole: bool = False) -> None:
        self._send = send
        self._length = length
        self._whole = whole
        self._sent = 0

    async def __call__(self, message: Message) -> None:
        """Send a piece, unless it is too much."""
        if message["type"] == "http.response.body":  # and no file that the server sends by itself
            self._sent += len(message.get("body") or b"")
            self.check(ended=self._whole and not message.get("more_body", False))
        await self._send(message)

    def check(self, *, ended: bool = False) -> None:
        """Refuse a stream that is longer than it says, or at its end shorter.

        Raises:
            ValueError: If it is.
        """
        if self._sent > self._length or (ended and self._sent < self._length):
            some = "" if ended else "at least "
            raise ValueError(f"the stream has {some}{self._sent} bytes, its Content-Length is {self._length}")


def encode_answer(answer: Answer) -> tuple[RawHeaders, bytes | None]:
    """The header fields of an answer, with those that it needs and lacks, and its body; None for a stream.

    Raises:
        ValueError: For a header field that cannot be sent.
    """
    headers = encode_headers(answer.headers)
    typed, measured = answer.default_type is None, False
    for name, _ in headers:
        if name == b"content-type":
            if typed and answer.has_shown:  # a hook has named another one
                return encode_answer(answer.without_shown())
            typed = True
        elif name == b"content-length":
            measured = True
    if answer.status in NO_BODY:
        return [field for field in headers if field[0] != b"content-length"] if measured else headers, b""
    if not typed and answer.default_type is not None:
        headers.append(answer.default_type)
    body = answer.body
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        return sound_length(headers) if measured else headers, None
    if measured:  # a wrong length would break the connection, so a body that is known tells its own
        headers = [field for field in headers if field[0] != b"content-length"]
    headers.append((b"content-length", b"%d" % len(body)))
    return headers, body


def encode_chunk(chunk: Any) -> bytes:
    """A body, or a piece of one, as bytes; text is UTF-8.

    Raises:
        TypeError: If it is neither text nor bytes.
    """
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a stream yields str or bytes, not {type(chunk).__name__}")
