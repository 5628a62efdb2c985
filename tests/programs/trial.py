"""One random program on trial: what happened, in order, and what was wrong with it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

from micropie import App, ConnectionClosed, HTTPError, InMemorySessionBackend, MultipartFileError
from micropie.sessions.view import Recently, SessionView
from tests.driver import HttpJudge, Illegal, WebSocketJudge

from .source import Source
from .virtual import Stuck, VirtualLoop

#: Stands in the text of every error that is raised here; no client may ever read it.
SECRET = "TOP-SECRET"
#: The session that a client knows, one that a handler may choose, and one that begins.
KNOWN = "k" * 20
CHOSEN = "c" * 20
NEW = "n" * 20
#: Seconds of made-up time that an app may take once its client has nothing more to say.
PATIENCE = 2.0


class Unprintable(Exception):
    """An error that fails when it is to be shown."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)


#: What a handler, a hook or a stream may raise.
ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError(SECRET),
    "KeyError": lambda: KeyError(SECRET),
    "OSError": lambda: ConnectionResetError(SECRET),
    "TimeoutError": lambda: TimeoutError(SECRET),
    "StopIteration": lambda: StopIteration(SECRET),
    "StopAsyncIteration": lambda: StopAsyncIteration(SECRET),
    "unprintable": Unprintable,
    "CancelledError": lambda: asyncio.CancelledError(SECRET),
    "HTTPError 401": lambda: HTTPError(401, "who are you?", [("WWW-Authenticate", "Basic")]),
    "HTTPError 599": lambda: HTTPError(599),
    "HTTPError with a bad header": lambda: HTTPError(400, "no", [("a b", "c\r\nd")]),
    "HTTPError with a surrogate": lambda: HTTPError(400, "\ud800"),
    "ConnectionClosed": lambda: ConnectionClosed(4000, SECRET),
    "a file that is not whole": lambda: MultipartFileError(HTTPError(413, "too large")),
    "a file that is lost": lambda: MultipartFileError(OSError(SECRET)),
    "group of departures": lambda: ExceptionGroup(SECRET, [ConnectionClosed(), ConnectionClosed(4000)]),
    "group with a departure": lambda: ExceptionGroup(SECRET, [ConnectionClosed(), ValueError(SECRET)]),
    "group with an HTTPError": lambda: ExceptionGroup(SECRET, [HTTPError(404)]),
    "group of groups": lambda: ExceptionGroup(
        SECRET, [ExceptionGroup(SECRET, [KeyError(SECRET), ValueError(SECRET)]), OSError(SECRET)]
    ),
}


class Step(NamedTuple):
    """One step of a handler.

    Attributes:
        verb: What it does; a method of the player has this name.
        argument: What with, a name in a table or a number.
        swallow: The errors that the handler catches here, if any.
        parts: Programs inside this step.
    """

    verb: str
    argument: Any = None
    swallow: Literal["", "Exception", "BaseException"] = ""
    parts: tuple[tuple[Step, ...], ...] = ()


class Hook(NamedTuple):
    """What a middleware does; names in HOOK_STEPS."""

    before: str = "nothing"
    after: str = "nothing"
    early: str = "nothing"


class Setting(NamedTuple):
    """What HTTP and WebSocket programs have in common: the app around the handler, and the server.

    Attributes:
        hooks: The middlewares, outermost first.
        cookie: A name in COOKIES.
        place: How the handler is reached: ``"direct"``, ``"mounted"`` or ``"chosen"`` by a middleware.
        error_page: What ``_error_page()`` does.
        debug: Whether the client may see errors.
        backend_fails: The call of the session backend that fails; 0 for none, -1 for each.
        backend_failure: How: it raises, hangs, or is cancelled by somebody else.
        backend_waits: Whether the session is loaded from afar, before the hooks.
        cancels: The turns of the loop at which the server cancels the app.
        send_fails: The first send that fails, as do all later ones; 0 for none.
        failure: How.
        slow: Turns that each send takes.
        hasty: Whether a send takes no turn at all, as those of a server that has lost its client.
        repeats: Whether the end of the client comes in again and again, or just once.
    """

    hooks: tuple[Hook, ...] = ()
    cookie: str = "none"
    place: str = "direct"
    error_page: str = "plain"
    debug: bool = False
    backend_fails: int = 0
    cancels: tuple[int, ...] = ()
    send_fails: int = 0
    failure: str = "OSError"
    slow: int = 0
    repeats: bool = True
    hasty: bool = False
    backend_failure: str = "error"
    backend_waits: bool = True


