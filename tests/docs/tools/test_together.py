"""The folders of readers' programs, made into packages that are checked together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.together import as_neighbours, gather, main

FILES = {
    "shop/app.py": "class App: ...\n",
    "shop/test_app.py": "def test():\n    from app import App\n",
    "a-page/line_3/app.py": "import json\n",
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, source in FILES.items():
        path = tmp_path / "programs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path / "programs"


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("from app import App, app\n", "from .app import App, app\n"),
        ("import app\n", "from . import app\n"),
        ("import app as shop  # ours\n", "from . import app as shop  # ours\n"),
        ("from app import (\n    App,\n)\n", "from .app import (\n    App,\n)\n"),
        ('if "ä": import app\n', 'if "ä": from . import app\n'),
        ('"""from app import app"""\n', '"""from app import app"""\n'),
        ("import application, json\n", "import application, json\n"),
        ("from .app import app\n", "from .app import app\n"),
    ],
)
def test_neighbours(source: str, written: str) -> None:
    """Only an import of a file of the same folder changes, wherever it stands."""
    assert as_neighbours(source, {"app", "test_app"}) == written


@pytest.mark.parametrize("source", ["import json, app\n", "import app.part\n", "from  app import app\n"])
def test_neighbours_that_cannot_be_written(source: str) -> None:
    """An import that a checker would not find in the package is an error, and never overlooked."""
    with pytest.raises(ValueError, match="line 1: "):
        as_neighbours(source, {"app"})


def test_packages(programs: Path, tmp_path: Path) -> None:
    """Each folder is a package, and every line stays in its place."""
    gather([programs], tmp_path)
    packages = {
        path.name: sorted(file.name for file in path.iterdir()) for path in tmp_path.glob("programs_*")
    }
    assert packages == {
        "programs_shop": ["__init__.py", "app.py", "test_app.py"],
        "programs_a_page_line_3": ["__init__.py", "app.py"],
    }
    assert (tmp_path / "programs_shop/test_app.py").read_text() == "def test():\n    from .app import App\n"


def test_command(programs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The command runs where the packages are, and its status is the result."""
    code = "import os, sys; print(sorted(os.listdir())); sys.exit(3)"
    assert main([str(programs), "--", sys.executable, "-c", code]) == 3
    assert capfd.readouterr().out == "['programs_a_page_line_3', 'programs_shop']\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--", "mypy"], "no such folder: nowhere"),
        ([str(Path(__file__).parent), "--"], "no command"),
        (["docs"], "usage"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(arguments)
