"""The names that the ASGI specification gives to what passes between server and application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Header fields as a handler writes them, in order; a name may come more than once.
Headers: TypeAlias = Iterable[tuple[str, str]]
#: Header fields as they travel: lower-case names, latin-1 values (ASGI, "HTTP").
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
