"""Where sessions are stored: what a store has to do, and the one in memory."""

from __future__ import annotations

import asyncio
import dis
import inspect
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Any, ClassVar, Final, TypeGuard
from weakref import WeakValueDictionary

from .changes import copy_data

__all__ = ["SESSION_TIMEOUT", "InMemorySessionBackend", "SessionBackend"]

#: How long a session lives after its last use, in seconds: 8 hours.
SESSION_TIMEOUT: Final = 8 * 3600


_session_id = re.compile(r"[A-Za-z0-9_-]{16,128}").fullmatch


def new_session_id() -> str:
    """A session id that cannot be guessed: 256 bits from ``secrets``."""
    return secrets.token_urlsafe(32)


def valid_session_id(value: str) -> str | None:
    """The id if it could be one of ours or another URL-safe token, else None."""
    return value if _session_id(value) else None


class SessionBackend(ABC):
    """Where sessions are stored.  A subclass needs :meth:`load` and :meth:`save`.

    All methods may be called at the same time for one session.  Those that a subclass inherits hold a
    lock per session while they load and save, which keeps one process consistent; a store that several
    processes share overrides :meth:`update`, :meth:`rename` and :meth:`delete` with atomic operations.
    """

    #: Whether :meth:`load` may wait for something, such as a connection, a lock or a thread.  If it may, MicroPie calls
    #: it once for each request with a session's cookie, before the hooks, because an attribute such as
    #: ``request.session`` cannot wait.  If it never waits, MicroPie calls it only when somebody looks at the session.
    #: None lets MicroPie decide by the code of ``load``: it never waits if it has no ``await`` (other than of
    #: ``super().load()``), ``async for`` or ``async with``.
    load_waits: ClassVar[bool | None] = None

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__}>"

    @abstractmethod
    async def load(self, session_id: str) -> dict[str, Any]:
        """Return a session's data, or an empty dict or None if there is no such session.  The caller never changes it.

        Args:
            session_id: The session.
        """

    @abstractmethod
    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Store the data of a session, in the place of what was stored.

        Args:
            session_id: The session.
            data: All of it; empty data deletes the session.
            timeout: Seconds from now until it expires.
        """

    async def update(
        self, session_id: str, changed: Mapping[str, Any], removed: Collection[str], timeout: int
    ) -> bool:
        """Merge changes into what is stored now, and let it live ``timeout`` seconds from now.

        A session that is not there any more stays deleted.  Without any change it is renewed, which happens at most
        once in a tenth of its life for each process.

        Args:
            session_id: The session.
            changed: Keys to set.
            removed: Keys to take out; without any key left the session is deleted.
            timeout: Seconds from now until it expires.

        Returns:
            Whether the session was still there.
        """
        async with self._lock(session_id):
            data = await self.load(session_id)
            if not data:
                return False
            kept = {key: value for key, value in data.items() if key not in removed}
            await self.save(session_id, {**kept, **changed}, timeout)
            return True

    async def rename(self, session_id: str, new_id: str, timeout: int) -> bool:
        """Move a session to another id, for example after a login.

        Args:
            session_id: The session.
            new_id: Its new id.
            timeout: Seconds from now until it expires.

        Returns:
            Whether the session was still there.
        """
        async with self._lock(session_id):
            data = await self.load(session_id)
            if not data:
                return False
            await self.save(new_id, data, timeout)
            await self.save(session_id, {}, 0)
            return True

    async def delete(self, session_id: str) -> None:
        """Delete a session, whatever is stored; an update that runs meanwhile cannot revive it.

        Args:
            session_id: The session.
        """
        async with self._lock(session_id):
            await self.save(session_id, {}, 0)

    def _lock(self, session_id: str) -> asyncio.Lock:
        # Made on first use: subclasses need not call __init__.
        locks: WeakValueDictionary[str, asyncio.Lock] = self.__dict__.setdefault(
            "_locks", WeakValueDictionary()
        )
        lock = locks.get(session_id)
        if lock is None:
            lock = locks[session_id] = asyncio.Lock()
        return lock


class InMemorySessionBackend(SessionBackend):
    """Sessions in this process's memory: gone after a restart, not shared between workers."""

    def __init__(self) -> None:
        self._sessions: dict[str, tuple[float, dict[str, Any]]] = {}
        # A heap of when to look whether which session has expired; each save adds one.
        self._deadlines: list[tuple[float, str]] = []

    async def load(self, session_id: str) -> dict[str, Any]:
        """The data of a session, as a copy; empty if there is none or it has expired.

        Args:
            session_id: The session.
        """
        return copy_data(held(self, session_id))

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        """Store a copy of the data, in the place of what was stored.

        Args:
            session_id: The session.
            data: All of it; empty data deletes the session.
            timeout: Seconds from now until it expires.
        """
        now = time.monotonic()
        if data:
            deadline = now + timeout
            self._sessions[session_id] = (deadline, copy_data(data))
            heappush(self._deadlines, (deadline, session_id))
        else:
            self._sessions.pop(session_id, None)
        self._forget_expired(now)

    def _forget_expired(self, now: float) -> None:
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, session_id = heappop(self._deadlines)
            if session_id in self._sessions and self._sessions[session_id][0] == deadline:
                del self._sessions[session_id]
        if len(self._deadlines) > 2 * len(self._sessions) + 100:
            # Most are of sessions that were renewed or deleted.
            self._deadlines = [(deadline, session_id) for session_id, (deadline, _) in self._sessions.items()]
            heapify(self._deadlines)


