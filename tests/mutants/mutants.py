"""Sessions that are broken on purpose: each line of the table is one way to write the code wrongly."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """A change of the source.

    Attributes:
        where: The module, and the function in it.
        old: What stands there, once.
        new: What takes its place.
    """

    where: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Break a copy of the package.

        Raises:
            LookupError: If the source has changed, so that this line of the table needs a new one.
        """
        module, _, name = self.where.partition(":")
        path = package / f"{module}.py"
        source = path.read_text("utf-8")
        begin, end = _span(source, name)
        function = source[begin:end]
        if function.count(self.old) != 1:
            raise LookupError(f"{self.where} has {self.old!r} {function.count(self.old)} times, not once")
        path.write_text(source[:begin] + function.replace(self.old, self.new) + source[end:], "utf-8")


def _span(source: str, name: str) -> tuple[int, int]:
    """Where in the source a function, or a method as ``Class.method``, begins and ends."""
    body = ast.parse(source).body
    for part in name.split("."):
        [node] = [
            node
            for node in body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == part
        ]
        body = node.body
    lines = source.splitlines(keepends=True)
    return len("".join(lines[: node.lineno - 1])), len("".join(lines[: node.end_lineno]))


LOCKED, UNLOCKED = "async with self._lock(session_id):", "if True:"
GONE = "if not data:\n                return False"

BACKENDS = {
    "an update takes no lock": Mutant("sessions/backends:SessionBackend.update", LOCKED, UNLOCKED),
    "a rename takes no lock": Mutant("sessions/backends:SessionBackend.rename", LOCKED, UNLOCKED),
    "a logout takes no lock": Mutant("sessions/backends:SessionBackend.delete", LOCKED, UNLOCKED),
    "each call has a lock of its own": Mutant(
        "sessions/backends:SessionBackend._lock", "lock = locks.get(session_id)", "lock = None"
    ),
    "all sessions share one lock that is kept": Mutant(
        "sessions/backends:SessionBackend._lock", "WeakValueDictionary()", "{}"
    ),
    "an update revives": Mutant("sessions/backends:SessionBackend.update", GONE, "pass"),
    "an update takes a session that is gone to be there": Mutant(
        "sessions/backends:SessionBackend.update", "return False", "return True"
    ),
    "an update says that the session is gone": Mutant(
        "sessions/backends:SessionBackend.update", "return True", "return False"
    ),
    "an update removes nothing": Mutant(
        "sessions/backends:SessionBackend.update", "if key not in removed", "if True"
    ),
    "an update keeps nothing": Mutant(
        "sessions/backends:SessionBackend.update", "{**kept, **changed}", "{**changed}"
    ),
    "what is stored wins over what is written": Mutant(
        "sessions/backends:SessionBackend.update", "{**kept, **changed}", "{**changed, **kept}"
    ),
    "an update does not renew": Mutant("sessions/backends:SessionBackend.update", ", timeout)\n", ", 1)\n"),
    "a rename revives": Mutant("sessions/backends:SessionBackend.rename", GONE, "pass"),
    "a rename leaves the old session": Mutant(
        "sessions/backends:SessionBackend.rename", "await self.save(session_id, {}, 0)", "pass"
    ),
    "a rename of what is gone claims to be one": Mutant(
        "sessions/backends:SessionBackend.rename", "return False", "return True"
    ),
    "what is loaded is the backend's own": Mutant(
        "sessions/backends:InMemorySessionBackend.load",
        "copy_data(held(self, session_id))",
        "held(self, session_id)",
    ),
    "what is saved stays the caller's": Mutant(
        "sessions/backends:InMemorySessionBackend.save", "copy_data(data)", "data"
    ),
    "nothing expires": Mutant("sessions/backends:held", "if time.monotonic() < deadline else {}", ""),
    "what has expired stays in memory": Mutant(
        "sessions/backends:InMemorySessionBackend._forget_expired", "del self._sessions[session_id]", "pass"
    ),
    "what was renewed expires": Mutant(
        "sessions/backends:InMemorySessionBackend._forget_expired",
        " and self._sessions[session_id][0] == deadline",
        "",
    ),
    "old deadlines stay in memory": Mutant(
        "sessions/backends:InMemorySessionBackend._forget_expired", "2 * len(self._sessions) + 100", "10**9"
    ),
}

