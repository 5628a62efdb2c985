"""What an annotation makes of a value that was sent."""

from __future__ import annotations

import re
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from enum import Enum
from math import isfinite
from operator import is_
from typing import Any, Literal, NamedTuple, NewType, TypeVar, Union
from uuid import UUID

from micropie.request.uploads import Upload, as_upload

#: Makes a value of what was sent, or raises one of :data:`MISFITS`.
Convert = Callable[[Any], Any]

#: The errors of a value that does not fit: its text is wrong, it has another type, or it is nested too deeply.
MISFITS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)

#: What an annotation can be, for the error about one that cannot.
WRITE = (
    "write str, int, float, bool, Decimal, UUID, date, datetime, time, timedelta, Upload, an Enum, Literal[...], "
    "list[...], set[...], frozenset[...], tuple[...], dict[...], a union of these such as int | None, or Any for the "
    "value as it was sent; a method that isn't a route begins with an underscore"
)


class Conversion(NamedTuple):
    """What an annotation asks for.

    Attributes:
        kind: What a value must be, in words.
        convert: What makes it so.  A value that is right already comes back as the same object.
        from_text: Whether one text can be it, so that a path segment can.
        repeated: Whether it takes every value of a repeated name, as :class:`Repeated`.
        file: Whether it, or an item of it, can be a file.
    """

    kind: str
    convert: Convert
    from_text: bool = True
    repeated: bool = False
    file: bool = False


class Repeated(list[Any]):
    """Every value that was sent under one name, as a query string or a form repeats it; no list of JSON."""


# --- one value -------------------------------------------------------------------------------------------


def _integer(value: Any) -> int:
    # int() also takes "1_000", " 1 " and other scripts' digits, which no peer would write.
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _number(value: Any) -> float:
    if isinstance(value, str):
        right = re.fullmatch(r"[0-9.eE+-]+", value) is not None
    else:
        right = hasattr(value, "__float__") and not isinstance(
            value, bool
        )  # bytes have none, but float() reads them
    if not right:
        raise ValueError
    number = float(value)
    if not isfinite(number):
        raise ValueError
    return number


#: The exponents that a Decimal may have: written out, 1E999999999 would fill the memory.
_EXPONENT = 4300


