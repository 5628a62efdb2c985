"""Header fields and cookies, to and from bytes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal
from urllib.parse import quote

from .types import Headers, RawHeaders, Scope

__all__ = ["content_disposition"]

logger: logging.Logger = logging.getLogger("micropie")

SameSite = Literal["lax", "strict", "none"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search

#: Fields that say how one connection carries a message, not what the message is (RFC 9110, section 7.6.1).
#: They are the server's: another value would break the connection, or let one answer be read as two.
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)

_LONGEST_NAME: Final = 255  # bytes of UTF-8, which is what file systems hold
_LONGEST_SUFFIX: Final = 20
_JOINERS: Final = "\u200c\u200d"  # which show nothing either, but join letters and emoji
#: Control characters, marks that turn the text around or show nothing, half surrogate pairs, line ends.
_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))

# RFC 6265, section 4.1.1: neither white space nor quotes, comma, semicolon or backslash.
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*").fullmatch
_COOKIE_ATTRIBUTE = re.compile(r"[ -:<-~]*").fullmatch

# RFC 6265bis, section 4.1.3, and what each of them insists on besides Secure.
_PREFIXES = ("__host-http-", "__http-", "__host-", "__secure-")
_HOST_PREFIXES = ("__host-http-", "__host-")
_HTTP_PREFIXES = ("__host-http-", "__http-")


_NO_PAIRS: Final = "header fields are a list of pairs (name, value), or a dict, not {!r}"


def encode_headers(headers: Headers | Mapping[str, str]) -> RawHeaders:
    """Header fields as ASGI wants them; spaces and tabs around a value are no part of it (RFC 9110, section 5.5).

    Fields that frame the message (:data:`HOP_BY_HOP`) are the server's own: they are left out, with a warning.

    Raises:
        TypeError: If they aren't pairs of text.
        ValueError: If a name is not a token (RFC 9110, section 5.1) or a value has control characters
            or characters outside latin-1, so that no input can add a field of its own.
    """
    if not headers:
        return []
    encoded: RawHeaders = []
    for pair in headers.items() if isinstance(headers, Mapping) else headers:
        try:
            name, value = pair
        except (TypeError, ValueError):
            raise TypeError(_NO_PAIRS.format(headers)) from None
        field = _encode_header(name, value)
        if field[0] not in HOP_BY_HOP:
            encoded.append(field)
        else:
            _warn_of(field[0])
    return encoded


def field_list(headers: Headers | Mapping[str, str]) -> list[tuple[str, str]]:
    """Header fields as a new list, which a hook may change.

    Raises:
        TypeError: If they aren't pairs.
    """
    try:
        return [
            (name, value) for name, value in (headers.items() if isinstance(headers, Mapping) else headers)
        ]
    except (TypeError, ValueError):
        raise TypeError(_NO_PAIRS.format(headers)) from None


def _encode_header(name: str, value: str) -> tuple[bytes, bytes]:
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"name and value of a header field are text, not those of {name!r}: {value!r}")
    if not _TOKEN(name):
        raise ValueError(f"not a header name: {name!r}")
    value = value.strip(" \t")
    if _CONTROL(value):
        raise ValueError(f"the header {name} has control characters: {value!r}")
    try:
        return name.lower().encode("ascii"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"the header {name} has characters outside latin-1, which must be encoded first, for example with "
            f"quote(): {value!r}"
        ) from None


def _warn_of(name: bytes) -> None:
    logger.warning("the header %s is left out: the server sends its own", name.decode())


def clean_headers(headers: Iterable[tuple[bytes, bytes]] | None, *, accepting: bool = False) -> RawHeaders:
    """The header fields of another ASGI app's message, held to what :func:`encode_headers` holds ours to.

    Args:
        headers: The fields of the message.
        accepting: Whether the message accepts a WebSocket.

    Raises:
        TypeError: If they aren't pairs of bytes.
        ValueError: If a field cannot be sent.
    """
    cleaned: RawHeaders = []
    for raw_name, raw_value in headers or ():
        if not isinstance(raw_name, bytes) or not isinstance(raw_value, bytes):
            raise TypeError(
                f"name and value of a header field are bytes in ASGI, not {raw_name!r}: {raw_value!r}"
            )
        name, value = _encode_header(raw_name.decode("latin-1"), raw_value.decode("latin-1"))
        if name in HOP_BY_HOP or (accepting and belongs_to_handshake(name)):
            _warn_of(name)
        else:
            cleaned.append((name, value))
    return cleaned if accepting else sound_length(cleaned)


def belongs_to_handshake(name: bytes) -> bool:
    """Whether a field is the server's when it accepts a WebSocket, or must not be there (RFC 9110, section 8.6)."""
    return name in HOP_BY_HOP or name == b"content-length" or name.startswith(b"sec-websocket-")


