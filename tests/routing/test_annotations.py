"""A generated table of annotations: every shape in every wrapper, and what comes of each value from each source.

What must come is said here a second time, from the page "Routes and arguments", and shares no code with the converters.
A shape is written as source code, so its name in a failure is what a user would have written.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import typing
from collections import Counter, OrderedDict, abc, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypedDict, TypeVar
from urllib.parse import quote
from uuid import UUID

import pytest

from micropie import App, FromSession, SessionBackend, Upload, WebSocket
from tests.driver import handshake, http
from tests.helpers import COOKIE, FORM

ID = "12345678-1234-5678-1234-567812345678"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
T = TypeVar("T")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Size(StrEnum):
    SMALL = "a"
    LARGE = "b"


class Day(Enum):
    LAST = date(2026, 1, 31)
    HALF = 1.5


class Empty(Enum): ...


class Thing:
    """Equal to all of its kind, since a session's store copies it."""

    def __eq__(self, other: object) -> bool:
        return type(other) is Thing

    __hash__ = None  # type: ignore[assignment]  # one without a hash


class Box(Generic[T]): ...


class Readable(Protocol):
    def read(self) -> bytes: ...


class Fields(TypedDict):
    a: int


class Pair(NamedTuple):
    a: int


@dataclasses.dataclass
class Point:
    x: int


#: What the source code of a shape can name.
NAMES: dict[str, Any] = {
    **{name: getattr(typing, name) for name in typing.__all__},
    **{name: getattr(abc, name) for name in abc.__all__},
    **{one.__name__: one for one in (date, datetime, time, timedelta, Decimal, UUID, Fraction, Path)},
    **{one.__name__: one for one in (Color, Level, Size, Day, Empty, Enum, Flag, Thing, Box, Readable)},
    **{one.__name__: one for one in (Fields, Pair, Point, Counter, OrderedDict, defaultdict, deque)},
    **{one.__name__: one for one in (App, Upload, WebSocket)},
    "FromSession": FromSession,
    "re": re,
}
for module, name in (
    ("pydantic", "BaseModel"),
    ("msgspec", "Struct"),
    ("typing_extensions", "TypeAliasType"),
):
    try:  # each is the third party's, who may not be there
        NAMES.setdefault(name, getattr(__import__(module), name))
    except ImportError:
        continue


# --- the oracle -----------------------------------------------------------------------------------------


class Bad:
    """What no value can become."""

    def __repr__(self) -> str:
        return "nothing"


BAD = Bad()

TEXTS = [
    *(
        "",
        " ",
        "0",
        "1",
        "2",
        "5",
        "-7",
        "+007",
        "1.5",
        "1.",
        "1e3",
        "nan",
        "inf",
        "-",
        "1_000",
        " 5",
        "5\n",
        "٣",
    ),
    *("0x1", "9" * 40, "9" * 5000, "1e9999", "true", "ON", "no", "t", "null", "None", "a", "red", "RED", "é"),
    *("x y/&=+%", "2026-01-31", "2026-02-30", "2026-01-31T12:00", "2026-01-31T12:00+00:00", "12:30", "25:00"),
    *("PT1H30M", "P", ID, "[1]", '{"a":1}', "a,b", "\x00", "..", "__proto__"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, 5, -7, 10**40, 1.0, 1.5, 1e300),
    *([], [1], [1, 1], ["5"], [None], [[1]], [{}], {}, {"a": 1}, {"1": "5"}, {"a": [1]}),
]
#: What only a session can hold.
OBJECTS: list[Any] = [
    *(date(2026, 1, 31), NOON, time(12, 30), timedelta(seconds=5), UUID(ID), Decimal(5), Decimal("NaN")),
    *(Color.RED, Level.HIGH, Size.LARGE, Day.LAST, float("nan"), float("inf"), b"5", bytearray(b"5"), 1j),
    *((1, 2), {1}, frozenset({1}), {1: 1}, Thing(), Point(1), Pair(1), Path("a"), Fraction(1, 2), deque([1])),
]


class Shape:
    """An annotation, and what the page says about it.

    Attributes:
        code: Its source code.
        segment: Whether a path segment can be it.
        repeated: Whether it takes every value of a repeated name.
        only: Whether it comes from the session alone.
        file: Whether a file can be it.
        none: Whether it is a union with None.
    """

    code: str
    none = False
    segment = True
    repeated = False
    only = False
    file = False

    def refused(self, *, stored: bool) -> bool:
        """Whether it is an error when the app is made; `stored` if its value comes from the session alone."""
        return False

    def read(self, value: Any, *, stored: bool) -> Any:
        """What comes of a text, of a value of JSON, or of one that a session stores."""
        raise NotImplementedError

    def repeat(self, values: list[Any]) -> Any:
        """What comes of all values of one name."""
        return self.read(values[0], stored=False)

    def tries(self) -> list[Any]:
        """Values of JSON and of sessions, texts too, that are worth a try."""
        raise NotImplementedError

    def members(self) -> list[Shape]:
        """Those of a union, or the shape alone."""
        return [self]

    @property
    def any(self) -> bool:
        return False


