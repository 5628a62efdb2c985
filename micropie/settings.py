"""The settings of an app, and what each of them can be; the defaults stand in the class App."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import Any, Final, NamedTuple, TypedDict

from .request.cookies import SameSite, format_cookie
from .request.origins import parse_hosts, parse_origin

MIB: Final = 1024 * 1024


class Settings(TypedDict, total=False):
    """The keyword arguments of an app; each can also be a class attribute of a subclass."""

    body_timeout: float | None
    max_body_size: int | None
    max_json_size: int | None
    max_form_field_size: int | None
    max_form_parts: int | None
    max_message_size: int | None
    send_timeout: float | None
    close_timeout: float
    session_timeout: int
    session_store_timeout: float | None
    session_cookie: str | Mapping[str, str | bool]
    session_cookie_secure: bool | None
    session_id_factory: Callable[[], str]
    session_id_validator: Callable[[str], str | None] | None
    allowed_origins: Collection[str]
    allowed_hosts: Collection[str]
    sync_workers: int
    debug: bool


class SessionCookie(NamedTuple):
    """How the session's cookie looks.

    Attributes:
        name: Its name.
        path: Its path; None for the app's root path.
        domain: Its domain; None for this host alone.
        samesite: ``"lax"``, ``"strict"`` or ``"none"``.
        partitioned: Whether there is one for each site in which the app's pages are embedded.
    """

    name: str = "session_id"
    path: str | None = None
    domain: str | None = None
    samesite: SameSite = "lax"
    partitioned: bool = False


def session_cookie(value: str | Mapping[str, Any]) -> SessionCookie:
    """The setting ``session_cookie``, a name or a dict, with its defaults."""
    return SessionCookie(value) if isinstance(value, str) else SessionCookie(**value)


def parse_origins(values: Collection[str]) -> frozenset[str]:
    """The setting ``allowed_origins`` in the form in which browsers send origins."""
    return frozenset(map(parse_origin, values))


def checked(name: str, value: Any) -> Any:
    """A setting's value, if it is one that the setting can have.

    Raises:
        TypeError: If the value has the wrong type.
        ValueError: If it is out of bounds.
    """
    return CHECKS[name](name, value)


def _seconds(name: str, value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise TypeError(f"{name} is a number of seconds or None, not {value!r}")
    return _above_zero(name, value)


def _bounded_seconds(name: str, value: Any) -> Any:
    if value in (None, inf):
        raise TypeError(
            f"{name} is a number of seconds, and can't be {'None' if value is None else 'infinite'}"
        )
    return _seconds(name, value)


def _limit(name: str, value: Any) -> Any:
    return None if value is None else _count(name, value)


def _count(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    return _above_zero(name, value)


def _above_zero(name: str, value: Any) -> Any:
    if value is not None and not value > 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return value


def _flag(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {value!r}")
    return value


def _optional_flag(name: str, value: Any) -> Any:
    return None if value is None else _flag(name, value)


def _function(name: str, value: Any) -> Any:
    if not callable(value):
        raise TypeError(f"{name} is a function, not {value!r}")
    return value


def _optional_function(name: str, value: Any) -> Any:
    return None if value is None else _function(name, value)


def _names(name: str, value: Any) -> Any:
    if (
        isinstance(value, str)
        or not isinstance(value, Collection)
        or not all(isinstance(item, str) for item in value)
    ):
        raise TypeError(f"{name} is a list of str, not {value!r}")
    return value


def _origins(name: str, value: Any) -> Any:
    parse_origins(_names(name, value))
    return value


def _hosts(name: str, value: Any) -> Any:
    parse_hosts(_names(name, value))
    return value


def _cookie(name: str, value: Any) -> Any:
    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or not all(
        key in SessionCookie._fields and isinstance(item, bool if key == "partitioned" else str)
        for key, item in fields.items()
    ):
        raise TypeError(f"{name} is a name or a dict of {', '.join(SessionCookie._fields)}, not {value!r}")
    cookie = session_cookie(value)._asdict()
    format_cookie(**{**cookie, "path": cookie["path"] or "/"}, value="")
    return value


CHECKS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "body_timeout": _seconds,
    "max_body_size": _limit,
    "max_json_size": _limit,
    "max_form_field_size": _limit,
    "max_form_parts": _limit,
    "max_message_size": _limit,
    "send_timeout": _seconds,
    "close_timeout": _bounded_seconds,
    "session_timeout": _count,
    "session_store_timeout": _seconds,
    "session_cookie": _cookie,
    "session_cookie_secure": _optional_flag,
    "session_id_factory": _function,
    "session_id_validator": _optional_function,
    "allowed_origins": _origins,
    "allowed_hosts": _hosts,
    "sync_workers": _count,
    "debug": _flag,
}
