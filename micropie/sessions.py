"""Sessions: where they are stored, and one request's view of one of them.

A request writes only what it changed, onto what is stored at that moment.  So a slow request or a
WebSocket that is open for hours can neither roll back newer writes nor revive a session that was
logged out meanwhile.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from .app import App
    from .types import Scope

__all__ = ["SESSION_TIMEOUT", "InMemorySessionBackend", "SessionBackend"]

logger: logging.Logger = logging.getLogger("micropie")

#: How long a session lives after its last use, in seconds: 8 hours.
SESSION_TIMEOUT: Final = 8 * 3600

_SCALARS = (str, int, float, bool, bytes, type(None))
_ABSENT = object()


def new_session_id() -> str:
    """A session id that cannot be guessed: 256 bits from ``secrets``."""
    return secrets.token_urlsafe(32)


def valid_session_id(value: str) -> str | None:
    """The id if it could be one of ours or another URL-safe token, else None."""
    return value if re.fullmatch(r"[A-Za-z0-9_-]{16,128}", value) else None


class SessionBackend(ABC):
    """Where sessions are stored.  A subclass needs :meth:`load` and :meth:`save`.

    All methods may be called at the same time for one session.  Those that a subclass inherits hold a
    lock per session while they load and save, which keeps one process consistent; a store that several
    processes share overrides :meth:`update`, :meth:`rename` and :meth:`delete` with atomic operations.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__}>"

    @abstractmethod
    async def load(self, session_id: str) -> dict[str, Any]:
        """The data of a session; empty if there is none.  The caller changes neither it nor what is in it.

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

        A session that is not there any more stays deleted.

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
        deadline, data = self._sessions.get(session_id, (0.0, {}))
        return copy_data(data) if time.monotonic() < deadline else {}

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


def copy_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing that can change."""
    return {
        key: value if isinstance(value, _SCALARS) else copy.deepcopy(value) for key, value in data.items()
    }


def _same(one: Any, other: Any) -> bool:
    """Equality that also tells 1 from True and 1.0, at any depth."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


class SessionView:
    """One connection's view of its session: what was loaded, what has changed since.

    Args:
        app: The app whose session it is, which says where it is stored, and for how long.
        scope: The scope of the request to which it belongs; an app that is chosen for it shares the view.
    """

    __slots__ = (
        "_backend",
        "_before",
        "_stored",
        "_timeout",
        "app",
        "data",
        "id",
        "regenerate",
        "scope",
        "sealed",
        "shared",
    )

    def __repr__(self) -> str:
        # No id and no data: they are secrets.
        return f"<SessionView of {self.app!r}>"

    def __init__(self, app: App, scope: Scope) -> None:
        self.app: App = app
        self.scope: Scope = scope
        self._backend = app.session_backend
        self._timeout = app.session_timeout
        #: The id that the client knows, or is about to be told; None if it knows none.
        self.id: str | None = None
        self.data: dict[str, Any] = {}
        self.regenerate: bool = False
        self._stored = False
        #: Whether it is another app's, which loads and saves it.
        self.shared: bool = False
        #: Whether the client can be told no id any more, so that no session may begin.
        self.sealed: bool = False
        # What was stored, once somebody looks: only then can it change.
        self._before: dict[str, Any] | None = None

    async def load(self, session_id: str) -> None:
        """Load the session of a cookie.  An id that the backend does not know is not adopted."""
        self.data = await self._backend.load(session_id)
        if self.data:
            self.id = session_id
            self._stored = True

    async def adopt(self, session_id: str) -> None:
        """Go on under an id that the app chose; what was written so far goes on top of what it holds."""
        if self.shared:
            raise RuntimeError("the session belongs to an outer app, so it cannot get another id here")
        if session_id != self.id:
            stored = await self._backend.load(session_id)
            data = self.look()  # changed in place: the handler may hold it
            written = self._written(self._before, data)
            data.clear()
            data.update(copy_data(stored))
            data.update(written)
            self._before = dict(stored)
            self.id = session_id
            self._stored = bool(stored)

    def share(self, data: dict[str, Any]) -> None:
        """Work on the session of an outer app, in place."""
        self.data = data
        self.shared = True

    def look(self) -> dict[str, Any]:
        """The data, to be read and changed."""
        if self._before is None and not self.shared:
            # What was loaded may be the very dict that the backend keeps, and goes on changing.
            self._before = dict(self.data)
            self.data = copy_data(self.data)
        return self.data

    def replace(self, data: dict[str, Any]) -> None:
        """Put other data in its place; none at all is a logout."""
        if self.shared:
            self.data.clear()
            self.data.update(data)
        else:
            self.look()
            self.data = data

    def discard(self) -> None:
        """Forget what has changed since it was loaded or saved."""
        self.regenerate = False
        if self._before is not None:
            self.data = self._before
            self._before = None

    @property
    def unstorable(self) -> bool:
        """Whether something was written that no client will ever find again."""
        return bool(self.data) and self.sealed and not self._stored and not self.shared

    async def save(self, *, begins: bool = False) -> str | None:
        """Store what has changed, or renew a session that was only used.

        Args:
            begins: Whether a session may begin, because the client is told its id right after.

        Returns:
            The id that the client is to be told; ``""`` if it is to forget its own; None for neither,
            because there is no session, or another request has logged it out or moved it meanwhile.
        """
        if self.shared or (self.id is None and not (begins and self.data)):
            return None
        session_id, before = self.id or self.app._micropie.new_session_id(), self._before
        # What is written while this waits belongs to the next save.
        data = self.data if before is None else copy_data(self.data)
        told: str | None = None
        if not self._stored:
            if data and not self.sealed:
                await self._backend.save(session_id, dict(data), self._timeout)
                self.id = told = session_id
                self._stored, self.regenerate = True, False
        elif not data:
            await self._backend.delete(session_id)
            self.id, self._stored, told = None, False, ""
        else:
            told = await self._renew(session_id, before, data)
        if before is not None:
            self._before = data
        return told

    async def _renew(
        self, session_id: str, before: dict[str, Any] | None, data: dict[str, Any]
    ) -> str | None:
        removed = () if before is None else before.keys() - data.keys()
        changed = self._written(before, data)
        if self.regenerate:
            # Before the changes are written: whatever fails, the old id never leads to a login.
            new_id = self.app._micropie.new_session_id()
            if not await self._backend.rename(session_id, new_id, self._timeout):
                return None
            self.id, self.regenerate = new_id, False
            session_id = new_id
        # A backend of one's own may return nothing: then the session is taken to be there.
        if await self._backend.update(session_id, changed, removed, self._timeout) is False:
            return None
        return session_id

    @staticmethod
    def _written(before: dict[str, Any] | None, data: dict[str, Any]) -> dict[str, Any]:
        """What was set since it was loaded or saved."""
        if before is None:
            return {}
        return {key: value for key, value in data.items() if not _same(before.get(key, _ABSENT), value)}
