"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.helpers import ROOT

# For the helpers in `tools` and `tests`. It comes last, so that `micropie` is the installed wheel in tox.
sys.path.append(str(ROOT))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives a module that has fixtures of its own to one process, which makes them once, and else test by test."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _has_fixtures(module) else nodeid


@cache
def _has_fixtures(module: str) -> bool:
    return '@pytest.fixture(scope="module"' in (ROOT / module).read_text(encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Distribute ``-n 2 --dist loadgroup``; the marks that xdist itself goes by are lost with pytest 9.2."""
    return Scheduling(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the tests fit for ``pytest -n``: an id that holds an object's address is refused, since it differs."""
    passing = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if passing:
        raise pytest.UsageError(f"name the parameters with ids=: {passing[0]}")


@pytest.fixture(autouse=True)
def _assertions_of_handlers(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An assertion that fails inside a handler is one of the test: the app only logs it."""
    yield
    for record in caplog.get_records("call"):
        if record.exc_info and isinstance(record.exc_info[1], AssertionError):
            raise record.exc_info[1]
