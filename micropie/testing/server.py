"""A real server for tests, in a thread of the test's own process; most tests get it from the fixture ``live_server``.

It works on every platform, and beside every event loop that the test itself may have: that of pytest-asyncio, of AnyIO
and of Playwright, in both of its forms.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from micropie.cli.loading import Target, executed, find_app
from micropie.types import ASGIApp

try:
    import uvicorn
except ImportError:
    raise ImportError(
        "micropie.testing.server needs uvicorn: install micropie with the extra 'testing'"
    ) from None

__all__ = ["LiveServer", "LiveServerFactory"]

#: How long one step of a server may take, in seconds: a limit, never a wait.
PATIENCE = 30.0

#: How long a handler may go on when its server stops, in seconds, before it is cancelled and that is an error.
GRACE = 5

#: Whose errors are errors of the test; what an app logs under its own name is its own affair.
_WATCHED = ("micropie", "uvicorn", "asyncio")

#: What the server itself decides.
_OURS = frozenset(("app", "fd", "host", "log_config", "port", "reload", "uds", "workers"))

_numbers = itertools.count(1)

#: The server in whose thread, or on whose behalf in another thread, the code runs.
_serving: contextvars.ContextVar[LiveServer] = contextvars.ContextVar("_serving")


class LiveServer:
    """uvicorn, serving one app at an address of its own on this machine, in a thread.

    The socket listens before the server starts and goes on between :meth:`stop` and :meth:`start`: whoever comes
    meanwhile waits.  Used as a context manager it is closed at the end of the block.

    Args:
        app: Any ASGI app, or the path of a file, such as ``"app.py"`` or ``"app.py:site"``.  A file is run anew at
            each start, as a module of its own, with the modules beside it; those of two that run at once need
            different names.
        folders: Where a relative path is looked for.
        allow_errors: Whether the test may pass although the log has errors.
        options: More settings of ``uvicorn.Config``, such as ``ws="wsproto"`` or ``root_path="/shop"``.

    Attributes:
        url: The address, such as ``"http://127.0.0.1:49152"``: a path follows it, as in ``f"{server.url}/chat"``.
        ws_url: The same for WebSockets, such as ``"ws://127.0.0.1:49152"``.
        port: The port, which the operating system chose.
        allow_errors: Whether the test may pass although the log has errors.

    Raises:
        TypeError: For a setting that the server has to decide itself.
    """

    def __init__(
        self,
        app: ASGIApp | str | Path,
        *,
        folders: Iterable[Path] = (),
        allow_errors: bool = False,
        **options: Any,
    ) -> None:
        if refused := sorted(_OURS & options.keys()):
            raise TypeError(f"a live server decides by itself about {', '.join(refused)}")
        self._given = app
        self._folders = [*folders, Path.cwd()]
        self._options = options
        self._app: Any = None
        self._uvicorn: _Uvicorn | None = None
        self._running = ExitStack()
        self._log = _Log(self)
        self.allow_errors: bool = allow_errors
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        secure = "s" if options.get("ssl_certfile") else ""
        self.url: str = f"http{secure}://127.0.0.1:{self.port}"
        self.ws_url: str = f"ws{secure}://127.0.0.1:{self.port}"

    @property
    def app(self) -> Any:
        """The app that is served; one from a file is there from the start on, and another after the next."""
        return self._app

    @property
    def log(self) -> str:
        """What was logged so far on behalf of the server, by uvicorn, MicroPie and the app, with tracebacks.

        Loggers have their usual levels, so what an app logs below WARNING is there only if its level is set.
        """
        return self._log.text()

    @property
    def errors(self) -> list[logging.LogRecord]:
        """The errors that nobody has expected yet: uvicorn's, MicroPie's and asyncio's records at ERROR and above."""
        return list(self._log.errors)

    def start(self) -> None:
        """Start the server, and return when the app has started and its first client is served.

        Raises:
            RuntimeError: If the app's startup failed; with its traceback.
            LookupError: If there is no such file, or no app in it.
            Exception: What the file raises.
            TimeoutError: If the startup hangs.
        """
        if self._uvicorn is not None:
            raise RuntimeError("the server runs already")
        with ExitStack() as opened:
            self._app = self._load(opened)
            options: dict[str, Any] = {"log_level": "info", "timeout_graceful_shutdown": GRACE}
            config = uvicorn.Config(self._app, log_config=None, **options | self._options)
            opened.enter_context(self._log)
            server = _Uvicorn(config, self._socket.dup())
            opened.callback(server.stop)
            context = contextvars.Context()
            context.run(_serving.set, self)
            server.start(context)
            if not server.started:
                self.forgive()  # the exception tells of them
                raise RuntimeError(f"the app did not start:\n{self.log}") from server.failure
            self._running = opened.pop_all()
        self._uvicorn = server

    def stop(self) -> None:
        """Stop the server as a signal would: open WebSockets get 1012, streams end, the app shuts down.

        Raises:
            TimeoutError: If a handler holds the server up for good.
        """
        self._uvicorn = None
        self._running.close()

    def close(self) -> None:
        """Stop the server, if it runs, and give up the address."""
        try:
            self.stop()
        finally:
            self._socket.close()

    def expect_error(self, text: str | re.Pattern[str] = "", timeout: float = 10.0) -> logging.LogRecord:
        """Wait for an error in the log, and forgive it: it no longer makes the test fail.

        Args:
            text: A part of the message or its traceback, or a pattern to search for in it.
            timeout: Seconds to wait for it.

        Returns:
            Its record.

        Raises:
            AssertionError: If no such error is logged.
        """
        __tracebackhide__ = True
        return self._log.expect_error(text, timeout)

    def expect_log(self, text: str | re.Pattern[str], timeout: float = 10.0) -> None:
        """Wait until something is in the log.

        Args:
            text: A part of the log, or a pattern to search for in it.
            timeout: Seconds to wait for it.

        Raises:
            AssertionError: If it does not come.
        """
        __tracebackhide__ = True
        self._log.expect(text, timeout)

    def forgive(self) -> None:
        """Forget the errors so far: they are known."""
        self._log.errors.clear()

    def check(self) -> None:
        """Fail if there was an error that nobody expected, and forget it.

        Raises:
            AssertionError: If there was; with its traceback.
        """
        errors = self.errors
        self.forgive()
        if errors and not self.allow_errors:
            told = "\n\n".join(map(_FORMAT.format, errors))
            raise AssertionError(
                f"{self} logged errors; await one with server.expect_error('...'), or let all pass with "
                f"live_server(app, allow_errors=True):\n\n{told}"
            )

    def __enter__(self) -> Self:
        """Start, unless it runs."""
        if self._uvicorn is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"<LiveServer at {self.url}: {'stopped' if self._uvicorn is None else 'running'}>"

    def __str__(self) -> str:
        return f"the live server at {self.url}"

    def _load(self, opened: ExitStack) -> Any:
        if not isinstance(self._given, (str, Path)):
            return self._given
        target = Target.parse(str(self._given))
        path = target.file(*self._folders)
        # A name of its own: two servers may run files of one name, and the test may have imported it too.
        module = opened.enter_context(executed(path, f"live_server_{next(_numbers)}_{path.stem}"))
        return find_app(module, target.name)


