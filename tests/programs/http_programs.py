"""HTTP handlers as random programs, against random requests, clients and servers."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from micropie import App, FromSession, HttpMiddleware, methods
from tests.driver import HttpJudge

from .source import Source
from .trial import (
    COOKIE_CALLS,
    COOKIES,
    ERROR_PAGES,
    ERRORS,
    NEW,
    SESSION_STEPS,
    Hooks,
    Player,
    Script,
    Setting,
    Step,
    Trial,
    put_backend,
    setting,
)
from .virtual import VirtualLoop


class Exchange(NamedTuple):
    """A request, and a handler that answers it.

    Attributes:
        steps: What the handler does.
        method: The request's method.
        segments: The path's segments, percent-encoded.
        raw_path: Whether the server's ``raw_path`` agrees with ``path``; a name in RAW_PATHS.
        root: The server's root path.
        query: The query string.
        headers: Names in HEADERS.
        content: The media type; a name in CONTENTS.
        body: A name in BODIES.
        length: What ``Content-Length`` says; a name in LENGTHS.
        cuts: Where the body is cut into pieces, in thousandths of it, each with a delay in milliseconds.
        leave: The piece instead of which the client goes; -1 for after all of them.
        patience: Milliseconds that the client stays after its last piece.
        setting: What HTTP and WebSocket programs share.
    """

    steps: tuple[Step, ...] = ()
    method: str = "GET"
    segments: tuple[str, ...] = ()
    raw_path: str = "agrees"
    root: str = ""
    query: bytes = b""
    headers: tuple[str, ...] = ()
    content: str = "none"
    body: str = "none"
    length: str = "right"
    cuts: tuple[tuple[int, int], ...] = ()
    leave: int = -1
    patience: int = 1
    setting: Setting = Setting()


Program = Exchange

# --- the tables: requests -------------------------------------------------------------------------------

METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW")
HANDLERS = ("take", "typed", "form", "upload", "who", "posted", "sync", "anything")
SEGMENTS = (
    "a",
    "7",
    "",
    "..",
    ".",
    "%2F",
    "a%2Fb",
    "%20",
    "%C3%A9",
    "%FF",
    "%",
    "%zz",
    "%00",
    "index",
    "_x",
    "ws_x",
)
ROOTS = ("", "/prefix", "/prefix/", "/other", "/take")
QUERIES = (
    b"",
    b"a=1",
    b"a=1&a=2",
    b"q=",
    b"user=eve",
    b"number=x",
    b"b=1&b=x",
    b"%",
    b"=&&=",
    b"a=%FF",
    b"\xff=1",
    b"file=1&a",
    b"&".join(b"q=1" for _ in range(1001)),
)
RAW_PATHS: dict[str, Callable[[bytes], Any]] = {
    "agrees": lambda raw: raw,
    "None": lambda raw: None,
    "other": lambda raw: b"/other",
    "not ASCII": lambda raw: raw + b"\xff",
    "empty": lambda raw: b"",
}
HEADERS: dict[str, tuple[bytes, bytes]] = {
    "latin": (b"x-name", "J\u00fcrgen".encode("latin-1")),
    "not UTF-8": (b"x-name", b"\xff\xfe\x80"),
    "second host": (b"host", b"other.example"),
    "forwarded": (b"x-forwarded-proto", b"https"),
    "odd cookie": (b"cookie", b'=;;a="b\\"; c'),
    "cookie again": (b"cookie", b"a=1; a=2"),
    "chunked": (b"transfer-encoding", b"chunked"),
    "empty": (b"x-empty", b""),
    "second length": (b"content-length", b"7"),
    "second type": (b"content-type", b"application/json"),
}

LIMITS = {
    "max_body_size": 900,
    "max_json_size": 300,
    "max_form_field_size": 60,
    "max_form_parts": 5,
    "body_timeout": 1.0,
}
EDGE = "frontier"


def _part(head: str, content: bytes) -> bytes:
    return f"--{EDGE}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


_END = f"--{EDGE}--\r\n".encode()
_FIELD = _part('name="a"', b"1") + _part('name="b"', b"2")
_FILE = _part('name="file"; filename="f.txt"', bytes(range(256)))

BODIES: dict[str, bytes] = {
    "none": b"",
    "JSON": b'{"a": 1, "b": [2, 3], "file": null}',
    "JSON list": b"[1, 2]",
    "bad JSON": b'{"a": ',
    "JSON with NaN": b'{"a": NaN}',
    "deep JSON": b"[" * 290,
    "large JSON": b'"' + b"a" * 400 + b'"',
    "surrogate": b'{"a": "\\ud800"}',
    "fields": b"a=1&b=2&b=3&q=%C3%A9+x",
    "odd fields": b"%zz=%&&=&a=%FF&b",
    "many fields": b"a=1&" * 9,
    "large field": b"a=" + b"%41" * 90,
    "form": _FIELD + _END,
    "file": _FIELD + _FILE + _END,
    "file first": _FILE + _FIELD + _END,
    "two files": _FILE + _FILE + _part('name="a"', b"1") + _END,
    "file without name": _part('name="file"; filename=""', b"") + _END,
    "part without name": _part("", b"1") + _END,
    "large part": _part('name="a"', b"x" * 90) + _END,
    "many parts": _FIELD * 4 + _END,
    "no end": _FIELD + _FILE,
    "no form": b"\r\n--frontie\r\n\x00\xff--",
    "too large": bytes(1000),
}
CONTENTS: dict[str, bytes | None] = {
    "none": None,
    "JSON": b"application/json",
    "JSON with charset": b"Application/JSON; charset=latin-1",
    "other JSON": b"application/problem+json",
    "fields": b"application/x-www-form-urlencoded",
    "form": f"multipart/form-data; boundary={EDGE}".encode(),
    "quoted": f'Multipart/Form-Data; charset=utf-8; boundary="{EDGE}"'.encode(),
    "no boundary": b"multipart/form-data",
    "bad boundary": b"multipart/form-data; boundary=\xff\x00",
    "long boundary": b"multipart/form-data; boundary=" + b"x" * 300,
    "text": b"text/plain",
    "odd": b";=;/\xff",
}
#: The media types that go with a body.
FITTING = {
    "JSON": ("JSON", "other JSON"),
    "field": ("fields",),
    "form": ("form",),
    "file": ("form", "quoted"),
    "part": ("form",),
}
LENGTHS: dict[str, Callable[[int], bytes | None]] = {
    "right": lambda size: b"%d" % size,
    "missing": lambda size: None,
    "too small": lambda size: b"%d" % (size // 2),
    "too large": lambda size: b"%d" % (size + 9),
    "huge": lambda size: b"9" * 19,
    "endless": lambda size: b"9" * 5000,
    "negative": lambda size: b"-1",
    "text": lambda size: b"ten",
    "superscript": lambda size: "\u00b2".encode("latin-1"),
    "empty": lambda size: b"",
}

# --- the tables: answers --------------------------------------------------------------------------------

RESULTS: dict[str, Callable[[], Any]] = {
    "text": lambda: "hello",
    "bytes": lambda: b"\x00\xff",
    "dict": lambda: {"a": [1, None]},
    "list": list,
    "None": lambda: None,
    "number": lambda: 4.5,
    "status": lambda: (201, "made"),
    "headers": lambda: (200, "x", [("X-A", "1"), ("X-A", "2"), ("Content-Type", "text/css")]),
    "mapping": lambda: (200, "x", {"X-A": "1"}),
    "no headers": lambda: (200, "x", None),
    "empty": lambda: (200, ""),
    "no content": lambda: (204, "but", [("Content-Length", "3")]),
    "not modified": lambda: (304, "but"),
    "wrong length": lambda: (200, "hello", [("Content-Length", "999")]),
    "cookie": lambda: (200, "x", [("Set-Cookie", "a=1")]),
    "bytearray": lambda: bytearray(b"ab"),
    "memoryview": lambda: memoryview(b"abcdef")[::2],
    "date": lambda: {"at": dt.date(2026, 1, 2)},
    "iterator": lambda: iter(["a", b"b", ""]),
    "iterator of numbers": lambda: iter([1]),
    "object": object,
    "set": lambda: {1},
    "range": lambda: range(3),
    "nan": lambda: [float("nan")],
    "surrogate": lambda: "\ud800",
    "surrogate inside": lambda: {"a": "\ud800"},
    "tuple of one": lambda: (200,),
    "tuple of four": lambda: (200, "", [], None),
    "informational": lambda: (101, ""),
    "too large": lambda: (600, ""),
    "status as text": lambda: ("200", ""),
    "bad value": lambda: (200, "", [("X-A", "a\r\nX-Evil: 1")]),
    "bad name": lambda: (200, "", [("X A", "")]),
    "snowman": lambda: (200, "", [("X-A", "\u2603")]),
    "no text": lambda: (200, "", [("X-A", 7)]),
    "bytes as headers": lambda: (200, "", [(b"x-a", b"1")]),
    "no pairs": lambda: (200, "", ["X-A"]),
    "class": lambda: dict,
    "coroutine function": lambda: asyncio.sleep,
}

REDIRECTS: dict[str, tuple[Any, ...]] = {
    "path": ("/next",),
    "host": ("https://example.com/?q=\u00e9#x",),
    "evil": ("/a\r\nX-Evil: 1",),
    "surrogate": ("/\ud800",),
    "no redirect": ("/next", None, 200),
    "headers": ("/next", {"X-A": "1"}, 303),
    "number": (7,),
}

#: What a generator may have around its yields.
AROUND: dict[str, Callable[[], Any]] = {
    "group": asyncio.TaskGroup,
    "timeout": lambda: asyncio.timeout(1000),
    "short timeout": lambda: asyncio.timeout(0.002),
}
#: How many pieces come in a row without waiting for anything.
MANY = 100

#: Set by each generator, and reset where it ends.
inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside a stream", default=False)

CHUNKS: dict[str, Any] = {
    "text": "hello",
    "bytes": b"\x00\xff",
    "empty": "",
    "memoryview": memoryview(b"abcdef")[::2],
    "snowman": "\u2603",
    "None": None,
    "number": 7,
    "surrogate": "\ud800",
    "list": ["a"],
}
BAD_CHUNKS = ("None", "number", "surrogate", "list")

LOOKS: dict[str, Callable[[Any], object]] = {
    "headers": lambda request: request.headers["host"],
    "cookies": lambda request: request.cookies,
    "query": lambda request: request.query("a", "default"),
    "form": lambda request: request.form("a"),
    "json": lambda request: request.json("a"),
    "whole json": lambda request: request.json()["a"],
    "files": lambda request: request.files["file"]["filename"],
    "params": lambda request: request.path_params[0],
    "app": lambda request: request.x_app.request is request or 1 / 0,
}

HOOK_STEPS = (
    "nothing",
    "slow",
    "session",
    "status",
    "body",
    "JSON",
    "headers",
    "wrapped",
    "stream",
    "bad status",
    "bad body",
    "bad headers",
    "rubbish",
    *ERRORS,
)
HOOK_ANSWERS: dict[str, Any] = {
    "status": {"status_code": 418},
    "body": {"body": "replaced"},
    "JSON": {"body": {"a": 1}, "headers": {"X-A": "1"}},
    "headers": {"headers": [("X-Hook", "1")]},
    "bad status": {"status_code": "200"},
    "bad body": {"body": object()},
    "bad headers": {"headers": [("X A", "\n")]},
    "rubbish": 7,
}


# --- the generator --------------------------------------------------------------------------------------


def generate(source: Source) -> Exchange:
    """A random request and its handler."""
    handler = source.choose(("", *HANDLERS))
    others = source.several(lambda: source.choose(SEGMENTS), 3, percent=40)
    body = source.choose(tuple(BODIES)) if source.chance(60) else "none"
    method = source.choose(METHODS) if source.chance(40) else "POST" if body != "none" else "GET"
    kind = SYNC_VERBS if handler == "sync" else VERBS
    return Exchange(
        steps=_steps(source, kind, 5)
        + source.several(lambda: _step(source, source.choose(ENDS), kind, ()), 1),
        method=method,
        segments=(handler, *others) if handler or not others else others,
        raw_path=source.choose(tuple(RAW_PATHS)) if source.chance(15) else "agrees",
        root=source.choose(ROOTS) if source.chance(15) else "",
        query=source.choose(QUERIES) if source.chance(30) else b"",
        headers=source.several(lambda: source.choose(tuple(HEADERS)), 3, percent=25),
        content=_content(source, body),
        body=body,
        length=source.choose(tuple(LENGTHS)) if source.chance(20) else "right",
        cuts=source.several(lambda: (source.integer(0, 1000), _delay(source)), 5, percent=60),
        leave=source.integer(0, 5) if source.chance(15) else -1,
        patience=source.integer(0, 6),
        setting=setting(source, ("OSError", "ConnectionResetError"), HOOK_STEPS),
    )


def _content(source: Source, body: str) -> str:
    fitting = [content for word, contents in FITTING.items() if word in body for content in contents]
    if fitting and source.chance(85):
        return source.choose(fitting)
    return source.choose(tuple(CONTENTS)) if source.chance(30) else "none"


def _delay(source: Source) -> int:
    if source.chance(2):
        return 3000  # far too slow
    return source.integer(0, 4) if source.chance(30) else 0


def _steps(source: Source, verbs: tuple[str, ...], most: int, *around: str) -> tuple[Step, ...]:
    if len(around) > 1:
        verbs = tuple(verb for verb in verbs if verb not in NESTING)
    return source.several(lambda: _step(source, source.choose(verbs), verbs, around), most, percent=60)


def _step(source: Source, verb: str, verbs: tuple[str, ...], around: tuple[str, ...]) -> Step:
    argument = ARGUMENTS[verb](source) if verb in ARGUMENTS else None
    if verb == "stream":
        parts = _stream_parts(source, argument)
    else:
        parts = tuple(_steps(source, verbs, 3, *around, verb) for _ in range(NESTING.get(verb, 0)))
    swallow: Literal["", "Exception", "BaseException"] = ""
    if source.chance(30):
        swallow = "Exception" if source.chance(95) else "BaseException"
    return Step(verb, argument, swallow, parts)


def _stream_parts(source: Source, kind: str) -> tuple[tuple[Step, ...], ...]:
    """What a generator does, and what its ``finally`` does."""
    waiting = ("pause", "stubborn", "around", "session", "save")
    inside = ("raise", "many", *(waiting if kind == "async" else ("session",)))

    def step() -> Step:
        verb = source.choose(("yield", "yield", "yield", "yield", *inside))
        if verb == "yield":
            return Step("yield", source.choose(tuple(CHUNKS)) if source.chance(20) else "text")
        return Step(verb, ARGUMENTS[verb](source) if verb in ARGUMENTS else None)

    cleanup = source.several(
        lambda: Step("pause", 2) if kind == "async" else Step("raise", "KeyError"), 1, 30
    )
    return source.several(step, 6), cleanup


def _table(table: Any) -> Callable[[Source], Any]:
    options = tuple(table)
    return lambda source: source.choose(options)


SYNC_VERBS = (
    "look",
    "look",
    "raise",
    "return",
    "return",
    "stream",
    "redirect",
    "session",
    "session",
    "regenerate",
    "cookie",
)
VERBS = (*("pause", "body", "body", "file", "file", *SYNC_VERBS, "save", "timeout", "finally", "group"),)
#: What most handlers do last.
ENDS = ("return", "return", "stream", "stream", "redirect")
NESTING = {"timeout": 1, "finally": 2, "group": 2}
ARGUMENTS: dict[str, Callable[[Source], Any]] = {
    "pause": lambda source: source.integer(-3, 4),
    "stubborn": lambda source: source.integer(0, 4),
    "around": _table(AROUND),
    "look": _table(LOOKS),
    "file": lambda source: source.choose((1, 2, 99)),
    "raise": _table(ERRORS),
    "return": _table(RESULTS),
    "stream": _table(("async", "sync")),
    "redirect": _table(REDIRECTS),
    "session": _table(SESSION_STEPS),
    "cookie": _table(COOKIE_CALLS),
    "timeout": lambda source: source.integer(0, 4),
}


# --- the interpreter ------------------------------------------------------------------------------------


class HttpPlayer(Player):
    """Plays a program as the handler of one request."""

    trial: HttpTrial
    result: Any = "the end"

    async def handle(self, steps: tuple[Step, ...]) -> Any:
        """Be an async handler."""
        self.trial.note("began")
        try:
            await self.play(steps)
        finally:
            self.trial.note("done")
        return self.result

    def handle_sync(self, steps: tuple[Step, ...]) -> Any:
        """Be a sync one, whose steps wait for nothing."""
        return _at_once(self.handle(steps))

    async def do_look(self, step: Step) -> None:
        LOOKS[step.argument](self.request)

    async def do_body(self, step: Step) -> None:
        body = await self.request.body()
        if body != self.trial.body and (body or self.trial.has_body):
            self.trial.problem(f"body() gave {body!r}, the client sent {self.trial.body!r}")

    async def do_file(self, step: Step) -> None:
        """Read some pieces of an uploaded file."""
        content = self.request.files["file"]["content"]
        pieces = []
        while len(pieces) < step.argument:
            piece = await content.get()
            if piece is None:
                if b"".join(pieces) not in (bytes(range(256)), b"") and not self._read_before:
                    self.trial.problem("a file came in wrong")
                return
            pieces.append(piece)
        self._read_before = True

    _read_before = False

    async def do_return(self, step: Step) -> bool:
        self.result = RESULTS[step.argument]()
        if step.argument == "iterator of numbers":
            self.trial.note("stream failed")
        return True

    async def do_redirect(self, step: Step) -> bool:
        self.result = self.request.x_app._redirect(*REDIRECTS[step.argument])
        return True

    async def do_stream(self, step: Step) -> bool:
        steps, cleanup = step.parts
        self.result = (
            self._stream(steps, cleanup) if step.argument == "async" else self._sync_stream(steps, cleanup)
        )
        return True

    async def _stream(self, steps: tuple[Step, ...], cleanup: tuple[Step, ...]) -> AsyncIterator[Any]:
        self.trial.note("stream began")
        token, task = inside.set(True), asyncio.current_task()
        try:
            async with AsyncExitStack() as stack:
                for step in steps:
                    if step.verb in ("yield", "many"):
                        for chunk in self._chunks(step):
                            yield chunk
                    elif step.verb == "around":
                        await stack.enter_async_context(AROUND[step.argument]())
                    else:
                        await self._stream_step(step)
        except TimeoutError:
            self.trial.note("stream failed")
            raise
        finally:
            self.trial.note("stream closed")
            self._check_place(token, task)
            await self.play(cleanup)

    def _chunks(self, step: Step) -> Iterator[Any]:
        if step.verb == "many":
            yield from ["x"] * MANY
        else:
            self.trial.chunk(step.argument)
            yield CHUNKS[step.argument]

    def _check_place(self, token: contextvars.Token[bool], task: object) -> None:
        if asyncio.current_task() is not task:
            self.trial.problem("a generator was closed by another task")
        try:
            inside.reset(token)
        except ValueError:
            self.trial.problem("a generator was closed in another context")

    async def do_stubborn(self, step: Step) -> None:
        """Wait, and swallow a cancellation, as Python 3.11's ``wait_for`` can do."""
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(step.argument / 1000)

    def _sync_stream(self, steps: tuple[Step, ...], cleanup: tuple[Step, ...]) -> Iterator[Any]:
        self.trial.note("stream began")
        try:
            for step in steps:
                if step.verb in ("yield", "many"):
                    yield from self._chunks(step)
                else:
                    _at_once(self._stream_step(step))
        finally:
            self.trial.note("stream closed")
            if cleanup:
                self.trial.note("stream failed")
                _at_once(self.play(cleanup))

    async def _stream_step(self, step: Step) -> None:
        try:
            await self.play((step,))
        except BaseException:
            self.trial.note("stream failed")
            raise


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a step of a sync handler waits")