def key(value: Any) -> str:
    """A name for a value, by its type too."""
    return f"{type(value).__name__} {value!r}"


class Leaf(Shape):
    """A shape without another in it.

    Args:
        code: As for :class:`Shape`.
        texts: What comes of each text that it accepts, in JSON too.
        values: Pairs of a value of JSON that is accepted and what comes of it.
        kinds: The types of the objects of a session that are accepted as they are.
    """

    def __init__(
        self,
        code: str,
        texts: dict[str, Any],
        values: Iterable[tuple[Any, Any]] = (),
        kinds: tuple[type, ...] = (),
    ) -> None:
        self.code = code
        self._texts = texts
        self._values = {key(value): became for value, became in values}
        self._kinds = kinds

    def read(self, value: Any, *, stored: bool) -> Any:
        if type(value) is str:
            return self._texts.get(value, BAD)
        if stored and type(value) in self._kinds and not _is_nan(value) and key(value) not in self._values:
            return value
        return self._values.get(key(value), BAD) if stored or _is_json(value) else BAD

    def tries(self) -> list[Any]:
        return [*TEXTS, *VALUES, *OBJECTS]


class Text(Leaf):
    """Accepts any text, and nothing else."""

    def read(self, value: Any, *, stored: bool) -> Any:
        return value if isinstance(value, str) and not isinstance(value, Sent) else BAD


class AsSent(Leaf):
    """Accepts anything."""

    def read(self, value: Any, *, stored: bool) -> Any:
        return value

    @property
    def any(self) -> bool:
        return True


class Unsupported(Leaf):
    """Can be checked against nothing; if it is a class, its objects can come from a session.

    Args:
        code: As for :class:`Shape`.
        kind: The class.
    """

    segment = False

    def __init__(self, code: str, kind: type | None = None) -> None:
        super().__init__(code, {})
        self._kind = kind

    def refused(self, *, stored: bool) -> bool:
        return not stored or self._kind is None

    def read(self, value: Any, *, stored: bool) -> Any:
        return value if stored and self._kind is not None and isinstance(value, self._kind) else BAD


class Sent(str):
    """A file of a form, by its name."""

    __slots__ = ()


class File(Leaf):
    """An upload: no value of another source can be it."""

    segment = False
    file = True

    def read(self, value: Any, *, stored: bool) -> Any:
        return value if type(value) is Sent else BAD

    def refused(self, *, stored: bool) -> bool:
        return stored


def _is_nan(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_nan()


def _is_json(value: Any) -> bool:
    try:
        return same(json.loads(json.dumps(value, allow_nan=False)), value)
    except (TypeError, ValueError):
        return False


class Each(Shape):
    """A list of one shape, or another of its kind."""

    segment = False
    repeated = True

    def __init__(self, code: str, item: Shape, make: Callable[[list[Any]], Any]) -> None:
        self.code = code.format(item.code)
        self.only, self.file = item.only, item.file
        self._item, self._make = item, make

    def refused(self, *, stored: bool) -> bool:
        return self._item.refused(stored=stored) or (self._item.file and self._item.repeated)

    def read(self, value: Any, *, stored: bool) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset) if stored else list):
            return BAD
        return self._made([self._item.read(one, stored=stored) for one in value])

    def repeat(self, values: list[Any]) -> Any:
        return self._made([self._item.read(one, stored=False) for one in values])

    def _made(self, items: list[Any]) -> Any:
        try:
            return BAD if BAD in items else self._make(items)
        except TypeError:  # a set of what has no hash
            return BAD

    def tries(self) -> list[Any]:
        few = some(self._item)
        pairs = [[one, other] for one in few[:2] for other in few]
        others = (None, True, 5, "a", "", {"a": 1}, [[]], (1, 2), {1}, frozenset({1}))
        return [*few, [], *([one] for one in few), *pairs, *others]