def _decimal(value: Any) -> Any:
    from decimal import Decimal  # loaded already, by who wrote the annotation

    if isinstance(value, float):
        value = repr(value)  # 0.1 is meant as it was written
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9.eE+-]+", value):
            raise ValueError
        value = Decimal(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise ValueError
    if abs(value.adjusted()) > _EXPONENT or abs(int(value.as_tuple().exponent)) > _EXPONENT:
        raise ValueError
    return value


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


def _read(kind: type, read: Callable[[str], Any]) -> Convert:
    """What reads a type from text.  A session can hold the type itself."""

    def convert(value: Any) -> Any:
        # Python counts a datetime as a date.
        right = isinstance(value, kind) and isinstance(value, datetime) is (kind is datetime)
        return value if right else read(_text(value))

    return convert


_DURATION = re.compile(
    r"([+-]?)P(?!$)(?:([0-9]+)W)?(?:([0-9]+)D)?"
    r"(?:T(?!$)(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:\.[0-9]+)?)S)?)?"
)


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return timedelta(seconds=_number(value))
    weeks, days, hours, minutes = (int(number or 0) for number in found.groups()[1:5])
    seconds = float(found[6] or 0)
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    return -length if found[1] == "-" else length


TEXT = Conversion("text", _text)
_SCALARS: dict[Any, Conversion] = {
    str: TEXT,
    int: Conversion("an integer", _integer),
    float: Conversion("a number", _number),
    bool: Conversion("true or false", _boolean),
    UUID: Conversion("a UUID", _read(UUID, UUID)),
    date: Conversion("a date such as 2026-01-31", _read(date, date.fromisoformat)),
    datetime: Conversion("a date and time such as 2026-01-31T12:00", _read(datetime, datetime.fromisoformat)),
    time: Conversion("a time such as 12:30", _read(time, time.fromisoformat)),
    timedelta: Conversion("a duration in seconds, or one such as PT1H30M", _duration),
}
_DECIMAL = Conversion("a decimal number", _decimal)
_SCALARS[Upload] = Conversion("a file", as_upload, from_text=False, file=True)


def _scalar(annotation: Any) -> Conversion | None:
    if getattr(annotation, "__module__", None) == "decimal" and annotation.__name__ == "Decimal":
        return _DECIMAL  # not imported for those who do without
    try:
        return _SCALARS.get(annotation)
    except TypeError:  # an annotation that is not hashable
        return None


def _choice(choices: Iterable[tuple[Any, Any]], missing: Convert | None = None) -> Conversion:
    """One of some values, each with what it stands for: JSON names one in its own type, text in the text of it."""
    exact: dict[tuple[type, Any], Any] = {}
    by_text: dict[str, Any] = {}
    for value, meaning in choices:
        by_text.setdefault(str(value).lower() if isinstance(value, bool) else str(value), meaning)
        with suppress(TypeError):  # a value that is not hashable can be named by its text alone
            exact.setdefault((type(value), value), meaning)
        exact.setdefault((type(meaning), meaning), meaning)
    kinds = dict.fromkeys(kind for kind, _ in exact)
    readers = [(kind, found.convert) for kind in kinds if (found := _scalar(kind)) is not None]

    def convert(value: Any) -> Any:
        if (type(value), value) in exact:
            return exact[type(value), value]
        for kind, read in readers:
            try:
                return exact[kind, read(value)]
            except MISFITS:
                continue
        if isinstance(value, str) and value in by_text:
            return by_text[value]
        return _refuse(value) if missing is None else missing(value)

    return Conversion("one of " + ", ".join(by_text), convert)


def _refuse(value: Any) -> Any:
    raise ValueError


def _member(enum: type[Enum]) -> Conversion:
    def missing(value: Any) -> Enum:
        found = enum._missing_(value) if isinstance(value, str) else None
        return found if isinstance(found, enum) else _refuse(value)

    return _choice(((member.value, member) for member in enum), missing)


# --- many values -----------------------------------------------------------------------------------------

#: What makes a sequence for an annotation.
_SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    tuple: tuple,
    set: set,
    abc.Set: set,
    abc.MutableSet: set,
    frozenset: frozenset,
}
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


def _items(value: Any) -> Any:
    # JSON has lists alone, a session can hold the others.
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise TypeError
    return value


def _sequence(make: Callable[[list[Any]], Any], item: Conversion | None) -> Conversion:
    def convert(value: Any) -> Any:
        items = _items(value) if item is None else [item.convert(one) for one in _items(value)]
        # A list of the session stays the one that it holds: a handler may change it in place.
        return value if type(value) is make and all(map(is_, items, value)) else make(items)

    kind = "a list" if item is None else f"a list (each {item.kind})"
    file = item is not None and item.file
    return Conversion(kind, convert, from_text=False, repeated=True, file=file)


def _fixed(members: list[Conversion | None]) -> Conversion:
    def convert(value: Any) -> Any:
        items = list(_items(value))
        if isinstance(value, (set, frozenset)) or len(items) != len(members):
            raise ValueError
        return tuple(
            one if member is None else member.convert(one) for member, one in zip(members, items, strict=True)
        )

    kinds = ", ".join("anything" if member is None else member.kind for member in members)
    file = any(member is not None and member.file for member in members)
    return Conversion(
        f"a list of {len(members)} ({kinds})", convert, from_text=False, repeated=True, file=file
    )


