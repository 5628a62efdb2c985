"""The sdist holds all that a person without the repository needs, and an example runs from it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import hatchling.build
import pytest
from websockets.sync.client import connect

from tests.helpers import ROOT
from tests.serving import serve


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name = hatchling.build.build_sdist(str(folder))
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return folder / name.removesuffix(".tar.gz")


def test_an_example_runs_from_the_sdist(sdist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(sdist))  # The framework comes from the sdist as well.
    with serve(sdist / "docs" / "examples" / "echo") as server, connect(f"{server.ws_url}echo") as client:
        client.send("hi")
        assert client.recv(timeout=10) == "Echo: hi"


@pytest.mark.parametrize(
    "path",
    [
        ".readthedocs.yaml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "docs/conf.py",
        "docs/_inventories/python.inv",
        "docs/examples/socketio/index.html",
        "micropie/py.typed",
        "pyproject.toml",
        "tests/e2e/package-lock.json",
        "tools/blocks.py",
        "tox.ini",
    ],
)
def test_the_sdist_holds(sdist: Path, path: str) -> None:
    assert (sdist / path).is_file()


def test_the_sdist_holds_nothing_that_a_tool_left(sdist: Path) -> None:
    left = {
        "_build",
        "__pycache__",
        ".tox",
        ".venv",
        "node_modules",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
    }
    assert [path for path in sdist.rglob("*") if path.name in left] == []
