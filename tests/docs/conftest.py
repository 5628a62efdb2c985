"""The site that the tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.readthedocs import build
from tests.once import once


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as Read the Docs builds it, which says where it will be."""
    return once(tmp_path_factory, "readthedocs", build) / "output" / "html"