def _mapping(key: Conversion | None, item: Conversion | None) -> Conversion:
    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError
        keys = value.keys() if key is None else [key.convert(one) for one in value]
        items = value.values() if item is None else [item.convert(one) for one in value.values()]
        same = all(map(is_, keys, value)) and all(map(is_, items, value.values()))
        if same:
            return value
        made = dict(zip(keys, items, strict=True))
        return made if len(made) == len(value) else _refuse(value)  # "1" and "01" are one key

    kind = "an object" if item is None else f"an object (each value {item.kind})"
    return Conversion(kind, convert, from_text=False)


def _union(members: list[Conversion], *, or_none: bool) -> Conversion:
    """The first member that fits.

    ``str`` comes after the others that one text can be, since it takes any; and what takes every value of a repeated
    name comes last, so that one value stays one.
    """
    members = sorted(
        members, key=lambda one: 3 if one.repeated else 1 if one is TEXT else 0 if one.from_text else 2
    )

    def convert(value: Any) -> Any:
        single = value[0] if type(value) is Repeated and len(value) == 1 else value
        if or_none and single is None:  # it is no list of one that is nothing
            return None
        for member in members:
            try:
                return member.convert(value if member.repeated else single)
            except MISFITS:
                continue
        # A form sends an empty field as "", which isn't a number or a date: nothing was filled in.
        return None if or_none and single == "" else _refuse(value)

    return Conversion(
        " or ".join(dict.fromkeys(member.kind for member in members)) or "empty",
        convert,
        from_text=not members or any(member.from_text for member in members),
        repeated=any(member.repeated for member in members),
        file=any(member.file for member in members),
    )


# --- annotations -----------------------------------------------------------------------------------------


def conversion(annotation: Any, *, stored: bool = False) -> Conversion | None:
    """What an annotation asks for; None for "as it was sent", whatever it is.

    Args:
        annotation: Without strings in it.
        stored: Whether its values are those of a session, which can be of any class.

    Raises:
        TypeError: For an annotation that no value can be checked against.
    """
    return _Compiler(stored).compile(annotation)


class _Compiler:
    """One annotation, read from the outside in.

    Args:
        stored: As for :func:`conversion`.
    """

    def __init__(self, stored: bool) -> None:
        self._stored = stored
        # The aliases that are being read: one that contains itself is read once.
        self._begun: dict[Any, list[Conversion | None]] = {}

    def compile(self, annotation: Any) -> Conversion | None:
        """What an annotation asks for; None for anything."""
        if not _is_alias(annotation):
            return self._compile(annotation)
        if annotation in self._begun:
            return self._later(annotation)
        done = self._begun[annotation] = []
        done.append(self._compile(annotation))
        del self._begun[annotation]
        return done[0]

    def _later(self, alias: Any) -> Conversion:
        done = self._begun[alias]

        def convert(value: Any) -> Any:
            inner = done[0]
            return value if inner is None else inner.convert(value)

        return Conversion(str(alias), convert)

    def _compile(self, annotation: Any) -> Conversion | None:
        members = _members(annotation)
        found = [self._plain(member) for member in members if member is not types.NoneType]
        some = [one for one in found if one is not None]
        if len(some) < len(found):  # one of them is Any
            return None
        or_none = types.NoneType in members
        return some[0] if len(some) == 1 and not or_none else _union(some, or_none=or_none)

    def _plain(self, annotation: Any) -> Conversion | None:
        """The same for an annotation that isn't a union, an alias or a NewType."""
        if annotation in (Any, object):
            return None
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Literal:
            return self._literal(arguments)
        scalar = _scalar(annotation)
        if scalar is not None:
            if scalar.file and self._stored:
                raise TypeError("a session cannot hold an Upload")
            return scalar
        if isinstance(annotation, type) and issubclass(annotation, Enum) and len(annotation):
            return _member(annotation)
        several = origin or annotation
        if several is tuple and hasattr(annotation, "__args__") and arguments[1:] != (...,):
            return _fixed([self._item(argument) for argument in arguments])
        if isinstance(several, abc.Hashable) and several in _SEQUENCES:
            return _sequence(_SEQUENCES[several], self._item(arguments[0]) if arguments else None)
        if several in _MAPPINGS:
            key, item = map(self.compile, arguments or (Any, Any))
            if any(part is not None and part.file for part in (key, item)):
                raise TypeError(
                    "a form has no dict of files; write a parameter for each Upload, or **files: Upload"
                )
            return _mapping(key, item)
        if self._stored and isinstance(annotation, type):
            return _instance(annotation)
        raise TypeError(f"no value that is sent can be checked against {_name(annotation)}; {WRITE}")

    def _item(self, annotation: Any) -> Conversion | None:
        item = self.compile(annotation)
        if item is not None and item.file and item.repeated:
            raise TypeError("a form has no list of lists of files; write list[Upload]")
        return item

    def _literal(self, values: tuple[Any, ...]) -> Conversion:
        for value in values:
            if not isinstance(value, (str, int, Enum)):
                raise TypeError(f"no value that is sent can be {value!r}; {WRITE}")
        return _choice((value.value if isinstance(value, Enum) else value, value) for value in values)


