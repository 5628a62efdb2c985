"""What the apps of all frameworks share: gates that the test opens, and a word to it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator

SECRET = "not a secret, but long enough for those that look at its length"

#: A handler that waits here goes on when the test asks for ``/open/NAME``.
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
#: The same for a handler that is not ``async``.
door = threading.Event()

#: How long a stream goes on after its client has left, when nobody stops it: so many pieces, and seconds for each.
PIECES, PACE = 10, 0.1


def note(case: str, what: str) -> None:
    """Tell the test what the handler sees."""
    sys.stdout.write(f"@{case} {what}\n")
    sys.stdout.flush()


def told(error: BaseException) -> str:
    """An exception as the table shows it: its name, and its close code if it has one."""
    code = getattr(error, "code", None)
    return f"{type(error).__name__}, code {int(code)}" if isinstance(code, int) else type(error).__name__


def open_gate(name: str) -> str:
    """What ``/open/NAME`` does."""
    if name == "block":
        door.set()
    else:
        gates[name].set()
    return "open"


def block() -> str:
    """What a handler that is not ``async`` does: it waits for the next request, but not for ever."""
    return "went on" if door.wait(3) else "waited in vain"


async def pieces() -> AsyncIterator[bytes]:
    """A stream: one piece, and a few more when its client has left."""
    try:
        yield b"first\n"
        await gates["stream"].wait()
        for _ in range(PIECES):
            await asyncio.sleep(PACE)
            yield b"more\n"
        note("stream", "runs to its end")
    finally:
        note("stream", "is stopped")