def sound_length(headers: RawHeaders) -> RawHeaders:
    """The fields with one ``Content-Length``, or none if that is no number of bytes or comes with several."""
    lengths = {value for name, value in headers if name == b"content-length"}
    if not lengths:
        return headers
    rest = [field for field in headers if field[0] != b"content-length"]
    length = lengths.pop()
    if lengths or not length.isdigit():
        logger.warning(
            "the header content-length is left out: %r is not a number of bytes", length.decode("latin-1")
        )
        return rest
    return [*rest, (b"content-length", length)]


def content_disposition(filename: str, inline: bool = False) -> tuple[str, str]:
    """The header field that gives a download its name (RFC 6266).

    A name that ASCII cannot hold is sent twice: as ``filename*`` in UTF-8, which every browser prefers, and as
    ``filename`` with the nearest letters.  The name may come from a visitor: folders, control characters and marks
    that turn text around are removed, and it is cut to 255 bytes.  If nothing is left, it is ``download``.

    ::

        return 200, data, [content_disposition("résumé.pdf"), ("Content-Type", "application/pdf")]

    Args:
        filename: The name, such as ``"report.pdf"``.
        inline: Whether the browser may show the file; if not, it saves it.

    Returns:
        Name and value of the field.

    Raises:
        TypeError: If the name is not a ``str``.
    """
    if not isinstance(filename, str):
        raise TypeError(f"a file name is a str, not {filename!r}")
    name = _file_name(filename)
    plain = _plain_name(name)
    value = f'{"inline" if inline else "attachment"}; filename="{plain}"'
    if plain != name:
        value += f"; filename*=UTF-8''{quote(name, safe='!#$&+^`|')}"
    return "Content-Disposition", value


def _file_name(text: str) -> str:
    """What of a text can be the name of a file."""
    import unicodedata  # here, so that no program pays for it at its start

    text = re.split(r"[/\\]", text)[-1]
    text = "".join(
        char for char in text if char in _JOINERS or unicodedata.category(char) not in _UNSEEN
    ).strip()
    if not text.strip(". "):
        return "download"
    stem, dot, suffix = text.rpartition(".")
    if not stem or len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, dot, suffix = text, "", ""
    room = _LONGEST_NAME - len((dot + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + suffix


def _plain_name(name: str) -> str:
    """A file name in ASCII, without what browsers read in different ways: quotes, and escapes with a percent sign."""
    if name.isascii() and '"' not in name and "%" not in name:
        return name
    import unicodedata

    letters = unicodedata.normalize("NFKD", name)
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = re.sub(r'[^ -~]|["%/\\]', "_", letters)
    return plain if plain.strip(". ") else "download"


def find_header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of one field; far cheaper than decoding all of them."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def decode_headers(scope: Scope) -> dict[str, str]:
    """All fields as text, UTF-8 or else latin-1; repeated ones are joined (RFC 9110, section 5.3)."""
    decoded: dict[str, str] = {}
    repeated: dict[
        str, list[str]
    ] = {}  # joined at the end: one by one would take minutes for a hostile client's
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), _as_utf8(raw_value.decode("latin-1"))
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
            # strip() without arguments takes off A0, 85 and 1F too, with which a cookie planted under another name
            # would turn into one that only this host can set.
            name, value = name.strip(" \t"), value.strip(" \t")
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1]
            yield _as_utf8(name), _as_utf8(value)


def _as_utf8(text: str) -> str:
    """What clients mean by bytes beyond ASCII: UTF-8; latin-1 for what cannot be that."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


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
    if not _TOKEN(name):
        raise ValueError(f"not a cookie name: {name!r}")
    if not _COOKIE_VALUE(value):
        raise ValueError(f"the value of the cookie {name} must be encoded first, for example with quote()")
    if not _COOKIE_ATTRIBUTE(path) or not _COOKIE_ATTRIBUTE(domain or ""):
        raise ValueError(f"path or domain of the cookie {name} has characters that do not belong there")
    if samesite not in ("lax", "strict", "none"):
        raise ValueError(f"samesite is 'lax', 'strict' or 'none', not {samesite!r}")
    if not secure and only_secure(name, samesite, partitioned=partitioned):
        what = name if _prefix(name) else "a partitioned cookie" if partitioned else "samesite='none'"
        raise ValueError(f"browsers accept {what} only together with secure=True")
    _check_prefix(name, path, domain, httponly=httponly)
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