class Fixed(Shape):
    """A tuple of two."""

    segment = False
    repeated = True

    def __init__(self, code: str, first: Shape, second: Shape) -> None:
        self.code = code.format(first.code)
        self.only, self.file = first.only or second.only, first.file or second.file
        self._both = first, second

    def refused(self, *, stored: bool) -> bool:
        return any(one.refused(stored=stored) or (one.file and one.repeated) for one in self._both)

    def read(self, value: Any, *, stored: bool) -> Any:
        right = isinstance(value, (list, tuple)) if stored else type(value) is list
        return self._made(list(value), stored=stored) if right else BAD

    def repeat(self, values: list[Any]) -> Any:
        return self._made(values, stored=False)

    def _made(self, values: list[Any], *, stored: bool) -> Any:
        if len(values) != 2:
            return BAD
        pair = tuple(one.read(value, stored=stored) for one, value in zip(self._both, values, strict=True))
        return BAD if BAD in pair else pair

    def tries(self) -> list[Any]:
        pairs = [[one, other] for one in some(self._both[0]) for other in some(self._both[1])]
        return [
            *pairs,
            *([*pair, pair[1]] for pair in pairs[:1]),
            *(pair[:1] for pair in pairs[:1]),
            [],
            [1],
            [1, 2, 3],
            *((*pair,) for pair in pairs[:2]),
            {1, 2},
            "ab",
            5,
            None,
            {"a": 1},
        ]


class Named(Shape):
    """A dict whose keys have one shape and whose values have one."""

    segment = False

    def __init__(self, code: str, names: Shape, item: Shape) -> None:
        self.code = code.format(item.code)
        self.only = item.only
        self._names, self._item = names, item

    def refused(self, *, stored: bool) -> bool:
        return self._item.refused(stored=stored) or self._item.file

    def read(self, value: Any, *, stored: bool) -> Any:
        if not isinstance(value, dict):
            return BAD
        names = [self._names.read(one, stored=stored) for one in value]
        items = [self._item.read(one, stored=stored) for one in value.values()]
        if BAD in names or BAD in items or len(set(names)) < len(names):
            return BAD
        return dict(zip(names, items, strict=True))

    def tries(self) -> list[Any]:
        few = some(self._item)
        single = [{name: one} for name in ("a", "5", "2026-01-31") for one in few]
        other = [{}, {"5": few[0], "a": few[0]}, {"5": few[0], "05": few[0]}, {5: few[0]}]
        return [*single, *other, None, [], [["a", 1]], "a", "", 5]


class Union(Shape):
    """The first of some shapes that fits; with `none`, or nothing.

    One value is tried as one value first, text last of these, and as a list of one after that.
    """

    def __init__(self, code: str, *shapes: Shape, none: bool = False) -> None:
        self.code = code.format(shapes[0].code if shapes else "")
        self.none = none or any(one.none for one in shapes)
        self._shapes = shapes
        self._members = [member for shape in shapes for member in shape.members()]
        self.segment = any(one.segment for one in self._members) or not self._members
        self.repeated = any(one.repeated for one in self._members) and not self.any
        self.only, self.file = any(one.only for one in shapes), any(one.file for one in self._members)

    @property
    def any(self) -> bool:
        return any(one.any for one in self._members)

    def members(self) -> list[Shape]:
        return self._members

    def refused(self, *, stored: bool) -> bool:
        return any(one.refused(stored=stored) for one in self._shapes)

    def read(self, value: Any, *, stored: bool) -> Any:
        return self._first(lambda one: one.read(value, stored=stored), value)

    def repeat(self, values: list[Any]) -> Any:
        if not self.repeated:
            return self.read(values[0], stored=False)

        def read(one: Shape) -> Any:
            if one.repeated:
                return one.repeat(values)
            return one.read(values[0], stored=False) if len(values) == 1 else BAD

        return self._first(read, values[0] if len(values) == 1 else values)

    def _first(self, read: Callable[[Shape], Any], value: Any) -> Any:
        if self.any:
            return value
        found = None if self.none and value is None else BAD
        text = [one for one in self._members if isinstance(one, Text)]
        others = [one for one in self._members if one not in text]
        for one in [
            *(one for one in others if one.segment),
            *text,
            *(one for one in others if not (one.segment or one.repeated)),
            *(one for one in others if one.repeated),
        ]:
            if found is BAD:
                found = read(one)
        return None if found is BAD and self.none and value == "" else found

    def tries(self) -> list[Any]:
        tried = [
            value
            for one in self._members
            for value in (one.tries() if len(self._members) == 1 else some(one))
        ]
        return [*tried, None, ""]


