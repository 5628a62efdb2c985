"""The harness itself: what a test sees when the app that it serves is broken."""

from __future__ import annotations

from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.serving import serve

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"here"})
        print("answered")
"""


def write(folder: Path, source: str) -> None:
    (folder / "app.py").write_text(source, encoding="utf-8")


def test_a_restart_keeps_the_address(tmp_path: Path) -> None:
    write(tmp_path, APP)
    with serve(tmp_path) as server:
        for _ in range(2):
            with urlopen(server.url) as answer:
                assert answer.read() == b"here"
            server.wait_for_log("answered")
            server.restart()
    assert server.log().count("Uvicorn running on") == 3


def test_a_failed_start_shows_its_log(tmp_path: Path) -> None:
    write(tmp_path, "import nothing_of_this_name")
    with (
        pytest.raises(AssertionError, match="did not write 'Uvicorn running on'") as failure,
        serve(tmp_path),
    ):
        pass
    assert "No module named 'nothing_of_this_name'" in failure.value.__notes__[0]


def test_a_traceback_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path, f"{APP}        raise LookupError('after the answer')\n")
    with pytest.raises(AssertionError, match="traceback") as failure, serve(tmp_path) as server:
        urlopen(server.url).close()
    assert "LookupError: after the answer" in failure.value.__notes__[0]
