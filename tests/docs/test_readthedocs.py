"""The Read the Docs configuration is valid, and its commands build the site."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
LEFT_BY_TOOLS = (".git", ".tox", ".venv", "_build", "__pycache__", ".*_cache")


def test_the_configuration_follows_the_schema() -> None:
    """Version 2 asks for these keys; with `build.commands`, keys such as `sphinx` would have no effect."""
    assert CONFIG.keys() == {"version", "build"}
    assert CONFIG["version"] == 2
    assert CONFIG["build"].keys() == {"os", "tools", "commands"}
    assert CONFIG["build"]["os"] in {"ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04", "ubuntu-lts-latest"}
    assert CONFIG["build"]["tools"].keys() == {"python"}
    python = CONFIG["build"]["tools"]["python"]
    assert isinstance(python, str), "without quotes YAML reads 3.10 as the number 3.1"
    assert re.fullmatch(r"3\.1[1-4]", python)
    assert all(isinstance(command, str) for command in CONFIG["build"]["commands"])


def test_it_runs_the_environment_that_ci_runs() -> None:
    assert "python -m tox -e docs" in CONFIG["build"]["commands"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout without what tools left in it."""
    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=shutil.ignore_patterns(*LEFT_BY_TOOLS)))


def test_its_commands_build_the_site(checkout: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "python", with_pip=True)
    # Nothing of the tox that runs this test may reach the tox that the commands start.
    ours = re.compile(r"TOX_|COVERAGE_|PYTEST_|PYTHON(SAFE)?PATH|VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
    environment["PATH"] = os.pathsep.join([str(tmp_path / "python" / "bin"), environment["PATH"]])
    environment["READTHEDOCS"] = "True"
    environment["READTHEDOCS_OUTPUT"] = str(tmp_path / "output")
    for command in CONFIG["build"]["commands"]:
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=checkout,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
    site = tmp_path / "output" / "html"
    assert (site / "index.html").is_file()
    assert (site / "tutorial" / "websockets.html").is_file()
