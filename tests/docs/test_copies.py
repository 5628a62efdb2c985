"""An example is copied out of the wheel in a fresh environment: it runs at once, and its tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import venv
from pathlib import Path

import hatchling.build
import httpx
import pytest

from tests.helpers import ROOT
from tests.running import own_temporary_files, running
from tools.examples import examples

# What leads to the environment that runs this test is nothing that a reader has.
OURS = re.compile(r"(TOX|COVERAGE|PYTEST)_|PYTHON|VIRTUAL_ENV|MICROPIE_")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel and the extras that examples need."""
    folder = tmp_path_factory.mktemp("environment")
    wheel = os.environ.get("TOX_PACKAGE")
    if wheel is None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            wheel = str(folder / hatchling.build.build_wheel(str(folder)))
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, folder, "-m", "pip", "install", "--quiet", f"{wheel}[standard,socketio,testing]")
    return python


def run(python: Path, folder: Path, *command: str) -> str:
    """What a command prints, its warnings among it."""
    environment = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"} | own_temporary_files(folder)
    done = subprocess.run(
        [python, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("name", examples())
def test_a_copy_runs_and_its_tests_pass(name: str, python: Path, tmp_path: Path) -> None:
    told = run(python, tmp_path, "-m", "micropie", "examples", "copy", name, "mine")
    assert re.fullmatch(
        r"mine has .*app\.py.*\.\n\n  cd mine\n  python -m micropie run app\.py\n  python -m pytest\n", told
    )
    mine = tmp_path / "mine"
    assert re.search(r"^\S.* /( |$)", run(python, mine, "-m", "micropie", "routes", "app.py"), re.MULTILINE)
    tested = run(python, mine, "-m", "pytest", "-p", "no:cacheprovider")
    assert re.search(r"^=+ \d+ passed in [\d.]+s =+$", tested, re.MULTILINE), tested
    assert "warning" not in tested.lower(), tested
    with running("app.py", "--port", "0", python=python, folder=mine) as process:
        url = process.serving()
        # uvicorn writes that its startup is complete a moment before it listens.
        with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
            assert "</html>" in client.get(url).text
        assert process.stop() == 0
