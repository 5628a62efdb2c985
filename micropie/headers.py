"""Header fields, to and from bytes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import quote

from .types import Headers, RawHeaders, Scope

__all__ = ["content_disposition"]

logger: logging.Logger = logging.getLogger("micropie")

#: A match if a text is a token (RFC 9110, section 5.6.2), as names of fields and cookies are; else None.
is_token: Callable[[str], re.Match[str] | None] = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
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


_NO_PAIRS: Final = "header fields are a list of pairs (name, value), or a dict, not {!r}"


def encode_headers(headers: Headers | Mapping[str, str]) -> RawHeaders:
    """Header fields as ASGI wants them; spaces and tabs around a value aren't part of it (RFC 9110, section 5.5).

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
        try:  # PERF: most are sent again and again
            field = _known.get(pair) if type(pair) is tuple else None
        except TypeError:  # something in it cannot even be a key
            field = None
        if field is None:
            try:
                name, value = pair
            except (TypeError, ValueError):
                raise TypeError(_NO_PAIRS.format(headers)) from None
            field = _encode_header(name, value)
            if field[0] in HOP_BY_HOP:
                _warn_of(field[0])
                continue
            _remember(name, value, field)
        encoded.append(field)
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
    if not is_token(name):
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


_known: dict[tuple[str, str], tuple[bytes, bytes]] = {}
#: How many fields are remembered, and of fewer than how many characters; a cookie may be a secret, and never is.
_MOST_KNOWN: Final = 512
_SHORT: Final = 64


def _remember(name: str, value: str, field: tuple[bytes, bytes]) -> None:
    """Keep an encoded field for the next answer that has it."""
    plain = type(name) is str and type(value) is str  # what is made of these cannot change
    if plain and len(name) + len(value) < _SHORT and field[0] != b"set-cookie":
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[name, value] = field


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
    """The fields with one ``Content-Length``, or none if it isn't a number of bytes or there are several."""
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


#: The names that nearly every request has, as text.
COMMON_NAMES: Final = {
    name.encode(): name
    for name in (
        *("accept", "accept-encoding", "accept-language", "authorization", "cache-control"),
        *("connection", "content-length", "content-type", "cookie", "dnt"),
        *("forwarded", "host", "if-modified-since", "if-none-match", "origin"),
        *("pragma", "priority", "range", "referer", "sec-ch-ua"),
        *("sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site"),
        *(
            "sec-fetch-user",
            "sec-websocket-extensions",
            "sec-websocket-key",
            "sec-websocket-protocol",
            "sec-websocket-version",
        ),
        *("te", "transfer-encoding", "upgrade", "upgrade-insecure-requests", "user-agent"),
        *("via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
        *("x-request-id", "x-requested-with"),
    )
}


def decode_headers(scope: Scope) -> dict[str, str]:
    """All fields as text, UTF-8 or else latin-1; repeated ones are joined (RFC 9110, section 5.3)."""
    decoded: dict[str, str] = {}
    repeated: dict[
        str, list[str]
    ] = {}  # joined at the end: one by one would take minutes for a hostile client's
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), as_utf8(raw_value.decode("latin-1"))
        if name in decoded:
            repeated.setdefault(name, [decoded[name]]).append(value)
        else:
            decoded[name] = value
    for name, values in repeated.items():
        decoded[name] = ("; " if name == "cookie" else ", ").join(values)
    return decoded


def as_utf8(text: str) -> str:
    """What clients mean by bytes beyond ASCII: UTF-8; latin-1 for what cannot be that."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