class Alike(Shape):
    """Another shape behind a name or a mark.

    Args:
        code: As for :class:`Shape`.
        shape: The shape.
        mark: Whether it is the mark of a session.
        hides: Whether that mark must not stand behind it.
    """

    def __init__(self, code: str, shape: Shape, *, mark: bool = False, hides: bool = False) -> None:
        self.code = code.format(shape.code)
        self.only = shape.only or mark
        self.segment, self.repeated = shape.segment, shape.repeated
        self.file, self.none = shape.file, shape.none
        self._shape, self._hides = shape, hides

    @property
    def any(self) -> bool:
        return self._shape.any

    def members(self) -> list[Shape]:
        return self._shape.members()

    def refused(self, *, stored: bool) -> bool:
        return (self._hides and self._shape.only) or self._shape.refused(stored=stored)

    def read(self, value: Any, *, stored: bool) -> Any:
        return self._shape.read(value, stored=stored)

    def repeat(self, values: list[Any]) -> Any:
        return self._shape.repeat(values)

    def tries(self) -> list[Any]:
        return self._shape.tries()


def some(shape: Shape, good: int = 3, bad: int = 3) -> list[Any]:
    """A few values that fit a shape and a few that do not, as different as can be."""
    found: dict[tuple[bool, type], list[Any]] = {}
    for value in shape.tries():
        fits = shape.read(value, stored=shape.only) is not BAD
        found.setdefault((fits, type(value)), []).append(value)
    # One of each type first, then the second of each.
    turns = [
        [group[turn] for (fits, _), group in found.items() if fits is wanted and turn < len(group)]
        for wanted in (True, False)
        for turn in range(3)
    ]
    fitting, others = itertools.chain(*turns[:3]), itertools.chain(*turns[3:])
    return [*itertools.islice(fitting, good), *itertools.islice(others, bad)]


# --- leaves ---------------------------------------------------------------------------------------------

INTEGERS = {"0": 0, "1": 1, "2": 2, "5": 5, "-7": -7, "+007": 7}
BIG = "9" * 40
NUMBERS = {**INTEGERS, "1.5": 1.5, "1.": 1.0, "1e3": 1000.0}
JSON_NUMBERS: list[Any] = [0, 1, 2, 5, -7, 1.0, 1.5]

LEAVES: list[Shape] = [
    Leaf(
        "int",
        {**INTEGERS, BIG: int(BIG)},
        [(one, one) for one in (0, 1, 2, 5, -7, 10**40)],
        (Level,),
    ),
    Leaf(
        "float",
        {**{text: float(number) for text, number in NUMBERS.items()}, BIG: 1e40},
        [
            *(
                (one, float(one))
                for one in (*JSON_NUMBERS, 1e300, 10**40, Level.HIGH, Decimal(5), Fraction(1, 2))
            )
        ],
    ),
    Leaf(
        "bool",
        {"0": False, "1": True, "true": True, "ON": True, "no": False},
        [(True, True), (False, False)],
    ),
    Leaf(
        "Decimal",
        {text: Decimal(text) for text in (*NUMBERS, BIG)},
        [*((one, Decimal(str(one))) for one in (*JSON_NUMBERS, 1e300, 10**40)), (Level.HIGH, Decimal(2))],
        (Decimal,),
    ),
    Leaf("UUID", {ID: UUID(ID)}, kinds=(UUID,)),
    Leaf("date", {"2026-01-31": date(2026, 1, 31)}, kinds=(date,)),
    Leaf(
        "datetime",
        {
            "2026-01-31": datetime.fromisoformat("2026-01-31"),
            "2026-01-31T12:00": datetime.fromisoformat("2026-01-31T12:00"),
            "2026-01-31T12:00+00:00": NOON,
        },
        kinds=(datetime,),
    ),
    Leaf("time", {"12:30": time(12, 30)}, kinds=(time,)),
    Leaf(
        "timedelta",
        {
            **{text: timedelta(seconds=number) for text, number in NUMBERS.items()},
            "PT1H30M": timedelta(hours=1.5),
        },
        [
            (one, timedelta(seconds=float(one)))
            for one in (*JSON_NUMBERS, Level.HIGH, Decimal(5), Fraction(1, 2))
        ],
        (timedelta,),
    ),
    Leaf("Color", {"red": Color.RED}, kinds=(Color,)),
    Leaf("Level", {"1": Level.LOW, "2": Level.HIGH}, [(1, Level.LOW), (2, Level.HIGH)], (Level,)),
    Leaf("Size", {"a": Size.SMALL}, kinds=(Size,)),
    Leaf(
        "Day",
        {"2026-01-31": Day.LAST, "1.5": Day.HALF},
        [(1.5, Day.HALF), (date(2026, 1, 31), Day.LAST)],
        (Day,),
    ),
    Leaf(
        "Literal['a', 2, True]",
        {"a": "a", "2": 2, "true": True, "1": True, "ON": True},
        [(2, 2), (True, True), (Level.HIGH, 2)],
    ),
    Leaf("Literal['1', 1]", {"1": "1"}, [(1, 1)]),
    Leaf("Literal[Color.RED, 5]", {"red": Color.RED, "5": 5}, [(5, 5), (Color.RED, Color.RED)]),
    Text("str", {}),
    AsSent("Any", {}),
    AsSent("object", {}),
    File("Upload", {}),
]
LEAF = {leaf.code: leaf for leaf in LEAVES}
ANY, INT, STR = LEAF["Any"], LEAF["int"], LEAF["str"]
INTS, TO_INT = Each("", INT, list), Named("", STR, INT)

