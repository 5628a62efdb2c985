"""JSON that every browser reads, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import codec
from micropie.codec import dump_json, load_json


@pytest.fixture(autouse=True, params=["orjson", "json"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both libraries, and no difference but where the module says so."""
    if request.param == "json":
        monkeypatch.setattr(codec, "orjson", None)
    return request.param


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("ä€😀", '"ä€😀"'),
        ('"\\\n', r'"\"\\\n"'),
        ({"a": [1, {}]}, '{"a":[1,{}]}'),
        ({1: "key"}, '{"1":"key"}'),
        ((1, 2), "[1,2]"),
        (2**80, str(2**80)),
    ],
)
def test_values_become_compact_json(value: Any, text: str) -> None:
    assert dump_json(value).decode() == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_numbers_that_json_does_not_have_are_never_sent(value: Any, library: str) -> None:
    if library == "orjson":
        assert dump_json(value) in (b"null", b"[null]")
    else:
        with pytest.raises(ValueError, match="JSON"):
            dump_json(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {"a": object()}, {(1,): 2}])
def test_what_json_cannot_hold_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        dump_json(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (b"1", 1),
        (' {"a": [1.5, null, true]} ', {"a": [1.5, None, True]}),
        ('"ä"'.encode(), "ä"),
        (r'"\u00e4"', "ä"),
        (r'"\uD83D\ude00"', "😀"),
        ("[1e308, -1.5E-400]", [1e308, 0.0]),
    ],
)
def test_json_is_read(text: str | bytes, value: Any) -> None:
    assert load_json(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1,]", "'a'", "NaN", "[Infinity]", "-Infinity", "1 2", "\ufeff1", "undefined"),
        *(b"\xff", '"ä"'.encode("utf-16"), '"ä"'.encode("latin-1")),
        *("[" * 100_000, '{"a":' * 100_000),
        # One client would send it, and each other that it is sent on to would lose its socket.
        *(r'"\ud83d"', r'["\uDE00\uD83D"]', r'{"\ud800": 1}', "1e999", "[-1e999999]"),
    ],
    ids=lambda text: repr(text[:10]),
)
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # The words are the parser's.
        load_json(text)
