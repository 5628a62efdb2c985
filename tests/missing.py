"""What becomes of a test that needs a program which this machine lacks."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip on a user's machine, where a tool may be missing; fail in CI, where a skipped test is a hole."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)
