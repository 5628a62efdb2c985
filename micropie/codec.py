"""JSON, strictly: what is not JSON for a browser is not JSON here.

With the extra ``json`` orjson does the work, several times as fast.  It also writes dates, UUIDs and
dataclasses, writes NaN as null, and reads integers beyond 64 bits as floats.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]  # a module, or nothing

_surrogate = re.compile(r"\\u[Dd][89A-Fa-f]").search
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dump_json(value: Any) -> bytes:
    """A value as JSON text, in UTF-8.

    Raises:
        TypeError: For what JSON cannot hold.
        ValueError: For NaN and infinities, which JSON does not have, and for what contains itself.
    """
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:
            pass  # keys that are no str, integers beyond 64 bits: the standard library knows them
    return _encoder.encode(value).encode()


def load_json(data: str | bytes) -> Any:
    """The value of a JSON text, UTF-8 if it comes as bytes.  What is read can be sent on.

    Raises:
        ValueError: If it is not JSON, nested too deeply to be read, or has what cannot be sent: half of a
            surrogate pair, or a number too large for a float.
    """
    if orjson is not None:
        return orjson.loads(data)
    text = data if isinstance(data, str) else data.decode()
    try:
        value = json.loads(text, parse_constant=_reject, parse_float=_finite)
        if _surrogate(text):
            _encoder.encode(value).encode()  # fails for half of a pair
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    return value


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return _reject(digits) if math.isinf(number) else number
