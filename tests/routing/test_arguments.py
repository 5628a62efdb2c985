"""Where a handler's arguments come from, in which order, and how they are converted."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from types import FunctionType
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, TypeVar, Union, Unpack
from urllib.parse import quote
from uuid import UUID

import pytest

from micropie import App, FromSession, HttpMiddleware
from tests.driver import Answer, handshake, http
from tests.helpers import COOKIE, ID

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOME_UUID = "12345678-1234-5678-1234-567812345678"


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Day(Enum):
    LAST = date(2026, 1, 31)

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.LAST if value == "today" else None


class SomethingElse:
    pass


Id = NewType("Id", int)
Numeric = TypeVar("Numeric", bound=int)
OneOf = TypeVar("OneOf", int, date)
Anything = TypeVar("Anything")


def app_with(annotation: Any, **default: Any) -> App:
    """An app whose index takes ``x``, annotated so, and answers with its ``repr``."""

    async def index(self: App, x: Any) -> str:
        return repr(x)

    index.__annotations__ = {} if annotation is None else {"x": annotation}
    index.__defaults__ = tuple(default.values())
    sample: type[App] = type("Sample", (App,), {"index": index, "__module__": __name__})
    return sample()


class Body(HttpMiddleware):
    """Stands for a parsed body: what a form or JSON would hold."""

    def __init__(self, **values: list[Any]) -> None:
        self.values = values

    async def before_request(self, request: Any) -> None:
        request.body_params = self.values

    async def after_request(self, *arguments: Any) -> None:
        pass


async def ask(app: App, target: str, *, session: dict[str, Any] | None = None, **body: list[Any]) -> Answer:
    app.middlewares.append(Body(**body))
    await app.session_backend.save(ID, session or {}, 60)
    return await http(app, target, headers=[COOKIE])


# --- conversion -----------------------------------------------------------------------------------------

GOOD: list[tuple[Any, str, Any]] = [
    (None, "5", "5"),
    (Any, "5", "5"),
    (object, "5", "5"),
    (str, "5", "5"),
    (int, "5", 5),
    (int, "-7", -7),
    (int, "+007", 7),
    (float, "1.5", 1.5),
    (float, "-2", -2.0),
    (float, "1e3", 1000.0),
    *((bool, text, True) for text in ("true", "True", "1", "yes", "ON")),
    *((bool, text, False) for text in ("false", "FALSE", "0", "no", "off")),
    (UUID, SOME_UUID, UUID(SOME_UUID)),
    (date, "2026-01-31", date(2026, 1, 31)),
    (datetime, "2026-01-31T12:30", datetime.fromisoformat("2026-01-31T12:30")),
    (datetime, "2026-01-31T12:30:00+01:00", datetime.fromisoformat("2026-01-31T12:30:00+01:00")),
    (Color, "blue", Color.BLUE),
    (Level, "2", Level.HIGH),
    (Literal["asc", "desc"], "desc", "desc"),
    (Literal[1, 2], "2", 2),
    (int | None, "5", 5),
    (Optional[int], "5", 5),  # noqa: UP045  # as older code spells it
    (Union[None, Color], "red", Color.RED),  # noqa: UP007  # as older code spells it
    (Annotated[int, "any mark"], "5", 5),
    ("int", "5", 5),
    ("int | None", "5", 5),
    ("Id | None", "5", 5),
    (Id, "5", 5),
    (Numeric, "5", 5),
    (Anything, "5", "5"),
    (OneOf, "5", 5),
    (Annotated[int, "any mark"] | None, "5", 5),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, "1e-7", Decimal("1e-7")),
    (time, "12:30", time(12, 30)),
    (timedelta, "90", timedelta(seconds=90)),
    (timedelta, "1.5", timedelta(seconds=1.5)),
    (timedelta, "PT1H30M", timedelta(minutes=90)),
    (timedelta, "-P1W2DT0.5S", -timedelta(days=9, seconds=0.5)),
    (int | str, "5", 5),
    (str | int, "5", 5),
    (int | str, "a", "a"),
    (int | bool, "1", 1),
    (int | bool, "true", True),
    (date | datetime, "2026-01-31", date(2026, 1, 31)),
    (UUID | Literal["me"], "me", "me"),
    (Literal[True, "maybe"], "true", True),
    (Literal[True, "maybe"], "maybe", "maybe"),
    (Literal[1, "1"], "1", "1"),
    (Literal[Color.RED, 3], "red", Color.RED),
    (Literal[Color.RED, 3], "3", 3),
    (Literal["a", None], "a", "a"),  # noqa: PYI061  # as some write it
    (Day, "2026-01-31", Day.LAST),
    (Day, "today", Day.LAST),
]

BAD: list[tuple[Any, str, str]] = [
    *((int, text, "an integer") for text in ("x", "1.0", "1_000", " 1", "1 ", "0x1", "٣", "9" * 5000)),
    *((float, text, "a number") for text in ("x", "nan", "inf", "1e999", "1_0", " 1", "٣.٣")),
    *((bool, text, "true or false") for text in ("2", "maybe", "t")),
    (UUID, "x", "a UUID"),
    (date, "2026-02-30", "a date"),
    (date, "31.1.2026", "a date"),
    (datetime, "noon", "a date and time"),
    (Color, "green", "one of red, blue"),
    (Color, "RED", "one of red, blue"),
    (Level, "3", "one of 1, 2"),
    (Literal["asc", "desc"], "up", "one of asc, desc"),
    (int | None, "x", "an integer"),
    (Id, "x", "an integer"),
    (Annotated[int, "any mark"] | None, "x", "an integer"),
    *((Decimal, text, "a decimal number") for text in ("x", "NaN", "1_0", "1e9999", "1e-9999", "٣")),
    (time, "25:00", "a time"),
    *((timedelta, text, "a duration") for text in ("x", "P", "PT", "P1", "1e999", "P99999999999D")),
    (int | date, "x", "an integer or a date"),
    (int | None | date, "x", "an integer or a date"),
    (Literal[True], "false", "one of true"),
    (Literal[Color.RED], "blue", "one of red"),
    (Day, "2026-02-01", "one of 2026-01-31"),
]


@pytest.mark.parametrize(("annotation", "text", "value"), GOOD)
async def test_an_annotation_converts_a_segment_and_a_query_value(
    annotation: Any, text: str, value: Any
) -> None:
    app = app_with(annotation)
    assert (await http(app, "/" + text)).text == repr(value)
    assert (await http(app, "/?x=" + quote(text))).text == repr(value)


@pytest.mark.parametrize(("annotation", "text", "kind"), BAD)
async def test_a_value_that_does_not_convert(annotation: Any, text: str, kind: str) -> None:
    app = app_with(annotation)
    assert (await http(app, "/" + text)).status == 404
    answer = await http(app, "/?x=" + quote(text))
    assert answer.status == 400
    assert answer.text.startswith(f"400 Bad Request: the parameter 'x' must be {kind}")


@pytest.mark.parametrize(
    ("annotation", "answer"),
    [
        (None, "''"),
        (str, "''"),
        (str | None, "''"),
        (int | None, "None"),
        (date | None, "None"),
        (Any | None, "''"),
        (int | str, "''"),
        (int | str | None, "''"),
        (int | date | None, "None"),
        (Literal["a"] | None, "None"),
        (Id | None, "None"),
        (int, None),
        (bool, None),
        (Color, None),
    ],
)
async def test_a_blank_query_value_is_empty_text(annotation: Any, answer: str | None) -> None:
    got = await http(app_with(annotation), "/?x=")
    assert (got.status, got.text if got.status == 200 else None) == (200 if answer else 400, answer)


@pytest.mark.parametrize(
    ("annotation", "value", "answer"),
    [
        (None, [1, {}], "[1, {}]"),
        (int, 5, "5"),
        (int, True, None),
        (int, 1.0, None),
        (int, None, None),
        (float, 2, "2.0"),
        (float, 2.5, "2.5"),
        (float, True, None),
        (float, None, None),
        (float, 10**400, None),
        (bool, True, "True"),
        (bool, 1, None),
        (str, "a", "'a'"),
        (str, 5, None),
        (date, 5, None),
        (UUID, 5, None),
        (Literal[1, 2], 2, "2"),
        (Color, ["red"], None),
        (Color, "red", repr(Color.RED)),
        (Level, 2, repr(Level.HIGH)),
        (Level, True, None),
        (Level, 2.0, None),
        (Literal[1, 2], True, None),
        (Literal["1"], 1, None),
        (Literal[1, "1"], 1, "1"),
        (Literal[True, 0], False, None),
        (Literal[True, 0], True, "True"),
        (int, "3", "3"),
        (Decimal, 1.1, "Decimal('1.1')"),
        (Decimal, 10**40, repr(Decimal(10**40))),
        (Decimal, True, None),
        (Decimal, [0, [1], 0], None),
        (timedelta, 1.5, "datetime.timedelta(seconds=1, microseconds=500000)"),
        (timedelta, 1e300, None),
        (int | str, 5, "5"),
        (int | str, "a", "'a'"),
        (int | str, 1.5, None),
        (int | str, [5], None),
        (list[int], [1, 2], "[1, 2]"),
        (list[int], [1, "2"], "[1, 2]"),
        (list[int], [1, "x"], None),
        (list[int], [1, None], None),
        (list[int], {"a": 1}, None),
        (list[int | None], [1, None], "[1, None]"),
        (list[int] | None, None, "None"),
        (list[list[int]], [[1], []], "[[1], []]"),
        (list[list[int]], [1], None),
        (list, [1, "a"], "[1, 'a']"),
        (set[int], [1, 1], "{1}"),
        (set, [[]], None),
        (frozenset[str], ["a"], "frozenset({'a'})"),
        (tuple[int, ...], [1, 2], "(1, 2)"),
        (tuple[int, str], [1, "a"], "(1, 'a')"),
        (tuple[int, str], [1, "a", 2], None),
        (tuple[int, str], [], None),
        (tuple, [1], "(1,)"),
        (dict, {"a": [1]}, "{'a': [1]}"),
        (dict, [1], None),
        (dict[str, int], {"a": "1"}, "{'a': 1}"),
        (dict[int, Any], {"1": {}}, "{1: {}}"),
        (dict[str, int], {"a": "b"}, None),
        (dict[str, list[Id]], {"a": [1]}, "{'a': [1]}"),
        (int | list[int], [1], "[1]"),
        (int | list[int], 1, "1"),
        (list[dict[str, Any]], [{"a": 1}, {}], "[{'a': 1}, {}]"),
        (list[dict[str, Any]], [1], None),
        (object, {"a": 1}, "{'a': 1}"),
        (int | None, None, "None"),
        (str | None, None, "None"),
    ],
)
async def test_json_keeps_its_types(annotation: Any, value: Any, answer: str | None) -> None:
    got = await ask(app_with(annotation), "/", x=[value])
    assert (got.status, got.text if got.status == 200 else None) == (200 if answer else 400, answer)


@pytest.mark.parametrize(
    ("annotation", "target", "status", "answer"),
    [
        (list[int], "/?x=1&x=2", 200, "[1, 2]"),
        (list[int], "/?x=1", 200, "[1]"),
        (list[int], "/?x=1&x=two", 400, None),
        (list[int], "/", 400, None),
        (list[int], "/1", 404, None),
        (list[str], "/?x=a&x=", 200, "['a', '']"),
        (list[Any], "/?x=a&x=b", 200, "['a', 'b']"),
        (list, "/?x=a&x=b", 200, "['a', 'b']"),
        (list, "/?x=a", 200, "['a']"),
        (Sequence[int], "/?x=1", 200, "[1]"),
        (list[Id] | None, "/?x=1", 200, "[1]"),
        (list[int] | None, "/?x=", 200, "None"),
        (list[str] | None, "/?x=", 200, "['']"),
        (Annotated[list[Annotated[int, "a mark"]], "a mark"], "/?x=1&x=2", 200, "[1, 2]"),
        (set[int], "/?x=1&x=01", 200, "{1}"),
        (frozenset[int], "/?x=1", 200, "frozenset({1})"),
        (tuple[int, ...], "/?x=1&x=2", 200, "(1, 2)"),
        (tuple[int, int], "/?x=1&x=2", 200, "(1, 2)"),
        (tuple[int, int], "/?x=1", 400, None),
        (list[int | str], "/?x=1&x=a", 200, "[1, 'a']"),
        (list[list[int]], "/?x=1", 400, None),
        (int | list[int], "/?x=1", 200, "1"),
        (int | list[int], "/1", 200, "1"),
        (str | list[int], "/?x=1&x=2", 200, "[1, 2]"),
        (dict, "/?x=1", 400, None),
        (dict, "/1", 404, None),
        (int, "/?x=1&x=2", 200, "1"),
    ],
)
async def test_a_list_takes_every_value_of_a_repeated_name(
    annotation: Any, target: str, status: int, answer: str | None
) -> None:
    got = await http(app_with(annotation), target)
    assert got.status == status
    assert answer is None or got.text == answer


# --- where a value comes from ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "body", "session", "answer"),
    [
        ("/path?x=query", ["body"], "session", "'path'"),
        ("/?x=query", ["body"], "session", "'query'"),
        ("/", ["body"], "session", "'body'"),
        ("/", [], "session", "'session'"),
        ("/", [], None, "'default'"),
    ],
)
async def test_the_first_source_that_has_the_value_counts(
    target: str, body: list[str], session: str | None, answer: str
) -> None:
    stored = {"other": 1} if session is None else {"x": session}
    got = await ask(app_with(None, default="default"), target, session=stored, x=body)
    assert got.text == answer


async def test_a_missing_value_is_named() -> None:
    answer = await http(app_with(int), "/")
    assert (answer.status, answer.text) == (400, "400 Bad Request: the parameter 'x' is missing")


ONLY_FROM_SESSION: dict[str, Any] = {
    "bare": FromSession,
    "of a type": FromSession[int],
    "or None": FromSession[int] | None,
    "Optional": Optional[FromSession[int]],  # noqa: UP045  # as older code spells it
    "None or": None | FromSession[int],
    "in a list": list[FromSession[int]],
    "of a list": FromSession[list[int]],
    "annotated": Annotated[FromSession[int], "any mark"],
    "text": "FromSession[int]",
    "text, or None": "FromSession[int] | None",
}
if sys.version_info >= (3, 12):
    names: dict[str, Any] = {"FromSession": FromSession}
    exec("type Alias = FromSession[int]\ntype Tree = list[Tree] | int", names)
    ONLY_FROM_SESSION |= {"alias": names["Alias"], "alias, or None": names["Alias"] | None}


@pytest.mark.parametrize("annotation", ONLY_FROM_SESSION.values(), ids=ONLY_FROM_SESSION)
async def test_what_comes_from_the_session_comes_from_nowhere_else(annotation: Any) -> None:
    for target in ("/6", "/?x=6", "/"):
        assert (await ask(app_with(annotation), target, x=["6"])).status == (404 if target == "/6" else 401)
    stored = [5] if "list" in str(annotation) else 5
    assert (await ask(app_with(annotation), "/?x=6", session={"x": stored}, x=["6"])).text == str(stored)
    assert (await ask(app_with(annotation, default=7), "/?x=6", x=["6"])).text == "7"


@pytest.mark.parametrize(
    ("annotation", "stored", "answer"),
    [
        (int, 5, "5"),
        (int, "5", "5"),
        (int, "abc", None),
        (int, None, None),
        (int, [5], None),
        (str, 5, None),
        (list[int], [1], "[1]"),
        (list[int], {1}, "[1]"),
        (list[int], ["x"], None),
        (list[int], 5, None),
        (set[int], {1}, "{1}"),
        (date, date(2026, 1, 31), "datetime.date(2026, 1, 31)"),
        (date, NOON, None),
        (datetime, NOON, repr(NOON)),
        (timedelta, timedelta(1), "datetime.timedelta(days=1)"),
        (UUID, UUID(SOME_UUID), repr(UUID(SOME_UUID))),
        (Decimal, Decimal("1.1"), "Decimal('1.1')"),
        (Color, Color.RED, repr(Color.RED)),
        (Color, "red", repr(Color.RED)),
        (Any, {1: 2}, "{1: 2}"),
    ],
)
async def test_what_the_session_holds(annotation: Any, stored: Any, answer: str | None) -> None:
    """A value of the session is converted; one that does not fit counts as missing."""
    for asked, missing in ((FromSession[annotation], 401), (annotation, 400)):
        got = await ask(app_with(asked), "/", session={"x": stored})
        assert (got.status, got.text if answer else None) == (200 if answer else missing, answer)
        if answer is None:
            assert (await ask(app_with(asked, default=7), "/", session={"x": stored})).text == "7"


async def test_an_object_of_the_session() -> None:
    """A session can hold an object of any class, so its parameter may be annotated with it."""
    app = app_with(FromSession[SomethingElse] | None)
    assert "SomethingElse object" in (await ask(app, "/", session={"x": SomethingElse()})).text
    assert (await ask(app, "/?x=5", session={"x": {}})).status == 401


async def test_a_list_of_the_session_stays_that_list() -> None:
    """A handler may change in place what the session holds."""

    class Shop(App):
        async def add(
            self, cart: FromSession[list[str]], stock: FromSession[dict[str, int]], pie: str
        ) -> Any:
            cart.append(pie)
            stock[pie] = 1
            return self.request.session

    assert (await ask(Shop(), "/add/plum", session={"cart": [], "stock": {}})).json == {
        "cart": ["plum"],
        "stock": {"plum": 1},
    }


class Fields(TypedDict):
    x: FromSession[int]


Hidden = NewType("Hidden", FromSession[int])
Bound = TypeVar("Bound", bound=FromSession[int])
Constrained = TypeVar("Constrained", FromSession[int], str)


async def rest(self: App, *x: FromSession[int]) -> None: ...
async def rest_or_none(self: App, *x: FromSession[int] | None) -> None: ...
async def extra(self: App, **x: FromSession[int]) -> None: ...
async def unpacked(self: App, **x: Unpack[Fields]) -> None: ...
async def fields(self: App, x: Fields) -> None: ...
async def hidden(self: App, x: Hidden) -> None: ...
async def hidden_in_a_list(self: App, x: list[Hidden] | None = None) -> None: ...
async def bound(self: App, x: Bound) -> None: ...
async def constrained(self: App, x: Constrained) -> None: ...
async def default(self: App, x=FromSession) -> None: ...
async def default_of_a_type(self: App, x: int = FromSession[int]) -> None: ...
async def default_by_name(self: App, *, x=FromSession[int] | None) -> None: ...
async def called(self: App, x: Callable[[FromSession[int]], None]) -> None: ...


REFUSED = [
    *(rest, rest_or_none, extra, unpacked, fields, hidden, hidden_in_a_list, bound, constrained),
    *(default, default_of_a_type, default_by_name, called),
]


@pytest.mark.parametrize("socket", [False, True])
@pytest.mark.parametrize("handler", REFUSED, ids=lambda handler: handler.__name__)
def test_a_session_mark_that_could_be_passed_over(handler: Any, socket: bool) -> None:
    """A FromSession where it could not be kept is an error when the app is made: no URL ever fills it."""
    taken: Any = handler
    if socket:
        taken = copy_of(handler)
        taken.__signature__ = with_socket(inspect.signature(handler))
    with pytest.raises(TypeError, match=r"'x' of .*(FromSession|Fields|Callable)"):
        type("Shop", (App,), {"ws_index" if socket else "index": taken})()


def copy_of(handler: Any) -> Any:
    return FunctionType(handler.__code__, handler.__globals__, handler.__name__, handler.__defaults__)


def with_socket(signature: inspect.Signature) -> inspect.Signature:
    own, *others = signature.parameters.values()
    ws = inspect.Parameter("ws", inspect.Parameter.POSITIONAL_ONLY)
    return signature.replace(parameters=[own.replace(kind=own.POSITIONAL_ONLY), ws, *others])


@pytest.mark.parametrize("mark", [FromSession, FromSession[int]])
async def test_a_session_mark_as_a_mark(mark: Any) -> None:
    """Who writes ``Annotated[int, FromSession]`` means the same."""
    app = app_with(Annotated[int, mark])
    assert (await ask(app, "/?x=6")).status == 401
    assert (await ask(app, "/?x=6", session={"x": 5})).text == "5"


CANNOT: dict[str, Any] = {
    "class": SomethingElse,
    "or None": SomethingElse | None,
    "in a list": list[SomethingElse],
    "in a dict": dict[str, list[SomethingElse]],
    "in a tuple": tuple[int, SomethingElse],
    "new type": NewType("New", SomethingElse),
    "bound": TypeVar("Of", bound=SomethingElse),
    "annotated": Annotated[SomethingElse, "a mark"],
    "no type": {"not": "a type"},
    "bytes": bytes,
    "complex": complex,
    "callable": Callable[[], int],
    "type": type[int],
    "iterator": Iterator[int],
    "literal": Literal[b"x"],
    "enum without members": Enum,
    "typed dict": Fields,
}


@pytest.mark.parametrize("annotation", CANNOT.values(), ids=CANNOT)
def test_an_annotation_that_nothing_can_be_checked_against(annotation: Any) -> None:
    """It is an error when the app is made, which says what can be written."""
    with pytest.raises(TypeError, match=r"'x' of .*index: no value .* write str, int, .* Any for"):
        app_with(annotation)


def test_star_arguments_are_segments() -> None:
    async def index(self: App, *x: list[int]) -> None: ...

    with pytest.raises(TypeError, match=r"\*x takes path segments, and none can be a list"):
        type("Shop", (App,), {"index": index})()


async def test_what_newer_versions_of_python_have() -> None:
    """Type aliases and defaults of type variables also count where typing_extensions brings them."""
    newer = pytest.importorskip("typing_extensions")
    for annotation in (newer.TypeVar("Of", default=int), newer.TypeAliasType("Name", int | None)):
        assert (await http(app_with(annotation), "/?x=5")).text == "5"
        assert (await http(app_with(annotation), "/?x=a")).status == 400
    with pytest.raises(TypeError, match="cannot hide a FromSession"):
        app_with(newer.TypeVar("Of", default=FromSession[int]))
    app = app_with(newer.TypeAliasType("Name", FromSession[int]))
    assert (await http(app, "/?x=5")).status == 401


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
@pytest.mark.parametrize(
    ("alias", "value", "answer"),
    [
        ("type X = int", "5", "5"),
        ("type X = int", "a", None),
        ("type X = int | None", "", "None"),
        ("type Y = int | None\ntype X = list[Y]", [1, None], "[1, None]"),
        ("type Y[T] = T | None\ntype X = Y[int]", "5", "5"),
        ("type Y[T] = T\ntype X = Y[int]", "5", "5"),
        ("type Y[A, B] = tuple[B, A]\ntype X = Y[int, str]", ["a", 1], "('a', 1)"),
        ("type Y[A, B] = tuple[B, A]\ntype X = Y[int, str]", [1, "a"], None),
        ("type X = list[X] | int", [1, [2, []]], "[1, [2, []]]"),
        ("type X = list[X] | int", [1, ["a"]], None),
        ("type X = list[X] | int", "6", "6"),
    ],
)
async def test_the_name_of_a_type(alias: str, value: Any, answer: str | None) -> None:
    names: dict[str, Any] = {}
    exec(alias, names)
    got = await ask(app_with(names["X"]), "/", x=[value])
    assert (got.status, got.text if got.status == 200 else None) == (200 if answer else 400, answer)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
@pytest.mark.parametrize(
    "alias", ["type X = X", "type X = X | None", "type Y = X\ntype X = Y", "type X = Nowhere"]
)
def test_the_name_of_nothing(alias: str) -> None:
    names: dict[str, Any] = {}
    exec(alias, names)
    with pytest.raises(TypeError, match=r"nothing but itself|X cannot be resolved|checked against X"):
        app_with(names["X"])


class Shapes(App):
    """Handlers with every kind of parameter."""

    async def positional_only(self, a: str, /, b: str = "-") -> Any:
        return [a, b]

    async def rest(self, a: str, *more: int) -> Any:
        return [a, *more]

    async def keyword_only(self, a: str = "-", *, b: str = "-") -> Any:
        return [a, b]

    async def extra(self, a: str = "-", **more: int) -> Any:
        return [a, more]

    async def everything(
        self, user: FromSession[str] = "nobody", *more: str, b: str = "-", **rest: Any
    ) -> Any:
        return [user, more, b, rest]

    async def session_first(self, user: FromSession[str], page: int) -> Any:
        return [user, page]

    async def none(self) -> str:
        return "none"

    @staticmethod
    async def static(a: str) -> Any:
        return [a]

    @classmethod
    async def of_class(cls, a: str) -> Any:
        return [cls.__name__, a]

    async def ws_extra(self, ws: Any, **more: str) -> None:
        await ws.accept()
        await ws.send_json(more)

    async def ws_rest(self, *arguments: Any) -> None:
        await arguments[0].accept()
        await arguments[0].send_json(len(arguments))


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/positional_only/1/2", ["1", "2"]),
        ("/positional_only?a=1&b=2", ["1", "2"]),
        ("/positional_only/1/2/3", 404),
        ("/rest/1", ["1"]),
        ("/rest/1/2/3", ["1", 2, 3]),
        ("/rest/1/2/x", 404),
        ("/rest?a=1&more=5", ["1"]),
        ("/keyword_only/1", ["1", "-"]),
        ("/keyword_only/1?b=2", ["1", "2"]),
        ("/keyword_only/1/2", 404),
        ("/extra?a=1&b=2&b=3&c=4", ["1", {"b": 2, "c": 4}]),
        ("/extra?b=x", 400),
        ("/extra?self=1&cls=2", ["-", {"cls": 2}]),
        ("/extra?more=1", ["-", {"more": 1}]),
        ("/everything/1/2?b=3&user=mallory&c=4", ["nobody", ["1", "2"], "3", {"c": "4"}]),
        ("/session_first/5", 401),
        ("/none", "none"),
        ("/none/", "none"),
        ("/none/1", 404),
        ("/static/1", ["1"]),
        ("/of_class/1", ["Shapes", "1"]),
    ],
)
async def test_every_kind_of_parameter(target: str, answer: Any) -> None:
    got = await http(Shapes(), target)
    if isinstance(answer, int):
        assert got.status == answer
    else:
        assert got.status == 200
        assert (got.text if isinstance(answer, str) else got.json) == answer


async def test_extra_names_come_from_the_query_before_the_body() -> None:
    answer = await ask(Shapes(), "/extra?b=1", b=[2], c=[3], empty=[])
    assert answer.json == ["-", {"b": 1, "c": 3}]


async def test_a_session_parameter_takes_no_segment() -> None:
    assert (await ask(Shapes(), "/session_first/5", session={"user": "alice"})).json == ["alice", 5]


async def test_a_query_string_never_sets_the_websocket() -> None:
    client = await handshake(Shapes(), "/extra?ws=1&self=2&a=3")
    assert client.messages == ['{"a":"3"}']


async def test_a_websocket_can_be_taken_by_star_arguments() -> None:
    assert (await handshake(Shapes(), "/rest")).messages == ["1"]
    assert (await handshake(Shapes(), "/rest/1")).refusal == 404


def decorated(handler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def wrapper(*arguments: Any, **keywords: Any) -> Any:
        return await handler(*arguments, **keywords)

    return wrapper


async def test_a_decorator_keeps_the_parameters() -> None:
    class Decorated(App):
        @decorated
        async def index(self, number: int, **more: str) -> Any:
            return [number, more]

    assert (await http(Decorated(), "/5?a=1&self=2&number=6")).json == [5, {"a": "1"}]


def test_an_annotation_that_cannot_be_resolved_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match=r"annotation of 'x' in .*index cannot be resolved: .*FromSesion"):
        app_with("FromSesion[int]")


def test_a_handler_without_self_is_told() -> None:
    class Forgetful(App):
        async def index() -> str:
            return ""

    with pytest.raises(TypeError, match="index has no 'self': write it as the first parameter"):
        Forgetful()
