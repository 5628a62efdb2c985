"""Which web pages may open a WebSocket here, under which host names the app answers, and the URL that a client asked.

A browser sends cookies with every WebSocket handshake, whatever page opened it, and no same-origin
rule stops the page from reading the answers.  So the server has to look at ``Origin`` (RFC 6455,
section 10.2).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import TypeAlias
from urllib.parse import quote, unquote

from micropie.exceptions import HTTPError
from micropie.headers import find_header
from micropie.types import Scope

logger: logging.Logger = logging.getLogger("micropie")

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_ONE_HOST = {"localhost", "127.0.0.1", "[::1]"}
_HOST = r"\[[0-9a-f:.]+\]|[^/:@?#\[\]*\s\x00-\x1f\x7f]+"
_PORT = r"0|[1-9][0-9]{0,4}"
_SCHEME = r"[a-z][a-z0-9+.\-]*"
_AUTHORITY = re.compile(rf"({_HOST})(?::({_PORT}))?").fullmatch
_ORIGIN = re.compile(rf"({_SCHEME})://({_HOST}|)(?::({_PORT}))?").fullmatch
_PATTERN = re.compile(rf"({_SCHEME})://((?:\*\.)?(?:{_HOST})|\*|)(?::({_PORT}|\*))?").fullmatch

#: Scheme, host and port of an origin: the default port if none was named, none for a scheme that has no default.
Parts: TypeAlias = tuple[str, str, str]

#: No browser sends a longer Origin: a host name has at most 253 characters.
_LONGEST_ORIGIN = 512
#: How many of a proxy's host names are compared; a chain of proxies has a few.
_MOST_HOSTS = 20
#: How much of a header field the log repeats.
_SHOWN = 200
#: What stays as it is in a path that is encoded already.
_SAFE = "/%:@!$&'()*+,;=~"


def check_origin(scope: Scope, allowed: Collection[str]) -> None:
    """Refuse a handshake that a page of another origin began.

    Own is an Origin whose host and port are those of ``Host`` or ``X-Forwarded-Host``; a port that is
    missing on either side is the default of the Origin's scheme, and the scheme itself is not compared,
    since a proxy may end TLS.  The loopback names of one port are one host.  No Origin means no browser.

    Args:
        scope: The ASGI scope of the handshake.
        allowed: More origins and patterns for them, as :func:`parse_origin` makes them, or ``"*"`` for all.

    Raises:
        HTTPError: 403, and one line in the log that names the setting.
    """
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if not origins or "*" in allowed:
        return
    # No browser sends two, so neither is trusted.
    origin = (
        origins[0].decode("latin-1").lower()
        if len(origins) == 1 and len(origins[0]) <= _LONGEST_ORIGIN
        else ""
    )
    if origin and (is_allowed(origin, allowed) or any(same_host(origin, host) for host in _own_hosts(scope))):
        return
    logger.warning(
        "refused a WebSocket from a foreign origin: Origin %r, Host %r; %s",
        origin or b", ".join(origins[:_MOST_HOSTS])[:_SHOWN].decode("latin-1"),
        (find_header(scope, b"host") or b"")[:_SHOWN].decode("latin-1"),
        _advice(origin),
    )
    raise HTTPError(403, "this origin may not open a WebSocket here")


def is_allowed(origin: str, allowed: Collection[str]) -> bool:
    """Whether an ``Origin``, in lower case, is among the allowed ones or fits a pattern."""
    if origin == "null":
        return origin in allowed
    sent = _taken_apart(origin)
    return sent is not None and any(_fits(sent, pattern) for pattern in allowed)


def _fits(sent: Parts, pattern: str) -> bool:
    wanted = _taken_apart(pattern, pattern=True)
    if wanted is None or wanted[0] != sent[0] or wanted[2] not in ("*", sent[2]):
        return False
    if wanted[1].startswith("*."):
        return sent[1].endswith(wanted[1][1:]) and len(sent[1]) >= len(wanted[1])
    return wanted[1] in ("*", sent[1])


def _taken_apart(text: str, *, pattern: bool = False) -> Parts | None:
    """Scheme, host and port of an origin in lower case; None if it is none."""
    match = (_PATTERN if pattern else _ORIGIN)(text) if text.isascii() else None
    if match is None or (not match[2] and (match[1] in _DEFAULT_PORTS or match[3])):
        return None  # only pages from no host, such as files, have an origin without one
    scheme, host, port = match[1], match[2], match[3] or _DEFAULT_PORTS.get(match[1], "")
    if host.startswith("["):
        import ipaddress  # here, as below

        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    return scheme, host, port


def _advice(origin: str) -> str:
    """What to do if the page that was refused is one of ours; whatever it names can be done."""
    if origin == "null":
        return (
            "a page without an origin is a file or in a sandbox: serve it from a host, or add 'null' to "
            "allowed_origins, which lets every page in"
        )
    sent = _taken_apart(origin)
    if sent is None:
        return "no browser sends such an origin, so it cannot be one of allowed_origins"
    if sent[0] in _DEFAULT_PORTS:
        return "if it is yours, have the proxy pass Host on, or add it to allowed_origins"
    pattern = f", or '{sent[0]}://*' if its host is another each time," if sent[1] else ""
    return f"if it is yours, add it{pattern} to allowed_origins"


def same_host(origin: str, authority: str) -> bool:
    """Whether an Origin and a ``Host`` value, both in lower case, name the same host and port."""
    if authority and origin in ("http://" + authority, "https://" + authority):
        return True  # as nearly always, and far cheaper than to take both apart
    own, other = _ORIGIN(origin), _AUTHORITY(authority)
    if own is None or other is None:
        return False
    default = _DEFAULT_PORTS.get(own[1])
    if default is None or (own[3] or default) != (other[2] or default):
        return False
    return own[2] == other[1] or {own[2], other[1]} <= _ONE_HOST


def _own_hosts(scope: Scope) -> Iterator[str]:
    # A page cannot set headers on a handshake, so a forwarded host comes from a proxy.
    fields = (value for name, value in scope["headers"] if name in (b"host", b"x-forwarded-host"))
    for value in islice(fields, _MOST_HOSTS):
        for host in value.decode("latin-1").lower().split(",", _MOST_HOSTS)[:_MOST_HOSTS]:
            yield host.strip()


def is_authority(text: str) -> bool:
    """Whether a text is a host, perhaps with a port, as ``Host`` has it."""
    return text.isascii() and _AUTHORITY(text.lower()) is not None


def is_loopback(host: str) -> bool:
    """Whether a host, as in a URL, is ``localhost`` or a loopback address."""
    if host == "localhost":
        return True
    import ipaddress  # here, so that no program pays for it at its start

    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_encrypted(scope: Scope) -> bool:
    """Whether the connection to this server is encrypted, as far as the server knows."""
    return scope.get("scheme") in ("https", "wss")


def is_local(scope: Scope) -> bool:
    """Whether this is plain HTTP on one machine with nothing in between, as in development."""
    client = scope.get("client")
    host = (find_header(scope, b"host") or b"").decode("latin-1").lower()
    host = host if host.endswith("]") else host.rpartition(":")[0] or host
    if is_encrypted(scope) or client is None or not is_loopback(client[0]) or not is_loopback(host):
        return False
    proxied = (b"forwarded", b"via", b"x-forwarded-")
    return not any(name.startswith(proxied) for name, _ in scope["headers"])


def check_host(scope: Scope, allowed: Collection[str]) -> None:
    """Answer only under the given names, which stops DNS rebinding.

    Args:
        scope: The ASGI scope of a request or handshake.
        allowed: Host names as :func:`parse_hosts` makes them.

    Raises:
        HTTPError: 400, if ``Host`` is missing, comes twice or is none of them.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    authority = _AUTHORITY(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
    if authority is None or not any(_host_matches(authority, name) for name in allowed):
        raise HTTPError(400, "this host name is not served here")


def _host_matches(authority: re.Match[str], name: str) -> bool:
    wanted = _AUTHORITY(name.removeprefix("*."))
    if name == "*" or wanted is None:
        return name == "*"
    host, port = authority[1], authority[2]
    # A browser leaves a default port out, and behind a proxy only the browser knows which one that is.
    if wanted[2] and wanted[2] != port and (port or wanted[2] not in _DEFAULT_PORTS.values()):
        return False
    return bool(host.endswith("." + wanted[1]) if name.startswith("*.") else host == wanted[1])


def parse_hosts(values: Collection[str]) -> frozenset[str]:
    """The setting ``allowed_hosts``, in lower case.

    Raises:
        ValueError: For what no ``Host`` can ever be.
    """
    for value in values:
        bare = value.lower().removeprefix("*.")
        if value != "*" and (_AUTHORITY(bare) is None or "*" in bare or not bare.isascii()):
            raise ValueError(
                f"a host looks like 'example.com', '*.example.com' or 'example.com:8000', not {value!r}; "
                "a name in another script is written as browsers send it, with xn--"
            )
    return frozenset(value.lower() for value in values)


def parse_origin(value: str) -> str:
    """One of ``allowed_origins``, in the form in which browsers send origins.

    It may be a pattern: ``*`` for every host of a scheme, ``*.example.com`` for those below a name, ``*`` as a port for
    each.  ``null`` and ``*`` stay what they are.

    Raises:
        ValueError: If no browser sends such an origin, or the pattern is for all of a top-level domain.
    """
    text = value.lower()
    text = text if text.endswith("://") else text.removesuffix("/")
    parts = _taken_apart(text, pattern=True)
    if text in ("*", "null"):
        return text
    if parts is None or (parts[1].startswith("*.") and "." not in parts[1][2:] and parts[1] != "*.localhost"):
        raise ValueError(
            "an origin looks like 'https://example.com', 'http://example.com:8000' or 'https://*.example.com', "
            f"not {value!r}; a name in another script is written as browsers send it, with xn--"
        )
    scheme, host, port = parts
    return f"{scheme}://{host}" + (f":{port}" if port != _DEFAULT_PORTS.get(scheme, "") else "")


def full_url(scope: Scope) -> str:
    """The absolute URL of a request, percent-encoded, as far as the server knows it."""
    kind = "ws" if scope["type"] == "websocket" else "http"
    raw, path = scope.get("raw_path"), scope["path"]
    # Only the raw path tells an encoded slash; behind some mounts it says something else.
    if raw and unquote(raw.decode("latin-1")) == path:
        encoded = quote(raw, safe=_SAFE)
    else:
        encoded = quote(path, safe=_SAFE.replace("%", ""), errors="replace")
    url = f"{scope.get('scheme') or kind}://{_authority(scope)}{encoded}"
    query = scope.get("query_string")
    return f"{url}?{quote(query, safe=_SAFE + '?')}" if query else url


def _authority(scope: Scope) -> str:
    host = (find_header(scope, b"host") or b"").decode("latin-1")
    if is_authority(host):
        return host
    name, port = (*(scope.get("server") or ()), None, None)[:2]
    if not name or port is None:  # a Unix socket has a path and no port
        return "localhost"
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
