"""The suites, run over copies of the package that are broken on purpose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import pytest

import micropie
from tests.mutants.mutants import Mutant

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Those that are quick, and fail for most, come first.
SUITES = [
    "tests/sessions/test_sessions.py",
    "tests/sessions/test_session_use.py",
    "tests/request/test_request.py",
    "tests/routing/test_mounts.py",
    "tests/sessions/test_session_races.py",
    "tests/request/test_body.py",
    "tests/test_design.py",
]


@dataclass(frozen=True)
class Run:
    """What came of a run of pytest.

    Attributes:
        status: pytest's exit status, or -1 if its process broke down.
        failed: The id of the first test that failed, or "".
        output: What it wrote.
    """

    status: int
    failed: str
    output: str


class Forking:
    """A process of ``forking.py``."""

    def __init__(self) -> None:
        command = [sys.executable, HERE / "forking.py"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, folder: Path, arguments: list[str]) -> Run:
        """Run pytest over the package in a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        output = folder / "output.txt"
        job = {"folder": str(folder), "arguments": arguments, "output": str(output)}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        status, _, failed = self._process.stdout.readline().rstrip("\n").partition(" ")
        return Run(int(status), failed, output.read_text("utf-8"))

    def close(self) -> None:
        self._process.communicate()


class Runs:
    """The suites over the package, broken or not; as many run at once as there are processors.

    Attributes:
        killers: The test that caught each mutant.
    """

    def __init__(self, folder: Path, remembered: dict[str, str]) -> None:
        self.killers: dict[str, str] = {}
        self._folder = folder
        self._remembered = remembered
        self._all = [Forking() for _ in range(os.cpu_count() or 1)]
        self._free: SimpleQueue[Forking] = SimpleQueue()
        for forking in self._all:
            self._free.put(forking)
        self._pool = ThreadPoolExecutor(len(self._all))
        self._under_way: dict[Mutant | None, Future[Run]] = {}

    def __enter__(self) -> Self:
        """Copy the package, and compile it as pytest does, once for all."""
        self._sound = self._folder / "sound"
        shutil.copytree(
            Path(micropie.__file__).parent,
            self._sound / "micropie",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        collected = self._run(self._sound, ["--collect-only", "-q", *SUITES])
        assert collected.status == pytest.ExitCode.OK, collected.output
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for forking in self._all:
            forking.close()

    def begin(self, name: str, mutant: Mutant | None) -> None:
        self._under_way[mutant] = self._pool.submit(self._try, name, mutant, len(self._under_way))

    def result(self, mutant: Mutant | None) -> Run:
        return self._under_way[mutant].result()

    def _try(self, name: str, mutant: Mutant | None, number: int) -> Run:
        folder = self._folder / f"package_{number}"
        shutil.copytree(self._sound, folder)
        if mutant is None:
            return self._run(folder, SUITES)
        mutant.apply(folder / "micropie")
        # Nothing that was compiled before counts, however alike the times and sizes of the sources.
        for compiled in folder.rglob(f"{Path(mutant.where.partition(':')[0]).name}.*.pyc"):
            compiled.unlink()
        killer, run = self._remembered.get(name, ""), None
        if killer.partition("::")[0] in SUITES:
            run = self._run(folder, [killer])
        if run is None or run.failed != killer:
            run = self._run(folder, SUITES)
        self.killers[name] = run.failed
        return run

    def _run(self, folder: Path, arguments: list[str]) -> Run:
        forking = self._free.get()
        try:
            return forking.run(folder, arguments)
        finally:
            self._free.put(forking)