class LiveServerFactory:
    """What the fixtures ``live_server`` and ``live_server_factory`` are: called with an app, it starts a server.

    Args:
        folders: Where the relative path of a file is looked for.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self.servers: list[LiveServer] = []

    def __repr__(self) -> str:
        return f"<LiveServerFactory: {len(self.servers)} servers>"

    def __call__(
        self, app: ASGIApp | str | Path, *, allow_errors: bool = False, **options: Any
    ) -> LiveServer:
        """As :class:`LiveServer`, with its ``start()`` called already."""
        server = LiveServer(app, folders=self._folders, allow_errors=allow_errors, **options)
        try:
            server.start()
        except BaseException:
            server.close()
            raise
        self.servers.append(server)
        return server

    def close(self) -> None:
        """Close all servers, the last one first.

        Raises:
            ExceptionGroup: If any of them does not end.
        """
        errors: list[Exception] = []
        for server in reversed(self.servers):
            try:
                server.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("live servers did not stop", errors)


class _Uvicorn(uvicorn.Server):
    """uvicorn in a thread, which says when it has started."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        super().__init__(config)
        self._listening = listening
        self._settled = threading.Event()  # it serves, or has ended
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    def start(self, context: contextvars.Context) -> None:
        self._thread = threading.Thread(
            target=context.run, args=(self._live,), name="live server", daemon=True
        )
        self._thread.start()
        if not self._settled.wait(PATIENCE):
            raise TimeoutError(f"the app has not started for {PATIENCE:g} s: a startup handler hangs")

    def stop(self) -> None:
        self.should_exit = True
        # A startup that hangs goes on doing so.
        if self._thread is not None and self._settled.is_set():
            self._thread.join(PATIENCE)
            if self._thread.is_alive():
                raise TimeoutError(f"the server has not stopped for {PATIENCE:g} s: a handler hangs")
        self._listening.close()

    def _live(self) -> None:
        # Windows: only its selector loop can listen again on a socket that another loop has had.
        factory = asyncio.SelectorEventLoop if sys.platform == "win32" else self.config.get_loop_factory()
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self.serve(sockets=[self._listening]))
        except BaseException as error:  # SystemExit too: uvicorn's way to say that the startup failed
            self.failure = error
        finally:
            self._settled.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn waits for streams, some of which never end: their clients go now.
        for connection in list(self.server_state.connections):
            if isinstance(connection, self.config.http_protocol_class):
                connection.transport.close()
        await super().shutdown(sockets)


