"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# For the helpers in `tools` and `tests`. It comes last, so that `micropie` is the installed wheel in tox.
sys.path.append(str(Path(__file__).parents[1]))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make the tests fit for ``pytest -n``.

    An id that holds an object's address is refused, since every process needs the same.  Tests that share a fixture of
    their module go to one process, so that a server or a build is made once.
    """
    for item in items:
        if isinstance(item, pytest.Function) and any(
            fixture.scope == "module"
            for name in item.fixturenames
            for fixture in item._fixtureinfo.name2fixturedefs.get(name, ())
        ):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))
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