BARE: list[Shape] = [
    *(
        Each(code, ANY, list)
        for code in ("list", "List", "Sequence", "Collection", "Iterable", "MutableSequence")
    ),
    *(Each(code, ANY, tuple) for code in ("tuple", "Tuple")),
    *(Each(code, ANY, set) for code in ("set", "AbstractSet", "MutableSet")),
    Each("frozenset", ANY, frozenset),
    *(Named(code, ANY, ANY) for code in ("dict", "Dict", "Mapping", "MutableMapping")),
    Fixed("tuple[int, str]", INT, STR),
    Each("set[int]", INT, set),
    Each("tuple[int, ...]", INT, tuple),
    Each("list[list[int]]", INTS, list),
    Named("dict[int, int]", LEAF["int"], LEAF["int"]),
    Named("dict[date, str]", LEAF["date"], LEAF["str"]),
    Union("None", none=True),
    Union("Literal[None]", none=True),
    Union("Literal['a', None]", Leaf("", {"a": "a"}), none=True),
    Union("Union[int, str]", LEAF["int"], LEAF["str"]),
    Union("str | int", LEAF["str"], LEAF["int"]),
    Union("bool | int", LEAF["bool"], LEAF["int"]),
    Union("int | bool | None", LEAF["int"], LEAF["bool"], none=True),
    # Not the other order too: Python takes both for equal, and typing remembers the first.
    Union("datetime | date", LEAF["datetime"], LEAF["date"]),
    Union("UUID | Literal['a', 2, True]", LEAF["UUID"], LEAF["Literal['a', 2, True]"]),
    Union("Any | int", ANY, LEAF["int"]),
    Union("Upload | str", LEAF["Upload"], LEAF["str"]),
    Union("list[str] | str", Each("", STR, list), STR),
    Union("list[int] | int", INTS, INT),
    Union("list[int] | dict[str, int]", INTS, TO_INT),
    Union("list[dict[str, int]] | dict[str, int]", Each("", TO_INT, list), TO_INT),
]

UNSUPPORTED: list[Shape] = [
    *(
        Unsupported(kind.__name__, kind)
        for kind in (bytes, bytearray, complex, memoryview, range, slice, type)
    ),
    *(
        Unsupported(kind.__name__, kind)
        for kind in (Thing, Box, Point, Pair, Path, Fraction, Enum, Empty, Flag)
    ),
    *(
        Unsupported(kind.__name__, kind)
        for kind in (Counter, OrderedDict, defaultdict, deque, App, WebSocket)
    ),
    *(Unsupported(name, NAMES[name]) for name in ("BaseModel", "Struct") if name in NAMES),
    *(
        Unsupported(name)
        for name in ("Readable", "Fields", "Box[int]", "Counter[str]", "deque[int]", "type[int]")
    ),
    *(Unsupported(name) for name in ("Callable[[], int]", "Iterator[int]", "Generator[int, None, None]")),
    *(Unsupported(name) for name in ("defaultdict[str, int]", "re.Pattern[str]", "Awaitable[int]")),
    *(Unsupported(name) for name in ("Literal[b'x']", "Never", "NoReturn", "Self", "LiteralString")),
    *(
        Unsupported(name)
        for name in ("Unpack[Fields]", "ParamSpec('P')", "TypeVarTuple('Ts')", "5", "...", "()")
    ),
    *(
        Unsupported(name)
        for name in ("[int]", "(int, str)", "{'a': int}", "lambda: 0", "print", "int()", "Nowhere")
    ),
    *(
        Unsupported(name)
        for name in ("'Nowhere'", "list['Nowhere']", "'list['", "Union", "Optional", "Generic[T]")
    ),
    *(Unsupported(name) for name in ("Required[int]", "Literal", "ClassVar", "Final", "Protocol")),
]

# --- wrappers -------------------------------------------------------------------------------------------


def _or_int(code: str, shape: Shape) -> Shape:
    return Union(code, shape, LEAF["int"])