class Site(App):
    """Plays the program of the trial that is on."""

    trial: HttpTrial
    program: Exchange

    async def index(self, *segments: str) -> Any:
        return await self._play()

    async def take(self, one: str, two: str = "2") -> Any:
        return await self._play()

    async def typed(self, number: int, at: dt.date | None = None) -> Any:
        return await self._play()

    async def form(self, a: str, b: list[int] = ()) -> Any:  # type: ignore[assignment]  # a default is given as it is
        return await self._play()

    async def upload(self, file: Any, a: Any = "") -> Any:
        return await self._play()

    async def who(self, user: FromSession[str]) -> Any:
        return await self._play()

    @methods("POST", "PUT")
    async def posted(self, **fields: Any) -> Any:
        return await self._play()

    async def anything(self, *segments: str, **fields: Any) -> Any:
        return await self._play()

    def sync(self, *segments: str) -> Any:
        return HttpPlayer(self.trial, self.request).handle_sync(self.program.steps)

    async def _play(self) -> Any:
        return await HttpPlayer(self.trial, self.request).handle(self.program.steps)

    async def _error_page(self, status: int, detail: str) -> Any:
        return ERROR_PAGES[self.trial.setting.error_page]()


class Middleware(HttpMiddleware):
    def __init__(self, *arguments: Any) -> None:
        self._hooks = Hooks(*arguments)

    async def on_headers(self, request: Any) -> Any:
        return await self._hooks.early(request)

    async def before_request(self, request: Any) -> Any:
        return await self._hooks.before(request)

    async def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        changes = await self._hooks.after(request)
        step = self._hooks.hook.after
        if step == "wrapped" and hasattr(response_body, "__aiter__"):
            return {"body": self._hooks.trial.wrapped(response_body)}
        return {"body": iter(["streamed ", b"instead"])} if step == "stream" else changes


