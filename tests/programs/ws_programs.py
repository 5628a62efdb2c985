"""WebSocket handlers as random programs, against random clients and servers."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple

from micropie import App, WebSocket, WebSocketMiddleware
from tests.driver import Later, WebSocketJudge, make_scope

from .source import Source
from .trial import (
    CHOSEN,
    COOKIE_CALLS,
    COOKIES,
    ERROR_PAGES,
    ERRORS,
    KNOWN,
    NEW,
    SECRET,
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


class Program(NamedTuple):
    """A handler, and everything around it.

    Attributes:
        steps: What the handler does.
        inbox: What the client sends: milliseconds to wait, and a name in MESSAGES.
        leave: How the client goes in the end: the same, with a name in LEAVES.
        early: Whether the client has left before anything began.
        target: What it asks for; ``"/"`` is the handler.
        origin: A name in ORIGINS.
        extension: Whether the server can send refusals.
        granian: Whether ``receive()`` gives an awaitable that is no coroutine.
        stops: The first send that finds a client which has stopped reading, so that it and all later ones wait until
            that client leaves; 0 for none.
        gone: How long such a client says nothing more before the server takes it for gone, in seconds.
        setting: What HTTP and WebSocket programs share.
    """

    steps: tuple[Step, ...] = ()
    inbox: tuple[tuple[int, str], ...] = ()
    leave: tuple[int, str] = (0, "1001")
    early: bool = False
    target: str = "/"
    origin: str = "none"
    extension: bool = True
    granian: bool = False
    stops: int = 0
    gone: int = 0
    setting: Setting = Setting()


# --- the tables -----------------------------------------------------------------------------------------

MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"text": "hello"},
    "bytes": {"bytes": b"hello"},
    "text, both keys": {"text": "both", "bytes": None},
    "bytes, both keys": {"text": None, "bytes": b"both"},
    "empty text": {"text": ""},
    "empty bytes": {"bytes": b""},
    "JSON": {"text": '{"a": [1, 2]}'},
    "JSON in bytes": {"bytes": b"[null]"},
    "bad JSON": {"text": '{"a": NaN'},
    "deep JSON": {"text": "[" * 900},
    "not UTF-8": {"bytes": b"\xff\xfe"},
    "large text": {"text": "\u00e9" * 120},
    "large bytes": {"bytes": bytes(210)},
    "largest": {"bytes": bytes(200)},
    "no key": {},
}

LEAVES: dict[str, dict[str, Any]] = {
    "1001": {"code": 1001, "reason": "going away"},
    "1000": {"code": 1000, "reason": ""},
    "1006": {"code": 1006},
    "no code": {"code": None, "reason": None},
    "nothing": {},
    "4999": {"code": 4999, "reason": "\u2603" * 41},
}

ORIGINS: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "own": [("Origin", "https://testserver")],
    "foreign": [("Origin", "https://evil.example")],
    "null": [("Origin", "null")],
    "broken": [("Origin", "https://\xff:99999999")],
}

ACCEPTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "offered": {"subprotocol": "chat"},
    "header": {"headers": [("X-Answer", "42")]},
    "mapping": {"headers": {"X-Answer": "42"}},
    "small": {"max_message_size": 4},
    "chosen id": {"session_id": CHOSEN},
    "known id": {"session_id": KNOWN},
    "not offered": {"subprotocol": "other"},
    "no str": {"subprotocol": 7},
    "bad header": {"headers": [("X-Answer", "42\r\nX-Evil: 1")]},
    "bad name": {"headers": [("X Answer", "42")]},
    "server's header": {"headers": [("Sec-WebSocket-Protocol", "chat")]},
    "no headers": {"headers": 7},
    "no limit": {"max_message_size": 0},
    "strange limit": {"max_message_size": "4"},
    "bad id": {"session_id": "a b"},
    "empty id": {"session_id": ""},
    "no such argument": {"nonsense": True},
}

RECEIVES = ("receive", "receive_text", "receive_bytes", "receive_json")
SENDS = ("send", "send_text", "send_bytes", "send_json")

_circle: list[Any] = []
_circle.append(_circle)

VALUES: dict[str, Any] = {
    "text": "hello",
    "bytes": b"\x00\xff",
    "empty": "",
    "snowman": "\u2603",
    "dict": {"a": [1, None, True]},
    "bytearray": bytearray(b"ab"),
    "memoryview": memoryview(b"ab"),
    "strided": memoryview(b"abcdef")[::2],
    "None": None,
    "number": 7,
    "big number": 2**70,
    "surrogate": "\ud800",
    "surrogate inside": {"a": "\udfff"},
    "nan": float("nan"),
    "set": {1},
    "object": object(),
    "circle": _circle,
    "date": dt.date(2026, 1, 2),
    "number as key": {1: 2, (3,): 4},
}

CLOSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "own code": {"code": 4000, "reason": "bye"},
    "going away": {"code": 1001},
    "failed": {"code": 1011, "reason": None},
    "long reason": {"code": 3000, "reason": "\u2603" * 42},
    "no status": {"code": 1005},
    "abnormal": {"code": 1006},
    "reserved": {"code": 1015},
    "too small": {"code": 999},
    "too large": {"code": 5000},
    "text": {"code": "1000"},
    "flag": {"code": True},
    "None": {"code": None},
    "number as reason": {"reason": 7},
    "bytes as reason": {"reason": b"bye"},
    "surrogate": {"reason": "\ud800"},
    "no such argument": {"nonsense": True},
}

REJECTS: dict[str, tuple[Any, ...]] = {
    "plain": (),
    "page": (401, "who are you?", [("WWW-Authenticate", "Basic")]),
    "JSON": (429, {"retry": 5}, {"Retry-After": "5"}),
    "empty": (204, None),
    "not an error": (200, b"hello"),
    "surrogate": (403, "\ud800"),
    "nan": (403, [float("nan")]),
    "stream": (403, iter("abc")),
    "object": (403, object()),
    "informational": (101, ""),
    "too small": (99, ""),
    "text": ("403", ""),
    "bad header": (403, "", [("X", "a\nb")]),
    "no pairs": (403, "", ["X"]),
    "too many": (1, 2, 3, 4),
}

#: Calls that are wrong in themselves.
WRONG: dict[str, Callable[[Any], Any]] = {
    "run nothing": lambda ws: ws.run(),
    "run a function": lambda ws: ws.run(ws.receive),
    "run both kinds": lambda ws: ws.run(ws.receive(), None),
    "send nothing": lambda ws: ws.send(),
    "send two": lambda ws: ws.send_text("a", "b"),
    "accept too much": lambda ws: ws.accept(None, None, (), None, 5),
    "no such method": lambda ws: ws.shout("a"),
    "until_closed awaited": lambda ws: ws.until_closed(),
    "iterate the class": lambda ws: type(ws).__anext__(None),
}

HOOK_STEPS = ("nothing", "slow", "session", "refusal", "code", "page", "bad page", "rubbish", *ERRORS)
HOOK_ANSWERS = {
    "refusal": {"status_code": 403},
    "code": {"code": 4003, "reason": "no"},
    "page": {"status_code": 418, "body": {"short": "stout"}, "headers": [("X-Pot", "1")]},
    "bad page": {"status_code": 42, "body": object()},
    "rubbish": 7,
}

TARGETS = (
    "/",
    "/nope",
    "/typed/7",
    "/typed/x",
    "/needs",
    "/needs?q=1",
    "/who",
    "/plain",
    "/too/many",
    "/fails/7",
)


# --- the generator --------------------------------------------------------------------------------------


def generate(source: Source) -> Program:
    """A random program."""
    around = setting(source, ("OSError", "RuntimeError", "Exception"), HOOK_STEPS)
    steps = _steps(source, 6)
    if not source.chance(25):  # else most handlers would never get beyond the handshake
        accept = source.choose(tuple(ACCEPTS)) if source.chance(25) else "plain"
        steps = (Step("accept", accept), *steps)
    return Program(
        steps=steps,
        inbox=source.several(lambda: (_delay(source), source.choose(tuple(MESSAGES))), 5),
        leave=(_delay(source), source.choose(tuple(LEAVES))),
        early=source.chance(1),
        target=source.choose(TARGETS) if source.chance(10) else "/",
        origin=source.choose(tuple(ORIGINS)) if source.chance(15) else "none",
        extension=not source.chance(30),
        granian=source.chance(15),
        stops=source.integer(1, 4) if source.chance(15) else 0,
        gone=source.integer(0, 60),
        setting=around,
    )


def _delay(source: Source) -> int:
    return source.integer(0, 4) if source.chance(40) else 0


def _steps(source: Source, most: int, *around: str) -> tuple[Step, ...]:
    """A program inside the given verbs."""
    without = {verb for place in around for verb in NOT_INSIDE.get(place, ())}
    verbs = tuple(verb for verb in (VERBS if len(around) < 3 else FLAT_VERBS) if verb not in without)
    if around[-1:] == ("until_closed",):
        verbs += WAITING
    return source.several(lambda: _step(source, source.choose(verbs), around), most)


def _step(source: Source, verb: str, around: tuple[str, ...]) -> Step:
    argument = ARGUMENTS[verb](source) if verb in ARGUMENTS else None
    low, high = NESTING.get(verb, (0, 0))
    parts = tuple(_steps(source, 3, *around, verb) for _ in range(source.integer(low, high)))
    swallow: Literal["", "Exception", "BaseException"] = ""
    if source.chance(30):
        # Who catches a cancellation and then waits for ever hangs by its own fault.
        stubborn = "until_closed" not in around and source.chance(10)
        swallow = "BaseException" if stubborn else "Exception"
    return Step(verb, argument, swallow, parts)


def _table(table: Any) -> Callable[[Source], Any]:
    options = tuple(table)
    return lambda source: source.choose(options)


#: Verbs as often as they are to come up, simple ones first.
VERBS: tuple[str, ...] = (
    *("pause", "look", "accept", "receive", "receive", "receive", "receive", "send", "send", "send", "send"),
    *("close", "close", "reject", "raise", "return", "iterate", "run", "run", "run", "until_closed"),
    *("until_closed", "together", "group", "timeout", "timeout", "finally", "background", "background"),
    *("leave_running", "wrong", "session", "session", "save", "regenerate", "cookie"),
)
OFFERED = ["chat", "news"]
#: The settings of the app, in seconds.
SEND_TIMEOUT, CLOSE_TIMEOUT = 4.0, 0.5
#: Waiting for ever is well there where the client's end ends it.
WAITING = ("wait",) * 6
NOT_INSIDE: dict[str, tuple[str, ...]] = {
    # Who would look after those?
    "leave_running": ("background", "leave_running"),
    # Cleaning up that fails loses the cancellation that ends the block; so does a group before Python 3.13.
    "until_closed": ("finally", "group"),
}
#: How many programs are inside.
NESTING: dict[str, tuple[int, int]] = {
    "iterate": (1, 1),
    "run": (1, 3),
    "until_closed": (1, 1),
    "group": (1, 2),
    "timeout": (1, 1),
    "finally": (2, 2),
    "background": (1, 1),
    "leave_running": (1, 1),
}
FLAT_VERBS = tuple(verb for verb in VERBS if verb not in NESTING)
ARGUMENTS: dict[str, Callable[[Source], Any]] = {
    "pause": lambda source: source.integer(-3, 4),
    "accept": _table(ACCEPTS),
    "receive": _table(RECEIVES),
    "send": lambda source: (source.choose(SENDS), source.choose(tuple(VALUES))),
    "close": _table(CLOSES),
    "reject": _table(REJECTS),
    "raise": _table(ERRORS),
    "return": _table(VALUES),
    "together": lambda source: (source.choose(RECEIVES), source.choose(RECEIVES)),
    "timeout": lambda source: source.integer(0, 4),
    "wrong": _table(WRONG),
    "session": _table(SESSION_STEPS),
    "cookie": _table(COOKIE_CALLS),
}


# --- the interpreter ------------------------------------------------------------------------------------


class WebSocketPlayer(Player):
    """Plays a program as the handler of one WebSocket."""

    def __init__(self, trial: Trial, ws: WebSocket, request: Any) -> None:
        super().__init__(trial, request)
        self.ws = ws
        self._background: list[asyncio.Task[bool]] = []

    async def handle(self, steps: tuple[Step, ...]) -> object:
        """Be the handler."""
        self.trial.note("began")
        try:
            await self.play(steps)
        finally:
            await self._stop_background()
            self.trial.note("done", self.ws.x_view and self.ws.x_view.id)
        return "ignored"

    async def _stop_background(self) -> None:
        while self._background:  # as a careful handler does, cancelled or not
            task = self._background.pop()
            task.cancel()
            while not task.done():
                try:
                    await asyncio.wait([task])
                except asyncio.CancelledError:
                    self.trial.converted = True
            if not task.cancelled():
                task.exception()

    async def do_look(self, step: Step) -> None:
        ws = self.ws
        if ws.closed is not (ws.close_code is not None):
            self.trial.problem("closed and close_code disagree")
        if (ws in self.request.x_app.websockets) is not (ws.accepted and not ws.closed):
            self.trial.problem("websockets and closed disagree")

    async def do_accept(self, step: Step) -> None:
        try:
            await self.ws.accept(**ACCEPTS[step.argument])
        except asyncio.CancelledError:
            self.trial.note("accept cut")  # nobody knows whether it was sent
            raise

    async def do_receive(self, step: Step) -> None:
        await getattr(self.ws, step.argument)()

    async def do_send(self, step: Step) -> None:
        method, value = step.argument
        with self._bounded(step, SEND_TIMEOUT):
            await getattr(self.ws, method)(VALUES[value])

    async def do_close(self, step: Step) -> None:
        with self._bounded(step, CLOSE_TIMEOUT):
            await self.ws.close(**CLOSES[step.argument])

    async def do_reject(self, step: Step) -> None:
        with self._bounded(step, CLOSE_TIMEOUT):
            await self.ws.reject(*REJECTS[step.argument])

    @contextmanager
    def _bounded(self, step: Step, seconds: float) -> Iterator[None]:
        """No call waits longer than its setting says, and the second that a client is given for its last word."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            if loop.time() - began > seconds + 1.01:
                self.trial.problem(f"{step.verb} took {loop.time() - began:.1f} s")

    async def do_return(self, step: Step) -> bool:
        return True

    async def do_iterate(self, step: Step) -> bool:
        async for _ in self.ws:
            if await self.play(step.parts[0]):
                return True
        return False

    async def do_run(self, step: Step) -> None:
        await self.ws.run(*map(self.play, step.parts))

    async def do_until_closed(self, step: Step) -> bool:
        async with self.ws.until_closed():
            return await self.play(step.parts[0])
        return False

    async def do_wait(self, step: Step) -> None:
        await asyncio.Event().wait()

    async def do_together(self, step: Step) -> None:
        receives: list[Coroutine[Any, Any, Any]] = [getattr(self.ws, name)() for name in step.argument]
        await asyncio.gather(*receives, return_exceptions=True)

    async def do_background(self, step: Step) -> None:
        self._background.append(asyncio.create_task(self.play(step.parts[0])))

    async def do_leave_running(self, step: Step) -> None:
        self.trial.handlers_own.append(asyncio.create_task(self._forgotten(step.parts[0])))

    async def _forgotten(self, steps: tuple[Step, ...]) -> None:
        with suppress(Exception):
            await self.play(steps)

    async def do_wrong(self, step: Step) -> None:
        await WRONG[step.argument](self.ws)


