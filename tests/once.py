"""What takes long is made once, by whichever process of ``pytest -n`` comes first."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest


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
