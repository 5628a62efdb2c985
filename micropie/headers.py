"""Header fields and cookies, to and from bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

from .types import Headers, RawHeaders, Scope

SameSite = Literal["lax", "strict", "none"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
# RFC 6265, section 4.1.1: neither white space nor quotes, comma, semicolon or backslash.
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch
_COOKIE_ATTRIBUTE = re.compile(r"[ -:<-~]*").fullmatch


def encode_headers(headers: Headers | Mapping[str, str]) -> RawHeaders:
    """Header fields as ASGI wants them.

    Raises:
        ValueError: If a name is not a token (RFC 9110, section 5.1) or a value has control characters
            or characters outside latin-1, so that no input can add a field of its own.
    """
    if not headers:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [_encode_header(name, value) for name, value in pairs]


def _encode_header(name: str, value: str) -> tuple[bytes, bytes]:
    if not _TOKEN(name):
        raise ValueError(f"not a header name: {name!r}")
    if _CONTROL(value):
        raise ValueError(f"the header {name} has control characters: {value!r}")
    try:
        return name.lower().encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"the header {name} has characters outside latin-1: {value!r}") from None


def find_header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of one field; far cheaper than decoding all of them."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def decode_headers(scope: Scope) -> dict[str, str]:
    """All fields as text, lower-case names; repeated ones are joined (RFC 9110, section 5.3)."""
    decoded: dict[str, str] = {}
    repeated: dict[
        str, list[str]
    ] = {}  # joined at the end: one by one would take minutes for a hostile client's
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in decoded:
            repeated.setdefault(name, [decoded[name]]).append(value)
        else:
            decoded[name] = value
    for name, values in repeated.items():
        decoded[name] = ("; " if name == "cookie" else ", ").join(values)
    return decoded


def cookie_header(scope: Scope) -> str:
    """All cookies in one line: HTTP/2 may split them over several fields (RFC 9113, section 8.2.3)."""
    return "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie")


def parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a ``Cookie`` header.

    Of two with one name the first counts: browsers send the one with the longer path first
    (RFC 6265, section 5.4).
    """
    return dict(reversed(list(_cookie_pairs(header))))


def cookie_values(header: str, name: str) -> list[str]:
    """The values of all cookies with a name, in the order in which they were sent."""
    return [value for key, value in _cookie_pairs(header) if key == name]


def _cookie_pairs(header: str) -> Iterator[tuple[str, str]]:
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            yield name.strip(), value.strip().strip('"')


def only_secure(name: str, samesite: SameSite) -> bool:
    """Whether browsers take such a cookie only if it is ``Secure``, also in development."""
    return samesite == "none" or name.startswith(("__Host-", "__Secure-"))


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    expires: datetime | None = None,
    path: str = "/",
    domain: str | None = None,
    secure: bool = True,
    httponly: bool = True,
    samesite: SameSite = "lax",
) -> str:
    """The value of a ``Set-Cookie`` header.

    Raises:
        ValueError: If a part has characters that a cookie cannot hold (RFC 6265, section 4.1.1), or
            ``samesite="none"`` comes without ``secure``, which browsers reject.
    """
    if not _TOKEN(name):
        raise ValueError(f"not a cookie name: {name!r}")
    if not _COOKIE_VALUE(value):
        raise ValueError(f"the value of the cookie {name} must be encoded first, for example with quote()")
    if not _COOKIE_ATTRIBUTE(path) or not _COOKIE_ATTRIBUTE(domain or ""):
        raise ValueError(f"path or domain of the cookie {name} has characters that do not belong there")
    if samesite not in ("lax", "strict", "none"):
        raise ValueError(f"samesite is 'lax', 'strict' or 'none', not {samesite!r}")
    if samesite == "none" and not secure:
        raise ValueError("browsers accept samesite='none' only together with secure=True")
    attributes = [f"{name}={value}", f"Path={path}"]
    if max_age is not None:
        attributes.append(f"Max-Age={max_age:d}")
    if expires is not None:
        from email.utils import format_datetime  # here, so that only who sets a date pays for it

        attributes.append(f"Expires={format_datetime(expires, usegmt=True)}")
    if domain is not None:
        attributes.append(f"Domain={domain}")
    if httponly:
        attributes.append("HttpOnly")
    if secure:
        attributes.append("Secure")
    attributes.append(f"SameSite={samesite.capitalize()}")
    return "; ".join(attributes)