class Site(App):
    """Plays the program of the trial that is on."""

    trial: Trial
    program: Program

    async def ws_index(self, ws: WebSocket) -> object:
        return await self._play(ws)

    async def ws_typed(self, ws: WebSocket, number: int) -> object:
        return await self._play(ws)

    async def ws_needs(self, ws: WebSocket, q: str) -> object:
        return await self._play(ws)

    async def ws_who(self, ws: WebSocket, user: str) -> object:
        return await self._play(ws)

    def ws_plain(self, ws: WebSocket) -> None:
        raise NotImplementedError

    async def _play(self, ws: WebSocket) -> object:
        return await WebSocketPlayer(self.trial, ws, self.request).handle(self.program.steps)

    async def _error_page(self, status: int, detail: str) -> Any:
        return ERROR_PAGES[self.trial.setting.error_page]()


class Middleware(WebSocketMiddleware):
    def __init__(self, *arguments: Any) -> None:
        self._hooks = Hooks(*arguments)

    async def before_websocket(self, request: Any) -> Any:
        return await self._hooks.before(request)

    async def after_websocket(self, request: Any) -> Any:
        return await self._hooks.after(request)


class Chooser(WebSocketMiddleware):
    """Sends every handshake to another app."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def before_websocket(self, request: Any) -> None:
        request._subapp, request._subapp_mount_path, request._subapp_path = self._app, "/sub", request.path


# --- the run --------------------------------------------------------------------------------------------


class Server:
    """What an ASGI server does for one WebSocket, and the client at its far end."""

    def __init__(self, loop: VirtualLoop, trial: WebSocketTrial, program: Program) -> None:
        self._trial = trial
        self._program = program
        self._script = Script(loop, trial, _script(program), trial.left)
        self._receiving = 0

    def receive(self) -> Awaitable[dict[str, Any]]:
        return Later(self._receive()) if self._program.granian else self._receive()

    async def _receive(self) -> dict[str, Any]:
        self._receiving += 1
        if self._receiving > 1:
            self._trial.problem("two receive() at once")
        try:
            return await self._script.next()
        finally:
            self._receiving -= 1


def _script(program: Program) -> Iterator[tuple[int, dict[str, Any]]]:
    """The client connects, talks and goes; or it is gone before anything begins."""
    if not program.early:
        yield 0, {"type": "websocket.connect"}
        for delay, name in program.inbox:
            yield delay, {"type": "websocket.receive", **MESSAGES[name]}
    delay, name = program.leave
    yield delay + 1000 * program.gone * (program.stops > 0), {"type": "websocket.disconnect", **LEAVES[name]}


class WebSocketTrial(Trial):
    judge: WebSocketJudge

    def __init__(self, program: Program, seen: Counter[str] | None = None) -> None:
        super().__init__(program.setting, WebSocketJudge(program.extension, OFFERED), seen)
        self._stops = program.stops
        if program.stops:
            self.patience += SEND_TIMEOUT + CLOSE_TIMEOUT
        #: Set when the server takes a client that has stopped reading for gone.
        self.left = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        if 0 < self._stops <= self.sends + 1:
            self.note("stopped")
            await self.left.wait()
            raise OSError(SECRET)
        await super().send(message)

    def refuses(self, message: dict[str, Any]) -> bool:
        picky = self.setting.failure == "Exception" and self.setting.send_fails == 0
        return picky and message["type"] == "websocket.close" and 1001 <= message["code"] <= 1014

    def check(self, app: Site) -> None:
        """Judge the whole."""
        self.check_hooks()
        self.check_app(app)
        self._check_close()
        self._check_saves()
        self.check_unlooked()

    def _check_saves(self) -> None:
        """Once at the end, if what the handler changed in its session is not stored yet."""
        if self.handlers_own or self.noted("unstorable"):
            return  # tasks left behind may save at any moment
        done = self.noted("done")
        before = self.notes[: self.position("done", 0)]
        stored = max(
            (at for at, note in enumerate(before) if note[0] in ("write", "asked to save")), default=-1
        )
        changed = ("changed",) in before[stored + 1 :] and not self.noted("emptied")
        certain = changed and bool(self.noted("loaded")) and done[0][1] == KNOWN
        self.check_saves(len(before), self.position("ended", 0), int(certain), 1)

    def _check_close(self) -> None:
        """No socket is left open: the server may wait for ever."""
        # A close frame that its client does not take is given up.
        over = self.judge.state == "closed" or self.noted("disconnected") or self.noted("accept cut")
        over = over or self.noted("stopped")
        if not over and not self.cut and not self.failing:
            self.problem(f"left in the state {self.judge.state!r}")


class Stage:
    """Apps and a loop for many programs, one after the other."""

    def __init__(self, loop: VirtualLoop, app: type[Site] = Site, seen: Counter[str] | None = None) -> None:
        self._loop = loop
        self._seen = seen
        bounds = {"send_timeout": SEND_TIMEOUT, "close_timeout": CLOSE_TIMEOUT}
        self._site = app(max_message_size=200, session_id_factory=lambda: NEW, **bounds)
        self._outer = App(max_message_size=200, session_id_factory=lambda: NEW, **bounds)
        self._outer.mount("/sub", self._site)
        self._chooser = Chooser(self._site)

    def problems(self, program: Program) -> list[str]:
        """What is wrong with the run of a program."""
        trial = WebSocketTrial(program, self._seen)
        site, place = self._site, program.setting.place
        app: App = site if place == "direct" else self._outer
        site.trial, site.program = trial, program
        put_backend(trial, site, self._outer)
        app.debug = site.debug = program.setting.debug
        app.ws_middlewares = [
            Middleware(trial, number, hook, HOOK_ANSWERS) for number, hook in enumerate(program.setting.hooks)
        ]
        if place == "chosen":
            app.ws_middlewares.insert(0, self._chooser)
        if place != "direct":
            site.ws_middlewares = []
        server = Server(self._loop, trial, program)
        trial.run(self._loop, app, self._scope(program), server.receive)
        trial.check(site)
        return trial.problems

    def _scope(self, program: Program) -> dict[str, Any]:
        headers = [*ORIGINS[program.origin], *COOKIES[program.setting.cookie]]
        extensions = {"websocket.http.response": {}} if program.extension else None
        target = ("/sub" if program.setting.place == "mounted" else "") + program.target
        return make_scope("websocket", target, headers, subprotocols=OFFERED, extensions=extensions)
