"""From a scope to the handler that it names."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any, TypeVar
from urllib.parse import unquote

from .arguments import Plan, signature_of
from .concurrency import Pool
from .types import Scope

__all__ = ["methods"]

logger = logging.getLogger("micropie")

F = TypeVar("F", bound=Callable[..., Any])

#: What a handler needs from its app, so that no route can have the name.
RESERVED = frozenset(("env", "mount", "request", "websockets"))

_METHODS = "_micropie_methods"


def methods(*names: str) -> Callable[[F], F]:
    """Let a handler answer only these HTTP methods; another one is answered with 405 and ``Allow``.

    Args:
        names: Method names such as ``"POST"``; ``"GET"`` includes HEAD.

    Raises:
        TypeError: Without a name, as in ``@methods`` without parentheses.
    """
    if not names or not all(isinstance(name, str) and name.isalpha() for name in names):
        raise TypeError('write the methods that are allowed: @methods("GET", "POST")')
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
        call: The bound method.
        plan: How to get its arguments.
        allowed: The HTTP methods that it answers; None for all.
        blocks: Whether it may block, so that it has to run in a thread.
        may_return_none: Whether it says so itself, or has been warned of.
        problem: Why it cannot work, in words; None if it can.
    """

    __slots__ = ("allowed", "blocks", "call", "may_return_none", "name", "plan", "problem")

    def __init__(self, name: str, call: Callable[..., Any], *, websocket: bool) -> None:
        inner = inspect.unwrap(call)
        self.name = name
        self.call = call
        self.allowed: frozenset[str] | None = getattr(call, _METHODS, None)
        # Calling a generator function runs nothing yet; its steps go to the threads one by one.
        self.blocks = not (
            inspect.iscoroutinefunction(inner)
            or inspect.isasyncgenfunction(inner)
            or inspect.isgeneratorfunction(inner)
        )
        self.may_return_none = signature_of(inner).return_annotation in (None, "None")
        self.problem = _problem(name, call) if websocket else None
        self.plan = Plan(call, skip=int(websocket))

    async def run(self, pool: Pool, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """Call the handler and wait for its result."""
        if self.blocks:
            result = await pool.run(partial(self.call, *arguments, **keywords))
        else:
            result = self.call(*arguments, **keywords)
        return await result if inspect.isawaitable(result) else result


def _problem(name: str, call: Callable[..., Any]) -> str | None:
    if not inspect.iscoroutinefunction(inspect.unwrap(call)):
        return f"{name} must be 'async def' to handle a WebSocket"
    if not _takes_argument(call):
        return f"{name} needs a parameter for the WebSocket: async def {name}(self, ws)"
    return None


def _takes_argument(call: Callable[..., Any]) -> bool:
    first = next(iter(signature_of(call).parameters.values()), None)
    return first is not None and first.kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )


class Routes:
    """The handlers of one app, by method name.

    A handler is a function that a subclass of the root class, or a mixin, defines.  What the root class
    itself defines is never one, nor are data, properties, nested classes and instance attributes.

    Args:
        app: The app.
        root: The class whose own methods are no handlers.
    """

    def __init__(self, app: object, root: type) -> None:
        self._app = app
        self._root = root
        self._found: dict[str, Handler] = {}
        self._chosen: dict[tuple[str, bool], Handler] = {}
        names = {name for base in type(app).__mro__ if base not in root.__mro__ for name in vars(base)}
        for name in sorted(names & RESERVED):
            if isinstance(inspect.getattr_static(app, name), FunctionType):
                raise TypeError(
                    f"{type(app).__name__}.{name}: an app uses this name itself; call the route another"
                )
        for name in sorted(names):
            function = None if name.startswith("_") else self._function(name)
            if function is not None:
                self._found[name] = Handler(name, function, websocket=name.startswith("ws_"))
                self._warn_of(self._found[name].problem)

    def _warn_of(self, problem: str | None) -> None:
        if problem is not None:
            logger.warning("%s refuses every client of a WebSocket: %s", type(self._app).__name__, problem)

    def http(self, name: str) -> Handler | None:
        """The HTTP handler for a path segment."""
        return self._found.get(name)

    def websocket(self, name: str) -> Handler | None:
        """The WebSocket handler for a path segment."""
        return self._found.get("ws_" + name)

    def chosen(self, name: str, *, websocket: bool) -> Handler:
        """The handler that a middleware has chosen by its method's name, whatever it begins with.

        Raises:
            LookupError: If there is none with that name.
        """
        handler = self._chosen.get((name, websocket))
        if handler is None:
            function = self._function(name)
            if function is None:
                raise LookupError(
                    f"a middleware chose the handler {name!r}, which {type(self._app).__name__} lacks"
                )
            handler = self._chosen[name, websocket] = Handler(name, function, websocket=websocket)
        return handler

    def _function(self, name: str) -> Any:
        """The method with a name, bound; None if it is no function of a subclass."""
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


def split_path(scope: Scope) -> list[str]:
    """The segments of a path below the root path; a trailing slash adds none.

    An encoded slash does not split a segment.  It shows only in ``raw_path``, which counts only where it
    says the same as ``path``: behind some proxies and mounts it does not.
    """
    path: str = scope["path"]
    if path == "/":
        return []
    if not path.startswith("/"):
        return [path] if path else []
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" in raw and unquote(raw.decode("latin-1")) == path:
        parts = [unquote(part) for part in raw.decode("latin-1").split("/")]
    else:
        parts = path.split("/")
    root = (scope.get("root_path") or "").rstrip("/").split("/")
    del parts[: len(root) if parts[: len(root)] == root else 1]
    if parts and not parts[-1]:
        parts.pop()
    return parts


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is a prefix or lies below it, on a segment boundary."""
    prefix = prefix.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")