#: What can stand around a shape, by its source code.
WRAPPERS: dict[str, Callable[[str, Shape], Shape]] = {
    "{} | None": lambda code, shape: Union(code, shape, none=True),
    "Optional[{}]": lambda code, shape: Union(code, shape, none=True),
    "Union[None, {}]": lambda code, shape: Union(code, shape, none=True),
    "Union[{}, int]": _or_int,
    "Union[str, {}]": lambda code, shape: Union(code, shape, LEAF["str"]),
    "Annotated[{}, 'a mark']": Alike,
    "NewType('Name', {})": lambda code, shape: Alike(code, shape, hides=True),
    "TypeVar('Of', bound={})": lambda code, shape: Alike(code, shape, hides=True),
    "TypeVar('Of', {}, int)": lambda code, shape: Alike("{}", _or_int(code, shape), hides=True),
    "TypeAliasType('Name', {})": Alike,
    "list[{}]": lambda code, shape: Each(code, shape, list),
    "Sequence[{}]": lambda code, shape: Each(code, shape, list),
    "set[{}]": lambda code, shape: Each(code, shape, set),
    "frozenset[{}]": lambda code, shape: Each(code, shape, frozenset),
    "tuple[{}, ...]": lambda code, shape: Each(code, shape, tuple),
    "tuple[{}, int]": lambda code, shape: Fixed(code, shape, LEAF["int"]),
    "dict[str, {}]": lambda code, shape: Named(code, LEAF["str"], shape),
    "Mapping[int, {}]": lambda code, shape: Named(code, LEAF["int"], shape),
    "FromSession[{}]": lambda code, shape: Alike(code, shape, mark=True),
}
if "TypeAliasType" not in NAMES:
    del WRAPPERS["TypeAliasType('Name', {})"]
#: Those in which Python itself has no place for some shapes.
PICKY = (
    "{} | None",
    "Union[{}, int]",
    "Union[str, {}]",
    "TypeVar('Of', {}, int)",
    "Optional[{}]",
    "Union[None, {}]",
)


def wrapped(shape: Shape, *wrappers: str) -> Shape:
    """A shape with wrappers around it, the innermost first."""
    for wrapper in wrappers:
        shape = WRAPPERS[wrapper](wrapper, shape)
    return shape


# --- one annotation, asked for from everywhere ----------------------------------------------------------


class Row(NamedTuple):
    """One annotation in one place of a signature.

    Attributes:
        declared: The parameter, with {} for the annotation.
        shape: The annotation.
        future: Whether it is text, as below ``from __future__ import annotations``.
        full: Whether to try all values, or a few.
    """

    declared: str
    shape: Shape
    future: bool = False
    full: bool = False

    @property
    def name(self) -> str:
        return ("future " if self.future else "") + self.declared.format(self.shape.code)

    @property
    def refused(self) -> bool:
        shape, star = self.shape, self.declared.startswith("*") and not self.declared.startswith("*,")
        single = self.declared.startswith("*x")
        return shape.refused(stored=shape.only) or (star and shape.only) or (single and not shape.segment)


class Store(SessionBackend):
    """Holds one session."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}

    async def load(self, session_id: str) -> dict[str, Any]:
        return self.data

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None: ...


DEFAULT = Thing()
NAMES["DEFAULT"] = DEFAULT


def app_of(row: Row) -> Any:
    """An app whose page and socket take the parameter, and keep what they got."""
    future = "from __future__ import annotations\n" if row.future else ""
    parameter = row.declared.format(row.shape.code)
    got = {"*x": "x[0]", "**": "x['x']"}.get(row.declared[:2], "x")
    code = f"""{future}
class Sample(App):
    async def page(self, {parameter}):
        self.got.append({got})
        return "ok"

    async def ws_page(self, ws, {parameter}):
        self.got.append({got})
        await ws.accept()