VIEWS = {
    "an id can be guessed": Mutant(
        "sessions/backends:new_session_id", "secrets.token_urlsafe(32)", '"x" * 43'
    ),
    "an id comes from a generator with a state": Mutant(
        "sessions/backends:new_session_id",
        "secrets.token_urlsafe(32)",
        '__import__("base64").urlsafe_b64encode(__import__("random").randbytes(32)).decode()[:43]',
    ),
    "an id is short": Mutant("sessions/backends:new_session_id", "32", "12"),
    "any text is an id": Mutant(
        "sessions/backends:valid_session_id", "value if _session_id", "value if True or _session_id"
    ),
    "copies are shallow": Mutant("sessions/changes:copy_data", "copy.deepcopy(value)", "value"),
    "1 is True": Mutant(
        "sessions/changes:same",
        "if kind is not type(other):",
        "if one == other:\n        return True\n    if kind is not type(other):",
    ),
    "NaN is another one each time": Mutant(
        "sessions/changes:same", "repr(one) == repr(other) if kind is float else ", ""
    ),
    "objects equal themselves alone": Mutant(
        "sessions/changes:same", "_same_objects(one, other, met)", "bool(one == other)"
    ),
    "all objects of a class are the same": Mutant(
        "sessions/changes:same", "_same_objects(one, other, met)", "True"
    ),
    "sets are compared by their size": Mutant(
        "sessions/changes:_same_sets", "if found is None:", "if False:"
    ),
    "keys equal themselves alone": Mutant(
        "sessions/changes:_same_dicts", "same([*one.items()], [*other.items()], met)", "False"
    ),
    "a value that contains itself is compared for ever": Mutant(
        "sessions/changes:same", "if (id(one), id(other)) in met:", "if False:"
    ),
    "the state of an object does not count": Mutant(
        "sessions/changes:_parts", "[function, arguments, state, ", "[function, arguments, "
    ),
    "an unknown id is adopted": Mutant("sessions/view:SessionView._ask", "if data:", "if True:"),
    "one cookie is looked up": Mutant("sessions/view:SessionView._sent_ids", "[:_TRIES]", "[:1]"),
    "every cookie is looked up": Mutant("sessions/view:SessionView._sent_ids", "[:_TRIES]", ""),
    "the last cookie counts": Mutant("sessions/view:SessionView._ask", "\n                return\n", "\n"),
    "an id is not checked": Mutant(
        "sessions/view:SessionView._sent_ids", "core.checked_session_id(value)", "value"
    ),
    "loading may take for ever": Mutant(
        "sessions/view:SessionView._bounded",
        "asyncio.timeout(self.app.session_store_timeout)",
        "asyncio.timeout(None)",
    ),
    "a store that fails is everybody's error": Mutant(
        "sessions/view:SessionView.load", "self._fail(error)", "raise"
    ),
    "a store that fails has an empty session": Mutant(
        "sessions/view:SessionView.look", "if self._failed:", "if False:"
    ),
    "a store that fails is asked again": Mutant(
        "sessions/view:SessionView._ask", "self._asked = True", "pass"
    ),
    "a store that cancels ends the request": Mutant(
        "sessions/view:SessionView._load_at_once", "(Exception, asyncio.CancelledError)", "Exception"
    ),
    "a thread asks the store itself": Mutant(
        "sessions/view:SessionView._load_at_once", "if self.loop is None or in_loop():", "if True:"
    ),
    "None is no session": Mutant("sessions/backends:checked_data", "if data is None:", "if False:"),
    "anything is a session": Mutant(
        "sessions/backends:checked_data", "if not isinstance(data, Mapping):", "if False:"
    ),
    "every store may wait": Mutant(
        "sessions/backends:load_waits", "return _class_waits(", "return True or _class_waits("
    ),
    "no store may wait": Mutant(
        "sessions/backends:load_waits", "return _class_waits(", "return False and _class_waits("
    ),
    "what awaits its parent waits": Mutant(
        "sessions/backends:_awaited", "return _PARENT if", "return _ANYTHING if"
    ),
    "what awaits anything awaits its parent": Mutant("sessions/backends:_awaited", " == waits", " <= waits"),
    "what a class says counts below it": Mutant(
        "sessions/backends:_class_waits", "if declared is not None:", "if declared:"
    ),
    "a chosen session forgets what was written before": Mutant(
        "sessions/view:SessionView.adopt", "data.update(written)", "pass"
    ),
    "a chosen session begins empty": Mutant(
        "sessions/view:SessionView.adopt", "data.update(copy_data(stored))", "pass"
    ),
    "a chosen session inherits all of the one before": Mutant(
        "sessions/view:SessionView.adopt", "data.clear()", "pass"
    ),
    "a chosen session is the backend's own": Mutant(
        "sessions/view:SessionView.adopt", "copy_data(stored)", "stored"
    ),
    "a shared session is saved by both": Mutant(
        "sessions/view:SessionView.share", "self.shared = True", "pass"
    ),
    "what was stored is not kept to compare with": Mutant(
        "sessions/view:SessionView.look", "dict(self.data)", "self.data"
    ),
    "what is handed out is compared with itself": Mutant(
        "sessions/view:SessionView.look", "copy_data(self.data)", "dict(self.data)"
    ),
    "setting a session changes only what it names": Mutant(
        "sessions/view:SessionView.replace", "self.data = data", "current.update(data)"
    ),
    "an error keeps what was changed": Mutant(
        "sessions/view:SessionView.discard", "self.data = self._before", "pass"
    ),
    "an error keeps the wish for a fresh id": Mutant(
        "sessions/view:SessionView.discard", "self.regenerate = False", "pass"
    ),
    "a session begins where nobody can be told": Mutant(
        "sessions/view:SessionView.save", "begins and (self.data or self._known)", "self.data or self._known"
    ),
    "a session begins after the answer": Mutant(
        "sessions/view:SessionView._begin", "if self.sealed or (", "if ("
    ),
    "a shared session is stored twice": Mutant("sessions/view:SessionView.save", "or self.shared ", ""),
    "who does not look saves": Mutant("sessions/view:SessionView.save", "not self.looked or ", ""),
    "a late visitor begins a session": Mutant(
        "sessions/view:SessionView._begin", " and self._came_late()", " and False"
    ),
    "a late visitor cannot log in": Mutant(
        "sessions/view:SessionView._begin", "not self.regenerate and ", ""
    ),
    "a login without a session before moves none": Mutant(
        "sessions/view:SessionView._begin", "self._move_away(*self._sent_ids())", "pass"
    ),
    "a login is not remembered": Mutant(
        "sessions/view:SessionView._change", "self._move_away(session_id)", "pass"
    ),
    "who empties the old session takes the login's cookie": Mutant(
        "sessions/view:SessionView._end", "self._known = None", "pass"
    ),
    "each look renews": Mutant(
        "sessions/view:SessionView._renew", "if recent.has(session_id, self._timeout / 10):", "if False:"
    ),
    "nothing is ever renewed": Mutant(
        "sessions/view:SessionView._renew", "if recent.has(session_id, self._timeout / 10):", "if True:"
    ),
    "a renewal that fails is an error": Mutant(
        "sessions/view:SessionView._renew", "            return False", "            raise"
    ),
    "each answer carries the cookie": Mutant(
        "sessions/view:SessionView._to_be_told", "told.has(self.id, self._timeout / 10)", "False"
    ),
    "no answer carries the cookie again": Mutant(
        "sessions/view:SessionView._to_be_told", "told.has(self.id, self._timeout / 10)", "True"
    ),
    "an id that was saved early is not told": Mutant(
        "sessions/view:SessionView._to_be_told", "self.id == self._known and (", "("
    ),
    "what is remembered of renewals grows": Mutant(
        "sessions/view:Recent.note", " or len(self._young) >= self.MOST", ""
    ),
    "renewals are remembered for ever": Mutant(
        "sessions/view:Recent.has", " and time.monotonic() - when < seconds", ""
    ),
    "what is written during a save is lost": Mutant(
        "sessions/view:SessionView.save", "copy_data(self.data)", "self.data"
    ),
    "what was saved is written again": Mutant(
        "sessions/view:SessionView.save", "self._before = data", "pass"
    ),
    "the backend keeps what the view compares with": Mutant(
        "sessions/view:SessionView._begin", "dict(data)", "data"
    ),
    "a logout deletes nothing": Mutant(
        "sessions/view:SessionView._end", "await self._backend.delete(session_id)", "pass"
    ),
    "a logout leaves the cookie": Mutant("sessions/view:SessionView._to_be_told", 'return ""', "return None"),
    "a logout keeps the id": Mutant(
        "sessions/view:SessionView._end", "self.id, self._stored = None, False", "self._stored = False"
    ),
    "a login keeps its id": Mutant("sessions/view:SessionView._change", "if self.regenerate:", "if False:"),
    "each save after a login has another id": Mutant(
        "sessions/view:SessionView._change", "self.id, self.regenerate = new_id, False", "self.id = new_id"
    ),
    "a fresh id is told for what is gone": Mutant(
        "sessions/view:SessionView._change",
        "if not await self._backend.rename(",
        "if await self._backend.rename(",
    ),
    "a session that is gone is told again": Mutant("sessions/view:SessionView._update", "is False", "is ..."),
    "all keys are written": Mutant(
        "sessions/view:SessionView._written", "if not same(before.get(key, _ABSENT), value)", ""
    ),
    "what was not looked at is written": Mutant(
        "sessions/view:SessionView._written", "return {}", "return dict(data)"
    ),
    "a change is taken for none": Mutant(
        "sessions/view:SessionView.is_settled", "return not self._written(before, data)", "return True"
    ),
    "a key that is gone is not missed": Mutant(
        "sessions/view:SessionView.is_settled", "len(before) != len(data) or ", ""
    ),
    "a new id is not asked for": Mutant("sessions/view:SessionView.is_settled", "or self.regenerate ", ""),
    "a session in use is never renewed": Mutant(
        "sessions/view:SessionView.is_settled",
        "or not self._recently.told.has(known, self._timeout / 10)",
        "",
    ),
    "no key is removed": Mutant("sessions/view:SessionView._save", "before.keys() - data.keys()", "set()"),
}