def held(backend: InMemorySessionBackend, session_id: str) -> dict[str, Any]:
    """What it holds of a session, and not a copy: for who changes nothing in it."""
    deadline, data = backend._sessions.get(session_id, (0.0, {}))
    return data if time.monotonic() < deadline else {}


_load_from_memory = InMemorySessionBackend.load


def is_memory(backend: Any) -> TypeGuard[InMemorySessionBackend]:
    """Whether a backend is this process's memory and nothing else, so that what it holds is at hand."""
    kind = type(backend)
    return (
        kind is InMemorySessionBackend
        and kind.load is _load_from_memory
        and backend.load_waits is None
        and "load" not in backend.__dict__
    )


# --- whether a store may have to wait ---------------------------------------------------------------------


def load_waits(backend: Any) -> bool:
    """Whether the backend's ``load()`` may wait for something, so that an attribute cannot call it.

    What cannot be told for sure may.
    """
    if is_memory(backend):  # PERF: as most are
        return False
    kind: Any = type(backend)
    own = getattr(backend, "__dict__", {})
    if own.get("load_waits") is not None:
        return bool(own["load_waits"])
    if "load" in own:
        return _awaited(own["load"]) is not _NOTHING
    # The functions are looked up each time, since somebody may have put others in their place.
    return _class_waits(kind, *(vars(base).get("load") for base in kind.__mro__))


@lru_cache(maxsize=256)
def _class_waits(kind: Any, *loads: Any) -> bool:
    for base, load in zip(kind.__mro__, loads, strict=True):
        declared = vars(base).get("load_waits")  # it speaks of this class's load(), or of an inherited one
        if declared is not None:
            return bool(declared)
        awaited = _PARENT if load is None else _awaited(load)
        if awaited is not _PARENT:
            return awaited is not _NOTHING
    return True


#: What a function awaits: nothing, the same method of its parent alone, or anything.
_NOTHING, _PARENT, _ANYTHING = "nothing", "super().load()", "anything"

#: How ``await super().load(session_id)`` is compiled, on Python 3.11 and from 3.12 on; what may stand for the arguments
#: cannot wait.
_AWAIT_PARENT = re.compile(
    r"LOAD_GLOBAL:super (?:CALL LOAD_METHOD:load|LOAD_DEREF:__class__ LOAD_FAST\w*:\w+ LOAD_SUPER_ATTR:load) "
    r"(?:LOAD_FAST\w*:\S+ |LOAD_CONST )*CALL(?:_KW)? GET_AWAITABLE LOAD_CONST SEND"
)
_NAMED = ("LOAD_GLOBAL", "LOAD_METHOD", "LOAD_DEREF", "LOAD_FAST", "LOAD_SUPER_ATTR")
_SILENT = ("PRECALL", "KW_NAMES", "PUSH_NULL", "EXTENDED_ARG", "NOP")


def _awaited(function: Any) -> str:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or not code.co_flags & inspect.CO_COROUTINE:
        return _ANYTHING
    steps = [
        f"{step.opname}:{step.argval}" if step.opname.startswith(_NAMED) else step.opname
        for step in dis.get_instructions(code)
        if step.opname not in _SILENT
    ]
    waits = steps.count("SEND")  # whatever a coroutine waits for, it waits in this instruction
    if not waits:
        return _NOTHING
    return _PARENT if len(_AWAIT_PARENT.findall(" ".join(steps))) == waits else _ANYTHING


def checked_data(data: Any, backend: Any) -> dict[str, Any]:
    """What a backend has loaded; None means that there is no session.

    Raises:
        TypeError: If it is nothing that a session can be.
    """
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise TypeError(f"{type(backend).__qualname__}.load() returned {type(data).__name__}, not a dict")
    return data if isinstance(data, dict) else dict(data)
