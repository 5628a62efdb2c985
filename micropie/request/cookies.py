"""Cookies: what a client has sent, and the value of a ``Set-Cookie``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from micropie.headers import as_utf8, is_token
from micropie.types import Scope

SameSite = Literal["lax", "strict", "none"]

# RFC 6265, section 4.1.1: neither white space nor quotes, comma, semicolon or backslash.
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch
_COOKIE_PATH = re.compile(r"/[ -:<-~]*").fullmatch
_COOKIE_DOMAIN = re.compile(r"\.?[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*").fullmatch
#: What browsers hold of name and value together, and of a path (RFC 6265bis, section 5.6), in bytes.
_LONGEST_COOKIE = 4096
_LONGEST_PATH = 1024

# RFC 6265bis, section 4.1.3, and what each of them insists on besides Secure.
_PREFIXES = ("__host-http-", "__http-", "__host-", "__secure-")
_HOST_PREFIXES = ("__host-http-", "__host-")
_HTTP_PREFIXES = ("__host-http-", "__http-")


def cookie_header(scope: Scope) -> str:
    """All cookies in one line: HTTP/2 may split them over several fields (RFC 9113, section 8.2.3)."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    return lines[0] if len(lines) == 1 else "; ".join(lines)


def parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a ``Cookie`` header.

    Of two with one name the first counts: browsers send the one with the longer path first
    (RFC 6265, section 5.4).
    """
    return dict(reversed(list(_cookie_pairs(header))))


def cookie_values(scope: Scope, name: str) -> list[str]:
    """The values of all cookies with a name, in the order in which they were sent.

    Args:
        scope: The ASGI scope.
        name: The name, in ASCII.
    """
    values = []
    for field, line in scope["headers"]:
        if field == b"cookie":
            for pair in line.decode("latin-1").split(";"):
                key, equals, value = pair.partition("=")
                if equals and (key == name or key.strip(" \t") == name):
                    values.append(as_utf8(_unquoted(value)))
    return values


def _unquoted(value: str) -> str:
    # strip() without arguments takes off A0, 85 and 1F too, with which a cookie planted under another name
    # would turn into one that only this host can set.
    value = value.strip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _cookie_pairs(header: str) -> Iterator[tuple[str, str]]:
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            yield as_utf8(name.strip(" \t")), as_utf8(_unquoted(value))


def _prefix(name: str) -> str:
    """The prefix of a cookie's name that makes browsers insist on attributes, in lower case, or nothing."""
    name = name.lower()  # browsers compare so too
    return next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")


def only_secure(name: str, samesite: SameSite = "lax", *, partitioned: bool = False) -> bool:
    """Whether browsers take such a cookie only if it is ``Secure``, also in development."""
    return samesite == "none" or partitioned or bool(_prefix(name))


def only_whole_host(name: str) -> bool:
    """Whether browsers take such a cookie only for all paths of one host."""
    return _prefix(name) in _HOST_PREFIXES


def _check_prefix(name: str, path: str, domain: str | None, *, httponly: bool) -> None:
    prefix = _prefix(name)
    if prefix in _HOST_PREFIXES and (path != "/" or domain is not None):
        raise ValueError(f"browsers accept {name} only with path='/' and without a domain")
    if prefix in _HTTP_PREFIXES and not httponly:
        raise ValueError(f"browsers accept {name} only with httponly=True")


def _check_place(name: str, path: str, domain: str | None) -> None:
    if not _COOKIE_PATH(path) or len(path) > _LONGEST_PATH:
        raise ValueError(
            f"the path of the cookie {name} begins with a slash, is ASCII without a semicolon, and has at most "
            f"{_LONGEST_PATH} characters; browsers ignore {path[:100]!r}"
        )
    if domain is not None and not _COOKIE_DOMAIN(domain):
        raise ValueError(
            f"the domain of the cookie {name} is a host name such as 'example.com', not {domain!r}"
        )


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
    partitioned: bool = False,
) -> str:
    """The value of a ``Set-Cookie`` header.

    Raises:
        ValueError: If a part has characters that a cookie cannot hold (RFC 6265, section 4.1.1), or browsers
            would drop the cookie: for ``samesite="none"``, ``partitioned`` or the prefix of its name.
    """
    if not is_token(name):
        raise ValueError(f"not a cookie name: {name!r}")
    if not _COOKIE_VALUE(value):
        raise ValueError(f"the value of the cookie {name} must be encoded first, for example with quote()")
    if len(name) + len(value) > _LONGEST_COOKIE:
        raise ValueError(
            f"browsers drop the cookie {name}: name and value have more than {_LONGEST_COOKIE} bytes"
        )
    if samesite not in ("lax", "strict", "none"):
        raise ValueError(f"samesite is 'lax', 'strict' or 'none', not {samesite!r}")
    if not secure and only_secure(name, samesite, partitioned=partitioned):
        what = name if _prefix(name) else "a partitioned cookie" if partitioned else "samesite='none'"
        raise ValueError(f"browsers accept {what} only together with secure=True")
    _check_prefix(name, path, domain, httponly=httponly)
    _check_place(name, path, domain)
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
    if partitioned:
        attributes.append("Partitioned")
    return "; ".join(attributes)