_FORMAT = logging.Formatter("%(levelname)s %(name)s: %(message)s")


class _Log(logging.Handler):
    """Keeps what is logged on behalf of one server, in whichever thread."""

    def __init__(self, server: LiveServer) -> None:
        super().__init__()
        self._server = server
        self._lines: list[str] = []
        self._news = threading.Condition()
        self.errors: list[logging.LogRecord] = []

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self)
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            # uvicorn's own configuration, which a server elsewhere in this process may have had, cuts them off.
            logging.getLogger(name).propagate = True

    def __exit__(self, *_error: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if _serving.get(None) is not self._server:
            return
        with self._news:
            self._lines.append(f"{_FORMAT.format(record)}\n")
            if record.levelno >= logging.ERROR and record.name.split(".")[0] in _WATCHED:
                self.errors.append(record)
            self._news.notify_all()

    def text(self) -> str:
        return "".join(self._lines)

    def expect(self, text: str | re.Pattern[str], timeout: float) -> None:
        __tracebackhide__ = True
        with self._news:
            if not self._news.wait_for(lambda: _search(text, self.text()), timeout):
                raise AssertionError(f"{self._server} did not log {_words(text)}; it logged:\n{self.text()}")

    def expect_error(self, text: str | re.Pattern[str], timeout: float) -> logging.LogRecord:
        def found() -> logging.LogRecord | None:
            return next((record for record in self.errors if _search(text, _FORMAT.format(record))), None)

        __tracebackhide__ = True
        with self._news:
            record = self._news.wait_for(found, timeout)
            if record is None:
                raise AssertionError(
                    f"{self._server} logged no error {_words(text)}; it logged:\n{self.text()}"
                )
            self.errors.remove(record)
            return record


def _search(text: str | re.Pattern[str], where: str) -> bool:
    return text in where if isinstance(text, str) else text.search(where) is not None


def _words(text: str | re.Pattern[str]) -> str:
    return repr(text if isinstance(text, str) else text.pattern)
