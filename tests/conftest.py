"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# For the helpers in `tools` and `tests`. It comes last, so that `micropie` is the installed wheel in tox.
sys.path.append(str(Path(__file__).parents[1]))


@pytest.fixture(autouse=True)
def _assertions_of_handlers(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """An assertion that fails inside a handler is one of the test: the app only logs it."""
    yield
    for record in caplog.get_records("call"):
        if record.exc_info and isinstance(record.exc_info[1], AssertionError):
            raise record.exc_info[1]
