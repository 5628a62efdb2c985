"""Where a handler's arguments come from, in which order, and how they are converted."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import date, datetime
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional, Union
from urllib.parse import quote
from uuid import UUID

import pytest

from micropie import App, FromSession, HttpMiddleware
from tests.driver import Answer, handshake, http

ID = "a-session-that-the-client-knows"
COOKIE = ("Cookie", f"session_id={ID}")
SOME_UUID = "12345678-1234-5678-1234-567812345678"


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class SomethingElse:
    pass


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
    (SomethingElse, "5", "5"),
    (dict, "5", "5"),
    ({"not": "a type"}, "5", "5"),
    (int | str, "5", "5"),
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
        (list[SomethingElse], "/?x=a&x=b", 200, "['a', 'b']"),
        (list[Any], "/?x=a&x=b", 200, "['a', 'b']"),
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
    assert (await ask(app_with(annotation), "/?x=6", session={"x": 5}, x=["6"])).text == "5"
    assert (await ask(app_with(annotation, default=7), "/?x=6", x=["6"])).text == "7"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
async def test_a_type_that_contains_itself_is_passed_over() -> None:
    assert (await http(app_with(names["Tree"]), "/?x=6")).text == "'6'"


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
