"""A process of ``python -m micropie run``, for a test that reads what it writes; what several processes share."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.serving import PATIENCE


class Running:
    """A process of the command line, and what it writes."""

    def __init__(self, *command: str, python: str | Path, folder: Path | None) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "micropie", "run", *command],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._log = ""

    def expect(self, pattern: str) -> re.Match[str]:
        """Read on until a line has this in it."""
        assert self._process.stdout is not None
        watchdog = threading.Timer(PATIENCE, self.kill)
        watchdog.start()
        try:
            for line in self._process.stdout:
                self._log += line
                if found := re.search(pattern, line):
                    return found
        finally:
            watchdog.cancel()
        raise AssertionError(f"it did not write {pattern!r}, but:\n{self._log}")

    def serving(self) -> str:
        """Read on until it serves, and return where; with reload, the address comes before the startup."""
        either = r"running on (http://127\.0\.0\.1:\d+)|startup complete"
        first, second = self.expect(either), self.expect(either)
        url = first[1] or second[1]
        self._knock(int(url.rpartition(":")[2]))
        return url

    def _knock(self, port: int) -> None:
        """Connect until it works: a process that is started again listens a moment after it says so."""
        deadline = monotonic() + PATIENCE
        while self._process.poll() is None and monotonic() < deadline:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return

    def stop(self) -> int:
        """Press Ctrl+C."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(PATIENCE)

    def rest(self) -> str:
        """All that it wrote, once it has ended."""
        assert self._process.stdout is not None
        self._log += self._process.stdout.read()
        return self._log

    def kill(self) -> None:
        """End all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Leave no process behind."""
        self.kill()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


def own_temporary_files(folder: Path) -> dict[str, str]:
    """The environment in which a pytest shares no folder with another one that runs at the same time.

    They would remove each other's old folders, and warn of it.
    """
    root = folder / "temporary"
    root.mkdir(exist_ok=True)
    return {"PYTEST_DEBUG_TEMPROOT": str(root)}


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder that ``make`` filled, in this process or another one of the run; nobody writes there."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # The folder of the run; each process has one in it.
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = base / name
        if not folder.exists():
            part = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=base))
            make(part)
            part.rename(folder)
    return folder


@contextmanager
def running(
    *command: str, python: str | Path = sys.executable, folder: Path | None = None
) -> Iterator[Running]:
    """Run ``python -m micropie run`` for the length of a ``with`` block."""
    process = Running(*command, python=python, folder=folder)
    try:
        yield process
    finally:
        process.close()
