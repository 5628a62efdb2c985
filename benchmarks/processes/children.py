"""The processes that hold the apps, seen from the one that measures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from benchmarks.frameworks import Framework

HERE = Path(__file__).parent
WORDS = 600  # How many characters of what a process last said are shown.


class Failed(Exception):
    """A process did not do what it was asked for; the text says why."""


class Child:
    """A process that does one thing at a time, told in lines of JSON."""

    def __init__(self, program: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.name = " ".join([program, *arguments])
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # close() closes it
        self._process = subprocess.Popen(
            [sys.executable, HERE / program, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._orders = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)
        try:
            self._answer()  # It says when it is ready.
        except Failed:
            self.close()
            raise

    def ask(self, do: str, **order: Any) -> Any:
        """Have something done, and return what comes of it."""
        print(json.dumps({"do": do, **order}), file=self._orders, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            self._errors.seek(0)
            raise Failed(f"{self.name} ended: {self._errors.read()[-WORDS:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the process: there is nothing more to do for it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextmanager
def holding(frameworks: list[Framework], processor: int) -> Iterator[dict[str, Child]]:
    """A process for each framework, all on one processor."""
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for framework in frameworks:
            arguments = ("driver.py", framework.module, str(processor))
            child = Child(*arguments, environment=framework.environment())
            stack.callback(child.close)
            children[framework.name] = child
        yield children
