"""From a scope to the handler that it names."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from micropie.exceptions import HTTPError
from micropie.types import Scope

from .arguments import Plan, signature_of

if TYPE_CHECKING:
    from micropie.request.request import Request

__all__ = ["methods"]

logger: logging.Logger = logging.getLogger("micropie")

F = TypeVar("F", bound=Callable[..., Any])

#: What a handler needs from its app, so that no route can have the name.
RESERVED = frozenset(("close_websockets", "env", "from_thread", "mount", "request", "url_for", "websockets"))

_METHODS = "_micropie_methods"

#: What a handler without @methods answers.  No page is meant by the others: OPTIONS asks about it, and TRACE tests the
#: way there.
USUAL = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))


def methods(*names: str) -> Callable[[F], F]:
    """Let a handler answer only these HTTP methods; another one is answered with 405 and ``Allow``.

    Without it a handler answers GET, HEAD, POST, PUT, PATCH and DELETE.  OPTIONS is answered with 204 and ``Allow``,
    unless the handler lists it here.

    Args:
        names: Method names such as ``"POST"``; ``"GET"`` includes HEAD.

    Raises:
        TypeError: Without a name, as in ``@methods`` without parentheses.
    """
    if not names or not all(isinstance(name, str) and name.isalpha() for name in names):
        raise TypeError('@methods takes the names of HTTP methods, as in @methods("GET", "POST")')
    allowed = {name.upper() for name in names}
    if "GET" in allowed:
        allowed.add("HEAD")

    def mark(handler: F) -> F:
        setattr(handler, _METHODS, frozenset(allowed))
        return handler

    return mark


class Handler:
    """A route: a method of the app, and how to call it.

    Attributes:
        name: The method's name.
        call: The bound method; what raises an error if it cannot work.
        plan: How to get its arguments.
        allowed: The HTTP methods that it answers.
        blocks: Whether it may block, so that it has to run in a thread.
        may_return_none: Whether it says so itself, or has been warned of.
        problem: Why it cannot work, in words; None if it can.
        awaits: Whether what it returns is to be awaited: ``async def``, and no generator.
        direct: Whether it can be called at once, for every usual method: that, or an async generator.
        simple: Whether it is one of the first kind, and takes no arguments.
        waits: Whether it can wait for more of a form, so that it is called while that comes in.
    """

    __slots__ = (
        "allowed",
        "awaits",
        "blocks",
        "call",
        "direct",
        "may_return_none",
        "name",
        "plan",
        "problem",
        "simple",
        "waits",
    )

    def __init__(self, name: str, call: Callable[..., Any], *, websocket: bool, exact: bool = True) -> None:
        inner = inspect.unwrap(call)
        self.name: str = name
        self.allowed: frozenset[str] = getattr(call, _METHODS, USUAL)
        if websocket and self.allowed is not USUAL:
            raise TypeError(f"{name} handles WebSockets, which have no method: take @methods(...) away")
        self.waits: bool = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
        # Calling a generator function runs nothing yet; its steps go to the threads one by one.
        self.blocks: bool = not (self.waits or inspect.isgeneratorfunction(inner))
        self.may_return_none: bool = signature_of(inner).return_annotation in (None, "None")
        self.problem: str | None = _problem(name, call) if websocket else None
        self.call: Callable[..., Any] = call if self.problem is None else _refusing(self.problem)
        self.plan: Plan = Plan(self.call, skip=int(websocket), exact=exact)
        self.awaits: bool = inspect.iscoroutinefunction(self.call)
        self.direct: bool = self.allowed is USUAL and (self.awaits or inspect.isasyncgenfunction(self.call))
        self.simple: bool = self.direct and self.awaits and self.plan.empty

    def __repr__(self) -> str:
        if self.problem is not None:
            return f"<Handler {self.name}: refuses, {self.problem}>"
        return f"<Handler {self.name}: {'any method' if self.allowed is USUAL else ', '.join(sorted(self.allowed))}>"

    @property
    def allow(self) -> list[tuple[str, str]]:
        """The header fields that tell the methods."""
        return [("Allow", ", ".join(sorted(self.allowed)))]

    def check(self, request: Request) -> None:
        """Refuse a request that this handler never answers, whatever is in its body.

        Raises:
            HTTPError: 404 for its path segments, as with every other method; 405 for its method.
        """
        if request.x_segments:
            self.plan.check(request.x_segments)
        if request.method not in self.allowed:
            raise HTTPError(405, headers=self.allow)


def _problem(name: str, call: Callable[..., Any]) -> str | None:
    if not inspect.iscoroutinefunction(inspect.unwrap(call)):
        return f"{name} must be 'async def' to handle a WebSocket"
    if not _takes_argument(call):
        return f"{name} needs a parameter for the WebSocket: async def {name}(self, ws)"
    return None


def _refusing(problem: str) -> Callable[..., Any]:
    # Whatever the path says: this isn't a 404.
    def refuse(ws: Any, *segments: Any) -> Any:
        raise TypeError(problem)

    return refuse


def _takes_argument(call: Callable[..., Any]) -> bool:
    first = next(iter(signature_of(call).parameters.values()), None)
    return first is not None and first.kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )


class Routes:
    """The HTTP handlers of one app, or its WebSocket handlers.

    A handler is a function that a subclass of the root class, or a mixin, defines.  What the root class
    itself defines is never one, nor are data, properties, nested classes and instance attributes.

    Args:
        app: The app.
        root: The class whose own methods aren't handlers.
        websocket: Whether the WebSocket handlers are meant, whose names begin with ``ws_``.

    Raises:
        TypeError: For a route with a name that an app uses itself.
    """

    def __init__(self, app: object, root: type, *, websocket: bool = False) -> None:
        self._app = app
        self._root = root
        self._websocket = websocket
        #: The handlers by the first segment of their paths.
        self.by_name: dict[str, Handler] = {}
        #: The same by path: one look finds whom most requests are for, which bring no arguments in the path.
        self.by_path: dict[str, Handler] = {}
        self._chosen: dict[str, Handler] = {}
        names = {name for base in type(app).__mro__ if base not in root.__mro__ for name in vars(base)}
        for name in sorted(names & RESERVED):
            if isinstance(inspect.getattr_static(app, name), FunctionType):
                raise TypeError(
                    f"{type(app).__name__}.{name}: App uses this name itself; give the method another one"
                )
        for name in sorted(names):
            segment = name.removeprefix("ws_")
            # ``ws__admin`` is private as ``_admin`` is; so is ``ws_``, which has no name to be reached by.
            function = self._function(name) if segment and not segment.startswith("_") else None
            if function is not None and name.startswith("ws_") is websocket:
                self._add(segment, Handler(name, function, websocket=websocket))

    def _add(self, name: str, handler: Handler) -> None:
        self.by_name[name] = self.by_path["/" + name] = handler
        if name == "index":
            self.by_path["/"] = handler
        if handler.problem is not None:
            logger.warning(
                "%s refuses every client of a WebSocket: %s", type(self._app).__name__, handler.problem
            )

    def find(self, request: Request, chosen: str | None = None) -> Handler:
        """The handler for a request.

        Args:
            request: The request, which is told its path parameters.
            chosen: The method's name if a middleware has chosen the handler, whatever it begins with.

        Raises:
            HTTPError: 404 if there is none.
            LookupError: If there is none with the chosen name.
        """
        scope = request.scope
        root: str = scope.get("root_path") or ""
        handler = None if root or chosen is not None else self.by_path.get(scope["path"])
        return handler or self.by_segments(request, chosen, root)

    def by_segments(self, request: Request, chosen: str | None = None, root: str = "") -> Handler:
        """The same for a path that :attr:`by_path` has not, below a root path if there is one."""
        scope = request.scope
        path: str = scope["path"]
        raw: bytes | None = scope.get("raw_path")
        # PERF: a path without an escape, as most are; the budget of http_params holds it
        if not root and raw is not None and len(raw) == len(path) > 1 and path[0] == "/" and path.isascii():
            end = path.find("/", 1)
            if end < 0:
                name, segments = path[1:], []
            else:
                name, segments = path[1:end], path[end + 1 :].split("/")
                if not segments[-1]:
                    del segments[-1]
        else:
            segments = split_path(scope, root)
            name = segments.pop(0) if segments else "index"
        handler = self.by_name.get(name)
        if chosen is not None:
            handler = self._chosen.get(chosen) or self._choose(chosen)
        elif handler is None:
            handler = self._fallback(name)
            request.x_segments = [name, *segments]
        request.x_segments = request.x_segments or segments
        return handler

    def _fallback(self, name: str) -> Handler:
        """``index`` gets all segments, if it takes any; but no private name and no WebSocket's leads to it."""
        index = None if self._websocket else self.by_name.get("index")
        if index is None or not index.plan.takes_segments or name.startswith(("_", "ws_")):
            raise HTTPError(404)
        return index

    def _choose(self, name: str) -> Handler:
        function = self._function(name)
        if function is None:
            raise LookupError(
                f"a middleware chose the handler {name!r}, which {type(self._app).__name__} lacks"
            )
        # What a middleware has chosen need not fit the path.
        handler = self._chosen[name] = Handler(name, function, websocket=self._websocket, exact=False)
        return handler

    def _function(self, name: str) -> Any:
        """The method with a name, bound; None if it isn't a function of a subclass."""
        # What has __get__ are methods and properties; a setting's default may share its name with a route.
        if name.startswith("__") or hasattr(inspect.getattr_static(self._root, name, None), "__get__"):
            return None
        for base in type(self._app).__mro__:
            if base not in self._root.__mro__ and name in vars(base):
                value = vars(base)[name]
                return value.__get__(self._app, type(self._app)) if _is_function(value) else None
        return None


