"""JSON, strictly: what is not JSON for a browser is not JSON here."""

from __future__ import annotations

import json
from typing import Any, NoReturn

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dump_json(value: Any) -> str:
    """A value as JSON text.

    Raises:
        ValueError: For NaN and infinities, which JSON does not have.
        TypeError: For what JSON cannot hold.
    """
    return _encoder.encode(value)


def load_json(data: str | bytes) -> Any:
    """The value of a JSON text, UTF-8 if it comes as bytes.

    Raises:
        ValueError: If it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(data if isinstance(data, str) else data.decode(), parse_constant=_reject)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
