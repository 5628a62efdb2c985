"""What a server takes from an app: the test client refuses what none of them could send."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from micropie.types import Message

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_LENGTH = re.compile(rb"[0-9]+").fullmatch

#: The close codes that may stand in a close frame (RFC 6455, 7.4).
_SENDABLE = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))

#: How many bytes of UTF-8 the reason in a close frame may have.
_MAX_REASON = 123


class IllegalMessage(RuntimeError):
    """What ``send()`` raises in the app for a message that a server would not send."""


def check_fields(fields: Iterable[Any]) -> None:
    """Refuse header fields that HTTP does not allow.

    Raises:
        IllegalMessage: For one that isn't a pair of bytes, whose name isn't a token, or whose value has control
            characters or begins or ends with white space.
    """
    for field in fields:
        name, value = field
        _expect(
            isinstance(name, bytes) and isinstance(value, bytes), f"header fields are bytes, not {field!r}"
        )
        _expect(_TOKEN(name), f"{name!r} is not a legal name of a header field")
        legal = value == value.strip(b" \t") and not _CONTROL(value)
        _expect(legal, f"{value!r} is not a legal value of the header field {name.decode()}")


def check_close(code: Any, reason: str) -> None:
    """Refuse what a close frame cannot hold.

    Raises:
        IllegalMessage: For another code, or a longer reason.
    """
    _expect(code in _SENDABLE, f"{code!r} cannot stand in a close frame")
    _expect(len(reason.encode()) <= _MAX_REASON, f"a reason has {_MAX_REASON} bytes at most")


class Rules:
    """The messages that an app may send on one connection.  Lifespan has no rules: nothing of it reaches a client."""

    def check(self, message: Message) -> Message:
        """Return the message as the client gets it.

        Raises:
            IllegalMessage: If a server would not send it.
        """
        return message

    def end(self) -> str | None:
        """What is missing when the app has ended, in words."""
        return None


class HttpRules(Rules):
    """One start, then the body, of the length that was announced."""

    def __init__(self, method: str) -> None:
        self._bodiless = method == "HEAD"
        self._head = self._bodiless
        self._started = self._ended = False
        self._due: int | None = None  # how many bytes of the body are still to come

    def check(self, message: Message) -> Message:
        """Return the message as the client gets it, which is without the body of an answer to HEAD."""
        kind = message.get("type")
        _expect(not self._ended, f"{kind} comes after the end of the answer")
        if not self._started:
            _expect(
                kind == "http.response.start", f"the answer begins with http.response.start, not with {kind}"
            )
            self._start(message)
            return message
        _expect(kind == "http.response.body", f"{kind} comes where only http.response.body can")
        return self._body(message)

    def _start(self, message: Message) -> None:
        status = message.get("status")
        _expect(type(status) is int and 200 <= status <= 999, f"{status!r} is not the status of an answer")
        fields = list(message.get("headers", ()))
        check_fields(fields)
        names = [name.lower() for name, _ in fields]
        _expect(b"transfer-encoding" not in names, "Transfer-Encoding is the server's to set, not the app's")
        self._bodiless = self._head or status in (204, 304)
        lengths = {value for name, value in fields if name.lower() == b"content-length"}
        _expect(len(lengths) <= 1, f"the answer has several lengths: {sorted(lengths)}")
        for length in lengths:
            _expect(_LENGTH(length), f"{length!r} is not a legal Content-Length")
            self._due = None if self._bodiless else int(length)
        self._started = True

    def _body(self, message: Message) -> Message:
        body = message.get("body", b"")
        _expect(
            isinstance(body, (bytes, bytearray, memoryview)), f"a body is bytes, not {type(body).__name__}"
        )
        if self._bodiless:
            _expect(self._head or not body, "an answer with this status has no body")
            body = b""
        if self._due is not None:
            self._due -= len(body)
            _expect(self._due >= 0, "the body is longer than its Content-Length")
        if not message.get("more_body", False):
            _expect(not self._due, "the body is shorter than its Content-Length")
            self._ended = True
        return {**message, "body": bytes(body)}

    def end(self) -> str | None:
        """Whether the answer is whole."""
        return "the app ended before the body was complete" if self._started and not self._ended else None


class WebSocketRules(Rules):
    """One answer to the handshake; if it was accepted, messages and one close frame."""

    def __init__(self, subprotocols: Collection[str]) -> None:
        self._offered = subprotocols
        self._refusal = HttpRules("GET")
        self._state = "connecting"

    def check(self, message: Message) -> Message:
        """Return the message as the client gets it."""
        kind = str(message.get("type"))
        if kind.startswith("websocket.http.response."):
            _expect(
                self._state in ("connecting", "refusing"), f"{kind} comes after the answer to the handshake"
            )
            self._state = "refusing"
            return {**self._refusal.check({**message, "type": kind.removeprefix("websocket.")}), "type": kind}
        allowed = {
            "connecting": ("websocket.accept", "websocket.close"),
            "open": ("websocket.send", "websocket.close"),
        }.get(self._state, ())
        _expect(kind in allowed, f"{kind} cannot come while the WebSocket is {self._state}")
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._close(message)
        else:
            data = [message[key] for key in ("text", "bytes") if message.get(key) is not None]
            _expect(len(data) == 1, "a message has one of text and bytes")
            _expect(
                type(data[0]) is (str if message.get("text") is not None else bytes),
                "text is str, bytes are bytes",
            )
        return message

    def _accept(self, message: Message) -> None:
        chosen = message.get("subprotocol")
        _expect(chosen is None or chosen in self._offered, f"the subprotocol {chosen!r} was not offered")
        check_fields(message.get("headers") or ())
        self._state = "open"

    def _close(self, message: Message) -> None:
        code, reason = message.get("code", 1000), message.get("reason") or ""
        if self._state == "open":  # else there is no close frame, but an answer with status 403
            check_close(code, reason)
        self._state = "closed"

    def end(self) -> str | None:
        """Whether a refusal is whole.  An app that ends without closing has lost the connection, which is legal."""
        return self._refusal.end()


def _expect(condition: object, words: str) -> None:
    if not condition:
        raise IllegalMessage(words)
