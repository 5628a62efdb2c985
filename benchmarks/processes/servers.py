"""Servers under test, and what the system knows of them. Linux only."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.frameworks import Framework
from benchmarks.options import Options
from benchmarks.processes.children import HERE, WORDS, Child, Failed

BACKLOG = 1024


class Server:
    """uvicorn with the app of a framework. A client that comes early waits in its socket.

    Attributes:
        port: Where it is, on the loopback interface.
        process: The number of the process.
    """

    def __init__(self, framework: Framework, app: str, processor: int) -> None:
        self.name = framework.name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # close() closes it
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        descriptor = self._socket.fileno()
        self._process = subprocess.Popen(
            [sys.executable, HERE / "serve.py", framework.module, app, str(descriptor), str(processor)],
            env=framework.environment(),
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
        )
        # From now on only the server has it, so that a client is refused when the server is gone.
        self._socket.close()
        self.process = self._process.pid

    def why(self, error: Failed) -> Failed:
        """An error of a client, with what the server said."""
        self._errors.seek(0)
        return Failed(f"{self.name}: {error} {self._errors.read()[-WORDS:]}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()


def private_bytes(process: int) -> int:
    """The memory that is a process's own."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text("ascii")
    return int(rollup.partition("Private_Dirty:")[2].split()[0]) * 1024


def cpu(process: int) -> int:
    """The CPU time of all threads of a process, in nanoseconds, as the scheduler counts it."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks)


@contextmanager
def serving(frameworks: list[Framework], options: Options, app: str = "app") -> Iterator[dict[str, Server]]:
    """A server for that app of each framework, all on one processor; they do nothing unless they are asked."""
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for framework in frameworks:
            servers[framework.name] = Server(framework, app, options.processor)
            stack.callback(servers[framework.name].close)
        yield servers


@contextmanager
def clients(options: Options) -> Iterator[Child]:
    """The process whose clients keep servers busy."""
    traffic = Child("traffic.py", str(options.client_processor))
    try:
        yield traffic
    finally:
        traffic.close()
