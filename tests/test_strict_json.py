"""JSON that every browser reads, and nothing else; the same with and without orjson."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micropie import App, ConnectionClosed, WebSocket, strict_json
from micropie.strict_json import MAX_DEPTH, dump_json, load_json
from micropie.testing import TestClient

orjson = pytest.importorskip("orjson")


@pytest.fixture(autouse=True, params=["orjson", "json"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "json":
        monkeypatch.setattr(strict_json, "orjson", None)
    return request.param


class Color(Enum):
    RED = "red"
    PAIR = (1, 2)
    NONE = None


class Word(StrEnum):
    A = "a"


class Level(IntEnum):
    LOW = 1


class Ratio(float, Enum):
    HALF = 0.5


class Permission(IntFlag):
    READ = 1
    WRITE = 2


class Text(str):
    __slots__ = ()


class Number(int): ...


class Real(float): ...


class Numbers(list[Any]): ...


@dataclasses.dataclass
class Point:
    x: int
    _y: int = 2
    z: Any = None


class Derived(Point): ...


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int
    _y: int = 2


class Pair(NamedTuple):
    a: Any
    b: Any


SOME_UUID = UUID("12345678-1234-5678-1234-567812345678")
LOCAL = timezone(timedelta(hours=5, minutes=53, seconds=28))
point = Point(1, z=Point(3))
vars(point)["added"] = "later"

GOOD: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (1.5, "1.5"),
    ("ä€😀\u2028\x7f", '"ä€😀\u2028\x7f"'),
    ('"\\\n\x1f/', r'"\"\\\n\u001f/"'),
    ({"a": [1, {}]}, '{"a":[1,{}]}'),
    ((1, 2), "[1,2]"),
    (2**63, str(2**63)),
    (2**64, str(2**64)),
    (-(2**63) - 1, str(-(2**63) - 1)),
    ([10**39], f"[{10**39}]"),
    (10**4299, str(10**4299)),
    # Keys
    ({1: "key", 1.5: 2, False: 3, None: 4}, '{"1":"key","1.5":2,"false":3,"null":4}'),
    ({Text("k"): 1, Word.A: 2}, '{"k":1,"a":2}'),
    ({Level.LOW: 1}, '{"1":1}'),
    ({1: "x", "on": date(2026, 1, 31)}, '{"1":"x","on":"2026-01-31"}'),
    ({1: point}, '{"1":{"x":1,"z":{"x":3,"z":null},"added":"later"}}'),
    # Numbers that JSON does not have
    (math.nan, "null"),
    ([math.inf, -math.inf, 1.5, "NaN -Infinity", r"\"NaN"], r'[null,null,1.5,"NaN -Infinity","\\\"NaN"]'),
    ({"NaN": math.nan, "n": [Real("nan")]}, '{"NaN":null,"n":[null]}'),
    ({1: math.nan}, '{"1":null}'),
    ({1: 10**39, "a": math.inf}, f'{{"1":{10**39},"a":null}}'),
    # What Python has besides
    (datetime(2026, 1, 31, 12, 30), '"2026-01-31T12:30:00"'),  # noqa: DTZ001  # both kinds are there
    (datetime(26, 1, 31, 12, 30, 1, 20), '"0026-01-31T12:30:01.000020"'),  # noqa: DTZ001  # both kinds are there
    (datetime(2026, 1, 31, tzinfo=UTC), '"2026-01-31T00:00:00+00:00"'),
    (datetime(2026, 1, 31, tzinfo=LOCAL), '"2026-01-31T00:00:00+05:53"'),
    (
        datetime(2026, 1, 31, tzinfo=timezone(-timedelta(hours=5, minutes=59, seconds=45))),
        '"2026-01-31T00:00:00-06:00"',
    ),
    (date(1, 1, 1), '"0001-01-01"'),
    (time(12, 30), '"12:30:00"'),
    (time(12, 30, 0, 5), '"12:30:00.000005"'),
    (time(12, 30, 0, 10_000), '"12:30:00.010000"'),
    (time(12, 30, tzinfo=UTC), '"12:30:00+00:00"'),
    (SOME_UUID, f'"{SOME_UUID}"'),
    (list(Color), '["red",[1,2],null]'),
    ([Word.A, Level.LOW, Ratio.HALF, Permission.READ | Permission.WRITE], '["a",1,0.5,3]'),
    (point, '{"x":1,"z":{"x":3,"z":null},"added":"later"}'),
    (Slotted(1), '{"x":1}'),
    (Derived(1), '{"x":1,"z":null}'),
    (Pair(1, [2]), "[1,[2]]"),
    ([Text("a"), Number(1), Real(1.5), Numbers([1])], '["a",1,1.5,[1]]'),
    ([OrderedDict(a=1), defaultdict(int, a=1), Counter("a")], '[{"a":1},{"a":1},{"a":1}]'),
]


@pytest.mark.parametrize(("value", "text"), GOOD)
def test_values_become_compact_json(value: Any, text: str) -> None:
    assert dump_json(value).decode() == text


def ring(outer: Callable[[list[Any]], Any]) -> Any:
    inner: list[Any] = []
    inner.append(outer(inner))
    return inner


BAD = [
    *(
        object(),
        {1, 2},
        b"bytes",
        {"a": object()},
        {(1,): 2},
        {SOME_UUID: 1},
        {Color.RED: 1},
        {date(1, 1, 1): 1},
    ),
    *(Decimal("1.1"), timedelta(1), 1j, range(3), iter([1]), Point, Color, Ellipsis, memoryview(b"")),
]
WRONG = [
    *("\ud800", ["\udc00"], {"\udfff": 1}, {1: "\ud800"}, 10**4300, [-(10**5000)]),
    *(ring(lambda inner: inner), ring(lambda inner: {"a": inner}), ring(lambda inner: Point(1, z=inner))),
]


@pytest.mark.parametrize("value", BAD, ids=lambda value: type(value).__name__)
def test_what_json_cannot_hold_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        dump_json(value)


@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_what_json_could_hold_but_for_its_value(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # The words are Python's.
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
        (r'"\\ud83d\\"', "\\ud83d\\"),
        (r'"\u0000\/"', "\0/"),
        ("[1e308, -1.5E-400, -0, -0.0]", [1e308, -0.0, 0, -0.0]),
        ('{"a": 1, "b": 2, "a": 3}', {"a": 3, "b": 2}),
        # Integers of more than 64 bits stay integers.
        *(
            (str(number), number)
            for number in (2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19)
        ),
        *((f"[{number}]".encode(), [number]) for number in (10**39, -(10**39), 10**4299, -(10**4299))),
        ('"12345678901234567890"', "12345678901234567890"),
        ("[0.12345678901234567890, 12345678901234567890.5]", [0.1234567890123456789, 12345678901234567890.5]),
        ("1" + "0" * 309 + "e-300", 1e9),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_json_is_read(text: str | bytes, value: Any) -> None:
    got = load_json(text)
    assert repr(got) == repr(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1,]", "'a'", "NaN", "[Infinity]", "-Infinity", "1 2", "\ufeff1", "undefined", "nul"),
        *(
            "01",
            "-01",
            "1.",
            ".5",
            "-",
            "+1",
            "1e",
            "0x1",
            "1_0",
            "{1:2}",
            "[1 // a\n]",
            "\0",
            "1\0",
            "\x0b1",
        ),
        *('"\n"', '"\t"', '"\x00"', r'"\x41"', r'"\u12"', '"a', "[" + "1" * 20 + ",]", "1" * 20 + "x"),
        *(b"\xff", '"ä"'.encode("utf-16"), '"ä"'.encode("latin-1"), b'"\xed\xa0\xbd"', b"1" * 20 + b"\xff"),
        *("[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000),
        # One client would send it, and each other that it is sent on to would lose its socket.
        *(r'"\ud83d"', r'["\uDE00\uD83D"]', r'{"\ud800": 1}', "1e999", "[-1e999999]", "1e400", "0.1e1000"),
        *('"\ud800"', r'[12345678901234567890, "\ud83d"]', "[12345678901234567890, 1e999, NaN]"),
        *("1" * 4301, "-" + "1" * 4301, "[" + "9" * 100_000 + "]"),
    ],
    ids=lambda text: repr(text[:10]),
)
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # The words are the parser's.
        load_json(text)


NESTED: dict[str, Callable[[int], str]] = {
    "lists": lambda depth: "[" * depth + "]" * depth,
    "objects": lambda depth: '{"a":' * depth + "1" + "}" * depth,
    "both": lambda depth: (
        '[{"a":' * (depth // 2) + "[" * (depth % 2) + "1" + "]" * (depth % 2) + "}]" * (depth // 2)
    ),
    "beside others": lambda depth: "[1,[[]]," * (depth - 2) + "2" + "]" * (depth - 2),
    "with a long integer": lambda depth: "[" * depth + "1" * 30 + "]" * depth,
    "with brackets as text": lambda depth: '["]]]]",' * depth + "1" + "]" * depth,
}
DEPTHS = [3, 4, 127, 128, 129, 252, 253, 254, 255, 256, 257, 500, *range(985, 1105, 3), 1500, 5000, 10**5]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
def test_depth(nested: Callable[[int], str], depth: int) -> None:
    """What is nested more than 254 levels deep is not read, and all else that is read can be sent."""
    text = nested(depth)
    if depth > MAX_DEPTH:
        with pytest.raises(ValueError, match=r"nested|depth"):
            load_json(text)
    else:
        assert dump_json(load_json(text)).decode() == text


@pytest.mark.parametrize("brackets", ["[" * 1000, "[{" * 1000, "]" * 1000 + "[" * 1000])
def test_brackets_in_text(brackets: str) -> None:
    for value in (brackets, [brackets], {brackets: 1}):
        assert load_json(dump_json(value)) == value


def test_a_broad_value_is_not_a_deep_one() -> None:
    text = json.dumps([{"a": [[], {}]}] * 5000, separators=(",", ":"))
    assert dump_json(load_json(text)).decode() == text


@pytest.mark.parametrize("keys", [str, int], ids=["text", "numbers"])
@pytest.mark.parametrize("depth", [253, 254, 255, 256, 600])
def test_an_app_may_send_deeper_values(depth: int, keys: Callable[[int], Any]) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {keys(1): value}
    assert dump_json(value).decode() == '{"1":' * depth + "1" + "}" * depth


def test_a_value_that_is_too_deep_to_be_sent() -> None:
    value: Any = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        dump_json(value)
    while value:  # freed from within, it would overflow the stack of some versions
        value = value.pop()


# --- all values ------------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.integers(0, 40).map(lambda digits: 10**digits)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)
zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(seconds=offset // timedelta(seconds=1)))
)
richer = st.recursive(
    scalars
    | st.floats()
    | st.text(st.characters())
    | st.dates()
    | st.datetimes(timezones=st.none() | zones)
    | st.times(timezones=st.none() | st.just(UTC))
    | st.uuids()
    | st.sampled_from(
        [*Color, Word.A, Level.LOW, Ratio.HALF, Permission.READ, Permission.READ | Permission.WRITE]
    )
    | st.sampled_from([object(), b"x", frozenset(), Decimal(1), timedelta(1)]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Point, inner, inner, inner)
        | st.builds(Slotted, inner, inner)
        | st.dictionaries(
            st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.dates(), inner
        )
    ),
)


def outcome(call: Callable[[Any], Any], argument: Any) -> Any:
    """What a call returns, or which kind of error it raises."""
    try:
        return call(argument)
    except (TypeError, ValueError) as error:
        return ValueError if isinstance(error, ValueError) else TypeError


def with_and_without(call: Callable[[Any], Any], argument: Any) -> tuple[Any, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "orjson", orjson)
        one = outcome(call, argument)
        patch.setattr(strict_json, "orjson", None)
        return one, outcome(call, argument)


only_once = pytest.mark.parametrize("library", ["orjson"], indirect=True)


@only_once
@given(values)
def test_every_value_comes_back(value: Any) -> None:
    one, other = with_and_without(dump_json, value)
    for text in (one, other):
        for back in with_and_without(load_json, text):
            assert repr(back) == repr(value)


@only_once
@given(richer)
def test_every_value_is_written_alike(value: Any) -> None:
    one, other = with_and_without(dump_json, value)
    if isinstance(one, bytes) and isinstance(other, bytes):
        # By value: one library writes 1e-7, the other 1e-07.
        assert repr(load_json(one)) == repr(load_json(other))
    else:
        assert one is other


pieces = st.sampled_from(
    [
        *(
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            '"',
            "\\",
            " ",
            "\n",
            "\t",
            "-",
            "+",
            ".",
            "e",
            "E",
            "0",
            "1",
            "9",
            "true",
            "null",
        ),
        *(
            "NaN",
            "Infinity",
            "-Infinity",
            "9" * 19,
            "9" * 20,
            "1e400",
            "1e-400",
            '"a"',
            '{"a":',
            "\\ud800",
            "\\udc00",
        ),
        *(
            "\\u00e4",
            "\ufeff",
            "ä",
            "😀",
            "\0",
            "\x7f",
            "/",
            "//",
            "'",
            "5000000000000000000000",
            "12.5",
            "-0",
            "01",
        ),
    ]
)


@only_once
@given(
    st.lists(pieces, max_size=12).map("".join)
    | values.map(lambda value: json.dumps(value))
    | values.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1))
    | st.text(st.characters())
    | st.binary()
    | st.tuples(
        values.map(lambda value: json.dumps(value, ensure_ascii=False).encode()),
        st.integers(0),
        st.binary(max_size=1),
    ).map(
        lambda parts: (
            parts[0][: parts[1] % (len(parts[0]) + 1)] + parts[2] + parts[0][parts[1] % (len(parts[0]) + 1) :]
        )
    )
)
@example("[" * 254 + "9" * 40 + "]" * 254)
def test_every_text_is_read_alike(text: str | bytes) -> None:
    one, other = with_and_without(load_json, text)
    assert repr(one) == repr(other)
    if one is not ValueError:
        assert all(isinstance(sent, bytes) for sent in with_and_without(dump_json, one))


# --- as a client meets it --------------------------------------------------------------------------------


class Echo(App):
    async def index(self) -> Any:
        return [self.request.get_json]

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json([await ws.receive_json()])


HOSTILE = [
    *("[" * depth + "]" * depth for depth in (254, 255, 990, 1000, 1024, 1025, 1100, 10**5)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (254, 255, 1000, 1100)),
    *(
        "9" * 40,
        "9" * 4300,
        "9" * 4301,
        "1e400",
        "NaN",
        r'"\ud800"',
        r'{"\udc00": 1}',
        '{"a":1,"a":2}',
        "",
        "{",
    ),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: f"{text[:6]} {len(text)}")
async def test_no_client_causes_an_error(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client sends as JSON comes back, or is a 400 or 1007; never a 500, 1011, or a traceback."""
    try:
        answer = [load_json(text)]
    except ValueError:
        answer = None
    async with TestClient(Echo()) as client:
        # An empty body is no JSON at all; an empty message is bad JSON.
        got = await client.post("/", content=text or "{", headers={"Content-Type": "application/json"})
        assert got.status_code == (400 if answer is None else 200)
        async with client.websocket("/") as ws:
            await ws.send(text)
            if answer is None:
                with pytest.raises(ConnectionClosed):
                    await ws.receive()
                assert ws.close_code == 1007
            else:
                assert got.content == (await ws.receive()).encode() == dump_json(answer)
    assert "Traceback" not in caplog.text


def test_the_stack_of_the_interpreter() -> None:
    """Whatever was read can be sent from a handler that has called many functions."""
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH

    def call(times: int) -> bytes:
        return call(times - 1) if times else dump_json(load_json(text))

    assert call(sys.getrecursionlimit() // 2).decode() == text