COOKIES: dict[str, list[tuple[str, str]]] = {
    "none": [],
    "known": [("Cookie", f"session_id={KNOWN}")],
    "unknown": [("Cookie", "session_id=" + "u" * 20)],
    "bad": [("Cookie", 'session_id="\xff; ;=;session_id=a b')],
    "two": [("Cookie", "session_id=" + "u" * 20), ("Cookie", f"x=1; session_id={KNOWN}")],
}

FAILURES: dict[str, Callable[[], Exception]] = {
    "OSError": lambda: OSError(SECRET),
    "ConnectionResetError": lambda: ConnectionResetError(SECRET),
    "RuntimeError": lambda: RuntimeError(SECRET),
    "Exception": lambda: Exception(SECRET),
}

ERROR_PAGES: dict[str, Callable[[], Any]] = {
    "plain": lambda: None,
    "page": lambda: "<p>sorry</p>",
    "with status": lambda: (418, {"sorry": True}, {"X-Page": "1"}),
    "bad header": lambda: (500, "", [("a b", "")]),
    "rubbish": object,
    "stream": lambda: iter(["sor", "ry"]),
    "raises": lambda: {}[SECRET],
}


def setting(source: Source, failures: tuple[str, ...], hook_steps: tuple[str, ...]) -> Setting:
    def hook() -> Hook:
        def step() -> str:
            return source.choose(hook_steps) if source.chance(40) else "nothing"

        return Hook(step(), step(), source.choose(hook_steps) if source.chance(15) else "nothing")

    return Setting(
        hooks=source.several(hook, 3, percent=35),
        cookie=source.choose(tuple(COOKIES)) if source.chance(50) else "none",
        place=source.choose(("direct", "mounted", "chosen")) if source.chance(25) else "direct",
        error_page=source.choose(tuple(ERROR_PAGES)) if source.chance(20) else "plain",
        debug=source.chance(10),
        backend_fails=source.choose((1, 2, 3, 4, -1)) if source.chance(10) else 0,
        cancels=tuple(sorted({source.integer(2, 40) for _ in range(source.integer(1, 2))}))
        if source.chance(30)
        else (),
        send_fails=source.integer(1, 6) if source.chance(25) else 0,
        failure=source.choose(failures),
        slow=source.integer(0, 3) if source.chance(30) else 0,
        repeats=not source.chance(30),
        hasty=source.chance(30),
        backend_failure=source.choose(("error", "error", "hangs", "cancelled")),
        backend_waits=source.chance(50),
    )


