"""MicroPie: a small ASGI web framework in which a method is a route and WebSockets are first class."""

try:
    from .app import App
    from .arguments import FromSession
    from .exceptions import ConnectionClosed, HTTPError, MultipartFileError
    from .headers import content_disposition
    from .middleware import HttpMiddleware, WebSocketMiddleware
    from .requests import Request, WebSocketRequest, current_request
    from .routing import methods
    from .sessions import SESSION_TIMEOUT, InMemorySessionBackend, SessionBackend
    from .uploads import Upload
    from .websockets import WebSocket
except Exception as _error:  # "python -m micropie" takes a user's typing.py for Python's own
    from .shadowed import raise_the_cure

    raise_the_cure(_error)
    raise

#: The version of this package.
__version__ = "1.0.0"

__all__ = [
    "SESSION_TIMEOUT",
    "App",
    "ConnectionClosed",
    "FromSession",
    "HTTPError",
    "HttpMiddleware",
    "InMemorySessionBackend",
    "MultipartFileError",
    "Request",
    "SessionBackend",
    "Upload",
    "WebSocket",
    "WebSocketMiddleware",
    "WebSocketRequest",
    "content_disposition",
    "current_request",
    "methods",
]
