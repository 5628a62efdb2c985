"""The Autobahn test suite's client, in a Python 2.7 of its own, and the figures that it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

SUITE = "autobahntestsuite==25.10.1"
FIGURES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--groups",
        default="1 2 3 4 5 6 7 10",
        help="groups of cases; 9 is large messages and speed, 12 and 13 are compression",
    )


def missing(what: str) -> NoReturn:
    """Skip on a user's machine, which may lack Python 2.7; fail in CI, where a skipped test is a hole."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="session")
def wstest(pytestconfig: pytest.Config) -> Path:
    """Install the suite into pytest's cache, unless it is there, and return its command."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("autobahn")
    python = os.environ.get("MICROPIE_PYTHON27", "python2.7")
    known = [f"--try-first-with={path}" for path in pythons_off_the_path()]
    attempt(sys.executable, "-m", "virtualenv", "--python", python, *known, folder)
    attempt(folder / "bin/python", "-m", "pip", "install", "--quiet", SUITE)
    return folder / "bin/wstest"


def pythons_off_the_path() -> list[str]:
    """Where a Python 2.7 may be that is not on the PATH; virtualenv takes none of another version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    named = os.environ.get("TOX_DISCOVER", "").split(os.pathsep)
    return [*filter(None, named), *map(str, pyenv.glob("versions/2.7*/bin/python2.7"))]


def attempt(*command: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(
            "The Autobahn test suite needs Python 2.7, on the PATH, in pyenv, or named in MICROPIE_PYTHON27, and its"
            f" package {SUITE}:\n{done.stdout}{done.stderr}"
        )


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines that stand at the end of pytest's report."""
    return pytestconfig.stash.setdefault(FIGURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(FIGURES, []):
        terminalreporter.write_line(line)