class Trial:
    """Takes notes while a program runs, and judges them afterwards.

    Args:
        setting: The app around the handler, and the server.
        judge: Which messages are legal.
        seen: Counts what was done, over many programs.
    """

    def __init__(
        self, setting: Setting, judge: HttpJudge | WebSocketJudge, seen: Counter[str] | None = None
    ) -> None:
        self.setting = setting
        self.judge = judge
        self.seen = Counter() if seen is None else seen
        self.notes: list[tuple[Any, ...]] = []
        self.problems: list[str] = []
        self.sends = 0
        #: When the client or the server did the last thing, in the loop's time.
        self.last_word = 0.0
        #: Seconds that the app may take after that.
        self.patience = PATIENCE
        #: Whether the handler itself turned a cancellation into something else.
        self.converted = False
        #: Whether the server cancelled the app, and whether it ended so.
        self.cancelled = False
        self.cut = False
        #: Tasks that the handler left behind on purpose.
        self.handlers_own: list[asyncio.Task[Any]] = []

    def note(self, what: str, *details: Any) -> None:
        self.notes.append((what, *details))

    def noted(self, what: str) -> list[tuple[Any, ...]]:
        return [note for note in self.notes if note[0] == what]

    def position(self, what: str, default: int) -> int:
        """Where something was noted first."""
        return next((number for number, note in enumerate(self.notes) if note[0] == what), default)

    def problem(self, text: str) -> None:
        self.problems.append(text)

    # --- the server's side of send() -------------------------------------------------------------------

    async def send(self, message: dict[str, Any]) -> None:
        """Judge a message, then lose it or take it."""
        self.sends += 1
        self.note("sent", message["type"])
        if not self.setting.debug and SECRET in repr(message):
            self.problem(f"the client could read an error's text: {message!r}")
        state = self.judge.state
        try:
            self.judge.send(message)
        except Illegal as illegal:
            self.problem(f"illegal: {illegal}")
        for _ in range(self.setting.slow):
            await asyncio.sleep(0)
        if self.refuses(message) or self.failing:
            if self.setting.failure == "Exception":
                self.judge.state = state  # as Daphne does, which then waits for a better message
            failure = FAILURES[self.setting.failure]()
            raise failure
        if not self.setting.hasty:
            await asyncio.sleep(0)

    def refuses(self, message: dict[str, Any]) -> bool:
        """Whether this server has something against one message, and goes on."""
        return False

    @property
    def failing(self) -> bool:
        return 0 < self.setting.send_fails <= self.sends

    # --- the run ---------------------------------------------------------------------------------------

    def run(self, loop: VirtualLoop, app: Any, scope: dict[str, Any], receive: Callable[[], Any]) -> None:
        """Run the app for one connection to its end, and note who looks at the session."""
        with (
            patch.object(SessionView, "look", self._noting(SessionView.look)),
            patch.object(SessionView, "adopt", self._noting(SessionView.adopt)),
        ):
            self._run(loop, app, scope, receive)

    def _run(self, loop: VirtualLoop, app: Any, scope: dict[str, Any], receive: Callable[[], Any]) -> None:
        self.last_word = loop.time()
        context = contextvars.copy_context()
        before = set(context)
        task: asyncio.Task[None] = loop.create_task(_awaited(app(scope, receive, self.send)), context=context)
        for turn in self.setting.cancels:
            loop.at_turn(turn, lambda: self._cancel(task, loop.time()))
        loop.set_exception_handler(lambda _, details: self.problem(f"asyncio says: {details['message']}"))
        try:
            loop.run(task)
        except Stuck as stuck:
            self.problem(f"a hang: {stuck}")
        else:
            if loop.time() > self.last_word + self.patience:
                self.problem(f"it took {loop.time() - self.last_word:.1f} s after the client's last word")
            self._check_end(task)
            self._check_context(set(context) - before)
        self.note("ended")
        self._check_tasks(loop)

    def _noting(self, look: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*arguments: Any) -> Any:
            self.note("looked")
            return look(*arguments)

        return noting

    def _cancel(self, task: asyncio.Task[None], now: float) -> None:
        if not task.done():
            self.last_word = max(self.last_word, now)
            self.cancelled = self.cut = True
            self.note("cancelled")
            task.cancel()

    def _check_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.cut = True
            if not self.cancelled and not self.converted:
                self.problem("a CancelledError left the app that nobody outside had asked for")
        elif (error := task.exception()) is not None:
            self.problem(f"the app raised {type(error).__name__}")
        elif task.cancelling() and self.cancelled and not self.converted:
            self.problem("the app swallowed a cancellation")

    def _check_context(self, left: set[contextvars.ContextVar[Any]]) -> None:
        names = {variable.name for variable in left}
        # A variable that was reset is gone from its context.
        if "current_request" in names:
            self.problem("current_request is not reset")

    def _check_tasks(self, loop: VirtualLoop) -> None:
        """No task is left, once those have ended that the handler itself left behind."""
        if self.handlers_own:
            if self.cut:
                _cancel_all(self.handlers_own)  # nobody has closed the connection that they use
            try:
                loop.run(loop.create_task(_all(self.handlers_own)))
            except Stuck as stuck:
                self.problem(f"what the handler left behind never ends: {stuck}")
        left = asyncio.all_tasks(loop)
        for task in left:
            self.problem(f"a task is left: {getattr(task.get_coro(), '__qualname__', task)}")
        while left := asyncio.all_tasks(loop):
            _cancel_all(left)
            try:
                loop.run(loop.create_task(_all(left)))
            except Stuck:
                raise RuntimeError(f"tasks that cannot be cancelled: {left}") from None

    # --- the verdict on what HTTP and WebSocket share --------------------------------------------------

    def check_hooks(self) -> None:
        """Each after hook once, in reverse, for exactly those middlewares whose before hook returned None."""
        entered = [number for _, number in self.noted("entered")]
        left = [number for _, number in self.noted("after hook")]
        if left != entered[::-1]:
            self.problem(f"before hooks passed in {entered}, after hooks ran in {left}")

    def check_saves(self, start: int, end: int, least: int, most: int) -> None:
        """The session was written so many times between two notes, not counting what the handler asked for."""
        writes = [note for note in self.notes[start:end] if note[0] == "write"]
        asked = self.notes[:end].count(("asked to save",))  # a silent stream may save while its answer begins
        if not least <= len(writes) <= most + asked:
            self.problem(f"the session was written {len(writes)} times, not {least} to {most}: {writes}")

    def check_unlooked(self) -> None:
        """Where nobody looks at the session, nothing is written, and nothing loaded but from afar."""
        if not self.noted("looked"):
            if self.noted("write"):
                self.problem("a session was written at which nobody had looked")
            if self.noted("asked") and not self.setting.backend_waits:
                self.problem("a session was loaded at which nobody had looked")

    def check_app(self, app: App) -> None:
        if app.websockets or app._micropie.open_websockets:
            self.problem("the app still counts a WebSocket as open")
            app._micropie.open_websockets.clear()


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _all(tasks: Collection[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)


def _cancel_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


class Backend(InMemorySessionBackend):
    """Notes each write as one, however many operations it takes; slow, and fails when it is told to."""

    _inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside", default=False)

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self._trial = trial
        self._calls = 0
        self._sessions[KNOWN] = (float("inf"), {"user": "ann", "cart": [1]})

    async def load(self, session_id: str) -> dict[str, Any]:
        await self._pass()
        data = await super().load(session_id)
        if not self._inside.get():
            self._trial.note("asked", session_id)
            if data and session_id == KNOWN:
                self._trial.note("loaded")
        return data

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        if not self._inside.get():
            self._trial.note("write", "save", session_id)
        await self._pass()
        await super().save(session_id, data, timeout)

    async def update(self, session_id: str, *arguments: Any) -> bool:
        return await self._write("update", session_id, super().update(session_id, *arguments))

    async def delete(self, session_id: str) -> None:
        await self._write("delete", session_id, super().delete(session_id))

    async def rename(self, session_id: str, *arguments: Any) -> bool:
        self._trial.note("renamed")  # goes with an update
        return await self._write("", session_id, super().rename(session_id, *arguments))

    async def _write(self, name: str, session_id: str, operation: Awaitable[Any]) -> Any:
        if name:
            self._trial.note("write", name, session_id)
        token = self._inside.set(True)
        try:
            return await operation
        finally:
            self._inside.reset(token)

    async def _pass(self) -> None:
        await asyncio.sleep(0)
        if self._fails():
            if self._trial.setting.backend_failure == "hangs":
                await asyncio.Event().wait()
            self._raise()

    def _fails(self) -> bool:
        self._calls += 1
        if self._trial.setting.backend_fails not in (self._calls, -1):
            return False
        self._trial.note("backend failed")
        return True

    def _raise(self) -> None:
        raise (
            asyncio.CancelledError
            if self._trial.setting.backend_failure == "cancelled"
            else RuntimeError(SECRET)
        )


class QuickBackend(Backend):
    """The same, but it loads without a wait."""

    async def load(self, session_id: str) -> dict[str, Any]:
        if self._fails():
            self._raise()
        found = self._sessions.get(session_id, (0, {}))[1]
        if not self._inside.get():
            self._trial.note("asked", session_id)
            if found and session_id == KNOWN:
                self._trial.note("loaded")
        return found


def put_backend(trial: Trial, *apps: App) -> None:
    """Give apps one store, and have them forget what they know of sessions."""
    backend = (Backend if trial.setting.backend_waits else QuickBackend)(trial)
    for app in apps:
        app.session_backend = backend
        app._micropie.recently = Recently()
        app.session_store_timeout = 0.2


class Script:
    """What a client does, one thing after the other.

    Args:
        loop: Whose time counts.
        trial: What it is part of.
        lines: ASGI messages, each with the milliseconds to wait before it.
        over: Set with the last one.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        trial: Trial,
        lines: Iterable[tuple[int, dict[str, Any]]],
        over: asyncio.Event | None = None,
    ) -> None:
        self._loop = loop
        self._over = over
        self._trial = trial
        self._lines = list(lines)
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._go_on()

    def _go_on(self) -> None:
        while self._lines:
            delay, message = self._lines[0]
            if delay:
                self._lines[0] = 0, message
                self._loop.call_later(delay / 1000, self._go_on)
                return
            del self._lines[0]
            self.messages.put_nowait(message)
            self._trial.last_word = self._loop.time()
        if self._over is not None:
            self._over.set()

    async def next(self) -> dict[str, Any]:
        """The next message; the end of the client may come again and again."""
        message = await self.messages.get()
        if message["type"].endswith(".disconnect"):
            self._trial.note("disconnected")
            if self._trial.setting.repeats:
                self.messages.put_nowait(message)
        return message


class Hooks:
    """What the hooks of HTTP and WebSocket middlewares do alike."""

    def __init__(self, trial: Trial, number: int, hook: Hook, answers: dict[str, Any]) -> None:
        self.trial = trial
        self.hook = hook
        self._number = number
        self._answers = answers

    async def before(self, request: Any) -> Any:
        result = await self.act(self.hook.before, request)
        if result is None:
            self.trial.note("entered", self._number)
        return result

    async def after(self, request: Any) -> Any:
        self.trial.note("after hook", self._number)
        return await self.act(self.hook.after, request)

    async def early(self, request: Any) -> Any:
        return await self.act(self.hook.early, request)

    async def act(self, step: str, request: Any) -> Any:
        self.trial.seen[f"hook {step}"] += 1
        if step == "slow":
            for _ in range(3):
                await asyncio.sleep(0)
        elif step == "session":
            request.session["hook"] = self._number
        elif step in ERRORS:
            error = ERRORS[step]()
            raise error
        return self._answers.get(step)


class Player:
    """Plays the steps that HTTP and WebSocket handlers share.

    Args:
        trial: Where to take notes.
        request: The handler's request.
    """

    def __init__(self, trial: Trial, request: Any) -> None:
        self.trial = trial
        self.request = request

    async def play(self, steps: tuple[Step, ...]) -> bool:
        """Play steps until the last or one that returns; tell whether one did."""
        for step in steps:
            self.trial.seen[step.verb] += 1
            if step.parts or step.argument is not None:
                self.trial.seen[f"{step.verb} {step.argument}"] += 1
            try:
                if await getattr(self, "do_" + step.verb)(step):
                    return True
            except Exception:
                if not step.swallow:
                    raise
            except asyncio.CancelledError:
                if step.swallow != "BaseException":
                    raise
                self.trial.converted = True
        return False

    async def do_pause(self, step: Step) -> None:
        if step.argument < 0:
            await asyncio.sleep(-step.argument / 1000)
        for _ in range(step.argument):
            await asyncio.sleep(0)

    async def do_raise(self, step: Step) -> None:
        error = ERRORS[step.argument]()
        raise error

    async def do_finally(self, step: Step) -> bool:
        body, cleanup = step.parts
        cut = False
        try:
            return await self.play(body)
        except asyncio.CancelledError:
            cut = True
            raise
        finally:
            try:
                await self.play(cleanup)
            except Exception:
                self.trial.converted |= cut
                raise

    async def do_timeout(self, step: Step) -> bool | None:
        try:
            async with asyncio.timeout(step.argument / 1000):
                return await self.play(step.parts[0])
        except TimeoutError:
            return None

    async def do_group(self, step: Step) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for part in step.parts:
                    group.create_task(self.play(part))
        except ExceptionGroup:
            # A group prefers errors to a cancellation, and up to Python 3.12 may leave the task marked as cancelled.
            self.trial.converted = True
            raise

    async def do_session(self, step: Step) -> None:
        session = self.request.session
        if step.argument == "read":
            list(session.items())
        elif step.argument == "write":
            session["count"] = session.get("count", 0) + 1
            self.trial.note("changed")
        elif step.argument == "change":
            session.setdefault("cart", []).append(2)
            self.trial.note("changed")
        elif step.argument == "pop":
            session.pop("user", None)
        elif step.argument == "clear":
            session.clear()
            self.trial.note("emptied")
        elif step.argument == "log out":
            self.request.session = {}
            self.trial.note("emptied")
        elif step.argument == "unstorable":
            self.trial.note("unstorable")
            session["function"] = (value for value in ())  # no deep copy of it
        elif step.argument == "not a dict":
            self.trial.note("unstorable")
            self.request.session = None

    async def do_save(self, step: Step) -> None:
        self.trial.note("asked to save")
        await self.request.save_session()

    async def do_regenerate(self, step: Step) -> None:
        self.request.regenerate_session()

    async def do_cookie(self, step: Step) -> None:
        COOKIE_CALLS[step.argument](self.request)


SESSION_STEPS = ("read", "write", "change", "pop", "clear", "log out", "unstorable", "not a dict")

COOKIE_CALLS: dict[str, Callable[[Any], None]] = {
    "good": lambda request: request.set_cookie("theme", "dark", max_age=60),
    "deleted": lambda request: request.delete_cookie("theme"),
    "bad name": lambda request: request.set_cookie("a b", "c"),
    "bad value": lambda request: request.set_cookie("a", "b\r\nX-Evil: 1"),
    "bad path": lambda request: request.set_cookie("a", "b", path="/;"),
    "insecure": lambda request: request.set_cookie("a", "b", secure=False, samesite="none"),
    "not a str": lambda request: request.set_cookie("a", 7),
}


@contextmanager
def quiet(problems: list[str] | None = None) -> Iterator[None]:
    """Keep the app's log away: tracebacks are meant to be there, and formatting them takes long.

    Outside pytest, which does it by itself, warnings and errors that Python can only print are collected.
    """
    logger = logging.getLogger("micropie")
    hook = sys.unraisablehook
    logger.addFilter(_only_format)
    try:
        with warnings.catch_warnings():
            if problems is not None:
                warnings.simplefilter("error")
                sys.unraisablehook = lambda found: problems.append(f"unraisable: {found.exc_value!r}")
            yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
        logger.removeFilter(_only_format)


def _only_format(record: logging.LogRecord) -> bool:
    """Format the message, so that a record whose arguments do not fit fails, but no traceback; let nothing through.

    A filter, since pytest listens to loggers that do not propagate, too.
    """
    record.getMessage()
    return False