def _is_function(value: Any) -> bool:
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, type) or not hasattr(value, "__get__"):
        return False
    return isinstance(inspect.unwrap(value), FunctionType)


def split_path(scope: Scope, root: str) -> list[str]:
    """The segments of a path below a root path, which may be empty; a trailing slash adds none.

    An encoded slash does not split a segment.  It shows only in ``raw_path``, which counts only where it
    says the same as ``path``: behind some proxies and mounts it does not.

    Raises:
        HTTPError: 404 if it does not begin with a slash: some servers let that pass, and no hook that guards
            ``/admin`` looks for ``admin``.  400 if it is not UTF-8, where servers put U+FFFD.
    """
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    # Only a path with an escape, or with what should be one, is shorter than it was sent.
    if raw and len(raw) != len(path) and unquote(raw.decode("latin-1")) == path:
        try:
            parts = [unquote(part, errors="strict") for part in raw.decode("latin-1").split("/")]
        except UnicodeDecodeError:
            raise HTTPError(400, "the path is not UTF-8") from None
    elif "\ufffd" in path:
        raise HTTPError(400, "the path is not UTF-8")
    else:
        parts = path.split("/")
    if parts[0]:
        raise HTTPError(404)
    if root:
        _strip_root(parts, root.rstrip("/").split("/"), path)
    else:
        del parts[0]
    if parts and not parts[-1]:
        del parts[-1]
    return parts


def _strip_root(parts: list[str], root: list[str], path: str) -> None:
    """Take the root path off; some servers leave it out."""
    if parts[: len(root)] == root:
        del parts[: len(root)]
    elif is_below(path, "/".join(root)):
        raise HTTPError(
            404
        )  # an encoded slash at its end: for hooks and mounts that is one, for routes it is none
    elif not parts[0]:
        del parts[0]


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is a prefix or lies below it, on a segment boundary."""
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")
