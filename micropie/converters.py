"""What an annotation makes of a value that was sent."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from math import isfinite
from typing import Any, Literal, Union
from uuid import UUID

#: Makes a value of what was sent, or raises an error of whatever kind.
Convert = Callable[[Any], Any]


def _integer(value: Any) -> int:
    # int() also takes "1_000", " 1 " and other scripts' digits, which no peer would write.
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _number(value: Any) -> float:
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[0-9.eE+-]+", value)):
        raise ValueError
    number = float(value)
    if not isfinite(number):
        raise ValueError
    return number


_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else _BOOLEANS[value.lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_CONVERTERS: dict[Any, tuple[str, Convert]] = {
    str: ("text", _text),
    int: ("an integer", _integer),
    float: ("a number", _number),
    bool: ("true or false", _boolean),
    UUID: ("a UUID", lambda value: UUID(_text(value))),
    date: ("a date such as 2026-01-31", lambda value: date.fromisoformat(_text(value))),
    datetime: (
        "a date and time such as 2026-01-31T12:00",
        lambda value: datetime.fromisoformat(_text(value)),
    ),
}


def _choice(values: Mapping[str, Any]) -> tuple[str, Convert]:
    # JSON keeps its types, a query string has only text: both name a choice by its text.
    return "one of " + ", ".join(values), lambda value: values[str(value)]


def converter(annotation: Any) -> tuple[str, Convert] | None:
    """What a value has to be, in words, and the function that makes it so; None for "as sent"."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return _choice({str(value): value for value in typing.get_args(annotation)})
    if origin in (Union, types.UnionType):
        return _optional_converter(typing.get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choice({str(member.value): member for member in annotation})
    try:
        return _CONVERTERS.get(annotation)
    except TypeError:  # an annotation that is not hashable
        return None


def _optional_converter(members: tuple[Any, ...]) -> tuple[str, Convert] | None:
    some = [member for member in members if member is not type(None)]
    inner = converter(some[0]) if len(some) == 1 < len(members) else None
    if inner is None:
        return None
    kind, convert = inner
    # A form sends an empty field as "", which is no number and no date: nothing was filled in.
    blank: tuple[Any, ...] = (None,) if some[0] is str else (None, "")
    return kind, lambda value: None if value in blank else convert(value)