"""
    names = {**NAMES, "__name__": __name__}
    exec(compile(code, "<sample>", "exec", dont_inherit=True), names)
    app = names["Sample"](session_backend=Store())
    app.got = []
    return app


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type, at every depth."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, (set, frozenset)):
        return one == other and {key(item) for item in one} == {key(item) for item in other}
    return bool(one == other)


class Expected:
    """What must come of a row's values: what the handler gets, as ``[value]``, or a status."""

    def __init__(self, row: Row) -> None:
        self._row, self._shape = row, row.shape
        defaults: dict[str, Any] = {" DEFAULT": [DEFAULT], " None": [None]}
        #: What comes of no value at all.
        self.missing: Any = defaults.get(row.declared.rpartition("=")[2], 401 if row.shape.only else 400)

    def of_segment(self, text: str) -> Any:
        fits = self._shape.segment and not self._shape.only
        return _or(404, self._shape.read(text, stored=False) if fits else BAD)

    def of_texts(self, texts: list[Any]) -> Any:
        """The same of all values of one name in a query string or a form."""
        if self._shape.only:
            return self.missing
        return _or(400, self._shape.repeat(texts))

    def of_json(self, value: Any) -> Any:
        if self._shape.repeated and type(value) is not list:
            return self.of_texts([value])
        return self.missing if self._shape.only else _or(400, self._shape.read(value, stored=False))

    def of_files(self, names: list[str]) -> Any:
        """The same of all files of one name; an input without a file in it has no name."""
        files = [Sent(name) for name in names if name]
        if files:
            return self.of_texts(files)
        if isinstance(self.missing, list):
            return self.missing
        return _or(400, self._shape.read([] if self._shape.repeated else "", stored=False))

    def of_session(self, value: Any) -> Any:
        return _or(self.missing, BAD if self._shape.file else self._shape.read(value, stored=True))

    def all(self) -> Iterator[tuple[str, Any, Any]]:
        """Source, value, and what must come of it."""
        declared, tries = self._row.declared, self._shape.tries()
        by_name, by_place = not declared.startswith("*x"), not declared.startswith(("**", "*, "))
        texts = list(
            dict.fromkeys(one for one in [*tries, *TEXTS[:: 1 if self._row.full else 6]] if type(one) is str)
        )
        if by_place:
            yield from self._each("path, ws path", [text for text in texts if text], self.of_segment)
        if by_name:
            lists = [
                one for one in tries if type(one) is list and one and all(type(text) is str for text in one)
            ]
            pairs = map(list, itertools.product(texts[:3], texts[-3:]))
            many = [*([text] for text in texts), *lists, *pairs, texts[:3]]
            yield from self._each("query, form, multipart, ws query", many, self.of_texts)
            if self._shape.file:
                blank = [] if declared.startswith("**") else [[""], ["", ""]]
                yield from self._each(
                    "files", [["a.txt"], ["a.txt", "b"], ["", "a.txt", ""], *blank], self.of_files
                )
            elif isinstance(self._shape, Leaf) and not self._shape.any:
                yield from self._each("files", [["a.txt"], ["a.txt", "b"]], self.of_files)
            yield from self._each("json", list(filter(_is_json, tries)), self.of_json)
        if by_name and not declared.startswith("**"):
            yield from self._each("session, ws session", tries, self.of_session)
            yield "query", [], self.missing
            yield "ws query", [], self.missing

    def _each(
        self, sources: str, values: list[Any], expect: Callable[[Any], Any]
    ) -> Iterator[tuple[str, Any, Any]]:
        """All values of the first source, if all are wanted, and a few of the others: these come in the same way."""
        good = [value for value in values if isinstance(expect(value), list)]
        bad = [value for value in values if not isinstance(expect(value), list)]
        few = [*good[:3], *bad[:3]]
        for number, source in enumerate(sources.split(", ")):
            for value in values if self._row.full and not number else few:
                yield source, value, expect(value)


def as_sent(value: Any) -> Any:
    """What a handler got, with each upload as what was sent."""
    if isinstance(value, Upload):
        return Sent(value.filename)
    return type(value)(map(as_sent, value)) if type(value) in (list, tuple, set, frozenset) else value


def _or(otherwise: Any, found: Any) -> Any:
    return otherwise if found is BAD else [found]


MULTIPART = ("Content-Type", "multipart/form-data; boundary=edge")
JSON = ("Content-Type", "application/json")


async def send(app: Any, source: str, value: Any) -> int:
    """Send a value to the page or to the socket; the status of the answer, which is 101 for a socket that opened."""
    *socket, source = source.split()
    query, headers, body, more = "", [], b"", {}
    method = "POST" if source in ("form", "multipart", "files", "json") else "GET"
    if source == "path":
        more = {"path": "/page/" + value, "raw_path": b"/page/" + quote(value, safe="").encode()}
    elif source in ("query", "form"):
        pairs = "&".join("x=" + quote(one, safe="") for one in value)
        query, body = (pairs, b"") if source == "query" else ("", pairs.encode())
        headers = [FORM] if source == "form" else []
    elif source == "multipart":
        parts = [f'--edge\r\nContent-Disposition: form-data; name="x"\r\n\r\n{one}\r\n' for one in value]
        headers, body = [MULTIPART], "".join([*parts, "--edge--\r\n"]).encode()
    elif source == "files":
        form = 'Content-Disposition: form-data; name="x"; filename="{}"\r\nContent-Type: text/plain\r\n\r\n{}'
        parts = [f"--edge\r\n{form.format(name, name and 'content')}\r\n" for name in value]
        headers, body = [MULTIPART], "".join([*parts, "--edge--\r\n"]).encode()
    elif source == "json":
        headers, body = [JSON], json.dumps({"x": value}).encode()
    else:
        app.session_backend.data = {"x": value}
        headers = [COOKIE]
    if socket:
        client = await handshake(app, "/page?" + query, headers=headers, **more)
        return 101 if client.accepted and client.close in (None, (1000, "")) else client.refusal or 0
    answer = await http(app, "/page?" + query, method, headers=headers, body=body, waits=False, **more)
    return answer.status


