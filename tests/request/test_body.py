"""Request bodies: what the media type says, within limits of size and time."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

import pytest

from micropie import App, HTTPError, HttpMiddleware, methods
from micropie.request.body import CHARSETS, Body, Limits, parse_parameters
from tests.driver import http

FORM = [("Content-Type", "application/x-www-form-urlencoded")]
JSON = [("Content-Type", "application/json")]


class Bodies(App):
    async def take(self, name: Any, age: int = 0) -> dict[str, Any]:
        return {"name": name, "age": age}

    async def many(self, tag: list[int]) -> list[int]:
        return tag

    async def everything(self, **names: Any) -> dict[str, Any]:
        return names

    async def helpers(self) -> dict[str, Any]:
        request = self.request
        return {
            "form": request.form("name"),
            "missing": request.form("nothing", "default"),
            "json": request.json(),
            "key": request.json("name", "default"),
            "get_json": request.get_json,
            "body_params": request.body_params,
        }

    async def raw(self) -> bytes:
        again = await self.request.body()
        assert again is await self.request.body()
        return again


@pytest.mark.parametrize(
    ("target", "headers", "body", "status", "answer"),
    [
        ("/take", FORM, b"name=Alice&age=30", 200, {"name": "Alice", "age": 30}),
        ("/take", FORM, b"name=&age=3&name=second", 200, {"name": "", "age": 3}),
        ("/take", FORM, b"name=a%20b+c%C3%A4", 200, {"name": "a b cä", "age": 0}),
        ("/take", FORM, b"", 400, None),
        ("/take", FORM, b"name=a&age=x", 400, None),
        ("/take?name=url", FORM, b"name=form", 200, {"name": "url", "age": 0}),
        ("/take/path", FORM, b"name=form", 200, {"name": "path", "age": 0}),
        ("/many", FORM, b"tag=1&tag=2", 200, [1, 2]),
        ("/everything?a=1", FORM, b"b=2&a=3", 200, {"a": "1", "b": "2"}),
        ("/everything?self=1", FORM, b"self=2&names=3", 200, {"names": "3"}),
        ("/take", JSON, b'{"name": {"first": "A"}, "age": 3}', 200, {"name": {"first": "A"}, "age": 3}),
        ("/take", JSON, b'{"name": null}', 200, {"name": None, "age": 0}),
        ("/take", JSON, b'{"name": 1, "age": true}', 400, None),
        ("/take", JSON, b'{"name": 1, "age": 1.5}', 400, None),
        ("/take", JSON, b"[1]", 400, None),
        ("/take", JSON, b"{", 400, None),
        ("/take", JSON, b"", 400, None),
        ("/take", JSON, b"[" * 100_000, 400, None),
        ("/many", JSON, b'{"tag": [1, 2]}', 200, [1, 2]),
        ("/many", JSON, b'{"tag": 1}', 200, [1]),
        ("/many", JSON, b'{"tag": [1, "x"]}', 400, None),
        ("/everything", JSON, b'{"a": [1], "self": 2}', 200, {"a": [1]}),
        ("/take", [("Content-Type", "application/problem+JSON; charset=utf-8")], b'{"name": 1}', 200, None),
        ("/take", [("Content-Type", "text/plain; x=application/json")], b'{"name": 1}', 400, None),
        ("/take", [], b"name=Alice", 400, None),
    ],
)
async def test_a_body_is_read_by_its_media_type_alone(
    target: str, headers: list[tuple[str, str]], body: bytes, status: int, answer: Any
) -> None:
    fields = [*headers, ("Content-Length", str(len(body)))]
    whole = await http(Bodies(), target, "POST", headers=fields, body=body)
    assert whole.status == status, whole.text
    assert answer is None or whole.json == answer
    pieces = [body[index : index + 1] for index in range(min(len(body), 40))] + [body[40:]]
    assert (await http(Bodies(), target, "POST", headers=fields, body=pieces)).body == whole.body


async def test_the_helpers() -> None:
    answer = await http(Bodies(), "/helpers", "POST", headers=FORM, body=b"name=a&name=b")
    assert answer.json == {
        "form": "a",
        "missing": "default",
        "json": {},
        "key": "default",
        "get_json": {},
        "body_params": {"name": ["a", "b"]},
    }
    answer = await http(Bodies(), "/helpers", "POST", headers=JSON, body=b'{"name": 1}')
    assert answer.json["json"] == answer.json["get_json"] == {"name": 1}
    assert answer.json["key"] == 1
    answer = await http(Bodies(), "/helpers", "POST", headers=JSON, body=b"[1]")
    assert answer.json["json"] == [1]
    assert answer.json["key"] == "default"


@pytest.mark.parametrize("headers", [[], FORM, JSON, [("Content-Type", "image/png")]])
async def test_the_raw_body_of_any_type(headers: list[tuple[str, str]]) -> None:
    answer = await http(Bodies(), "/raw", "PUT", headers=headers, body=[b'{"a":', b"1}"])
    assert answer.body == b'{"a":1}'


async def test_a_get_has_no_body() -> None:
    assert (await http(Bodies(), "/raw")).body == b""
    assert (await http(Bodies(), "/helpers", headers=JSON)).json["json"] == {}


async def test_a_request_without_a_body_is_never_asked_for_one() -> None:
    class Silent(App):
        async def index(self) -> str:
            return "no body needed"

    async def receive() -> Any:
        raise AssertionError("nobody should ask")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Silent()({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert sent[0]["status"] == 200


@pytest.mark.parametrize(
    ("settings", "headers", "body", "status"),
    [
        ({"max_body_size": 10}, [], b"x" * 10, 200),
        ({"max_body_size": 10}, [], [b"x" * 6, b"x" * 5], 413),
        ({"max_body_size": 10}, [("Content-Length", "11")], b"", 413),
        ({"max_body_size": 10}, [("Content-Length", "9" * 30)], b"", 400),
        ({}, [("Content-Length", str(10 * 2**30))], b"", 413),
        ({"max_body_size": None}, [("Content-Length", "11")], b"x" * 11, 200),
        ({}, [("Content-Length", "-1")], b"", 400),
        ({}, [("Content-Length", "1x")], b"", 400),
        ({}, [("Content-Length", "²")], b"", 400),
        ({"max_json_size": 6}, JSON, b'{"a":1}', 413),
        ({"max_json_size": 6}, JSON, [b'{"a"', b":1}"], 413),
        ({"max_json_size": 7}, JSON, b'{"a":1}', 200),
        ({}, JSON, b"1".ljust(2**20), 200),
        ({}, JSON, b"1".ljust(2**20 + 1), 413),
        ({"max_json_size": None}, JSON, b"1".ljust(2**20 + 1), 200),
        ({"max_form_parts": 2}, FORM, b"a=1&b=2", 200),
        ({"max_form_parts": 2}, FORM, b"a=1&b=2&c=3", 413),
        ({"max_form_parts": 2}, FORM, [b"a=1&b=2", b"&c=3"], 413),
        ({}, FORM, b"&".join([b"a=1"] * 1000), 200),
        ({}, FORM, b"&".join([b"a=1"] * 1001), 413),
        ({"max_form_parts": None}, FORM, b"&".join([b"a=1"] * 1001), 200),
        ({}, FORM, b"a=1&" * 1_000_000, 413),
        ({"max_form_field_size": 3}, FORM, b"a=%41%41%41", 200),
        ({"max_form_field_size": 3}, FORM, b"a=%41%41%41%41", 413),
        ({"max_form_field_size": 3}, FORM, [b"a=%41%41", b"%41%41"], 413),
        ({"max_form_field_size": 3}, FORM, b"a=" + b"x" * 100, 413),
        ({"max_form_field_size": 3}, FORM, b"abcd=1", 413),
        ({}, FORM, b"a=" + b"%41" * 2**20, 200),
        ({}, FORM, b"a=" + b"%41" * (2**20 + 1), 413),
        ({"max_form_field_size": None}, FORM, b"a=" + b"%41" * (2**20 + 1), 200),
    ],
)
async def test_limits(settings: Any, headers: list[tuple[str, str]], body: Any, status: int) -> None:
    answer = await http(Bodies(**settings), "/raw", "POST", headers=headers, body=body)
    assert answer.status == status, answer.text


async def test_a_declared_length_that_is_too_large_is_refused_before_reading() -> None:
    async def receive() -> Any:
        raise AssertionError("nothing should be read")

    body = Body(receive, limits(body=10), b"11")
    with pytest.raises(Exception, match="413"):
        await body.read()


async def test_a_body_that_the_client_cuts_short_never_reaches_a_handler() -> None:
    class Never(App):
        async def index(self, name: str = "") -> str:
            raise AssertionError("the handler must not run")

        async def raw(self) -> str:
            await self.request.body()
            raise AssertionError("the handler must not get a part")

    for path, headers, piece in (("/", JSON, b'{"name": 1}'), ("/", FORM, b"name=1"), ("/raw", [], b"x")):
        messages: list[Any] = [
            {"type": "http.request", "body": piece, "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive(messages: list[Any] = messages) -> Any:
            return messages.pop(0)

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        fields = [(name.lower().encode(), value.encode()) for name, value in headers]
        await Never()({"type": "http", "method": "POST", "path": path, "headers": fields}, receive, send)
        assert sent[0]["status"] == 400


def limits(*, gap: float | None = 5.0, body: int | None = None) -> Limits:
    return Limits(gap=gap, body=body, json=None, field=None, parts=None)


class SlowClient:
    """Sends a piece whenever the clock of the loop has moved on; no test waits for it in real time."""

    def __init__(self, loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.sent = 0
        monkeypatch.setattr(loop, "time", lambda: self.now)

    def receive(self, wait: float, piece: bytes, count: int) -> Any:
        async def receive() -> Any:
            await asyncio.sleep(0)  # what is there at once takes no time
            self.now += wait
            self.sent += 1
            for _ in range(3):  # so many turns of the loop until a deadline that has passed is noticed
                await asyncio.sleep(0)
            return {"type": "http.request", "body": piece, "more_body": self.sent < count}

        return receive


@pytest.mark.parametrize(
    ("wait", "piece", "count", "gap", "outcome"),
    [
        (4.9, b"x" * 16 * 1024, 10, 5.0, "whole"),
        (5.1, b"x" * 16 * 1024, 10, 5.0, "408"),
        (4.9, b"x", 12, 5.0, "whole"),  # 58.8 s
        (4.9, b"x", 13, 5.0, "408"),  # a drip: 63.7 s
        (4.9, b"x" * 16 * 1024, 100, 5.0, "408"),  # 490 s for 160 s worth of bytes
        (4.9, b"x" * 16 * 1024 * 5, 100, 5.0, "whole"),
        (4.9, b"x" * 16 * 1024 * 4, 60, 5.0, "whole"),  # 294 s for 300 s worth of bytes
        (4.9, b"x" * 16 * 1024 * 4, 70, 5.0, "408"),  # 343 s for 340 s worth of bytes
        (1000.0, b"x", 3, None, "whole"),
    ],
)
async def test_a_slow_body(
    monkeypatch: pytest.MonkeyPatch, wait: float, piece: bytes, count: int, gap: float | None, outcome: str
) -> None:
    client = SlowClient(asyncio.get_running_loop(), monkeypatch)
    body = Body(client.receive(wait, piece, count), limits(gap=gap), None)
    if outcome == "whole":
        assert await body.read() == piece * count
    else:
        with pytest.raises(Exception, match=outcome):
            await body.read()


async def test_hooks_see_the_headers_before_the_body_and_the_form_before_the_handler() -> None:
    seen: list[Any] = []

    class Hook(HttpMiddleware):
        async def on_headers(self, request: Any) -> Any:
            seen.append(dict(request.body_params))
            return {"status_code": 411} if "x-refuse" in request.headers else None

        async def before_request(self, request: Any) -> None:
            seen.append(dict(request.body_params))

        async def after_request(self, *args: Any) -> None:
            seen.append("after")

    app = Bodies()
    app.middlewares.append(Hook())
    assert (await http(app, "/take", "POST", headers=FORM, body=b"name=a")).status == 200
    assert seen == [{}, {"name": ["a"]}, "after"]
    seen.clear()
    refused = await http(app, "/take", "POST", headers=[*FORM, ("X-Refuse", "1")], body=b"name=a")
    assert (refused.status, seen) == (411, [{}])


async def test_a_stream_can_follow_a_body() -> None:
    class Streams(App):
        async def late(self) -> Any:
            yield (await self.request.body()).decode()
            yield "end"

    answer = await http(Streams(), "/late", "POST", body=[b"a", b"b"])
    assert answer.chunks == [b"ab", b"end"]


async def test_a_chosen_app_gets_the_body_again_and_shares_the_session() -> None:
    class Child(App):
        async def take(self, name: str) -> str:
            self.request.session["child"] = name
            return json.dumps([name, self.request.session["parent"]])

        async def out(self) -> str:
            self.request.session = {}
            return "out"

    class Parent(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.session["parent"] = "p"
            request._subapp, request._subapp_path, request._subapp_mount_path = child, "take", "/sub"

        async def after_request(self, request: Any, status_code: int, *rest: Any) -> None:
            shared.append(dict(request.session))

    child, app, shared = Child(), App(), []
    app.middlewares.append(Parent())
    answer = await http(app, "/anything", "POST", headers=FORM, body=b"name=x")
    assert answer.json == ["x", "p"]
    assert shared == [{"parent": "p", "child": "x"}]
    assert len(answer.cookies) == 1


@pytest.mark.parametrize("headers", [FORM, JSON])
async def test_the_body_is_there_after_a_chosen_app_has_read_it(headers: list[tuple[str, str]]) -> None:
    class Child(App):
        async def take(self) -> bytes:
            return await self.request.body()

    class Parent(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request._subapp, request._subapp_path = Child(), "take"

        async def after_request(self, request: Any, *rest: Any) -> None:
            seen.append(await request.body())

    app, seen = App(), []
    app.middlewares.append(Parent())
    assert (await http(app, "/", "POST", headers=headers, body=b"1")).body == b"1"
    assert seen == [b"1"]


@pytest.mark.parametrize(
    ("sent", "said", "status"), [("POST", "GET", 200), ("POST", "DELETE", 200), ("GET", "POST", 400)]
)
async def test_a_hook_that_sets_the_method_leaves_the_body(sent: str, said: str, status: int) -> None:
    class Override(HttpMiddleware):
        async def on_headers(self, request: Any) -> None:
            request.method = said
            assert request.body_params == {}

    app = Bodies()
    app.middlewares.append(Override())
    assert (await http(app, "/take", sent, headers=FORM, body=b"name=a")).status == status


@pytest.mark.parametrize("headers", [FORM, JSON, []])
@pytest.mark.parametrize("message", [dict, MappingProxyType])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_server_may_have_kinds_of_its_own(
    headers: list[tuple[str, str]], message: Any, kind: Any
) -> None:
    async def receive() -> Any:
        return message({"type": "http.request", "body": kind(pieces.pop(0)), "more_body": bool(pieces)})

    async def send(message: Any) -> None:
        sent.append(message)

    pieces, sent = [b"1", b"2"], []
    fields = [(name.lower().encode(), value.encode()) for name, value in headers]
    await Bodies()({"type": "http", "method": "POST", "path": "/raw", "headers": fields}, receive, send)
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"12")


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ({"name": "a", "value": "1"}, "a=1; Path=/; HttpOnly; Secure; SameSite=Lax"),
        (
            {
                "name": "a",
                "value": "1",
                "max_age": 60,
                "path": "/x",
                "domain": "example.com",
                "httponly": False,
            },
            "a=1; Path=/x; Max-Age=60; Domain=example.com; Secure; SameSite=Lax",
        ),
        (
            {"name": "a", "value": "1", "secure": False, "samesite": "strict"},
            "a=1; Path=/; HttpOnly; SameSite=Strict",
        ),
    ],
)
async def test_cookies_are_set_with_the_answer(cookie: Any, expected: str) -> None:
    class Cookies(App):
        async def index(self) -> str:
            self.request.set_cookie(**cookie)
            self.request.delete_cookie("old")
            return "ok"

    answer = await http(Cookies())
    assert answer.cookies == [expected, "old=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"]


@pytest.mark.parametrize(
    "bad", [{"name": "a b", "value": ""}, {"name": "a", "value": "x;y"}, {"name": "a", "value": "\n"}]
)
async def test_a_cookie_that_cannot_be_is_an_error(bad: Any) -> None:
    class Cookies(App):
        async def index(self) -> str:
            with pytest.raises(ValueError, match="cookie"):
                self.request.set_cookie(**bad)
            return "ok"

    assert (await http(Cookies())).status == 200


async def test_a_cookie_that_comes_after_the_answer_has_begun_is_an_error() -> None:
    class Late(App):
        async def index(self) -> AsyncIterator[str]:
            self.request.set_cookie("early", "1")
            yield "begun"
            with pytest.raises(RuntimeError, match="it is too late for a cookie: the answer has begun"):
                self.request.set_cookie("late", "1")
            yield ", done"

    answer = await http(Late())
    assert (answer.text, [cookie.partition("=")[0] for cookie in answer.cookies]) == (
        "begun, done",
        ["early"],
    )


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_the_body_can_be_asked_for_at_once_and_again(size: int) -> None:
    class Twice(App):
        async def index(self) -> str:
            one, other = await asyncio.gather(self.request.body(), self.request.body())
            assert one == other == await self.request.body()
            return str(len(one))

    assert (await http(Twice(), "/", "POST", body=[b"x" * size, b"y"])).text == str(size + 1)


async def test_a_body_that_somebody_gave_up_waiting_for_is_kept_for_the_next() -> None:
    class Impatient(App):
        async def index(self) -> bytes:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await self.request.body()
            go_on.set()
            return await self.request.body()

    go_on = asyncio.Event()
    pieces = [b"first ", b"second"]
    sent: list[Any] = []

    async def receive() -> Any:
        if len(pieces) == 1:
            await go_on.wait()
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    await Impatient()({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, send)
    assert sent[1]["body"] == b"first second"


async def test_a_body_that_is_too_large_stays_too_large() -> None:
    class Stubborn(App):
        async def index(self) -> bytes:
            with pytest.raises(HTTPError):
                await self.request.body()
            return await self.request.body()

    assert (await http(Stubborn(max_body_size=3), "/", "POST", body=[b"12", b"34"])).status == 413


@pytest.mark.parametrize(
    "text",
    [b"%41" * 100_000, b"a" + b"%41" * 100_000, b"aa" + b"%C3%A4" * 50_000, b"+" * 200_000, b"%" * 200_000],
)
async def test_a_long_field_is_decoded_in_slices_that_cut_no_character(text: bytes) -> None:
    answer = await http(Bodies(), "/take", "POST", headers=FORM, body=b"name=" + text)
    assert answer.json["name"] == parse_qs("x=" + text.decode())["x"][0]


@pytest.mark.parametrize("first_gives_up", [False, True])
async def test_two_readers_of_a_body_that_is_still_coming(first_gives_up: bool) -> None:
    pieces: asyncio.Queue[Any] = asyncio.Queue()
    body = Body(pieces.get, limits(), None)
    one, other = (asyncio.create_task(body.read()) for _ in range(2))
    for more in (True, True, False):
        await asyncio.sleep(0)
        pieces.put_nowait({"type": "http.request", "body": b"x", "more_body": more})
        if first_gives_up:
            one.cancel()
    assert await other == await body.read() == b"xxx"
    assert one.cancelled() if first_gives_up else await one == b"xxx"


MULTIPART = [("Content-Type", "multipart/form-data; boundary=limit")]
PART = b'--limit\r\nContent-Disposition: form-data; name="name"\r\n\r\nAlice\r\n--limit--\r\n'
UNLUCKY: dict[str, tuple[int, list[tuple[str, str]], Any]] = {
    "bad JSON": (400, JSON, b"{"),
    "JSON that is not UTF-8": (400, JSON, b'"\xff"'),
    "JSON that is too large": (413, JSON, b"1".ljust(2**20 + 1)),
    "too many fields": (413, FORM, b"&".join([b"a=1"] * 1001)),
    "no multipart": (400, MULTIPART, b"no multipart"),
    "no boundary": (400, [("Content-Type", "multipart/form-data")], PART),
    "a Content-Length that is none": (400, [*FORM, ("Content-Length", "x")], b"a=1"),
    "a Content-Length that is too large": (413, [*JSON, ("Content-Length", str(2**40))], b"1"),
}


class Routes(App):
    @methods("GET")
    async def page(self) -> str:
        return "page"

    @methods("POST")
    async def item(self, number: int) -> str:
        return f"item {number}"

    async def chosen(self) -> str:
        return "chosen"


class Looking(HttpMiddleware):
    """A hook that could choose the handler, and does for /other."""

    async def before_request(self, request: Any) -> None:
        if request.path == "/other":
            request._route_handler = "chosen"
        if request.path == "/looks":
            request.form("name")

    async def after_request(self, request: Any, status_code: int, *rest: Any) -> None:
        request.scope["after"].append(status_code)


@pytest.mark.parametrize("unlucky", UNLUCKY)
@pytest.mark.parametrize("framing", ["whole", "pieces"])
@pytest.mark.parametrize(
    ("target", "early"),
    [
        ("/nothing", 404),
        ("/_private", 404),
        ("/page", 405),
        ("/item/x", 404),
        ("/item/1/2", 404),
        ("/item/1", 0),
    ],
)
async def test_route_before_body(unlucky: str, framing: str, target: str, early: int) -> None:
    """Whether somebody takes a body is told before what is wrong with it, with hooks and without."""
    wrong, headers, body = UNLUCKY[unlucky]
    pieces = body if framing == "whole" else [body[:1], body[1:5], body[5:]]
    after: list[int] = []
    app, hooked = Routes(), Routes()
    hooked.middlewares.append(Looking())
    for one in (app, hooked):
        answer = await http(one, target, "POST", headers=headers, body=pieces, after=after)
        assert answer.status == (early or wrong), answer.text
        assert ("allow" in answer.headers) is (early == 405)
    assert after == [early or wrong]  # hooks run, and see what is answered


@pytest.mark.parametrize("unlucky", UNLUCKY)
async def test_a_bad_body_is_whose_who_looks(unlucky: str) -> None:
    """A hook that looks at a bad body gets its error; a handler that a hook has chosen gets it, too."""
    wrong, headers, body = UNLUCKY[unlucky]
    # A form with files is not read before a handler is found.
    for target in ("/other",) if unlucky in ("no multipart", "no boundary") else ("/other", "/looks"):
        app = Routes()
        after: list[int] = []
        app.middlewares.append(Looking())
        answer = await http(app, target, "POST", headers=headers, body=body, after=after)
        assert answer.status == wrong
        assert after == ([] if target == "/looks" else [wrong])


async def test_a_hook_that_cannot_look_is_no_reason_to_read() -> None:
    """Without a before_request of its own a hook can change nothing: the body of a 404 is not read."""

    class After(HttpMiddleware):
        async def on_headers(self, request: Any) -> None: ...

        async def after_request(self, *args: Any) -> None: ...

    async def receive() -> Any:
        raise AssertionError("nobody should ask")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = Routes()
    app.middlewares.append(After())
    await app({"type": "http", "method": "POST", "path": "/no", "headers": []}, receive, send)
    assert sent[0]["status"] == 404


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("length", [[], [("Content-Length", "0")], [("Transfer-Encoding", "chunked")]])
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
        "a/b+json",
    ],
)
async def test_no_body_is_nothing_wrong(method: str, length: Any, kind: str) -> None:
    """A content type alone is no body: the handler runs."""

    class Items(App):
        async def item(self, number: int, note: str = "none") -> list[Any]:
            return [number, note, self.request.json(), self.request.body_params, self.request.files]

    headers = [("Content-Type", kind), *length]
    for body in (b"", [b"", b""]):
        answer = await http(Items(), "/item/5", method, headers=headers, body=body)
        assert answer.json == [5, "none", {}, {}, {}]


@pytest.mark.parametrize(
    ("body", "status", "value"),
    [
        (b'\xef\xbb\xbf{"name": "A"}', 200, "A"),
        ([b"\xef", b"\xbb\xbf", b'{"name": "A"}'], 200, "A"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"name": "A"}', 400, None),
        (b'{"name": "\xef\xbb\xbfA"}', 200, "\ufeffA"),
        (b"\xef\xbb\xbf", 400, None),  # nothing in it, so the name is missing
        ('{"name": "A"}'.encode("utf-16"), 400, None),
    ],
)
async def test_a_bom_before_json(body: Any, status: int, value: Any) -> None:
    """One byte order mark before JSON is skipped."""
    answer = await http(Bodies(), "/take", "POST", headers=JSON, body=body)
    assert answer.status == status
    assert value is None or answer.json["name"] == value


@pytest.mark.parametrize(("size", "count"), [(1, 2**17), (3, 2**15), (2**16, 64)])
async def test_tiny_pieces_take_little_memory(size: int, count: int) -> None:
    """A body takes little more memory than its size, however small its pieces are."""
    left = count

    async def receive() -> Any:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytes([left % 256]) * size, "more_body": left > 0}

    body = Body(receive, limits(), None)
    tracemalloc.start()
    try:
        assert len(await body.read()) == size * count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * size * count + 200_000


# --- what cannot be decoded -------------------------------------------------------------------------------

RUSSIAN = "application/x-www-form-urlencoded; charset=windows-1251"


@pytest.mark.parametrize(
    ("target", "kind", "body", "found"),
    [
        ("/take?name=%FF", None, b"", 400),
        ("/take?name=\xff", None, b"", 400),
        ("/take?name=%C3%A4", None, b"", "ä"),
        ("/take?name=%EF%BF%BD", None, b"", "\ufffd"),
        ("/take?name=a&other=%FF", None, b"", 400),
        ("/take?name=a&%FF=b", None, b"", 400),
        ("/take", FORM[0][1], b"name=%FF", 400),
        ("/take", FORM[0][1], b"name=\xff", 400),
        ("/take", FORM[0][1], b"name=" + b"%41" * 5000 + b"%FF", 400),
        ("/take", FORM[0][1], b"name=a&%ED%A0%80=b", 400),
        ("/take", FORM[0][1], b"name=%EF%BF%BD", "\ufffd"),
        ("/take", FORM[0][1] + "; charset=UTF-8", b"name=%C3%A4", "ä"),
        ("/take", FORM[0][1] + '; Charset="iso-8859-1"', b"name=%E4", "ä"),
        ("/take", RUSSIAN, b"name=%E4\xe0", "да"),
        ("/take", RUSSIAN, b"name=%98", 400),
        ("/take", FORM[0][1] + "; charset=klingon", b"name=a", 400),
        ("/take", FORM[0][1] + "; charset=idna", b"name=a", 400),
        ("/take", FORM[0][1] + "; charset=utf-7", b"name=a", 400),
        ("/take", FORM[0][1], b"_charset_=windows-1251&name=%E4%E0", "да"),
        ("/take", FORM[0][1], b"name=%E4%E0&_charset_=windows-1251", "да"),
        ("/take", FORM[0][1], b"name=%C3%A4&_charset_=", "ä"),
        ("/take", FORM[0][1], b"name=%E4&my_charset_=latin-1", 400),
        ("/take", "application/json", b'{"name": "\xe4"}', 400),
    ],
)
async def test_text_that_is_none(target: str, kind: str | None, body: bytes, found: Any) -> None:
    """Text is decoded in its charset, or refused: U+FFFD never stands for what somebody did not send."""
    headers = [] if kind is None else [("Content-Type", kind)]
    path, _, query = target.partition("?")
    answer = await http(
        Bodies(), path, "POST", headers=headers, body=body, query_string=query.encode("latin-1")
    )
    assert (answer.json["name"] if answer.status == 200 else answer.status) == found, answer.text


@pytest.mark.parametrize(
    ("path", "raw", "status"),
    [
        ("/take/\ufffd", b"/take/%FF", 400),
        ("/take/\ufffd", None, 400),
        ("/take/a\ufffd\ufffd\ufffd", b"/take/a%ED%A0%80", 400),
        ("/take/\ufffd", b"/take/%EF%BF%BD", 200),
        ("/take/ä", b"/take/%C3%A4", 200),
        ("/take/ä", "/take/ä".encode(), 200),
        ("/\ufffd", b"/%FF", 400),
    ],
)
async def test_a_path_that_is_no_text(path: str, raw: bytes | None, status: int) -> None:
    """Servers decode the path, and put U+FFFD where they cannot: nobody has asked for that."""
    answer = await http(Bodies(), path, raw_path=raw)
    assert answer.status == status
    assert status == 400 or answer.json["name"] == path[len("/take/") :]


def test_every_charset_is_known_to_python() -> None:
    """And each of them is one for text."""
    assert all("a".encode(name).decode(name) == "a" for name in CHARSETS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("charset", {}),
        ("boundary=q83+aw==", {"boundary": "q83+aw=="}),
        ('boundary="q83 + aw" ; X=1', {"boundary": "q83 + aw", "x": "1"}),
        ('a="\\"\\\\;" ;b= c ', {"a": '"\\;', "b": "c"}),
        ('a="no end;b=2', {"a": '"no end', "b": "2"}),
        ("a=1;a=2;;junk;b=3", {"a": "1", "b": "3"}),
        ('a="1"junk; b=2', {"a": "1", "b": "2"}),
    ],
)
def test_parameters_of_a_field(text: str, found: dict[str, str]) -> None:
    """As RFC 9110 has them, and as clients send them."""
    assert parse_parameters(text) == found


# --- the pieces of a body ---------------------------------------------------------------------------------


class Pieces(App):
    async def pieces(self) -> list[Any]:
        found = [piece.decode() async for piece in self.request.stream()]
        try:
            return [
                found,
                [piece.decode() async for piece in self.request.stream()],
                (await self.request.body()).decode(),
            ]
        except RuntimeError as error:
            return [found, str(error).partition(",")[0]]

    async def some(self) -> Any:
        async for piece in self.request.stream():
            return piece

    async def late(self) -> AsyncIterator[bytes]:
        async for piece in self.request.stream():
            yield piece


@pytest.mark.parametrize(
    ("headers", "method", "body", "answer"),
    [
        ([], "POST", [b"one", b"", b"two"], [["one", "two"], "the body has been read already"]),
        ([], "PUT", b"", [[], "the body has been read already"]),
        ([], "GET", b"", [[], [], ""]),
        (FORM, "POST", [b"na", b"me=a"], [["name=a"], ["name=a"], "name=a"]),
        (JSON, "POST", [b"[1", b"]"], [["[1]"], ["[1]"], "[1]"]),
        (JSON, "POST", b"[1]", [["[1]"], ["[1]"], "[1]"]),
    ],
)
async def test_the_body_in_pieces(headers: Any, method: str, body: Any, answer: Any) -> None:
    """stream() gives the pieces as they come in, once; what was read before a handler ran it gives again."""
    assert (await http(Pieces(), "/pieces", method, headers=headers, body=body)).json == answer


async def test_a_stream_is_not_read_ahead() -> None:
    """One piece is received at a time, and none that nobody asks for."""
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Pieces()({"type": "http", "method": "POST", "path": "/some", "headers": []}, receive, send)
    assert (asked, sent[1]["body"]) == (1, b"x")


@pytest.mark.parametrize(
    ("settings", "headers", "body", "status"),
    [
        ({"max_body_size": 3}, [], [b"12", b"34"], 413),
        ({"max_body_size": 3}, [("Content-Length", "4")], [b"1234"], 413),
        ({}, MULTIPART, PART, 500),
    ],
)
async def test_what_ends_a_stream(settings: Any, headers: Any, body: Any, status: int) -> None:
    """The limits hold for pieces too, and a form with files is taken by its form."""
    answer = await http(Pieces(**settings), "/pieces", "POST", headers=headers, body=body)
    assert answer.status == status, answer.text


async def test_a_stream_into_a_stream() -> None:
    """A handler that streams can send back what comes in."""
    answer = await http(Pieces(), "/late", "POST", body=[b"a", b"b"])
    assert answer.body == b"ab"


async def test_a_long_media_type_is_not_kept() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            kind = f"text/plain; {number:0100000}"
            await http(Bodies(), "/raw", "POST", headers=[("Content-Type", kind)], body=b"")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000
