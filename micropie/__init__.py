"""MicroPie: a small ASGI web framework in which a method is a route and WebSockets are first class."""

try:
    from inspect import get_annotations
    from types import FunctionType

    from .app import App
    from .exceptions import ConnectionClosed, HTTPError, MultipartFileError
    from .headers import content_disposition
    from .middleware import HttpMiddleware, WebSocketMiddleware
    from .request.request import Request, WebSocketRequest, current_request
    from .request.uploads import Upload
    from .routing.arguments import FromSession
    from .routing.routes import methods
    from .sessions.backends import SESSION_TIMEOUT, InMemorySessionBackend, SessionBackend
    from .websocket.websocket import WebSocket
except Exception as _error:  # "python -m micropie" takes a user's typing.py for Python's own
    from .cli.shadowed_modules import raise_the_cure

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

# What users import from here says so: in reprs, in tracebacks, and in pickles, which survive a move of the module.
for _public in map(globals().__getitem__, __all__):
    if isinstance(_public, type):
        # get_type_hints() would look in this module for the names in its annotations.
        _public.__annotations__ = get_annotations(_public, eval_str=True)
    if isinstance(_public, (type, FunctionType)):
        _public.__module__ = __name__
del FunctionType, get_annotations, _public
