"""Which web pages may open a WebSocket here, and under which host names the app answers.

A browser sends cookies with every WebSocket handshake, whatever page opened it, and no same-origin
rule stops the page from reading the answers.  So the server has to look at ``Origin`` (RFC 6455,
section 10.2).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator

from .exceptions import HTTPError
from .headers import find_header
from .types import Scope

logger = logging.getLogger("micropie")

_HELP = "if it is yours, have the proxy pass Host on, or add it to allowed_origins"

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_ONE_HOST = {"localhost", "127.0.0.1", "[::1]"}
_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://(\[[0-9a-f:.]+\]|[^/:@?#\[\]\s]+)(?::([0-9]{1,5}))?").fullmatch
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^/:@?#\[\]\s]+)(?::([0-9]{1,5}))?").fullmatch


def check_origin(scope: Scope, allowed: Collection[str]) -> None:
    """Refuse a handshake that a page of another origin began.

    Own is an Origin whose host and port are those of ``Host`` or ``X-Forwarded-Host``; a port that is
    missing on either side is the default of the Origin's scheme, and the scheme itself is not compared,
    since a proxy may end TLS.  The loopback names of one port are one host.  No Origin means no browser.

    Args:
        scope: The ASGI scope of the handshake.
        allowed: More origins, in lower case, or ``"*"`` for all.

    Raises:
        HTTPError: 403, and one line in the log that names the setting.
    """
    origins = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"origin"]
    if not origins or "*" in allowed:
        return
    origin = ", ".join(origins)  # no browser sends two, and together they are nobody's
    if origin in allowed or any(same_host(origin, host) for host in _own_hosts(scope)):
        return
    logger.warning(
        "refused a WebSocket from a foreign origin: Origin %r, Host %r; %s",
        origin,
        (find_header(scope, b"host") or b"").decode("latin-1"),
        "a page without an origin cannot be let in" if origin == "null" else _HELP,
    )
    raise HTTPError(403, "this origin may not open a WebSocket here")


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
    for name, value in scope["headers"]:
        if name in (b"host", b"x-forwarded-host"):
            for host in value.decode("latin-1").lower().split(","):
                yield host.strip()


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
        allowed: Host names in lower case, with or without port; ``"*.example.com"`` stands for all
            names below ``example.com``.

    Raises:
        HTTPError: 400, if ``Host`` is missing, comes twice or is none of them.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    authority = _AUTHORITY(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
    if authority is None or not any(_host_matches(authority, name) for name in allowed):
        raise HTTPError(400, "this host name is not served here")


def _host_matches(authority: re.Match[str], name: str) -> bool:
    if name.startswith("*."):
        return authority[1].endswith(name[1:])
    return name in ("*", authority[0], authority[1])


def parse_origin(value: str) -> str:
    """A setting for an origin, in the form in which browsers send it.

    Raises:
        ValueError: If it is not ``scheme://host`` or ``scheme://host:port`` with one host in ASCII.
    """
    origin = value.lower().removesuffix("/")
    match = _ORIGIN(origin)
    if match is None or "*" in origin or not origin.isascii():
        raise ValueError(
            f"an origin looks like 'https://example.com' or 'http://example.com:8000', not {value!r}"
        )
    if match[3] == _DEFAULT_PORTS.get(match[1], "") and match[3]:
        origin = origin.rpartition(":")[0]
    return origin
