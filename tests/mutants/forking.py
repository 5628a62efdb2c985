"""Runs pytest over the package of one folder after the other, each in a process that is forked from this one.

So Python, pytest and all that is the same for each are imported once.  A line of the input is a job in JSON: the
``folder``, the ``arguments``, and the file for the ``output``.  Its answer is a line with the exit status, a space and
the id of the first test that failed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

# What imports micropie must not be among them.
import anyio.pytest_plugin
import httpx
import hypothesis.stateful
import pytest
import pytest_asyncio.plugin
import xdist.plugin

ALIKE = (anyio, httpx, hypothesis, pytest_asyncio, xdist)

OPTIONS = ["-x", "-p", "no:cacheprovider", "-W", "ignore:Module already:pytest.PytestAssertRewriteWarning"]


class Watching:
    """Sees to it that it is the package of the folder that is tested, and remembers what failed."""

    failed = ""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def pytest_configure(self) -> None:
        import micropie

        assert micropie.__file__.startswith(f"{self._folder}{os.sep}")
        # A history that fails need not be shrunk.
        unshrunk = hypothesis.settings(phases=[hypothesis.Phase.generate], report_multiple_bugs=False)
        hypothesis.settings.register_profile("unshrunk", unshrunk)
        hypothesis.settings.load_profile("unshrunk")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def run(folder: str, arguments: list[str], output: str, answer: int) -> None:
    """Do a job in this process, and write its answer to a file descriptor."""
    with Path(output).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.path.insert(0, folder)
    watching = Watching(folder)
    status = int(pytest.main([*OPTIONS, *arguments], [watching]))
    os.write(answer, f"{status} {watching.failed}\n".encode())


def main() -> None:
    assert "micropie" not in sys.modules
    answer = os.dup(1)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            answered = False
            try:
                run(**json.loads(line), answer=answer)
                answered = True
            except BaseException:  # whatever it was: nothing of this process may go on
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(not answered)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            os.write(answer, b"-1 \n")


if __name__ == "__main__":
    main()
