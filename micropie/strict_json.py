"""JSON, the same with and without orjson: the extra changes the speed alone.

Python's own library says what is right.  orjson does the work where both agree, and that is nearly always; the
exceptions are found by looks that cost next to nothing:

- an integer of more than 64 bits, which orjson reads as a float;
- nesting: orjson reads 1,024 levels and writes 254, Python's library as many as its stack has room for;
- dates and times, of which orjson writes some wrongly;
- what orjson does not write at all, such as keys that aren't strings.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, NoReturn
from uuid import UUID

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]  # a module, or nothing
else:  # PERF: names of their own
    _dumps, _OPTIONS = orjson.dumps, orjson.OPT_PASSTHROUGH_DATETIME

#: How deeply lists and objects that are read may be nested: as deeply as orjson writes them.
MAX_DEPTH = 254

_surrogate = re.compile(r"\\u[Dd][89A-Fa-f]").search
_constants = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|NaN|-?Infinity').sub

_DIGITS = 19
_ZEROS = bytes(ord("0") if chr(byte) in "0123456789" else byte for byte in range(256))


def dump_json(value: Any) -> bytes:
    """A value as JSON text, in UTF-8.

    Besides what JSON has, it holds datetimes, dates and times (ISO 8601), UUIDs, the values of enums, and dataclasses
    as objects of their attributes, but for those that begin with an underscore.  NaN and infinities become null, as
    in a browser.  Keys can be numbers, true, false or None too.

    Raises:
        TypeError: For what JSON cannot hold.
        ValueError: For what contains itself, is nested too deeply, has half of a surrogate pair, or an integer of
            more than 4,300 digits.
    """
    if orjson is not None:
        try:
            return _dumps(value, _plain, _OPTIONS)
        except TypeError:
            pass
    try:
        try:
            text = _encoder.encode(value)
        except ValueError:  # for NaN, among others
            text = _constants(_null, _lenient.encode(value))
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    return text.encode()


def load_json(data: str | bytes) -> Any:
    """The value of a JSON text, UTF-8 if it comes as bytes.  What is read can be sent on.

    Raises:
        ValueError: If it is not JSON, is nested more than 254 levels deep, or has what cannot be sent: half of a
            surrogate pair, a number too large for a float, or an integer of more than 4,300 digits.
    """
    raw = data.encode() if isinstance(data, str) else data
    if orjson is None:
        return _load(raw)
    # PERF: the cheapest look that no long integer escapes: most texts have fewer digits in all.
    size = len(raw)
    if size - len(raw.translate(None, b"0123456789")) >= _DIGITS and _has_long_integer(raw):
        return _load(raw)
    value = orjson.loads(raw)
    if size > 2 * MAX_DEPTH and raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        try:
            orjson.dumps(value)  # by far the fastest way to learn how deep it is
        except TypeError:
            raise ValueError(_DEEP) from None
    return value


def _has_long_integer(raw: bytes) -> bool:
    """Whether there may be an integer of more than 64 bits: of 20 digits, or 19 below zero."""
    zeros = raw.translate(_ZEROS)
    return b"0" * (_DIGITS + 1) in zeros or b"-" + b"0" * _DIGITS in zeros


_DEEP = f"JSON is nested more than {MAX_DEPTH} levels deep"


def _load(raw: bytes) -> Any:
    text = raw.decode()
    try:
        value = json.loads(text, parse_constant=_reject, parse_float=_finite)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if _surrogate(text):
        _encoder.encode(value).encode()  # fails for half of a pair
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [one for one in level if type(one) in (list, dict)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(_DEEP)
        level = [one for outer in level for one in (outer.values() if type(outer) is dict else outer)]


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return _reject(digits) if math.isinf(number) else number


def _null(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else "null"


def _plain(value: Any) -> Any:
    """What stands in JSON for a value that it has no type for."""
    if isinstance(value, datetime):
        text = value.isoformat()
        return text if value.tzinfo is None or text[-6] in "+-" else _in_minutes(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if hasattr(type(value), "__dataclass_fields__"):
        return _attributes(value)
    raise TypeError(f"an object of type {type(value).__name__} is not JSON serializable")


def _in_minutes(value: datetime) -> str:
    """A datetime whose offset has seconds, as before there were time zones: RFC 3339 has hours and minutes."""
    offset = value.utcoffset() or timedelta()
    minutes, sign = (round(abs(offset) / timedelta(minutes=1)), "-" if offset < timedelta() else "+")
    return f"{value.replace(tzinfo=None).isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"


def _attributes(value: Any) -> dict[str, Any]:
    if "__slots__" in vars(type(value)):
        from dataclasses import fields  # loaded already, by who made the class

        attributes = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        attributes = vars(value)
    return {name: one for name, one in attributes.items() if not name.startswith("_")}


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
_lenient = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain)
