"""ASGI by hand, without a framework: what a server makes of these messages is the server's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple


class Shared(NamedTuple):
    """What the programs share with the app beside them."""

    saw: Callable[[object], None]
    gate: Callable[[], Awaitable[object]]


async def refuses(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Refuse the handshake with a status and a body, where the server knows how to."""
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"3")]
        await send({"type": "websocket.http.response.start", "status": 402, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"pay"})
    else:
        shared.saw("no websocket.http.response among the extensions")
        await send({"type": "websocket.close", "code": 1000, "reason": ""})


async def greets(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Accept with a header."""
    await send({"type": "websocket.accept", "headers": [(b"x-extra", b"yes")]})
    await send({"type": "websocket.close", "code": 1000})


async def closes_1008(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    await send({"type": "websocket.accept"})
    try:
        await send({"type": "websocket.close", "code": 1008})
    except Exception as error:
        shared.saw(f"{type(error).__name__}: {error}")
        await send({"type": "websocket.close", "code": 1000})


async def closes_4000(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4000, "reason": "enough"})


async def receives(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Receive until the end, and say what the server tells of it."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "ready"})
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    code = message.get("code")
    shared.saw(f"code {code if code is None else int(code)}, reason {message.get('reason')!r}")


async def sends(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Send after the client has left, which raises an error or nothing."""
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "ready"})
    await shared.gate()
    for _ in range(3):
        await send({"type": "websocket.send", "text": "more"})
    shared.saw("the sends are silent")
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def floods(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Send 32 MiB to a client that reads nothing meanwhile."""
    await send({"type": "websocket.accept"})
    for _ in range(32):
        await send({"type": "websocket.send", "bytes": bytes(1024 * 1024)})
    shared.saw("all is sent before the client reads")
    await receive()
    await send({"type": "websocket.close", "code": 1000})


async def waits(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Receive as long as the server runs."""
    try:
        await receives(scope, receive, send, shared)
    except asyncio.CancelledError:
        shared.saw("CancelledError()")
        raise


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {
    program.__name__: program
    for program in (refuses, greets, closes_1008, closes_4000, receives, sends, floods, waits)
}


async def raw(scope: Any, receive: Any, send: Any, shared: Shared) -> None:
    """Run the program that the path names."""
    assert (await receive())["type"] == "websocket.connect"
    await PROGRAMS[scope["path"].removeprefix("/raw/")](scope, receive, send, shared)