def _instance(kind: type) -> Conversion:
    """An object of the class, which only a session can hold."""
    try:
        isinstance(None, kind)
    except TypeError:
        raise TypeError(f"no value can be checked against {_name(kind)}; {WRITE}") from None

    def convert(value: Any) -> Any:
        return value if isinstance(value, kind) else _refuse(value)

    return Conversion(_name(kind), convert, from_text=False)


def _members(annotation: Any, outer: tuple[Any, ...] = ()) -> list[Any]:
    """The members of a union, or the annotation alone, without the names and marks that it stands behind."""
    while (inner := unwrapped(annotation)) is not annotation:
        if len(outer) > 100 or any(annotation is one for one in outer):
            raise TypeError(f"{_name(annotation)} stands for nothing but itself")
        outer = (*outer, annotation)
        annotation = inner
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return [member for argument in arguments for member in _members(argument, outer)]
    if origin is Literal and None in arguments:
        others = tuple(value for value in arguments if value is not None)
        return [Literal[others], types.NoneType] if others else [types.NoneType]
    return [annotation]


def unwrapped(annotation: Any) -> Any:
    """What stands behind a mark or a name: Annotated, a type alias, a NewType, a type variable; else the same.

    Raises:
        TypeError: For an alias whose type cannot be resolved.
    """
    if annotation is None:  # a type that was not written
        return Any
    if typing.get_origin(annotation) is typing.Annotated:
        return annotation.__origin__
    if _is_alias(annotation):
        return _value(annotation)
    if isinstance(annotation, TypeVar):
        if annotation.__constraints__:
            return Union[annotation.__constraints__]  # noqa: UP007  # there may be any number
        if annotation.__bound__ is not None:
            return annotation.__bound__
        has_default = getattr(annotation, "has_default", bool)
        return annotation.__default__ if has_default() else Any  # type: ignore[attr-defined]  # Python 3.13
    return annotation.__supertype__ if isinstance(annotation, NewType) else annotation


def _is_alias(annotation: Any) -> bool:
    """Whether it was made by a ``type`` statement, or by typing_extensions where Python has none."""
    return type(typing.get_origin(annotation) or annotation).__name__ == "TypeAliasType"


def _value(alias: Any) -> Any:
    origin, arguments = typing.get_origin(alias), typing.get_args(alias)
    try:
        value = (origin or alias).__value__
    except Exception as error:
        raise TypeError(f"{_name(alias)} cannot be resolved: {error}") from error
    if origin is None:
        return value
    given = dict(zip(origin.__type_params__, arguments, strict=False))
    if isinstance(value, TypeVar):
        return given[value]
    free = getattr(value, "__parameters__", ())
    return value[tuple(given[one] for one in free)] if free else value


def _name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
