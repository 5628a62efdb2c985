"""A Redis of a test's own: in memory, on a Unix socket in the test's folder, so that no port is needed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.missing import missing
from tests.serving import PATIENCE

READY = "ready to accept connections"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run Redis for the length of a ``with`` block, and yield the URL that leads to it."""
    program = shutil.which("redis-server")
    if program is None:
        missing("There is no redis-server.")
    path = folder / "redis.sock"
    settings = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *settings], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if READY in line.lower():
                break
        else:
            raise AssertionError(f"Redis did not start:\n{''.join(said)}")
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)
