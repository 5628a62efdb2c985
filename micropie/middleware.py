"""Hooks around handlers: before one runs, and after it, on every way out."""

from __future__ import annotations

from typing import Any

from .request.request import Request, WebSocketRequest

__all__ = ["HttpMiddleware", "WebSocketMiddleware"]


class HttpMiddleware:
    """Hooks around every HTTP handler of an app; put an instance into ``app.middlewares``.

    Before hooks run in the order of the list, after hooks in reverse.  An after hook runs exactly once
    for a request whose before hook returned None, however the handler ended.  Override those that you need; which ones
    those are is looked up once, before the first request that passes them.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__}>"

    async def on_headers(self, request: Request) -> dict[str, Any] | None:
        """Called before the body is read; returns as :meth:`before_request` does.

        Args:
            request: The request; its form, JSON and files are still empty.
        """
        return None

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Called before the handler is looked up.

        Args:
            request: The request.

        Returns:
            None to go on, or a dict with one or more of ``status_code``, ``body`` and ``headers``, which is the answer;
            no handler runs then.  An empty dict means the same as None.
        """
        return None

    async def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Called before the answer is sent.

        Args:
            request: The request.
            status_code: The status of the answer.
            response_body: Its body: ``str``, ``bytes``, or an iterator that will be streamed.
            extra_headers: The answer's header fields, in a list that you may change: the handler's, and the
                ``Content-Type`` if the handler named none.

        Returns:
            None to go on, or a dict with those of ``status_code``, ``body`` and ``headers`` to replace.
        """
        return None


class WebSocketMiddleware:
    """Hooks around every WebSocket handler of an app; put an instance into ``app.ws_middlewares``.

    Both hooks of a socket run in one task and one context.  So the first one can enter a tracing span or a task group,
    or set a context variable, and the second one can leave or reset it.
    """

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__}>"

    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None:
        """Called before the handler is looked up; the handshake is not answered yet.

        Args:
            request: The live :class:`WebSocket`.  Don't accept it here; the handler does.  Until then nothing can be
                received or sent.

        Returns:
            None to go on, or a dict that refuses the handshake: ``status_code`` (403 unless given), ``body`` and
            ``headers``, each optional.  ``code`` and ``reason`` are accepted too.
        """
        return None

    async def after_websocket(self, request: WebSocketRequest) -> None:
        """Called when the handler has ended, on every way out, before the session is stored and the socket closed.

        Args:
            request: The live :class:`WebSocket`.  If it was accepted and is not ``closed``, the hook may send a last
                message, or close it with a code of its own.
        """


class Hooks:
    """What can be known of an app's middlewares before a request comes: which of them have anything to say.

    A hook that is not overridden says nothing, so it is not called.  An object that is no :class:`HttpMiddleware` has
    its own, of which ``on_headers`` may be missing.

    Args:
        middlewares: The app's list.

    Attributes:
        middlewares: Of which middlewares this is known.
        early: Those with a hook that comes before the body is read.
        look: Whether one of them has a hook that comes before the handler.
        steps: Each of them, whether it has that hook, and whether it has one that comes after the handler.
    """

    __slots__ = ("early", "look", "middlewares", "steps")

    def __init__(self, middlewares: list[HttpMiddleware]) -> None:
        self.middlewares: list[HttpMiddleware] = list(middlewares)
        self.early: list[HttpMiddleware] = [one for one in middlewares if _overrides(one, "on_headers")]
        self.steps: list[tuple[HttpMiddleware, bool, bool]] = [
            (one, _overrides(one, "before_request"), _overrides(one, "after_request")) for one in middlewares
        ]
        self.look: bool = any(before for _, before, _ in self.steps)


def _overrides(middleware: Any, name: str) -> bool:
    if isinstance(middleware, HttpMiddleware):
        return getattr(getattr(middleware, name), "__func__", None) is not getattr(HttpMiddleware, name)
    return name != "on_headers" or hasattr(middleware, name)


def short_circuit(result: Any, hook: Any) -> dict[str, Any] | None:
    """What a hook returned; an empty dict counts as None.

    Raises:
        TypeError: If it is neither None nor a dict.
    """
    if result is None or isinstance(result, dict):
        return result or None
    raise TypeError(f"{hook.__qualname__} returned {type(result).__name__}; a hook returns None or a dict")