class Chooser(HttpMiddleware):
    """Sends every request to another app."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def before_request(self, request: Any) -> None:
        request._subapp, request._subapp_mount_path, request._subapp_path = self._app, "/sub", request.path


# --- the run --------------------------------------------------------------------------------------------


class HttpTrial(Trial):
    judge: HttpJudge

    def __init__(self, program: Exchange, seen: Counter[str] | None = None) -> None:
        super().__init__(program.setting, HttpJudge(program.method), seen)
        self._program = program
        #: What the client sent, as far as it came.
        self.body = BODIES[program.body]
        #: Whether it says so; HTTP/1.1 takes a GET without any sign of a body to have none.
        self.has_body = program.method not in ("GET", "HEAD") or program.length not in ("missing", "empty")

    def chunk(self, name: str) -> None:
        if name in BAD_CHUNKS:
            self.note("stream failed")

    async def wrapped(self, body: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """What a hook puts around a stream."""
        self.note("stream began")
        try:
            async for chunk in body:
                yield chunk
        finally:
            self.note("stream closed")

    def check(self, app: Site) -> None:
        """Judge the whole."""
        self.check_hooks()
        self.check_app(app)
        self._check_answer()
        self._check_streams()
        self._check_saves()
        self.check_unlooked()

    def _check_answer(self) -> None:
        """Whole, unless the server or a stream failed."""
        broken = (
            self.cut
            or self.failing
            or any(map(self.noted, ("stream failed", "unstorable")))
            or (self.noted("backend failed") and self.noted("looked"))
        )
        if self.judge.state != "ended" and not broken:
            self.problem(f"the answer is left in the state {self.judge.state!r}")

    def _check_streams(self) -> None:
        if len(self.noted("stream began")) != len(self.noted("stream closed")):
            self.problem("a generator's finally has not run")

    def _check_saves(self) -> None:
        """Once before the answer starts, and for a stream that has begun once at its end."""
        if self.cut or self.noted("unstorable") or self.setting.place != "direct":
            return
        start = next(
            (at for at, note in enumerate(self.notes) if note == ("sent", "http.response.start")), None
        )
        if start is not None:
            # What cannot be sent becomes an error that saves nothing, and a handler may ask for a log-out.
            certain = self.noted("loaded") and not self.noted("asked to save") and self.judge.status < 400
            certain = certain and ("looked",) in self.notes[:start]
            self.check_saves(self.position("done", 0), start, int(bool(certain)), 1)
            self.check_saves(start, len(self.notes), 0, 1)


def _script(program: Exchange) -> Iterator[tuple[int, dict[str, Any]]]:
    """The client sends its body in pieces, and goes, perhaps too early."""
    pieces = _pieces(program)
    stay = len(pieces) if program.leave < 0 else program.leave
    for number, (piece, delay) in enumerate(pieces[:stay], 1):
        yield delay, {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
    yield program.patience, {"type": "http.disconnect"}


def _pieces(program: Exchange) -> list[tuple[bytes, int]]:
    body = BODIES[program.body]
    places = sorted((thousandth * len(body) // 1000, delay) for thousandth, delay in program.cuts)
    starts = [(0, 0), *places]
    ends = [place for place, _ in places] + [len(body)]
    return [(body[start:end], delay) for (start, delay), end in zip(starts, ends, strict=True)]


class Stage:
    """Apps and a loop for many programs, one after the other."""

    def __init__(self, loop: VirtualLoop, app: type[Site] = Site, seen: Counter[str] | None = None) -> None:
        self._loop = loop
        self._seen = seen
        self._site = app(session_id_factory=lambda: NEW, **LIMITS)
        self._outer = App(session_id_factory=lambda: NEW, **LIMITS)
        self._outer.mount("/sub", self._site)
        self._chooser = Chooser(self._site)

    def problems(self, program: Exchange) -> list[str]:
        """What is wrong with the run of a program."""
        trial = HttpTrial(program, self._seen)
        site, place = self._site, program.setting.place
        app: App = site if place == "direct" else self._outer
        site.trial, site.program = trial, program
        put_backend(trial, site, self._outer)
        app.debug = site.debug = program.setting.debug
        app.middlewares = [
            Middleware(trial, number, hook, HOOK_ANSWERS) for number, hook in enumerate(program.setting.hooks)
        ]
        if place == "chosen":
            app.middlewares.insert(0, self._chooser)
        if place != "direct":
            site.middlewares = []
        trial.run(self._loop, app, make_scope(program), Script(self._loop, trial, _script(program)).next)
        trial.check(site)
        return trial.problems


def make_scope(program: Exchange) -> dict[str, Any]:
    mounted = "/sub" if program.setting.place == "mounted" else ""
    raw = (program.root.rstrip("/") + mounted + "/" + "/".join(program.segments)).encode()
    headers = [(b"host", b"testserver"), *(HEADERS[name] for name in program.headers)]
    headers += [
        (name.lower().encode(), value.encode("latin-1")) for name, value in COOKIES[program.setting.cookie]
    ]
    content, length = CONTENTS[program.content], LENGTHS[program.length](len(BODIES[program.body]))
    headers += [(b"content-type", content)] if content is not None else []
    headers += [(b"content-length", length)] if length is not None else []
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("192.0.2.1", 50000),
        "method": program.method,
        "root_path": program.root,
        "path": unquote(raw.decode()),
        "raw_path": RAW_PATHS[program.raw_path](raw),
        "query_string": program.query,
        "headers": headers,
        "state": {},
    }
