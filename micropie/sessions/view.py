"""One connection's view of its session: what is loaded, what is changed, what is stored.

A request that does not look at its session does not pay for one: nothing is loaded where that can wait until
somebody looks, nothing is written, no cookie is sent.  One that looks writes only what it changed, onto what is stored
at that moment.  So a slow request or a WebSocket that is open for hours can neither roll back newer writes nor revive
a session that was logged out meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from micropie.concurrency import in_loop, is_ordinary, run_at_once
from micropie.exceptions import HTTPError
from micropie.request.cookies import cookie_values

from .backends import checked_data, held, is_memory
from .changes import copy_data, same

if TYPE_CHECKING:
    from micropie.app import App
    from micropie.types import Scope

logger: logging.Logger = logging.getLogger("micropie")

_ABSENT = object()

#: How many cookies with the session's name are looked up: one for each app along the path, and no more.
_TRIES = 5

#: For how long a session id that was moved is remembered, in seconds: longer than a request of that time is on its way.
_MOVED_FOR = 60.0


# --- what this process remembers --------------------------------------------------------------------------


class Recent:
    """To which session ids something has happened lately, as far as this process knows; bounded in memory."""

    #: Of how many ids it knows at least, if so many are recent.
    MOST = 50_000

    def __init__(self) -> None:
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}
        self._since = 0.0

    def note(self, session_id: str, seconds: float) -> None:
        """Remember an id, for so many seconds at least."""
        now = time.monotonic()
        if now - self._since >= seconds or len(self._young) >= self.MOST:
            self._old, self._young, self._since = self._young, {}, now
        self._young[session_id] = now

    def has(self, session_id: str, seconds: float) -> bool:
        """Whether an id was noted in the last so many seconds."""
        when = self._young.get(session_id, self._old.get(session_id))
        return when is not None and time.monotonic() - when < seconds


class Recently:
    """What has happened lately to an app's sessions.

    It decides what may be left out, and never what a session holds, so several processes need not agree: each of them
    renews a session in use once in a tenth of its life.

    Attributes:
        told: The client got the cookie.
        written: It was stored, or renewed in the store.
        moved: It got another id.
    """

    __slots__ = ("moved", "told", "written")

    def __init__(self) -> None:
        self.told: Recent = Recent()
        self.written: Recent = Recent()
        self.moved: Recent = Recent()


# --- one request's session --------------------------------------------------------------------------------


class SessionView:
    """One connection's view of its session: what was loaded, what has changed since.

    Args:
        app: The app whose session it is, which says where it is stored, and for how long.
        scope: The scope of the request to which it belongs; an app that is mounted there shares the view.
    """

    __slots__ = (
        "_asked",
        "_backend",
        "_before",
        "_failed",
        "_known",
        "_recently",
        "_stored",
        "_timeout",
        "app",
        "data",
        "id",
        "looked",
        "loop",
        "regenerate",
        "scope",
        "sealed",
        "shared",
        "waits",
    )

    def __repr__(self) -> str:
        # No id and no data: they are secrets.
        return f"<SessionView of {self.app!r}>"

    def __init__(self, app: App, scope: Scope) -> None:
        self.app: App = app
        self.scope: Scope = scope
        self._backend = app.session_backend
        self._timeout = app.session_timeout
        self._recently = app._micropie.recently
        #: The id under which it is stored, or will be; None as long as there is none.
        self.id: str | None = None
        self.data: dict[str, Any] = {}
        #: Whether somebody has looked at it: without that, nothing is written and no cookie sent.
        self.looked: bool = False
        self.regenerate: bool = False
        #: Whether it is another app's, which loads and saves it.
        self.shared: bool = False
        #: Whether the client can be told no id any more, so that no session may begin.
        self.sealed: bool = False
        #: Whether the store is to be asked before anybody can look, since it may have to wait.
        self.waits: bool = False
        #: Where the store is asked if a thread looks.
        self.loop: asyncio.AbstractEventLoop | None = None
        # Whether the store has been asked, and whether it failed.
        self._asked = self._failed = False
        self._stored = False
        # The id that the client has; None if it has none that is good for anything.
        self._known: str | None = None
        # What was stored, once somebody looks: only then can it change.
        self._before: dict[str, Any] | None = None

    # --- loading --------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Ask the store, as long as it may take.  If it fails, looking at the session raises an error."""
        self.waits = False
        try:
            async with self._bounded():
                await self._ask()
        except Exception as error:
            self._fail(error)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """As long as the store may take, after which TimeoutError is raised."""
        try:
            async with asyncio.timeout(self.app.session_store_timeout):
                yield
        except asyncio.CancelledError as error:
            if not is_ordinary(error):
                raise
            raise RuntimeError("the session store was cancelled, and not by this request") from error

    def _load_at_once(self) -> None:
        """The same, for an attribute, which cannot wait."""
        backend = self._backend
        try:
            if is_memory(backend):  # PERF: a coroutine for each look would cost more than the rest
                self._asked = True
                for session_id in self._sent_ids():
                    data = held(backend, session_id)
                    if data:
                        self._found(session_id, data)
                        break
            elif self.loop is None or in_loop():
                run_at_once(self._ask())
            else:  # a thread, which can: the store belongs to the loop, as a connection to a database may
                limit = self.app.session_store_timeout
                asking = asyncio.run_coroutine_threadsafe(self.load(), self.loop)
                asking.result(
                    None if limit is None else limit + 1
                )  # the loop keeps the time, unless it has ended
        # A cancellation from outside does not come where nothing waits.
        except (Exception, asyncio.CancelledError) as error:
            self._fail(error)

    async def _ask(self) -> None:
        self._asked = True
        for session_id in self._sent_ids():
            data = checked_data(await self._backend.load(session_id), self._backend)
            if data:
                self._found(session_id, data)
                return

    def _found(self, session_id: str, data: dict[str, Any]) -> None:
        self.id = self._known = session_id
        self.data, self._stored = data, True

    def _sent_ids(self) -> list[str]:
        core = self.app._micropie
        # A mounted app may have a cookie of the same name for its own path, which comes first then.
        values = cookie_values(self.scope, core.session_cookie.name)[:_TRIES]
        ids = [core.checked_session_id(value) for value in values]
        return [session_id for session_id in ids if session_id is not None]

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        self._log("the session store failed for %s", error)

    def _log(self, message: str, error: BaseException) -> None:
        logger.error(message, quote(self.scope["path"], errors="replace"), exc_info=error)

    async def adopt(self, session_id: str) -> None:
        """Go on under an id that the app chose; what was written so far goes on top of what it holds.

        Raises:
            HTTPError: 503 if the store fails.
        """
        if self.shared:
            raise RuntimeError("the session belongs to an outer app, so it cannot get another id here")
        self._known = session_id  # its cookie is always sent
        if session_id == self.id:
            self.look()
            return
        # Changed in place, since the handler may hold it; but what nobody has looked at is not there to be changed.
        before, data = self._before, {} if self._before is None else self.data
        written = self._written(before, data)
        try:
            async with self._bounded():
                stored = checked_data(await self._backend.load(session_id), self._backend)
        except Exception as error:
            self._log("the session store failed for %s", error)
            raise HTTPError(503) from error
        data.clear()
        data.update(copy_data(stored))
        data.update(written)
        self.id, self.data = session_id, data
        self.looked = self._asked = True
        self._failed = False
        self._before, self._stored = dict(stored), bool(stored)

    def share(self, data: MutableMapping[str, Any]) -> None:
        """Work on the session of an outer app of another framework, in place."""
        self.data = data  # type: ignore[assignment]  # whatever the other app takes for a dict
        self.shared = True

    def refuse(self) -> None:
        """Be empty and stay so, whatever the client has sent: the mount of this request has no session."""
        self._asked = self.sealed = True

    # --- looking --------------------------------------------------------------------------------------

    def look(self) -> dict[str, Any]:
        """The data, to be read and changed.

        Raises:
            HTTPError: 503 if the store failed.
        """
        self.looked = True
        if self._before is None and not self.shared:
            if not self._asked:
                self._load_at_once()
            if self._failed:
                raise HTTPError(503)
            # What was loaded may be the very dict that the backend keeps, and goes on changing.
            self._before = dict(self.data)
            self.data = copy_data(self.data)
        return self.data

    def replace(self, data: dict[str, Any]) -> None:
        """Put other data in its place; none at all is a logout."""
        current = self.look()
        if self.shared:
            current.clear()
            current.update(data)
        else:
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
        return bool(self.data) and self.looked and self.sealed and not self._stored and not self.shared

    # --- saving ---------------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        """Whether there is nothing to store and nothing to tell the client, as for most answers."""
        if not self.looked:
            return True
        before, data, known = self._before, self.data, self._known
        if not self._stored or before is None or self.regenerate or known is None or self.id != known:
            return False
        if len(before) != len(data) or not self._recently.told.has(known, self._timeout / 10):
            return False
        for key, value in data.items():  # PERF: what nobody has touched is the same object
            if before.get(key, _ABSENT) is not value:
                return not self._written(before, data)
        return True

    async def save(self, *, begins: bool = False) -> str | None:
        """Store what has changed, or renew a session that was only used.

        Args:
            begins: Whether a session may begin, because the client is told its id right after.

        Returns:
            The id that the client is to be told; ``""`` if it is to forget its own; None for neither: it has the
            cookie already, there is no session, or another request has logged it out or moved it meanwhile.

        Raises:
            Exception: What the store raises; TimeoutError if it takes too long.
        """
        if not self.looked or self.shared or self._failed:
            return None
        if self.id is None and not (begins and (self.data or self._known)):
            return None
        before = self._before
        # What is written while this waits belongs to the next save.
        data = self.data if before is None else copy_data(self.data)
        ours = await self._save(before, data, begins=begins)
        if before is not None:
            self._before = data
        return self._to_be_told() if begins and ours else None

    async def _save(self, before: dict[str, Any] | None, data: dict[str, Any], *, begins: bool) -> bool:
        """Have the store do what is due.

        Returns:
            Whether this is still the client's session.
        """
        removed = () if before is None else before.keys() - data.keys()
        changed = self._written(before, data)
        if self._stored and data and not (changed or removed or self.regenerate):
            return await self._renew(begins=begins)
        async with self._bounded():
            if not self._stored:
                return await self._begin(data)
            if not data:
                return await self._end()
            return await self._change(changed, removed)

    async def _begin(self, data: dict[str, Any]) -> bool:
        if not data:
            return True
        if self.sealed or (self.id is None and not self.regenerate and self._came_late()):
            return False
        session_id = self.id or self.app._micropie.new_session_id()
        await self._backend.save(session_id, dict(data), self._timeout)
        if self.regenerate:
            self._move_away(*self._sent_ids())
        self.id = session_id
        self._stored, self.regenerate = True, False
        self._recently.written.note(session_id, self._timeout / 10)
        return True

    def _came_late(self) -> bool:
        """Whether the client has sent an id that was moved by a request beside this one, as a login does.

        The cookie of a session that begins here would take the place of that of the login in the browser.
        """
        return any(self._recently.moved.has(session_id, _MOVED_FOR) for session_id in self._sent_ids())

    def _move_away(self, *session_ids: str) -> None:
        for session_id in session_ids:
            self._recently.moved.note(session_id, _MOVED_FOR)

    async def _end(self) -> bool:
        session_id = self.id or ""
        await self._backend.delete(session_id)
        self.id, self._stored = None, False
        if self._recently.moved.has(session_id, _MOVED_FOR):
            self._known = None  # by now the browser has another cookie, which is to stay
        return True

    async def _change(self, changed: Mapping[str, Any], removed: Collection[str]) -> bool:
        session_id = self.id or ""
        if self.regenerate:
            # Before the changes are written: whatever fails, the old id never leads to a login.
            new_id = self.app._micropie.new_session_id()
            if not await self._backend.rename(session_id, new_id, self._timeout):
                return False
            self._move_away(session_id)
            self.id, self.regenerate = new_id, False
            session_id = new_id
        return await self._update(session_id, changed, removed)

    async def _renew(self, *, begins: bool) -> bool:
        """Let a session that was only used live on: seldom, and nobody has to suffer if that fails."""
        session_id = self.id or ""
        recent = self._recently.told if begins else self._recently.written
        if recent.has(session_id, self._timeout / 10):
            return True
        try:
            async with self._bounded():
                return await self._update(session_id, {}, ())
        except Exception as error:
            self._log("the session for %s could not be renewed", error)
            return False

    async def _update(self, session_id: str, changed: Mapping[str, Any], removed: Collection[str]) -> bool:
        # A user's backend may return nothing: then the session is taken to be there.
        if await self._backend.update(session_id, changed, removed, self._timeout) is False:
            return False
        self._recently.written.note(session_id, self._timeout / 10)
        return True

    def _to_be_told(self) -> str | None:
        told = self._recently.told
        if self.id == self._known and (self.id is None or told.has(self.id, self._timeout / 10)):
            return None
        self._known = self.id
        if self.id is None:
            return ""
        told.note(self.id, self._timeout / 10)
        return self.id

    @staticmethod
    def _written(before: dict[str, Any] | None, data: dict[str, Any]) -> dict[str, Any]:
        """What was set since it was loaded or saved."""
        if before is None:
            return {}
        return {key: value for key, value in data.items() if not same(before.get(key, _ABSENT), value)}


class OuterSession(MutableMapping[str, Any]):
    """What an app that is mounted finds as ``scope["session"]``; it is loaded when that looks at it."""

    __slots__ = ("view",)

    def __init__(self, view: SessionView) -> None:
        self.view: SessionView = view

    def __getitem__(self, key: str) -> Any:
        return self.view.look()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.view.look()[key] = value

    def __delitem__(self, key: str) -> None:
        del self.view.look()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.view.look())

    def __len__(self) -> int:
        return len(self.view.look())

    def __repr__(self) -> str:
        return repr(self.view.look())
