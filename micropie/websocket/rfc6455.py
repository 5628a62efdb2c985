"""What the WebSocket protocol lets pass (RFC 6455), and words for what it does not."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from micropie.headers import belongs_to_handshake, encode_headers, field_list
from micropie.types import Headers, RawHeaders

logger: logging.Logger = logging.getLogger("micropie")

#: Close codes that may travel in a close frame (RFC 6455, section 7.4, and the IANA registry).
_SENDABLE_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
_MAX_REASON = 123  # bytes of UTF-8 (RFC 6455, section 5.5)


def check_subprotocol(subprotocol: str | None, offered: Collection[str]) -> None:
    """Refuse a subprotocol that the client did not offer (RFC 6455, section 4.2.2)."""
    if subprotocol is None:
        return
    if not isinstance(subprotocol, str):
        raise TypeError(f"a subprotocol is a str, not {type(subprotocol).__name__}")
    if subprotocol not in offered:
        names = ", ".join(offered) or "none"
        raise ValueError(f"the client did not offer the subprotocol {subprotocol!r}; it offered {names}")


def checked_size(size: int) -> int:
    """A limit for messages, if it can be one."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"max_message_size is a number of bytes, not {size!r}")
    if size < 1:
        raise ValueError(f"max_message_size is a positive number of bytes, not {size}")
    return size


def handshake_headers(headers: Headers | Mapping[str, str]) -> RawHeaders:
    """Header fields for the answer to a handshake, without those that are the server's own."""
    pairs = field_list(headers)
    for name, _ in pairs:
        if isinstance(name, str) and belongs_to_handshake(name.lower().encode(errors="replace")):
            raise ValueError(
                f"the server sends {name.lower()} itself; a subprotocol is an argument of accept()"
            )
    return encode_headers(pairs)


def check_code(code: int) -> None:
    """Refuse a close code that must not be sent."""
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"a close code is an int, not {code!r}")
    if code not in _SENDABLE_CODES and not 3000 <= code <= 4999:
        raise ValueError(
            f"{code} must not be sent; use 1000 to 1003, 1007 to 1014, or 3000 to 4999 for your own"
        )


def fitting_reason(reason: str | None) -> str:
    """A reason for a close frame, cut to what fits on a character boundary."""
    if reason is None:
        return ""
    if not isinstance(reason, str):
        raise TypeError(f"a reason is a str, not {reason!r}")
    return _cut(reason, reason.encode())


def reason_of(detail: object) -> str:
    """The detail of an error as the reason of a close frame; what UTF-8 does not have is replaced."""
    encoded = str(detail).encode(errors="replace")
    return _cut(encoded.decode(), encoded)


def _cut(reason: str, encoded: bytes) -> str:
    if len(encoded) <= _MAX_REASON:
        return reason
    logger.warning("a close frame holds %d bytes; the reason %r is cut", _MAX_REASON, reason)
    return encoded[:_MAX_REASON].decode(errors="ignore")