VISITS = {
    "a chosen app has a session of its own": Mutant(
        "sessions/visit:prepare_session", "if isinstance(around, OuterSession):", "if False:"
    ),
    "the session of another framework is not used": Mutant(
        "sessions/visit:prepare_session", "elif around is not None:", "elif False:"
    ),
    "a mount without a session has one": Mutant(
        "sessions/visit:prepare_session", "if mount is not None and not mount.session:", "if False:"
    ),
    "a session is loaded before anybody looks": Mutant(
        "sessions/visit:prepare_session", "if load_waits(request.x_app.session_backend):", "if True:"
    ),
    "caches do not know of the session": Mutant(
        "sessions/visit:vary", "request.x_view is None or not request.x_view.looked", "True"
    ),
    "caches know of a session that nobody looked at": Mutant(
        "sessions/visit:vary", "request.x_view is None or not request.x_view.looked", "request.x_view is None"
    ),
    "what varies is said twice": Mutant("sessions/visit:_listed", "if any(", "if False and any("),
    "a cache gets the session's cookie": Mutant(
        "sessions/visit:save_before_answer", "fields = _private(fields)", "pass"
    ),
    "public stays beside private": Mutant("sessions/visit:_private", "if not _is_public(rule)", ""),
    "a chosen app saves its chooser's session": Mutant(
        "sessions/visit:save_before_answer", "view is None or view.scope is request.scope", "True"
    ),
    "a chosen id is not checked": Mutant(
        "sessions/visit:save_before_accept",
        "request.x_core.checked_session_id(chosen_id)",
        "chosen_id",
    ),
    "a chosen session is not stored": Mutant(
        "sessions/visit:save_before_accept", "await session.save()", "pass"
    ),
    "the cookies of the handler are forgotten": Mutant(
        "sessions/visit:_set_cookies", "[*cookies, _cookie(view, told)]", "[_cookie(view, told)]"
    ),
    "the session's cookie stays among the handler's": Mutant(
        "sessions/visit:_set_cookies",
        "[*cookies, _cookie(view, told)]",
        "[_cookie(view, told)] * 2",
    ),
    "a cookie that ends stays in the browser": Mutant("sessions/visit:_cookie", " if session_id else 0", ""),
    "the cookie is for the whole host": Mutant(
        "sessions/visit:_cookie", 'else quote(session.scope.get("root_path") or "/")', 'else "/"'
    ),
    "the cookie goes over plain HTTP": Mutant("sessions/visit:_is_secure", "not local if", "False if"),
}

#: All of them, by what is wrong.
MUTANTS = {**BACKENDS, **VIEWS, **VISITS}