async def problems(row: Row) -> tuple[list[str], int]:
    """What is wrong with an annotation, a line for each source and value; and how many were tried."""
    try:
        app = app_of(row)
    except Exception as error:
        right = row.refused and type(error) is TypeError and "'x'" in str(error)
        return [] if right else [f"the app is not made: {error!r}"], 1
    if row.refused:
        return ["the app is made"], 1
    found, count = [], 0
    for source, value, expected in Expected(row).all():
        app.got.clear()
        app.session_backend.data = {}
        status = await send(app, source, value)
        fits = status in (200, 101) if isinstance(expected, list) else status == expected
        if not fits or not same(as_sent(app.got), expected if isinstance(expected, list) else []):
            asked = f"{source} {value!r:.80}"
            found.append(f"{asked}: {expected!r:.80} must come, and {status} {app.got!r:.80} came")
        count += 1
    return found, count


DECLARED = [
    *(
        "x: {}",
        "x: {} = DEFAULT",
        "x: {} | None = None",
        "x: Optional[{}] = None",
        "*, x: {}",
        "*x: {}",
        "**x: {}",
    ),
    *("x: FromSession[{}]", "x: FromSession[{}] | None = None", "x: FromSession[{}] = DEFAULT"),
]


def declared(text: str, shape: Shape) -> tuple[str, Shape]:
    """A declaration of a shape, with the annotation in it taken as a part of the shape."""
    for part in ("FromSession[{}] | None", "FromSession[{}]", "{} | None", "Optional[{}]"):
        if part in text:
            inner = wrapped(shape, "FromSession[{}]") if "FromSession" in part else shape
            return text.replace(part, "{}"), wrapped(inner, "{} | None") if "None" in part else inner
    return text, shape


def rows() -> Iterator[Row]:
    """All of the table."""
    for shape in (*LEAVES, *BARE):
        for text in DECLARED:
            if text != "x: Optional[{}] = None" and not (shape.code == "None" and "| None" in text):
                yield Row(*declared(text, shape), full=text in ("x: {}", "x: FromSession[{}]"))
        yield Row("x: {}", shape, future=True)
    for shape in UNSUPPORTED:
        # What Python itself refuses at once is ours to refuse where annotations are text.
        for text, future in itertools.product(
            ("x: {}", "x: {} = DEFAULT", "*x: {}", "**x: {}"), (False, True)
        ):
            if future or not shape.code.startswith(("Nowhere", "Generic[")):
                yield Row(text, shape, future)
        yield Row("x: {}", wrapped(shape, "FromSession[{}]"), future=True)
    yield from nested()


def nested() -> Iterator[Row]:
    """Shapes within shapes: each wrapper around each leaf, and each pair of wrappers around some."""
    for shape in (*LEAVES, *UNSUPPORTED[:1], LEAF["Any"]):
        for wrapper in WRAPPERS:
            yield Row("x: {}", wrapped(shape, wrapper), future=True)
    deep = [LEAF["int"], LEAF["Color"], LEAF["Upload"], BARE[0], UNSUPPORTED[0]]
    pairs = itertools.product(WRAPPERS, WRAPPERS)
    for (inner, outer), shape in zip(pairs, itertools.cycle(deep)):
        yield Row("x: {}", wrapped(shape, inner, outer), future=True)
    # Three around one: every wrapper stands in every place, next to others each time.
    names = [*WRAPPERS]
    for turn, first in enumerate(names):
        for step in (1, 4, 7):
            second, third = names[(turn + step) % len(names)], names[(turn + 3 * step) % len(names)]
            yield Row("x: {}", wrapped(deep[turn % 4], first, second, third), future=True)


@pytest.mark.parametrize("row", {row.name: row for row in rows()}.values(), ids=lambda row: row.name)
async def test_row(row: Row) -> None:
    found, count = await problems(row)
    assert not found, f"{len(found)} of {count} of {row.name}:\n" + "\n".join(found)
