"""Serve an app for a test, by the command that the documentation shows.

The socket is bound and listening before the server starts and is handed down to it, so there is no race for a free
port, and a client that comes early waits in the backlog. It stays open when the server stops, so that a restarted
server is found at the same address.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

PATIENCE = 30.0  # Seconds for one step of a server on a busy machine: a limit, never a wait.

TRACEBACK = "Traceback (most recent call last)"

# What each server says when it is ready, and how it is told to use the socket that it inherits. granian cannot do that.
SERVERS = {
    "uvicorn": ("Uvicorn running on", "--fd {fd}"),
    "hypercorn": ("Running on", "--bind fd://{fd}"),
    "daphne": ("Listening on TCP address", "--fd {fd}"),
    "granian": ("Started worker-1", "--host 127.0.0.1 --port {port}"),
    "tools/gallery.py": ("Gallery at", "--fd {fd}"),
    "aiohttp_app.py": ("Running on", "--fd {fd}"),  # tests/comparison: aiohttp is its own server
}

# The six configurations that the documentation promises the same behaviour on.
CONFIGURATIONS = {
    "uvicorn-sansio": "uvicorn --ws websockets-sansio app:app",
    "uvicorn-wsproto": "uvicorn --ws wsproto app:app",
    "uvicorn-websockets": "uvicorn --ws websockets app:app",
    "hypercorn": "hypercorn app:app",
    "granian": "granian --interface asgi app:app",
    "daphne": "daphne app:app",
}


class Server:
    """One server process at a time, always at one address."""

    def __init__(
        self,
        directory: Path,
        command: str = "uvicorn app:app",
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._environment = os.environ if environment is None else environment
        words = shlex.split(command)
        if words[0] in ("python", "python3"):
            words = words[2:] if words[1] == "-m" else words[1:]
        self._ready, options = SERVERS[words[0]]
        self._socket = _placeholder() if words[0] == "granian" else socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.ws_url = f"ws://127.0.0.1:{self.port}/"
        program = [words[0]] if words[0].endswith(".py") else ["-m", words[0]]
        options = options.format(fd=self._socket.fileno(), port=self.port)
        python = sys.executable if environment is None else "python"
        self._command = [python, *program, *words[1:], *options.split()]
        self._log: list[str] = []
        self._started_at = 0
        self._silent = True  # Nobody is there to write any more.
        self._said_something = threading.Condition()

    def log(self) -> str:
        """What the server wrote so far, before a restart too."""
        return "".join(self._log)

    def wait_for_log(self, text: str) -> None:
        """Wait until the running process has written ``text``; its end, or a long silence, is a failure."""
        with self._said_something:
            self._said_something.wait_for(lambda: self._wrote(text) or self._silent, PATIENCE)
        assert self._wrote(text), f"the server did not write {text!r}"

    def start(self) -> None:
        """Start the process and return when it serves."""
        self._started_at, self._silent = len(self._log), False
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env={**self._environment, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=[self._socket.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # So that one call ends its workers too.
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for_log(self._ready)
        if "granian" in self._command:
            self._knock()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process and return its exit status. The socket stays open: clients now wait in its backlog."""
        self.tell_to_stop(how)
        return self.wait()

    def tell_to_stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal, and return while the process may still be busy with it."""
        self._process.send_signal(how)

    def wait(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("the server was told to end and did not") from None
        finally:
            self._kill()
        return status

    def restart(self) -> None:
        """Stop the process and start another one at the same address."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the process if it runs, and give up the address."""
        try:
            if self._process.poll() is None:
                self.stop()
        finally:
            self._kill()
            self._socket.close()

    def __str__(self) -> str:
        return " ".join(self._command[1:])

    def _wrote(self, text: str) -> bool:
        return text in "".join(self._log[self._started_at :])

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        for line in output:
            with self._said_something:
                self._log.append(line)
                self._said_something.notify_all()
        output.close()
        with self._said_something:
            self._silent = True
            self._said_something.notify_all()

    def _knock(self) -> None:
        """Connect until it works: granian binds its own socket, and says that it has started before it listens."""
        deadline = monotonic() + PATIENCE
        while self._process.poll() is None and monotonic() < deadline:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return

    def _kill(self) -> None:
        """Leave no process behind, whatever happened, and read the last words."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)


def tracebacks(log: str) -> list[str]:
    """The last line of each traceback in what a server wrote: the error."""
    return re.findall(rf"{re.escape(TRACEBACK)}:\n(?:[ \t].*\n|\n)*(.+)", log)


@contextmanager
def serve(
    directory: Path,
    command: str = "uvicorn app:app",
    *,
    own_errors: Collection[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run ``command`` in ``directory`` for the length of a ``with`` block.

    With an ``environment`` it runs in that one, and with the Python that is first on its ``PATH``.

    What the server wrote is shown with any failure of the block. A traceback in it is a failure itself, unless it
    ends in one of ``own_errors``, the server's own.
    """
    server = Server(directory, command, environment=environment)
    try:
        try:
            server.start()
            yield server
        finally:
            server.close()
        log = server.log()
        assert TRACEBACK not in log or set(tracebacks(log)) <= set(own_errors), "the server wrote a traceback"
    except BaseException as error:
        error.add_note(f"{server} wrote:\n{server.log()}")
        raise


def _placeholder() -> socket.socket:
    """Hold a port for a server that binds it by itself: the socket shares the port but never listens."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", 0))
    return sock
