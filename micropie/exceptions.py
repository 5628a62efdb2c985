"""What can go wrong, as exceptions that keep their data and build their text from it.

::

    Exception
    ├── HTTPError               the answer to this request is an error status
    ├── ConnectionClosed        this WebSocket is over
    ├── MultipartFileError      an uploaded file is not whole
    └── ValueError
        └── InvalidJSON         a message is not JSON (private; catch ValueError)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus

from .headers import field_list
from .types import Headers

__all__ = ["ConnectionClosed", "HTTPError", "MultipartFileError"]


class HTTPError(Exception):
    """Answer this request with an error status.

    Raised anywhere in a handler or hook.  Before a WebSocket is accepted it refuses the handshake
    with the same status; afterwards it closes the socket with code 1008 and the detail as the reason.

    Args:
        status: The HTTP status code, 400 to 599.
        detail: One sentence for the client.  It is sent, so put no secret into it.
        headers: Header fields to send along, such as ``("Retry-After", "5")``.

    Raises:
        ValueError: If ``status`` is not an error status.
        TypeError: If ``headers`` aren't pairs.
    """

    def __init__(self, status: int, detail: str = "", headers: Headers | Mapping[str, str] = ()) -> None:
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ValueError(f"HTTPError needs a status from 400 to 599, not {status!r}")
        super().__init__(status, detail)
        self.status: int = status
        self.detail: str = detail
        self.headers: list[tuple[str, str]] = field_list(headers)

    def __str__(self) -> str:
        return f"{status_line(self.status)}: {self.detail}" if self.detail else status_line(self.status)


class ConnectionClosed(Exception):
    """This WebSocket is over: the client left, or it was closed from this side.

    The one exception for it, raised by receiving and by sending.  A handler that does not catch it
    ends normally.

    Args:
        code: The close code (RFC 6455, section 7.4): the peer's, or the one sent from this side; 1005
            if the close frame had none, 1006 if there was no close frame.
        reason: The reason in the close frame, at most 123 bytes of UTF-8.
    """

    __slots__ = ("code", "reason")

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        self.code: int = code
        self.reason: str = reason

    def __str__(self) -> str:
        return f"{self.code} {self.reason}" if self.reason else str(self.code)


class MultipartFileError(Exception):
    """An uploaded file is not whole: the client cut it short, or it broke a limit.

    Raised by ``await content.get()``.  A handler that does not catch it answers with the cause's status.

    Args:
        cause: Why; usually an :class:`HTTPError`.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause

    def __str__(self) -> str:
        return f"the uploaded file is not whole: {self.cause}"


class InvalidJSON(ValueError):
    """A WebSocket message is not JSON; if a handler lets it pass, the socket is closed with 1007."""


def the_one(error: BaseException) -> BaseException:
    """What a group of errors comes down to, if that is one.

    A task group wraps what its tasks raise.  Departures beside another error are its consequence: they
    count only where there is nothing else.
    """
    leaves = list(_leaves(error))
    others = [leaf for leaf in leaves if not isinstance(leaf, ConnectionClosed)]
    if not others:
        return leaves[0]
    return others[0] if len(others) == 1 else error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def status_line(status: int) -> str:
    """``404 Not Found`` for 404; the bare number for a status that has no name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
